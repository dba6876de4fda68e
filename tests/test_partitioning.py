"""How a topic is partitioned changes nothing: not the number of its lanes, not the hash of whoever writes it.

The same events are written twice: to equally many lanes by the hash of Java's clients, and to a different
number in each topic by librdkafka's own default. The embedded broker keeps the times that it is given, so the
two logs differ in nothing but their lanes; Apache Kafka gives its own.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from confluent_kafka import Producer

from eventlog.admin import create_topics
from eventlog.apache import ApacheBroker
from eventlog.embedded import EmbeddedBroker
from eventlog.topics import BILLING, MARKETING, SALES, SERVICE, Topic, topic_plan
from models.record import Record
from stores.embedded import DebianRedis, EmbeddedStore
from tests import oracle, servers
from tests.histories import history, interleaved
from tests.process_people import among
from tests.process_verdict import assert_all, read_log, stored_profiles
from tests.process_world import World

EQUAL = dict.fromkeys((SALES, SERVICE, BILLING, MARKETING), 3)
UNEQUAL = {SALES: 5, SERVICE: 2, BILLING: 1, MARKETING: 8}


def events(seed: int) -> list[Record]:
    """A history in one lane a topic, and people in it: that is the order in which its source writes."""
    lanes = history(seed, subjects=60, employees=2, events=2_500, partitions=1)
    return list(among(interleaved(lanes, random.Random(seed)), seed, 1))


def create(kafka: str, lanes: Mapping[str, int]) -> None:
    """All topics of scv, the domain topics with these numbers of lanes."""
    plan = topic_plan()
    create_topics(
        kafka, plan=[Topic(one.name, lanes.get(one.name, one.partitions), one.settings) for one in plan]
    )


def write(kafka: str, records: Sequence[Record], partitioner: Mapping[str, str]) -> None:
    """Write by key, in order, at the records' own times."""
    settings = {"bootstrap.servers": kafka, "enable.idempotence": True, "log_level": 0, **partitioner}
    producer = Producer(settings)
    for one in records:
        producer.produce(one.topic, one.value, one.key, timestamp=one.timestamp_ms, headers=one.headers)
        producer.poll(0)
    assert producer.flush(60) == 0


def fold(kafka: str, redis: str, directory: Path) -> dict[str, dict]:
    """The profiles that a worker makes of this log, after holding all it did against the oracle."""
    with World(kafka, redis, directory, workers=1) as world:
        world.wait_for_all("all is folded")
        world.stop()
    assert_all(kafka, redis)
    profiles = stored_profiles(redis)
    for one in profiles.values():
        # Lanes are read at their own pace, so the facts of who is who come in another order.
        one["meta"]["version"] = one["meta"]["version"].partition(".")[2]
    return profiles


def test_lanes_and_partitioners_change_no_byte_of_any_profile(tmp_path: Path) -> None:
    records, profiles, reasons = events(7), [], []
    # The first is what scv and Java's clients do, the second what librdkafka does unless told otherwise.
    for lanes, partitioner in ((EQUAL, {"partitioner": "murmur2_random"}), (UNEQUAL, {})):
        with EmbeddedBroker() as broker, EmbeddedStore() as store:
            create(broker.bootstrap, lanes)
            write(broker.bootstrap, records, partitioner)
            profiles.append(fold(broker.bootstrap, store.url, tmp_path))
            log = read_log(broker.bootstrap)
            used = {record.lane for record in log}
            assert len(used) == sum(lanes.values()) + 1, "every lane has records, the one of commands too"
            reasons.append(sorted(reason for *_, reason in oracle.dead_letters(log)))
    assert profiles[0] == profiles[1]
    assert reasons[0] == reasons[1]


@pytest.mark.campaign
@pytest.mark.parametrize("seed", [8, 9])
def test_lanes_and_partitioners_change_nothing_on_apache_kafka(
    apache_broker: ApacheBroker, debian_redis: DebianRedis, tmp_path: Path, seed: int
) -> None:
    for lanes, partitioner in ((EQUAL, {"partitioner": "murmur2_random"}), (UNEQUAL, {})):
        servers.empty_broker(apache_broker.bootstrap)
        servers.empty_store(debian_redis.url)
        create(apache_broker.bootstrap, lanes)
        write(apache_broker.bootstrap, events(seed), partitioner)
        fold(apache_broker.bootstrap, debian_redis.url, tmp_path)
