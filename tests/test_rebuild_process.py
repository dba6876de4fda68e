"""A rebuild beside live events and look-ups, killed, promoted and rolled back: readers notice nothing.

Processes are those that anybody would start: `scv worker`, `scv rebuild start`. Every look-up, before, during
and after, is judged; in the end both generations hold the same.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any

import pytest
import redis

from eventlog.apache import ApacheBroker
from eventlog.embedded import EmbeddedBroker
from eventlog.ends import lane_ends
from eventlog.topics import link_log
from models.catalogue import DOMAIN_TOPICS
from models.record import Lane
from ops import cli
from ops.failures import Exit
from stores.embedded import DebianRedis, EmbeddedStore
from stores.keys import Keys
from stores.progress import read_progress
from stores.rebuilding import Rebuilds, State
from tests import servers
from tests.process_world import ROOT, SESSION_TIMEOUT_SECONDS, WAIT_SECONDS_MAX, World, endless
from tests.rebuild_world import assert_same

KNOBS = {
    "subjects": 40, "employees": 2, "events": 1_000, "bursts": 1,
    "partitions": dict.fromkeys(DOMAIN_TOPICS, 3),
}  # fmt: skip
# Before the rebuild begins; so many a second it folds, so that there is something to kill.
RECORDS_BEFORE = 600
THROTTLE = 300
WRITE_EVERY_SECONDS = 2.0
# A customer whose members have just changed has no profile for a moment.
LOOKS_MAX = 500


class Readers(threading.Thread):
    """Looks up one subject after the other, and keeps what must not be."""

    def __init__(self, url: str, seed: int) -> None:
        super().__init__(name="readers", daemon=True)
        self.client, self.rng = redis.Redis.from_url(url, decode_responses=True), Random(seed)
        self.enough = threading.Event()
        self.subjects: list[str] = []
        self.versions: dict[tuple[str, str], tuple[int, int]] = {}
        self.known: set[str] = set()
        self.generations: list[str] = []
        self.count = 0
        self.wrong: list[str] = []

    def run(self) -> None:
        """Look up until told to end."""
        try:
            while not self.enough.is_set():
                if self.subjects:
                    self.look(self.rng.choice(self.subjects))
                # Others want the processor, too.
                time.sleep(0.02)
        except BaseException as error:  # noqa: BLE001 - a reader that saw an error is what this is about
            self.wrong.append(f"{type(error).__name__}: {error}")

    def look(self, subject: str) -> None:
        """One look-up, judged."""
        answer = self.ask(subject)
        for _ in range(LOOKS_MAX):
            if answer["match"] != "none" or subject not in self.known:
                break
            answer = self.ask(subject)
        self.count += 1
        if answer["match"] == "none":
            if subject in self.known:
                self.wrong.append(f"{subject} was there, and is in {answer['generation']} no more")
            return
        self.known.add(subject)
        if self.generations[-1:] != [answer["generation"]]:
            self.generations.append(answer["generation"])
        if (profile := answer["profile"]) is not None:
            self.judge(answer["generation"], profile)

    def ask(self, subject: str) -> dict[str, Any]:
        """What the store says."""
        kind, _, value = subject.partition(":")
        return json.loads(self.client.fcall_ro("scv_lookup", 1, "scv", kind, value))

    def judge(self, generation: str, profile: Mapping[str, Any]) -> None:
        """A profile is whole, of its generation, and no older than before."""
        customer, version = profile["customer_id"], tuple(map(int, profile["version"].split(".")))
        before = self.versions.get((generation, customer), version)
        if version < before:
            self.wrong.append(f"{customer} in {generation}: {version} after {before}")
        self.versions[generation, customer] = max(version, before)
        if profile["meta"]["generation"] != generation or not {"summary", "timeline"} <= profile.keys():
            self.wrong.append(f"{customer} in {generation}: {sorted(profile)} {profile['meta']}")


class RebuildProcess:
    """`scv rebuild start --execute` as a process of its own."""

    def __init__(self, kafka: str, url: str, directory: Path, workers: int) -> None:
        self.command = [
            sys.executable, "-m", "ops.cli", "rebuild", "start", "--execute", "--json",
            "--workers", str(workers), "--throttle", str(THROTTLE), "--kafka", kafka, "--redis", url,
        ]  # fmt: skip
        self.output = directory / "rebuild.log"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> subprocess.Popen[bytes]:
        """Start it, or go on; when all is built, it follows."""
        told = {**os.environ, "SCV_SESSION_TIMEOUT_SECONDS": str(SESSION_TIMEOUT_SECONDS)}
        with self.output.open("ab") as output:
            self.process = subprocess.Popen(
                self.command, cwd=ROOT, env=told, stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )
        return self.process

    def stop(self) -> int:
        """Ask it to end (SIGTERM); its exit code."""
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(WAIT_SECONDS_MAX)

    def said(self) -> str:
        """What it said, over all its lives."""
        return self.output.read_text()

    def kill(self) -> list[int]:
        """End it at once (SIGKILL); the processes that worked for it."""
        assert self.process is not None
        pid = self.process.pid
        hands = [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
        self.process.kill()
        self.process.wait()
        return hands


def runs(pid: int) -> bool:
    """Whether a process is there, and no zombie that somebody else has to bury."""
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False


@contextmanager
def reading(url: str, world: World, seed: int) -> Iterator[Readers]:
    """Readers, while the block lasts; none of them may have seen anything wrong."""
    readers = Readers(url, seed)
    readers.start()
    try:
        yield readers
    finally:
        readers.enough.set()
        readers.join(WAIT_SECONDS_MAX)
    assert readers.wrong == [], world.said()


def stored_subjects(url: str) -> list[str]:
    """Everybody who has an index entry of the first generation."""
    prefix = Keys("g1").prefix
    with redis.Redis.from_url(url, decode_responses=True) as client:
        found = (key.removeprefix(prefix)[1:] for key in client.scan_iter(f"{prefix}*:lanes", count=1_000))
        names = sorted(name.removesuffix("}:lanes") for name in found)
    return [name for name in names if not name.startswith("employee:") and "}" not in name]


def built(url: str) -> bool:
    """Whether g2 follows."""
    with redis.Redis.from_url(url) as client:
        rebuild = Rebuilds(client).get("g2")
    return rebuild is not None and rebuild.state == State.FOLLOWING


def caught_up(world: World, generation: str) -> bool:
    """Whether a generation shows all that the log holds."""
    lanes = [*world.sources, links := Lane(link_log(generation), 0)]
    ends = world.ends() | world.ends((links.topic,))
    found = read_progress(world.redis, generation, lanes)
    return all(found[lane][2] >= ends[lane] for lane in lanes)


def command(world: World, *words: str) -> int:
    """A command of `scv rebuild` in this process; its exit code."""
    return cli.run(["rebuild", *words, "--kafka", world.kafka, "--redis", world.redis])


def live_through(
    kafka: str, url: str, directory: Path, seed: int, kills: int, workers: int
) -> dict[str, Any]:
    """All of it; gives figures."""
    rng = Random(seed)
    rebuild = RebuildProcess(kafka, url, directory, workers)
    with World(kafka, url, directory, workers=1) as world, reading(url, world, seed) as readers:
        world.write(endless(seed, **KNOBS), WRITE_EVERY_SECONDS)
        world.writer.hurry(RECORDS_BEFORE)
        world.wait_until(lambda: sum(world.assembled().values()) > RECORDS_BEFORE, "there is a view")
        readers.subjects = stored_subjects(url)
        for _ in range(kills):
            process = rebuild.start()
            beginning = time.monotonic()
            lasting = rng.choice((1.5, 3.0, 5.0))
            world.wait_until(
                lambda p=process, end=beginning + lasting: time.monotonic() > end or p.poll() is not None,
                "a rebuild is at it",
            )
            assert process.poll() in (None, 0), rebuild.said()
            if process.poll() is None:
                hands = rebuild.kill()
                world.wait_until(lambda some=hands: not any(map(runs, some)), "its processes end with it")
        process = rebuild.start()
        try:
            world.wait_until(lambda: built(url) or process.poll() is not None, "it is built")
            assert process.poll() is None, rebuild.said()
            assert set(readers.generations) == {"g1"}, "nobody has seen the new one"
            world.wait_until(
                lambda: command(world, "promote", "--execute", "--wait", "60") == Exit.OK, "it is promoted"
            )
            looks = readers.count
            world.wait_until(lambda: readers.count > looks + 100, "readers see it")
            assert readers.generations == ["g1", "g2"]
            world.wait_until(
                lambda: command(world, "rollback", "--execute", "--wait", "60") == Exit.OK,
                "it is rolled back",
            )
            looks = readers.count
            world.wait_until(lambda: readers.count > looks + 100, "readers see the old one")
            assert readers.generations == ["g1", "g2", "g1"]
            swept = cli.run(["sweep", "--kafka", kafka, "--redis", url])
            assert swept == Exit.OK, "with a view that is being written to nothing is wrong"
            world.writer.finish()
            for generation in ("g1", "g2"):
                world.wait_until(lambda name=generation: caught_up(world, name), f"{generation} has all")
            assert rebuild.stop() == 0
        except AssertionError as wrong:
            raise AssertionError(f"{wrong}\n{rebuild.said()}") from None
        finally:
            if rebuild.process is not None and rebuild.process.poll() is None:
                rebuild.kill()
        world.stop()
    found = assert_same(url, "g1", "g2")
    ends = lane_ends(kafka, DOMAIN_TOPICS)
    return {"records": sum(one.end for one in ends.values()), "keys": len(found), "looks": readers.count}


def test_readers_notice_nothing_of_a_rebuild_that_is_killed_promoted_and_rolled_back(
    embedded_store: EmbeddedStore, tmp_path: Path
) -> None:
    servers.empty_store(embedded_store.url)
    with EmbeddedBroker() as broker:
        figures = live_through(broker.bootstrap, embedded_store.url, tmp_path, seed=5, kills=2, workers=1)
    assert figures["records"] > RECORDS_BEFORE
    assert figures["looks"] > 300


@pytest.mark.campaign
@pytest.mark.parametrize("seed", [201, 202])
def test_readers_notice_nothing_of_a_rebuild_that_is_killed_ten_times(
    apache_broker: ApacheBroker,
    debian_redis: DebianRedis,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    seed: int,
) -> None:
    servers.empty_broker(apache_broker.bootstrap)
    servers.empty_store(debian_redis.url)
    figures = live_through(apache_broker.bootstrap, debian_redis.url, tmp_path, seed, kills=10, workers=2)
    with capsys.disabled():
        print(f"\n{json.dumps({'seed': seed, 'load': os.getloadavg()[0], **figures})}")
