"""Endpoints about dead letters: list, show, redrive, discard; for operators.

Invariants:
- Lists hold of what stood in a record only names of fields and types; a letter shown is audited and masked.
- 200 on redrive and discard means that record and decision are in the log, together; a letter that is settled
  is refused, whoever settled it.
- With `ops` alone nothing can be written that was not written before: a corrected event needs `events:write`,
  and a command about who is who `identity:write`.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, TypeVar

import msgspec
from fastapi import APIRouter, Request
from starlette.convertors import StringConvertor, register_url_convertor
from starlette.responses import Response

from api.letter_bodies import (
    DISCARD,
    DISCARDED,
    LETTER,
    LETTERS,
    REDRIVE,
    REDRIVEN,
    DiscardRequest,
    LetterAnswer,
    LettersAnswer,
    LetterSettledAnswer,
    RedriveRequest,
)
from api.letter_masking import masked_detail, masked_event, masked_header, masked_key, masked_pointer
from api.letter_settling import discard, entry_of, letter_of, redrive, settlement
from api.masking import HIDDEN
from api.problems import Problem, wrong_parameter
from api.profiles import HEADERS, audit_data
from api.routing import Answers, Caller, DirectRoute, Takes, endpoint, read_model
from eventlog.dead_letters import Asked, Entry
from models.dead_letter import Reason
from models.decoding import RECORD_BYTES_MAX
from models.letters import Letter, Settled
from projections.instants import rfc3339
from projections.redriving import event_in

router = APIRouter(route_class=DirectRoute)


class _PositionConvertor(StringConvertor):
    """Without a colon: with one, `GET …/{position}` would answer for the path of `…/{position}:redrive`."""

    regex = "[^/:]+"


register_url_convertor("position", _PositionConvertor())

_JSON = "application/json"
LIMIT_DEFAULT, LIMIT_MAX = 50, 500
# Kafka's own.
TOPIC_CHARACTERS_MAX = 249
# An event, and what is said of it.
BODY_BYTES_MAX = RECORD_BYTES_MAX + 64 * 1024
VALUE_CHARACTERS_MAX = 100_000

POSITION_PARAMETER = {
    "name": "position", "in": "path", "required": True, "example": "sales.events-5@1042",
    "schema": {"type": "string", "pattern": "^[A-Za-z0-9._-]+-[0-9]+@[0-9]+$", "maxLength": 300},
}  # fmt: skip
ACTOR_HEADERS = tuple(one for one in HEADERS if one["name"].startswith("X-"))
_QUERY = (
    ("reason", "Those of this reason.", {"type": "string", "enum": [*Reason]}),
    ("topic", "Those of records of this topic.", {"type": "string", "maxLength": TOPIC_CHARACTERS_MAX}),
    ("from", "Logged at or after this instant.", {"type": "string", "format": "date-time"}),
    ("to", "Logged before this instant.", {"type": "string", "format": "date-time"}),
    ("settled", "`true`: also those that were redriven or discarded.", {"type": "boolean"}),
    ("limit", "At most so many.", {"type": "integer", "minimum": 1, "maximum": LIMIT_MAX}),
    ("cursor", "`next_cursor` of the page before.", {"type": "string", "pattern": "^[0-9]{1,18}$"}),
)
QUERY_PARAMETERS = tuple(
    {"name": name, "in": "query", "description": said, "schema": schema} for name, said, schema in _QUERY
)
SETTLE_PROBLEMS = (
    "not_json", "invalid_request", "body_too_large", "body_too_slow", "unsupported_media_type",
    "unknown_dead_letter", "settled", "log_unavailable",
)  # fmt: skip

Read = TypeVar("Read")


@endpoint(
    router, "GET", "/v1/dead-letters",
    scope="ops", summary="Records that could not be folded", tag="dead letters",
    parameters=QUERY_PARAMETERS, problems=("invalid_request", "log_unavailable"),
    answers=[Answers(200, "Counts by reason, and the latest.", LettersAnswer, LETTERS)],
)  # fmt: skip
async def list_dead_letters(request: Request, caller: Caller) -> Response:
    """Counts by reason, and a page of letters, those written last first. Settled ones are left out."""
    asked, limit, before = _asked(request)
    index = caller.services.letters
    await caller.services.letters_read.answer()
    counts = index.counts(asked)
    found = [one for one in index.newest(asked) if before is None or one.place < before]
    body = {
        "total": sum(one.count for one in counts),
        "reasons": [
            {"reason": one.reason, "count": one.count, "latest_at": _instant(one.latest_ms)} for one in counts
        ],
        "letters": [_summary(one) for one in found[:limit]],
        "next_cursor": str(found[limit - 1].place) if len(found) > limit else None,
        "complete": index.complete,
    }
    return Response(msgspec.json.encode(body), media_type=_JSON)


@endpoint(
    router, "GET", "/v1/dead-letters/{position:position}",
    scope="ops", summary="A dead letter with its record", tag="dead letters",
    parameters=(POSITION_PARAMETER, *ACTOR_HEADERS),
    problems=("invalid_request", "unknown_dead_letter", "audit_unavailable", "log_unavailable"),
    answers=[Answers(200, "The letter.", LetterAnswer, LETTER)],
)  # fmt: skip
async def get_dead_letter(request: Request, caller: Caller) -> Response:
    """The record as received, what is wrong with it, and what would make it right.

    Without `profile:read.pii` of the event's data only the names of fields are shown.
    """
    entry = await entry_of(caller, request.path_params["position"])
    letter = await letter_of(caller, entry)
    data = audit_data(caller, request, "dead_letter", (), None)
    caller.services.audit.note("scv.dead_letter_read", [str(entry.position)], data, personal=caller.personal)
    return Response(msgspec.json.encode(_shown(letter, entry, personal=caller.personal)), media_type=_JSON)


@endpoint(
    router, "POST", "/v1/dead-letters/{position:position}:redrive",
    scope="ops", summary="Write a dead letter again", tag="dead letters",
    parameters=(POSITION_PARAMETER,),
    takes=Takes({_JSON: ({"$ref": "#/components/schemas/RedriveRequest"}, REDRIVE)}),
    problems=(*SETTLE_PROBLEMS, "invalid_event"),
    answers=[Answers(200, "It is in its topic again.", LetterSettledAnswer, REDRIVEN)],
)  # fmt: skip
async def redrive_dead_letter(request: Request, caller: Caller) -> Response:
    """As received or corrected, once: examined as workers do, written together with the decision.

    A corrected event needs the scope `events:write`, too; a command about who is who `identity:write`.
    """
    asked = await read_model(request, RedriveRequest, BODY_BYTES_MAX)
    corrected = None if asked.event is None else _encoded(asked.event)
    mark = await redrive(caller, request.path_params["position"], asked, corrected, dry_run=asked.dry_run)
    return _settled_answer(mark, dry_run=asked.dry_run)


@endpoint(
    router, "POST", "/v1/dead-letters/{position:position}:discard",
    scope="ops", summary="Say that nothing is to become of a dead letter", tag="dead letters",
    parameters=(POSITION_PARAMETER,),
    takes=Takes({_JSON: ({"$ref": "#/components/schemas/DiscardRequest"}, DISCARD)}),
    problems=SETTLE_PROBLEMS,
    answers=[Answers(200, "The decision is in the log.", LetterSettledAnswer, DISCARDED)],
)  # fmt: skip
async def discard_dead_letter(request: Request, caller: Caller) -> Response:
    """Nothing is deleted: the record stays where it lies, and lists no longer have it."""
    asked = await read_model(request, DiscardRequest)
    mark = await discard(caller, request.path_params["position"], asked)
    return _settled_answer(mark, dry_run=False)


def _encoded(event: dict[str, Any]) -> bytes:
    try:
        return msgspec.json.encode(event)
    except RecursionError:
        raise Problem("invalid_event", "nested too deep", pointer="/event", reason=Reason.TOO_DEEP) from None


def _settled_answer(mark: Settled, *, dry_run: bool) -> Response:
    body = {
        "position": mark.position, "action": mark.action, "topic": mark.topic, "corrected": mark.corrected,
        "dry_run": dry_run,
    }  # fmt: skip
    return Response(msgspec.json.encode(body), media_type=_JSON)


def _asked(request: Request) -> tuple[Asked, int, int | None]:
    """What the query asks for. Problem."""
    query = request.query_params

    def instant(text: str) -> int:
        at = datetime.fromisoformat(text)
        if at.tzinfo is None:
            raise ValueError
        return int(at.timestamp() * 1_000)

    def limit(text: str) -> int:
        found = number(text)
        if not 1 <= found <= LIMIT_MAX:
            raise ValueError
        return found

    def number(text: str) -> int:
        if not (text.isascii() and text.isdigit() and len(text) <= 18):
            raise ValueError
        return int(text)

    def topic(text: str) -> str:
        if len(text) > TOPIC_CHARACTERS_MAX:
            raise ValueError
        return text

    def truth(text: str) -> bool:
        return {"true": True, "false": False}[text]

    def read(name: str, make: Callable[[str], Read], wanted: str) -> Read | None:
        given = query.get(name)
        try:
            return None if given is None else make(given)
        except (ValueError, KeyError, OverflowError):
            raise wrong_parameter(name, wanted) from None

    instants = "an instant as 2026-03-01T10:42:07Z"
    asked = Asked(
        read("reason", Reason, f"one of {', '.join(Reason)}"),
        read("topic", topic, f"the name of a topic, of at most {TOPIC_CHARACTERS_MAX} characters"),
        read("from", instant, instants),
        read("to", instant, instants),
        bool(read("settled", truth, "true or false")),
    )
    most = read("limit", limit, f"a number from 1 to {LIMIT_MAX}")
    return asked, most or LIMIT_DEFAULT, read("cursor", number, "`next_cursor` of the page before")


def _summary(one: Entry) -> dict[str, Any]:
    return {
        "position": str(one.position),
        "reason": one.reason,
        # Lists are not audited, so they are masked for everybody.
        "pointer": masked_pointer(one.pointer),
        "detail": masked_detail(one.reason, one.detail),
        "logged_at": _instant(one.at_ms),
        "settled": settlement(one.settled),
    }


def _shown(letter: Letter, entry: Entry, *, personal: bool) -> dict[str, Any]:
    raw = event_in(letter)
    event = None if raw is None else msgspec.json.decode(raw)
    value = None if raw is not None or letter.value is None else _text(letter.value)[:VALUE_CHARACTERS_MAX]
    key = None if letter.key is None else _text(letter.key)
    headers = [(name, None if one is None else _text(one)) for name, one in letter.headers]
    shown = {
        **_summary(entry),
        "hint": letter.hint,
        "masked": not personal,
        "omitted_bytes": letter.omitted_bytes,
    }
    if personal:
        fault = letter.fault
        told = [{"name": name, "value": one} for name, one in headers]
        exact = {"pointer": fault.pointer, "detail": fault.detail}
        return {**shown, **exact, "key": key, "event": event, "value": value, "headers": told}
    return {
        **shown,
        "key": None if key is None else masked_key(key),
        "event": None if event is None else masked_event(event),
        "value": None if value is None else HIDDEN,
        "headers": [masked_header(name, one) for name, one in headers],
    }


def _text(raw: bytes) -> str:
    return raw.decode(errors="replace")


def _instant(at_ms: int) -> str:
    return rfc3339(max(at_ms, 0) * 1_000)
