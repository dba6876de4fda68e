"""Endpoints that read: look-up, profile, timeline, identifiers, consents, merges.

Invariants:
- Every customer shown is audited before the answer leaves; what cannot be audited is not shown.
- Ambiguous is never opened: candidates carry a masked name, last contact and their reasons.
- Every answer says how fresh it is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import msgspec
from fastapi import APIRouter, Request
from starlette.responses import Response

from api.bodies import (
    ConsentsAnswer,
    IdentifiersAnswer,
    LookupAnswer,
    LookupRequest,
    MergesAnswer,
    ProfileAnswer,
    TimelineAnswer,
)
from api.examples import CONSENTS, IDENTIFIERS, LOOKUP, LOOKUP_REQUEST, MERGES, PROFILE, TIMELINE_PAGE
from api.freshness import wait_for
from api.lookup import Answer, NotAName
from api.masking import mask_given_name, mask_name, mask_subject, scrubbed
from api.merges import shown_turn
from api.past import PAST_PROBLEMS, POINT_PARAMETERS, asked_of, point_of, replayed_to
from api.problems import Problem, invalid, wrong_parameter
from api.replays import Asked, Past
from api.resolving import live_profile, resolve
from api.routing import Answers, Caller, DirectRoute, Takes, endpoint, header_of, read_model
from api.shown import SECTIONS, TIMELINE, as_of, document_of, etag_of, section_of
from api.timeline import LIMIT_DEFAULT, LIMIT_MAX, TimelineQuery, page_of
from projections.replay import Point
from stores.reading import StoredProfile

router = APIRouter(route_class=DirectRoute)

CUSTOMER_ID = re.compile(r"cus_[0-9A-HJKMNP-TV-Z]{16}")
_PURPOSE = re.compile(r"[a-z][a-z0-9_.-]{0,63}")
ACTOR = re.compile(r"[A-Za-z0-9][A-Za-z0-9_./:-]{0,79}")
JSON = "application/json"

# What of a stored section an endpoint shows.
Shown = Callable[[bytes], dict[str, Any]]

ID_PARAMETER = {
    "name": "customer_id", "in": "path", "required": True, "example": "cus_7Q2M4X9K3BTD5HWE",
    "schema": {"type": "string", "pattern": "^cus_[0-9A-HJKMNP-TV-Z]{16}$"},
}  # fmt: skip
SECTIONS_PARAMETER = {
    "name": "sections", "in": "query", "example": "summary,identity",
    "description": "Only these sections, comma-separated; without it all that the key may see.",
    "schema": {"type": "string", "pattern": "^[a-z]+(,[a-z]+)*$", "maxLength": 200},
}  # fmt: skip
HEADERS = (
    {
        "name": "Sync-Token", "in": "header", "schema": {"type": "string", "maxLength": 20_000},
        "description": "Of an answer to POST /v1/events: the read has those events, or is refused.",
    },
    {
        "name": "Prefer", "in": "header", "schema": {"type": "string"}, "example": "wait=2",
        "description": "With a Sync-Token: wait so many seconds for it, at most 10.",
    },
    {
        "name": "X-Actor", "in": "header", "schema": {"type": "string", "pattern": f"^{ACTOR.pattern}$"},
        "description": "Who asks, for the audit record: an employee's number.", "example": "E-7",
    },
    {
        "name": "X-Purpose", "in": "header", "schema": {"type": "string", "pattern": f"^{_PURPOSE.pattern}$"},
        "description": "Why, for the audit record.", "example": "inbound_call",
    },
)  # fmt: skip
READ_PROBLEMS = (
    "log_unavailable",
    "invalid_request",
    "unknown_customer",
    "erased",
    "split",
    "too_many_waiting",
    "projection_behind",
    "audit_unavailable",
)
REPLAY_PROBLEMS = (*READ_PROBLEMS, *PAST_PROBLEMS)
MOVED = Answers(
    308, "`merged`: the customer was merged into another; go on there.", {}, None,
    headers={"Location": "The same question to the customer it belongs to now."},
)  # fmt: skip


def sections_of(caller: Caller, asked: Sequence[str] | None) -> tuple[str, ...]:
    """The sections to show, in the profile's order. Problem."""
    if asked is None:
        visible = caller.key.allows("timeline:read")
        return SECTIONS if visible else tuple(name for name in SECTIONS if name != TIMELINE)
    if unknown := [name for name in asked if name not in SECTIONS]:
        some = ", ".join(name for name in unknown if name.isalpha())[:80]
        raise wrong_parameter(
            "sections", f"no section {some or 'of that name'}; there are: {', '.join(SECTIONS)}"
        )
    if TIMELINE in asked:
        caller.require("timeline:read")
    return tuple(name for name in SECTIONS if name in asked)


def audit(
    caller: Caller,
    request: Request,
    action: str,
    customer_ids: Sequence[str],
    sections: Sequence[str],
    purpose: str | None = None,
) -> None:
    """Note who was shown. Problem `audit_unavailable`."""
    data = audit_data(caller, request, action, sections, purpose)
    caller.services.audit.note("scv.profile_read", customer_ids, data, personal=caller.personal)


def audit_data(
    caller: Caller, request: Request, action: str, sections: Sequence[str], purpose: str | None
) -> dict[str, Any]:
    """What an audit record says of a read. Problem when the headers that it takes are none."""
    actor = caller.actor or header_of(request, "x-actor")
    if actor is not None and not ACTOR.fullmatch(actor):
        raise wrong_parameter("X-Actor", "an employee's number or a system's name, as E-7")
    given = header_of(request, "x-purpose")
    if given is not None and not _PURPOSE.fullmatch(given):
        raise wrong_parameter("X-Purpose", "a word, as inbound_call")
    return {
        "action": action,
        "key_id": caller.key.id,
        "key_name": caller.key.name,
        "actor": actor,
        "purpose": purpose or given,
        "sections": list(sections),
        "masked": not caller.personal,
        "request_id": caller.request_id,
    }


async def synced(caller: Caller, request: Request) -> None:
    """Wait for the request's Sync-Token, if it has one. Problem."""
    token = header_of(request, "sync-token")
    if token is not None:
        await seen(caller, token, header_of(request, "prefer"))


async def seen(caller: Caller, token: str, prefer: str | None) -> None:
    """Wait until what a Sync-Token stands for is in the view. Problem."""
    services = caller.services
    slot = partial(services.waiting.one, caller.key.id)
    await wait_for(services.store, token, prefer, log=services, slot=slot)


def customer_id_of(request: Request) -> str:
    """The customer id in the path. Problem."""
    given: str = request.path_params["customer_id"]
    if not CUSTOMER_ID.fullmatch(given):
        raise Problem("unknown_customer", "a customer id is cus_ and 16 characters")
    return given


async def _profile(
    request: Request, caller: Caller, sections: Sequence[str], rest: str
) -> tuple[StoredProfile, bytes]:
    """The profile in the path, and how fresh it is; audited."""
    customer_id = customer_id_of(request)
    await synced(caller, request)
    query: bytes = request.scope["query_string"]
    generation, stored = await live_profile(caller.services, customer_id, sections, rest, query)
    action = rest.removeprefix("/") or "profile"
    audit(caller, request, action, [stored.customer_id], sections)
    return stored, as_of(stored, generation, caller.services.lags.lag)


async def located(request: Request, caller: Caller, rest: str) -> tuple[str, StoredProfile]:
    """The customer in the path as it is now, for a replay. Problem."""
    customer_id = customer_id_of(request)
    await synced(caller, request)
    generation, stored = await live_profile(
        caller.services, customer_id, ("summary",), rest, request.url.query
    )
    return generation or "", stored


async def looked_back(
    request: Request, caller: Caller, asked: Asked, now_id: str, sections: Sequence[str], purpose: str | None
) -> Past:
    """A customer as it was; audited as a read of whom it is now, and was then. Problem."""
    past = await caller.services.replays.profile(asked)
    shown = dict.fromkeys((now_id, past.stored.customer_id))
    audit(caller, request, "profile", list(shown), sections, purpose)
    return past


async def _past_profile(request: Request, caller: Caller, sections: Sequence[str], point: Point) -> Response:
    """The profile as it was, or was known."""
    generation, now = await located(request, caller, "")
    asked = asked_of(caller, generation, now, point)
    past = await looked_back(request, caller, asked, now.customer_id, sections, None)
    body = b'{"profile":%s,"replayed":%s,"as_of":%s}' % (
        document_of(past.stored, sections, personal=caller.personal),
        msgspec.json.encode(replayed_to(point, past)),
        as_of(past.stored, generation, caller.services.lags.lag),
    )
    return Response(body, media_type=JSON)


@endpoint(
    router, "POST", "/v1/profiles:lookup",
    scope="profile:read", summary="Who is it?", tag="profiles",
    takes=Takes({JSON: ({"$ref": "#/components/schemas/LookupRequest"}, LOOKUP_REQUEST)}),
    parameters=HEADERS,
    problems=("not_json", "unsupported_media_type", "body_too_large", "body_too_slow", "invalid_request",
              "too_many_waiting", "projection_behind", "log_unavailable", "audit_unavailable"),
    answers=[Answers(200, "`single`, `ambiguous` or `none`; always 200.", LookupAnswer, LOOKUP)],
)  # fmt: skip
async def lookup_profiles(request: Request, caller: Caller) -> Response:
    """Find a customer by identifiers, subjects or references. Several names must agree on one customer.

    An ambiguous answer opens nobody: choose a candidate and read it by its id. Names go in the body, so that
    no personal data reaches access logs.
    """
    asked = await read_model(request, LookupRequest)
    sections = sections_of(caller, asked.sections)
    await synced(caller, request)
    names = [f"{one.type}:{one.value}" for one in asked.identifiers]
    try:
        found = await resolve(caller.services, names, sections)
    except NotAName:
        raise invalid("/identifiers", "each is a type and a value, as phone and +4930901820") from None
    answer, stored = found.answer, found.stored
    shown = [stored.customer_id] if stored else [one["customer_id"] for one in answer.candidates]
    audit(caller, request, "lookup", shown, sections if stored else ("candidates",), asked.purpose)
    document = b"null" if stored is None else document_of(stored, sections, personal=caller.personal)
    candidates, unknown = candidates_of(answer, personal=caller.personal)
    body = b'{"match":"%s","profile":%s,"candidates":%s,"merged_into":%s,"unknown":%s,"as_of":%s}' % (
        answer.match.encode(),
        document,
        candidates,
        msgspec.json.encode(answer.merged_into),
        unknown,
        as_of(stored, found.generation, caller.services.lags.lag),
    )
    return Response(body, media_type=JSON)


def candidates_of(answer: Answer, *, personal: bool) -> tuple[bytes, bytes]:
    """The candidates, and the names that lead nowhere, as JSON: masked as profiles are."""
    # A `single` answer has shown the one that there is.
    candidates = [] if answer.match == "single" else answer.candidates
    shown = msgspec.json.encode([_candidate(one, personal=personal) for one in candidates])
    if personal:
        return shown, msgspec.json.encode(answer.unknown)
    return scrubbed(shown), scrubbed(msgspec.json.encode([mask_given_name(name) for name in answer.unknown]))


def _candidate(one: dict[str, Any], *, personal: bool) -> dict[str, Any]:
    name, founder, reasons = one["display_name"], one["founder"], one["reasons"]
    # Whoever asks is not known to mean this customer: the name is masked for every key.
    one = {**one, "display_name": name and mask_name(name)}
    if personal:
        return one
    return {
        **one,
        "founder": founder and mask_subject(founder),
        "reasons": [
            {
                **why,
                "via": mask_given_name(why["via"]),
                "through": why["through"] and mask_subject(why["through"]),
            }
            for why in reasons
        ],
    }


@endpoint(
    router, "GET", "/v1/profiles/{customer_id}",
    scope="profile:read", summary="A customer's profile", tag="profiles",
    parameters=(ID_PARAMETER, SECTIONS_PARAMETER, *POINT_PARAMETERS, {
        "name": "If-None-Match", "in": "header", "schema": {"type": "string"},
        "description": "The ETag of an earlier answer: 304 when nothing changed.",
    }, *HEADERS), problems=REPLAY_PROBLEMS,
    answers=[
        Answers(200, "The profile.", ProfileAnswer, PROFILE, headers={"ETag": "For If-None-Match."}),
        Answers(304, "The profile is what it was.", {}, None),
        MOVED,
    ],
)  # fmt: skip
async def get_profile(request: Request, caller: Caller) -> Response:
    """The profile, or some sections of it. Without `timeline:read` the section `timeline` is left out.

    With `as_of` or `known_at` it is replayed from the customer's own records, at most 1,000 of them, and has
    no ETag.
    """
    given = request.query_params.get("sections")
    sections = sections_of(caller, None if given is None else given.split(","))
    point = point_of(request)
    if point is not None:
        return await _past_profile(request, caller, sections, point)
    stored, fresh = await _profile(request, caller, sections, "")
    document = document_of(stored, sections, personal=caller.personal)
    headers = {"ETag": etag_of(document)}
    held = [one.strip() for one in (header_of(request, "if-none-match") or "").split(",")]
    if headers["ETag"] in held or "*" in held:
        return Response(status_code=304, headers=headers)
    return Response(b'{"profile":%s,"as_of":%s}' % (document, fresh), 200, headers, JSON)


@endpoint(
    router, "GET", "/v1/profiles/{customer_id}/timeline",
    scope="timeline:read", summary="What happened, newest first", tag="profiles",
    parameters=(ID_PARAMETER,
        {"name": "limit", "in": "query", "description": "Entries of a page.",
         "schema": {"type": "integer", "minimum": 1, "maximum": LIMIT_MAX, "default": LIMIT_DEFAULT}},
        {"name": "cursor", "in": "query", "description": "`next_cursor` of the page before.",
         "schema": {"type": "string", "pattern": "^[A-Za-z0-9_-]+$", "maxLength": 200}},
        {"name": "type", "in": "query", "description": "Only of these types or domains, comma-separated.",
         "schema": {"type": "string", "pattern": "^[a-z][a-z._,]*$", "maxLength": 1_000},
         "example": "service"},
        *HEADERS),
    problems=READ_PROBLEMS, answers=[Answers(200, "A page.", TimelineAnswer, TIMELINE_PAGE), MOVED],
)  # fmt: skip
async def get_timeline(request: Request, caller: Caller) -> Response:
    """The latest 100 events by pages. New events do not shift pages: a cursor goes on after its entry."""
    query = TimelineQuery.parse(request.query_params)
    stored, fresh = await _profile(request, caller, (TIMELINE,), "/timeline")
    entries, cursor = page_of(section_of(stored, TIMELINE, personal=caller.personal), query)
    truncated = b'"timeline"' in stored.sections.get("meta", b"")
    body = b'{"customer_id":"%s","entries":[%s],"next_cursor":%s,"truncated":%s,"as_of":%s}' % (
        stored.customer_id.encode(),
        b",".join(entries),
        msgspec.json.encode(cursor),
        b"true" if truncated else b"false",
        fresh,
    )
    return Response(body, media_type=JSON)


def _section_endpoint(
    rest: str, section: str, summary: str, description: str, answer: Answers, shown: Shown
) -> None:
    """Declare that a section, or a part of it, has a path of its own."""

    async def read(request: Request, caller: Caller) -> Response:
        stored, fresh = await _profile(request, caller, (section,), f"/{rest}")
        return _parts(stored, shown(section_of(stored, section, personal=caller.personal)), fresh)

    read.__doc__ = description
    endpoint(
        router, "GET", f"/v1/profiles/{{customer_id}}/{rest}",
        scope="profile:read", summary=summary, tag="profiles", name=f"get_{rest}",
        parameters=(ID_PARAMETER, *HEADERS), problems=READ_PROBLEMS, answers=[answer, MOVED],
    )(read)  # fmt: skip


def _names(section: bytes) -> dict[str, Any]:
    identity = msgspec.json.decode(section) or {}
    return {name: identity.get(name, []) for name in ("subjects", "identifiers", "related")}


_section_endpoint(
    "identifiers", "identity", "By which names the customer is known",
    "Subjects, identifiers with their status, and related customers.",
    Answers(200, "Subjects, identifiers, related ones.", IdentifiersAnswer, IDENTIFIERS), _names,
)  # fmt: skip
_section_endpoint(
    "consents", "consent", "What the customer has permitted",
    "The latest word on each purpose and channel, and how the customer wants to be treated.",
    Answers(200, "Permissions, preferences, stated values.", ConsentsAnswer, CONSENTS),
    lambda section: {"consent": msgspec.Raw(section)},
)  # fmt: skip


@endpoint(
    router, "GET", "/v1/profiles/{customer_id}/merges",
    scope="profile:read", summary="Merges and splits that the customer took part in", tag="profiles",
    parameters=(ID_PARAMETER, *HEADERS), problems=READ_PROBLEMS,
    answers=[Answers(200, "The latest 50, newest first.", MergesAnswer, MERGES), MOVED],
)  # fmt: skip
async def get_merges(request: Request, caller: Caller) -> Response:
    """What was before, what came of it, and the edges that did it, out of `customer.merges`."""
    stored, fresh = await _profile(request, caller, (), "/merges")
    services = caller.services
    history = await services.merges_thread.ask(partial(services.merges.of, stored.customer_id))
    turns = [shown_turn(turn, personal=caller.personal) for turn in history.turns]
    return _parts(stored, {"merges": turns, "complete": history.complete}, fresh)


def _parts(stored: StoredProfile, shown: dict[str, Any], fresh: bytes) -> Response:
    body = {"customer_id": stored.customer_id, **shown, "as_of": msgspec.Raw(fresh)}
    return Response(msgspec.json.encode(body), media_type=JSON)
