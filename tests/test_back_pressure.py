"""A slow store or broker slows reading: what waits is bounded, nobody leaves the group, nothing is lost."""

from __future__ import annotations

import json
import os
import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis
from confluent_kafka.admin import AdminClient

from eventlog.apache import ApacheBroker
from eventlog.embedded import EmbeddedBroker
from eventlog.processes import free_port
from eventlog.producing import LogProducer
from models.catalogue import DOMAIN_TOPICS
from stores.embedded import EmbeddedStore
from stores.keys import Keys
from streams.kafka_client import FetchLimits
from tests import servers
from tests.process_verdict import assert_all, assert_settled, read_links, read_log, stored_profiles
from tests.process_world import GENERATION, SESSION_TIMEOUT_SECONDS, World
from tests.scraping import asked

ROUND_RECORDS_MAX = FetchLimits().round_records_max
# More than two rounds, so that something must stay in the log.
BACKLOG_RECORDS, LATER_RECORDS, SUBJECTS = 26_000, 4_000, 200
# Two wait for the broker while the test looks on; most of a minute is longer than the worker waits itself.
PAUSES_SECONDS = [2.0, pytest.param(45.0, marks=pytest.mark.campaign)]


@contextmanager
def paused(pid: int | None) -> Iterator[None]:
    """A server answers nobody inside; its connections stay."""
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def event(number: int, subject: str, **data: object) -> bytes:
    return json.dumps(
        {
            "specversion": "1.0", "id": str(number), "source": "shop", "type": "marketing.page_viewed",
            "subject": subject, "data": {"page": f"/{number}", **data},
        }
    ).encode()  # fmt: skip


def write_views(kafka: str, first: int, count: int) -> Counter[str]:
    """Page views of some subjects in turn; how many each got."""
    written: Counter[str] = Counter()
    with LogProducer(kafka) as producer:
        for number in range(first, first + count):
            subject = f"crm:{number % SUBJECTS}"
            producer.produce(DOMAIN_TOPICS[0], subject.encode(), event(number, subject))
            written[subject] += 1
    return written


def write_news(kafka: str, numbers: range) -> None:
    """Of each number a subject that states an email, and a record that is no event."""
    with LogProducer(kafka) as producer:
        for number in numbers:
            subject = f"crm:{number}"
            told = {"identifiers": [{"type": "email", "value": f"e{number}@example.com"}]}
            producer.produce(DOMAIN_TOPICS[0], subject.encode(), event(number, subject, **told))
            producer.produce(DOMAIN_TOPICS[1], subject.encode(), b"no event")


def reads_nothing(port: int) -> bool:
    """Whether the worker has read nothing for two seconds."""
    before = asked(port, "scv_records_read_total")
    time.sleep(2.0)
    return asked(port, "scv_records_read_total") == before


def members(kafka: str) -> list[str]:
    """Who is in the workers' group; whoever was expelled comes back under another name."""
    name = f"scv-{GENERATION}"
    client = AdminClient({"bootstrap.servers": kafka, "log_level": 0})
    group = client.describe_consumer_groups([name])[name].result(30)
    return sorted(member.member_id for member in group.members)


def counted(url: str) -> Counter[str]:
    """How many records each customer's profile counts, by founder."""
    found = stored_profiles(url).values()
    return Counter({one["founder"]: int(one["meta"]["version"].partition(".")[2]) for one in found})


def test_reading_stops_while_the_store_is_silent_and_goes_on_where_it_was(
    apache_broker: ApacheBroker, tmp_path: Path
) -> None:
    """The worker waits one second for an answer, so it asks the silent store again and again."""
    servers.empty_broker(apache_broker.bootstrap)
    kafka, port = apache_broker.bootstrap, free_port()
    with (
        EmbeddedStore() as store,
        World(
            kafka, f"{store.url}?socket_timeout=1", tmp_path, workers=1, partitions=2, metrics_port=port
        ) as world,
    ):
        written = write_views(kafka, 0, 100)
        world.wait_for_all("the first are folded")
        before, began_with = members(kafka), asked(port, "scv_records_read_total")
        with paused(store.pid):
            written += write_views(kafka, 100, BACKLOG_RECORDS)
            world.wait_until(lambda: asked(port, "scv_rounds_waiting") == 1, "a round waits")
            # What comes meanwhile joins it, until it has a tenth of what it may hold.
            world.wait_until(lambda: reads_nothing(port), "nothing more is read")
            read = asked(port, "scv_records_read_total")
            written += write_views(kafka, 100 + BACKLOG_RECORDS, LATER_RECORDS)
            time.sleep(SESSION_TIMEOUT_SECONDS + 2)
            assert asked(port, "scv_records_read_total") == read, "nothing more is read"
            assert read - began_with <= 2 * ROUND_RECORDS_MAX
            assert asked(port, "scv_rounds_waiting") == 1
            assert asked(port, "scv_progress_age_seconds", worker="folding") > SESSION_TIMEOUT_SECONDS
            assert asked(port, "scv_stage_seconds_total", stage="away", worker="folding") > 0
            assert members(kafka) == before
        world.wait_for_all("all is folded")
        assert members(kafka) == before
        assert asked(port, "scv_progress_age_seconds", worker="folding") < SESSION_TIMEOUT_SECONDS
        world.stop()
        assert counted(store.url) == written
        assert_settled(store.url, read_log(kafka), len(read_links(kafka)))


@pytest.mark.parametrize("seconds", PAUSES_SECONDS)
def test_no_commit_passes_a_broker_that_has_not_acknowledged_what_goes_before(
    seconds: float, tmp_path: Path
) -> None:
    port = free_port()
    with (
        EmbeddedBroker() as broker,
        EmbeddedStore() as store,
        World(broker.bootstrap, store.url, tmp_path, workers=1, partitions=2, metrics_port=port) as world,
        redis.Redis.from_url(store.url) as client,
    ):
        write_views(broker.bootstrap, 0, 100)
        world.wait_for_all("the first are folded")
        read = asked(port, "scv_records_read_total")
        with paused(store.pid):
            # Link facts and dead letters; the store holds the worker up until the broker is paused, too.
            write_news(broker.bootstrap, range(1_000, 1_300))
            world.wait_until(lambda: asked(port, "scv_records_read_total") > read, "the worker has some")
            facts = asked(port, "scv_link_facts_told_total")
            with paused(broker.pid):
                os.kill(store.pid or 0, signal.SIGCONT)
                noted = [Keys(GENERATION).lanes(f"crm:{number}") for number in range(1_000, 1_300)]
                world.wait_until(lambda: client.exists(*noted), "all but the acknowledgement is done")
                folded = world.folded()
                time.sleep(seconds)
                assert world.folded() == folded
                assert asked(port, "scv_link_facts_told_total") == facts
                assert not client.keys(f"scv:{GENERATION}:*:part:crm:1???")
        world.wait_for_all("the rest follows")
        world.stop()
        figures = assert_all(world.kafka, world.redis)
        assert (figures["dead_letters"], figures["customers"]) == (300, 400)
