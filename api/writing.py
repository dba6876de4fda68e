"""Endpoints that write: events, decisions about who is who; and revealing, which writes who saw what.

Invariants:
- 202 means that the log has it.
- A reveal is shown only after its audit record was acknowledged.
"""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import Any

import msgspec
from fastapi import APIRouter, Request
from starlette.responses import Response

from api.accepting import EVENTS_BYTES_MAX, EVENTS_MAX, Examined, accept, rejection, shown, split_batch, write
from api.audit import audit_records
from api.bodies import CommandAnswer, EventsAnswer, PairRequest, RevealAnswer, RevealRequest
from api.examples import COMMAND, EVENT, EVENTS, PAIR, REVEAL, REVEAL_REQUEST
from api.freshness import SyncToken
from api.problems import Problem, invalid
from api.profiles import HEADERS, ID_PARAMETER, MOVED, READ_PROBLEMS, audit_data, customer_id_of, synced
from api.resolving import live_profile
from api.routing import (
    Answers,
    Caller,
    DirectRoute,
    Takes,
    endpoint,
    header_of,
    media_type_of,
    read_body,
    read_model,
)
from api.shown import as_of
from eventlog.topics import AUDIT
from models.careful import read
from models.catalogue import COMMAND_TOPIC
from models.dead_letter import Fault
from models.decoding import microseconds
from models.identifiers import is_employee, split_name
from models.link import actor_name
from models.record import Lane
from projections.forwarding import fact_of, nobody
from stores.reading import StoredProfile

router = APIRouter(route_class=DirectRoute)

_JSON = "application/json"
# How a body's content type says what it holds.
_BATCH = {"application/cloudevents+json": False, "application/cloudevents-batch+json": True, _JSON: None}
_EVENT_SCHEMA = {
    "type": "object",
    "description": "A CloudEvent of docs/events.md; schemas/events/ has a JSON Schema of each type.",
    "required": ["specversion", "id", "source", "type", "subject", "data"],
    "properties": {
        "specversion": {"const": "1.0"},
        "id": {"type": "string", "minLength": 1, "maxLength": 200},
        "source": {"type": "string", "minLength": 1, "maxLength": 200},
        "type": {"type": "string", "examples": ["sales.order_placed"]},
        "subject": {"type": "string", "examples": ["crm:4711"]},
        "time": {"type": ["string", "null"], "format": "date-time"},
        "data": {"type": "object"},
    },
}
_BATCH_SCHEMA = {"type": "array", "items": _EVENT_SCHEMA, "minItems": 1, "maxItems": EVENTS_MAX}
_SOURCE = "scv/http"


@endpoint(
    router, "POST", "/v1/events",
    scope="events:write", summary="Write events", tag="events",
    takes=Takes({
        "application/cloudevents+json": (_EVENT_SCHEMA, EVENT),
        "application/cloudevents-batch+json": (_BATCH_SCHEMA, [EVENT]),
        _JSON: ({"oneOf": [_EVENT_SCHEMA, _BATCH_SCHEMA]}, EVENT),
    }),
    problems=("not_json", "invalid_request", "invalid_event", "body_too_large", "body_too_slow",
              "unsupported_media_type", "log_unavailable"),
    answers=[Answers(202, "What became of each event.", EventsAnswer, EVENTS,
                     headers={"Sync-Token": "Stands for all that were accepted; give it back with a read."})],
)  # fmt: skip
async def write_events(request: Request, caller: Caller) -> Response:
    """One CloudEvent, or up to 500.

    Each is examined as the workers do. Those that are events are in the log before this answers, the others
    are named with the reason and the field.

    When the log did not acknowledge some (503), send all again: repeats are recognised by source and id.
    """
    kind = media_type_of(request)
    if kind not in _BATCH or header_of(request, "ce-specversion") is not None:
        raise Problem("unsupported_media_type", f"send one of {', '.join(_BATCH)}, in structured mode")
    events = split_batch(await read_body(request, EVENTS_BYTES_MAX), batch=_BATCH[kind])
    outcomes = await accept(caller.services, events)
    told = [shown(index, one) for index, one in enumerate(outcomes)]
    places = [one.place for one in outcomes if one.place is not None]
    faults = [one.fault for one in outcomes if one.fault is not None]
    if len(places) + len(faults) < len(outcomes):
        raise Problem(
            "log_unavailable",
            "some events are not in the log; send all again, repeats are recognised",
            events=told,
        )
    if not places:
        first = rejection(faults[0])
        where = first["pointer"] if len(told) == 1 else f"/0{first['pointer']}"
        raise Problem("invalid_event", first["detail"], pointer=where, reason=first["code"], events=told)
    token = SyncToken.of(places).text()
    body = {"accepted": len(places), "rejected": len(faults), "sync_token": token, "events": told}
    return Response(msgspec.json.encode(body), 202, {"Sync-Token": token}, _JSON)


def _pair_endpoint(verb: str, path: str, summary: str) -> None:
    @endpoint(
        router, "POST", path,
        name=f"{verb}_identities", scope="identity:write", summary=summary, tag="identity",
        takes=Takes({_JSON: ({"$ref": "#/components/schemas/PairRequest"}, PAIR)}),
        problems=("not_json", "invalid_request", "body_too_large", "body_too_slow", "unsupported_media_type",
                  "log_unavailable"),
        answers=[Answers(202, "The decision is in the log.", CommandAnswer, COMMAND,
                         headers={"Sync-Token": "Give it back with a read that must know of it."})],
    )  # fmt: skip
    async def decide(request: Request, caller: Caller) -> Response:
        """A decision of a person, or of a program (actor `matcher/…`), which workers take up at once.

        The latest decision on a pair holds; between two subjects an unlink is a standing cannot-link.
        """
        return await _command(verb, await read_model(request, PairRequest), caller)


async def _command(verb: str, asked: PairRequest, caller: Caller) -> Response:
    for pointer, name in (("/subject", asked.subject), ("/other", asked.other)):
        _check_name(pointer, name)
    now = datetime.now(UTC)
    event_id = str(uuid.uuid4())
    event = {
        "specversion": "1.0",
        "id": event_id,
        "source": _SOURCE,
        "type": f"identity.{verb}",
        "time": _instant(now),
        "subject": asked.subject,
        # An extension of the envelope: which system it came through; `actor` says who decided.
        "keyid": caller.key.id,
        "data": {
            "subject": asked.subject,
            "other": asked.other,
            "actor": actor_name(asked.actor),
            "reason": asked.reason,
        },
    }
    try:
        key, value = asked.subject.encode(), msgspec.json.encode(event)
    except UnicodeEncodeError:
        raise invalid("", "names, actor and reason must be text in UTF-8") from None
    found = read(COMMAND_TOPIC, key, value, (), microseconds(now))
    fact = (
        found if isinstance(found, Fault) else fact_of(found, f"{COMMAND_TOPIC}-0", 0, caller.services.rules)
    )
    if isinstance(fact, Fault):
        raise invalid(fact.pointer.removeprefix("/data"), fact.detail)
    if fact is None:
        raise invalid(
            "/other", "it says nothing about a person (a blocked value, no such number): it links nobody"
        )
    (outcome,) = await write(caller.services, [Examined(event_id, COMMAND_TOPIC, key, value, None)])
    if outcome.place is None:
        raise Problem(
            "log_unavailable", "the decision may not be in the log; decide again, that does no harm"
        )
    token = SyncToken.of([outcome.place]).text()
    body = msgspec.json.encode({"event_id": event_id, "sync_token": token})
    return Response(body, 202, {"Sync-Token": token}, _JSON)


def _check_name(pointer: str, name: str) -> None:
    named = split_name(name)
    if named is None or not named[1] or name != name.strip():
        raise invalid(pointer, "no type:value; name a subject as crm:4711, or an identifier as email:…")
    if is_employee(name):
        raise invalid(pointer, "employees never become customers")
    if (why := nobody(named[0])) is not None:
        raise invalid(pointer, why)


_pair_endpoint("link", "/v1/identity/links", "These belong together")
_pair_endpoint("unlink", "/v1/identity/unlinks", "These do not belong together")

# What a field of a reveal is in the section identity.
_REVEALED = {
    "name": ("given_name", "family_name"),
    "birthdate": ("birthdate",),
    "email": ("email",),
    "phone": ("phone_number",),
    "addresses": ("addresses",),
    "identifiers": ("identifiers",),
}


@endpoint(
    router, "POST", "/v1/profiles/{customer_id}/reveal",
    scope="profile:reveal", summary="Show masked fields", tag="profiles",
    parameters=(ID_PARAMETER, *HEADERS),
    takes=Takes({_JSON: ({"$ref": "#/components/schemas/RevealRequest"}, REVEAL_REQUEST)}),
    problems=("not_json", "body_too_large", "body_too_slow", "unsupported_media_type", *READ_PROBLEMS),
    answers=[Answers(200, "The fields, as they are.", RevealAnswer, REVEAL), MOVED],
)  # fmt: skip
async def reveal(request: Request, caller: Caller) -> Response:
    """Single fields as they are, for one reason.

    Who asked, for what, and why is in the audit topic before this answers.
    """
    asked = await read_model(request, RevealRequest)
    customer_id = customer_id_of(request)
    await synced(caller, request)
    generation, stored = await live_profile(caller.services, customer_id, ("identity",), "/reveal")
    fields = await revealed(request, caller, stored, asked)
    fresh = msgspec.Raw(as_of(stored, generation, caller.services.lags.lag))
    body = msgspec.json.encode({"customer_id": customer_id, "fields": fields, "as_of": fresh})
    return Response(body, media_type=_JSON)


async def revealed(
    request: Request, caller: Caller, stored: StoredProfile, asked: RevealRequest
) -> dict[str, Any]:
    """The fields asked for, once it is in the audit topic that they are shown. Problem."""
    data = {"fields": list(dict.fromkeys(asked.fields)), "reason": asked.reason}
    await audit_first(request, caller, "reveal", "scv.profile_revealed", stored.customer_id, data)
    identity = msgspec.json.decode(stored.sections.get("identity", b"{}"))
    return {name: identity.get(name) for field in dict.fromkeys(asked.fields) for name in _REVEALED[field]}


async def audit_first(
    request: Request, caller: Caller, action: str, wire_type: str, customer_id: str, said: dict[str, Any]
) -> None:
    """Write who sees what and why, and wait until the log has it. Problem `audit_unavailable`."""
    data = {**audit_data(caller, request, action, ("identity",), None), **said, "masked": False}
    (record,) = audit_records(wire_type, [customer_id], data)
    if not await caller.services.has_lanes([Lane(AUDIT, 0)]):
        raise Problem("audit_unavailable", f"there is no topic {AUDIT}; run `scv topics create`")
    (outcome,) = await write(caller.services, [Examined(None, AUDIT, customer_id.encode(), record, None)])
    if outcome.place is None:
        raise Problem(
            "audit_unavailable", "the event log did not acknowledge the audit record; nothing was shown"
        )


def _instant(at: datetime) -> str:
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
