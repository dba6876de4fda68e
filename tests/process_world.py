"""Worker processes, and a log that keeps growing while they are killed, paused and let down by their servers.

Guarantees:
- Workers are what anybody would start: `scv worker`, configured by SCV_* variables.
- A worker that ends by itself fails the test at once, with what it said.
- Nothing here measures time: what is awaited either happens or fails the test after `WAIT_SECONDS_MAX`. A
  backlog may take longer on a slow machine: it fails when so long nothing of it was done.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import count, islice
from pathlib import Path
from random import Random
from types import TracebackType
from typing import Any, Self

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from eventlog.admin import create_topics
from eventlog.ends import lane_ends
from eventlog.errors import LogError, ProduceFailed
from eventlog.producing import LogProducer
from eventlog.topics import link_log
from models.catalogue import COMMAND_TOPIC, DOMAIN_TOPICS
from models.record import Lane, Record
from stores.progress import read_progress
from stores.store import StoreAway
from tests.histories import history, interleaved
from tests.process_people import among

ROOT = Path(__file__).parent.parent
GENERATION = "g1"
# What others write to.
SOURCES = (*DOMAIN_TOPICS, COMMAND_TOPIC)
# The shortest with which the embedded broker forms a group.
SESSION_TIMEOUT_SECONDS = 6.0
# Far beyond what anything takes; a laptop that runs other things at the same time gets there, too.
WAIT_SECONDS_MAX = 300.0
# How a worker ends that finds no broker or store when it starts; later it waits for them.
EXIT_AWAY = 7
# What a failed test shows of each worker.
OUTPUT_CHARACTERS = 4_000
# Written, acknowledged, and only then more: what waits for a broker that is away stays small.
CHUNK_RECORDS = 50
# A writer waits for workers when so many of its records are in no profile yet: the log does not outgrow them.
BACKLOG_RECORDS_MAX = 10_000
# How often it looks: looking costs a question to each server.
CHUNKS_PER_LOOK = 20


class WorkerProcess:
    """`scv worker` as a process of its own; what it says goes to a file, over all its lives."""

    def __init__(self, name: str, directory: Path, kafka: str, redis: str, **settings: object) -> None:
        self.name = name
        self._output = directory / f"worker-{name}.log"
        self._settings = {"kafka": kafka, "redis": redis, "generation": GENERATION, **settings}
        self._settings.setdefault("session_timeout_seconds", SESSION_TIMEOUT_SECONDS)
        self._process: subprocess.Popen[bytes] | None = None
        self.lives = 0

    def start(self) -> None:
        """Start it; it takes its lanes a moment later."""
        self.lives += 1
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("SCV_")}
        chosen = {f"SCV_{name.upper()}": str(value) for name, value in self._settings.items()}
        with self._output.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "ops.cli", "worker", "--no-publish"], cwd=ROOT, env=inherited | chosen,
                stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            )  # fmt: skip

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self._process is not None, f"worker {self.name} was never started"
        return self._process.pid

    @property
    def ended(self) -> int | None:
        """The exit code of a worker that ended by itself; None while it runs, or when we ended it."""
        return None if self._process is None else self._process.poll()

    def kill(self) -> None:
        """End it at once (SIGKILL)."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def pause(self) -> None:
        """Let it do nothing, not even send heartbeats (SIGSTOP)."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let a paused one go on, as if no time had passed."""
        os.kill(self.pid, signal.SIGCONT)

    def stop(self) -> int:
        """Ask it to end (SIGTERM); its exit code."""
        assert self._process is not None, f"worker {self.name} does not run"
        process, self._process = self._process, None
        process.terminate()
        try:
            return process.wait(WAIT_SECONDS_MAX)
        finally:
            process.kill()

    def resident_mib(self) -> int:
        """Its memory."""
        told = subprocess.run(
            ["ps", "-o", "rss=", "-p", str(self.pid)], capture_output=True, text=True, check=True
        )
        return int(told.stdout) // 1024

    def said(self) -> str:
        """The end of what it said, over all its lives."""
        text = self._output.read_text(errors="replace") if self._output.exists() else ""
        return f"-- worker {self.name} said:\n{text[-OUTPUT_CHARACTERS:]}"


def endless(seed: int, **knobs: Any) -> Iterator[Record]:
    """History after history about the same subjects, and people known by several; each lane in order."""
    histories = (record for one in count(seed) for record in interleaved(history(one, **knobs), Random(one)))
    return among(histories, seed, knobs["partitions"])


class Writer(threading.Thread):
    """Writes records to the lanes that they name, a chunk at a time, until told that it is enough.

    What was not acknowledged is written again: the log may hold it twice, as from any source. Only what the
    log holds in the end counts. It waits while more than `BACKLOG_RECORDS_MAX` of all records are `waiting`,
    as those do that ask sources to slow down, unless it was told to hurry.
    """

    def __init__(
        self, kafka: str, records: Iterable[Record], pause_seconds: float, waiting: Callable[[], int]
    ) -> None:
        super().__init__(name="writer", daemon=True)
        self._kafka, self._records, self._pause_seconds = kafka, iter(records), pause_seconds
        self._waiting = waiting
        self._enough = threading.Event()
        self._hurry = 0
        self.failure: BaseException | None = None
        self.trouble = ""

    def run(self) -> None:
        """Write on."""
        try:
            with LogProducer(self._kafka, client_id="source") as producer:
                for chunks in count():
                    if chunks % CHUNKS_PER_LOOK == 0:
                        self._wait_for_workers()
                    if self._enough.wait(0 if self._hurry else self._pause_seconds):
                        return
                    self._hurry = max(0, self._hurry - 1)
                    chunk = list(islice(self._records, CHUNK_RECORDS))
                    if not chunk:
                        return
                    while not self._written(producer, chunk):
                        pass
        except BaseException as failure:  # noqa: BLE001 - kept for the test, which raises it
            self.failure = failure

    def _wait_for_workers(self) -> None:
        while not self._hurry and not self._enough.wait(self._pause_seconds):
            try:
                if self._waiting() <= BACKLOG_RECORDS_MAX:
                    return
            except (LogError, StoreAway) as away:  # one of them is down: what waits is unknown
                self.trouble = str(away)
                return

    def _written(self, producer: LogProducer, chunk: list[Record]) -> bool:
        try:
            write(producer, chunk)
        except ProduceFailed as failed:
            self.trouble = str(failed)
            return False
        return True

    def hurry(self, records: int) -> None:
        """Write so many without a pause: more than workers fold in a moment."""
        self._hurry = records // CHUNK_RECORDS

    def check(self) -> None:
        """Raise what made writing impossible."""
        if self.failure is not None:
            raise self.failure

    def abandon(self) -> None:
        """Write no more, as soon as may be."""
        self._enough.set()

    def finish(self) -> None:
        """Write no more."""
        self._enough.set()
        self.join()
        self.check()


def write(producer: LogProducer, records: Iterable[Record]) -> None:
    """Append records to the lanes that they name; acknowledged on return. ProduceFailed."""
    for record in records:
        producer.produce(record.topic, record.key, record.value, record.headers, record.partition)
    producer.flush()


class World:
    """Topics, workers and what they need; `with` ends all processes that it started."""

    def __init__(
        self,
        kafka: str,
        redis: str,
        directory: Path,
        workers: int = 2,
        partitions: int = 3,
        **settings: object,
    ) -> None:
        self.kafka, self.redis = kafka, redis
        create_topics(kafka, partitions, GENERATION)
        self.links = Lane(link_log(GENERATION), 0)
        self.sources = sorted(Lane(*lane) for lane in lane_ends(kafka, SOURCES))
        self.lanes = [*self.sources, self.links]
        self.workers = [
            WorkerProcess("ABCDEFGH"[number], directory, kafka, redis, **settings)
            for number in range(workers)
        ]
        self.writer: Writer | None = None

    def __enter__(self) -> Self:
        """The workers start."""
        for worker in self.workers:
            worker.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """All of them end."""
        if self.writer is not None and error is not None:
            self.writer.abandon()
        for worker in self.workers:
            worker.kill()

    def write(self, records: Iterable[Record], pause_seconds: float) -> None:
        """Begin to write these records, beside whatever else happens."""
        self.writer = Writer(self.kafka, records, pause_seconds, self._waiting)
        self.writer.start()

    def ends(self, topics: Sequence[str] = SOURCES) -> dict[Lane, int]:
        """The end of every lane that others write to: those of the domain topics and the commands."""
        return {Lane(*lane): held.end for lane, held in lane_ends(self.kafka, topics).items()}

    def folded(self) -> dict[Lane, int]:
        """The offset up to which each lane's records are in parts."""
        return {lane: at[0] for lane, at in read_progress(self.redis, GENERATION, self.sources).items()}

    def assembled(self) -> dict[Lane, int]:
        """The offset up to which each lane's records are in profiles."""
        return {lane: at[2] for lane, at in read_progress(self.redis, GENERATION, self.lanes).items()}

    def wait_until(self, true: Callable[[], object], what: str, done: Callable[[], int] = lambda: 0) -> None:
        """Return when it is true; AssertionError, with all that the workers said, when it never gets true.

        `done` counts what is done; as long as it gets greater than it ever was, there is hope.
        """
        deadline, most = time.monotonic() + WAIT_SECONDS_MAX, done()
        while not true():
            self._check()
            if (now := done()) > most:
                deadline, most = time.monotonic() + WAIT_SECONDS_MAX, now
            assert time.monotonic() < deadline, f"never happened: {what}\n{self.where()}\n{self.said()}"
            time.sleep(0.02)

    def _check(self) -> None:
        """AssertionError when a worker ended by itself."""
        for worker in self.workers:
            ended = worker.ended
            if ended == EXIT_AWAY and worker.lives > 1:
                # Started while the broker was away: it says so and ends; whoever runs it starts it again.
                worker.start()
            else:
                assert ended is None, f"worker {worker.name} ended by itself with {ended}\n{self.said()}"
        if self.writer is not None:
            self.writer.check()

    def wait_for_all(self, what: str) -> None:
        """Return when all that the log holds now is in profiles: events, then what they say of who is who."""
        # A lane's link facts are in the log before its records count as folded.
        for topics in (SOURCES, (self.links.topic,)):
            ends = self.ends(topics)
            self.wait_until(lambda ends=ends: self._reached(ends), what, self._done)

    def _waiting(self) -> int:
        """How many records the log holds that are in no profile."""
        return sum(self.ends((*SOURCES, self.links.topic)).values()) - self._done()

    def _done(self) -> int:
        return sum(self.assembled().values())

    def _reached(self, ends: Mapping[Lane, int]) -> bool:
        at = self.assembled()
        return all(at[lane] >= end for lane, end in ends.items())

    def wait_for_flow(self, what: str) -> None:
        """Return when some lane moves on."""
        before = self.folded()
        self.wait_until(lambda: any(at > before[lane] for lane, at in self.folded().items()), what)

    def wait_for_sharing(self) -> None:
        """Return when every worker has lanes; one killed lately may still count, until its session ends."""
        client = AdminClient({"bootstrap.servers": self.kafka, "log_level": 0})

        def shared() -> bool:
            try:
                group = client.describe_consumer_groups([f"scv-{GENERATION}"])[f"scv-{GENERATION}"].result(30)
            except KafkaException:  # a broker that has just started knows no groups yet
                return False
            held = [len(member.assignment.topic_partitions) for member in group.members]
            return len(held) == len(self.workers) and min(held) > 0 and sum(held) == len(self.lanes)

        self.wait_until(shared, "the workers share the lanes")

    def where(self) -> str:
        """Each lane that is behind, for people."""
        found = read_progress(self.redis, GENERATION, self.lanes)
        ends = self.ends() | self.ends((self.links.topic,))
        return "\n".join(
            f"{lane}: {at}, ends at {ends[lane]}" for lane, at in found.items() if at[2] < ends[lane]
        )

    def said(self) -> str:
        """What all workers said last, and what the writer met."""
        trouble = f"-- the writer last met: {self.writer.trouble or 'no trouble'}" if self.writer else ""
        return "\n".join([*(worker.said() for worker in self.workers), trouble])

    def stop(self) -> None:
        """Ask all workers to end; each must end well."""
        for worker in self.workers:
            code = worker.stop()
            # One that was killed lately may be on its way up: the signal itself ends it.
            good = (0, -signal.SIGTERM) if worker.lives > 1 else (0,)
            assert code in good, f"worker {worker.name} ended with {code}\n{self.said()}"
