"""The broker and the store of a run: embedded ones, or Apache Kafka with Redis.

Guarantees:
- Both end with this process, however it ends.
- `empty()` leaves a broker without topics and a store without keys; no figure inherits anything.
"""

from __future__ import annotations

from collections.abc import Iterable
from types import TracebackType
from typing import Self

from redis import Redis

from benchmarks.load import Sent
from eventlog import apache
from eventlog.admin import create_topics, delete_topics, describe_topics
from eventlog.apache import ApacheBroker
from eventlog.embedded import EmbeddedBroker
from eventlog.ends import lane_ends
from eventlog.producing import LogProducer
from eventlog.topics import DOMAIN_TOPICS
from models.record import Lane
from stores.embedded import DebianRedis, EmbeddedStore

KINDS = ("embedded", "apache")


def unavailable(kind: str) -> str | None:
    """Why servers of this kind cannot run here, in one line; None if they can."""
    return (apache.available() or DebianRedis.available()) if kind == "apache" else None


def preferred() -> str:
    """Apache Kafka where it can start at once, with a Redis of this machine; else the embedded servers."""
    ready = unavailable("apache") is None and apache.jars_directory().is_dir()
    return "apache" if ready else "embedded"


class Servers:
    """A broker and a store of the kind; `with` stops them."""

    def __init__(self, kind: str, partitions: int) -> None:
        self.kind, self.partitions = kind, partitions
        self.store = DebianRedis() if kind == "apache" else EmbeddedStore()
        try:
            self.broker = self._new_broker()
        except BaseException:
            self.store.stop()
            raise

    def _new_broker(self) -> ApacheBroker | EmbeddedBroker:
        return ApacheBroker() if self.kind == "apache" else EmbeddedBroker()

    @property
    def bootstrap(self) -> str:
        """Where Kafka clients connect."""
        return self.broker.bootstrap

    @property
    def redis(self) -> str:
        """Where Redis clients connect."""
        return self.store.url

    @property
    def pids(self) -> tuple[int, int]:
        """The process ids of the broker and the store."""
        broker, store = self.broker.pid, self.store.pid
        if broker is None or store is None:
            raise ProcessLookupError("the broker or the store has ended")
        return broker, store

    def client(self) -> Redis:
        """A client of the store, with answers as bytes."""
        return Redis.from_url(self.redis)

    def versions(self) -> dict[str, str]:
        """What the servers call themselves."""
        with self.client() as client:
            info = client.info("server")
        name = "valkey" if "valkey_version" in info else "redis"
        broker = (
            f"Apache Kafka {apache.KAFKA_VERSION}" if self.kind == "apache" else "embedded (Tansu, memory)"
        )
        return {"broker": broker, "store": f"{name} {info[f'{name}_version']}"}

    def empty(self) -> None:
        """Delete all topics and all keys."""
        self.empty_store()
        if self.kind == "apache":
            delete_topics(self.bootstrap, list(describe_topics(self.bootstrap)))
        else:
            # Starting one takes a hundredth of a second, and gives back all memory.
            self.broker.stop()
            self.broker = self._new_broker()

    def empty_store(self) -> None:
        """Delete all keys and functions."""
        with self.client() as client:
            client.flushall()
            client.execute_command("FUNCTION", "FLUSH", "SYNC")

    def create_topics(self, generation: str = "g1") -> None:
        """Make sure that the topics of scv exist, those of this generation too."""
        create_topics(self.bootstrap, self.partitions, generation)

    def produce(self, records: Iterable[Sent]) -> dict[Lane, int]:
        """Write these records to the domain topics; gives where each of their lanes ends then."""
        with LogProducer(self.bootstrap, client_id="scv-bench") as producer:
            for record in records:
                producer.produce(record.topic, record.key, record.value)
        return self.ends()

    def ends(self) -> dict[Lane, int]:
        """Where each lane of the domain topics ends."""
        return {Lane(*lane): held.end for lane, held in lane_ends(self.bootstrap, DOMAIN_TOPICS).items()}

    def __enter__(self) -> Self:
        """The running servers."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop them."""
        self.store.stop()
        self.broker.stop()
