"""Two real workers on Apache Kafka and Redis give what the oracle says, whatever is done to them on the way.

Faults come while events and commands flow, and while earlier faults still heal; the graph moves from worker
to worker, as other lanes do. Every record, profile, tombstone, membership, look-up entry, dead letter, link
fact, merge, split and change notice is accounted for in the end.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from random import Random

import pytest

from eventlog.apache import ApacheBroker
from models.catalogue import DOMAIN_TOPICS
from stores.embedded import DebianRedis
from tests import servers
from tests.process_verdict import assert_all
from tests.process_world import WorkerProcess, World, endless

# Of a history without end: enough customers that batches differ, few enough that each has a long life.
KNOBS = {
    "subjects": 120, "employees": 3, "events": 2_000, "bursts": 3,
    "partitions": dict.fromkeys(DOMAIN_TOPICS, 3),
}  # fmt: skip
# First, while no worker has been started again: all of them must wait for the broker.
FIRST = "kill_broker"
# About 250 records a second: a rebalance leaves a backlog of thousands.
WRITE_EVERY_SECONDS = 0.2

# What two workers fold in a second or so.
BACKLOG_RECORDS = 3_000

SHORT = ("kill", "zombie_and_set_back", "kill")
LONG = (
    ["kill"] * 24 + ["kill_both"] * 3 + ["zombie"] * 3 + ["zombie_and_set_back"] * 3 + ["save"] * 6
    + ["set_back"] * 4 + ["empty_store"] * 2 + ["pause_store"] * 3 + ["restart_broker", "kill_broker"] * 2
)  # fmt: skip


class Faults:
    """What can be done to a world, each by its name; `rng` chooses whom and when."""

    def __init__(
        self, world: World, broker: ApacheBroker, store: DebianRedis, directory: Path, rng: Random
    ) -> None:
        self.world, self.broker, self.store, self.rng = world, broker, store, rng
        self.dump = directory / "older.rdb"

    def victim(self) -> WorkerProcess:
        """One of the workers."""
        return self.rng.choice(self.world.workers)

    def kill(self) -> None:
        """A worker is killed at a random moment, most often soon after lanes moved, and started again."""
        if self.rng.random() < 0.8:
            self.world.wait_for_flow("lanes move before a kill")
        time.sleep(self.rng.choice((0.1, 1.0)) * self.rng.random())
        victim = self.victim()
        victim.kill()
        victim.start()

    def kill_both(self) -> None:
        """No worker is left for a moment."""
        for worker in self.world.workers:
            worker.kill()
        for worker in self.world.workers:
            worker.start()

    def zombie(self) -> None:
        """A worker is paused until another has done its work, and goes on with what it was doing."""
        with self.paused(self.victim()):
            self.world.wait_for_all("the work of a paused worker is done by the other")

    def zombie_and_set_back(self) -> None:
        """The same, and the store goes back meanwhile, to where the paused worker believes to be."""
        with self.paused(self.victim()):
            self.save()
            self.world.wait_for_all("the work of a paused worker is done by the other")
            self.set_back()

    def save(self) -> None:
        """Keep what the store holds now."""
        self.store.save_dump(self.dump)

    def set_back(self) -> None:
        """The store goes back to what it held some time ago, all of it together."""
        if not self.dump.exists():
            self.save()
        self.store.restore_dump(self.dump)

    def empty_store(self) -> None:
        """The store is killed and comes back with nothing."""
        self.store.restart()

    def pause_store(self) -> None:
        """The store answers nobody for a while."""
        assert self.store.pid is not None
        os.kill(self.store.pid, signal.SIGSTOP)
        time.sleep(5 * self.rng.random())
        os.kill(self.store.pid, signal.SIGCONT)

    def restart_broker(self) -> None:
        """Kafka ends in an orderly way and comes back."""
        self.broker.restart()

    def kill_broker(self) -> None:
        """Kafka is killed and comes back."""
        self.broker.kill()
        self.broker.restart()

    @contextmanager
    def paused(self, victim: WorkerProcess) -> Iterator[None]:
        """A worker does nothing inside, while new records wait in all of its lanes.

        It is stopped in the middle of much work: what it commits when it goes on is another's by then.
        """
        self.world.wait_for_sharing()
        self.world.writer.hurry(BACKLOG_RECORDS)
        self.world.wait_for_flow("lanes move before a pause")
        time.sleep(0.3 * self.rng.random())
        victim.pause()
        try:
            before = self.world.ends()
            self.world.writer.hurry(BACKLOG_RECORDS)
            self.world.wait_until(
                lambda: all(end > before[lane] for lane, end in self.world.ends().items()),
                "every lane gets new records",
            )
            yield
        finally:
            victim.resume()


def live_through(
    names: Sequence[str], seed: int, broker: ApacheBroker, store: DebianRedis, directory: Path
) -> dict[str, object]:
    """Do all of these things to a world full of events, and hold what is left against the oracle."""
    servers.empty_broker(broker.bootstrap)
    servers.empty_store(store.url)
    rng = Random(seed)
    began = time.monotonic()
    with World(broker.bootstrap, store.url, directory) as world:
        faults = Faults(world, broker, store, directory, rng)
        world.write(endless(seed, **KNOBS), WRITE_EVERY_SECONDS)
        world.wait_for_sharing()
        for name in (FIRST, *names):
            getattr(faults, name)()
            if rng.random() < 0.5:
                world.wait_for_all(f"all is well after {name}")
        # Last, with nothing to come after it that would write over what a paused worker has spoilt; each of
        # them, since one of them has the graph.
        first, last = rng.sample(world.workers, 2)
        with faults.paused(first):
            world.wait_for_all("the work of the first is done by the other")
        with faults.paused(last):
            world.writer.finish()
            world.wait_for_all("the work of the last is done by the other")
        world.wait_for_sharing()
        world.wait_for_all("all is well in the end")
        world.stop()
    figures = assert_all(world.kafka, world.redis)
    assert figures["followed"] > 0.9 * figures["followed_of"], "few are in customers too large to be followed"
    return {
        "seed": seed,
        "faults": Counter((FIRST, *names, "zombie", "zombie")),
        **figures,
        "seconds": round(time.monotonic() - began),
    }


def test_profiles_are_the_oracles_whatever_was_killed_paused_or_set_back(
    apache_broker: ApacheBroker, debian_redis: DebianRedis, tmp_path: Path
) -> None:
    figures = live_through(SHORT, 1, apache_broker, debian_redis, tmp_path)
    assert figures["records"] > 1_000, "events did flow"
    assert figures["turns"] > 100, "customers merged and split"
    assert figures["splits"] > 0, "some were taken apart again"


@pytest.mark.campaign
@pytest.mark.parametrize("seed", [101, 102])
def test_profiles_are_the_oracles_after_dozens_of_faults(
    apache_broker: ApacheBroker,
    debian_redis: DebianRedis,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    seed: int,
) -> None:
    names = list(LONG)
    Random(seed).shuffle(names)
    figures = live_through(names, seed, apache_broker, debian_redis, tmp_path)
    with capsys.disabled():
        print(f"\n{json.dumps(figures)}")
