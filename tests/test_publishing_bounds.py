"""A publisher holds so much at a time, stops what needs a person, and says so once."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterator
from itertools import count
from typing import Any

import msgspec
import pytest
from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)
from kafka.partitioner import murmur2

from eventlog import transactions
from eventlog.admin import create_topics, delete_topics
from eventlog.apache import ApacheBroker
from eventlog.embedded import EmbeddedBroker
from eventlog.reading import read_topic
from eventlog.topics import PROFILES, topic_plan
from models.identifiers import customer_id
from models.settings import Settings
from stores.embedded import DebianRedis, EmbeddedStore
from stores.store import ProfileWrite
from streams import publisher, publishing
from streams.publishing import publish
from streams.restoring import TopicRecreated
from tests import servers
from tests.lane_recorder import SESSION_TIMEOUT_SECONDS, wait_until
from tests.publishing_takeover import LANES
from tests.publishing_world import PublishingWorld, held, subscribed
from tests.test_publisher_process import running

# Most of it random, so that it does not get smaller on its way.
LARGE_BYTES = 400_000


def test_what_is_written_at_once_is_bounded_however_large_profiles_are(
    apache_broker: ApacheBroker, debian_redis: DebianRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publisher, "PORTION_BYTES_MAX", 1_000_000)
    monkeypatch.setattr(publisher, "READ_AT_ONCE", 2)
    servers.empty_broker(apache_broker.bootstrap)
    world = PublishingWorld(apache_broker.bootstrap, debian_redis.url)
    for number in range(16):
        subject = f"crm:{number}"
        fill = msgspec.json.encode([os.urandom(LARGE_BYTES // 2).hex()])
        write = ProfileWrite(
            customer_id(subject), "0.1", subject, "w.1", None, {"traits": fill, "meta": b"{}"}
        )
        world.view.store.put_profiles([write])
        world.write(
            (customer_id(subject).encode(), msgspec.json.encode({"customer_id": customer_id(subject)}))
        )
    assert world.publish() == 16
    # Of a transaction the mark at its end has an offset, too.
    sizes: list[int] = []
    before: dict[int, int] = {}
    for one in subscribed_records(world.bootstrap):
        if before.get(one.partition) != one.offset - 1:
            sizes.append(0)
        before[one.partition] = one.offset
        sizes[-1] += len(one.value)
    assert sum(sizes) > 16 * LARGE_BYTES
    assert max(sizes) < 1_000_000 + 2 * (LARGE_BYTES + 5_000)
    # All of a round or nothing of it is done with: the notices are not read again.
    world.write((b"x", None))
    assert world.publish(anew=True) == 0
    world.close()


def subscribed_records(bootstrap: str) -> list[Any]:
    """The records of the topic, each lane in order."""
    return sorted(read_topic(bootstrap, PROFILES), key=lambda one: (one.partition, one.offset))


def subjects_of(lane: int) -> Iterator[str]:
    """Subjects whose customers are in this lane."""
    for number in count():
        subject = f"crm:{number}"
        if (murmur2(customer_id(subject).encode()) & 0x7FFFFFFF) % LANES == lane:
            yield subject


def order(world: PublishingWorld, subject: str, number: int) -> None:
    """An order, and the notice of it."""
    world.view.tell("sales.order_placed", subject, order_id=f"O-{number}", amount_minor=990, currency="EUR")
    world.view.settle()
    world.send()


def test_a_lane_whose_topic_was_made_anew_is_stopped_and_the_others_go_on(
    embedded_store: EmbeddedStore, caplog: pytest.LogCaptureFixture
) -> None:
    stopped, other = (next(subjects_of(lane)) for lane in range(LANES))
    with EmbeddedBroker() as broker:
        world = PublishingWorld(broker.bootstrap, embedded_store.url)
        settings = Settings(
            kafka=broker.bootstrap, redis=embedded_store.url, session_timeout_seconds=SESSION_TIMEOUT_SECONDS
        )
        order(world, stopped, 1)
        world.publish()
        world.let_go()
        delete_topics(broker.bootstrap, [PROFILES])
        create_topics(broker.bootstrap, plan=[one for one in topic_plan(LANES) if one.name == PROFILES])
        order(world, stopped, 2)
        order(world, other, 1)
        stop = threading.Event()
        thread = threading.Thread(target=publish, args=(settings, stop), daemon=True)
        with caplog.at_level(logging.ERROR, "scv.publisher"):
            thread.start()
            wait_until(lambda: held(subscribed(broker.bootstrap)) != {}, "the other lane goes on")
            order(world, other, 2)
            wait_until(lambda: len(subscribed(broker.bootstrap)) == 2, "and on")
            stop.set()
            thread.join(60)
        assert {one.customer_id for one in subscribed(broker.bootstrap)} == {customer_id(other)}
        (said,) = {record.getMessage() for record in caplog.records}
        assert "made anew" in said
        assert "this lane is stopped" in said
        # A publisher with no lane to go on with has nothing to do: it ends, and says why.
        delete_topics(broker.bootstrap, [PROFILES])
        create_topics(broker.bootstrap, plan=[one for one in topic_plan(LANES) if one.name == PROFILES])
        with pytest.raises(TopicRecreated, match="made anew"):
            publish(settings, threading.Event())
        world.close()


def test_a_broker_that_refuses_transactions_ends_a_publisher_with_one_line_that_says_what_to_do(
    embedded_store: EmbeddedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    guarded = {
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "allow.everyone.if.no.acl.found": "true",
        # Three brokers would be needed, and there is one.
        "transaction.state.log.replication.factor": "3",
    }
    with ApacheBroker(guarded) as broker:
        world = PublishingWorld(broker.bootstrap, embedded_store.url)
        admin = AdminClient({"bootstrap.servers": broker.bootstrap})
        denied = (
            ResourceType.TRANSACTIONAL_ID, "scv-publisher-", ResourcePatternType.PREFIXED, "User:ANONYMOUS",
            "*", AclOperation.ALL, AclPermissionType.DENY,
        )  # fmt: skip
        for asked in admin.create_acls([AclBinding(*denied)]).values():
            asked.result()
        with running("publisher", kafka=broker.bootstrap, redis=embedded_store.url) as process:
            _, said = process.communicate(timeout=60)
        assert process.returncode == 5
        (line,) = said.splitlines()
        assert "docs/topics.md lists the rights that a publisher needs" in line
        for asked in admin.delete_acls([AclBindingFilter(*denied)]).values():
            asked.result()
        monkeypatch.setattr(transactions, "ANSWER_SECONDS_MAX", 1.0)
        monkeypatch.setattr(publishing, "WAIT_SECONDS_MAX", 0.1)
        settings = Settings(kafka=broker.bootstrap, redis=embedded_store.url)
        with pytest.raises(transactions.NoCoordinator, match="set transaction.state.log.replication"):
            publish(settings, threading.Event())
        world.close()
