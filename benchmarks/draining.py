"""Throughput: a backlog, drained by one worker process.

What is measured, between two looks at a running worker: the records that became visible in profiles,
wall-clock seconds, processor seconds of the worker, of the store and of the broker. The first look is when
anything is visible, so that start-up and joining the group do not count; the last is when everything is, or
what was visible last. What was visible at the first look is not counted either.
"""

from __future__ import annotations

import time
from typing import NamedTuple

from benchmarks.contenders import Contender, Ended, Running
from benchmarks.servers import Servers
from benchmarks.usage import cpu_seconds, load_average
from models.record import Lane

# A look costs the measuring process about a millisecond, and a drain takes seconds.
LOOK_EVERY_SECONDS = 0.05
# A worker joins its group within a few seconds on an idle machine.
FIRST_SECONDS_MAX = 90.0
# Nothing visible for so long is a fault, not slowness: a round of scv takes about a second.
SILENCE_SECONDS_MAX = 60.0


class Look(NamedTuple):
    """What was used up to some moment, and how much was visible by then."""

    at: float
    visible: int
    worker_seconds: float
    store_seconds: float
    broker_seconds: float


class Drain(NamedTuple):
    """What one contender took for `events` records. `complete` is False when it was stopped for time."""

    contender: str
    events: int
    complete: bool
    wall_seconds: float
    worker_cpu_seconds: float
    store_cpu_seconds: float
    broker_cpu_seconds: float
    rss_peak_mib: float
    first_visible_seconds: float
    load_average: float

    def figures(self) -> dict[str, float] | None:
        """The figures that runs are compared by; None when there were too few events to tell."""
        if self.events == 0 or self.worker_cpu_seconds == 0:
            return None
        return {
            "events_per_second": self.events / self.wall_seconds,
            "events_per_cpu_second": self.events / self.worker_cpu_seconds,
            "worker_us_per_event": self.worker_cpu_seconds / self.events * 1e6,
            "store_us_per_event": self.store_cpu_seconds / self.events * 1e6,
            "broker_us_per_event": self.broker_cpu_seconds / self.events * 1e6,
            "rss_peak_mib": self.rss_peak_mib,
            "first_visible_seconds": self.first_visible_seconds,
        }


def drain(running: Running, records: int, seconds_max: float) -> Drain:
    """Wait until all records are visible, or `seconds_max` after the first were. Ended: it gave up.

    Whoever has shown nothing more by then is waited for until it has: less than one step tells no rate.
    """
    started = time.monotonic()
    first = last = look = _first(running, started + FIRST_SECONDS_MAX)
    while look.visible < records and (look.at - first.at < seconds_max or last is first):
        time.sleep(LOOK_EVERY_SECONDS)
        look = _look(running)
        if look.visible != last.visible:
            # Progress comes in rounds: a run that is stopped for time ends where its last whole round did.
            last = look
        elif look.at - last.at > SILENCE_SECONDS_MAX:
            raise Ended(f"{running.contender.name}: {look.visible} of {records} records, then nothing more")
    return Drain(
        running.contender.name,
        last.visible - first.visible,
        last.visible >= records,
        last.at - first.at,
        last.worker_seconds - first.worker_seconds,
        last.store_seconds - first.store_seconds,
        last.broker_seconds - first.broker_seconds,
        running.rss_peak_mib(),
        first.at - started,
        load_average(),
    )


def _first(running: Running, deadline: float) -> Look:
    while True:
        look = _look(running)
        if look.visible:
            return look
        if look.at > deadline:
            raise Ended(f"{running.contender.name}: no profile after {FIRST_SECONDS_MAX:.0f} s")
        time.sleep(LOOK_EVERY_SECONDS)


def _look(running: Running) -> Look:
    # Before the processor times: what became visible in between would count for nothing.
    visible, at = running.visible(), time.monotonic()
    broker, store = running.attempt.servers.pids
    return Look(at, visible, running.cpu_seconds(), cpu_seconds(store), cpu_seconds(broker))


def started(contender: Contender, servers: Servers, ends: dict[Lane, int], number: int) -> Running:
    """A contender that finds an empty store."""
    servers.empty_store()
    return Running(contender, servers, ends, number)
