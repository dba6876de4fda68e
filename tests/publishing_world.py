"""A view with its change notices in a real log, publishers that take it, and subscribers that read it.

Guarantees:
- Profiles are made by the workers' own code (`LookupWorld`), notices are theirs; broker and store are real.
- `subscribed` reads as others do: kafka-python, from the start, committed records only.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import redis
from confluent_kafka import Consumer
from kafka import KafkaConsumer
from kafka import TopicPartition as SubscribedPartition

from eventlog.admin import create_topics
from eventlog.ends import lane_ends
from eventlog.producing import LogProducer
from eventlog.topics import CHANGES, GENERATIONS, PROFILES, topic_plan
from models.identifiers import customer_id
from projections.assembling import document
from projections.snapshot import PublishedVersion
from stores.publishing import cursor_key, published_key
from stores.reading import LIVE, ProfileReader
from streams.publishing import GROUP, resume_at
from tests.lookup_world import LookupWorld
from tests.publishing_takeover import LANES, Takeover

ROOT = Path(__file__).parent.parent
# A transaction that nobody ends would hold up a reader of committed records for good.
READ_SECONDS_MAX = 60.0


class Received(NamedTuple):
    """A record as a subscriber gets it: `event` is the CloudEvent, of a tombstone what its headers say."""

    partition: int
    customer_id: str
    event: dict[str, Any]
    removed: bool

    @property
    def version(self) -> PublishedVersion:
        """The published version."""
        return PublishedVersion.parse(self.event["version"])


class PublishingWorld:
    """A view in `url`, whose notices are sent to `bootstrap` when a test says so."""

    def __init__(self, bootstrap: str, url: str) -> None:
        self.bootstrap, self.url = bootstrap, url
        self.view = LookupWorld(url)
        wanted = (CHANGES, PROFILES, GENERATIONS)
        create_topics(bootstrap, plan=[one for one in topic_plan(LANES) if one.name in wanted])
        self._sent = 0
        self._producer = LogProducer(bootstrap)
        self._publisher: Takeover | None = None

    def send(self, *, again: bool = False) -> int:
        """Send the notices made since the last time, or all once more, the latest first; gives how many."""
        made = self.view.log.get(CHANGES, [])
        notices = made[::-1] if again else made[self._sent :]
        self._sent = len(made)
        self.write(*[(notice.key or b"", notice.value) for notice in notices])
        return len(notices)

    def write(self, *records: tuple[bytes, bytes | None]) -> None:
        """Write records to the topic of notices."""
        for key, value in records:
            self._producer.produce(CHANGES, key, value)
        self._producer.flush()

    def publish(self, *, anew: bool = False) -> int:
        """Send what is new, and publish it; `anew` by a publisher that takes all lanes for it."""
        self.view.settle()
        self.send()
        if anew or self._publisher is None:
            self.let_go()
            self._publisher = Takeover(self.bootstrap, self.url)
        return self._publisher.publish()

    def resume_at(self) -> dict[int, int]:
        """From which offset on the next publisher would read the notices of each lane."""
        asking = Consumer({"bootstrap.servers": self.bootstrap, "group.id": GROUP})
        try:
            return {one.partition: one.offset for one in resume_at(asking, self.bootstrap, range(LANES))}
        finally:
            asking.close()

    def known(self, subject: str) -> list[Any]:
        """What the store knows of publishing: of this subject's customer, and the cursors of the lanes."""
        lanes = [f"{CHANGES}-{lane}" for lane in range(LANES)]
        keys = [published_key(customer_id(subject)), *map(cursor_key, lanes)]
        return [self.view.client.hgetall(key) for key in keys]

    def let_go(self) -> None:
        """End the publisher."""
        publisher, self._publisher = self._publisher, None
        if publisher is not None:
            publisher.close()

    def close(self) -> None:
        """Let go of all connections."""
        self.let_go()
        self._producer.close()
        self.view.close()

    def process(
        self, point: str = "", signal_name: str = "SIGKILL", *, time: int = 1, portion: int = 500
    ) -> subprocess.Popen[str]:
        """A publisher as a process of its own, which sends itself a signal the n-th time it is at a point."""
        given = {
            "bootstrap": self.bootstrap, "url": self.url, "point": point, "signal": signal_name, "time": time,
            "portion": portion,
        }  # fmt: skip
        return subprocess.Popen(
            [sys.executable, "-m", "tests.publishing_takeover", json.dumps(given)],
            cwd=ROOT,
            text=True,
            stdout=subprocess.PIPE,
        )

    def follow(self) -> int:
        """Publish everybody anew, by a publisher that takes all lanes for it; gives in how many portions."""
        self.let_go()
        self._publisher = Takeover(self.bootstrap, self.url)
        return self._publisher.follow()

    def profiles(self, generation: str = "g1") -> dict[str, dict[str, Any]]:
        """Every live profile in the store."""
        return profiles_in(self.url, generation)

    def feed(self, generation: str = "g1") -> list[dict[str, str]]:
        """What followers of the feed were told."""
        entries = self.view.client.xrange(f"scv:{generation}:{{feed}}:changes", "-", "+")
        return [{name.decode(): value.decode() for name, value in fields.items()} for _, fields in entries]

    def forget_published(self) -> None:
        """Let the store lose what it knows of publishing."""
        for key in self.view.client.scan_iter(match="scv:publish*", count=1_000):
            self.view.client.delete(key)


def profiles_in(url: str, generation: str = "g1") -> dict[str, dict[str, Any]]:
    """Every live profile of a store, as the document that readers know."""
    with redis.Redis.from_url(url) as client:
        keys = list(client.scan_iter(match=f"scv:{generation}:{{cus_*}}:profile", count=1_000))
    reader = ProfileReader(url, generation)
    try:
        stored = {key.decode().partition("{")[2].partition("}")[0]: None for key in keys}
        found = {one: reader.profile(one) for one in stored}
    finally:
        reader.close()
    return {
        one: document(one, profile.founder, {name: json.loads(raw) for name, raw in profile.sections.items()})
        for one, profile in found.items()
        if profile is not None and profile.state == LIVE
    }


def subscribed(bootstrap: str) -> list[Received]:
    """All records of `customer.profiles`, as kafka-python reads them from the start."""
    consumer = KafkaConsumer(
        bootstrap_servers=bootstrap, auto_offset_reset="earliest", isolation_level="read_committed"
    )
    try:
        ends = {lane: found.end for (_, lane), found in lane_ends(bootstrap, [PROFILES]).items()}
        partitions = [SubscribedPartition(PROFILES, lane) for lane in ends]
        consumer.assign(partitions)
        records: list[Any] = []
        deadline = time.monotonic() + READ_SECONDS_MAX
        while any(consumer.position(one) < ends[one.partition] for one in partitions):
            assert time.monotonic() < deadline, f"{PROFILES} cannot be read to its end"
            for batch in consumer.poll(timeout_ms=100).values():
                records += batch
        return [received(record) for record in records]
    finally:
        consumer.close()


def received(record: Any) -> Received:
    """What a record of kafka-python says."""
    removed = record.value is None
    if removed:
        event = {name.removeprefix("ce_"): value.decode() for name, value in record.headers}
    else:
        event = json.loads(record.value)
    return Received(record.partition, record.key.decode(), event, removed)


def held(records: Iterable[Received]) -> dict[str, dict[str, Any]]:
    """What a subscriber who keeps the last record of each key has in the end: the profiles."""
    last = {one.customer_id: one for one in records}
    return {customer_id: one.event["data"] for customer_id, one in last.items() if not one.removed}


def assert_in_order(records: Iterable[Received]) -> None:
    """Of each customer the versions only grow, so none is there twice; and so do the ids tell."""
    latest: dict[str, PublishedVersion] = {}
    ids = set()
    for one in records:
        before = latest.get(one.customer_id)
        assert before is None or before < one.version, f"{one.customer_id}: {before}, then {one.version}"
        latest[one.customer_id] = one.version
        assert one.event["id"] not in ids
        ids.add(one.event["id"])
