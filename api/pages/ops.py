"""/ops: how the installation is doing, for who runs it.

Invariants:
- A page is made of what the server knows already; opening it, and keeping it open, asks neither store nor
  Kafka. Only a dead letter that somebody opens is read from the log.
- A dead letter's record is masked without `profile:read.pii`, and its fault is in lists for everybody; who
  opened which is audited.
"""

from __future__ import annotations

import time

from fastapi import APIRouter, Request
from starlette.responses import Response

from api.letter_shown import shown_detail, shown_pointer, shown_record
from api.operations import moment
from api.pages.ops_view import STATE_WORDS, clock, newer_than, view_of, written
from api.pages.rendering import page, templates
from api.pages.session import page_endpoint
from api.problems import Problem
from api.profiles import audit_data
from api.routing import Caller, DirectRoute

router = APIRouter(route_class=DirectRoute)

templates.filters.update(clock=clock, written=written)


@page_endpoint(router, "GET", "/ops", scope="ops", whole=True)
async def ops_page(request: Request, caller: Caller) -> Response:
    """The page."""
    state = caller.services.operations.state()
    return page("ops.html", caller=caller, view=view_of(state, time.time()), words=STATE_WORDS, newer=0)


@page_endpoint(router, "GET", "/ops/live", scope="ops")
async def ops_live(request: Request, caller: Caller) -> Response:
    """Every part of the page that is about now. `newest` is the newest letter that is shown."""
    state = caller.services.operations.state()
    given = request.query_params.get("newest", "")
    newest = int(given) if given.isascii() and given.isdecimal() and len(given) < 19 else -1
    newer = newer_than(state.dead_letters.latest, newest)
    return page("ops_live.html", view=view_of(state, time.time()), words=STATE_WORDS, newer=newer)


@page_endpoint(router, "GET", "/ops/letters", scope="ops")
async def ops_letters(request: Request, caller: Caller) -> Response:
    """The latest dead letters."""
    state = caller.services.operations.state()
    return page("ops_letters.html", latest=state.dead_letters.latest)


@page_endpoint(router, "GET", "/ops/letters/{place}", scope="ops")
async def ops_letter(request: Request, caller: Caller) -> Response:
    """One dead letter with its record."""
    given = request.path_params["place"]
    place = int(given) if given.isascii() and given.isdecimal() and len(given) < 19 else -1
    letter = await caller.services.dead_letters.read(place)
    if letter is None:
        raise Problem("not_found", "no dead letter is kept at this place")
    personal = caller.personal
    where = f"{letter.topic}-{letter.partition}@{letter.offset}"
    told = audit_data(caller, request, "dead_letter", ("record",), None)
    caller.services.audit.note("scv.dead_letter_read", [where], told, personal=personal)
    return page(
        "ops_letter.html",
        letter=letter,
        place=place,
        pointer=shown_pointer(letter.pointer, personal=personal),
        detail=shown_detail(letter.reason, letter.detail, personal=personal),
        record=shown_record(letter, personal=personal),
        logged_at=written(moment(max(0, letter.timestamp_ms) / 1_000)),
    )
