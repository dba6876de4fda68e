"""/ops: generations side by side, and which of them readers see.

Invariants:
- Where they stand was seen by the server's own looks; only who wants to change what readers see asks more.
- A change is asked for twice: first what readers would see is said, or why it is refused; then it is done, if
  still nobody else has changed anything.
- It is what `scv rebuild promote` and `rollback` do, refused as they refuse.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import pydantic
from fastapi import APIRouter, Request
from starlette.responses import Response

from api.generations import Generations
from api.overall import duration, plural
from api.pages.ops_view import NOT_KNOWN
from api.pages.rendering import page
from api.pages.session import page_endpoint, read_form
from api.problems import Problem, first_fault, invalid
from api.promoting import Wish, carried_out, planned
from api.rebuild_bodies import RollbackRequest
from api.routing import Caller, DirectRoute
from eventlog.errors import LogError
from stores.generations import Stand
from stores.rebuilding import State
from stores.store import StoreAway

router = APIRouter(route_class=DirectRoute)

# Of a state: the word on the badge, and its tone.
WORDS = {
    "live": ("Not read", "faint"),
    State.FOLDING: ("Folding", "accent"),
    State.GRAPH: ("Building the graph", "accent"),
    State.ASSEMBLING: ("Assembling", "accent"),
    State.FOLLOWING: ("Whole, not read yet", "accent"),
    State.DROPPING: ("Being dropped", "faint"),
    "empty": ("Not begun", "faint"),
}
UNITS = {State.FOLDING: "records", State.GRAPH: "link facts", State.ASSEMBLING: "subjects"}
VERBS = {"promote": False, "rollback": True}


class Row(NamedTuple):
    """One generation as it is shown; `progress`, `rate`, `left` are empty while no stage is in progress."""

    name: str
    word: str
    tone: str
    percent: int | None
    progress: str
    rate: str
    left: str
    behind: str
    note: str
    verb: str | None


def rows_of(seen: Generations | None) -> tuple[Row, ...]:
    """All generations, in order."""
    if seen is None:
        return ()
    return tuple(_row(one, seen) for one in seen.stands)


def _row(stand: Stand, seen: Generations) -> Row:
    name, active, rebuild = stand.generation, seen.active.generation, stand.rebuild
    word, tone = ("Readers see it", "good") if name == active else WORDS[stand.state]
    progress, rate, left, note = "", "", "", ""
    if rebuild is not None and stand.percent is not None:
        unit = UNITS[State(stand.state)]
        progress = f"{stand.percent} % of this stage: {rebuild.done:,} of {plural(rebuild.total, unit[:-1])}"
        if rebuild.paused:
            word, tone, note = "Paused", "faint", "scv rebuild resume lets it go on"
        elif stand.holder is None:
            word, tone = "Nobody is at it", "warn"
            note = f"To go on: scv rebuild start --execute --generation {name}"
        else:
            rate = f"{rebuild.per_second:,.0f} a second"
            eta = stand.eta_seconds
            left = "" if eta is None else f"about {duration(eta)}"
            note = f"Process {stand.holder}"
    behind = plural(stand.behind, "record") if stand.ends_known else NOT_KNOWN
    return Row(
        name, word, tone, stand.percent, progress, rate, left, behind, note,
        _verb(stand, seen),
    )  # fmt: skip


def _verb(stand: Stand, seen: Generations) -> str | None:
    """What can be asked for: a way back leads to an older one, whatever else is there is promoted."""
    if stand.generation == seen.active.generation or not stand.whole:
        return None
    back = stand.generation == seen.previous and _older(stand.generation, seen.active.generation)
    return "rollback" if back else "promote"


def _older(one: str, other: str) -> bool:
    return (len(one), one) < (len(other), other)


@page_endpoint(router, "GET", "/ops/generations/{generation}/{verb}", scope="ops")
async def ask_change(request: Request, caller: Caller) -> Response:
    """What readers would see, or why they will not."""
    generation, verb = _named(request)
    try:
        change = await planned(caller.services, Wish(generation, VERBS[verb], None))
    except Problem as problem:
        return _refused(request, problem)
    return page(
        "ops_change.html",
        change=change,
        verb=verb,
        actor=caller.actor,
    )


@page_endpoint(router, "POST", "/ops/generations/{generation}/{verb}", scope="ops")
async def make_change(request: Request, caller: Caller) -> Response:
    """Let readers see it."""
    generation, verb = _named(request)
    try:
        asked = _decided(caller, await read_form(request))
        wish = Wish(generation, VERBS[verb], asked.number)
        change, done = await carried_out(caller, wish, asked.actor.strip(), asked.reason)
    except Problem as problem:
        return _refused(request, problem)
    except (LogError, StoreAway):
        said = "Store or log did not answer. Whether it was done is not known: this page says it in a moment."
        return page("ops_answer.html", 503, said=said, tone="danger", settled=None)
    before = change.active.generation
    said = f"Readers see {done.generation} now, by promotion {done.number}. {before} stays as it is."
    keep = f"As long as you may want to go back, keep its workers running: scv worker --generation {before}"
    headers = {"HX-Retarget": "#change-inside", "HX-Trigger": "scv:changed"}
    return page("ops_answer.html", 200, headers, said=said, tone="good", settled=keep)


def _named(request: Request) -> tuple[str, str]:
    generation, verb = request.path_params["generation"], request.path_params["verb"]
    if verb not in VERBS:
        raise Problem("not_found", "a generation is promoted, or rolled back to")
    return generation, verb


def _decided(caller: Caller, form: Mapping[str, str]) -> RollbackRequest:
    """Who decides, why, and over which promotion. Problem."""
    actor, number = caller.actor or form.get("actor"), form.get("number", "")
    if actor is None:
        raise invalid("/actor", "say who decides: your number, as E-7")
    if "reason" not in form:
        raise invalid("/reason", "say why, in words: it is kept with the promotion")
    if not (number.isascii() and number.isdecimal() and len(number) < 10):
        raise invalid("/number", "close this, and begin again")
    said = {"actor": actor, "reason": form["reason"], "number": int(number)}
    try:
        return RollbackRequest.model_validate(said)
    except pydantic.ValidationError as error:
        pointer, why = first_fault(error.errors(include_url=False, include_context=False))
        raise invalid(pointer, f"{pointer[1:]}: {why}") from None


def _refused(request: Request, problem: Problem) -> Response:
    """Nothing was changed, and why."""
    request.scope["scv.code"] = problem.code
    tone = "warn" if problem.status < 500 else "danger"
    said = f"Refused, and nothing was changed: {problem.detail.rstrip('.')}."
    if problem.status >= 500:
        said = f"{problem.detail.rstrip('.')}."
    return page("ops_answer.html", problem.status, said=said, tone=tone, settled=None)
