"""Read exact ranges of the log: from a start offset to a fixed end.

Guarantees:
- Every record of `[start, end)` comes once, in its lane's order, and none from outside; lanes are
  interleaved as they arrive.
- A range that cannot be read whole (removed by retention, broker away, a topic that is gone) raises
  ReadFailed; it never ends early in silence.
- Reading belongs to no consumer group and commits nothing: any number of readers, at any time.
- At most `QUEUED_KB_MAX` are fetched ahead.
"""

import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from operator import methodcaller

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from eventlog.brief import BRIEF
from eventlog.ends import lane_ends
from eventlog.errors import ReadFailed
from models.record import Record

# Larger batches gain nothing; smaller ones cost a call more often.
BATCH_RECORDS_MAX = 5_000

QUEUED_KB_MAX = 64 * 1024

# A broker that restarts is back within this time.
SILENCE_SECONDS_MAX = 30.0

# Errors after which no waiting helps; librdkafka retries the others by itself.
FINAL_ERRORS = (
    KafkaError._AUTO_OFFSET_RESET,
    KafkaError.OFFSET_OUT_OF_RANGE,
    KafkaError._UNKNOWN_TOPIC,
    KafkaError._UNKNOWN_PARTITION,
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError._BAD_MSG,
)

# By (topic, partition), as a Lane is too: from the first offset up to, not including, the second.
Ranges = Mapping[tuple[str, int], tuple[int, int]]


def read_lane(bootstrap: str, topic: str, partition: int, start: int, end: int) -> Iterator[Record]:
    """The records of one lane from offset `start` up to, not including, `end`, in order."""
    return read_ranges(bootstrap, {(topic, partition): (start, end)})


def read_topic(
    bootstrap: str,
    topic: str,
    ends: Mapping[int, int] | None = None,
    starts: Mapping[int, int] | None = None,
) -> Iterator[Record]:
    """The records of a whole topic, each lane in order, up to fixed ends.

    `ends` and `starts` give offsets by partition; without them, from what the lanes hold earliest to where
    they end now, at the call. A partition that `ends` does not name is not read.
    """
    held = {lane[1]: found for lane, found in lane_ends(bootstrap, [topic]).items()}
    ends = {partition: found.end for partition, found in held.items()} if ends is None else ends
    starts = starts or {}
    ranges = {
        (topic, partition): (starts.get(partition, held[partition].earliest if partition in held else 0), end)
        for partition, end in ends.items()
    }
    return read_ranges(bootstrap, ranges)


def read_ranges(bootstrap: str, ranges: Ranges) -> Iterator[Record]:
    """The records of several ranges, one after another as they arrive."""
    for batch in read_batches(bootstrap, ranges):
        yield from batch


def read_batches(
    bootstrap: str,
    ranges: Ranges,
    *,
    records_max: int = BATCH_RECORDS_MAX,
    silence_seconds: float = SILENCE_SECONDS_MAX,
) -> Iterator[list[Record]]:
    """The records of several ranges, at most `records_max` at a time, none of the lists empty.

    ReadFailed when nothing at all arrives for `silence_seconds`.
    """
    for (topic, partition), (start, end) in ranges.items():
        if start < 0 or end < 0:
            raise ValueError(f"{topic}[{partition}]: offsets {start} to {end}: both count from 0")
    ranges = {lane: (start, end) for lane, (start, end) in ranges.items() if start < end}
    if not ranges:
        return
    reader = _RangeReader(bootstrap, ranges)
    try:
        yield from reader.batches(records_max, silence_seconds)
    finally:
        reader.close()


# Of a header whose name is no UTF-8 the client makes a hole in its list, and reading the list crashes the
# process. It sets an error, too, but Python's quickest calls do not look at that; a call made from C does,
# and raises SystemError.
_headers_of = methodcaller("headers")


def _headers(message: Message) -> list[tuple[str, bytes | None]]:
    """The headers in their order; none where the name of one is no UTF-8, as for the worker's client."""
    try:
        found = _headers_of(message)
    except (SystemError, UnicodeDecodeError):
        return []
    if not found:
        return []
    pairs = found.items() if isinstance(found, dict) else found
    return [(name, value if isinstance(value, bytes) else None) for name, value in pairs]


def record_of(message: Message) -> Record:
    """The record that a message without error is."""
    return Record(
        message.topic() or "",
        message.partition() or 0,
        message.offset() or 0,
        message.timestamp()[1],
        message.key(),  # type: ignore[arg-type]  # bytes, since nothing decodes it
        message.value(),  # type: ignore[arg-type]
        _headers(message),
    )


def ranges_up_to(bootstrap: str, topics: Collection[str]) -> dict[tuple[str, int], tuple[int, int]]:
    """The ranges that hold all of these topics as they are now: what a rebuild reads."""
    return {lane: (held.earliest, held.end) for lane, held in lane_ends(bootstrap, topics).items()}


def refuse_unknown(
    consumer: Consumer, bootstrap: str, lanes: Iterable[tuple[str, int]], seconds: float = SILENCE_SECONDS_MAX
) -> None:
    """ReadFailed for a lane that does not exist: it would only be silent for long."""
    try:
        topics = consumer.list_topics(timeout=seconds).topics
    except KafkaException as failed:
        raise ReadFailed(f"{bootstrap}: {failed.args[0].str()}; is Kafka running there?") from failed
    for topic, partition in sorted(lanes):
        if topic not in topics or partition not in topics[topic].partitions:
            raise ReadFailed(f"{bootstrap}: no lane {topic}[{partition}]; run `scv topics create`")


class _RangeReader:
    """A consumer and what is still to be read of each lane."""

    def __init__(self, bootstrap: str, ranges: Ranges) -> None:
        self._bootstrap = bootstrap
        self._next = {lane: start for lane, (start, _) in ranges.items()}
        self._ends = {lane: end for lane, (_, end) in ranges.items()}
        self._consumer = Consumer(
            {
                "bootstrap.servers": bootstrap,
                "client.id": "scv-reader",
                "group.id": "scv-reader",  # the client wants one; assigning by hand never joins it
                "enable.auto.commit": False,
                "enable.auto.offset.store": False,
                "enable.partition.eof": True,
                # An offset that is gone must not silently become another.
                "auto.offset.reset": "error",
                "queued.max.messages.kbytes": QUEUED_KB_MAX,
                "fetch.wait.max.ms": 50,
                **BRIEF,
            }
        )

    def batches(self, records_max: int, silence_seconds: float) -> Iterator[list[Record]]:
        refuse_unknown(self._consumer, self._bootstrap, self._ends, silence_seconds)
        self._consumer.assign([TopicPartition(*lane, start) for lane, start in self._next.items()])
        quiet_since = time.monotonic()
        while self._ends:
            # Asking for more than is left would wait out the timeout.
            left = sum(end - self._next[lane] for lane, end in self._ends.items())
            messages = self._consumer.consume(min(records_max, left), timeout=0.1)
            batch = self._take(messages)
            if batch:
                yield batch
            if messages:
                # After the yield: the time a caller takes for a batch is not the broker's silence.
                quiet_since = time.monotonic()
            elif time.monotonic() - quiet_since > silence_seconds:
                raise ReadFailed(f"{self._bootstrap}: nothing for {silence_seconds:.0f} s, {self._left()}")

    def close(self) -> None:
        self._consumer.close()

    def _take(self, messages: list[Message]) -> list[Record]:
        """The records of these messages that belong to the ranges; lanes that are complete are let go."""
        batch = []
        for message in messages:
            topic, partition, offset = message.topic(), message.partition(), message.offset()
            error = message.error()
            if topic is None or partition is None or offset is None:
                # Only an error can be about no lane: all brokers away, an address that cannot be resolved.
                if error is not None:
                    self._heed(error)
                continue
            lane = (topic, partition)
            end = self._ends.get(lane)
            if error is not None:
                self._heed(error, lane, offset)
            elif end is None:
                continue  # fetched ahead, before the lane was let go
            elif offset >= end:
                # Compaction or a transaction's marker took the last offsets of the range.
                self._let_go(lane)
            else:
                batch.append(record_of(message))
                self._next[lane] = offset + 1
                if offset + 1 >= end:
                    self._let_go(lane)
        return batch

    def _heed(self, error: KafkaError, lane: tuple[str, int] | None = None, offset: int = 0) -> None:
        if error.code() == KafkaError._PARTITION_EOF:
            if lane is not None and lane in self._ends and offset >= self._ends[lane]:
                self._let_go(lane)
            return
        if error.code() in FINAL_ERRORS or error.fatal():
            raise ReadFailed(f"{self._bootstrap}: {error.str()}, {self._left()}")

    def _let_go(self, lane: tuple[str, int]) -> None:
        del self._ends[lane]
        if self._ends:
            self._consumer.incremental_unassign([TopicPartition(*lane)])

    def _left(self) -> str:
        """What is still to be read, in words, at most three lanes."""
        lanes = [
            f"{topic}[{partition}] from {self._next[topic, partition]} to {end}"
            for (topic, partition), end in sorted(self._ends.items())
        ]
        more = f" and {len(lanes) - 3} more" if len(lanes) > 3 else ""
        return "left to read: " + ", ".join(lanes[:3]) + more
