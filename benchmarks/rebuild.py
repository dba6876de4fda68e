"""A whole log in bulk beside the same log live, and how bulk grows with processes.

    python -m benchmarks.rebuild
    python -m benchmarks.rebuild --events 200000 --subjects 10000 --workers 1 --workers 4

Guarantees:
- Both fold the same records of one log, on the same broker and store: `scv worker` first, a backlog that is
  drained as `benchmarks.live` has it; then `scv rebuild start`, once for each number of processes, into
  generations that are dropped again.
- Live: from the first record visible to the last. Bulk: from the first record folded to when workers could
  follow, in all of its processes, those that wait among them; folding, the graph and assembling are told
  apart. What was there at the first look is not counted, here or there: starting takes neither's time.
- As many customers as live has must be there in the end.
- What `benchmarks.keeping` guarantees of every command.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks import keeping, report, usage
from benchmarks.contenders import CONTENDERS, ROOT, Ended
from benchmarks.draining import drain, started
from benchmarks.load import mixed
from benchmarks.servers import Servers
from ops import cli
from stores.keys import Keys
from stores.rebuilding import Rebuilds, State

PARTITIONS = 8
LOOK_EVERY_SECONDS = 0.05
LIVE_SECONDS_MAX = 900.0
SECONDS_MAX = 3_600.0
# By what a rebuild goes through, and that its command has come to the end.
STAGES = (State.FOLDING, State.GRAPH, State.ASSEMBLING)


class Plan(NamedTuple):
    """How much is measured."""

    events: int
    subjects: int
    workers: tuple[int, ...]


FULL = Plan(400_000, 20_000, (1, 2, 4))
QUICK = Plan(20_000, 1_000, (1, 2))


class Use(NamedTuple):
    """What was used up to some moment."""

    at: float
    cpu_seconds: float
    store_seconds: float
    broker_seconds: float

    def since(self, before: Use) -> Use:
        """What was used in between."""
        return Use(*(now - then for now, then in zip(self, before, strict=True)))


def measure(plan: Plan, broker: str) -> dict[str, Any]:
    """Do all of it. Ended or LogError when a process or a server fails."""
    with Servers(broker, PARTITIONS) as servers:
        about = keeping.about(servers, plan._asdict())
        keeping.say("rebuild", f"producing {plan.events} events")
        servers.create_topics()
        ends = servers.produce(mixed(plan.events, plan.subjects))
        keeping.say("rebuild", "live")
        with started(CONTENDERS["scv"], servers, ends, 1) as running:
            found = drain(running, plan.events, LIVE_SECONDS_MAX)
            live = found.figures()
        if live is None or not found.complete:
            raise Ended(f"scv: {found.events} of {plan.events} records within {LIVE_SECONDS_MAX:.0f} s")
        # It has not seen the end of the link log for sure; what it has seen is measured.
        customers = _customers(servers, "g1")
        bulk = [_of_workers(servers, plan, count, customers) for count in plan.workers]
    one = bulk[0]["events_per_cpu_second"]
    return {
        "bulk_to_live": round(one / live["events_per_cpu_second"], 2),
        "folding_to_live": round(bulk[0]["folding_per_cpu_second"] / live["events_per_cpu_second"], 2),
        **about,
        "live": live,
        "bulk": bulk,
        "load_average": usage.load_average(),
    }


def _customers(servers: Servers, generation: str) -> int:
    with servers.client() as client:
        return sum(1 for _ in client.scan_iter(f"{Keys(generation).prefix}{{cus_*}}:profile", count=5_000))


def _of_workers(servers: Servers, plan: Plan, count: int, customers: int) -> dict[str, Any]:
    keeping.say("rebuild", f"bulk, {count} {'process' if count == 1 else 'processes'}")
    where = ["--kafka", servers.bootstrap, "--redis", servers.redis, "--json"]
    generation = f"g{count + 1}"
    command = [
        sys.executable, "-m", "ops.cli", "rebuild", "start", "--execute", "--no-follow", *where,
        "--workers", str(count), "--generation", generation,
    ]  # fmt: skip
    process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        began, events = _watched(servers, process, generation)
    finally:
        process.kill()
        process.wait()
    made = _customers(servers, generation)
    if made < customers:
        raise Ended(f"scv rebuild: {made} profiles and tombstones, live has {customers}")
    if code := cli.run(["rebuild", "drop", generation, "--execute", *where]):
        raise Ended(f"scv rebuild drop {generation} ended with {code}")
    return {"workers": count, **_figures(events, began)}


def _watched(
    servers: Servers, process: subprocess.Popen[bytes], generation: str
) -> tuple[dict[State, Use], int]:
    """What had been used when each stage began, the first as something was folded; and what was left then."""
    began: dict[State, Use] = {}
    events, last = 0, Use(0, 0, 0, 0)
    deadline = time.monotonic() + SECONDS_MAX
    with servers.client() as client:
        rebuilds = Rebuilds(client)
        while State.FOLLOWING not in began:
            used = _used(servers, process.pid) if process.poll() is None else None
            rebuild = rebuilds.get(generation)
            if used is not None and used.cpu_seconds >= last.cpu_seconds:
                last = used
            if rebuild is not None and (rebuild.done or rebuild.state != State.FOLDING):
                if not began:
                    events = rebuild.total - rebuild.done if rebuild.state == State.FOLDING else 0
                # A stage that came and went between two looks used nothing that can be told.
                for stage in (*STAGES, State.FOLLOWING):
                    began.setdefault(stage, last)
                    if stage == rebuild.state:
                        break
            elif process.poll() is not None or time.monotonic() > deadline:
                raise Ended(f"scv rebuild ended with {process.poll()} before it was done")
            time.sleep(LOOK_EVERY_SECONDS)
    if not events:
        raise Ended("scv rebuild: all was folded at the first look; measure more events")
    return began, events


def _used(servers: Servers, pid: int) -> Use | None:
    """Of the process and those that work for it; None when one of them has just ended."""
    broker, store = servers.pids
    try:
        hands = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        cpu = sum(map(usage.cpu_seconds, [pid, *map(int, hands)]))
    except (FileNotFoundError, ProcessLookupError):
        return None
    return Use(time.monotonic(), cpu, usage.cpu_seconds(store), usage.cpu_seconds(broker))


def _figures(events: int, began: Mapping[State, Use]) -> dict[str, Any]:
    whole = began[State.FOLLOWING].since(began[State.FOLDING])
    folding = began[State.GRAPH].since(began[State.FOLDING])
    ends = dict(zip(STAGES, (*STAGES[1:], State.FOLLOWING), strict=True))
    stages = {str(stage): began[end].since(began[stage]) for stage, end in ends.items()}
    return {
        "events": events,
        "events_per_second": events / whole.at,
        "events_per_cpu_second": events / max(whole.cpu_seconds, usage.TICK_SECONDS),
        "folding_per_second": events / max(folding.at, LOOK_EVERY_SECONDS),
        "folding_per_cpu_second": events / max(folding.cpu_seconds, usage.TICK_SECONDS),
        "cpu_us_per_event": whole.cpu_seconds / events * 1e6,
        "store_us_per_event": whole.store_seconds / events * 1e6,
        "broker_us_per_event": whole.broker_seconds / events * 1e6,
        "seconds": {stage: round(one.at, 2) for stage, one in stages.items()},
        "cpu_seconds": {stage: round(one.cpu_seconds, 2) for stage, one in stages.items()},
    }


def lines(result: Mapping[str, Any]) -> list[str]:
    """The table of a result."""
    live = result["live"]
    head = f"{'':14} {'events/CPU s':>13} {'events/s':>10} {'CPU µs':>8} {'store µs':>9}"
    rows = [head, _row("live", live, "events", "worker_us_per_event")]
    for one in result["bulk"]:
        rows.append(_row(f"bulk, {one['workers']}", one, "events", "cpu_us_per_event"))
        rows.append(_row("  folding", one, "folding", None))
    rows.append(
        f"bulk with one process is {result['bulk_to_live']} times live, per processor second; "
        f"its folding alone {result['folding_to_live']} times"
    )
    return [*rows, report.circumstances(result)]


def _row(name: str, one: Mapping[str, Any], what: str, cost: str | None) -> str:
    row = f"{name:14} {one[f'{what}_per_cpu_second']:13,.0f} {one[f'{what}_per_second']:10,.0f}"
    return row if cost is None else f"{row} {one[cost]:8.1f} {one['store_us_per_event']:9.1f}"


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, keep."""
    parser = keeping.options("rebuild", __doc__ or "")
    parser.add_argument("--events", type=int, help=f"in the log ({FULL.events})")
    parser.add_argument("--subjects", type=int, help=f"customers that they are about ({FULL.subjects})")
    parser.add_argument("--workers", type=int, action="append", help=f"processes in bulk {FULL.workers}")
    arguments = parser.parse_args(argv)
    plan: Plan = keeping.planned(
        QUICK if arguments.quick else FULL,
        events=arguments.events,
        subjects=arguments.subjects,
        workers=tuple(arguments.workers) if arguments.workers else None,
    )
    return keeping.run("rebuild", arguments, lambda broker: measure(plan, broker), lines)


if __name__ == "__main__":
    sys.exit(main())
