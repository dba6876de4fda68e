"""Write records and move a consumer group's offset as one, with a producer that a successor shuts out.

Guarantees:
- What `write` is given is written whole, together with the offset, or readers see none of it (the embedded
  broker shows what was aborted).
- After `open` nobody who opened the same id before can write any more: he gets `Fenced`, also if he was
  paused and knows nothing of it.
- When `write` has returned, all in-sync copies have it.
"""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

from confluent_kafka import KafkaError, KafkaException, Message, Producer, TopicPartition

from eventlog.errors import LogError, LogUnavailable

# A coordinator that moves to another broker is found again within this time.
ANSWER_SECONDS_MAX = 30.0
# Readers of committed records wait for a transaction whose writer has vanished no longer than this.
TRANSACTION_MS_MAX = 30_000
# A transaction that follows close on another is refused for some milliseconds; the client's 100 would be
# what most of a publisher's time goes into.
RETRY_BACKOFF_MS = 5
BUFFER_KB_MAX = 64 * 1024

# What librdkafka calls "unassigned": its partitioner chooses.
_BY_KEY = -1

_FENCED = (
    KafkaError._FENCED,
    KafkaError.INVALID_PRODUCER_EPOCH,
    KafkaError.PRODUCER_FENCED,
    KafkaError.INVALID_PRODUCER_ID_MAPPING,
)

# What trying again does not help, and what does.
RIGHTS = "docs/topics.md lists the rights that a publisher needs"
_REFUSED = {
    KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED: RIGHTS,
    KafkaError.TOPIC_AUTHORIZATION_FAILED: RIGHTS,
    KafkaError.GROUP_AUTHORIZATION_FAILED: RIGHTS,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED: RIGHTS,
    KafkaError.INVALID_TRANSACTION_TIMEOUT: (
        f"set the broker's transaction.max.timeout.ms to {TRANSACTION_MS_MAX} or more"
    ),
    KafkaError.UNSUPPORTED_VERSION: "publishing needs a broker with transactions, Kafka 2.5 or newer",
    KafkaError._UNSUPPORTED_FEATURE: "publishing needs a broker with transactions, Kafka 2.5 or newer",
    KafkaError.MSG_SIZE_TOO_LARGE: "set the topic's max.message.bytes to 1048588, Kafka's default, or more",
}

# What the client would say of being shut out, or of a broker that is away, arrives as the error raised.
_unheard = logging.getLogger("scv.eventlog.transactions")
_unheard.addHandler(logging.NullHandler())
_unheard.propagate = False

Entry = tuple[bytes, bytes | None, list[tuple[str, bytes]]]


class Outgoing(NamedTuple):
    """A record of any topic. Without a partition its lane follows from its key, as with other producers."""

    topic: str
    partition: int | None
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]] = ()


class Fenced(LogError):
    """Somebody else has opened this transactional id: what it writes to is his."""


class Refused(LogError):
    """The broker does not let us write in transactions, or not this; the message says what to change."""


class NoCoordinator(LogUnavailable):
    """The broker answers, but nobody there takes care of transactions: not yet, or not as it is set up."""


def refuses(error: KafkaError) -> bool:
    """Whether trying again would not help, since a person must change something at the broker."""
    return error.code() in _REFUSED


class TransactionalProducer:
    """A producer of one transactional id, for one thread. Nothing is sent before `open`."""

    def __init__(self, bootstrap: str, transactional_id: str) -> None:
        self.name = transactional_id
        self._bootstrap = bootstrap
        self._client: Any = Producer(
            {
                "bootstrap.servers": bootstrap,
                "client.id": transactional_id,
                "transactional.id": transactional_id,
                "transaction.timeout.ms": TRANSACTION_MS_MAX,
                "compression.type": "lz4",
                "partitioner": "murmur2_random",
                "linger.ms": 5,
                "retry.backoff.ms": RETRY_BACKOFF_MS,
                "queue.buffering.max.kbytes": BUFFER_KB_MAX,
                "logger": _unheard,
                "log_level": 0,
            }
        )

    def open(self) -> None:
        """Shut out whoever had this id, and end what he left unfinished.

        LogUnavailable: nobody answers. NoCoordinator: somebody does. Refused.
        """
        with self._asking("open"):
            # A client that is not connected yet looks for its coordinator half a second later again.
            self._client.list_topics(timeout=ANSWER_SECONDS_MAX)
        try:
            with self._asking("open"):
                self._client.init_transactions(ANSWER_SECONDS_MAX)
        except LogUnavailable as silent:
            raise NoCoordinator(
                f"{silent}; the broker answers, but has no coordinator for transactions: on fewer than three "
                "brokers set transaction.state.log.replication.factor and "
                "transaction.state.log.min.isr to their number"
            ) from None

    def write(
        self,
        topic: str,
        partition: int,
        entries: Sequence[Entry],
        consumed: TopicPartition | None = None,
        group: Any = None,
    ) -> int | None:
        """Write (key, value, headers) to a lane, and the group's next offset; gives the last record's offset.

        `group` is the consumer's `consumer_group_metadata()`; without `consumed` only records are written.
        Fenced, or another LogError: then open anew. Refused: that would not help.
        """
        last: list[int] = []

        def delivered(error: KafkaError | None, message: Message) -> None:
            offset = message.offset()
            if error is None and offset is not None:
                last.append(offset)

        with self._asking("write"):
            self._client.begin_transaction()
            for number, (key, value, headers) in enumerate(entries, 1):
                # A Python call per record would cost more than sending it; the commit waits for them all.
                told = {"on_delivery": delivered} if number == len(entries) else {}
                self._produce(topic, value, key, partition=partition, headers=headers, **told)
            if consumed is not None:
                self._client.send_offsets_to_transaction([consumed], group, ANSWER_SECONDS_MAX)
            self._client.commit_transaction(ANSWER_SECONDS_MAX)
        if entries and not last:
            raise LogUnavailable(f"{self._bootstrap}: {self.name}: no offset for the last record")
        return last[0] if last else None

    def write_all(self, records: Sequence[Outgoing], point: Callable[[str], None] = lambda _: None) -> None:
        """Write these records, whole or not at all. Fenced, or another LogError: then open anew, and look.

        `point(name)` is called between the steps, so that a test can stop there.
        """
        with self._asking("write"):
            self._client.begin_transaction()
            for number, one in enumerate(records):
                lane = _BY_KEY if one.partition is None else one.partition
                self._produce(one.topic, one.value, one.key, partition=lane, headers=list(one.headers))
                if not number:
                    self._client.flush(ANSWER_SECONDS_MAX)
                    point("after the first record")
            self._client.flush(ANSWER_SECONDS_MAX)
            point("before the commit")
            self._client.commit_transaction(ANSWER_SECONDS_MAX)

    def close(self) -> None:
        """Drop what waits; what is unfinished ends when the id is opened again, or by its time limit."""
        client, self._client = self._client, None
        if client is not None:
            # One that was shut out refuses even to be tidied up.
            with suppress(KafkaException):
                client.purge(in_queue=True, in_flight=True)
                client.flush(0)

    def _produce(self, *args: Any, **more: Any) -> None:
        deadline = time.monotonic() + ANSWER_SECONDS_MAX
        while True:
            try:
                self._client.produce(*args, **more)
                return
            except BufferError:
                if time.monotonic() > deadline:
                    raise LogUnavailable(f"{self._bootstrap}: {self.name}: takes no more records") from None
                self._client.poll(0.05)

    @contextmanager
    def _asking(self, what: str) -> Iterator[None]:
        try:
            yield
        except KafkaException as failed:
            error = failed.args[0]
            said = f"{self._bootstrap}: {self.name}: {what}: {error.str()}"
            if error.code() in _FENCED:
                raise Fenced(said) from None
            if error.code() in _REFUSED:
                raise Refused(f"{said}; {_REFUSED[error.code()]}") from None
            raise LogUnavailable(said) from None
