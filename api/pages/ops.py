"""/ops: how the installation is doing, for who runs it.

Invariants:
- A page is made of what the server knows already; opening it, and keeping it open, asks neither store nor
  Kafka. Only who opens a dead letter (`api.pages.letters`), or wants another generation read, does.
"""

from __future__ import annotations

import time
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from api.ops_bodies import OpsState
from api.pages.generations import rows_of
from api.pages.ops_view import STATE_WORDS, clock, newer_than, view_of, written
from api.pages.rendering import page, templates
from api.pages.session import page_endpoint
from api.routing import Caller, DirectRoute

router = APIRouter(route_class=DirectRoute)

templates.filters.update(clock=clock, written=written)


@page_endpoint(router, "GET", "/ops", scope="ops", whole=True)
async def ops_page(request: Request, caller: Caller) -> Response:
    """The page."""
    return page("ops.html", caller=caller, newer=0, **_now(caller, caller.services.operations.state()))


@page_endpoint(router, "GET", "/ops/live", scope="ops")
async def ops_live(request: Request, caller: Caller) -> Response:
    """Every part of the page that is about now. `newest` is the newest letter that is shown."""
    state = caller.services.operations.state()
    given = request.query_params.get("newest", "")
    newest = int(given) if given.isascii() and given.isdecimal() and len(given) < 19 else -1
    newer = newer_than(state.dead_letters.latest, newest)
    return page("ops_live.html", newer=newer, **_now(caller, state))


def _now(caller: Caller, state: OpsState) -> dict[str, Any]:
    """All that both need."""
    rows = rows_of(caller.services.generations.seen)
    return {"view": view_of(state, time.time()), "words": STATE_WORDS, "rows": rows}
