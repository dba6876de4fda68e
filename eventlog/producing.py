"""Write records, and know that they are written.

Guarantees:
- `flush()` returns only when every record handed over before it is acknowledged by all in-sync copies, or
  raises; nothing is lost in silence, and a retry of the client itself writes nothing twice.
- One key goes to one lane, the same that Java's, kafka-python's and aiokafka's default partitioners choose:
  other writers of a topic may use those.
- At most `BUFFER_RECORDS_MAX` records and `BUFFER_KB_MAX` wait here; beyond that `produce()` waits.
- After a failure nothing of what was waiting is sent later: the caller decides what to produce again.
"""

import logging
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from eventlog.errors import ProduceFailed

# Part of a second at the importer's full speed: keeps the network busy, small beside a worker's caches.
BUFFER_RECORDS_MAX = 100_000
BUFFER_KB_MAX = 64 * 1024

# A broker that restarts is back within this time; longer, and the worker should say so.
ACK_SECONDS = 30.0
# A new connection may spend half a second on its idempotence alone.
ACK_SECONDS_MIN = 1.0

# Gathers a batch's link facts into one request; flush() does not wait for it.
LINGER_MS = 5

# Asking for reports of failures takes as long as handing a record over; flush() hears of them in any case.
POLL_EVERY_RECORDS = 64

# librdkafka reports a record that ran out of time within its next second or so.
REPORT_SECONDS_MAX = 5.0

# What librdkafka calls "unassigned": its partitioner chooses.
PARTITION_BY_KEY = -1

_log = logging.getLogger("scv.eventlog")


class LogProducer:
    """A buffered producer for one thread: `produce()` often, `flush()` when it must be in the log.

    `ack_seconds`, at least 1, bounds how long a record may wait for its acknowledgement. Connects at the
    first record.
    """

    def __init__(
        self,
        bootstrap: str,
        *,
        client_id: str = "scv",
        ack_seconds: float = ACK_SECONDS,
        linger_ms: int = LINGER_MS,
        compression: str = "lz4",
    ) -> None:
        if ack_seconds < ACK_SECONDS_MIN or not 0 <= linger_ms < ack_seconds * 1000:
            raise ValueError(
                f"ack_seconds {ack_seconds}: at least {ACK_SECONDS_MIN}, longer than linger_ms {linger_ms}"
            )
        self.bootstrap = bootstrap
        self._ack_seconds = ack_seconds
        self._settings = {
            "bootstrap.servers": bootstrap,
            "client.id": client_id,
            "enable.idempotence": True,
            "acks": "all",
            "compression.type": compression,
            "linger.ms": linger_ms,
            "message.timeout.ms": int(ack_seconds * 1000),
            "partitioner": "murmur2_random",
            "queue.buffering.max.messages": BUFFER_RECORDS_MAX,
            "queue.buffering.max.kbytes": BUFFER_KB_MAX,
            # A Python call per record would cost more than sending it; no report means acknowledged.
            "delivery.report.only.error": True,
            "on_delivery": self._not_delivered,
            "error_cb": self._note_trouble,
            "logger": _log,
            # Every failed attempt to connect is a line below this level; the reason comes with ProduceFailed.
            "log_level": 2,
        }
        self._client: Producer | None = None
        self._topics: set[str] = set()
        self._lost = 0
        self._first_loss = ""
        self._trouble = ""
        self._unpolled = 0

    def produce(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        headers: Sequence[tuple[str, bytes]] = (),
        partition: int | None = None,
    ) -> None:
        """Hand over one record; its lane follows from `key` unless `partition` is given.

        Waits while the buffer is full. ProduceFailed if it stays full for `ack_seconds`, if the topic does
        not exist, if the record is over 1 MB, or if an earlier record is already known to be lost.
        """
        if topic not in self._topics:
            self._know(topic)
        client = self._connected()
        lane = PARTITION_BY_KEY if partition is None else partition
        deadline = 0.0
        while True:
            try:
                client.produce(topic, value, key, partition=lane, headers=list(headers) if headers else None)
                break
            except BufferError:
                deadline = deadline or time.monotonic() + self._ack_seconds + REPORT_SECONDS_MAX
                client.poll(0.05)
                if self._lost or time.monotonic() > deadline:
                    self._fail()
            except KafkaException as refused:
                self._first_loss = self._first_loss or f"{topic}: {refused.args[0].str()}"
                self._lost += 1
                self._fail()
        self._unpolled += 1
        if self._unpolled >= POLL_EVERY_RECORDS:
            self._unpolled = 0
            client.poll(0)
        if self._lost:
            self._fail()

    def flush(self) -> None:
        """Wait until everything handed over is acknowledged; ProduceFailed if anything is not."""
        if self._client is None:
            return
        waiting = self._client.flush(self._ack_seconds + REPORT_SECONDS_MAX)
        if waiting or self._lost:
            self._lost += waiting
            self._fail()

    def close(self) -> None:
        """Flush and disconnect."""
        try:
            self.flush()
        finally:
            self._client = None

    def __enter__(self) -> Self:
        """This producer."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it; when the block failed, what still waits is dropped, not written behind its back."""
        if kind is None:
            self.close()
        else:
            self._drop()

    def _connected(self) -> Producer:
        if self._client is None:
            self._client = Producer(self._settings)
        return self._client

    def _know(self, topic: str) -> None:
        """Refuse a topic that does not exist: some brokers would create it, with settings of their own."""
        try:
            # All topics, since asking for one by name is what creates it.
            self._topics = set(self._connected().list_topics(timeout=self._ack_seconds).topics)
        except KafkaException as failed:
            self._first_loss = self._first_loss or failed.args[0].str()
            self._fail()
        if topic not in self._topics:
            self._first_loss = self._first_loss or f"no topic {topic}, run `scv topics create`"
            self._fail()

    def _fail(self) -> None:
        """Drop what waits and raise: the next record starts with a new connection."""
        lost, reason = max(self._lost, 1), self._first_loss or "no acknowledgement in time"
        trouble = f" ({self._trouble})" if self._trouble else ""
        self._drop()
        raise ProduceFailed(
            f"{self.bootstrap}: {lost} or more records not acknowledged: {reason}{trouble}; "
            "produce again all since the last flush"
        )

    def _drop(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            client.purge(in_queue=True, in_flight=True)
            client.flush(REPORT_SECONDS_MAX)
        self._topics.clear()
        self._lost, self._first_loss, self._trouble = 0, "", ""

    def _not_delivered(self, error: KafkaError | None, message: Message) -> None:
        if error is not None:
            self._lost += 1
            self._first_loss = self._first_loss or f"{message.topic()}: {error.str()}"

    def _note_trouble(self, error: KafkaError) -> None:
        self._trouble = error.str()
