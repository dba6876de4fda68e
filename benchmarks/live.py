"""The full job, live: decode, fold, commit, assemble; throughput, latency and memory of every contender.

    make bench
    python -m benchmarks.live --broker apache --repeat 5
    python -m benchmarks.live --quick --json

Guarantees:
- Contenders take turns, and every other time in the opposite order: what warms up does so for all.
- A contender that is not installed is left out, with a line on stderr; its ratio is null.
- A ratio is scv's median over the contender's, in events per processor second of the worker's process.
- What `benchmarks.keeping` guarantees of every command.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

from benchmarks import footprint, keeping, latency, report
from benchmarks.checking import check, sampled
from benchmarks.contenders import CONTENDERS
from benchmarks.draining import Drain, drain, started
from benchmarks.load import mixed
from benchmarks.servers import Servers


class Plan(NamedTuple):
    """How much is measured."""

    events: int
    subjects: int
    repeat: int
    # A contender is stopped then: one that is ten times slower need not be waited for.
    seconds_max: float
    # The same for those that go event by event, and so tell their rate sooner.
    seconds_max_by_event: float
    latency_rate: int
    latency_seconds: float
    warm_up_seconds: float
    footprint_customers: int
    # Of this many contenders, the first ones: starting one more takes most of a quick look's time.
    latency_contenders: int = len(CONTENDERS)
    partitions: int = 8
    contenders: tuple[str, ...] = tuple(CONTENDERS)


FULL = Plan(300_000, 100_000, 3, 60.0, 60.0, 500, 20.0, latency.WARM_UP_SECONDS, 2_000)
# So few that scv and the limit get to the end: what is folded and not visible yet counts for nobody.
QUICK = Plan(30_000, 20_000, 1, 12.0, 3.0, 500, 4.0, 2.0, 100, latency_contenders=1)


def measure(plan: Plan, broker: str) -> dict[str, Any]:
    """Do all of it; gives the result. Ended, WrongProfiles or LogError when a contender or a server fails."""
    names = present(plan.contenders)
    with Servers(broker, plan.partitions) as servers:
        about = keeping.about(servers, plan._asdict())
        about["promises"] = {name: CONTENDERS[name].promises for name in names}
        drains = _throughput(servers, plan, names)
        latencies = []
        for name in names[: plan.latency_contenders]:
            _say(f"latency of {name} at {plan.latency_rate} events/s")
            at = (plan.latency_rate, plan.latency_seconds, plan.warm_up_seconds)
            latencies.append(latency.measure(CONTENDERS[name], servers, *at))
        _say(f"Redis bytes of {plan.footprint_customers} customers")
        found = footprint.measure(servers, plan.footprint_customers)
    return report.as_json(drains, latencies, found, about)


def present(names: Sequence[str]) -> list[str]:
    """The contenders of these that are installed; a line on stderr for each other."""
    missing = {name: CONTENDERS[name].missing() for name in names}
    for reason in filter(None, missing.values()):
        _say(reason)
    return [name for name, reason in missing.items() if reason is None]


def _throughput(servers: Servers, plan: Plan, names: Sequence[str]) -> list[Drain]:
    _say(f"producing {plan.events} events")
    records = list(mixed(plan.events, plan.subjects))
    servers.create_topics()
    ends = servers.produce(records)
    expected = sampled(records)
    # A million events are half a gigabyte, which the contenders need more.
    del records
    drains: list[Drain] = []
    for turn in range(plan.repeat):
        for name in names if turn % 2 == 0 else reversed(names):
            _say(f"run {turn + 1} of {plan.repeat}: {name}")
            contender = CONTENDERS[name]
            seconds_max = plan.seconds_max_by_event if contender.by_event else plan.seconds_max
            with started(contender, servers, ends, len(drains) + 1) as running:
                drains.append(drain(running, plan.events, seconds_max))
                if drains[-1].complete:
                    check(running, expected)
    servers.empty_store()
    return drains


def _say(text: str) -> None:
    keeping.say("live", text)


def _parser() -> argparse.ArgumentParser:
    parser = keeping.options("live", __doc__ or "")
    keeping.throughput_options(parser, FULL)
    parser.add_argument("--rate", type=int, help=f"events a second for the latency ({FULL.latency_rate})")
    return parser


def _planned(arguments: argparse.Namespace) -> Plan:
    plan: Plan = keeping.planned(
        QUICK if arguments.quick else FULL,
        seconds_max_by_event=arguments.seconds,
        latency_rate=arguments.rate,
        **keeping.of_throughput(arguments),
    )
    return plan


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, keep. The exit code is 1 with a line on stderr when something failed."""
    arguments = _parser().parse_args(argv)
    plan = _planned(arguments)
    return keeping.run("live", arguments, lambda broker: measure(plan, broker), report.lines)


if __name__ == "__main__":
    sys.exit(main())
