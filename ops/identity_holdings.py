"""What the parts of subjects hold: what somebody saw who was shown a profile made of them.

Guarantees:
- Reads Redis only. Says what the parts hold now: that is what they held then, what was folded since, and
  without what was erased since.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from projections.assembling import DOCUMENT_ORDER, Labels, Member, assemble
from projections.parts import SECTIONS, Part, unpack
from stores.redis_store import RedisStore

_NOWHERE = Labels("", "")
# Sections that every part has, and that say nothing of the person.
_OF_EVERY_PART = ("meta",)


class LaneHolding(msgspec.Struct, frozen=True):
    """A part: its lane, the sections it says something of, and the records ever folded into it."""

    lane: str
    sections: list[str]
    records: int


class SubjectHolding(msgspec.Struct, frozen=True):
    """A subject: its name as its own parts have it, the identifiers it stated, and its parts."""

    subject: str
    display_name: str | None
    identifiers: list[str]
    lanes: list[LaneHolding]


def holdings(store: RedisStore, subjects: Sequence[str]) -> dict[str, SubjectHolding]:
    """What each of these subjects holds."""
    held = [
        (lane, subject)
        for subject, (_, lanes) in zip(subjects, store.members(subjects), strict=True)
        for lane in sorted(lanes)
    ]
    parts: dict[str, list[Member]] = {subject: [] for subject in subjects}
    for (lane, subject), packed in zip(held, store.parts(held), strict=True):
        if packed is not None:
            parts[subject].append(Member(subject, str(lane), unpack(packed)))
    return {subject: _holding(subject, mine) for subject, mine in parts.items()}


def _holding(subject: str, parts: Sequence[Member]) -> SubjectHolding:
    if not parts:
        return SubjectHolding(subject, None, [], [])
    sections = assemble(parts, _NOWHERE, 0, subject).sections
    identity = msgspec.json.decode(sections["identity"])
    return SubjectHolding(
        subject,
        msgspec.json.decode(sections["summary"])["display_name"],
        [f"{one['type']}:{one['value']}" for one in identity["identifiers"]],
        [LaneHolding(one.lane, _said(one.part), one.part.revision) for one in parts],
    )


def _said(part: Part) -> list[str]:
    """The sections of the profile that a part says something of."""
    return [
        section.name
        for section, packed in zip(SECTIONS, part.sections, strict=True)
        if section.name in DOCUMENT_ORDER
        and section.name not in _OF_EVERY_PART
        and packed is not None
        and packed != section.pack(section.zero())
    ]
