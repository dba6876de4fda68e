"""Publishers as anybody would start them share the lanes, through pauses, kills and a store that goes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType

import pytest
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from eventlog.admin import create_topics
from eventlog.apache import ApacheBroker
from eventlog.embedded import EmbeddedBroker
from eventlog.producing import LogProducer
from eventlog.topics import CHANGES, DOMAIN_TOPICS, GENERATIONS, PROFILES, Topic, link_log
from models.identifiers import customer_id
from models.record import Lane
from models.settings import Settings
from ops.configured import settings_with
from ops.installation import Installation
from ops.population import events
from ops.publishing import PublisherBeside
from stores.embedded import DebianRedis, EmbeddedStore
from stores.publishing import published_key
from streams.publishing import GROUP, publish
from tests import servers
from tests.lane_recorder import SESSION_TIMEOUT_SECONDS, wait_until
from tests.publishing_world import PublishingWorld, assert_in_order, held, profiles_in, subscribed
from tests.told_by_hand import order

ROOT = Path(__file__).parent.parent


@contextmanager
def running(command: str, *options: str, kafka: str, redis: str) -> Iterator[subprocess.Popen[str]]:
    """`scv publisher` or `scv worker`; what it says can be read when it has ended."""
    process = subprocess.Popen(
        [
            sys.executable, "-m", "ops.cli", command, "--kafka", kafka, "--redis", redis,
            "--session-timeout", str(SESSION_TIMEOUT_SECONDS), *options,
        ],
        cwd=ROOT,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        yield process
    finally:
        process.send_signal(signal.SIGCONT)
        process.kill()
        process.communicate()


def lanes_held(bootstrap: str) -> list[int]:
    """How many lanes each member of the group has."""
    admin = AdminClient({"bootstrap.servers": bootstrap})
    (asked,) = admin.describe_consumer_groups([GROUP]).values()
    try:
        return sorted(len(member.assignment.topic_partitions) for member in asked.result().members)
    except KafkaException:  # the broker makes its topic of offsets at the first question
        return []


def told(bootstrap: str, count: int) -> bool:
    """Whether there are so many snapshots."""
    # Reading the topic costs more than waiting for it.
    time.sleep(0.25)
    return len(subscribed(bootstrap)) >= count


def ordered(world: PublishingWorld, subject: str, number: int) -> None:
    world.view.tell("sales.order_placed", subject, order_id=f"O-{number}", amount_minor=990, currency="EUR")


def test_a_paused_publisher_wakes_to_lanes_that_are_anothers_and_both_go_on(
    apache_broker: ApacheBroker, debian_redis: DebianRedis
) -> None:
    servers.empty_broker(apache_broker.bootstrap)
    world = PublishingWorld(apache_broker.bootstrap, debian_redis.url)
    subjects = [f"crm:{number}" for number in range(8)]
    at = {"kafka": world.bootstrap, "redis": world.url}

    def publish_one_more(number: int) -> None:
        for subject in subjects:
            ordered(world, subject, number)
        world.view.settle()
        world.send()

    def all_published() -> bool:
        time.sleep(0.25)
        return held(subscribed(world.bootstrap)) == world.profiles()

    with running("publisher", **at) as first, running("publisher", **at) as second:
        wait_until(lambda: lanes_held(world.bootstrap) == [1, 1], "the two share the lanes")
        publish_one_more(1)
        wait_until(all_published, "everybody is published")
        first.send_signal(signal.SIGSTOP)
        publish_one_more(2)
        wait_until(all_published, "the other has taken its lane")
        first.send_signal(signal.SIGCONT)
        publish_one_more(3)
        wait_until(lambda: lanes_held(world.bootstrap) == [1, 1], "the paused one is back")
        publish_one_more(4)
        wait_until(all_published, "both go on")
        records = subscribed(world.bootstrap)
        assert_in_order(records)
        assert {one.version.revisions for one in records} == {1, 2, 3, 4}
        for process, number, code in ((first, signal.SIGTERM, 0), (second, signal.SIGINT, 130)):
            process.send_signal(number)
            said, _ = process.communicate(timeout=60)
            assert (process.returncode, said) == (code, "")
    world.close()


def test_what_an_installation_folds_its_subscribers_have() -> None:
    history = events(7, 10, datetime(2026, 3, 1, tzinfo=UTC))
    with Installation() as installation:
        installation.start_publisher()
        installation.start_worker()
        with LogProducer(installation.settings.kafka) as producer:
            for one in history:
                producer.produce(one.topic, one.key, one.value)
        links = link_log(installation.settings.generation)
        topics = (*DOMAIN_TOPICS, links)

        def folded() -> bool:
            installation.check()
            ends = installation.ends(topics)
            return ends[Lane(links, 0)] > 0 and installation.assembled(ends) == sum(ends.values())

        wait_until(folded, "everything is folded and placed")
        profiles = profiles_in(installation.settings.redis)
        assert len(profiles) > 8

        def published() -> bool:
            time.sleep(0.5)
            return held(subscribed(installation.settings.kafka)) == profiles

        wait_until(published, "subscribers have all of it")
        assert_in_order(subscribed(installation.settings.kafka))


def children(pid: int) -> list[int]:
    """The processes that this one has started, the publisher among them."""
    listed = subprocess.run(
        ["ps", "-A", "-o", "pid=,ppid=,args="], capture_output=True, text=True, check=True
    )
    rows = [line.split(None, 2) for line in listed.stdout.splitlines()]
    return [int(own) for own, parent, args in rows if int(parent) == pid and "ops.cli publisher" in args]


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_worker_publishes_beside_itself_starts_that_again_and_takes_it_along(tmp_path: Path) -> None:
    with EmbeddedBroker() as broker, EmbeddedStore() as store:
        create_topics(broker.bootstrap, 2)

        def write(number: int) -> None:
            event = order(number, "2026-03-01T10:00:00Z", 990)
            with LogProducer(broker.bootstrap) as producer:
                producer.produce("sales.events", event["subject"].encode(), json.dumps(event).encode())

        with running("worker", kafka=broker.bootstrap, redis=store.url) as worker:
            write(1)
            wait_until(lambda: told(broker.bootstrap, 1), "the first order is published")
            (publisher,) = children(worker.pid)
            os.kill(publisher, signal.SIGKILL)
            wait_until(lambda: children(worker.pid) not in ([], [publisher]), "another one was started")
            write(2)
            wait_until(lambda: told(broker.bootstrap, 2), "the second order is published")
            assert worker.poll() is None
            (publisher,) = children(worker.pid)
            worker.kill()
            wait_until(lambda: not alive(publisher), "the publisher ends with its worker")


def test_a_publisher_goes_on_when_a_store_that_was_lost_is_back() -> None:
    with EmbeddedBroker() as broker, EmbeddedStore() as store:
        world = PublishingWorld(broker.bootstrap, store.url)
        settings = Settings(
            kafka=broker.bootstrap, redis=store.url, session_timeout_seconds=SESSION_TIMEOUT_SECONDS
        )
        stop = threading.Event()
        thread = threading.Thread(target=publish, args=(settings, stop), daemon=True)
        thread.start()
        try:
            for number in (1, 2):
                ordered(world, "crm:1", number)
            world.view.settle()
            world.send()
            wait_until(lambda: told(broker.bootstrap, 1), "the first snapshot")
            world.close()
            store.kill()
            store.restart()
            again = PublishingWorld(broker.bootstrap, store.url)
            for number in (1, 2, 3):
                ordered(again, "crm:1", number)
                again.view.settle()
                again.send()
            wait_until(lambda: told(broker.bootstrap, 2), "the snapshot of what is new")
            assert [one.version.revisions for one in subscribed(again.bootstrap)] == [2, 3]
            assert [one["version"] for one in again.feed()] == ["0.3"]
            assert again.view.client.exists(published_key(customer_id("crm:1")))
            again.close()
        finally:
            stop.set()
            thread.join(60)
        assert not thread.is_alive()


def test_topics_that_do_not_fit_end_a_publisher_with_one_line(embedded_store: EmbeddedStore) -> None:
    with EmbeddedBroker() as broker:
        plan = [
            Topic(name, count, MappingProxyType({}))
            for name, count in ((CHANGES, 1), (PROFILES, 2), (GENERATIONS, 1))
        ]
        create_topics(broker.bootstrap, plan=plan)
        with running("publisher", kafka=broker.bootstrap, redis=embedded_store.url) as process:
            _, said = process.communicate(timeout=60)
    assert process.returncode == 5
    assert len(said.splitlines()) == 1
    assert "create them with the same number" in said


def test_a_publisher_beside_its_worker_finds_its_files_and_shows_no_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rules.toml").write_text("")
    (tmp_path / "scv.toml").write_text('rules = "rules.toml"\n')
    monkeypatch.setenv("SCV_CONFIG", "scv.toml")
    secret = "redis://:hidden@127.0.0.1:1/0"
    beside = PublisherBeside(settings_with(redis=secret))
    assert secret not in " ".join(beside._command)
    told = beside._environment
    assert told["SCV_REDIS"] == secret
    monkeypatch.chdir("/")
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    assert settings_with().rules == tmp_path / "rules.toml"
