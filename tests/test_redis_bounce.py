"""A worker waits for a store that is away, and heals one that lost everything; it is never started again."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from eventlog.embedded import EmbeddedBroker
from models.catalogue import DOMAIN_TOPICS
from stores.embedded import EmbeddedStore
from stores.reading import ProfileReader
from tests.process_verdict import assert_all
from tests.process_world import World, endless

KNOBS = {"subjects": 40, "employees": 2, "events": 1_000, "partitions": dict.fromkeys(DOMAIN_TOPICS, 2)}


def test_a_worker_waits_for_a_silent_store_and_heals_an_empty_one(tmp_path: Path) -> None:
    with (
        EmbeddedBroker() as broker,
        EmbeddedStore() as store,
        World(broker.bootstrap, store.url, tmp_path, workers=1, partitions=2) as world,
    ):
        world.write(endless(21, **KNOBS), pause_seconds=0.1)
        world.wait_for_flow("the worker begins")
        assert store.pid is not None
        os.kill(store.pid, signal.SIGSTOP)
        ends = world.ends()
        world.wait_until(
            lambda: sum(world.ends().values()) > sum(ends.values()) + 1_000,
            "events flow while the store is silent",
        )
        os.kill(store.pid, signal.SIGCONT)
        world.wait_for_all("the worker goes on where it was")
        store.restart()
        assert ProfileReader(store.url, "g1").profile("cus_0000000000000000") is None
        world.wait_for_all("an empty store is filled from the log")
        world.writer.finish()
        world.wait_for_all("all is well in the end")
        assert ProfileReader(store.url).active_generation() == "g1", "readers know where to look"
        assert [worker.lives for worker in world.workers] == [1]
        world.stop()
        assert_all(world.kafka, world.redis)
