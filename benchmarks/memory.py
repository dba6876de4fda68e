"""Memory: a worker's against the bound of its cache, and a customer's in Redis.

    python -m benchmarks.memory --cache 16 --cache 256

Guarantees:
- The load has more parts than the larger bounds hold, so that the bound is what is measured.
- Shown is the most that the worker had resident, over a whole drain; and what the same drain cost, since less
  memory is bought with reading parts again.
- What `benchmarks.footprint` guarantees of a customer's bytes, `benchmarks.keeping` of every command.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from benchmarks import footprint, keeping, report
from benchmarks.contenders import Scv
from benchmarks.draining import drain, started
from benchmarks.load import mixed
from benchmarks.servers import Servers

PARTITIONS = 8


class Plan(NamedTuple):
    """How much is measured. The bounds are in MiB, as the setting `cache_mib`."""

    caches: tuple[int, ...]
    events: int
    subjects: int
    seconds_max: float
    footprint_customers: int


FULL = Plan((1, 32, 128, 256), 300_000, 100_000, 180.0, 2_000)
QUICK = Plan((1, 256), 20_000, 8_000, 20.0, 200)


def measure(plan: Plan, broker: str) -> dict[str, Any]:
    """Do all of it. Ended or LogError when a worker or a server fails."""
    found = []
    with Servers(broker, PARTITIONS) as servers:
        about = keeping.about(servers, plan._asdict())
        servers.create_topics()
        ends = servers.produce(mixed(plan.events, plan.subjects))
        for number, cache_mib in enumerate(plan.caches, start=1):
            keeping.say("memory", f"a cache of {cache_mib} MiB")
            with started(Scv(cache_mib), servers, ends, number) as running:
                drained = drain(running, plan.events, plan.seconds_max)
            figures = drained.figures() or {}
            found.append({"cache_mib": cache_mib, "events": drained.events, **figures})
        keeping.say("memory", f"Redis bytes of {plan.footprint_customers} customers")
        weighed = footprint.measure(servers, plan.footprint_customers)
    return {**about, "caches": found, "footprint": weighed._asdict()}


def lines(result: Mapping[str, Any]) -> list[str]:
    """The table of a result."""
    rows = [["cache MiB", "RSS MiB", "worker µs", "store µs", "events"]]
    for one in result["caches"]:
        cells = [f"{one[name]:,.1f}" for name in ("worker_us_per_event", "store_us_per_event") if name in one]
        rss = f"{one['rss_peak_mib']:,.0f}" if "rss_peak_mib" in one else "–"
        rows.append([str(one["cache_mib"]), rss, *(cells or ["–", "–"]), f"{one['events']:,}"])
    return [
        *report.aligned(rows),
        "",
        report.footprint_line(result["footprint"]),
        "",
        report.circumstances(result),
    ]


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, keep."""
    parser = keeping.options("memory", __doc__ or "")
    parser.add_argument("--cache", type=int, action="append", help="MiB; may be given several times")
    parser.add_argument("--events", type=int, help=f"drained ({FULL.events})")
    parser.add_argument("--subjects", type=int, help=f"customers that they are about ({FULL.subjects})")
    arguments = parser.parse_args(argv)
    changes = {
        "caches": tuple(arguments.cache) if arguments.cache else None,
        "events": arguments.events,
        "subjects": arguments.subjects,
    }
    plan: Plan = keeping.planned(QUICK if arguments.quick else FULL, **changes)
    return keeping.run("memory", arguments, lambda broker: measure(plan, broker), lines)


if __name__ == "__main__":
    sys.exit(main())
