"""Publish every customer of a lane anew when another generation was promoted.

Invariants:
- The way is the lane's own change notices, from the first to where they end when the walk begins: the topic
  keeps one of every customer that any generation ever had. Who changes meanwhile has a later notice, and is
  published by that.
- How far it is, is stored after each portion; who is published already is passed over. So it may be killed.
- A later promotion begins the walk anew, from the first notice.
"""

from __future__ import annotations

from collections.abc import Iterator

from eventlog.ends import lane_ends
from eventlog.reading import read_batches
from models.catalogue import CHANGES_TOPIC
from models.promotion import FIRST_NUMBER, Active
from models.record import Record
from stores.publishing import Walk
from streams.publisher import LanePublisher, read_notice

# A second of work or less: those who change in between are not kept waiting.
PORTION_NOTICES_MAX = 500


class Follower:
    """Follows promotions in one lane, a portion at a time. Belongs to the lane's publisher."""

    def __init__(self, bootstrap: str, lane: LanePublisher) -> None:
        self._bootstrap, self._lane = bootstrap, lane
        self._reading: Iterator[list[Record]] | None = None
        self._read_for: Walk | None = None

    def step(self, active: Active) -> bool:
        """Publish the next portion; False when there is nothing left to do. StoreAway or a LogError."""
        lane = self._lane
        # Before the second promotion nobody was published as of another.
        if active.promotion <= max(lane.state.walked, FIRST_NUMBER):
            return False
        walk = lane.state.walk
        if walk is None or walk.promotion != active.promotion:
            walk = self._begin(active.promotion)
        batch = next(self._portions(walk), None)
        if batch is None:
            self.close()
            lane.mark(walked=walk.promotion)
            return False
        named = [one.customer_id for record in batch if (one := read_notice(record.value)) is not None]
        lane.publish_again(named)
        lane.point("between portion and walk")
        walk = walk._replace(next_offset=batch[-1].offset + 1)
        lane.mark(walk=walk)
        self._read_for = walk
        return True

    def _begin(self, promotion: int) -> Walk:
        # The end, after the promotion was seen: whoever is written later is published by a later notice.
        held = lane_ends(self._bootstrap, [CHANGES_TOPIC])[CHANGES_TOPIC, self._lane.partition]
        walk = Walk(promotion, held.earliest, held.end)
        self._lane.mark(walk=walk)
        return walk

    def _portions(self, walk: Walk) -> Iterator[list[Record]]:
        """The notices that are left; read on where the walk is, unless it is read there already."""
        if self._reading is None or self._read_for != walk:
            self.close()
            lane = CHANGES_TOPIC, self._lane.partition
            ranges = {lane: (walk.next_offset, walk.end_offset)}
            self._reading = read_batches(self._bootstrap, ranges, records_max=PORTION_NOTICES_MAX)
            self._read_for = walk
        return self._reading

    def close(self) -> None:
        """Stop reading."""
        reading, self._reading, self._read_for = self._reading, None, None
        if reading is not None:
            reading.close()  # type: ignore[attr-defined]
