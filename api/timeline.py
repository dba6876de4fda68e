"""The timeline by pages.

Invariants:
- A cursor names an entry: pages neither shift nor repeat when new events arrive on top.
- Entries leave as they came in: what is looked at is their type and instant.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple

import msgspec

from api.problems import wrong_parameter
from models.catalogue import TOPIC_OF_DOMAIN, domain_of
from models.event import EVENT_TYPES

LIMIT_DEFAULT = 50
# All that a profile holds.
LIMIT_MAX = 100
TYPES_MAX = 40


class _Seen(msgspec.Struct):
    type: str
    occurred_at: str
    event_id: str


class _Cursor(NamedTuple):
    at: str
    entry: str

    def text(self) -> str:
        return base64.urlsafe_b64encode(msgspec.json.encode(self)).decode().rstrip("=")


_entries = msgspec.json.Decoder(list[msgspec.Raw]).decode
_seen = msgspec.json.Decoder(_Seen).decode
_cursor = msgspec.json.Decoder(_Cursor).decode


class TimelineQuery(NamedTuple):
    """Which page: at most `limit` entries of these types or domains (all when empty), after `cursor`."""

    limit: int
    cursor: tuple[str, str] | None
    types: frozenset[str]

    @classmethod
    def parse(cls, query: Mapping[str, str]) -> TimelineQuery:
        """The page that a query asks for. Problem."""
        limit = query.get("limit", str(LIMIT_DEFAULT))
        if not (limit.isascii() and limit.isdecimal() and len(limit) < 4 and 1 <= int(limit) <= LIMIT_MAX):
            raise wrong_parameter("limit", f"a whole number from 1 to {LIMIT_MAX}")
        given = [name for name in query.get("type", "").split(",") if name]
        if "type" in query and not 1 <= len(given) <= TYPES_MAX:
            raise wrong_parameter(
                "type", f"between 1 and {TYPES_MAX} types, as service.case_opened, or domains"
            )
        if any(name not in EVENT_TYPES and name not in TOPIC_OF_DOMAIN for name in given):
            raise wrong_parameter("type", "no such event type or domain; docs/events.md has them all")
        return cls(int(limit), _parsed(query.get("cursor")), frozenset(given))


def _parsed(text: str | None) -> tuple[str, str] | None:
    if text is None:
        return None
    wrong = wrong_parameter("cursor", "no `next_cursor` of a page before")
    if len(text) > 200 or not text.isascii():
        raise wrong
    try:
        cursor = _cursor(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
        _instant(cursor.at)
    except (ValueError, msgspec.DecodeError):
        raise wrong from None
    return cursor


def page_of(section: bytes, query: TimelineQuery) -> tuple[list[bytes], str | None]:
    """The entries of a page as JSON, and the cursor of the next one."""
    entries = [(bytes(raw), _seen(raw)) for raw in _entries(section)]
    if query.types:
        entries = [
            one for one in entries if one[1].type in query.types or domain_of(one[1].type) in query.types
        ]
    if query.cursor is not None:
        entries = entries[_after(entries, query.cursor) :]
    page = entries[: query.limit]
    more = len(entries) > len(page)
    cursor = _Cursor(page[-1][1].occurred_at, _name(page[-1][0])).text() if more else None
    return [raw for raw, _ in page], cursor


def _after(entries: list[tuple[bytes, _Seen]], cursor: tuple[str, str]) -> int:
    """Where to go on: behind the entry itself, or where it would be if a newer one has pushed it out."""
    at, name = cursor
    for place in range(len(entries) - 1, -1, -1):
        if entries[place][1].occurred_at == at and _name(entries[place][0]) == name:
            return place + 1
    before = _instant(at)
    return next(
        (place for place, one in enumerate(entries) if _instant(one[1].occurred_at) < before), len(entries)
    )


def _name(entry: bytes) -> str:
    return hashlib.blake2b(entry, digest_size=9).hexdigest()


def _instant(text: str) -> datetime:
    at = datetime.fromisoformat(text)
    if at.tzinfo is None:
        raise ValueError("an instant has an offset")
    return at
