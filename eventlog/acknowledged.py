"""Write records, and tell each writer where its record lies.

Guarantees:
- A place is given only of a record that all in-sync copies have acknowledged; else the writer gets
  ProduceFailed, and the record may or may not be in the log.
- A retry of the client itself writes nothing twice; one key goes to one lane, as `eventlog.producing` has it.
- Many threads and event loops may write at once; none waits for another's acknowledgement.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Collection
from concurrent.futures import Future
from contextlib import suppress

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from eventlog.errors import LogUnavailable, ProduceFailed
from models.record import Lane

# Whoever waits for an answer over HTTP has hung up after this.
ACK_SECONDS = 5.0
# Gathers what arrives together; beside it an acknowledgement takes a millisecond or two.
LINGER_MS = 1
# At most so many records wait here; beyond, the next one is refused.
BUFFER_RECORDS_MAX = 20_000
POLL_SECONDS = 0.1
# What is purged is reported at once.
REPORT_SECONDS_MAX = 1.0
# A broker that is up says what it has in milliseconds.
METADATA_SECONDS = 2.0
# New topics appear seldom; lanes are never removed.
LANES_SECONDS = 30.0

_log = logging.getLogger("scv.eventlog")


class Place(Future[tuple[Lane, int]]):
    """Where a record lies, as soon as it is acknowledged: its lane and offset. ProduceFailed."""


class AcknowledgedProducer:
    """A producer whose every record has a place. Connects at once, and again whenever it must."""

    def __init__(self, bootstrap: str, *, client_id: str = "scv-http") -> None:
        self.bootstrap = bootstrap
        self._settings = {
            "bootstrap.servers": bootstrap,
            "client.id": client_id,
            "enable.idempotence": True,
            "acks": "all",
            "linger.ms": LINGER_MS,
            "message.timeout.ms": int(ACK_SECONDS * 1000),
            "partitioner": "murmur2_random",
            "queue.buffering.max.messages": BUFFER_RECORDS_MAX,
            "error_cb": self._note_trouble,
            "logger": _log,
            "log_level": 2,
        }
        self._client = Producer(self._settings)
        # The client that has met a fatal error: it takes nothing any more.
        self._broken: Producer | None = None
        self._trouble = ""
        self._lanes: dict[str, int] = {}
        self._lanes_at = 0.0
        self._asking, self._renewing = threading.Lock(), threading.Lock()
        self._ended = threading.Event()
        self._polling = threading.Thread(target=self._poll, name="scv-acknowledgements", daemon=True)
        self._polling.start()

    def lanes(self, topics: Collection[str], *, anew: bool = False) -> list[Lane]:
        """All lanes of these topics, asked for again after 30 s, or `anew`.

        LogUnavailable when they were never told, or cannot be told anew.
        """
        with self._asking:
            late = anew or time.monotonic() - self._lanes_at > LANES_SECONDS
            if late or not self._lanes.keys() >= set(topics):
                try:
                    held = self._client.list_topics(timeout=METADATA_SECONDS).topics
                    self._lanes = {name: len(topic.partitions) for name, topic in held.items()}
                except KafkaException as failed:
                    # Lanes stay: those that are known hold, until the broker can be asked again.
                    if anew or not self._lanes.keys() >= set(topics):
                        raise LogUnavailable(f"{self.bootstrap}: {failed.args[0].str()}") from None
                self._lanes_at = time.monotonic()
            held_lanes = self._lanes
        return [Lane(name, number) for name in topics for number in range(held_lanes.get(name, 0))]

    def knows(self, lane: Lane) -> bool:
        """Whether there was such a lane when the broker was asked last. Asks nobody."""
        return lane.partition < self._lanes.get(lane.topic, 0)

    def produce(self, topic: str, key: bytes, value: bytes) -> Place:
        """Hand over one record of a topic that exists, as `lanes` tells; returns at once."""
        if self._broken is self._client:
            self._begin_anew()
        place = Place()
        place.set_running_or_notify_cancel()

        def acknowledged(error: KafkaError | None, message: Message) -> None:
            offset = message.offset()
            if error is None and offset is not None and offset >= 0:
                place.set_result((Lane(topic, message.partition() or 0), offset))
            elif error is None:
                # A retry that the broker took for a repeat of long ago: written, and nobody knows where.
                place.set_exception(ProduceFailed(f"{topic}: written, but the broker does not say where"))
            else:
                place.set_exception(ProduceFailed(self._told(topic, error.str())))

        try:
            self._client.produce(topic, value, key, on_delivery=acknowledged)
        except BufferError:
            place.set_exception(
                ProduceFailed(self._told(topic, f"{BUFFER_RECORDS_MAX} records wait already"))
            )
        except KafkaException as refused:
            place.set_exception(ProduceFailed(self._told(topic, refused.args[0].str())))
        return place

    def reachable(self) -> str | None:
        """Why the broker does not answer; None if it does. Asks it, and may wait for it."""
        try:
            self._client.list_topics(timeout=METADATA_SECONDS)
        except KafkaException as failed:
            return f"{self.bootstrap}: {failed.args[0].str()}"
        return None

    def close(self) -> None:
        """Wait for what was handed over, then end."""
        self._client.flush(ACK_SECONDS)
        self._ended.set()
        self._polling.join()

    def _poll(self) -> None:
        while not self._ended.is_set():
            client = self._client
            try:
                client.poll(POLL_SECONDS)
            except KafkaException as fatal:
                # So a client tells of a fatal error, and in no other way; whoever writes next begins anew.
                self._broken, self._trouble = client, fatal.args[0].str()

    def _told(self, topic: str, reason: str) -> str:
        trouble = f" ({self._trouble})" if self._trouble else ""
        return f"{self.bootstrap}: {topic}: not acknowledged: {reason}{trouble}"

    def _begin_anew(self) -> None:
        """Another client: the broken one loses what it held, and says so to whoever wrote it."""
        with self._renewing:
            broken = self._client
            if self._broken is not broken:
                return
            self._client = Producer(self._settings)
        broken.purge()
        deadline = time.monotonic() + REPORT_SECONDS_MAX
        while len(broken) and time.monotonic() < deadline:
            with suppress(KafkaException):
                broken.poll(0.01)

    def _note_trouble(self, error: KafkaError) -> None:
        self._trouble = error.str()
