"""Fetch single records by their offsets: a customer's own, scattered over long lanes.

Guarantees:
- Every record that is asked for comes once, in its lane's order; lanes are interleaved as they arrive.
- One that cannot be had (removed by retention, broker away, a lane that is gone) raises ReadFailed.
- Costs about a round trip for each run of neighbours, whatever lies between runs; lanes wait side by side,
  and so do several connections where there are many runs.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from threading import Event

from confluent_kafka import Consumer, KafkaError, Message, TopicPartition

from eventlog.errors import ReadFailed
from eventlog.reading import FINAL_ERRORS, SILENCE_SECONDS_MAX, record_of, refuse_unknown
from models.record import Record

# Up to this distance reading on is quicker than asking anew: some 80 kB of events.
READ_THROUGH = 250
# What one answer brings of a lane: at least a batch of records, however small this is.
FETCH_BYTES = 64 * 1024
BATCH_RECORDS_MAX = 500
# Another connection is worth its opening when it takes so many runs off the others.
RUNS_PER_CONNECTION = 50
CONNECTIONS_MAX = 2
# Several connections bring their shares before anybody reads them: more records than that come by one.
GATHERED_MAX = 1_000

Runs = dict[tuple[str, int], deque[deque[int]]]
Offsets = Mapping[tuple[str, int], Sequence[int]]


def fetch_records(
    bootstrap: str, wanted: Offsets, *, silence_seconds: float = SILENCE_SECONDS_MAX
) -> Iterator[Record]:
    """The records at these offsets of each lane, ascending per lane. ReadFailed."""
    waiting = {lane: deque(runs(sorted(set(offsets)))) for lane, offsets in wanted.items() if offsets}
    shares = _shares(waiting)
    if len(shares) < 2:
        for share in shares:
            yield from _fetched(bootstrap, silence_seconds, share)
        return

    enough = Event()

    def gathered(share: Runs) -> list[Record]:
        return list(_fetched(bootstrap, silence_seconds, share, enough))

    # A lane's shares are asked for, and given out, one after the other.
    with ThreadPoolExecutor(len(shares)) as connections:
        try:
            for records in connections.map(gathered, shares):
                yield from records
        finally:
            # One has failed, or nobody reads on: the others need not bring theirs.
            enough.set()


def _fetched(
    bootstrap: str, silence_seconds: float, share: Runs, enough: Event | None = None
) -> Iterator[Record]:
    fetcher = _Fetcher(bootstrap, share, enough or Event())
    try:
        yield from fetcher.records(silence_seconds)
    finally:
        fetcher.close()


def _shares(waiting: Runs) -> list[Runs]:
    """The runs for each connection: of every lane an equal piece, the earlier ones first."""
    count = sum(map(len, waiting.values()))
    records = sum(len(run) for lane in waiting.values() for run in lane)
    connections = 1 if records > GATHERED_MAX else min(CONNECTIONS_MAX, -(-count // RUNS_PER_CONNECTION))
    shares: list[Runs] = [{} for _ in range(connections)]
    for lane, lane_runs in waiting.items():
        total = len(lane_runs)
        for number, share in enumerate(shares):
            piece = total * (number + 1) // connections - total * number // connections
            if piece:
                share[lane] = deque(lane_runs.popleft() for _ in range(piece))
    return [share for share in shares if share]


def runs(offsets: Sequence[int]) -> list[deque[int]]:
    """Ascending offsets in groups that are read in one go."""
    found = [deque(offsets[:1])]
    for before, offset in pairwise(offsets):
        if offset - before > READ_THROUGH:
            found.append(deque())
        found[-1].append(offset)
    return found


class _Fetcher:
    """A consumer, and per lane the runs that are still to be read."""

    def __init__(self, bootstrap: str, wanted: Runs, enough: Event) -> None:
        self._bootstrap, self._runs, self._enough = bootstrap, wanted, enough
        self._consumer = Consumer(
            {
                "bootstrap.servers": bootstrap,
                "client.id": "scv-fetcher",
                "group.id": "scv-fetcher",  # the client wants one; assigning by hand never joins it
                "enable.auto.commit": False,
                "enable.auto.offset.store": False,
                "enable.partition.eof": True,
                "auto.offset.reset": "error",
                # Nothing is read ahead: what comes next lies somewhere else.
                "queued.min.messages": 1,
                "fetch.queue.backoff.ms": 0,
                "fetch.message.max.bytes": FETCH_BYTES,
                "fetch.wait.max.ms": 1,
                "log_level": 0,
            }
        )

    def records(self, silence_seconds: float) -> Iterator[Record]:
        refuse_unknown(self._consumer, self._bootstrap, self._runs, silence_seconds)
        self._consumer.assign([TopicPartition(*lane, runs[0][0]) for lane, runs in self._runs.items()])
        quiet_since = time.monotonic()
        while self._runs and not self._enough.is_set():
            # `consume` alone would wait until it has as many as it is asked for.
            first = self._consumer.poll(0.1)
            messages = [] if first is None else [first, *self._consumer.consume(BATCH_RECORDS_MAX, timeout=0)]
            for message in messages:
                record = self._take(message)
                if record is not None:
                    yield record
                    quiet_since = time.monotonic()
            if not messages and time.monotonic() - quiet_since > silence_seconds:
                raise ReadFailed(f"{self._bootstrap}: nothing for {silence_seconds:.0f} s, {self._left()}")

    def _take(self, message: Message) -> Record | None:
        """The record of a message, if it is the next one wanted of its lane."""
        topic, partition, offset = message.topic(), message.partition(), message.offset()
        error = message.error()
        if error is not None and error.code() != KafkaError._PARTITION_EOF:
            if error.code() in FINAL_ERRORS or error.fatal():
                raise ReadFailed(f"{self._bootstrap}: {error.str()}, {self._left()}")
            return None
        if topic is None or partition is None or offset is None:
            return None
        lane = (topic, partition)
        runs = self._runs.get(lane)
        if runs is None or (offset < runs[0][0] and error is None):
            return None
        if error is not None and offset > runs[0][0]:
            # The lane's end, met before the client was sent back.
            return None
        if error is not None or offset > runs[0][0]:
            raise ReadFailed(f"{topic}[{partition}]@{runs[0][0]}: the log has no such record any more")
        runs[0].popleft()
        if not runs[0]:
            runs.popleft()
            if runs:
                self._consumer.seek(TopicPartition(*lane, runs[0][0]))
            else:
                del self._runs[lane]
                self._consumer.incremental_unassign([TopicPartition(*lane)])
        return record_of(message)

    def _left(self) -> str:
        left = [f"{topic}[{partition}]@{runs[0][0]}" for (topic, partition), runs in self._runs.items()]
        more = f" and {len(left) - 3} lanes more" if len(left) > 3 else ""
        return "left to fetch: from " + ", ".join(sorted(left)[:3]) + more

    def close(self) -> None:
        self._consumer.close()
