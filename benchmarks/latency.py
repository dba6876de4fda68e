"""How long after it was produced an event can be read in a profile, while others arrive at a steady rate.

    python -m benchmarks.latency                 # at a tenth and half of what a drain does, and at 2,000
    python -m benchmarks.latency --rate 500 --rate 1000 --seconds 20

Guarantees:
- Time starts when an event is due, not when this program got round to it: a pause counts for every event it
  delayed.
- Probes are events of subjects of their own, sent among the others; a probe has arrived when the `version` of
  its profile in Redis counts it. Looking every millisecond, or every fiftieth of the oldest's wait if that is
  longer, is part of the figure.
- Start-up does not count: measuring begins when the worker follows the rate.
- Each rate is measured on empty servers, with a worker of its own.
- What `benchmarks.keeping` guarantees of every command.
"""

from __future__ import annotations

import gc
import math
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain, islice
from typing import Any, NamedTuple

import redis

from benchmarks import keeping, report, usage
from benchmarks.contenders import CONTENDERS, Contender, Ended, Running
from benchmarks.draining import FIRST_SECONDS_MAX, drain, started
from benchmarks.load import Sent, mixed
from benchmarks.servers import Servers
from eventlog.producing import LogProducer

SUBJECTS = 20_000
# Enough of them for a p99 within half a minute, few beside the load.
PROBES_PER_SECOND = 100
# Records made before they are due, so that making them takes no processor from what is measured.
RECORDS_AHEAD_MAX = 300_000
PROBE_SUBJECTS = 500
LOOK_EVERY_SECONDS = 0.001
# Of how long the probes on their way have been waiting: looking every millisecond at hundreds that are late
# would take the processor that they wait for.
LOOK_SHARE = 0.02
# Until then Java compiles what a broker does, with a fifth of a core.
WARM_UP_SECONDS = 30.0
# A probe that is not there by then counts as this late, and is said to be missing.
PROBE_SECONDS_MAX = 10.0
# Sources differ in this; scv's own default of 5 ms would be most of what is measured.
LINGER_MS = 1
PARTITIONS = 8
# Long enough for a rate that holds, where the machine is slow.
DRAIN_SECONDS_MAX = 30.0


class Latency(NamedTuple):
    """Milliseconds from due to readable."""

    contender: str
    rate_per_second: int
    probes: int
    missing: int
    p50_ms: float
    p95_ms: float
    p99_ms: float
    p999_ms: float
    max_ms: float
    worker_cpu_share: float


class _Probe(NamedTuple):
    key: str
    revisions: int
    due_at: float


def percentile(values: Sequence[float], share: float) -> float:
    """The least value that this share of all values do not exceed (nearest rank)."""
    ranked = sorted(values)
    return ranked[max(math.ceil(share * len(ranked)) - 1, 0)]


def measure(
    contender: Contender,
    servers: Servers,
    rate: int,
    seconds: float,
    warm_up_seconds: float = WARM_UP_SECONDS,
    load: Iterator[Sent] | None = None,
    before: Callable[[Servers, LogProducer], None] = lambda *_: None,
) -> Latency:
    """Produce at `rate` events a second for `seconds`, to a contender that starts on empty servers.

    The events are those of `load`, `mixed` if None; `before` may write others first, and wait for them.
    """
    servers.empty()
    servers.create_topics()
    with (
        Running(contender, servers, servers.ends(), 1) as running,
        servers.client() as client,
        LogProducer(servers.bootstrap, client_id="scv-bench", linger_ms=LINGER_MS) as producer,
    ):
        before(servers, producer)
        return _Steady(running, client, producer, rate, load).measure(seconds, warm_up_seconds)


class _Steady:
    """One measurement: what is due, what is on its way, what arrived."""

    def __init__(
        self,
        running: Running,
        client: redis.Redis,
        producer: LogProducer,
        rate: int,
        load: Iterator[Sent] | None,
    ) -> None:
        self.running, self.client, self.producer, self.rate = running, client, producer, rate
        self.load: Iterator[Sent] = mixed(sys.maxsize, SUBJECTS, seed=2) if load is None else load
        self.probe_load = _one_subject_each(PROBE_SUBJECTS)
        self.counts: dict[str, int] = {}
        self.waiting: list[_Probe] = []
        self.arrived: list[float] = []
        self.missing = 0

    def measure(self, seconds: float, warm_up_seconds: float) -> Latency:
        """Warm up, then measure."""
        count = min(int(self.rate * (warm_up_seconds + seconds)) + 1, RECORDS_AHEAD_MAX)
        self.load = chain(list(islice(self.load, count)), self.load)
        self._wait_for_first()
        # A pause of this process would look like one of the worker.
        gc.collect()
        gc.freeze()
        self._run(warm_up_seconds)
        self.arrived.clear()
        self.missing = 0
        pid, began = self.running.process.pid, time.monotonic()
        used = usage.cpu_seconds(pid)
        self._run(seconds)
        gc.unfreeze()
        share = (usage.cpu_seconds(pid) - used) / (time.monotonic() - began)
        values = [*self.arrived, *[PROBE_SECONDS_MAX] * self.missing]
        at = [percentile(values, part) * 1e3 for part in (0.50, 0.95, 0.99, 0.999, 1.0)]
        return Latency(
            self.running.contender.name, self.rate, len(values), self.missing, *at, worker_cpu_share=share
        )

    def _wait_for_first(self) -> None:
        """One probe at a time until one arrives: the worker has its lanes."""
        deadline = time.monotonic() + FIRST_SECONDS_MAX
        self._send_probe(time.monotonic())
        while self.waiting:
            self.running.visible()
            self._look()
            if time.monotonic() > deadline:
                raise Ended(f"{self.running.contender.name}: no profile after {FIRST_SECONDS_MAX:.0f} s")
            time.sleep(0.02)

    def _run(self, seconds: float) -> None:
        """Send what is due for so long, then wait for the probes that are still on their way."""
        began = time.monotonic()
        sent, probed, look_at = 0, 0, began
        while (now := time.monotonic()) < began + seconds or self.waiting:
            due = min(now - began, seconds)
            while sent < due * self.rate:
                self._send(next(self.load))
                sent += 1
            while probed < due * PROBES_PER_SECOND:
                self._send_probe(began + probed / PROBES_PER_SECOND)
                probed += 1
            if now >= look_at:
                self._look()
                look_at = now + LOOK_SHARE * (now - self.waiting[0].due_at) if self.waiting else now
            time.sleep(LOOK_EVERY_SECONDS)

    def _send(self, record: Sent) -> None:
        self.producer.produce(record.topic, record.key, record.value)

    def _send_probe(self, due_at: float) -> None:
        record = next(self.probe_load)
        subject = record.key.decode()
        self.counts[subject] = count = self.counts.get(subject, 0) + 1
        key = self.running.contender.profile_key(self.running.attempt, subject)
        self._send(record)
        self.waiting.append(_Probe(key, count, due_at))

    def _look(self) -> None:
        if not self.waiting:
            return
        pipe = self.client.pipeline(transaction=False)
        for probe in self.waiting:
            pipe.hget(probe.key, "version")
        versions = pipe.execute()
        now = time.monotonic()
        still = []
        for probe, version in zip(self.waiting, versions, strict=True):
            if version is not None and int(version.partition(b".")[2]) >= probe.revisions:
                self.arrived.append(now - probe.due_at)
            elif now - probe.due_at > PROBE_SECONDS_MAX:
                self.missing += 1
            else:
                still.append(probe)
        self.waiting = still


def _one_subject_each(subjects: int) -> Iterator[Sent]:
    """Probes: `probe:N` in turn, so that two of one subject are far apart."""
    for number, record in enumerate(mixed(sys.maxsize, 1, seed=3)):
        subject = b"probe:%d" % (number % subjects)
        yield Sent(record.topic, subject, record.value.replace(b'"crm:0"', b'"%b"' % subject))


class Plan(NamedTuple):
    """How much is measured. No `rates`: a tenth and half of what a drain does, and 2,000 a second."""

    rates: tuple[int, ...]
    seconds: float
    # Drained to learn what a drain does here; not when the rates are given.
    events: int
    contender: str = "scv"


FULL = Plan((), 30.0, 150_000)
QUICK = Plan((), 5.0, 20_000)
ALWAYS_PER_SECOND = 2_000


def curve(plan: Plan, broker: str) -> dict[str, Any]:
    """Measure at every rate of the plan. Ended or LogError when the contender or a server fails."""
    contender = CONTENDERS[plan.contender]
    with Servers(broker, PARTITIONS) as servers:
        about = keeping.about(servers, plan._asdict())
        capacity = None if plan.rates else _capacity(contender, servers, plan.events)
        rates = plan.rates
        if capacity is not None:
            rates = tuple(sorted({int(capacity / 10), int(capacity / 2), ALWAYS_PER_SECOND}))
        found = []
        for rate in rates:
            keeping.say("latency", f"{contender.name} at {rate} events/s")
            found.append(measure(contender, servers, rate, plan.seconds)._asdict())
    return {**about, "drained_per_second": capacity, "latency": found}


def _capacity(contender: Contender, servers: Servers, events: int) -> float:
    """Events per second of wall clock that a backlog is drained with."""
    keeping.say("latency", f"draining {events} events to learn the rate")
    servers.create_topics()
    ends = servers.produce(mixed(events, SUBJECTS))
    with started(contender, servers, ends, 1) as running:
        found = drain(running, events, DRAIN_SECONDS_MAX).figures()
    if found is None:
        raise Ended(f"{contender.name}: {events} events are too few to tell a rate; give more, or --rate")
    return found["events_per_second"]


def lines(result: Mapping[str, Any]) -> list[str]:
    """The table of a result."""
    capacity = result["drained_per_second"]
    told = [] if capacity is None else [f"a backlog is drained with {capacity:,.0f} events/s", ""]
    return [*told, *report.latency_table(result["latency"]), "", report.circumstances(result)]


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, keep."""
    parser = keeping.options("latency", __doc__ or "")
    parser.add_argument(
        "--rate", type=int, action="append", help="events a second; may be given several times"
    )
    parser.add_argument("--seconds", type=float, help=f"how long at each rate ({FULL.seconds:.0f})")
    parser.add_argument("--events", type=int, help=f"drained to learn the rate ({FULL.events})")
    parser.add_argument("--contender", choices=sorted(CONTENDERS), default="scv")
    arguments = parser.parse_args(argv)
    plan = QUICK if arguments.quick else FULL
    plan = Plan(
        tuple(arguments.rate or ()),
        arguments.seconds or plan.seconds,
        arguments.events or plan.events,
        arguments.contender,
    )
    return keeping.run("latency", arguments, lambda broker: curve(plan, broker), lines)


if __name__ == "__main__":
    sys.exit(main())
