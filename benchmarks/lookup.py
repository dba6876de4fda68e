"""How long a look-up takes while events flow: plain reads, and `scv_lookup` on the server.

    python -m benchmarks.lookup --rate 1000 --events-rate 1000 --customers 20000

Guarantees:
- A look-up is: from an email address to the whole profile. `plain` is GET of its `:ids` and HGETALL of the
  profile, two round trips; `scv_lookup` is one call. Names are taken at random, from all customers alike.
- Look-ups begin at a steady rate: one that had to wait for the one before counts from when it was due.
- Every answer is looked at: another customer than the one who has the address, or no profile, is an error.
- Events are produced by another process, and folded by a worker of its own. All of it is on this machine.
- What `benchmarks.keeping` guarantees of every command.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import Any, NamedTuple

import redis

from benchmarks import flow, keeping, report, usage
from benchmarks.checking import WrongProfiles
from benchmarks.contenders import CONTENDERS, Ended, Running
from benchmarks.draining import FIRST_SECONDS_MAX, LOOK_EVERY_SECONDS
from benchmarks.latency import percentile
from benchmarks.load import email_of, equal_customers
from benchmarks.servers import Servers
from eventlog.processes import remove_directory
from models.identifiers import customer_id
from stores.keys import Keys

PARTITIONS = 8
# Until the flow is on its way and the connection is warm.
WARM_UP_SECONDS = 2.0

LookUp = Callable[[str], str | None]


class Plan(NamedTuple):
    """How much is measured. Without `events_rate` nothing flows."""

    customers: int
    events_each: int
    rate: int
    events_rate: int
    seconds: float


FULL = Plan(20_000, 10, 1_000, 1_000, 20.0)
QUICK = Plan(1_000, 5, 500, 200, 3.0)


class Plain:
    """Two reads, as any program can do them: docs/redis.md."""

    def __init__(self, client: redis.Redis, generation: str) -> None:
        self.client, self.keys = client, Keys(generation)

    def __call__(self, email: str) -> str | None:
        """The customer whose profile was read; None: none."""
        entry: Any = self.client.get(self.keys.identifier(f"email:{email}"))
        if entry is None:
            return None
        found = json.loads(entry)["customers"][0]["customer_id"]
        profile: Any = self.client.hgetall(self.keys.profile(found))
        return found if b"timeline" in profile else None


class OnServer:
    """One call of the function."""

    def __init__(self, client: redis.Redis) -> None:
        self.client = client

    def __call__(self, email: str) -> str | None:
        """The customer whose profile was given; None: none, or several."""
        answer: Any = self.client.execute_command("FCALL_RO", "scv_lookup", 1, "scv", "email", email)
        # What a caller has to do with it anyway.
        found = json.loads(answer)
        return found["customers"][0]["customer_id"] if found["match"] == "single" else None


def measure(plan: Plan, broker: str) -> dict[str, Any]:
    """Do all of it. Ended, WrongProfiles or LogError when a server or an answer fails."""
    with Servers(broker, PARTITIONS) as servers:
        about = keeping.about(servers, plan._asdict())
        servers.create_topics()
        keeping.say("lookup", f"folding {plan.customers} customers of {plan.events_each} events")
        ends = servers.produce(equal_customers(plan.customers, plan.events_each))
        with Running(CONTENDERS["scv"], servers, ends, 1) as running, servers.client() as client:
            _wait(running, plan.customers * plan.events_each)
            producing = (
                flow.started(servers.bootstrap, plan.events_rate, plan.customers)
                if plan.events_rate
                else None
            )
            ways: dict[str, LookUp] = {
                "plain": Plain(client, running.attempt.generation),
                "scv_lookup": OnServer(client),
            }
            try:
                found = [_timed(name, ways[name], servers, plan) for name in ways]
            finally:
                if producing is not None:
                    producing.kill()
                    remove_directory(producing.directory)
            running.visible()
    return {**about, "lookups": found, "load_average": usage.load_average()}


def _wait(running: Running, records: int) -> None:
    deadline = time.monotonic() + FIRST_SECONDS_MAX + records / 1_000
    while running.visible() < records:
        if time.monotonic() > deadline:
            raise Ended(f"scv: not all of {records} records in time")
        time.sleep(LOOK_EVERY_SECONDS)


def _timed(name: str, look_up: LookUp, servers: Servers, plan: Plan) -> dict[str, Any]:
    """One way, at the rate, for so long."""
    keeping.say("lookup", f"{name} at {plan.rate} look-ups and {plan.events_rate} events a second")
    random = Random(5)
    _at_rate(look_up, random, plan._replace(seconds=WARM_UP_SECONDS))
    _, store = servers.pids
    used, began = usage.cpu_seconds(store), time.monotonic()
    own = time.process_time()
    seconds = _at_rate(look_up, random, plan)
    wall = time.monotonic() - began
    share, own_share = (usage.cpu_seconds(store) - used) / wall, (time.process_time() - own) / wall
    p50, p99, p999 = (percentile(seconds, part) * 1e3 for part in (0.5, 0.99, 0.999))
    return {
        "way": name,
        "lookups": len(seconds),
        "lookups_per_second": len(seconds) / wall,
        "p50_ms": p50,
        "p99_ms": p99,
        "p999_ms": p999,
        "max_ms": max(seconds) * 1e3,
        "store_cpu_share": share,
        "client_cpu_share": own_share,
    }


def _at_rate(look_up: LookUp, random: Random, plan: Plan) -> list[float]:
    """Seconds of each look-up."""
    taken: list[float] = []
    began = time.monotonic()
    for number in range(int(plan.rate * plan.seconds)):
        customer = random.randrange(plan.customers)
        due = began + number / plan.rate
        if (early := due - time.monotonic()) > 0:
            time.sleep(early)
            # Waking up late is this program's fault, not the store's.
            due = time.monotonic()
        found = look_up(email_of(customer))
        taken.append(time.monotonic() - due)
        if found != customer_id(f"crm:{customer}"):
            raise WrongProfiles(f"{email_of(customer)} led to {found}, not to the customer of crm:{customer}")
    return taken


def lines(result: Mapping[str, Any]) -> list[str]:
    """The table of a result."""
    rows = [["look-up, ms", "look-ups/s", "p50", "p99", "p99.9", "max", "store's core", "client's core"]]
    for one in result["lookups"]:
        times = [f"{one[name]:.2f}" for name in ("p50_ms", "p99_ms", "p999_ms", "max_ms")]
        shares = [f"{one[name]:.0%}" for name in ("store_cpu_share", "client_cpu_share")]
        rows.append([one["way"], f"{one['lookups_per_second']:,.0f}", *times, *shares])
    plan = result["plan"]
    return [
        *report.aligned(rows),
        "",
        f"beside {plan['events_rate']:,} events/s, of {plan['customers']:,} customers",
        report.circumstances(result),
    ]


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, keep."""
    parser = keeping.options("lookup", __doc__ or "")
    parser.add_argument("--customers", type=int, help=f"who can be looked up ({FULL.customers})")
    parser.add_argument("--rate", type=int, help=f"look-ups a second ({FULL.rate})")
    parser.add_argument("--events-rate", type=int, help=f"events a second beside them ({FULL.events_rate})")
    parser.add_argument("--seconds", type=float, help=f"how long each way ({FULL.seconds:.0f})")
    arguments = parser.parse_args(argv)
    chosen = {name: getattr(arguments, name) for name in ("customers", "rate", "events_rate", "seconds")}
    plan: Plan = keeping.planned(QUICK if arguments.quick else FULL, **chosen)
    return keeping.run("lookup", arguments, lambda broker: measure(plan, broker), lines)


if __name__ == "__main__":
    sys.exit(main())
