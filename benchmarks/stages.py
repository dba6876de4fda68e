"""Where a worker's time goes: its real steps on batches from memory, with a real store, timed stage by stage.

    python -m benchmarks.stages --events 40000 --round 10000 --hot 25

Guarantees:
- The code that runs is the worker's own, `FoldingWorker.step`; only its seams are wrapped with timers.
- A stage is charged for its own time only: what it calls in another stage is charged there. Whatever is under
  no timer is charged to "steps", so that the stages add up to the whole.
- The whole is measured apart, without timers, and what the timers cost is taken off the stages.
- "garbage" is Python's cyclic collector, wherever it ran. What the measurement itself holds is kept out of
  its sight.

Kafka is not in it: no reading, and notices go to memory (`--outlet kafka` produces them to an embedded
broker).
"""

from __future__ import annotations

import argparse
import contextlib
import cProfile
import gc
import inspect
import io
import json
import pstats
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple
from zlib import crc32

import streams.assembler
import streams.folder
import streams.lane_worker
from benchmarks import usage
from benchmarks.load import mixed
from eventlog.admin import create_topics
from eventlog.embedded import EmbeddedBroker
from eventlog.producing import LogProducer
from eventlog.topics import link_log
from models.record import Lane
from projections.assembling import Labels
from projections.folding import Projection
from projections.reducers import Configuration
from stores.embedded import EmbeddedStore
from stores.redis_store import RedisStore
from streams.assembler import Outlet
from streams.cache import PartCache
from streams.folder import Folder
from streams.lane_worker import FoldingWorker
from streams.lanes import Batch

LOG_MS = 1_780_000_000_000
CACHE_BYTES = 256 * 2**20
SHARED_ABOVE = 5
# Timers around nothing, to learn what one costs.
CALIBRATION_CALLS = 50_000

# Stage → the seams of which it is made. A seam is a function that its callers look up in a module, or a
# method of the store or the outlet.
FUNCTION_SEAMS: tuple[tuple[str, Any, str], ...] = (
    ("decode", streams.folder, "decode"),
    ("group", streams.lane_worker, "prefixes"),
    ("pack", streams.folder, "pack"),
    ("unpack", streams.lane_worker, "unpack"),
    ("unpack", streams.assembler, "unpack"),
    ("assemble", streams.assembler, "assemble"),
)
STORE_SEAMS = {
    "load": "load",
    "checkpoints": "checkpoints",
    "note_subjects": "note subjects",
    "commit": "commit",
    "members": "members",
    "lanes": "members",
    "parts": "parts",
    "put_profiles": "put",
    "index": "index",
    "close_marks": "close marks",
}
OUTLET_SEAMS = {"produce": "produce", "flush": "produce"}
STAGES = (
    "group", "load", "unpack", "decode", "fold", "pack", "note subjects", "commit", "members", "checkpoints",
    "parts", "assemble", "put", "index", "produce", "close marks", "garbage", "steps",
)  # fmt: skip


class Record:
    """A record as the Kafka client hands it over."""

    __slots__ = ("headers", "key", "offset", "timestamp", "value")

    def __init__(self, offset: int, timestamp: int, key: bytes, value: bytes) -> None:
        self.offset, self.timestamp, self.key, self.value = offset, timestamp, key, value
        self.headers = ()


class Memory:
    """An outlet that only counts."""

    def __init__(self) -> None:
        self.count = 0

    def produce(self, topic: str, key: bytes | None, value: bytes | None) -> None:
        """Count one record."""
        self.count += 1

    def flush(self) -> None:
        """There is nothing to wait for."""


class Clock:
    """Charges processor and wall time to the stage that is running."""

    def __init__(self) -> None:
        self.cpu: dict[str, float] = dict.fromkeys(STAGES, 0.0)
        self.wall: dict[str, float] = dict.fromkeys(STAGES, 0.0)
        self.calls: dict[str, int] = dict.fromkeys(STAGES, 0)
        self._running = ["steps"]
        self._cpu_at, self._wall_at = time.process_time(), time.perf_counter()

    def _charge(self) -> None:
        cpu, wall, stage = time.process_time(), time.perf_counter(), self._running[-1]
        self.cpu[stage] += cpu - self._cpu_at
        self.wall[stage] += wall - self._wall_at
        self._cpu_at, self._wall_at = cpu, wall

    def timed(self, stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, charged to a stage; of a generator function, the making of all it yields."""
        if inspect.isgeneratorfunction(function):
            return self.timed(stage, lambda *args: list(function(*args)))

        def run(*args: Any, **named: Any) -> Any:
            self._charge()
            self._running.append(stage)
            self.calls[stage] += 1
            try:
                return function(*args, **named)
            finally:
                self._charge()
                self._running.pop()

        return run

    @contextlib.contextmanager
    def whole(self, *, timed: bool = True) -> Iterator[None]:
        """Time from here to the end of the block is charged, none of that before."""
        if timed:
            gc.callbacks.append(self._collecting)
        self._cpu_at, self._wall_at = time.process_time(), time.perf_counter()
        yield
        self._charge()
        if timed:
            gc.callbacks.remove(self._collecting)

    def _collecting(self, phase: str, _: dict[str, int]) -> None:
        self._charge()
        if phase == "start":
            self._running.append("garbage")
            self.calls["garbage"] += 1
        else:
            self._running.pop()


class Wrapped:
    """An object some of whose methods are timed."""

    def __init__(self, inner: Any, clock: Clock, seams: dict[str, str]) -> None:
        self._inner = inner
        for method, stage in seams.items():
            setattr(self, method, clock.timed(stage, getattr(inner, method)))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


@contextlib.contextmanager
def function_seams(clock: Clock) -> Iterator[None]:
    """The functions of the seams are timed inside the block. AttributeError when one of them is gone."""
    before = [(module, name, getattr(module, name)) for _, module, name in FUNCTION_SEAMS]
    for stage, module, name in FUNCTION_SEAMS:
        setattr(module, name, clock.timed(stage, getattr(module, name)))
    try:
        yield
    finally:
        for module, name, function in before:
            setattr(module, name, function)


class Pass(NamedTuple):
    """One pass over all rounds."""

    cpu_seconds: float
    wall_seconds: float
    store_seconds: float
    profiles: int
    clock: Clock


def rounds_of(events: int, subjects: int, partitions: int, round_records: int) -> list[list[Batch]]:
    """The rounds that a worker of all lanes would get from a backlog."""
    lanes: dict[Lane, list[Record]] = {}
    for number, (topic, key, value) in enumerate(mixed(events, subjects)):
        records = lanes.setdefault(Lane(topic, crc32(key) % partitions), [])
        records.append(Record(len(records), LOG_MS + number, key, value))
    rounds: list[list[Batch]] = []
    # Lanes are not equally long: each gives its share, so that they end together.
    count = max(round(events / round_records), 1)
    for turn in range(count):
        cuts = {
            lane: (len(held) * turn // count, len(held) * (turn + 1) // count) for lane, held in lanes.items()
        }
        rounds.append(
            [
                Batch(lane, at, lanes[lane][at:to], to, len(lanes[lane]))
                for lane, (at, to) in cuts.items()
                if to > at
            ]
        )
    return rounds


def run(
    rounds: Sequence[Sequence[Batch]], outlet: Outlet, *, timed: bool, profile: cProfile.Profile | None = None
) -> Pass:
    """Fold all rounds into an empty store of its own."""
    clock = Clock()
    with EmbeddedStore() as server, contextlib.ExitStack() as stack:
        store: Any = RedisStore(server.url, "g1", SHARED_ABOVE)
        folder: Any = Folder(Projection(Configuration()))
        if timed:
            store, outlet = Wrapped(store, clock, STORE_SEAMS), Wrapped(outlet, clock, OUTLET_SEAMS)
            folder = Wrapped(folder, clock, {"fold": "fold"})
            stack.enter_context(function_seams(clock))
        worker = folding_worker(store, outlet, folder)
        lanes = sorted({batch.lane for batches in rounds for batch in batches})
        worker.take(lanes)
        pid = server.pid
        assert pid is not None
        # A worker holds two rounds, not a backlog: the collector shall not look at this one again and again.
        gc.collect()
        gc.freeze()
        used, cpu, wall = usage.cpu_seconds(pid), time.process_time(), time.perf_counter()
        with clock.whole(timed=timed), profile or contextlib.nullcontext():
            for batches in rounds:
                moved = worker.step(batches)
                assert not moved, moved
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        gc.unfreeze()
        used = usage.cpu_seconds(pid) - used
        worker.close()
        return Pass(cpu, wall, used, worker.counters.profiles, clock)


def folding_worker(store: Any, outlet: Outlet, folder: Any = None) -> FoldingWorker:
    """The worker's own steps upon this store, without Kafka."""
    return FoldingWorker(
        store, outlet, folder or Folder(Projection(Configuration())), Labels("g1", "c-0000"), name="bench",
        link_topic=link_log("g1"), cache=PartCache(CACHE_BYTES), clock_ms=lambda: LOG_MS, wait=_never,
    )  # fmt: skip


def _never(attempt: int) -> None:
    raise RuntimeError("the store went away while it was measured")


def timer_costs() -> tuple[float, float]:
    """Processor seconds that one timed call adds to the stage that calls, and to the stage called."""
    clock = Clock()
    nothing = clock.timed("decode", lambda topic, record: None)
    with clock.whole():
        for _ in range(CALIBRATION_CALLS):
            nothing("", None)
    return clock.cpu["steps"] / CALIBRATION_CALLS, clock.cpu["decode"] / CALIBRATION_CALLS


def measure(
    events: int, subjects: int, round_records: int, partitions: int, outlet: Outlet
) -> dict[str, Any]:
    """Two passes, without and with timers; µs per event of the whole and of each stage."""
    rounds = rounds_of(events, subjects, partitions, round_records)
    whole = run(rounds, outlet, timed=False)
    timed = run(rounds, outlet, timed=True)
    outside, inside = timer_costs()
    clock = timed.clock
    # Every decode and pack is called by the fold, everything else by the steps.
    by_fold = clock.calls["decode"] + clock.calls["pack"]
    called = {"fold": by_fold, "steps": sum(clock.calls.values()) - by_fold - clock.calls["garbage"]}

    def us(stage: str, seconds: float) -> float:
        return (seconds - clock.calls[stage] * inside - called.get(stage, 0) * outside) / events * 1e6

    return {
        "events": events,
        "profiles": whole.profiles,
        "worker_us_per_event": whole.cpu_seconds / events * 1e6,
        "wall_us_per_event": whole.wall_seconds / events * 1e6,
        "store_us_per_event": whole.store_seconds / events * 1e6,
        "stages": {
            stage: {
                "cpu_us_per_event": us(stage, clock.cpu[stage]),
                "wall_us_per_event": us(stage, clock.wall[stage]),
                "calls_per_event": clock.calls[stage] / events,
            }
            for stage in STAGES
        },
    }


def lines(result: dict[str, Any]) -> list[str]:
    """The table of a result."""
    stages = result["stages"]
    whole = sum(one["cpu_us_per_event"] for one in stages.values())
    rows = [f"{'stage':14} {'CPU µs':>8} {'share':>6} {'wall µs':>8} {'calls/event':>12}"]
    for stage, one in stages.items():
        cpu, wall, calls = one["cpu_us_per_event"], one["wall_us_per_event"], one["calls_per_event"]
        rows.append(f"{stage:14} {cpu:8.2f} {cpu / whole:6.1%} {wall:8.2f} {calls:12.4f}")
    rows.append(f"{'all stages':14} {whole:8.2f}")
    rows.append(
        f"without timers: worker {result['worker_us_per_event']:.1f} CPU µs per event, "
        f"{result['wall_us_per_event']:.1f} wall; store {result['store_us_per_event']:.1f} CPU µs; "
        f"{result['profiles'] / result['events']:.2f} profiles written per event"
    )
    return rows


def hot_functions(rounds: Sequence[Sequence[Batch]], outlet: Outlet, count: int) -> str:
    """The functions with the most time of their own; the profiler makes calls look dearer than they are."""
    profile, text = cProfile.Profile(), io.StringIO()
    run(rounds, outlet, timed=False, profile=profile)
    pstats.Stats(profile, stream=text).sort_stats("tottime").print_stats(count)
    return text.getvalue()


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; the last line is JSON."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.stages", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("--events", type=int, default=40_000)
    parser.add_argument("--subjects", type=int, default=10_000)
    parser.add_argument("--round", type=int, default=10_000, help="records that a round brings, of all lanes")
    parser.add_argument("--partitions", type=int, default=8, help="lanes of each topic")
    parser.add_argument("--outlet", choices=("memory", "kafka"), default="memory", help="where notices go")
    parser.add_argument(
        "--hot", type=int, default=0, metavar="N", help="the N functions with the most own time"
    )
    arguments = parser.parse_args(argv)
    if reason := usage.available():
        print(f"benchmarks.stages: {reason}", file=sys.stderr)
        return 1
    sizes = (arguments.events, arguments.subjects, arguments.round, arguments.partitions)
    with contextlib.ExitStack() as stack:
        outlet: Outlet = Memory()
        if arguments.outlet == "kafka":
            broker = stack.enter_context(EmbeddedBroker())
            create_topics(broker.bootstrap, arguments.partitions)
            outlet = stack.enter_context(LogProducer(broker.bootstrap, client_id="scv-bench"))
        result = measure(*sizes, outlet)
        print("\n".join(lines(result)))
        if arguments.hot:
            rounds = rounds_of(arguments.events, arguments.subjects, arguments.partitions, arguments.round)
            print(hot_functions(rounds, outlet, arguments.hot))
    print(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
