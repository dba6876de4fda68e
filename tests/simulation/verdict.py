"""Whether a run that has settled is what a run without faults gives.

Guarantees:
- Parts, lanes of subjects and references are compared byte for byte; profiles too, but for their positions.
- The graph's nodes are those of a graph that heard this run's link log once, stamps and all.
- Who is who, look-up entries, who lives and who was merged are as the oracles have it, and no ghost is left.
- Dead letters and link facts: each of the run without faults at least once, and no others; merges and splits:
  those of this run's link log.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from models.catalogue import DEAD_LETTER_TOPIC, MERGES_TOPIC
from models.identifiers import customer_id
from projections.graph_nodes import Node, unpack_node
from tests.simulation.cases import LINK_LANE, LINKS
from tests.simulation.expected import Placing, Readable, readable
from tests.simulation.store import (
    INDEX,
    LANE,
    LANES,
    MEMBERSHIP,
    PROFILE,
    REFERENCE,
    LaneState,
    ProfileState,
)
from tests.simulation.watch import Wrong
from tests.simulation.world import World


def check(world: World) -> None:
    """Raise Wrong with the first difference."""
    for lane, records in world.case.lanes.items():
        state, wanted = world.shelf.lane(lane), world.case.values[LANE, lane]
        _check_lane(str(lane), state, len(records))
        _check_values(f"{lane} part", state.parts, wanted.parts)
    for kind in (LANES, REFERENCE):
        wanted_values = {name: value for (held, name), value in world.case.values.items() if held == kind}
        _check_values(kind, world.shelf.of_kind(kind), wanted_values)
    for topic in (LINKS, DEAD_LETTER_TOPIC):
        _check_values(
            topic, dict.fromkeys(world.log.written(topic)), dict.fromkeys(world.case.written[topic])
        )
    _check_readable(world)
    if world.graph:
        _check_graph(world)
        _check_positions(world)
    _check_notices(world)


def _check_lane(lane: str, found: LaneState, end: int) -> None:
    if found.marks:
        raise Wrong(f"{lane}: marks are left: {dict(found.marks)}")
    places = (found.next_offset or 0, found.end_offset, found.assembled_offset)
    if places != (end, end, end):
        raise Wrong(f"{lane}: next, end and assembled offset are {places}, not all {end}")


def _check_graph(world: World) -> None:
    state, heard, end = world.shelf.lane(LINK_LANE), world.heard, len(world.log.links)
    _check_lane("graph", state, end)
    told = dict.fromkeys(heard.told(0, end))
    names = {*state.parts, *heard.nodes}
    found = {name: unpack_node(state.parts.get(name)) for name in names}
    _check_values("node", found, {name: heard.nodes.get(name, Node()) for name in names})
    _check_values(MERGES_TOPIC, dict.fromkeys(world.log.written(MERGES_TOPIC)), told)


def _check_readable(world: World) -> None:
    found = readable(world.shelf)
    wanted = world.case.readable if world.graph else world.case.alone
    _check_values("membership", found.memberships, _placed(world, wanted))
    _check_values("entry", found.entries, wanted.entries)
    for customer, (founder, sections) in found.living.items():
        held = wanted.living.get(customer)
        if held is not None and held[0] == founder:
            _check_values(f"profile {founder}", sections, held[1])
    _check_values("profile", found.living, wanted.living)
    if not world.graph:
        return
    # Who was in a customer once, and is in none now, depends on which fact came first.
    merged = {
        customer_id(name): name for name, founders in world.heard.founders.items() if founders[-1][1] != name
    }
    _check_values("tombstone", found.merged, {**merged, **wanted.merged})


def _placed(world: World, wanted: Readable) -> dict[str, Placing]:
    """The memberships there must be: none of those who have been alone ever since they were first seen."""
    placed = {name: one for name, one in wanted.memberships.items() if name in world.heard.founders}
    for name, one in wanted.memberships.items():
        if name not in placed and one != Placing(name, (name,), {}, ()):
            raise Wrong(f"{name} was never stamped, and is {one}")
    return placed


def _check_positions(world: World) -> None:
    """Stamps and versions are as of the latest change of each."""
    values, heard = world.shelf.values, world.heard
    for name, founders in heard.founders.items():
        placed = values.get((MEMBERSHIP, name))
        if placed is None or placed.stamp != founders[-1][0]:
            raise Wrong(f"membership {name} is as of {placed and placed.stamp}, not of {founders[-1][0]}")
    for name, entry in world.shelf.of_kind(INDEX).items():
        if entry.stamp < heard.node(name).indexed:
            raise Wrong(f"entry {name} is as of {entry.stamp}, not of {heard.node(name).indexed}")
    customers: dict[str, ProfileState] = world.shelf.of_kind(PROFILE)
    for profile in customers.values():
        stamp, _ = heard.stamp(profile.founder, heard.at)
        if profile.order[0] != stamp:
            raise Wrong(f"profile {profile.founder} is at {profile.version}, placed at {stamp}")


def _check_notices(world: World) -> None:
    customers: dict[str, ProfileState] = world.shelf.of_kind(PROFILE)
    for customer, profile in customers.items():
        noticed = world.watch.noticed.get(customer)
        if noticed != (profile.order, profile.state):
            raise Wrong(f"{customer} is {profile.state} at {profile.version}, the latest notice at {noticed}")


def _check_values(kind: str, found: Mapping[Any, Any], expected: Mapping[Any, Any]) -> None:
    for name in sorted({*found, *expected}, key=repr):
        if name not in found or name not in expected:
            raise Wrong(f"{kind} {name}: {'missing' if name not in found else 'should not be there'}")
        if found[name] != expected[name]:
            raise Wrong(f"{kind} {name}: {found[name]!r}, not {expected[name]!r}")
