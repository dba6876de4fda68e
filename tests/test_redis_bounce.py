"""A worker waits for a store that is away, and heals one that lost everything; it is never started again."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from eventlog.embedded import EmbeddedBroker
from eventlog.producing import LogProducer
from models.catalogue import DOMAIN_TOPICS
from stores.embedded import EmbeddedStore
from stores.reading import ProfileReader
from tests.process_verdict import assert_all, assert_settled, read_links, read_log, stored_profiles
from tests.process_world import World, endless

LANES = dict.fromkeys(DOMAIN_TOPICS, 2)
KNOBS = {"subjects": 40, "employees": 2, "events": 1_000, "partitions": LANES}

# As large as some; they do not get smaller when compressed, so that a fetch brings as much as it may.
BACKLOG_RECORDS, FILL_BYTES = 100_000, 2_000
# Two rounds of 32 MiB, a fetch of 32, what unpacking and Python need besides; far below the backlog.
GROWTH_MIB_MAX = 160


@contextmanager
def silent(store: EmbeddedStore) -> Iterator[None]:
    """The store answers nobody inside."""
    assert store.pid is not None
    os.kill(store.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(store.pid, signal.SIGCONT)


def test_a_worker_waits_for_a_silent_store_and_heals_an_empty_one(tmp_path: Path) -> None:
    with (
        EmbeddedBroker() as broker,
        EmbeddedStore() as store,
        World(broker.bootstrap, store.url, tmp_path, workers=1, partitions=2) as world,
    ):
        world.write(endless(21, **KNOBS), pause_seconds=0.2)
        world.wait_for_flow("the worker begins")
        with silent(store):
            before = sum(world.ends().values())
            world.wait_until(lambda: sum(world.ends().values()) > before + 1_000, "events flow on")
        world.wait_for_all("the worker goes on where it was")
        store.restart()
        world.wait_for_all("an empty store is filled from the log")
        world.writer.finish()
        world.wait_for_all("all is well in the end")
        assert ProfileReader(store.url).active_generation() == "g1", "readers know where to look"
        assert [worker.lives for worker in world.workers] == [1]
        world.stop()
        assert_all(world.kafka, world.redis)


def append_backlog(kafka: str) -> None:
    """Events of 2 kB, about as many customers as a tenth of them."""
    with LogProducer(kafka) as producer:
        for number in range(BACKLOG_RECORDS):
            subject = f"crm:{number % (BACKLOG_RECORDS // 10)}"
            event = {
                "specversion": "1.0", "id": str(number), "source": "shop", "type": "marketing.page_viewed",
                "subject": subject, "data": {"page": "/", "fill": os.urandom(FILL_BYTES // 2).hex()},
            }  # fmt: skip
            producer.produce(DOMAIN_TOPICS[0], subject.encode(), json.dumps(event).encode())


@pytest.mark.campaign
def test_a_backlog_behind_a_silent_store_stays_in_the_log(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with (
        EmbeddedBroker() as broker,
        EmbeddedStore() as store,
        World(broker.bootstrap, store.url, tmp_path, workers=1, partitions=2) as world,
    ):
        (worker,) = world.workers
        world.write([next(endless(3, **KNOBS))], pause_seconds=0.0)
        world.wait_for_flow("the worker begins")
        before, growth = worker.resident_mib(), 0
        with silent(store):
            append_backlog(broker.bootstrap)
            for _ in range(50):
                time.sleep(0.1)
                growth = max(growth, worker.resident_mib() - before)
        assert growth < GROWTH_MIB_MAX
        world.wait_for_all("the backlog is folded")
        world.stop()
        assert_settled(store.url, read_log(broker.bootstrap), len(read_links(broker.bootstrap)))
        found = stored_profiles(store.url).values()
        assert sum(int(one["meta"]["version"].partition(".")[2]) for one in found) >= BACKLOG_RECORDS
    with capsys.disabled():
        print(f"\n{json.dumps({'backlog': BACKLOG_RECORDS, 'growth_mib': growth})}")
