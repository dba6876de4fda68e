"""A publisher process: lanes of change notices taken through a consumer group, published until a signal.

Invariants:
- A lane is published by whoever took it last: taking it shuts out whoever had it, paused or not.
- Whatever goes wrong ends the session: all lanes are let go, and taken anew in the next one, from the offset
  that was committed with what was published. So no failure has a way of its own.
- The group has no generation in its name, and neither have the transactional ids.
"""

from __future__ import annotations

import logging
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import FrameType
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, Message, TopicPartition

from eventlog.admin import describe_topics
from eventlog.errors import LogError, LogUnavailable, ReadFailed
from eventlog.topics import PUBLISHER_GROUP
from eventlog.transactions import Fenced, TransactionalProducer
from models.catalogue import CHANGES_TOPIC
from models.settings import Settings
from stores.publishing import PublishingStore
from stores.store import StoreAway
from streams.publisher import LanePublisher, Notice, lanes_by_partition, read_notice, restore

GROUP = PUBLISHER_GROUP
EXIT_OK = 0
EXIT_REFUSED = 5
EXIT_INTERRUPTED = 130

# About 8 MB of profiles in one go; under a backlog many notices of one customer come together.
ROUND_NOTICES_MAX = 1_000
POLL_SECONDS = 0.2
ANSWER_SECONDS_MAX = 30.0
# Restoring what a store has lost may take minutes; heartbeats go on meanwhile.
ROUND_SECONDS_MAX = 900
OPENING_AT_ONCE = 16
WAIT_SECONDS_MAX = 10.0

_log = logging.getLogger("scv.publisher")


class _Reassigned(Exception):
    """The group has given the lanes to others while they were being taken."""


def resume_at(consumer: Any, bootstrap: str, partitions: Sequence[int]) -> list[TopicPartition]:
    """Where the lanes of notices are read on: what the group has committed with what was published.

    Asked when the lanes are open: nobody before us can commit any more. LogUnavailable without an answer.
    """
    asked = [TopicPartition(CHANGES_TOPIC, one) for one in partitions]
    try:
        committed = consumer.committed(asked, ANSWER_SECONDS_MAX) if asked else []
    except KafkaException as failed:
        raise LogUnavailable(f"{bootstrap}: offsets of {GROUP}: {failed.args[0].str()}") from None
    for one in committed:
        if one.error is not None:
            raise LogUnavailable(f"{bootstrap}: offsets of {GROUP}: {one.error.str()}")
        one.offset = one.offset if one.offset >= 0 else OFFSET_BEGINNING
    return committed


class Session:
    """One membership in the group: from joining it to the first failure, or to `stop`."""

    def __init__(self, settings: Settings, stop: threading.Event, point: Callable[[str], None]) -> None:
        self._bootstrap, self._stop, self._point = settings.kafka, stop, point
        self._store = PublishingStore(settings.redis)
        self._lanes: dict[int, LanePublisher] = {}
        self._producers: list[TransactionalProducer] = []
        # What the group has given us and is not taken yet.
        self._given: list[int] | None = None
        self._consumer: Any = Consumer(
            {
                "bootstrap.servers": settings.kafka,
                "client.id": GROUP,
                "group.id": GROUP,
                "session.timeout.ms": int(settings.session_timeout_seconds * 1_000),
                "max.poll.interval.ms": ROUND_SECONDS_MAX * 1_000,
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
                "logger": _log,
                "log_level": 2,
            }
        )
        self.published = 0

    def run(self) -> None:
        """Publish until told to stop. StoreAway or a LogError when something failed."""
        lanes_by_partition(describe_topics(self._bootstrap))
        self._store.prepare()
        self._consumer.subscribe([CHANGES_TOPIC], on_assign=self._on_assign, on_revoke=self._on_revoke)
        while not self._stop.is_set():
            try:
                if self._given is not None:
                    self._take(self._given)
                self._round(self._read())
            except _Reassigned:
                continue
            except KafkaException as failed:
                raise LogUnavailable(f"{self._bootstrap}: {failed.args[0].str()}") from None

    def close(self) -> None:
        """Let everything go; what is unfinished is finished, or undone, by whoever takes the lanes."""
        self._let_go()
        self._consumer.close()
        self._store.close()

    def _on_assign(self, consumer: Any, partitions: Sequence[TopicPartition]) -> None:
        self._let_go()
        self._given = [one.partition for one in partitions]
        # Nothing is read before the lanes are taken.
        consumer.assign([])

    def _on_revoke(self, consumer: Any, _: Sequence[TopicPartition]) -> None:
        self._let_go()
        consumer.unassign()

    def _let_go(self) -> None:
        producers, self._producers = self._producers, []
        self._lanes, self._given = {}, None
        for producer in producers:
            producer.close()

    def _take(self, partitions: list[int]) -> None:
        """Shut out whoever had these lanes, learn what was published, and read on where that came from."""
        self._producers = [TransactionalProducer(self._bootstrap, f"{GROUP}-{one}") for one in partitions]
        with ThreadPoolExecutor(OPENING_AT_ONCE) as pool:
            list(pool.map(TransactionalProducer.open, self._producers))
        cursors = restore(self._bootstrap, self._store, partitions, lambda: self._heed(partitions))
        resume = resume_at(self._consumer, self._bootstrap, partitions)
        self._heed(partitions)
        self._lanes = {
            partition: LanePublisher(partition, self._store, producer, cursors[partition], self._point)
            for partition, producer in zip(partitions, self._producers, strict=True)
        }
        self._given = None
        self._consumer.assign(resume)

    def _heed(self, partitions: list[int]) -> None:
        """Hear of the group while lanes are being taken; nothing can be read then."""
        self._consumer.poll(0)
        if self._given is not partitions:
            raise _Reassigned

    def _read(self) -> list[Message]:
        first = self._consumer.poll(POLL_SECONDS)
        if first is None:
            return []
        # What is there already; asking for more would wait until there are so many.
        return [first, *self._consumer.consume(ROUND_NOTICES_MAX - 1, 0)]

    def _round(self, messages: list[Message]) -> None:
        rounds: dict[int, tuple[list[Notice], int]] = {}
        for message in messages:
            if (error := message.error()) is not None:
                if error.fatal() or not error.retriable():
                    _log.warning("%s: %s", self._bootstrap, error.str())
                continue
            partition, offset = message.partition(), message.offset()
            # Read before the group took the lane away.
            if partition not in self._lanes or offset is None:
                continue
            notices, _ = rounds.get(partition, ([], 0))
            if (notice := read_notice(message.value())) is not None:
                notices.append(notice)
            rounds[partition] = (notices, offset + 1)
        for partition, (notices, next_offset) in rounds.items():
            group = self._consumer.consumer_group_metadata()
            self.published += self._lanes[partition].publish(notices, next_offset, group)


def publish(settings: Settings, stop: threading.Event, point: Callable[[str], None] = lambda _: None) -> None:
    """Publish until `stop` is set, through all failures that pass. LogError for one that needs a person."""
    attempt, told = 0, ""
    while not stop.is_set():
        session = Session(settings, stop, point)
        try:
            session.run()
        except (StoreAway, LogUnavailable, ReadFailed, Fenced) as trouble:
            if session.published:
                attempt, told = 0, ""
            if str(trouble) != told:
                _log.warning("%s; the lanes are taken anew", trouble)
            attempt, told = attempt + 1, str(trouble)
        finally:
            session.close()
        stop.wait(min(0.1 * 2 ** min(attempt, 10), WAIT_SECONDS_MAX))


def run(settings: Settings, point: Callable[[str], None] = lambda _: None) -> int:
    """Run a publisher until SIGTERM or Ctrl-C; gives the exit code, with a line on stderr when it failed."""
    stop = threading.Event()
    received: list[int] = []

    def on_signal(number: int, _: FrameType | None) -> None:
        received.append(number)
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, on_signal)
    try:
        publish(settings, stop, point)
    except LogError as refused:
        print(f"scv publisher: {refused}", file=sys.stderr)
        return EXIT_REFUSED
    return EXIT_INTERRUPTED if signal.SIGINT in received else EXIT_OK
