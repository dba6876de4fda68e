"""Endpoints about generations: where they stand, promote one, roll back; for operators.

Invariants:
- What is answered of a state was seen by the server's own looks; asking costs neither store nor log anything.
- 200 on promote and rollback means that readers see the generation; else they see what they saw.
"""

from __future__ import annotations

import msgspec
from fastapi import APIRouter, Request
from starlette.responses import Response

from api.generations import Generations
from api.operations import moment
from api.promoting import Wish, carried_out, planned
from api.rebuild_bodies import (
    PROMOTE,
    PROMOTED,
    REBUILD,
    ROLLBACK,
    ROLLED_BACK,
    GenerationState,
    PromotedAnswer,
    PromoteRequest,
    RebuildState,
    RollbackRequest,
)
from api.routing import Answers, Caller, DirectRoute, Takes, endpoint, read_model
from stores.generations import Stand

router = APIRouter(route_class=DirectRoute)

_JSON = "application/json"
PROBLEMS = (
    "not_json", "invalid_request", "body_too_large", "body_too_slow", "unsupported_media_type",
    "promotion_refused", "log_unavailable",
)  # fmt: skip


@endpoint(
    router, "GET", "/v1/ops/rebuild",
    scope="ops", summary="Where do generations stand?", tag="operations",
    answers=[Answers(200, "What the server saw last.", RebuildState, REBUILD)],
)  # fmt: skip
async def rebuild_state(request: Request, caller: Caller) -> Response:
    """Each generation side by side: its state, how far its rebuild is, at which rate, and how far behind.

    The server looks every 5 s, whoever asks.
    """
    state = rebuild_state_of(caller.services.generations.seen)
    return Response(state.model_dump_json(), media_type=_JSON)


@endpoint(
    router, "POST", "/v1/ops/rebuild/promote",
    scope="ops", summary="Let readers see a generation", tag="operations",
    takes=Takes({_JSON: ({"$ref": "#/components/schemas/PromoteRequest"}, PROMOTE)}), problems=PROBLEMS,
    answers=[Answers(200, "Readers see it.", PromotedAnswer, PROMOTED)],
)  # fmt: skip
async def promote_generation(request: Request, caller: Caller) -> Response:
    """At once and as a whole. Refused unless it is whole, and shows all that readers see by now.

    The generation before stays as it is, until it is dropped.
    """
    asked = await read_model(request, PromoteRequest)
    return await _change(caller, Wish(asked.generation, False, asked.number), asked)


@endpoint(
    router, "POST", "/v1/ops/rebuild/rollback",
    scope="ops", summary="Let readers see again what they saw before", tag="operations",
    takes=Takes({_JSON: ({"$ref": "#/components/schemas/RollbackRequest"}, ROLLBACK)}), problems=PROBLEMS,
    answers=[Answers(200, "Readers see it again.", PromotedAnswer, ROLLED_BACK)],
)  # fmt: skip
async def roll_back_generation(request: Request, caller: Caller) -> Response:
    """A promotion of the generation before, with the same refusals: workers must have kept it current."""
    asked = await read_model(request, RollbackRequest)
    return await _change(caller, Wish(None, True, asked.number), asked)


async def _change(caller: Caller, wish: Wish, asked: RollbackRequest) -> Response:
    if asked.dry_run:
        change = await planned(caller.services, wish)
        number = change.active.promotion + 1
    else:
        change, done = await carried_out(caller, wish, asked.actor.strip(), asked.reason)
        number = done.number
    body = {
        "active": change.generation, "before": change.active.generation, "number": number,
        "dry_run": asked.dry_run,
    }  # fmt: skip
    return Response(msgspec.json.encode(body), media_type=_JSON)


def rebuild_state_of(seen: Generations | None) -> RebuildState:
    """What is told of a look."""
    if seen is None:
        return RebuildState(at=None, active=None, promotion=None, previous=None, generations=[])
    return RebuildState(
        at=moment(seen.at),
        active=seen.active.generation,
        promotion=seen.active.promotion,
        previous=seen.previous,
        generations=[_told(one, seen.active.generation) for one in seen.stands],
    )


def _told(stand: Stand, active: str) -> GenerationState:
    rebuild = stand.rebuild if stand.percent is not None else None
    left = stand.eta_seconds
    return GenerationState(
        generation=stand.generation,
        active=stand.generation == active,
        state=stand.state,  # type: ignore[arg-type]  # those of stores.generations
        behind_records=stand.behind if stand.ends_known else None,
        process=stand.holder,
        done=None if rebuild is None else rebuild.done,
        total=None if rebuild is None else rebuild.total,
        percent=stand.percent,
        per_second=None if rebuild is None or stand.holder is None else round(rebuild.per_second, 1),
        seconds_left=None if left is None else round(left, 1),
        paused=rebuild is not None and rebuild.paused,
    )
