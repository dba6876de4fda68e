"""Assemble a profile: merge the parts of a customer's members, and derive what readers see.

Invariants:
- profile = derive(merge(parts)): the order of parts and subjects changes nothing.
- No clock. `merge` cuts nothing; bounds are cut here, at the end, and named in `meta.truncated`.
- With a `View` of an earlier assembly only what changed since is made again; the sections are the same bytes
  that an assembly without it gives, also those of lists that grow at their front.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from itertools import compress
from operator import itemgetter, ne
from typing import Any, NamedTuple

import msgspec

from models.bounds import SUBJECTS_MAX
from models.identifiers import customer_id
from projections.history import summary
from projections.identity import IDENTIFIERS, as_placed
from projections.instants import rfc3339
from projections.parts import PLACE, SECTIONS, Part
from projections.section import Rendered, Section
from projections.seen import Seen, joined
from projections.timeline import Growth, Listed, grown, listed

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

_IDENTITY = PLACE["identity"]
_TIMELINE = PLACE["timeline"]
_PLACES = range(len(SECTIONS))
_EMPTY_SUBJECTS = b'"subjects":[]'

_write = msgspec.json.Encoder().encode


class Labels(msgspec.Struct, frozen=True, dict=True):
    """What `meta` says of where a profile was made."""

    generation: str
    config: str

    @cached_property
    def opening(self) -> str:
        """How `meta` begins."""
        return _write({"generation": self.generation, "config": self.config}).decode()[:-1] + ","


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
    """What an assembly found out of a customer, so that the next one need not: facts and cuts per section.

    `changed` has, per part, `Part.changed` as it was: equal numbers mean equal bytes. An assembly that raised
    has used it up.
    """

    __slots__ = (
        "changed",
        "customer_id",
        "facts",
        "identifiers",
        "identity",
        "listed",
        "placed",
        "summary",
        "truncated",
    )

    def __init__(self, founder: str) -> None:
        self.customer_id = customer_id(founder)
        self.changed: dict[tuple[str, str], list[int]] = {}
        self.facts: dict[str, Any] = dict(_BLANK_FACTS)
        self.truncated: dict[int, list[str]] = {}
        self.identity: tuple[bytes, bytes] = _BLANK_IDENTITY
        self.identifiers: list[str] = []
        self.listed: Listed | None = None
        self.placed = ALONE
        self.summary = b""


class Profile(msgspec.Struct):
    """One assembled customer. `sections` are JSON: all, or those that may differ from the view given.

    `growth`: what is put in front of the timeline instead of writing it whole.
    """

    customer_id: str
    founder: str
    position: int
    revisions: int
    sections: dict[str, bytes]
    view: View
    growth: Growth | None = None

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
    *,
    growing: bool = False,
) -> Profile:
    """The profile of a customer from its members' parts, each subject in each lane once.

    `position` is that of the members' latest stamp in the identity graph, 0 before it has placed them. With
    the `view` of an earlier assembly, which is brought up to date, `sections` holds only what may differ from
    it; when `growing`, the timeline may be told as growth. ValueError without members.
    """
    if not members:
        raise ValueError("a customer has at least one member")
    if len(members) > 1:
        members = sorted(members, key=_of_subject_and_lane)
    if view is None:
        view, sections = View(founder), dict(_BLANK_SECTIONS)
    else:
        sections = {}
    touched, longer = _touched(members, view)
    growth = _growth(longer, view) if growing and longer else None
    if growth is not None:
        touched.remove(_TIMELINE)
    if placed != view.placed:
        touched.add(_IDENTITY)
        view.placed = placed
    facts_changed = not view.summary
    for place in touched:
        facts_changed |= _section(place, members, view, sections, growing)
    seen = _seen_by_subject(members)
    truncated = [path for paths in view.truncated.values() for path in paths]
    sections["identity"] = _with_subjects(view.identity, seen, truncated)
    if facts_changed:
        flat = _write(summary(view.facts))
        if flat != view.summary:
            sections["summary"] = view.summary = flat
    revisions = sum([one.part.revision for one in members])
    sections["meta"] = _meta(seen, labels, f"{position}.{revisions}", truncated)
    return Profile(view.customer_id, founder, position, revisions, sections, view, growth)


_of_subject_and_lane = itemgetter(0, 1)


def _touched(members: Sequence[Member], view: View) -> tuple[set[int], list[tuple[bytes, int]]]:
    """The sections that a part says something else of than the view knows; the view knows it from now on.

    And the timelines that are longer, each with the number of records that may have added an entry; none when
    the view knew a part that is gone.
    """
    touched: set[int] = set()
    longer: list[tuple[bytes, int]] = []
    gone, now = view.changed, dict[tuple[str, str], list[int]]()
    for one in members:
        key, changed = one[:2], one.part.changed
        now[key] = changed
        before = gone.pop(key, None)
        if before is None:
            touched.update(compress(_PLACES, changed))
        elif before != changed:
            touched.update(compress(_PLACES, map(ne, before, changed)))
        else:
            continue
        added = changed[_TIMELINE] - (before[_TIMELINE] if before else 0)
        if added:
            longer.append((one.part.sections[_TIMELINE] or b"", added))
    for changed in gone.values():
        touched.update(compress(_PLACES, changed))
        longer.clear()
    view.changed = now
    return touched, longer


def _growth(longer: Sequence[tuple[bytes, int]], view: View) -> Growth | None:
    """What is put in front of the timeline; None when it is written whole."""
    found = None if view.listed is None else grown(view.listed, longer)
    if found is None:
        return None
    growth, view.listed = found
    if growth.cut_bytes:
        view.truncated[_TIMELINE] = ["timeline"]
    return growth


def _section(
    place: int, members: Sequence[Member], view: View, sections: dict[str, bytes], growing: bool
) -> bool:
    """Make a section again; whether it has other facts for the summary than before."""
    section = SECTIONS[place]
    states = merged(members, place)
    rendered = section.rendered(states)
    if place == _IDENTITY:
        if view.placed != ALONE:
            rendered = as_placed(rendered, view.placed.statuses, view.placed.related)
        view.identifiers = list(states[IDENTIFIERS][1])
        view.identity = _around_subjects(_write(rendered.document))
    elif section.name != "summary":
        sections[section.name] = _write(rendered.document)
        if place == _TIMELINE:
            view.listed = listed(states[0]) if growing else None
    if rendered.truncated:
        view.truncated[place] = rendered.truncated
    else:
        view.truncated.pop(place, None)
    facts, new = view.facts, rendered.facts
    if new.items() <= facts.items():
        return False
    facts.update(new)
    return True


def merged(members: Sequence[Member], place: int) -> list[Any]:
    """One section of all members: merged over lanes, the subject noted where it shows, then over subjects."""
    section = SECTIONS[place]
    return section.merged(
        [
            section.attributed(section.read(packed), one.subject)
            for one in members
            if (packed := one.part.sections[place]) is not None
        ]
    )


def _around_subjects(identity: bytes) -> tuple[bytes, bytes]:
    before, _, after = identity.partition(_EMPTY_SUBJECTS)
    return before, after


def _blank(section: type[Section]) -> tuple[Rendered, bytes]:
    rendered = section.rendered(section.zero())
    return rendered, _write(rendered.document)


# What a customer shows of whom nobody has said anything.
_BLANK = {section.name: _blank(section) for section in SECTIONS}
_BLANK_FACTS = {name: fact for rendered, _ in _BLANK.values() for name, fact in rendered.facts.items()}
_BLANK_SECTIONS = {
    name: written for name, (_, written) in _BLANK.items() if name not in ("identity", "summary")
}
_BLANK_IDENTITY = _around_subjects(_BLANK["identity"][1])


def _seen_by_subject(members: Sequence[Member]) -> dict[str, Seen]:
    """When each member that was ever seen was."""
    lanes: dict[str, list[Seen]] = {}
    for subject, _, part in members:
        if part.seen is not None:
            if subject in lanes:
                lanes[subject].append(part.seen)
            else:
                lanes[subject] = [part.seen]
    return {subject: joined(seen) for subject, seen in lanes.items()}


def _with_subjects(identity: tuple[bytes, bytes], seen: Mapping[str, Seen], truncated: list[str]) -> bytes:
    """The section with its members listed; they change with every event, the rest of it seldom."""
    listed = [(one.first_log_us, subject, one.last_log_us) for subject, one in seen.items()]
    if len(listed) > 1:
        listed.sort()
    if len(listed) > SUBJECTS_MAX:
        truncated.append("identity.subjects")
    shown = [
        f'{{"subject":{_write(subject).decode()},"first_seen_at":"{rfc3339(first)}","last_seen_at":"{rfc3339(last)}"}}'
        for first, subject, last in listed[:SUBJECTS_MAX]
    ]
    return b'%b"subjects":[%b]%b' % (identity[0], ",".join(shown).encode(), identity[1])


def _meta(seen: Mapping[str, Seen], labels: Labels, version: str, truncated: list[str]) -> bytes:
    if not seen:
        whole_at, log_at, clamped, ignored = "null", "null", 0, 0
    else:
        whole = joined(list(seen.values()))
        whole_at, log_at = f'"{rfc3339(whole.last_event_us)}"', f'"{rfc3339(whole.last_log_us)}"'
        clamped, ignored = whole.clamped_times, whole.ignored_fields
    return (
        f'{labels.opening}"version":"{version}","last_event_at":{whole_at},"last_log_at":{log_at},'
        f'"clamped_times":{clamped},"ignored_fields":{ignored},'
        f'"truncated":{_write(sorted(truncated)).decode() if truncated else "[]"}}}'
    ).encode()


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
