"""Merging loses nothing and brings nothing back: unlinked, customers are byte for byte what they were.

Guarantees:
- Real servers, and workers as anybody would start them; where something happens in the middle of a round, the
  same worker driven by hand.
- After every story all that the store and the log hold is held against the oracles.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from random import Random
from typing import Any

import pytest
import redis
from confluent_kafka import Producer

from eventlog.admin import create_topics
from eventlog.embedded import EmbeddedBroker
from models.catalogue import COMMAND_TOPIC, DOMAIN_TOPICS
from models.record import Record
from stores.embedded import EmbeddedStore
from stores.reading import ProfileReader
from tests.histories import history, interleaved
from tests.oracle_reading import customer_id
from tests.process_customers import read_turns
from tests.process_hand import WorkerByHand
from tests.process_people import PLAIN, among
from tests.process_verdict import assert_all
from tests.process_world import GENERATION, SOURCES, World

# What says where and when a profile was written, not what the customer is like.
BOOKKEEPING = (b"meta", b"version", b"writer")
ADA, BO = "crm:1000", "billing:1001"


@pytest.fixture
def kafka() -> Iterator[str]:
    """A broker that keeps the times it is given."""
    with EmbeddedBroker() as broker:
        yield broker.bootstrap


@pytest.fixture
def kept() -> Iterator[EmbeddedStore]:
    """An empty store."""
    with EmbeddedStore() as store:
        yield store


def append(kafka: str, records: Iterable[Record]) -> None:
    """Write records to the lanes that they name, at the log times that they name."""
    settings = {"bootstrap.servers": kafka, "max.in.flight.requests.per.connection": 1, "linger.ms": 0}
    producer = Producer({**settings, "log_level": 0})
    for one in records:
        at = {} if one.timestamp_ms == 0 else {"timestamp": one.timestamp_ms}
        producer.produce(one.topic, one.value, one.key, one.partition, headers=one.headers, **at)
        producer.poll(0)
    assert producer.flush(60) == 0


def record(topic: str, kind: str, subject: str, number: int, data: dict[str, Any]) -> Record:
    """One event in the first lane of a topic, logged when it arrives."""
    event = {"specversion": "1.0", "id": f"by-hand-{number}", "source": "desk", "type": kind}
    value = json.dumps({**event, "subject": subject, "time": "2025-06-01T00:00:00Z", "data": data})
    return Record(topic, 0, 0, 0, subject.encode(), value.encode(), [])


def stating(subject: str, number: int, *names: str, topic: str = "marketing.events") -> Record:
    """An event by which a subject states identifiers, `type:value`."""
    kind, data = PLAIN[topic]
    named = [dict(zip(("type", "value"), name.split(":", 1), strict=True)) for name in names]
    return record(topic, kind, subject, number, {**data, "identifiers": named})


def command(verb: str, one: str, other: str, number: int, actor: str = "clerk") -> Record:
    """Somebody decides on a pair."""
    data = {"actor": actor, "reason": "by hand", "subject": one, "other": other}
    return record(COMMAND_TOPIC, f"identity.{verb}", one, number, data)


def lives(seed: int) -> list[Record]:
    """All that can happen to four subjects, but that nobody states an identifier."""
    lanes = history(seed, subjects=4, employees=0, events=500, partitions=1, garbage=0.0)
    return [one for lane in lanes for one in lane if b"identifiers" not in (one.value or b"")]


def hashes(url: str) -> dict[str, dict[bytes, bytes]]:
    """Every profile and tombstone as stored, by customer id."""
    with redis.Redis.from_url(url) as client:
        keys = client.scan_iter(f"scv:{GENERATION}:*:profile", count=1_000)
        return {key.decode().split("{")[1].split("}")[0]: client.hgetall(key) for key in keys}


def contents(url: str) -> dict[str, dict[bytes, Any]]:
    """The same without the bookkeeping, but for all of `meta` that is not the version."""
    found: dict[str, dict[bytes, Any]] = {}
    for customer, fields in hashes(url).items():
        found[customer] = {name: value for name, value in fields.items() if name not in BOOKKEEPING}
        meta = json.loads(fields.get(b"meta", b"{}"))
        meta["version"] = meta.get("version", "").partition(".")[2]
        found[customer][b"meta"] = meta
    return found


def living(url: str) -> set[str]:
    """The customer ids that are no tombstones."""
    return {customer for customer, fields in hashes(url).items() if fields[b"state"] == b"live"}


def ids(*founders: str) -> set[str]:
    """Their customers' ids."""
    return {customer_id(founder) for founder in founders}


def test_linked_and_unlinked_customers_are_byte_for_byte_what_they_were(
    kafka: str, kept: EmbeddedStore, tmp_path: Path
) -> None:
    with World(kafka, kept.url, tmp_path, workers=1, partitions=1) as world:
        append(kafka, lives(11))
        append(kafka, [stating(one, 1, "email:ada@example.com") for one in (ADA, "web:1002")])
        world.wait_for_all("all are folded")
        before = contents(kept.url)
        assert living(kept.url) >= ids(ADA, BO)
        number = 10
        rounds = [("matcher/splink", "matcher/splink"), ("matcher/splink", "clerk"), ("clerk", "clerk")]
        for linking, unlinking in rounds:
            append(kafka, [command("link", BO, ADA, number, linking)])
            world.wait_for_all("the two are one")
            assert len(living(kept.url) & ids(ADA, BO)) == 1
            append(kafka, [command("unlink", ADA, BO, number + 1, unlinking)])
            world.wait_for_all("the two are two")
            assert contents(kept.url) == before
            number += 2
        world.stop()
    figures = assert_all(kafka, kept.url)
    assert figures["turns"] == 1 + 2 * len(rounds)


def test_a_phone_that_becomes_shared_takes_a_wrong_merge_apart_by_itself(
    kafka: str, kept: EmbeddedStore, tmp_path: Path
) -> None:
    untouched = [b"sales", b"service", b"billing", b"consent", b"traits"]
    with World(kafka, kept.url, tmp_path, workers=1, partitions=1) as world:
        append(kafka, lives(12))
        world.wait_for_all("all are folded")
        before = contents(kept.url)
        append(kafka, [stating(ADA, 1, "phone:030 901820"), stating(BO, 2, "phone:+49 30 901820")])
        world.wait_for_all("one phone, one customer")
        assert len(living(kept.url) & ids(ADA, BO)) == 1
        others = [f"crm:other-{number}" for number in range(4)]
        append(kafka, [stating(other, 3, "phone:0049 30 901820") for other in others])
        world.wait_for_all("everybody has that phone")
        after = contents(kept.url)
        assert living(kept.url) >= ids(ADA, BO, *others)
        for customer in ids(ADA, BO):
            assert [after[customer][name] for name in untouched] == [
                before[customer][name] for name in untouched
            ]
            phone = json.loads(after[customer][b"identity"])["identifiers"][-1]
            assert (phone["type"], phone["status"]) == ("phone", "shared")
        found = ProfileReader(kept.url).candidates("phone", "+4930901820")
        assert {one.customer_id for one in found} == ids(ADA, BO, *others)
        assert {one.status for one in found} == {"shared"}
        world.stop()
    assert_all(kafka, kept.url)
    turns, _ = read_turns(kafka)
    assert [(turn["type"], turn["data"]["rule"]) for turn in turns] == [
        ("customer.merged", "stated"),
        ("customer.split", "became_shared"),
    ]


def people(seed: int) -> list[Record]:
    """People known by several subjects, among other events, in order of their log times."""
    lanes = history(seed, subjects=24, employees=1, events=700, partitions=2)
    return list(among(interleaved(lanes, Random(seed)), seed, 2))


def placed(url: str) -> dict[str, Any]:
    """All that readers see of who is who, without positions; of who is in no customer any more, nothing."""
    live = living(url)
    found: dict[str, Any] = {name: one for name, one in contents(url).items() if name in live}
    with redis.Redis.from_url(url) as client:
        for key in client.scan_iter(f"scv:{GENERATION}:*:member", count=1_000):
            _, *membership = json.loads(client.get(key))
            found[key.decode()] = membership
        for key in client.scan_iter(f"scv:{GENERATION}:*:ids", count=1_000):
            found[key.decode()] = json.loads(client.get(key))["customers"]
    return {name: one for name, one in found.items() if one not in ([], ["", [], {}, []]) and not alone(one)}


def alone(membership: Any) -> bool:
    """Whether it says no more than readers assume without it: those who were never with others have none."""
    return isinstance(membership, list) and membership[1:] == [membership[:1], {}, []]


def test_late_earlier_facts_and_redelivery_end_in_the_same_customers(tmp_path: Path) -> None:
    records, found, again = people(13), [], []
    for late in (False, True):
        with (
            EmbeddedBroker() as broker,
            EmbeddedStore() as store,
            World(broker.bootstrap, store.url, tmp_path, 1, 2) as world,
        ):
            # Lane after lane: what comes last was logged first.
            lanes = [SOURCES] if not late else [[topic] for topic in reversed(SOURCES)]
            for topics in lanes:
                append(broker.bootstrap, [one for one in records if one.topic in topics])
                world.wait_for_all("what is there is folded")
            if late:
                store.restart()
                world.wait_for_all("all is told again, and the graph hears it again")
            world.stop()
            figures = assert_all(broker.bootstrap, store.url)
            assert figures["of_several"] > 10
            again.append(figures["link_facts_again"])
            found.append(placed(store.url))
    assert found[0] == found[1]
    # An event may state one name in two spellings; beyond that, nothing is told twice without a reason.
    assert again[1] > again[0] + 400


# Where a worker can be paused that assembles a customer, and what it then believes is no longer true.
ASSEMBLING = (
    "after commit", "between membership and parts", "between parts and profile", "after profile",
    "between indexes and notice", "after side effects", "before marks close",
)  # fmt: skip
# The same of one that has just heard that two are one.
PLACING = (
    "after graph load", "after merge acknowledgement", "after graph commit", "before memberships",
    "after memberships", "between membership and parts", "between parts and profile", "after profile",
    "between indexes and notice", "before graph marks close",
)  # fmt: skip


class Pause:
    """A point of a worker's round at which, once armed, something else is done first; once."""

    def __init__(self) -> None:
        self.at = ""
        self.meanwhile: Callable[[], None] = lambda: None
        self.happened = False

    def __call__(self, name: str) -> None:
        if name == self.at:
            self.at, self.happened = "", True
            self.meanwhile()


def two_customers(kafka: str, url: str, point: Callable[[str], None]) -> tuple[WorkerByHand, WorkerByHand]:
    """A worker that has assembled two customers, and another one that may take over."""
    create_topics(kafka, 1, GENERATION)
    ada, bo = stating(ADA, 1, "email:ada@example.com"), stating(BO, 2, "email:bo@example.com")
    # She was there first: merged, both are hers.
    append(kafka, [ada._replace(timestamp_ms=1_750_000_000_000), bo._replace(timestamp_ms=1_750_000_001_000)])
    zombie, other = WorkerByHand(kafka, url, point), WorkerByHand(kafka, url)
    zombie.take()
    zombie.settle()
    assert living(url) == ids(ADA, BO)
    return zombie, other


def finish(kafka: str, url: str, workers: Sequence[WorkerByHand], founders: Sequence[str]) -> None:
    """The zombie learns that its lanes are gone; the other one has the last word, and all is well."""
    zombie, other = workers
    zombie.lose()
    other.settle()
    for worker in workers:
        worker.close()
    assert living(url) == ids(*founders)
    assert_all(kafka, url)


@pytest.mark.parametrize("point", ASSEMBLING)
def test_a_worker_paused_while_it_assembles_brings_back_no_ghost(
    kafka: str, kept: EmbeddedStore, point: str
) -> None:
    pause = Pause()
    zombie, other = two_customers(kafka, kept.url, pause)

    def merge() -> None:
        append(kafka, [command("link", ADA, BO, 3), stating(ADA, 4, topic="sales.events")])
        other.take()
        other.settle()
        assert living(kept.url) == ids(ADA)

    pause.at, pause.meanwhile = point, merge
    append(kafka, [stating(BO, 5, topic="billing.events")])
    zombie.step(DOMAIN_TOPICS)
    assert pause.happened
    assert living(kept.url) == ids(ADA), "no ghost, not even for a moment"
    finish(kafka, kept.url, (zombie, other), [ADA])


@pytest.mark.parametrize("point", PLACING)
def test_a_worker_paused_while_it_merges_buries_nobody_who_lives_again(
    kafka: str, kept: EmbeddedStore, point: str
) -> None:
    pause = Pause()
    zombie, other = two_customers(kafka, kept.url, pause)

    def part() -> None:
        append(kafka, [command("unlink", ADA, BO, 4), stating(BO, 5, topic="billing.events")])
        other.take()
        other.settle()
        assert living(kept.url) == ids(ADA, BO)

    append(kafka, [command("link", ADA, BO, 3)])
    assert zombie.step([COMMAND_TOPIC])
    pause.at, pause.meanwhile = point, part
    zombie.step([zombie.links.topic])
    assert pause.happened
    assert living(kept.url) == ids(ADA, BO), "nobody is buried, not even for a moment"
    finish(kafka, kept.url, (zombie, other), [ADA, BO])
