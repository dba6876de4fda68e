"""Looking back over HTTP: which time a request asks for, and the endpoint that explains a field.

Invariants:
- An explanation is masked and audited as the profile is. Which events there were is the timeline's to tell:
  without `timeline:read` they are counted only.
"""

from __future__ import annotations

from urllib.parse import quote

import msgspec
from fastapi import APIRouter, Request
from starlette.responses import Response

from api.bodies import ExplainAnswer
from api.examples import EXPLAIN
from api.masking import mask_subject, scrubbed
from api.past import POINT_PARAMETERS, asked_of, point_of
from api.problems import wrong_parameter
from api.profiles import (
    HEADERS,
    ID_PARAMETER,
    JSON,
    MOVED,
    REPLAY_PROBLEMS,
    audit,
    located,
)
from api.replays import Asked, past_id
from api.routing import Answers, Caller, DirectRoute, endpoint
from api.shown import TIMELINE
from projections.differing import NoSuchField
from projections.explaining import field_path
from projections.replay import NOW
from stores.reading import StoredProfile

router = APIRouter(route_class=DirectRoute)

# Longer than any path of a profile: ids of entries have at most 200.
FIELD_CHARACTERS_MAX = 300


@endpoint(
    router, "GET", "/v1/profiles/{customer_id}/explain/{field:path}",
    scope="profile:read", summary="Why a field has its value", tag="profiles",
    parameters=(ID_PARAMETER, {
        "name": "field", "in": "path", "required": True, "example": "billing.balances",
        "description": "A section, a field, or an entry by what comes first in it: billing.balances.EUR. "
        "A slash in a name is sent as %2F.",
        "schema": {"type": "string", "maxLength": FIELD_CHARACTERS_MAX},
    }, *POINT_PARAMETERS, *HEADERS),
    problems=REPLAY_PROBLEMS,
    answers=[Answers(200, "The events that made it.", ExplainAnswer, EXPLAIN), MOVED],
)  # fmt: skip
async def explain_field(request: Request, caller: Caller) -> Response:
    """The rule of the field, and the latest 200 events that changed it, in order, with what each one did.

    Replayed from the customer's own records. Without `timeline:read` the events are counted only.
    """
    field = field_of(request, caller)
    generation, stored = await located(request, caller, f"/explain/{quote(field, safe='')}")
    asked = asked_of(caller, generation, stored, point_of(request) or NOW, field)
    body = await explained(request, caller, asked, stored)
    return Response(body, media_type=JSON)


def field_of(request: Request, caller: Caller) -> str:
    """The field in the path, if this caller may have it explained. Problem."""
    field: str = request.path_params["field"]
    if field.split(".", maxsplit=1)[0] == TIMELINE:
        caller.require("timeline:read")
    if len(field) > FIELD_CHARACTERS_MAX:
        raise wrong_parameter("field", f"at most {FIELD_CHARACTERS_MAX} characters")
    try:
        field_path(field)
    except NoSuchField:
        raise wrong_parameter("field", "no such field; docs/profile.md has them all") from None
    return field


async def explained(
    request: Request, caller: Caller, asked: Asked, now: StoredProfile, purpose: str | None = None
) -> bytes:
    """The explanation as JSON: masked, without events for whom they are not, and audited. Problem."""
    document = await caller.services.replays.explanation(asked)
    effects = document["effects"]
    document["effect_count"] = len(effects) + document.pop("earlier_effects")
    if not caller.key.allows("timeline:read"):
        document["effects"] = effects = []
    if not caller.personal:
        for one in effects:
            one["subject"] = mask_subject(one["subject"])
    ids = dict.fromkeys((now.customer_id, past_id(document)))
    audit(caller, request, "explain", list(ids), (document["field"].split(".", maxsplit=1)[0],), purpose)
    body = msgspec.json.encode(document)
    return body if caller.personal else scrubbed(body)
