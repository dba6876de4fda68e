"""/agent: who is calling, what it is probably about, and what is written down afterwards.

Invariants:
- Names go in bodies, never in addresses; a page keeps a caller's number no longer than the call.
- An ambiguous look-up opens nobody; whom an agent chooses is audited as a read of that customer.
- Every read, reveal and comparison is audited as the API's own, under the agent's number.
"""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec
import pydantic
from fastapi import APIRouter, Request
from starlette.responses import Response

from api.accepting import accept
from api.bodies import RevealRequest
from api.explaining import explained, field_of
from api.freshness import SyncToken
from api.masking import mask_given_name
from api.pages import past, wrap_up
from api.pages.asking import is_one_of_ours, names_of
from api.pages.desk import desk_of
from api.pages.live import PageStream, ended, freshness_now
from api.pages.reasons import why_of
from api.pages.rendering import page
from api.pages.session import page_endpoint, read_form
from api.pages.verifying import ASKED, ENOUGH, compared
from api.past import asked_of, point_of
from api.problems import Problem, first_fault, invalid, wrong_parameter
from api.profiles import audit, candidates_of, customer_id_of, looked_back, sections_of, seen
from api.resolving import Resolved, live_profile, resolve
from api.routing import Caller, DirectRoute, header_of
from api.shown import TIMELINE, document_of, section_of
from api.writing import audit_first, revealed
from eventlog.errors import LogError
from projections.replay import NOW, Point
from stores.reading import StoredProfile

router = APIRouter(route_class=DirectRoute)

CALL, DESK = "inbound_call", "agent_desk"
# A write of the agent's own is in the view within some hundredths of a second.
WAIT = "wait=2"
REASONS = ("Call back", "Verify the caller", "Correct a mistake", "Send something")


@page_endpoint(router, "GET", "/agent", scope="profile:read", whole=True)
async def agent_page(request: Request, caller: Caller) -> Response:
    """The page, with nobody on it yet."""
    return page("agent.html", caller=caller, fresh=freshness_now(caller.services), reasons=REASONS)


@page_endpoint(router, "POST", "/agent/lookup", scope="profile:read")
async def look_up(request: Request, caller: Caller) -> Response:
    """Who is it? By `names`, a line each, of a telephony system or as typed."""
    form = await read_form(request)
    text = form.get("names", "")
    names = names_of(text)
    if not names:
        raise invalid(
            "/names", "type a phone number, an email, an order or case number, or a customer number"
        )
    sections = sections_of(caller, None)
    found = await resolve(caller.services, names, sections)
    purpose = CALL if form.get("calling") else DESK
    if found.stored is not None:
        audit(caller, request, "lookup", [found.stored.customer_id], sections, purpose)
        return _customer(request, caller, found.stored, sections)
    shown = [one["customer_id"] for one in found.answer.candidates]
    audit(caller, request, "lookup", shown, ("candidates",), purpose)
    return _nobody_yet(request, caller, found, text)


def _nobody_yet(request: Request, caller: Caller, found: Resolved, text: str) -> Response:
    """Several, for the agent to choose from; or none."""
    asked = ", ".join(line.strip() for line in text.splitlines() if line.strip())
    given = names_of(text)
    if not caller.personal and not all(map(is_one_of_ours, given)):
        asked = ", ".join(
            mask_given_name(name).partition(":")[2] for name in given if not is_one_of_ours(name)
        )
    now = _now(request)
    if found.answer.match == "ambiguous":
        candidates = msgspec.json.decode(candidates_of(found.answer, personal=caller.personal)[0])
        return page("agent_ambiguous.html", candidates=candidates, asked=asked, now=now)
    return page("agent_unknown.html", asked=asked, now=now)


@page_endpoint(router, "GET", "/agent/customers/{customer_id}", scope="profile:read")
async def customer(request: Request, caller: Caller) -> Response:
    """A customer by id: chosen among several, gone on to after a merge, or as it is by now."""
    customer_id, sections = customer_id_of(request), sections_of(caller, None)
    try:
        _, stored = await live_profile(caller.services, customer_id, sections)
    except Problem as problem:
        if problem.code == "merged":
            _, stored = await live_profile(caller.services, problem.members["customer_id"], sections)
        elif problem.code == "split":
            return _nobody_yet(
                request, caller, await resolve(caller.services, [customer_id], sections), customer_id
            )
        else:
            raise
    audit(caller, request, "profile", [stored.customer_id], sections, DESK)
    return _customer(request, caller, stored, sections)


def _customer(request: Request, caller: Caller, stored: StoredProfile, sections: Sequence[str]) -> Response:
    profile = msgspec.json.decode(document_of(stored, sections, personal=caller.personal))
    desk = desk_of(profile, _now(request), masked=not caller.personal)
    may = {scope: caller.key.allows(scope) for scope in ("profile:reveal", "events:write")}
    return page("agent_customer.html", desk=desk, p=profile, may=may, caller=caller, asked=ASKED,
                wrap_up=wrap_up, form_id=uuid.uuid4().hex, then=None)  # fmt: skip


@page_endpoint(router, "GET", "/agent/customers/{customer_id}/steps", scope="profile:read")
async def steps(request: Request, caller: Caller) -> Response:
    """The bar for looking back: a step for each instant at which something happened, or was logged."""
    customer_id, zone = customer_id_of(request), _zone(request)
    may, found, why = caller.key.allows("timeline:read"), {}, None
    if may:
        try:
            generation, stored = await live_profile(caller.services, customer_id, ())
            moments = await caller.services.replays.moments(asked_of(caller, generation or "", stored, NOW))
        except Problem as problem:
            why = _why_not(request, problem, None)
        else:
            audit(caller, request, "steps", [customer_id], (TIMELINE,), DESK)
            for clock in (past.AS_OF, past.KNOWN_AT):
                found[clock] = past.steps_of(moments, clock, zone, personal=caller.personal)
    return page("agent_past_bar.html", steps=found, why=why, may=may)


@page_endpoint(router, "GET", "/agent/customers/{customer_id}/past", scope="profile:read")
async def customer_then(request: Request, caller: Caller) -> Response:
    """The customer as it was (`as_of`) or as it was known (`known_at`), or why that is not to be seen."""
    customer_id, point, zone = customer_id_of(request), point_of(request), _zone(request)
    sections = sections_of(caller, None)
    if point is None:
        raise wrong_parameter("as_of", "say of which time")
    said = past.said_of(point, zone)
    try:
        generation, now = await live_profile(caller.services, customer_id, ("identity",))
        asked = asked_of(caller, generation or "", now, point)
        found = (await looked_back(request, caller, asked, customer_id, sections, DESK)).stored
    except Problem as problem:
        return page("agent_past_none.html", said=said, why=_why_not(request, problem, point))
    profile = msgspec.json.decode(document_of(found, sections, personal=caller.personal))
    at = past.local(past.shown_until(point), zone)
    desk = desk_of(profile, at, masked=not caller.personal, past=True)
    then = past.then_of(point, zone, found, now, personal=caller.personal)
    return page("agent_customer.html", desk=desk, p=profile, then=then,
                may={"profile:reveal": False, "events:write": False})  # fmt: skip


@page_endpoint(router, "GET", "/agent/customers/{customer_id}/why/{field:path}", scope="profile:read")
async def why(request: Request, caller: Caller) -> Response:
    """Why a figure is what it is, or was at the time that is shown: the events that made it, and the rule."""
    field, point, zone = field_of(request, caller), point_of(request), _zone(request)
    wanted = ("summary", TIMELINE) if caller.key.allows("timeline:read") else ("summary",)
    said = None if point is None else past.said_of(point, zone)
    try:
        generation, now = await live_profile(caller.services, customer_id_of(request), wanted)
        asked = asked_of(caller, generation or "", now, point or NOW, field)
        document = msgspec.json.decode(await explained(request, caller, asked, now, DESK))
    except Problem as problem:
        return page("agent_why.html", why=None, said=said, told=_why_not(request, problem, point))
    timeline = msgspec.json.decode(section_of(now, TIMELINE, personal=caller.personal)) or ()
    # An id is unique within its source only, which a timeline does not tell.
    titles = {(one["event_id"], one["type"], one["occurred_at"]): one["title"] for one in timeline}
    summary = msgspec.json.decode(section_of(now, "summary", personal=caller.personal)) or {}
    made = why_of(document, titles, summary.get("lifetime_value_currency"), zone)
    return page("agent_why.html", why=made, said=said, told=None)


def _why_not(request: Request, problem: Problem, point: Point | None) -> tuple[str, str]:
    """What a page says instead; the server's log has the problem's code."""
    told = past.why_not(problem, customer_id_of(request), point)
    request.scope["scv.code"] = problem.code
    return told


@page_endpoint(router, "GET", "/agent/stream", scope="profile:read")
async def stream(request: Request, caller: Caller) -> Response:
    """What happens to the customer, if one is open, and how fresh the view is."""
    if "profile" not in request.query_params:
        return PageStream(caller, None, "")
    request.path_params["customer_id"] = request.query_params.get("profile", "")
    customer_id = customer_id_of(request)
    try:
        _, stored = await live_profile(caller.services, customer_id, sections_of(caller, None))
    except Problem as problem:
        if problem.code not in ("merged", "split", "erased", "unknown_customer"):
            raise
        return ended(problem, customer_id)
    audit(caller, request, "stream", [customer_id], (), DESK)
    return PageStream(caller, stored, header_of(request, "last-event-id") or "")


@page_endpoint(router, "POST", "/agent/customers/{customer_id}/reveal", scope="profile:reveal")
async def reveal(request: Request, caller: Caller) -> Response:
    """Masked facts as they are, for a reason."""
    form = await read_form(request)
    fields = [name.removeprefix("field:") for name in form if name.startswith("field:")]
    try:
        asked = RevealRequest.model_validate({"fields": fields, "reason": form.get("reason", "")})
    except pydantic.ValidationError as error:
        pointer, said = first_fault(
            error.errors(include_url=False, include_context=False, include_input=False)
        )
        told = (
            "say why: it is written down"
            if pointer == "/reason"
            else "choose what to show"
            if not fields
            else said
        )
        raise invalid(pointer, told) from None
    _, stored = await live_profile(caller.services, customer_id_of(request), ("identity",))
    shown = await revealed(request, caller, stored, asked)
    return page("agent_revealed.html", shown=shown)


@page_endpoint(router, "POST", "/agent/customers/{customer_id}/verify", scope="profile:reveal")
async def verify(request: Request, caller: Caller) -> Response:
    """What the caller states, compared with what is known."""
    form = await read_form(request)
    stated = {name: form[name] for name in ASKED if name in form}
    if not stated:
        raise invalid("", "type what the caller told you")
    sections = ("identity", "sales", "billing")
    _, stored = await live_profile(caller.services, customer_id_of(request), sections)
    profile = msgspec.json.decode(document_of(stored, sections, personal=True))
    answer = compared(profile, stated, caller.services.rules)
    said: dict[str, Any] = {"fields": list(stated), "verified": answer.verified}
    await audit_first(request, caller, "verify", "scv.caller_verified", stored.customer_id, said)
    return page("agent_verified.html", answer=answer, asked=ASKED, enough=ENOUGH, now=_now(request))


@page_endpoint(router, "POST", "/agent/customers/{customer_id}/wrap-up", scope="events:write")
async def write_wrap_up(request: Request, caller: Caller) -> Response:
    """What the agent writes down, as events; answered when they are in the log, and as a rule in the view."""
    form = await read_form(request)
    _, stored = await live_profile(caller.services, customer_id_of(request), ())
    now = datetime.now(UTC)
    events = wrap_up.events_of(form, stored.founder, caller.actor, now, _zone(request))
    outcomes = await accept(caller.services, events)
    for one in outcomes:
        if one.fault is not None:
            raise invalid(one.fault.pointer, one.fault.detail)
    if any(one.place is None for one in outcomes):
        raise Problem("log_unavailable", "not written yet; save again, that writes nothing twice")
    token = SyncToken.of([one.place for one in outcomes if one.place is not None]).text()
    # It is written; whoever cannot wait for it sees it a moment later, as news.
    with contextlib.suppress(Problem, LogError):
        await seen(caller, token, WAIT)
    return page("agent_saved.html", headers={"HX-Trigger-After-Swap": "scv:saved"}, count=len(outcomes))


def _zone(request: Request) -> ZoneInfo:
    """Where the agent sits, as the browser says."""
    try:
        return ZoneInfo(header_of(request, "x-time-zone") or "UTC")
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return ZoneInfo("UTC")


def _now(request: Request) -> datetime:
    return datetime.now(_zone(request))
