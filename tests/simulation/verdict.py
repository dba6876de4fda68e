"""Whether a run that has settled is what a run without faults gives.

Guarantees:
- Parts, profiles, index entries, lanes of subjects and references are compared byte for byte; of a profile
  everything but the name of its last write.
- Dead letters and link facts: each of the run without faults at least once, and no others.
"""

from __future__ import annotations

from typing import Any

from models.catalogue import DEAD_LETTER_TOPIC
from tests.simulation.cases import LINKS
from tests.simulation.store import INDEX, LANE, LANES, PROFILE, REFERENCE, LaneState, ProfileState
from tests.simulation.world import World, Wrong


def check(world: World) -> None:
    """Raise Wrong with the first difference."""
    for lane, records in world.case.lanes.items():
        _check_lane(str(lane), world.shelf.lane(lane), world.case.values[LANE, lane], len(records))
    for kind in (LANES, REFERENCE, INDEX, PROFILE):
        expected = {name: value for (held, name), value in world.case.values.items() if held == kind}
        _check_values(kind, world.shelf.of_kind(kind), expected)
    for topic in (LINKS, DEAD_LETTER_TOPIC):
        _check_values(
            topic, dict.fromkeys(world.log.written(topic)), dict.fromkeys(world.case.written[topic])
        )
    for customer, profile in world.shelf.of_kind(PROFILE).items():
        noticed = world.noticed.get(customer.encode())
        if noticed != profile.order:
            raise Wrong(f"{customer} is at {profile.version}, the latest notice at {noticed}")


def _check_lane(lane: str, found: LaneState, expected: LaneState, end: int) -> None:
    if found.marks:
        raise Wrong(f"{lane}: marks are left: {dict(found.marks)}")
    places = (found.next_offset, found.end_offset, found.assembled_offset)
    if places != (end, end, end):
        raise Wrong(f"{lane}: next, end and assembled offset are {places}, not all {end}")
    _check_values(f"{lane} part", dict(found.parts), dict(expected.parts))


def _check_values(kind: str, found: dict[Any, Any], expected: dict[Any, Any]) -> None:
    for name in sorted({*found, *expected}, key=repr):
        one, other = found.get(name), expected.get(name)
        if name not in found or name not in expected:
            raise Wrong(f"{kind} {name}: {'missing' if name not in found else 'should not be there'}")
        if isinstance(one, ProfileState) and isinstance(other, ProfileState):
            one, other = one._replace(writer=""), other._replace(writer="")
            for section in sorted({*one.sections, *other.sections}):
                if one.sections.get(section) != other.sections.get(section):
                    raise Wrong(
                        f"{kind} {name} {section}: "
                        f"{one.sections.get(section)!r}, not {other.sections.get(section)!r}"
                    )
        if one != other:
            raise Wrong(f"{kind} {name}: {one!r}, not {other!r}")
