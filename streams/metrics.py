"""What a worker tells Prometheus: read from its plain attributes when it is asked, never counted for it.

Guarantees:
- Asking takes nothing from the worker but the time to answer; nothing is written, and no server is asked.
- Names begin with `scv_`, units are seconds, bytes and records; labels hold topics, stages and reasons, never
  anything that an event said. docs/metrics.md explains each.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, get_args

from prometheus_client import CollectorRegistry, ProcessCollector, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from models.dead_letter import Reason
from models.merge import Kind
from models.record import Lane
from streams.assembler import VIEWS_MAX
from streams.graph_cache import NODES_MAX
from streams.identity_writer import IdentityWriter
from streams.kafka_client import READING_THREAD
from streams.lane_watch import LaneState, WatchedWorker
from streams.lane_worker import FoldingWorker
from streams.routing import RoutingWorker
from streams.runner import PROJECTOR_THREAD, Projector

FOLDING, IDENTITY = "folding", "identity"
# What the kernel calls them is not what they do.
THREADS = {READING_THREAD: "reading", PROJECTOR_THREAD: "folding", "MainThread": "membership"}
# Of /proc/…/stat, after the name in brackets: proc(5), fields 14 and 15, in hundredths of a second.
_UTIME, _STIME, _TICKS_PER_SECOND = 11, 12, 100

Row = tuple[list[str], float]


class MetricsUnavailable(Exception):
    """The metrics cannot be served where the settings say."""


def serve(metrics: Collector, host: str, port: int) -> None:
    """Answer scrapes in a thread of its own until the process ends. MetricsUnavailable."""
    registry = CollectorRegistry()
    registry.register(metrics)
    ProcessCollector(registry=registry)
    try:
        start_http_server(port, host, registry)
    except OSError as error:
        raise MetricsUnavailable(
            f"no metrics at {host}:{port}: {error.strerror or error}; choose another SCV_METRICS_PORT, or 0"
        ) from None


class WorkerMetrics(Collector):
    """All that one worker tells. `worker` is what `streams.worker.lane_worker` makes."""

    def __init__(self, worker: RoutingWorker, projector: Projector, generation: str) -> None:
        assert isinstance(worker.folding, WatchedWorker) and isinstance(worker.identity, WatchedWorker)
        assert isinstance(worker.folding.worker, FoldingWorker)
        assert isinstance(worker.identity.worker, IdentityWriter)
        self.watched = {FOLDING: worker.folding, IDENTITY: worker.identity}
        self.folding, self.identity = worker.folding.worker, worker.identity.worker
        self.projector, self.generation = projector, generation

    def describe(self) -> Iterable[Metric]:
        """Nothing beforehand: the registry need not ask, no other collector has these names."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Everything as it is now."""
        now_ms = time.time_ns() // 1_000_000
        yield _gauge("scv_build_info", "1", ["version", "generation"], [([_version(), self.generation], 1)])
        yield from self._time(now_ms)
        yield from self._work()
        yield from self._memory()
        yield from self._lanes(now_ms)

    def _time(self, now_ms: int) -> Iterator[Metric]:
        yield _counter(
            "scv_stage_seconds", "Time of a stage", ["worker", "stage", "where"],
            [([name, *charged], seconds) for name, one in self.watched.items()
             for charged, seconds in list(one.clock.seconds.items())],
        )  # fmt: skip
        busy = self.projector.busy_seconds_total
        yield _counter("scv_busy_seconds", "Time that the folding thread had work", [], [([], busy)])
        yield _counter("scv_thread_cpu_seconds", "Processor time of a thread", ["thread"], _thread_seconds())
        yield _gauge(
            "scv_progress_age_seconds", "Time since it last got on", ["worker"],
            [([name], one.progress_age_ms(now_ms) / 1_000) for name, one in self.watched.items()],
        )  # fmt: skip
        read = self.projector.records_read
        yield _counter("scv_records_read", "Records read for folding", [], [([], read)])
        yield _gauge(
            "scv_rounds_waiting", "Rounds read and not begun", [], [([], self.projector.rounds_waiting)]
        )

    def _work(self) -> Iterator[Metric]:
        folding, identity = self.folding.counters, self.identity.counters
        both = {FOLDING: folding, IDENTITY: identity}
        # What is no link fact has one reason only.
        letters = {FOLDING: folding.reasons, IDENTITY: {Reason.WRONG_SHAPE: identity.dead_letters}}
        yield _counter(
            "scv_rounds", "Rounds", ["worker"], [([name], one.rounds) for name, one in self.watched.items()]
        )
        yield _counter("scv_events", "Events and commands folded", [], [([], folding.events)])
        yield _counter(
            "scv_dead_letters", "Records that are no events", ["worker", "reason"],
            [([name, reason], one.get(reason, 0)) for name, one in letters.items() for reason in Reason],
        )  # fmt: skip
        yield _counter("scv_link_facts_told", "Link facts written", [], [([], folding.link_facts)])
        yield _counter("scv_link_facts_heard", "Link facts that the graph heard", [], [([], identity.facts)])
        yield _counter("scv_commits", "Commits", ["worker"], [([n], one.commits) for n, one in both.items()])
        yield _counter(
            "scv_commits_refused", "Lanes taken anew", ["worker"],
            [([name], one.refused) for name, one in both.items()],
        )  # fmt: skip
        yield _counter(
            "scv_subjects_assembled", "Subjects whose customer was assembled", ["worker"],
            [([FOLDING], folding.profiles), ([IDENTITY], identity.settled)],
        )  # fmt: skip
        stores: dict[str, Any] = {FOLDING: self.folding.store, IDENTITY: self.identity.store}
        yield _counter(
            "scv_profiles_written", "Profiles and tombstones written", ["worker"],
            [([name], store.profiles_written) for name, store in stores.items()],
        )  # fmt: skip
        yield _counter(
            "scv_turns", "Merges, splits and the like", ["kind"],
            [([kind], identity.kinds.get(kind, 0)) for kind in get_args(Kind)],
        )  # fmt: skip

    def _memory(self) -> Iterator[Metric]:
        cache = self.folding.cache
        yield _gauge("scv_cache_bytes", "Parts remembered", [], [([], cache.bytes)])
        yield _gauge("scv_cache_limit_bytes", "At most so many between rounds", [], [([], cache.limit_bytes)])
        yield _gauge("scv_cache_parts", "Parts remembered", [], [([], cache.parts)])
        views = [([FOLDING], self.folding.assembler.views), ([IDENTITY], self.identity.assembler.views)]
        yield _gauge("scv_views", "Profiles remembered", ["worker"], views)
        yield _gauge("scv_views_limit", "At most so many", [], [([], VIEWS_MAX)])
        yield _gauge("scv_graph_nodes", "Nodes remembered", [], [([], len(self.identity.nodes))])
        yield _gauge("scv_graph_nodes_limit", "At most so many", [], [([], NODES_MAX)])

    def _lanes(self, now_ms: int) -> Iterator[Metric]:
        lanes = {lane: one for watched in self.watched.values() for lane, one in dict(watched.lanes).items()}
        postponed = len(self.folding.postponed)
        yield _gauge("scv_lanes_postponed", "Lanes whose marks wait", [], [([], postponed)])
        for name, help_text, figure in (
            ("scv_lane_lag_records", "Records not folded", lambda one: one.lag_records),
            ("scv_lane_lag_seconds", "Age of the oldest of them", lambda one: one.lag_ms(now_ms) / 1_000),
            (
                "scv_lane_end_age_seconds",
                "Since the broker told the end",
                lambda one: _age(now_ms, one.end_ms),
            ),
            ("scv_lane_open_marks", "Subjects not assembled", lambda one: one.marks),
            ("scv_lane_open_mark_age_seconds", "Age of the oldest", lambda one: _age(now_ms, one.marked_ms)),
            ("scv_lane_stopped", "1: cannot be read on", lambda one: float(one.stopped)),
        ):
            yield _gauge(name, help_text, ["topic", "partition"], _by_lane(lanes, figure))


def _by_lane(lanes: Mapping[Lane, LaneState], figure: Any) -> list[Row]:
    return [([lane.topic, str(lane.partition)], figure(one)) for lane, one in sorted(lanes.items())]


def _age(now_ms: int, then_ms: int | None) -> float:
    return 0.0 if then_ms is None else max(0, now_ms - then_ms) / 1_000


def _counter(name: str, help_text: str, labels: list[str], rows: Iterable[Row]) -> Metric:
    return _filled(CounterMetricFamily(name, help_text, labels=labels), rows)


def _gauge(name: str, help_text: str, labels: list[str], rows: Iterable[Row]) -> Metric:
    return _filled(GaugeMetricFamily(name, help_text, labels=labels), rows)


def _filled(family: Any, rows: Iterable[Row]) -> Metric:
    for values, figure in rows:
        family.add_metric(values, figure)
    return family


def _version() -> str:
    return version("scv")


def _thread_seconds() -> list[Row]:
    """By what a thread does; none off Linux."""
    found: list[Row] = []
    for thread in threading.enumerate():
        if thread.name not in THREADS:
            continue
        try:
            told = Path(f"/proc/self/task/{thread.native_id}/stat").read_text()
        except OSError:  # no Linux, or it has ended meanwhile
            continue
        fields = told.rpartition(")")[2].split()
        ticks = int(fields[_UTIME]) + int(fields[_STIME])
        found.append(([THREADS[thread.name]], ticks / _TICKS_PER_SECOND))
    return found
