"""Fetch single records by their offsets: a customer's own, scattered over long lanes.

Guarantees:
- Every record that is asked for comes once, in its lane's order; lanes are interleaved as they arrive.
- One that cannot be had (removed by retention, broker away, a lane that is gone) raises ReadFailed.
- Costs about a round trip for each run of neighbours, whatever lies between runs; lanes wait side by side.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

from confluent_kafka import Consumer, KafkaError, Message, TopicPartition

from eventlog.brief import BRIEF
from eventlog.errors import ReadFailed
from eventlog.reading import FINAL_ERRORS, SILENCE_SECONDS_MAX, record_of, refuse_unknown
from models.record import Record

# Up to this distance reading on is quicker than asking anew.
READ_THROUGH = 25
# What one answer brings of a lane: one batch of records, since it brings a batch however small this is. Of
# 1,000 records scattered over four lanes, answers of 64 kB took seven times as long: all of it is unpacked.
FETCH_BYTES = 1_000
BATCH_RECORDS_MAX = 500

Offsets = Mapping[tuple[str, int], Sequence[int]]


def fetch_records(
    bootstrap: str, wanted: Offsets, *, silence_seconds: float = SILENCE_SECONDS_MAX
) -> Iterator[Record]:
    """The records at these offsets of each lane, ascending per lane. ReadFailed."""
    waiting = {lane: sorted(set(offsets)) for lane, offsets in wanted.items() if offsets}
    if not waiting:
        return
    fetcher = _Fetcher(bootstrap, waiting)
    try:
        yield from fetcher.records(silence_seconds)
    finally:
        fetcher.close()


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

    def __init__(self, bootstrap: str, wanted: Mapping[tuple[str, int], Sequence[int]]) -> None:
        self._bootstrap = bootstrap
        self._runs = {lane: deque(runs(offsets)) for lane, offsets in wanted.items()}
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
                **BRIEF,
            }
        )

    def records(self, silence_seconds: float) -> Iterator[Record]:
        refuse_unknown(self._consumer, self._bootstrap, self._runs, silence_seconds)
        self._consumer.assign([TopicPartition(*lane, runs[0][0]) for lane, runs in self._runs.items()])
        quiet_since = time.monotonic()
        while self._runs:
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
