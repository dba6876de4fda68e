"""Look-ups over HTTP while events flow, beside a bare FastAPI route that returns a constant.

    python -m benchmarks.http --rate 1000 --events-rate 1000 --customers 20000

Guarantees:
- A look-up is POST /v1/profiles:lookup with an email address at random, answered with the whole profile:
  key checked, read audited, line logged. `masked` has a key without `profile:read.pii`.
- The load comes from wrk (Debian has it), on connections that stay open. `at the rate`: each of them pauses
  at random between its requests; `flat out`: it does not. Percentiles are wrk's.
- One server process each, never two at once, on a core of its own where there are several: store, broker,
  worker and wrk share the others. An answer other than 200 is an error; before and after, answers are looked
  at.
- What `benchmarks.looking` guarantees. All of it is on this machine.
- What `benchmarks.keeping` guarantees of every command.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import requests

from api.keys import create_key
from benchmarks import keeping, looking, usage
from benchmarks.checking import WrongProfiles
from benchmarks.contenders import Ended, Running
from benchmarks.load import email_of
from benchmarks.looking import Plan
from benchmarks.servers import Servers
from eventlog.processes import HOST, ServerProcess, accepts, free_port, make_directory, remove_directory
from models.identifiers import customer_id

WARM_UP_SECONDS = 3.0
# As many desks as ring at once; more make the pace no steadier.
CONNECTIONS = 32
SCRIPT = Path(__file__).parent / "http_load.lua"
ROOT = SCRIPT.parent.parent
# The server's, and of all else: whatever this process starts takes them from it.
*OTHER_CORES, OWN_CORE = sorted(os.sched_getaffinity(0))
# Of each kind of key: what it may do.
KEYS = {"whole": ["profile:read.pii", "timeline:read"], "masked": ["profile:read", "timeline:read"]}


class Way(NamedTuple):
    """What is asked: a server, and the key to it."""

    name: str
    process: ServerProcess
    port: int
    key: str


def look_up(servers: Servers, _: Running, plan: Plan) -> list[dict[str, Any]]:
    """Each way, at the rate and flat out. Ended, WrongProfiles."""
    return list(_ways(servers, plan))


def _ways(servers: Servers, plan: Plan) -> Iterator[dict[str, Any]]:
    directory = make_directory("bench-http")
    keys = {name: create_key(directory / "keys.json", scopes, name)[1] for name, scopes in KEYS.items()}
    port = free_port()
    serve = [
        "-m", "ops.cli", "serve", "--kafka", servers.bootstrap, "--redis", servers.redis,
        "--keys", str(directory / "keys.json"), "--port", str(port),
    ]  # fmt: skip
    with _serving("scv serve", serve, port) as process:
        size = max(_looked_at(port, keys["whole"], plan, personal=True) for _ in range(20))
        for name, key in keys.items():
            way = Way(name, process, port, key)
            yield from (_timed(way, plan, paced=paced) for paced in (True, False))
            _looked_at(port, key, plan, personal=name == "whole")
    bare = ["-m", "benchmarks.bare_route", "--port", str(port), "--bytes", str(size)]
    with _serving("bare route", bare, port) as process:
        way = Way("constant", process, port, "none")
        yield from (_timed(way, plan, paced=paced) for paced in (True, False))
    remove_directory(directory)


@contextmanager
def _serving(name: str, arguments: Sequence[str], port: int) -> Iterator[ServerProcess]:
    directory = make_directory("bench-serve")
    environment = [f"PYTHONPATH={ROOT}", "SCV_HTTP_REQUESTS_PER_SECOND=1000000"]
    command = ["taskset", "-c", str(OWN_CORE), "env", *environment, sys.executable, *arguments]
    process = ServerProcess(name, command, directory, lambda: accepts(port), 60.0)
    try:
        yield process
    finally:
        process.stop()
        remove_directory(directory)


def _looked_at(port: int, key: str, plan: Plan, *, personal: bool) -> int:
    """Ask as wrk will; the size of the answer. WrongProfiles."""
    customer = time.monotonic_ns() % plan.customers
    answer = requests.post(
        f"http://{HOST}:{port}/v1/profiles:lookup",
        json={"identifiers": [{"type": "email", "value": email_of(customer)}]},
        headers={"Authorization": f"Bearer {key}"},
        timeout=10,
    )
    profile = answer.json().get("profile") or {}
    if profile.get("customer_id") != customer_id(f"crm:{customer}") or "timeline" not in profile:
        raise WrongProfiles(
            f"{email_of(customer)} was answered with {answer.status_code}, another profile or none"
        )
    if (email_of(customer) in answer.text) != personal:
        raise WrongProfiles("personal data is shown to the wrong key")
    return len(answer.content)


def _timed(way: Way, plan: Plan, *, paced: bool) -> dict[str, Any]:
    """One server, at the rate or as fast as it can."""
    load = "at the rate" if paced else "flat out"
    keeping.say("http", f"{way.name}, {load}, beside {plan.events_rate} events a second")
    _wrk(way, plan, WARM_UP_SECONDS, paced=paced)
    used, began = usage.cpu_seconds(way.process.pid), time.monotonic()
    told = _wrk(way, plan, plan.seconds, paced=paced)
    spent = usage.cpu_seconds(way.process.pid) - used
    share = spent / (time.monotonic() - began)
    if told["failed"]:
        raise Ended(f"{way.name}: {told['failed']} of {told['requests']} requests failed")
    return {
        "way": way.name,
        "load": load,
        "per_second": told["requests"] / told["seconds"],
        "server_cpu_share": share,
        "server_cpu_us": spent / max(1, told["requests"]) * 1e6,
        **told,
    }


def _wrk(way: Way, plan: Plan, seconds: float, *, paced: bool) -> dict[str, Any]:
    """What wrk says. Ended."""
    # `%` of an address stands for itself; the one number is the customer's.
    body = json.dumps({"identifiers": [{"type": "email", "value": email_of(0).replace("0", "%d", 1)}]})
    pause = round(CONNECTIONS / plan.rate * 1_000) if paced else 0
    command = [
        "wrk", "-t1", f"-c{CONNECTIONS}", f"-d{round(seconds)}s", "-s", str(SCRIPT),
        f"http://{HOST}:{way.port}/v1/profiles:lookup", "--",
        way.key, str(plan.customers), str(pause), body,
    ]  # fmt: skip
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = [line for line in ran.stdout.splitlines() if line.startswith("{")]
    if ran.returncode or not lines:
        raise Ended(f"wrk: {(ran.stderr or ran.stdout).strip()[-300:]}")
    return json.loads(lines[-1])


def lines(result: Mapping[str, Any]) -> list[str]:
    """The table of a result."""
    rows = [["answer, ms", "load", "a second", "p50", "p99", "p99.9", "max", "server's core", "µs each"]]
    for one in result["lookups"]:
        spent = [f"{one['server_cpu_share']:.0%}", f"{one['server_cpu_us']:.0f}"]
        rows.append([one["way"], one["load"], f"{one['per_second']:,.0f}", *looking.times(one), *spent])
    return looking.table(result, rows)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, keep."""
    os.sched_setaffinity(0, OTHER_CORES or {OWN_CORE})
    return looking.main("http", __doc__, argv, look_up, lines, needs="wrk")


if __name__ == "__main__":
    sys.exit(main())
