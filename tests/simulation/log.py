"""A log in memory: domain lanes that grow during the run, and topics that workers produce to.

Guarantees:
- A lane is told in its order; what lies beyond its visible end cannot be read yet.
- As with `eventlog.producing.LogProducer`, nothing is sent after a failure that was handed over before it,
  and what was handed over may reach the log before `flush()`, or never.
- Nothing that is in the log ever leaves it.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from eventlog.errors import ProduceFailed
from models.record import Lane, Record
from tests.simulation.store import Call

# A producer's client sends by itself now and then; that early, when chance says so.
SENT_EARLY = 0.2


class Consumed(NamedTuple):
    """A record as the consumer's client hands it over."""

    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes]]


class SimulatedLog:
    """`lanes` hold what the run will ever read, `ends` how much of it is visible, `topics` what was produced.

    What is produced to the topic of `links` is what that lane has, each record as often as it was produced,
    visible `at_once` or when the lane grows.
    `appended` watches what is produced.
    """

    def __init__(self, lanes: Mapping[Lane, Sequence[Consumed]], links: Lane) -> None:
        self.at_once = False
        self.links: list[Consumed] = []
        self.link_lane = links
        self.lanes: dict[Lane, Sequence[Consumed]] = {**lanes, links: self.links}
        self.ends = dict.fromkeys(self.lanes, 0)
        self.topics: dict[str, dict[tuple[bytes | None, bytes | None], int]] = {}
        self.appended: Callable[[str, bytes | None, bytes | None], None] = lambda *_: None

    def read(self, lane: Lane, start: int, limit: int) -> Sequence[Consumed]:
        """Up to `limit` visible records from an offset on."""
        return self.lanes[lane][start : min(start + limit, self.ends[lane])]

    def grow(self, lane: Lane, count: int) -> None:
        """Let so many more records of a lane be visible."""
        self.ends[lane] = min(self.ends[lane] + count, len(self.lanes[lane]))

    def grow_to_the_end(self) -> None:
        """Let everything be visible."""
        for lane in self.lanes:
            self.grow(lane, len(self.lanes[lane]))

    def append(self, topic: str, key: bytes | None, value: bytes | None) -> None:
        """Write a produced record; equal ones are counted."""
        written = self.topics.setdefault(topic, {})
        written[key, value] = written.get((key, value), 0) + 1
        if topic == self.link_lane.topic:
            self.links.append(Consumed(len(self.links), 0, key, value, ()))
            if self.at_once:
                self.grow(self.link_lane, 1)
        self.appended(topic, key, value)

    def written(self, topic: str) -> Mapping[tuple[bytes | None, bytes | None], int]:
        """All (key, value) of a topic, in the order of their first writing, with how often they were."""
        return self.topics.get(topic, {})


class SimulatedOutlet:
    """A worker's producer. `fate(name, rest)` as for the store; what it raises fails all that waits."""

    def __init__(
        self,
        log: SimulatedLog,
        rng: random.Random,
        fate: Callable[[str, Sequence[Call]], None] = lambda *_: None,
    ) -> None:
        self.log, self.rng, self.fate = log, rng, fate
        self.waiting: list[Call] = []

    def produce(self, topic: str, key: bytes | None, value: bytes | None) -> None:
        """Hand over one record."""
        self.waiting.append(lambda: self.log.append(topic, key, value))
        if self.rng.random() < SENT_EARLY:
            self._send("produce")

    def flush(self) -> None:
        """Wait until everything handed over is acknowledged; ProduceFailed if anything is not."""
        self._send("flush")

    def _send(self, name: str) -> None:
        try:
            while self.waiting:
                self.fate(name, self.waiting)
                self.waiting.pop(0)()
            self.fate(name, ())
        except ProduceFailed:
            self.waiting.clear()
            raise

    def die(self) -> None:
        """The process ends: of what waited, the first few still arrive, or none."""
        for call in self.waiting[: self.rng.randrange(len(self.waiting) + 1)]:
            call()
        self.waiting.clear()


def consumed(records: Sequence[Record]) -> tuple[Consumed, ...]:
    """Records as a consumer's client hands them over."""
    return tuple(Consumed(one.offset, one.timestamp_ms, one.key, one.value, one.headers) for one in records)
