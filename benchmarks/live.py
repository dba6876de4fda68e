"""The full job, live: decode, fold, commit, assemble; throughput, latency and memory of every contender.

    make bench
    python -m benchmarks.live --broker apache --repeat 5
    python -m benchmarks.live --quick --json

Guarantees:
- Contenders take turns, and every other time in the opposite order: what warms up does so for all.
- Progress goes to stderr. The last line on stdout is the whole result as JSON; before it stand the tables,
  unless --json.
- The result is kept in benchmarks/results/, one file per kind of servers; of --quick, one of its own.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks import footprint, latency, report, usage
from benchmarks.checking import WrongProfiles, check, sampled
from benchmarks.contenders import CONTENDERS, Ended
from benchmarks.draining import Drain, drain, started
from benchmarks.load import mixed
from benchmarks.servers import KINDS, Servers, unavailable
from eventlog.errors import LogError

RESULTS = Path(__file__).parent / "results"


class Plan(NamedTuple):
    """How much is measured."""

    events: int
    subjects: int
    repeat: int
    # A contender is stopped then: one that is ten times slower need not be waited for.
    seconds_max: float
    latency_rate: int
    latency_seconds: float
    footprint_customers: int
    # Of this many contenders, the first ones: starting one more takes most of a quick look's time.
    latency_contenders: int = len(CONTENDERS)
    partitions: int = 8
    broker: str = "embedded"
    contenders: tuple[str, ...] = tuple(CONTENDERS)


FULL = Plan(200_000, 50_000, 3, 90.0, 500, 20.0, 2_000)
QUICK = Plan(30_000, 10_000, 1, 5.0, 200, 4.0, 200, latency_contenders=1)


def measure(plan: Plan) -> dict[str, Any]:
    """Do all of it; gives the result. Ended, WrongProfiles or LogError when a contender or a server fails."""
    with Servers(plan.broker, plan.partitions) as servers:
        about = {
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            "plan": plan._asdict(),
            "machine": usage.machine(),
            "servers": servers.versions(),
            "promises": {name: CONTENDERS[name].promises for name in plan.contenders},
        }
        drains = _throughput(servers, plan)
        latencies = []
        for name in plan.contenders[: plan.latency_contenders]:
            _say(f"latency of {name} at {plan.latency_rate} events/s")
            latencies.append(
                latency.measure(CONTENDERS[name], servers, plan.latency_rate, plan.latency_seconds)
            )
        _say(f"Redis bytes of {plan.footprint_customers} customers")
        found = footprint.measure(servers, plan.footprint_customers)
    return report.as_json(drains, latencies, found, about)


def _throughput(servers: Servers, plan: Plan) -> list[Drain]:
    _say(f"producing {plan.events} events")
    records = list(mixed(plan.events, plan.subjects))
    servers.create_topics()
    ends = servers.produce(records)
    expected = sampled(records)
    # A million events are half a gigabyte, which the contenders need more.
    del records
    drains: list[Drain] = []
    for turn in range(plan.repeat):
        for name in plan.contenders if turn % 2 == 0 else reversed(plan.contenders):
            _say(f"run {turn + 1} of {plan.repeat}: {name}")
            with started(CONTENDERS[name], servers, ends, len(drains) + 1) as running:
                drains.append(drain(running, plan.events, plan.seconds_max))
                if drains[-1].complete:
                    check(running, expected)
    servers.empty_store()
    return drains


def _say(text: str) -> None:
    print(f"benchmarks.live: {text}", file=sys.stderr, flush=True)


def keep(result: Mapping[str, Any], path: Path) -> None:
    """Write the result where it can be compared with the next."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=1) + "\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.live", description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--quick", action="store_true", help="under a minute, for a first look; figures are rough"
    )
    parser.add_argument("--json", action="store_true", help="only the last line, the result as JSON")
    parser.add_argument("--events", type=int, help=f"in the backlog ({FULL.events})")
    parser.add_argument("--subjects", type=int, help=f"customers that they are about ({FULL.subjects})")
    parser.add_argument("--repeat", type=int, help=f"runs of each contender ({FULL.repeat})")
    parser.add_argument("--seconds", type=float, help=f"stop a run after so long ({FULL.seconds_max:.0f})")
    parser.add_argument("--rate", type=int, help=f"events a second for the latency ({FULL.latency_rate})")
    parser.add_argument(
        "--broker", choices=KINDS, help="embedded servers (default), or Apache Kafka with Redis"
    )
    parser.add_argument("--contender", action="append", choices=sorted(CONTENDERS), help="only these")
    parser.add_argument("--out", type=Path, help="file for the result, instead of one in benchmarks/results/")
    return parser


def _planned(arguments: argparse.Namespace) -> Plan:
    changes = {
        "events": arguments.events,
        "subjects": arguments.subjects,
        "repeat": arguments.repeat,
        "seconds_max": arguments.seconds,
        "latency_rate": arguments.rate,
        "broker": arguments.broker,
        "contenders": tuple(arguments.contender) if arguments.contender else None,
    }
    plan = QUICK if arguments.quick else FULL
    return plan._replace(**{name: value for name, value in changes.items() if value is not None})


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, keep. The exit code is 1 with a line on stderr when something failed."""
    arguments = _parser().parse_args(argv)
    plan = _planned(arguments)
    if reason := usage.available() or unavailable(plan.broker):
        print(f"benchmarks.live: {reason}", file=sys.stderr)
        return 1
    try:
        result = measure(plan)
    except (Ended, WrongProfiles, LogError) as failed:
        print(f"benchmarks.live: {failed}", file=sys.stderr)
        return 1
    path = arguments.out or RESULTS / f"live-{plan.broker}{'-quick' if arguments.quick else ''}.json"
    keep(result, path)
    if not arguments.json:
        print("\n".join(report.lines(result)))
        print(f"kept in {path}")
    print(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
