"""How long a look-up takes while events flow: plain reads, and `scv_lookup` on the server.

    python -m benchmarks.lookup --rate 1000 --events-rate 1000 --customers 20000

Guarantees:
- A look-up is: from an email address to the whole profile. `plain` is GET of its `:ids` and HGETALL of the
  profile, two round trips; `scv_lookup` is one call. Names are taken at random, from all customers alike.
- Look-ups begin at a steady rate: one that had to wait for the one before counts from when it was due.
- Every answer is looked at: another customer than the one who has the address, or no profile, is an error.
- `beside a rebuild` is plain once more, while `scv rebuild start`, with one process, folds the same log into
  another generation of the same store. How many records it folded meanwhile is told.
- What `benchmarks.looking` guarantees. All of it is on this machine.
- What `benchmarks.keeping` guarantees of every command.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from random import Random
from typing import Any

import redis

from benchmarks import keeping, looking, usage
from benchmarks.checking import WrongProfiles
from benchmarks.contenders import ROOT, Ended, Running
from benchmarks.draining import LOOK_EVERY_SECONDS
from benchmarks.latency import percentile
from benchmarks.load import email_of
from benchmarks.looking import Plan
from benchmarks.servers import Servers
from models.identifiers import customer_id
from stores.keys import Keys
from stores.rebuilding import Rebuilds

# Until the flow is on its way and the connection is warm.
WARM_UP_SECONDS = 2.0

BESIDE, REBUILT = "beside a rebuild", "g2"

LookUp = Callable[[str], str | None]


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


def look_up(servers: Servers, running: Running, plan: Plan) -> list[dict[str, Any]]:
    """Each way, at the rate. WrongProfiles."""
    with servers.client() as client:
        ways: dict[str, LookUp] = {
            "plain": Plain(client, running.attempt.generation),
            "scv_lookup": OnServer(client),
        }
        found = [_timed(name, ways[name], servers, plan) for name in ways]
        with _rebuilding(servers) as done:
            before = done()
            beside = _timed(BESIDE, ways["plain"], servers, plan)
            return [*found, {**beside, "rebuilt_records": done() - before}]


@contextmanager
def _rebuilding(servers: Servers) -> Iterator[Callable[[], int]]:
    """A rebuild that has begun; gives how many records it has folded."""
    command = [
        sys.executable, "-m", "ops.cli", "rebuild", "start", "--execute", "--generation", REBUILT, "--json",
        "--kafka", servers.bootstrap, "--redis", servers.redis, "--workers", "1",
    ]  # fmt: skip
    process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        with servers.client() as client:

            def done() -> int:
                rebuild = Rebuilds(client).get(REBUILT)
                return 0 if rebuild is None else rebuild.done

            def begun() -> bool:
                # A small one has folded all before it says how much it has done.
                rebuild = Rebuilds(client).get(REBUILT)
                return rebuild is not None and (rebuild.done > 0 or rebuild.links_end >= 0)

            while not begun():
                if process.poll() is not None:
                    raise Ended(f"scv rebuild ended with {process.poll()} before it had begun")
                time.sleep(LOOK_EVERY_SECONDS)
            yield done
    finally:
        process.terminate()
        process.wait()


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
        shares = [f"{one[name]:.0%}" for name in ("store_cpu_share", "client_cpu_share")]
        rows.append([one["way"], f"{one['lookups_per_second']:,.0f}", *looking.times(one), *shares])
    rebuilt = result["lookups"][-1]["rebuilt_records"]
    return [*looking.table(result, rows), f"the rebuild folded {rebuilt:,} records meanwhile"]


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, keep."""
    return looking.main("lookup", __doc__, argv, look_up, lines)


if __name__ == "__main__":
    sys.exit(main())
