"""/ops: one dead letter with its record, and what is to become of it.

Invariants:
- A record is masked without `profile:read.pii`, and its fault is in lists for everybody; who opened which is
  audited.
- A letter is settled by the code of `/v1/dead-letters`, with the scopes demanded there: once, whoever tries.
- What happened, or why nothing did, is said in words; what somebody typed stays where it is meanwhile.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

import msgspec
import pydantic
from fastapi import APIRouter, Request
from starlette.responses import Response

from api.letter_bodies import DiscardRequest
from api.letter_masking import masked_detail, masked_pointer
from api.letter_settling import discard, entry_of, letter_of, redrive, settlement
from api.operations import moment
from api.pages.letter_record import shown_record
from api.pages.ops_view import written
from api.pages.rendering import page
from api.pages.session import page_endpoint, read_form
from api.problems import Problem, first_fault, invalid
from api.profiles import audit_data
from api.routing import Caller, DirectRoute
from eventlog.errors import LogError
from models.letters import Letter, Settled
from projections.redriving import REDRIVABLE, event_in

router = APIRouter(route_class=DirectRoute)

# More is no work for a text field; `scv dead-letters redrive --file` takes any.
EDITED_CHARACTERS_MAX = 64_000
# What a browser makes of that many characters in the worst case.
FORM_BYTES_MAX = 12 * EDITED_CHARACTERS_MAX

Asked = TypeVar("Asked", bound=pydantic.BaseModel)


@page_endpoint(router, "GET", "/ops/letters", scope="ops")
async def ops_letters(request: Request, caller: Caller) -> Response:
    """The latest open dead letters."""
    state = caller.services.operations.state()
    return page("ops_letters.html", latest=state.dead_letters.latest)


@page_endpoint(router, "GET", "/ops/letters/{position}", scope="ops")
async def ops_letter(request: Request, caller: Caller) -> Response:
    """One dead letter with its record, and forms to settle it."""
    entry = await entry_of(caller, request.path_params["position"])
    letter = await letter_of(caller, entry)
    personal, fault = caller.personal, letter.fault
    told = audit_data(caller, request, "dead_letter", ("record",), None)
    caller.services.audit.note("scv.dead_letter_read", [str(entry.position)], told, personal=personal)
    return page(
        "ops_letter.html",
        actor=caller.actor,
        letter=letter,
        place=entry.offset,
        pointer=fault.pointer if personal else masked_pointer(fault.pointer),
        detail=fault.detail if personal else masked_detail(fault.reason, fault.detail),
        record=shown_record(letter, personal=personal),
        logged_at=written(moment(max(0, letter.timestamp_ms) / 1_000)),
        settled=None if entry.settled is None else _became(entry.settled),
        ours=entry.position.lane.topic not in REDRIVABLE,
        corrects=caller.key.allows("events:write"),
        event=_editable(letter) if personal else "",
        most=EDITED_CHARACTERS_MAX,
    )


@page_endpoint(router, "POST", "/ops/letters/{position}/redrive", scope="ops")
async def redrive_letter(request: Request, caller: Caller) -> Response:
    """Write it again, as received or corrected; or look what would become of it."""

    async def redriven(position: str, form: Mapping[str, str]) -> Response:
        corrected = _corrected(form) if form.get("as") == "corrected" else None
        dry_run = "check" in form
        if dry_run:
            form = {"actor": "-", "reason": "-", **form}
        mark = await redrive(caller, position, _decided(caller, form), corrected, dry_run=dry_run)
        return _checked(mark) if dry_run else _done(mark)

    return await _answered(request, redriven)


@page_endpoint(router, "POST", "/ops/letters/{position}/discard", scope="ops")
async def discard_letter(request: Request, caller: Caller) -> Response:
    """Say that nothing is to become of it."""

    async def discarded(position: str, form: Mapping[str, str]) -> Response:
        return _done(await discard(caller, position, _decided(caller, form)))

    return await _answered(request, discarded)


async def _answered(
    request: Request, act: Callable[[str, Mapping[str, str]], Awaitable[Response]]
) -> Response:
    """What `act` answers; or in words why nothing was done."""
    try:
        form = await read_form(request, FORM_BYTES_MAX)
        return await act(request.path_params["position"], form)
    except LogError:
        said = "Kafka did not answer. Whether it was written is not known: open the letter again, it says."
        return page("ops_answer.html", 503, said=said, tone="danger", settled=None)
    except Problem as problem:
        request.scope["scv.code"] = problem.code
        tone = "warn" if problem.status < 500 else "danger"
        settled = problem.members.get("settled")
        return page(
            "ops_answer.html",
            problem.status,
            None if settled is None else _final(request.path_params["position"], settled["action"]),
            said=_refused(problem),
            tone=tone,
            settled=None if settled is None else _in_words(settled),
        )


def _decided(caller: Caller, form: Mapping[str, str]) -> DiscardRequest:
    """Who decides, and why. Problem."""
    actor, reason = caller.actor or form.get("actor"), form.get("reason")
    if actor is None:
        raise invalid("/actor", "say who decides: your number, as E-7")
    if reason is None:
        raise invalid("/reason", "say why, in words: it is kept with the decision")
    try:
        return DiscardRequest.model_validate({"actor": actor, "reason": reason})
    except pydantic.ValidationError as error:
        pointer, said = first_fault(error.errors(include_url=False, include_context=False))
        raise invalid(pointer, f"{pointer[1:]}: {said}") from None


def _corrected(form: Mapping[str, str]) -> bytes:
    """The event as it was edited, without the line breaks that were for people; what is no JSON, as it is."""
    text = form.get("event")
    if text is None:
        raise invalid("/event", "write the whole event into the field, or redrive it as it was received")
    raw = text.encode(errors="replace")
    try:
        return msgspec.json.format(raw, indent=-1)
    except (msgspec.DecodeError, RecursionError):
        return raw


def _editable(letter: Letter) -> str:
    """The event to begin with: in lines where it is one, else the text that came; empty if it is too long."""
    event = event_in(letter)
    try:
        if event is not None:
            text = msgspec.json.format(bytes(event), indent=2).decode()
        else:
            text = (letter.value or b"").decode()
    except UnicodeDecodeError:
        return ""
    return text if len(text) <= EDITED_CHARACTERS_MAX else ""


def _checked(mark: Settled) -> Response:
    how = "as you corrected it" if mark.corrected else "as it was received"
    said = f"It is right: it would go to {mark.topic}, {how}. Nothing has been written yet."
    return page("ops_answer.html", said=said, tone="good", settled=None)


def _done(mark: Settled) -> Response:
    if mark.action == "discarded":
        said = "Discarded. The record stays where it lies; lists no longer have this letter."
    else:
        how = "as you corrected it" if mark.corrected else "as it was received"
        said = f"Redriven: it is in {mark.topic} again, {how}. Workers fold it within seconds."
    return page(
        "ops_answer.html",
        200,
        _final(mark.position, mark.action),
        said=said,
        tone="good",
        settled=_became(mark),
    )


def _final(position: str, word: str) -> dict[str, str]:
    """Take the place of the forms, and have the page mark the letter."""
    told = {"scv:settled": {"position": position, "word": word}}
    return {"HX-Retarget": "#become", "HX-Trigger": json.dumps(told)}


def _became(mark: Settled) -> str:
    told = settlement(mark)
    assert told is not None
    return _in_words(told)


def _in_words(told: Mapping[str, Any]) -> str:
    """`Redriven to sales.events by E-7, 28 Nov, 12:04:10 UTC: was text`."""
    to = f" to {told['topic']}" if told["topic"] else ""
    how = ", corrected," if told["corrected"] else ""
    why = f": {told['reason']}" if told["reason"] else ""
    return f"{told['action'].capitalize()}{to}{how} by {told['actor']}, {written(told['at'])} UTC{why}"


def _refused(problem: Problem) -> str:
    """Why nothing was written, in a sentence."""
    if problem.code == "settled":
        return "Nothing was written: somebody was quicker."
    detail = problem.detail.rstrip(".")
    if problem.code == "invalid_event":
        place = problem.members.get("pointer", "").removeprefix("/event")
        at = f" at {place}" if place else ""
        again = f"it would be a dead letter again, {problem.members['reason']}{at}"
        return f"Nothing was written: {again}: {detail}."
    return f"Nothing was written: {detail}."
