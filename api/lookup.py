"""Find a customer by anything: customer id, subject, identifier, order, case or invoice.

Invariants:
- `single` only when exactly one customer answers to the name; several are `ambiguous`, with their reasons.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import msgspec

from models.identifiers import parse_identifier
from projections.assembling import document
from stores.reading import ProfileReader, StoredProfile

_CUSTOMER_ID = re.compile(r"cus_[0-9A-HJKMNP-TV-Z]{16}")


class NotAName(ValueError):
    """The text is no customer id and no `type:value`; the message says what would be one."""


class Answer(NamedTuple):
    """What a look-up gives. `profile` is the whole document of a `single` match, as profile.json has it."""

    match: Literal["single", "ambiguous", "none"]
    profile: dict[str, Any] | None
    candidates: list[dict[str, Any]]


def lookup(
    reader: ProfileReader, text: str, region: str = "DE", sections: Sequence[str] | None = None
) -> Answer:
    """The customer that `text` names: `crm:4711`, `phone:+4930901820`, `order:O-8`, `cus_…`. NotAName."""
    if _CUSTOMER_ID.fullmatch(text):
        stored = reader.profile(text, sections)
        return Answer("none", None, []) if stored is None else Answer("single", whole(stored), [])
    kind, colon, value = text.strip().partition(":")
    if not (kind and colon and value):
        raise NotAName(
            f"{text!r} is no customer id and no type:value; try crm:4711, phone:+4930901820 or order:O-8"
        )
    normal = parse_identifier(text, region)
    # Subjects and references are names as they are written; only identifiers have a form of their own.
    found = (reader.candidates(*normal) if normal else []) or reader.candidates(kind, value)
    if not found:
        return Answer("none", None, [])
    candidates = [_candidate(reader, one.customer_id, one.status, one.via) for one in found]
    if len(found) > 1:
        return Answer("ambiguous", None, candidates)
    stored = reader.profile(found[0].customer_id, sections)
    return Answer("none", None, []) if stored is None else Answer("single", whole(stored), candidates)


def _candidate(reader: ProfileReader, customer_id: str, status: str, via: str) -> dict[str, Any]:
    stored = reader.profile(customer_id, ("summary",))
    summary = msgspec.json.decode(stored.sections["summary"]) if stored else {}
    return {
        "customer_id": customer_id,
        "display_name": summary.get("display_name"),
        "last_contact_at": summary.get("last_contact_at"),
        "founder": stored.founder if stored else None,
        "reasons": [{"via": via, "status": status}],
    }


def whole(stored: StoredProfile) -> dict[str, Any]:
    """The document of a stored profile."""
    sections = {name: msgspec.json.decode(section) for name, section in stored.sections.items()}
    return document(stored.customer_id, stored.founder, sections, stored.state)
