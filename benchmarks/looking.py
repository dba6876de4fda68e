"""Look-ups while events flow: what the measurements of them have in common.

Guarantees:
- Customers are folded by a worker of its own before anybody is looked up; events then come from another
  process at a steady rate, for as long as is measured.
- The worker must still be there at the end.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from benchmarks import flow, keeping, report, usage
from benchmarks.contenders import CONTENDERS, Ended, Running
from benchmarks.draining import FIRST_SECONDS_MAX, LOOK_EVERY_SECONDS
from benchmarks.load import equal_customers
from benchmarks.servers import Servers
from eventlog.processes import remove_directory

PARTITIONS = 8


class Plan(NamedTuple):
    """How much is measured. Without `events_rate` nothing flows."""

    customers: int
    events_each: int
    rate: int
    events_rate: int
    seconds: float


FULL = Plan(20_000, 10, 1_000, 1_000, 20.0)
QUICK = Plan(1_000, 5, 500, 200, 3.0)

Lookups = Callable[[Servers, Running, Plan], list[dict[str, Any]]]


def measure(name: str, plan: Plan, broker: str, look_up: Lookups) -> dict[str, Any]:
    """Fold, let events flow, measure. Ended, WrongProfiles or LogError when a server or an answer fails."""
    with Servers(broker, PARTITIONS) as servers:
        about = keeping.about(servers, plan._asdict())
        servers.create_topics()
        keeping.say(name, f"folding {plan.customers} customers of {plan.events_each} events")
        ends = servers.produce(equal_customers(plan.customers, plan.events_each))
        with Running(CONTENDERS["scv"], servers, ends, 1) as running:
            _wait(running, plan.customers * plan.events_each)
            with _flowing(servers, plan):
                found = look_up(servers, running, plan)
            running.visible()
    return {**about, "lookups": found, "load_average": usage.load_average()}


def _wait(running: Running, records: int) -> None:
    deadline = time.monotonic() + FIRST_SECONDS_MAX + records / 1_000
    while running.visible() < records:
        if time.monotonic() > deadline:
            raise Ended(f"scv: not all of {records} records in time")
        time.sleep(LOOK_EVERY_SECONDS)


@contextmanager
def _flowing(servers: Servers, plan: Plan) -> Iterator[None]:
    if not plan.events_rate:
        yield
        return
    producing = flow.started(servers.bootstrap, plan.events_rate, plan.customers)
    try:
        yield
    finally:
        producing.kill()
        remove_directory(producing.directory)


def table(result: Mapping[str, Any], rows: Sequence[Sequence[str]]) -> list[str]:
    """The table of a result, and what it was measured beside."""
    plan = result["plan"]
    return [
        *report.aligned(rows),
        "",
        f"beside {plan['events_rate']:,} events/s, of {plan['customers']:,} customers",
        report.circumstances(result),
    ]


def times(one: Mapping[str, Any]) -> list[str]:
    """Percentiles of one way, as a table has them."""
    return [f"{one[name]:.2f}" for name in ("p50_ms", "p99_ms", "p999_ms", "max_ms")]


def main(
    name: str,
    purpose: str | None,
    argv: Sequence[str] | None,
    look_up: Lookups,
    lines: Callable[[Mapping[str, Any]], list[str]],
    needs: str | None = None,
) -> int:
    """Measure, print, keep; 1 without the program that is needed."""
    parser = keeping.options(name, purpose or "")
    parser.add_argument("--customers", type=int, help=f"who can be looked up ({FULL.customers})")
    parser.add_argument("--rate", type=int, help=f"look-ups a second ({FULL.rate})")
    parser.add_argument("--events-rate", type=int, help=f"events a second beside them ({FULL.events_rate})")
    parser.add_argument("--seconds", type=float, help=f"how long each ({FULL.seconds:.0f})")
    arguments = parser.parse_args(argv)
    if needs is not None and shutil.which(needs) is None:
        keeping.say(name, f"{needs} is not installed; run `apt-get install {needs}`")
        return 1
    chosen = {field: getattr(arguments, field) for field in ("customers", "rate", "events_rate", "seconds")}
    plan: Plan = keeping.planned(QUICK if arguments.quick else FULL, **chosen)
    return keeping.run(name, arguments, lambda broker: measure(name, plan, broker, look_up), lines)
