"""Which lane worker has which lane: the link log is the identity writer's, all others are folded.

Invariants:
- Each of the two has a connection to the store of its own, and so hears of its own lost ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from models.record import Lane
from streams.lanes import Batch, LaneWorker


class RoutingWorker:
    """A `LaneWorker` made of two."""

    def __init__(self, folding: LaneWorker, identity: LaneWorker, links: Lane) -> None:
        self.folding, self.identity, self.links = folding, identity, links

    def _routed(self, lanes: Sequence[Lane]) -> list[tuple[LaneWorker, list[Lane]]]:
        mine = [lane for lane in lanes if lane == self.links]
        others = [lane for lane in lanes if lane != self.links]
        return [(worker, some) for worker, some in ((self.folding, others), (self.identity, mine)) if some]

    def take(self, lanes: Sequence[Lane]) -> dict[Lane, int | None]:
        """Own these lanes."""
        return {lane: at for worker, some in self._routed(lanes) for lane, at in worker.take(some).items()}

    def lose(self, lanes: Sequence[Lane]) -> None:
        """Own these lanes no longer."""
        for worker, some in self._routed(lanes):
            worker.lose(some)

    def step(self, batches: Sequence[Batch]) -> dict[Lane, int | None]:
        """One round: events first, since their facts are what the graph hears next."""
        of = {batch.lane: batch for batch in batches}
        moved: dict[Lane, int | None] = {}
        for worker, some in self._routed(list(of)):
            moved |= worker.step([of[lane] for lane in some])
        return moved

    def idle(self, ends: Mapping[Lane, int | None]) -> dict[Lane, int | None]:
        """A second without records in these lanes."""
        moved: dict[Lane, int | None] = {}
        for worker, some in self._routed(list(ends)):
            moved |= worker.idle({lane: ends[lane] for lane in some})
        return moved

    def stopped(self, lane: Lane, reason: str) -> None:
        """This lane cannot be read on."""
        for worker, some in self._routed([lane]):
            for one in some:
                worker.stopped(one, reason)

    def close(self) -> None:
        """Let go of both connections."""
        self.folding.close()
        self.identity.close()
