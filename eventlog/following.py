"""Read one lane from some offset to its end and then on, as records are written.

Guarantees:
- The listener says where reading begins, each time a connection is made: it knows what it has had.
- Every record from there on is told once, in order, also those of compressed batches.
- A broker or topic that is away is tried again for as long as it takes; `trouble` says what is wrong
  meanwhile.
- Belongs to no consumer group and commits nothing.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from models.record import Lane

POLL_SECONDS = 0.2
RECORDS_MAX = 200
# A listener that counts needs no more in advance; a record may have a megabyte.
QUEUED_KB_MAX = 8 * 1024
# Between two tries to reach a broker that is away, or a topic that is not there yet.
AGAIN_SECONDS = 1.0
ANSWER_SECONDS = 2.0

_log = logging.getLogger("scv.eventlog")

# Given the earliest offset and the end of the lane: where to begin.
Start = Callable[[int, int], int]
Heard = Callable[[Sequence[Message]], None]


class Follower:
    """Follows a lane in a thread of its own; `start` and `heard` are called there."""

    def __init__(self, bootstrap: str, lane: Lane, start: Start, heard: Heard) -> None:
        self.bootstrap, self.lane = bootstrap, lane
        self._start, self._heard = start, heard
        self._broken: KafkaError | None = None
        self._ended = threading.Event()
        self.trouble: str | None = "not asked yet"
        """Why the lane cannot be read; None while it can."""
        self.at_end = False
        """Whether everything that the lane held was told."""
        self._thread = threading.Thread(target=self._run, name=f"scv-follow-{lane}", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop following."""
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ended.is_set():
            try:
                self._follow()
            except KafkaException as failed:
                trouble = failed.args[0].str()
                if trouble != self.trouble:
                    _log.warning("%s: %s is not followed: %s", self.bootstrap, self.lane, trouble)
                self.trouble, self.at_end = trouble, False
            self._ended.wait(AGAIN_SECONDS)

    def _follow(self) -> None:
        self._broken = None
        consumer = Consumer(
            {
                "bootstrap.servers": self.bootstrap,
                "group.id": "scv-follow",  # the client wants one; assigning by hand never joins it
                "client.id": "scv-follow",
                "enable.auto.commit": False,
                # Records that are gone are no reason to begin anywhere else: the listener is asked again.
                "auto.offset.reset": "error",
                "enable.partition.eof": True,
                "queued.max.messages.kbytes": QUEUED_KB_MAX,
                "reconnect.backoff.max.ms": 1_000,
                "log_level": 0,
                "error_cb": self._note_trouble,
            }
        )
        try:
            place = TopicPartition(*self.lane)
            earliest, end = consumer.get_watermark_offsets(place, ANSWER_SECONDS)
            place.offset = self._start(earliest, end)
            consumer.assign([place])
            while not self._ended.is_set():
                self._take(consumer.consume(RECORDS_MAX, POLL_SECONDS))
                if self._broken is not None:
                    # Whoever answers next may hold another topic of this name: the listener is asked again.
                    raise KafkaException(self._broken)
        finally:
            consumer.close()

    def _note_trouble(self, error: KafkaError) -> None:
        if error.code() in (KafkaError._ALL_BROKERS_DOWN, KafkaError._TRANSPORT) or error.fatal():
            self._broken = error

    def _take(self, messages: Sequence[Message]) -> None:
        records, at_end = [], self.at_end
        for message in messages:
            error = message.error()
            if error is None:
                records.append(message)
            elif error.code() == KafkaError._PARTITION_EOF:
                at_end = True
            else:
                raise KafkaException(error)
        if records:
            self._heard(records)
        if records or at_end:
            self.at_end, self.trouble = at_end, None
