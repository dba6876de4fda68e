"""A large backlog, drained whole: scv beside the ceiling, for minutes instead of seconds.

    python -m benchmarks.backlog --events 2000000 --subjects 100000

Guarantees:
- As `benchmarks.live`: the same records, broker and store, contenders in turns, profiles checked.
- The load is made anew wherever it is needed, and never kept: it would be more than a gigabyte.
- What `benchmarks.keeping` guarantees of every command.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from benchmarks import keeping, report
from benchmarks.checking import check, sampled
from benchmarks.contenders import CONTENDERS
from benchmarks.draining import Drain, drain, started
from benchmarks.load import Mixed
from benchmarks.servers import Servers

PARTITIONS = 8


class Plan(NamedTuple):
    """How much is measured."""

    events: int
    subjects: int
    repeat: int
    # A contender is stopped then, and its figures hold for what it did.
    seconds_max: float
    contenders: tuple[str, ...] = ("scv", "limit")


FULL = Plan(2_000_000, 100_000, 3, 900.0)
QUICK = Plan(60_000, 10_000, 1, 30.0)


def measure(plan: Plan, broker: str) -> dict[str, Any]:
    """Do all of it. Ended, WrongProfiles or LogError when a contender or a server fails."""
    drains: list[Drain] = []
    with Servers(broker, PARTITIONS) as servers:
        about = keeping.about(servers, plan._asdict())
        records = Mixed(plan.events, plan.subjects)
        keeping.say("backlog", f"producing {plan.events} events")
        servers.create_topics()
        ends = servers.produce(records)
        keeping.say("backlog", "folding what some profiles must say")
        expected = sampled(records)
        for turn in range(plan.repeat):
            for name in plan.contenders if turn % 2 == 0 else reversed(plan.contenders):
                keeping.say("backlog", f"run {turn + 1} of {plan.repeat}: {name}")
                with started(CONTENDERS[name], servers, ends, len(drains) + 1) as running:
                    drains.append(drain(running, plan.events, plan.seconds_max))
                    if drains[-1].complete:
                        check(running, expected)
    throughput = report.summarised(drains)
    return {
        **report.headline(throughput, ()),
        **about,
        "throughput": throughput,
        "runs": [one._asdict() for one in drains],
    }


def lines(result: Mapping[str, Any]) -> list[str]:
    """The table of a result."""
    return [
        *report.drain_table(result["throughput"]),
        "",
        *report.ratio_line(result),
        report.circumstances(result),
    ]


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, keep."""
    parser = keeping.options("backlog", __doc__ or "")
    keeping.throughput_options(parser, FULL)
    arguments = parser.parse_args(argv)
    plan: Plan = keeping.planned(QUICK if arguments.quick else FULL, **keeping.of_throughput(arguments))
    return keeping.run("backlog", arguments, lambda broker: measure(plan, broker), lines)


if __name__ == "__main__":
    sys.exit(main())
