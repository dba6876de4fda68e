"""The identity graph, measured: links per second, time to the merged profile, cost against component size.

    python -m benchmarks.graph
    python -m benchmarks.graph --broker apache --repeat 5
    python -m benchmarks.graph --quick --json

Guarantees:
- Writer, worker and bulk build are the real processes, upon a real broker and a real store, and what they
  leave is checked. What the graph itself costs is measured in this process, in processor time.
- Progress goes to stderr. The last line on stdout is the whole result as JSON; before it stand the tables,
  ratios first, unless --json.
- The result is kept in benchmarks/results/, one file per kind of servers; of --quick, one of its own.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks import graph_cost, graph_latency, graph_report, graph_stages, graph_throughput, usage
from benchmarks.contenders import Ended
from benchmarks.graph_population import customers
from benchmarks.graph_throughput import WrongGraph
from benchmarks.keeping import RESULTS, keep, planned
from benchmarks.servers import KINDS, Servers, unavailable
from eventlog.errors import LogError

PARTITIONS = 8
CAP, WITHOUT_CAP = 1_000, 10_000


class Plan(NamedTuple):
    """How much is measured."""

    customers: int
    repeat: int
    # A writer that is still at it then is stopped; its figures hold for what it did.
    seconds_max: float
    merges: int
    # Other events a second beside the merges, one measurement each.
    others: tuple[int, ...]
    sizes: tuple[int, ...]
    # (people, component_max): with the default cap, and with one that hardly cuts.
    households: tuple[tuple[int, int], ...]
    broker: str = "embedded"


FULL = Plan(
    8_000, 3, 90.0, 400, (0, 100), graph_cost.SIZES,
    # Without a cap minutes pass already over few people.
    ((3_000, WITHOUT_CAP), (3_000, CAP), (10_000, CAP), (50_000, CAP)),
)  # fmt: skip
QUICK = Plan(1_500, 1, 20.0, 20, (0,), (2, 10, 100), ((500, 100), (500, WITHOUT_CAP)))


def measure(plan: Plan) -> dict[str, Any]:
    """Do all of it; gives the result. Ended, WrongGraph or LogError when a process or a server fails."""
    loads = [usage.load_average()]
    with Servers(plan.broker, PARTITIONS) as servers:
        result: dict[str, Any] = {
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            "plan": plan._asdict(),
            "machine": usage.machine(),
            "servers": servers.versions(),
        }
        _say(f"links per second: {plan.customers} customers, {plan.repeat} run(s)")
        told = customers(plan.customers)
        result["throughput"] = graph_throughput.measure(servers, told, plan.repeat, plan.seconds_max)
        loads.append(usage.load_average())
        result["latency"] = []
        for others in plan.others:
            _say(f"{plan.merges} merges beside {others} other events/s")
            result["latency"].append(graph_latency.measure(servers, plan.merges, others))
            loads.append(usage.load_average())
    _say("where the writer's time goes")
    result["stages"] = graph_stages.measure(told)
    _say("the graph alone")
    result["in_memory"] = graph_cost.in_memory(plan.customers, plan.repeat)
    _say(f"components of {', '.join(map(str, plan.sizes))} nodes")
    result["sizes"] = [one._asdict() for one in graph_cost.by_size(plan.sizes, max(plan.repeat * 3, 3))]
    result["households"] = []
    for people, component_max in plan.households:
        _say(f"{people} people on second phones, at most {component_max} nodes a component")
        result["households"].append(graph_cost.percolating(people, component_max)._asdict())
        loads.append(usage.load_average())
    result["load_average"] = {"min": min(loads), "max": max(loads)}
    return {"ratios": graph_report.ratios(result), **result}


def _say(text: str) -> None:
    print(f"benchmarks.graph: {text}", file=sys.stderr, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.graph", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("--quick", action="store_true", help="about a minute; figures are rough")
    parser.add_argument("--json", action="store_true", help="only the last line, the result as JSON")
    parser.add_argument("--customers", type=int, help=f"whose links are followed ({FULL.customers})")
    parser.add_argument("--repeat", type=int, help=f"runs of writer and build, each way ({FULL.repeat})")
    parser.add_argument("--merges", type=int, help=f"for the time to the merged profile ({FULL.merges})")
    parser.add_argument(
        "--broker", choices=KINDS, help="embedded servers (default), or Apache Kafka with Redis"
    )
    parser.add_argument("--out", type=Path, help="file for the result, instead of one in benchmarks/results/")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, keep. The exit code is 1 with a line on stderr when something failed."""
    arguments = _parser().parse_args(argv)
    named = {name: getattr(arguments, name) for name in ("customers", "repeat", "merges", "broker")}
    plan: Plan = planned(QUICK if arguments.quick else FULL, **named)
    if reason := usage.available() or unavailable(plan.broker):
        print(f"benchmarks.graph: {reason}", file=sys.stderr)
        return 1
    try:
        result = measure(plan)
    except (Ended, WrongGraph, LogError) as failed:
        print(f"benchmarks.graph: {failed}", file=sys.stderr)
        return 1
    path = arguments.out or RESULTS / f"graph-{plan.broker}{'-quick' if arguments.quick else ''}.json"
    keep(result, path)
    if not arguments.json:
        print("\n".join(graph_report.lines(result)))
        print(f"kept in {path}")
    print(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
