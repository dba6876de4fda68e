"""Assemble a profile: merge the parts of a customer's members, and derive what readers see.

Invariants:
- profile = derive(merge(parts)): the order of parts and subjects changes nothing.
- No clock. `merge` cuts nothing; bounds are cut here, at the end, and named in `meta.truncated`.
- With a `View` of an earlier assembly only what changed since is made again; the sections are the same bytes
  that an assembly without it gives.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from models.bounds import SUBJECTS_MAX
from models.identifiers import customer_id
from projections.history import summary
from projections.identity import IDENTIFIERS, as_placed
from projections.instants import instant_or_none, rfc3339
from projections.parts import PLACE, SECTIONS, Part, states_of
from projections.section import Rendered

SCHEMA_VERSION = 1
# In the order of the document. The reserved ones are not stored until something fills them.
DOCUMENT_ORDER = (
    "summary",
    "identity",
    "consent",
    "marketing",
    "sales",
    "service",
    "billing",
    "experience",
    "journey",
    "value",
    "traits",
    "timeline",
    "signals",
    "meta",
)
RESERVED: dict[str, Any] = {"experience": None, "journey": None, "value": None, "signals": []}

_META, _IDENTITY = PLACE["meta"], PLACE["identity"]
_MADE_OF_FACTS = ("summary", "meta")
_EMPTY_SUBJECTS = b'"subjects":[]'

_write = msgspec.json.Encoder().encode


class Labels(msgspec.Struct, frozen=True):
    """What `meta` says of where a profile was made."""

    generation: str
    config: str


class Member(NamedTuple):
    """A subject's part in one lane."""

    subject: str
    lane: str
    part: Part


class Placed(NamedTuple):
    """What the identity graph says beside who the members are: `projections.graph_nodes.Placement`."""

    statuses: Mapping[str, str] = {}
    related: Sequence[tuple[str, str]] = ()


ALONE = Placed()


class View:
    """What an assembly found out, so that the next one need not: facts and cuts per section, and what for.

    `made_of` has, per section, the parts that say something and the revision at which each did so last.
    """

    __slots__ = ("facts", "identifiers", "identity", "made_of", "placed", "summary", "truncated")

    def __init__(self) -> None:
        self.made_of: list[list[tuple[str, str, int]] | None] = [None] * len(SECTIONS)
        self.facts: list[dict[str, Any]] = [{}] * len(SECTIONS)
        self.truncated: list[list[str]] = [[]] * len(SECTIONS)
        self.identity: tuple[bytes, bytes] = (b"", b"")
        self.identifiers: list[str] = []
        self.placed = ALONE
        self.summary = b""

    def copy(self) -> View:
        """The same, to be brought up to date without touching this one."""
        new = View()
        new.made_of, new.facts, new.truncated = list(self.made_of), list(self.facts), list(self.truncated)
        new.identity, new.identifiers, new.summary = self.identity, self.identifiers, self.summary
        new.placed = self.placed
        return new


class Profile(msgspec.Struct):
    """One assembled customer. `sections` are JSON: all of them, or those that differ from the view given."""

    customer_id: str
    founder: str
    position: int
    revisions: int
    sections: dict[str, bytes]
    view: View

    @property
    def version(self) -> str:
        """`position.revisions`, comparable as two integers."""
        return f"{self.position}.{self.revisions}"


def assemble(
    members: Sequence[Member],
    labels: Labels,
    position: int,
    founder: str,
    view: View | None = None,
    placed: Placed = ALONE,
) -> Profile:
    """The profile of a customer from its members' parts, each subject in each lane once.

    `position` is that of the members' latest stamp in the identity graph, 0 before it has placed them. With
    the `view` of an earlier assembly, `sections` holds only what differs from it. ValueError without members.
    """
    if not members:
        raise ValueError("a customer has at least one member")
    members = sorted(members, key=lambda one: one[:2])
    new = View() if view is None else view.copy()
    sections: dict[str, bytes] = {}
    for place, section in enumerate(SECTIONS):
        made_of = [
            (one.subject, one.lane, changed) for one in members if (changed := one.part.changed[place])
        ]
        if made_of == new.made_of[place] and (place != _IDENTITY or placed == new.placed):
            continue
        new.made_of[place] = made_of
        states = _merged(members, place) if made_of else None
        rendered, written = _BLANK[place] if states is None else _rendered(place, states)
        if place == _IDENTITY and placed != ALONE:
            rendered = as_placed(rendered, placed.statuses, placed.related)
            written = _write(rendered.document)
        new.facts[place], new.truncated[place] = rendered.facts, rendered.truncated
        if place == _IDENTITY:
            new.identifiers = [] if states is None else list(states[IDENTIFIERS][1])
            before, _, after = written.partition(_EMPTY_SUBJECTS)
            new.identity = (before, after)
        elif section.name not in _MADE_OF_FACTS:
            sections[section.name] = written
    truncated = [path for paths in new.truncated for path in paths]
    sections["identity"] = _with_subjects(new.identity, members, truncated)
    flat = _write(summary({name: fact for facts in new.facts for name, fact in facts.items()}))
    if flat != new.summary:
        sections["summary"] = new.summary = flat
    new.placed = placed
    revisions = sum(one.part.revision for one in members)
    sections["meta"] = _meta(new.facts[_META], labels, f"{position}.{revisions}", truncated)
    return Profile(customer_id(founder), founder, position, revisions, sections, new)


def _rendered(place: int, states: list[Any]) -> tuple[Rendered, bytes]:
    rendered = SECTIONS[place].rendered(states)
    return rendered, _write(rendered.document)


# Most customers have nothing to say in most sections.
_BLANK = [_rendered(place, section.zero()) for place, section in enumerate(SECTIONS)]


def _merged(members: Sequence[Member], place: int) -> list[Any]:
    """One section of all members: merged over lanes, the subject noted where it shows, then over subjects."""
    section = SECTIONS[place]
    merged: list[Any] | None = None
    for one in members:
        if one.part.sections[place] is not None:
            states = section.attributed(states_of(one.part, place), one.subject)
            merged = states if merged is None else section.merge(merged, states)
    return section.zero() if merged is None else merged


def _with_subjects(identity: tuple[bytes, bytes], members: Sequence[Member], truncated: list[str]) -> bytes:
    """The section with its members listed; they change with every event, the rest of it seldom."""
    seen: dict[str, tuple[int, int]] = {}
    for one in members:
        _, first_negated_us, last_us, _, _ = states_of(one.part, _META)
        if last_us is not None:
            first, last = seen.get(one.subject, (-first_negated_us, last_us))
            seen[one.subject] = (min(first, -first_negated_us), max(last, last_us))
    listed = sorted((first, subject, last) for subject, (first, last) in seen.items())
    if len(listed) > SUBJECTS_MAX:
        truncated.append("identity.subjects")
    shown = [
        {"subject": subject, "first_seen_at": rfc3339(first), "last_seen_at": rfc3339(last)}
        for first, subject, last in listed[:SUBJECTS_MAX]
    ]
    return b'%b"subjects":%b%b' % (identity[0], _write(shown), identity[1])


def _meta(facts: dict[str, Any], labels: Labels, version: str, truncated: list[str]) -> bytes:
    return _write(
        {
            "generation": labels.generation,
            "config": labels.config,
            "version": version,
            "last_event_at": instant_or_none(facts["last_event_us"]),
            "last_log_at": instant_or_none(facts["last_log_us"]),
            "clamped_times": facts["clamped_times"],
            "ignored_fields": facts["ignored_fields"],
            "truncated": sorted(truncated),
        }
    )


def document(customer: str, founder: str, sections: Mapping[str, Any], state: str = "live") -> dict[str, Any]:
    """The whole profile as profile.json has it, from its sections decoded."""
    whole: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "customer_id": customer,
        "state": state,
        "founder": founder,
    }
    for name in DOCUMENT_ORDER:
        whole[name] = sections[name] if name in sections else RESERVED.get(name)
    return whole
