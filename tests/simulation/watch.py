"""What must hold at every moment of a run, watched where the store accepts and where the log is written.

Guarantees:
- At each accepted commit all dead letters, link facts, merges and splits of the records it covers are in the
  log.
- At each closed mark of a lane a change notice has told of it; at each of the graph its readers see the
  placement that was marked, or a later one.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING

import msgspec

from models.catalogue import CHANGES_TOPIC, MERGES_TOPIC
from models.identifiers import customer_id
from models.record import Lane
from stores.store import Commit
from tests.simulation.cases import LINK_LANE, Written
from tests.simulation.store import INDEX, MEMBERSHIP, PROFILE, ProfileState

if TYPE_CHECKING:
    from tests.simulation.world import World

Order = tuple[int, int]
NEVER: Order = (-1, 0)


class Wrong(AssertionError):
    """What must hold did not."""


class Watch:
    """Watches one world.

    `noticed` has the latest change notice of each customer, with the state it told; `shown` the most records
    that any of them told of: after memberships went back, customers are read alone, as of position 0, again.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self.noticed: dict[str, tuple[Order, str]] = {}
        self.shown: dict[str, int] = {}
        world.shelf.committed, world.shelf.closed = self._committed, self._closed
        world.log.appended = self._appended

    def latest(self, customer: str) -> Order:
        """The greatest version that was told of a customer."""
        return self.noticed.get(customer, (NEVER, ""))[0]

    def _appended(self, topic: str, key: bytes | None, value: bytes | None) -> None:
        if topic == CHANGES_TOPIC:
            notice = msgspec.json.decode(value or b"")
            position, _, revisions = notice["version"].partition(".")
            customer = (key or b"").decode()
            told = (int(position), int(revisions)), notice["state"]
            self.shown[customer] = max(self.shown.get(customer, 0), told[0][1])
            self.noticed[customer] = max(self.noticed.get(customer, (NEVER, "")), told)

    def _committed(self, one: Commit) -> None:
        """L2 and L3: what others hear of is acknowledged before the commit that makes it."""
        if one.lane == LINK_LANE:
            for record in self.world.heard.told(one.expected or 0, one.next_offset):
                self._must_be_written(one.lane, one.next_offset, MERGES_TOPIC, record)
            return
        due = self.world.case.due.get(one.lane, [])
        for offset, topic, record in due[bisect_left(due, one.expected or 0, key=lambda due: due[0]) :]:
            if offset >= one.next_offset:
                break
            self._must_be_written(one.lane, offset, topic, record)

    def _must_be_written(self, lane: Lane, offset: int, topic: str, record: Written) -> None:
        if record not in self.world.log.written(topic):
            raise Wrong(f"{lane}@{offset} is committed, but not in {topic}: {record[1]!r}")

    def _closed(self, lane: Lane, subject: str, number: int) -> None:
        """L4: a mark closes after the side effects."""
        if lane == LINK_LANE:
            # Shards that went back alone are healed by the sweep, whether a mark has closed or not.
            if not self.world.sweep_due:
                self._placed(subject, number)
            return
        founders = self.world.heard.ever(subject)
        if all(self.shown.get(customer_id(founder), 0) < number for founder in founders):
            raise Wrong(f"the mark {subject} {number} of {lane} is closed, but no notice tells of it")

    def _placed(self, name: str, position: int) -> None:
        """A mark of the graph is closed: what is readable is as of this position, or later."""
        values, what = self.world.shelf.values, f"the mark {name} {position} of the graph is closed, but"
        entry = values.get((INDEX, name))
        if entry is None or entry.stamp < position:
            raise Wrong(f"{what} its entry is {entry}")
        stamp, founder = self.world.heard.stamp(name, position)
        if not stamp:
            return
        placed = values.get((MEMBERSHIP, name))
        if placed is None or placed.stamp < stamp:
            raise Wrong(f"{what} its membership is {placed}")
        buried: ProfileState | None = values.get((PROFILE, customer_id(name)))
        if founder != name and (buried is None or buried.order < (stamp, 0)):
            raise Wrong(f"{what} its tombstone is {buried and buried.version}")
        # A later tombstone, of a writer that the graph went back behind, is told of when its fact is heard.
        mine = buried is not None and buried.order == (stamp, 0)
        if founder != name and mine and self.latest(customer_id(name)) < (stamp, 0):
            raise Wrong(f"{what} no notice tells of its tombstone")
