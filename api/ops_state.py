"""GET /v1/ops/state: how the installation is doing, for programs."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from api.examples import OPS_STATE
from api.ops_bodies import OpsState
from api.routing import Answers, Caller, DirectRoute, endpoint

router = APIRouter(route_class=DirectRoute)


@endpoint(
    router, "GET", "/v1/ops/state",
    scope="ops", summary="How is the installation doing?", tag="operations",
    answers=[Answers(200, "What the server saw last, and in the last hour.", OpsState, OPS_STATE)],
)  # fmt: skip
async def ops_state(request: Request, caller: Caller) -> Response:
    """Overall state in one sentence; throughput, lag, lanes, workers, publishers, dead letters by reason.

    The server looks every 5 s, whoever asks; it remembers an hour, from its start on. What it cannot know is
    null: figures of a store or log that is away, members that a broker does not tell.
    """
    state = caller.services.operations.state()
    return Response(state.model_dump_json(), media_type="application/json")
