"""What the lanes of topics hold: where each begins, where it ends, where an instant lies.

Guarantees:
- A lane's end is the offset that the next record gets, on every broker: where the listed end is known to
  be too early (the embedded broker), it is taken from a read.
- Every answer or a LogError of one line; no question waits longer than `ANSWER_SECONDS_MAX`.

Each call connects, asks and disconnects (about 10 ms): for start-up, the command line and tests. A worker
learns ends from what it fetches.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from typing import NamedTuple

from confluent_kafka import Consumer, IsolationLevel, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, ListOffsetsResultInfo, OffsetSpec

from eventlog.brief import BRIEF
from eventlog.embedded import CLUSTER_ID as EMBEDDED_CLUSTER_ID
from eventlog.errors import LogError, LogUnavailable, NoSuchTopic
from models.record import Lane

# A broker that is up answers in milliseconds; one that restarts is back in seconds.
ANSWER_SECONDS_MAX = 20.0
# Nobody should watch a cursor for longer when the address is wrong or Kafka is down.
CONNECT_SECONDS_MAX = 5.0
# A lane that is new, or whose leader changes, has one in a moment; the client does not ask again by itself.
AGAIN = frozenset(
    {
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.REQUEST_TIMED_OUT,
        KafkaError.REPLICA_NOT_AVAILABLE,
        KafkaError.FENCED_LEADER_EPOCH,
        KafkaError.UNKNOWN_LEADER_EPOCH,
        KafkaError.OFFSET_NOT_AVAILABLE,
    }
)
AGAIN_SECONDS = 0.1


class Ends(NamedTuple):
    """The offsets a lane holds: from `earliest` up to, not including, `end`."""

    earliest: int
    end: int


def lane_ends(
    bootstrap: str, topics: Collection[str], *, committed: bool = False
) -> dict[tuple[str, int], Ends]:
    """What each lane of these topics holds, by (topic, partition); a `Lane` finds it too.

    `committed` ends before the first open transaction: up to there a reader need not wait for anybody.
    LogError if one of the topics does not exist.
    """
    if not topics:
        return {}
    with _asking(bootstrap) as asking:
        lanes = asking.lanes(topics)
        earliest = asking.offsets(dict.fromkeys(lanes, OffsetSpec.earliest()))
        latest = asking.offsets(dict.fromkeys(lanes, OffsetSpec.latest()), committed=committed)
    ends: dict[tuple[str, int], Ends] = {lane: Ends(earliest[lane], latest[lane]) for lane in lanes}
    return _with_read_ends(bootstrap, ends) if asking.embedded else ends


def time_ranges(
    bootstrap: str, topics: Collection[str], from_ms: int | None = None, to_ms: int | None = None
) -> dict[tuple[str, int], tuple[int, int]]:
    """Ranges that hold all committed records logged from one instant up to, not including, another.

    Milliseconds since 1970. They may hold others, too, where the log times of a lane do not only grow (the
    embedded broker, which also says too little of where an instant lies). LogError as `lane_ends`.
    """
    held = lane_ends(bootstrap, topics, committed=True)
    with _asking(bootstrap) as asking:
        asking.lanes(topics)

        def offsets(at_ms: int | None) -> dict[tuple[str, int], int]:
            if at_ms is None or not held:
                return {}
            spec = OffsetSpec.for_timestamp(max(at_ms, 0))
            found = asking.offsets({Lane(*lane): spec for lane in held})
            return {
                lane: found[Lane(*lane)] if found[Lane(*lane)] >= 0 else ends.end
                for lane, ends in held.items()
            }

        starts, stops = offsets(from_ms), offsets(None if asking.embedded else to_ms)
    return {
        lane: (min(starts.get(lane, ends.earliest), ends.end), min(stops.get(lane, ends.end), ends.end))
        for lane, ends in held.items()
    }


@contextmanager
def _asking(bootstrap: str) -> Iterator[_Asking]:
    """A connection for the questions of one call; it ends with them, whoever keeps what they raised."""
    with AdminClient({"bootstrap.servers": bootstrap, **BRIEF}) as client:
        yield _Asking(bootstrap, client)


class _Asking:
    """The questions of one call."""

    def __init__(self, bootstrap: str, client: AdminClient) -> None:
        self._bootstrap, self._client = bootstrap, client
        self._deadline = time.monotonic() + ANSWER_SECONDS_MAX
        self.embedded = False

    def lanes(self, topics: Collection[str]) -> list[Lane]:
        """The lanes of these topics, in order; NoSuchTopic when one of them does not exist."""
        while True:
            try:
                known = self._client.list_topics(timeout=CONNECT_SECONDS_MAX)
            except KafkaException as failed:
                raise self._failure(failed.args[0], "; is it running there?") from None
            missing = sorted(set(topics) - set(known.topics))
            if missing:
                raise NoSuchTopic(
                    f"{self._bootstrap}: no topic {', '.join(missing)}; run `scv topics create`"
                )
            self.embedded = known.cluster_id == EMBEDDED_CLUSTER_ID
            wanted = [known.topics[topic] for topic in {*topics}]
            wrong = [one for one in wanted if one.error is not None or not one.partitions]
            if not wrong:
                return sorted(Lane(one.topic, lane) for one in wanted for lane in one.partitions)
            self._wait(wrong[0].error or KafkaError(KafkaError.LEADER_NOT_AVAILABLE))

    def offsets(self, specs: Mapping[Lane, OffsetSpec], *, committed: bool = False) -> dict[Lane, int]:
        """What each lane answers; asked again while the broker says that another time would do."""
        isolation = IsolationLevel.READ_COMMITTED if committed else IsolationLevel.READ_UNCOMMITTED
        found: dict[Lane, int] = {}
        while len(found) < len(specs):
            asked = {TopicPartition(*lane): spec for lane, spec in specs.items() if lane not in found}
            left = max(1.0, self._deadline - time.monotonic())
            answers: Mapping[TopicPartition, Future[ListOffsetsResultInfo]] = self._client.list_offsets(
                asked, isolation_level=isolation, request_timeout=left
            )
            wrong: KafkaError | None = None
            for one, answer in answers.items():
                try:
                    # The client ends it in time; beyond that it would be its fault.
                    found[Lane(one.topic, one.partition)] = answer.result(left + CONNECT_SECONDS_MAX).offset
                except KafkaException as failed:
                    wrong = failed.args[0]
                except TimeoutError:
                    wrong = KafkaError(KafkaError._TIMED_OUT)
            if wrong is not None:
                self._wait(wrong)
        return found

    def _wait(self, wrong: KafkaError) -> None:
        """A moment, until another try; LogError where that does not help, or no time is left."""
        if wrong.code() not in AGAIN or time.monotonic() > self._deadline:
            raise self._failure(wrong)
        time.sleep(AGAIN_SECONDS)

    def _failure(self, wrong: KafkaError, advice: str = "") -> LogError:
        """What the client itself gave up on, and what would do at another time, is unavailable."""
        if wrong.code() < 0 or wrong.code() in AGAIN:
            return LogUnavailable(f"{self._bootstrap}: no answer from Kafka ({wrong.str()}){advice}")
        return LogError(f"{self._bootstrap}: {wrong.str()}")


def _with_read_ends(bootstrap: str, listed: dict[tuple[str, int], Ends]) -> dict[tuple[str, int], Ends]:
    """The ends as a read tells them: the embedded broker lists a lane's last batch as one record."""
    waiting = {lane for lane, ends in listed.items() if ends.end > ends.earliest}
    found = dict(listed)
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "scv-ends",
            "enable.auto.commit": False,
            # A transaction's marker is no message: where the last batch is one, only the lane's end is told.
            "enable.partition.eof": True,
            "fetch.wait.max.ms": 1,
            **BRIEF,
        }
    )
    try:
        consumer.assign([TopicPartition(*lane, listed[lane].end - 1) for lane in waiting])
        deadline = time.monotonic() + ANSWER_SECONDS_MAX
        while waiting:
            for message in consumer.consume(len(waiting), timeout=0.05):
                topic, partition, offset = message.topic(), message.partition(), message.offset()
                error = message.error()
                if topic is None or partition is None or offset is None:
                    continue
                if error is not None and error.code() != KafkaError._PARTITION_EOF:
                    continue
                lane = Lane(topic, partition)
                # The high watermark that came with the fetch of this very record.
                _, high = consumer.get_watermark_offsets(TopicPartition(*lane), cached=True)
                found[lane] = Ends(listed[lane].earliest, max(high, offset if error else offset + 1))
                waiting.discard(lane)
            if waiting and time.monotonic() > deadline:
                lanes = ", ".join(f"{topic}[{partition}]" for topic, partition in sorted(waiting)[:3])
                raise LogUnavailable(
                    f"{bootstrap}: {len(waiting)} lanes, {lanes} among them, do not tell their end"
                )
    except KafkaException as failed:
        raise LogUnavailable(f"{bootstrap}: reading ends of lanes: {failed.args[0]}") from failed
    finally:
        consumer.close()
    return found
