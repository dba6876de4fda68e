"""Probes: is this process alive, and can it answer; and metrics.

Invariants:
- /livez asks nothing of anybody. /readyz asks store and log, once a second at most, and says which is away.
- Probes are open to all: they say nothing of customers, and no address or secret. Metrics need a key.
"""

from __future__ import annotations

import msgspec
from fastapi import APIRouter, Request
from starlette.responses import Response

from api import metrics
from api.keys import KeysUnreadable
from api.problems import Problem
from api.routing import Answers, Caller, DirectRoute, endpoint
from api.services import Services

router = APIRouter(tags=["health"])
operator_router = APIRouter(route_class=DirectRoute)

_ALIVE = {
    "content": {"application/json": {"example": {"status": "alive"}}},
    "description": "The process answers.",
}
_READY = {
    "description": "Store and log answer.",
    "content": {
        "application/json": {
            "example": {"status": "ready", "lag": {"status": "live", "lag_records": 0, "lag_seconds": 0.0}}
        }
    },
}
_AWAY = {
    "description": "`not_ready`: what is away, and since it may come back: try again.",
    "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
}


@router.get("/livez", summary="Is the process alive?", operation_id="livez", responses={200: _ALIVE})
async def livez() -> Response:
    """Answers while the process runs. For a supervisor that restarts what hangs."""
    return Response(b'{"status":"alive"}', media_type="application/json")


@router.get("/readyz", summary="Can it answer?", operation_id="readyz", responses={200: _READY, 503: _AWAY})
async def readyz(request: Request) -> Response:
    """Whether the store and the log answer, and how far the view is behind. For a load balancer."""
    services: Services = request.app.state.services
    checks = {**await services.readiness.checks(), "keys": _keys(services)}
    lag = services.lags.lag
    away = [name for name, well in checks.items() if not well]
    if away:
        shown = {name: "ok" if well else "away" for name, well in checks.items()}
        raise Problem("not_ready", f"away: {', '.join(away)}", checks=shown, lag=msgspec.to_builtins(lag))
    return Response(msgspec.json.encode({"status": "ready", "lag": lag}), media_type="application/json")


@endpoint(
    operator_router, "GET", "/metrics",
    scope="ops", summary="Metrics for Prometheus", tag="health",
    answers=[Answers(200, "Requests, streams, audit, lag.", {"type": "string"},
                     "scv_lag_records 0.0\n", metrics.MEDIA_TYPE)],
)  # fmt: skip
async def get_metrics(request: Request, caller: Caller) -> Response:
    """What this server counts, in Prometheus' text format. Labels hold routes, statuses and codes only."""
    return Response(caller.services.metrics.text(), headers={"Content-Type": metrics.MEDIA_TYPE})


def _keys(services: Services) -> bool:
    try:
        services.keys.find("")
    except KeysUnreadable:
        return False
    return True
