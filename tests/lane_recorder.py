"""Two small lane workers that write down what they get, and how tests run them.

`Recorder` keeps it in memory, for a worker in the test's own process. `SharedRecorder` keeps it in a SQLite
file with a checkpoint a lane, compared before every write as the real store does, for several processes:

    python -m tests.lane_recorder '{"brokers": …, "group": …, "topics": […], "path": …, "name": "A"}'
"""

import asyncio
import json
import sqlite3
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self

from eventlog import admin, topics
from eventlog.producing import LogProducer
from models.record import Lane
from streams import app as worker_app
from streams.kafka_client import FetchLimits
from streams.lanes import Batch, LaneWorker

# The embedded broker forms a group after half of it; Apache Kafka allows no less.
SESSION_TIMEOUT_SECONDS = 6.0

WAIT_SECONDS_MAX = 180.0


LANES = [Lane("facts", partition) for partition in range(4)]


def create_facts(bootstrap: str) -> str:
    """Create the topic of LANES; returns the bootstrap address."""
    admin.create_topics(bootstrap, plan=[topics.Topic("facts", len(LANES), topics.topic_plan()[0].settings)])
    return bootstrap


def write_facts(bootstrap: str, lane: Lane, count: int, compression: str = "lz4") -> None:
    """Append `count` records of 350 bytes to one lane, in few batches."""
    with LogProducer(bootstrap, linger_ms=50, compression=compression) as producer:
        for number in range(count):
            producer.produce(lane.topic, b"crm:%d" % number, b"%350d" % number, partition=lane.partition)


def wait_until(true: Callable[[], object], what: str) -> None:
    """Return when it is true; AssertionError if it never gets true."""
    deadline = time.monotonic() + WAIT_SECONDS_MAX
    while not true():
        assert time.monotonic() < deadline, f"never happened: {what}"
        time.sleep(0.02)


@dataclass
class Recorder:
    """Records in memory. Fails on a gap, as a store would refuse it; moves lanes when told to."""

    resume: dict[Lane, int] = field(default_factory=dict)
    # Answers of the next step, or idle call, that has this lane: it is not recorded, and moves there.
    refuse: dict[Lane, int] = field(default_factory=dict)
    refuse_idle: dict[Lane, int] = field(default_factory=dict)
    # The step waits while this is not set.
    go: threading.Event = field(default_factory=threading.Event)
    stands: dict[Lane, int | None] = field(default_factory=dict)
    records: dict[Lane, list] = field(default_factory=dict)
    rounds: list[int] = field(default_factory=list)
    calls: list[tuple[str, object]] = field(default_factory=list)
    ends: dict[Lane, int | None] = field(default_factory=dict)
    stops: dict[Lane, str] = field(default_factory=dict)
    threads: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.go.set()

    def take(self, lanes: Sequence[Lane]) -> dict[Lane, int | None]:
        """Resume where the last records were, else where the test says."""
        self._note("take", list(lanes))
        for lane in lanes:
            read = self.records.get(lane)
            self.stands[lane] = read[-1].offset + 1 if read else self.resume.get(lane)
        return {lane: self.stands[lane] for lane in lanes}

    def lose(self, lanes: Sequence[Lane]) -> None:
        """Write down the loss."""
        self._note("lose", list(lanes))
        for lane in lanes:
            del self.stands[lane]

    def step(self, batches: Sequence[Batch]) -> dict[Lane, int | None]:
        """Record the round, except lanes to refuse."""
        self._note("step", [batch.lane for batch in batches])
        self.go.wait()
        self.rounds.append(sum(len(batch.records) for batch in batches))
        moved = {}
        for batch in batches:
            if batch.lane in self.refuse:
                self.stands[batch.lane] = moved[batch.lane] = self.refuse.pop(batch.lane)
                continue
            stands = self.stands[batch.lane]
            assert stands is None or stands == batch.start, f"{batch.lane}: {batch.start} follows {stands}"
            self.stands[batch.lane] = batch.next_offset
            self.records.setdefault(batch.lane, []).extend(batch.records)
        return moved

    def idle(self, ends: Mapping[Lane, int | None]) -> dict[Lane, int | None]:
        """Note the ends; move lanes that the test wants moved."""
        self._note("idle", dict(ends))
        self.ends.update(ends)
        moved = {lane: self.refuse_idle.pop(lane) for lane in ends if lane in self.refuse_idle}
        self.stands.update(moved)
        return moved

    def stopped(self, lane: Lane, reason: str) -> None:
        """Write down why."""
        self._note("stopped", lane)
        self.stops[lane] = reason

    def close(self) -> None:
        """Write down the end."""
        self._note("close", None)

    def offsets(self, lane: Lane) -> list[int]:
        """The offsets recorded of a lane, in the order of recording."""
        return [record.offset for record in self.records.get(lane, ())]

    def count(self) -> int:
        """How many records it has."""
        return sum(len(records) for records in self.records.values())

    def named(self, call: str) -> list[object]:
        """The arguments of all calls of a name."""
        return [arguments for name, arguments in self.calls if name == call]

    def _note(self, call: str, arguments: object) -> None:
        self.threads.add(threading.get_ident())
        self.calls.append((call, arguments))


class Running:
    """A worker in a thread of the test's process; leaving the block ends it. `code` is its exit code."""

    def __init__(
        self,
        brokers: str,
        group: str,
        worker: LaneWorker,
        topics: Sequence[str],
        limits: FetchLimits | None = None,
    ) -> None:
        self.code: int | None = None
        settings = worker_app.StreamSettings(
            brokers,
            group,
            session_timeout_seconds=SESSION_TIMEOUT_SECONDS,
            limits=limits or FetchLimits(),
            lag_commit_every_seconds=0.5,
        )
        self.app = worker_app.build_app(settings, worker, topics)
        self._stop: asyncio.Event | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=self._run, name="running worker")

    def _run(self) -> None:
        async def serve() -> int:
            self._stop, self._loop = asyncio.Event(), asyncio.get_running_loop()
            return await worker_app.serve(self.app, self._stop)

        self.code = asyncio.run(serve())

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.end()

    def end(self) -> None:
        """End the worker as a signal would, and wait for it; a second call does nothing."""
        wait_until(lambda: self._stop is not None, "the event loop starts")
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()


class SharedRecorder:
    """Records in a SQLite file that several processes share; each lane's checkpoint is compared first."""

    def __init__(self, path: str, name: str, step_seconds: float = 0.0, fail_in_step: bool = False) -> None:
        self.name = name
        self.step_seconds = step_seconds
        self.fail_in_step = fail_in_step
        # Used by the projector thread only, but made here.
        self._db = sqlite3.connect(path, isolation_level=None, timeout=30.0, check_same_thread=False)
        create_tables(self._db)
        self._stands: dict[Lane, int | None] = {}

    def take(self, lanes: Sequence[Lane]) -> dict[Lane, int | None]:
        """Resume at the checkpoints."""
        with self._db:
            self._db.execute("begin immediate")
            self._tell("take", lanes)
            stands = {lane: self._checkpoint(lane) for lane in lanes}
        self._stands.update(stands)
        return stands

    def lose(self, lanes: Sequence[Lane]) -> None:
        """Write down the loss."""
        with self._db:
            self._db.execute("begin immediate")
            self._tell("lose", lanes)
        for lane in lanes:
            del self._stands[lane]

    def step(self, batches: Sequence[Batch]) -> dict[Lane, int | None]:
        """Record each batch if its lane's checkpoint is where this process stands."""
        if self.fail_in_step:
            raise ValueError("a broken\ninvariant")
        self._tell("step", [batch.lane for batch in batches])
        time.sleep(self.step_seconds)
        moved: dict[Lane, int | None] = {}
        with self._db:
            self._db.execute("begin immediate")
            for batch in batches:
                stored = self._checkpoint(batch.lane)
                if stored != self._stands[batch.lane]:
                    self._stands[batch.lane] = moved[batch.lane] = stored
                    self._tell("refused", [batch.lane])
                    continue
                self._db.executemany(
                    "insert into events (worker, event, lane, offset) values (?, 'record', ?, ?)",
                    [(self.name, str(batch.lane), record.offset) for record in batch.records],
                )
                checkpoint = (str(batch.lane), batch.next_offset)
                self._db.execute("replace into checkpoints values (?, ?)", checkpoint)
                self._stands[batch.lane] = batch.next_offset
        return moved

    def idle(self, ends: Mapping[Lane, int | None]) -> dict[Lane, int | None]:
        """Move lanes whose checkpoint another process has moved."""
        stored = {lane: self._checkpoint(lane) for lane in ends}
        moved = {lane: offset for lane, offset in stored.items() if offset != self._stands[lane]}
        self._stands.update(moved)
        return moved

    def stopped(self, lane: Lane, reason: str) -> None:
        """Write it down."""
        self._tell("stopped", [lane])

    def close(self) -> None:
        """Write it down."""
        self._tell("close", [Lane("", 0)])
        self._db.close()

    def _checkpoint(self, lane: Lane) -> int | None:
        row = self._db.execute("select next_offset from checkpoints where lane = ?", (str(lane),)).fetchone()
        return row[0] if row else None

    def _tell(self, event: str, lanes: Sequence[Lane]) -> None:
        self._db.executemany(
            "insert into events (worker, event, lane) values (?, ?, ?)",
            [(self.name, event, str(lane)) for lane in lanes],
        )


def create_tables(db: sqlite3.Connection) -> None:
    """Create what a SharedRecorder writes to, if it is not there."""
    db.execute("pragma journal_mode=wal")
    db.execute("create table if not exists checkpoints (lane text primary key, next_offset integer)")
    db.execute(
        "create table if not exists events (seq integer primary key autoincrement, worker text, event text, "
        "lane text, offset integer)"
    )


def main() -> int:
    """Run a worker with a SharedRecorder until a signal."""
    given = json.loads(sys.argv[1])
    recorder = SharedRecorder(
        given["path"], given["name"], given.get("step_seconds", 0.0), given.get("fail_in_step", False)
    )
    limits = FetchLimits(round_records_max=500, close_seconds_max=given.get("close_seconds_max", 10.0))
    settings = worker_app.StreamSettings(
        given["brokers"], given["group"], session_timeout_seconds=SESSION_TIMEOUT_SECONDS, limits=limits
    )
    return worker_app.run(worker_app.build_app(settings, recorder, given["topics"]))


if __name__ == "__main__":
    sys.exit(main())
