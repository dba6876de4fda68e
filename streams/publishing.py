"""A publisher process: lanes of change notices taken through a consumer group, published until a signal.

Invariants:
- A lane is published by whoever took it last: taking it shuts out whoever had it, paused or not.
- Whatever goes wrong ends the session: all lanes are let go, and taken anew in the next one, from the offset
  that was committed with what was published. So no failure has a way of its own.
- A promotion is heard of at once, by the pointer; and within seconds by its record alone, should whoever
  promoted have been killed in between. Customers are then published anew beside what changes.
- A lane whose topic was made anew is stopped, with the reason; the others go on.
- The group has no generation in its name, and neither have the transactional ids.
"""

from __future__ import annotations

import logging
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import FrameType
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, Message, TopicPartition

from eventlog.admin import describe_topics
from eventlog.errors import LogError, LogUnavailable, ReadFailed
from eventlog.promotions import heal
from eventlog.topics import PUBLISHER_GROUP
from eventlog.transactions import RIGHTS, Fenced, NoCoordinator, TransactionalProducer, refuses
from models.catalogue import CHANGES_TOPIC, GENERATIONS_TOPIC
from models.settings import Settings
from stores.promotion import open_pointer
from stores.publishing import PublishingStore
from stores.store import StoreAway
from streams.following import Follower
from streams.publisher import LanePublisher, Notice, lanes_by_partition, read_notice
from streams.restoring import TopicRecreated, restore

GROUP = PUBLISHER_GROUP
EXIT_OK = 0
EXIT_REFUSED = 5
EXIT_INTERRUPTED = 130

# Under a backlog many notices of one customer come together; what they bring is bounded in bytes.
ROUND_NOTICES_MAX = 1_000
POLL_SECONDS = 0.2
# A promotion whose pointer was never moved; whoever promotes moves it within milliseconds.
LOOK_SECONDS = 5.0
# A coordinator moves within one; a broker that never has one needs other settings.
COORDINATOR_TRIES_MAX = 3
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
        self._url = settings.redis
        self._store = PublishingStore(settings.redis)
        self._lanes: dict[int, LanePublisher] = {}
        self._followers: list[Follower] = []
        # As of which promotion all customers of the lanes are published.
        self._followed = 0
        # The last promotion of the log, where the log of them ended, and when to look again.
        self._promotion, self._promotions_end, self._look_at = 0, -1, 0.0
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
                self._look()
                if self._given is not None:
                    self._take(self._given)
                following = self._follow()
                self._round(self._read(0 if following else POLL_SECONDS))
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
        followers, self._followers = self._followers, []
        self._lanes, self._given = {}, None
        for follower in followers:
            follower.close()
        for producer in producers:
            producer.close()

    def _take(self, partitions: list[int]) -> None:
        """Shut out whoever had these lanes, learn what was published, and read on where that came from."""
        self._producers = [TransactionalProducer(self._bootstrap, f"{GROUP}-{one}") for one in partitions]
        with ThreadPoolExecutor(OPENING_AT_ONCE) as pool:
            list(pool.map(TransactionalProducer.open, self._producers))
        restored = restore(self._bootstrap, self._store, partitions, lambda: self._heed(partitions))
        for reason in restored.stopped.values():
            _log.error("%s; this lane is stopped", reason)
        if restored.stopped and not restored.states:
            raise TopicRecreated(next(iter(restored.stopped.values())))
        resume = resume_at(self._consumer, self._bootstrap, list(restored.states))
        self._heed(partitions)
        producers = dict(zip(partitions, self._producers, strict=True))
        self._lanes = {
            partition: LanePublisher(
                partition, self._store, producers[partition], state, self._promotion, self._point
            )
            for partition, state in restored.states.items()
        }
        self._followers = [Follower(self._bootstrap, lane) for lane in self._lanes.values()]
        self._given, self._followed = None, 0
        self._consumer.assign(resume)

    def _look(self) -> None:
        """Look at the log, now and then, whether there is a promotion that the pointer does not show."""
        if time.monotonic() < self._look_at:
            return
        generations = TopicPartition(GENERATIONS_TOPIC, 0)
        _, end = self._consumer.get_watermark_offsets(generations, timeout=ANSWER_SECONDS_MAX)
        if end != self._promotions_end:
            with open_pointer(self._url) as pointer:
                active = heal(self._bootstrap, pointer)
            self._promotion = 0 if active is None else active.promotion
            self._promotions_end = end
        self._look_at = time.monotonic() + LOOK_SECONDS

    def _follow(self) -> bool:
        """Publish some customers anew, if another generation was promoted; False when nothing is left."""
        active = self._store.promoted()
        if active is None or active.promotion == self._followed or not self._lanes:
            return False
        # One lane after another: each reads its notices from the first one on.
        if any(follower.step(active) for follower in self._followers):
            return True
        self._followed = active.promotion
        return False

    def _heed(self, partitions: list[int]) -> None:
        """Hear of the group while lanes are being taken; nothing can be read then."""
        self._consumer.poll(0)
        if self._given is not partitions:
            raise _Reassigned

    def _read(self, wait_seconds: float) -> list[Message]:
        first = self._consumer.poll(wait_seconds)
        if first is None:
            return []
        # What is there already; asking for more would wait until there are so many.
        return [first, *self._consumer.consume(ROUND_NOTICES_MAX - 1, 0)]

    def _round(self, messages: list[Message]) -> None:
        rounds: dict[int, tuple[list[Notice], int]] = {}
        for message in messages:
            if (error := message.error()) is not None:
                if refuses(error):
                    raise LogError(f"{self._bootstrap}: {error.str()}; {RIGHTS}")
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
    attempt, told, without = 0, "", 0
    while not stop.is_set():
        session = Session(settings, stop, point)
        try:
            session.run()
        except (StoreAway, LogUnavailable, ReadFailed, Fenced) as trouble:
            without = without + 1 if isinstance(trouble, NoCoordinator) else 0
            if without == COORDINATOR_TRIES_MAX:
                raise
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
