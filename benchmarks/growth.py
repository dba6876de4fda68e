"""Whether an event costs more as things grow: more customers, more workers, longer histories.

    python -m benchmarks.growth
    python -m benchmarks.growth --customers 10000 --customers 100000 --workers 1 --workers 2 --history 10

Guarantees:
- Customers: so many are known already, by an event each; then events of customers taken at random are drained
  by the same worker, which has all its memory. Nothing that comes first is measured.
- Workers: so many processes share the lanes and drain one backlog, on the same cores; what counts is the
  processor time of all of them together, and what each of them took.
- History: the worker's own steps on batches from memory (`benchmarks.stages`), one event of each customer at
  a time, upon customers of so many events in four lanes; processor time of the worker, without reading Kafka.
- What `benchmarks.keeping` guarantees of every command.
"""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple

from benchmarks import keeping, report, usage
from benchmarks.contenders import CONTENDERS, Ended, Running
from benchmarks.draining import FIRST_SECONDS_MAX, LOOK_EVERY_SECONDS, Drain, drain, started
from benchmarks.load import Crowd, Sent, mixed
from benchmarks.servers import Servers
from benchmarks.stages import LOG_MS, Memory, Record, folding_worker
from eventlog.topics import DOMAIN_TOPICS
from models.record import Lane
from stores.embedded import EmbeddedStore
from stores.redis_store import RedisStore
from streams.lanes import Batch

PARTITIONS = 8
SECONDS_MAX = 300.0
# At this pace at least the first events of all customers are folded, or it is a fault.
FIRST_EVENTS_PER_SECOND_MIN = 500
# Two sessions: by then every worker has its lanes.
JOIN_SECONDS = 12.0
# Customers of long histories, and how often each gets one more event.
HISTORY_CUSTOMERS, HISTORY_TURNS = 100, 20
# Folded at once while histories are made.
HISTORY_BATCH = 10_000


class Plan(NamedTuple):
    """How much is measured."""

    customers: tuple[int, ...]
    workers: tuple[int, ...]
    history: tuple[int, ...]
    events: int


FULL = Plan((10_000, 100_000, 1_000_000), (1, 2, 4), (10, 100, 10_000), 100_000)
QUICK = Plan((500, 5_000), (1, 2), (10, 100), 5_000)


def measure(plan: Plan, broker: str) -> dict[str, Any]:
    """Do all of it. Ended or LogError when a worker or a server fails."""
    with Servers(broker, PARTITIONS) as servers:
        about = keeping.about(servers, plan._asdict())
        customers = [_of_customers(servers, count, plan.events) for count in plan.customers]
        workers = [_of_workers(servers, count, plan.events) for count in plan.workers]
    history = [_of_history(events) for events in plan.history]
    return {
        **about,
        "customers": customers,
        "workers": workers,
        "history": history,
        "load_average": usage.load_average(),
    }


def _of_customers(servers: Servers, count: int, events: int) -> dict[str, Any]:
    keeping.say("growth", f"{count} customers, then {events} events")
    servers.empty()
    servers.create_topics()
    crowd = Crowd(count)
    ends = servers.produce(crowd.first())
    ahead = list(crowd.more(events))
    with started(CONTENDERS["scv"], servers, ends, 1) as running:
        _wait(running, count)
        with running.paused():
            servers.produce(ahead)
        found = drain(running, count + events, SECONDS_MAX)
    return {"customers": count, **_figures(found)}


def _of_workers(servers: Servers, count: int, events: int) -> dict[str, Any]:
    keeping.say("growth", f"{events} events for {count} workers")
    servers.empty()
    servers.create_topics()
    load = mixed(events + 1, events // 4 + 1)
    ends = servers.produce(islice(load, 1))
    ahead = list(load)
    with Running(CONTENDERS["scv"], servers, ends, 1, count) as running:
        _wait(running, 1)
        time.sleep(JOIN_SECONDS if count > 1 else 0.0)
        before = [usage.cpu_seconds(process.pid) for process in running.processes]
        with running.paused():
            servers.produce(ahead)
        found = drain(running, events + 1, SECONDS_MAX)
        used = [usage.cpu_seconds(process.pid) for process in running.processes]
    each = [round(now - then, 2) for now, then in zip(used, before, strict=True)]
    return {"workers": count, "cpu_seconds_each": each, **_figures(found)}


def _figures(found: Drain) -> dict[str, Any]:
    figures = found.figures()
    if figures is None:
        raise Ended("scv: everything was there at the first look; measure more events")
    # There was something to see from the beginning.
    del figures["first_visible_seconds"]
    return {"events": found.events, "complete": found.complete, **figures}


def _wait(running: Running, records: int) -> None:
    deadline = time.monotonic() + FIRST_SECONDS_MAX + records / FIRST_EVENTS_PER_SECOND_MIN
    while (visible := running.visible()) < records:
        if time.monotonic() > deadline:
            raise Ended(f"scv: {visible} of {records} records in time")
        time.sleep(LOOK_EVERY_SECONDS)


class _Lanes:
    """Records put into lanes, and given as rounds."""

    def __init__(self) -> None:
        self._next: dict[Lane, int] = {Lane(topic, 0): 0 for topic in DOMAIN_TOPICS}

    @property
    def all(self) -> list[Lane]:
        return list(self._next)

    def round(self, records: Iterable[Sent]) -> list[Batch]:
        """These records as one round."""
        held: dict[Lane, list[Record]] = {}
        for topic, key, value in records:
            lane = Lane(topic, 0)
            held.setdefault(lane, []).append(Record(self._next[lane], LOG_MS, key, value))
            self._next[lane] += 1
        return [
            Batch(lane, found[0].offset, found, self._next[lane], self._next[lane])
            for lane, found in held.items()
        ]


def _of_history(events: int) -> dict[str, Any]:
    """One event of each customer at a time, upon parts of so many."""
    keeping.say("growth", f"histories of {events} events")
    crowd, lanes = Crowd(HISTORY_CUSTOMERS), _Lanes()
    with EmbeddedStore() as server:
        worker = folding_worker(RedisStore(server.url, "g1", shared_above=5), Memory())
        worker.take(lanes.all)
        histories = crowd.more(HISTORY_CUSTOMERS * events)
        while some := list(islice(histories, HISTORY_BATCH)):
            worker.step(lanes.round(some))
        turns = [lanes.round(crowd.first()) for _ in range(HISTORY_TURNS)]
        gc.collect()
        gc.freeze()
        pid = server.pid
        assert pid is not None
        store, cpu = usage.cpu_seconds(pid), time.process_time()
        for turn in turns:
            worker.step(turn)
        cpu, store = time.process_time() - cpu, usage.cpu_seconds(pid) - store
        gc.unfreeze()
        worker.close()
    folded = HISTORY_CUSTOMERS * HISTORY_TURNS
    return {
        "history_events": events,
        "events": folded,
        "worker_us_per_event": cpu / folded * 1e6,
        "store_us_per_event": store / folded * 1e6,
    }


_COLUMNS = {
    "worker_us_per_event": ("worker µs", 1),
    "store_us_per_event": ("store µs", 1),
    "events_per_second": ("events/s", 0),
    "rss_peak_mib": ("RSS MiB", 0),
}


def lines(result: Mapping[str, Any]) -> list[str]:
    """A table for each way to grow."""
    workers = [{**one, "workers": f"{one['workers']} {one['cpu_seconds_each']}"} for one in result["workers"]]
    return [
        *_table("customers", result["customers"]),
        *_table("workers", workers, "workers, CPU s of each"),
        *_table("history_events", result["history"], "events of a customer so far"),
        f"{report.circumstances(result)}; load average {result['load_average']:.1f}",
    ]


def _table(name: str, found: Sequence[Mapping[str, Any]], title: str = "") -> list[str]:
    columns = {key: told for key, told in _COLUMNS.items() if found and key in found[0]}
    rows = [[title or name, *[heading for heading, _ in columns.values()]]]
    for one in found:
        cells = [f"{one[key]:,.{decimals}f}" for key, (_, decimals) in columns.items()]
        count = one[name]
        rows.append([count if isinstance(count, str) else f"{count:,}", *cells])
    return [*report.aligned(rows), ""] if found else []


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, keep."""
    parser = keeping.options("growth", __doc__ or "")
    parser.add_argument(
        "--customers", type=int, action="append", help="known before; may be given several times"
    )
    parser.add_argument("--workers", type=int, action="append", help="processes; may be given several times")
    parser.add_argument(
        "--history", type=int, action="append", help="events before; may be given several times"
    )
    parser.add_argument("--events", type=int, help=f"measured, of customers and workers ({FULL.events})")
    arguments = parser.parse_args(argv)
    chosen = {name: tuple(getattr(arguments, name) or ()) for name in ("customers", "workers", "history")}
    plan = QUICK if arguments.quick else FULL
    if any(chosen.values()):
        # Who names one way to grow wants no other.
        plan = plan._replace(**chosen)
    plan = plan._replace(events=arguments.events or plan.events)
    return keeping.run("growth", arguments, lambda broker: measure(plan, broker), lines)


if __name__ == "__main__":
    sys.exit(main())
