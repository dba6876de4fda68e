"""How long after it was produced an event can be read in a profile, while others arrive at a steady rate.

    python -m benchmarks.latency --rate 500 --seconds 20

Guarantees:
- Time starts when an event is due, not when this program got round to it: a pause counts for every event it
  delayed.
- Probes are events of subjects of their own, sent among the others; a probe has arrived when the `version` of
  its profile in Redis counts it. Looking every millisecond is part of the figure.
- Start-up does not count: measuring begins when the worker follows the rate.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import redis

from benchmarks import usage
from benchmarks.contenders import CONTENDERS, Contender, Ended, Running
from benchmarks.draining import FIRST_SECONDS_MAX
from benchmarks.load import Sent, mixed
from benchmarks.servers import KINDS, Servers, unavailable
from eventlog.producing import LogProducer

SUBJECTS = 20_000
# Enough of them for a p99 within half a minute, few beside the load.
PROBES_PER_SECOND = 50
PROBE_SUBJECTS = 500
LOOK_EVERY_SECONDS = 0.001
# Java compiles what a broker does most only after a while.
WARM_UP_SECONDS = 5.0
# A probe that is not there by then counts as this late, and is said to be missing.
PROBE_SECONDS_MAX = 10.0
# Sources differ in this; scv's own default of 5 ms would be most of what is measured.
LINGER_MS = 1
PARTITIONS = 8


class Latency(NamedTuple):
    """Milliseconds from due to readable."""

    contender: str
    rate_per_second: int
    probes: int
    missing: int
    p50_ms: float
    p95_ms: float
    p99_ms: float
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


def measure(contender: Contender, servers: Servers, rate: int, seconds: float) -> Latency:
    """Produce at `rate` events a second for `seconds`, to a contender that starts on empty servers."""
    servers.empty()
    servers.create_topics()
    with (
        Running(contender, servers, servers.ends(), 1) as running,
        servers.client() as client,
        LogProducer(servers.bootstrap, client_id="scv-bench", linger_ms=LINGER_MS) as producer,
    ):
        return _Steady(running, client, producer, rate).measure(seconds)


class _Steady:
    """One measurement: what is due, what is on its way, what arrived."""

    def __init__(self, running: Running, client: redis.Redis, producer: LogProducer, rate: int) -> None:
        self.running, self.client, self.producer, self.rate = running, client, producer, rate
        self.load = mixed(sys.maxsize, SUBJECTS, seed=2)
        self.probe_load = _one_subject_each(PROBE_SUBJECTS)
        self.counts: dict[str, int] = {}
        self.waiting: list[_Probe] = []
        self.arrived: list[float] = []
        self.missing = 0

    def measure(self, seconds: float) -> Latency:
        """Warm up, then measure."""
        self._wait_for_first()
        self._run(WARM_UP_SECONDS)
        self.arrived.clear()
        self.missing = 0
        pid, began = self.running.process.pid, time.monotonic()
        used = usage.cpu_seconds(pid)
        self._run(seconds)
        share = (usage.cpu_seconds(pid) - used) / (time.monotonic() - began)
        values = [*self.arrived, *[PROBE_SECONDS_MAX] * self.missing]
        p50, p95, p99 = (percentile(values, at) * 1e3 for at in (0.50, 0.95, 0.99))
        name = self.running.contender.name
        return Latency(name, self.rate, len(values), self.missing, p50, p95, p99, max(values) * 1e3, share)

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
        sent = probed = 0
        while (now := time.monotonic()) < began + seconds or self.waiting:
            due = min(now - began, seconds)
            while sent < due * self.rate:
                self._send(next(self.load))
                sent += 1
            while probed < due * PROBES_PER_SECOND:
                self._send_probe(began + probed / PROBES_PER_SECOND)
                probed += 1
            self._look()
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


def main() -> int:
    """Measure one contender and print a line of JSON."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.latency", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("--rate", type=int, default=500, help="events a second (500)")
    parser.add_argument("--seconds", type=float, default=20.0, help="how long (20)")
    parser.add_argument("--contender", choices=sorted(CONTENDERS), default="scv")
    parser.add_argument(
        "--broker", choices=KINDS, default="embedded", help="embedded servers, or Kafka with Redis"
    )
    arguments = parser.parse_args()
    if reason := usage.available() or unavailable(arguments.broker):
        print(f"benchmarks.latency: {reason}", file=sys.stderr)
        return 1
    with Servers(arguments.broker, PARTITIONS) as servers:
        found = measure(CONTENDERS[arguments.contender], servers, arguments.rate, arguments.seconds)
    print(json.dumps(found._asdict()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
