"""What readers must see of customers in the end, whatever went wrong on the way.

Guarantees:
- Who is who comes from `tests.graph_oracle`, which knows nothing of `projections.graph`: from the set of
  facts alone, since their order, and how often each is in the link log, are a run's own.
- A profile is what the members' parts assemble to; positions and stamps, a run's own too, are left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import msgspec

from models.identifiers import customer_id
from models.link import LinkFact
from models.record import Lane
from models.rules import IdentityRules
from projections.assembling import Labels, Member, Placed, assemble
from projections.parts import unpack
from tests.graph_oracle import Reference
from tests.simulation.store import (
    INDEX,
    MEMBERSHIP,
    PROFILE,
    LaneState,
    Shelf,
)

Sections = dict[str, Any]


class Placing(NamedTuple):
    """A membership without its stamp."""

    founder: str
    members: tuple[str, ...]
    statuses: Mapping[str, str]
    related: tuple[tuple[str, str], ...]


class Readable(NamedTuple):
    """Memberships by subject, look-up entries by name, and by customer id who lives and who was merged."""

    memberships: dict[str, Placing]
    entries: dict[str, tuple[tuple[str, str], ...]]
    living: dict[str, tuple[str, Sections]]
    merged: dict[str, str]


def expected(
    facts: Iterable[LinkFact], rules: IdentityRules, labels: Labels, lanes: Mapping[Lane, LaneState]
) -> Readable:
    """What follows from these facts and the parts in these lanes."""
    reference = Reference(list(facts), rules)
    found = Readable({}, {}, {}, {})
    members: dict[str, list[Member]] = {}
    for lane, state in lanes.items():
        for subject, packed in state.parts.items():
            members.setdefault(subject, []).append(Member(subject, str(lane), unpack(packed)))
    for name in sorted(reference.names):
        if entry := reference.entry_of(name):
            found.entries[name] = tuple(entry)
        placed = reference.placement_of(name)
        if placed is None:
            continue
        found.memberships[name] = Placing(*placed)
        if placed.founder != name:
            found.merged[customer_id(name)] = name
        elif parts := [part for member in placed.members for part in members.get(member, ())]:
            extra = Placed(placed.statuses, placed.related)
            profile = assemble(parts, labels, 0, name, placed=extra)
            found.living[profile.customer_id] = (name, without_position(profile.sections))
    return found


def readable(shelf: Shelf) -> Readable:
    """The same of what a store holds."""
    found = Readable({}, {}, {}, {})
    for name, one in shelf.of_kind(MEMBERSHIP).items():
        if one.members:
            found.memberships[name] = Placing(*one[1:])
    for name, entry in shelf.of_kind(INDEX).items():
        if entry.customers:
            found.entries[name] = entry.customers
    for customer, profile in shelf.of_kind(PROFILE).items():
        if profile.state == "live":
            found.living[customer] = (profile.founder, without_position(profile.sections))
        else:
            found.merged[customer] = profile.founder
    return found


def together(found: Readable) -> dict[str, Placing]:
    """The memberships that say something; of others only those have one who were with somebody once."""
    return {name: one for name, one in found.memberships.items() if one != Placing(name, (name,), {}, ())}


def without_position(sections: Mapping[str, bytes]) -> Sections:
    """The sections, `meta` decoded, with the sum of revisions in place of the version."""
    meta = msgspec.json.decode(sections["meta"])
    meta["version"] = meta["version"].partition(".")[2]
    return {**sections, "meta": meta}
