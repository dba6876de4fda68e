"""A worker whose lanes and rounds a test hands out, on real servers: to do things while it is inside of one.

Guarantees:
- What works is the lane worker of `scv worker`, with its stores, its producer and its settings; only Faust is
  replaced, by reading the log up to where it ends now.
- A batch begins where the worker said, and has all that its lane holds from there.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from types import SimpleNamespace
from typing import Any

from eventlog.ends import lane_ends
from eventlog.reading import read_ranges
from models.record import Lane
from models.settings import Settings
from streams.lanes import Batch
from streams.worker import lane_worker, prepare_store
from tests.folding import as_consumed
from tests.process_world import GENERATION, SOURCES


class WorkerByHand:
    """One worker. Do not let it end with open connections: `close`."""

    def __init__(self, kafka: str, redis: str, point: Callable[[str], None] = lambda _: None) -> None:
        settings = Settings(kafka=kafka, redis=redis, generation=GENERATION)
        prepare_store(settings)
        self.kafka = kafka
        self.worker = lane_worker(settings, point)
        self.links = self.worker.links
        self.at: dict[Lane, int] = {}

    def take(self) -> None:
        """Own all lanes."""
        lanes = [Lane(*lane) for lane in lane_ends(self.kafka, [*SOURCES, self.links.topic])]
        self._resume(self.worker.take(lanes))

    def lose(self) -> None:
        """Own none of them any more."""
        self.worker.lose(list(self.at))
        self.at = {}

    def _resume(self, at: Mapping[Lane, int | None]) -> None:
        self.at |= {lane: offset or 0 for lane, offset in at.items()}

    def step(self, topics: Collection[str]) -> bool:
        """One round of what is new in these topics; False when nothing is."""
        found: dict[Lane, list[SimpleNamespace]] = {}
        ends = self._ends()
        wanted = {
            lane: (self.at[lane], end)
            for lane, end in ends.items()
            if lane.topic in topics and end > self.at[lane]
        }
        for record in read_ranges(self.kafka, wanted) if wanted else ():
            found.setdefault(record.lane, []).append(as_consumed(record))
        batches = [
            Batch(lane, self.at[lane], records, ends[lane], ends[lane]) for lane, records in found.items()
        ]
        if batches:
            self.at |= {batch.lane: batch.next_offset for batch in batches}
            self._resume(self.worker.step(batches))
        return bool(batches)

    def _ends(self) -> dict[Lane, int]:
        return {lane: held.end for found, held in self._held().items() if (lane := Lane(*found)) in self.at}

    def _held(self) -> Mapping[Any, Any]:
        return lane_ends(self.kafka, [*SOURCES, self.links.topic])

    def settle(self) -> None:
        """Work until nothing is new, and nothing is left to do."""
        while self.step(SOURCES) or self.step([self.links.topic]):
            pass
        self._resume(self.worker.idle(self._ends()))
        assert not self.step((*SOURCES, self.links.topic)), "a lane went back although nothing is wrong"

    def close(self) -> None:
        """Let go of its connections."""
        self.worker.close()
