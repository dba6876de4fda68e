"""New links per second: a link log that is already there, followed by the identity writer, or built at once.

Guarantees:
- The writer is a process of its own that does nothing else; what is measured, and from when to when, is as of
  every backlog (`benchmarks.draining`): the facts of rounds that are readable, cursor and marks done.
- With parts, each subject has one event folded and a profile of its own before: every merge assembles and
  buries. Without, the graph has names and nobody to assemble.
- A run is checked: customers are those of the population, and with parts their profiles count all members.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from benchmarks.contenders import ROOT, SESSION_SECONDS, Attempt, Contender, Ended, Running
from benchmarks.draining import Drain, drain
from benchmarks.graph_population import Told, events, facts
from benchmarks.report import spread
from benchmarks.servers import Servers
from benchmarks.stages import LOG_MS, Memory, Record, folding_worker
from eventlog.ends import lane_ends
from eventlog.producing import LogProducer
from eventlog.topics import FIRST_GENERATION, link_log
from models.identifiers import customer_id
from models.link import wire_link_fact
from models.record import Lane
from models.settings import Settings
from stores.keys import Keys
from stores.progress import read_progress
from stores.redis_store import RedisStore
from streams.lanes import Batch

LINKS = Lane(link_log(FIRST_GENERATION), 0)
# Events that are folded in one go, beforehand; nothing of it is measured.
FOLDED_AT_ONCE = 2_000
CACHE_BYTES = 64 * 2**20
CHECKED = 100
BUILD_SECONDS_MAX = 600


class WrongGraph(Exception):
    """The graph in the store is not that of the population."""


class WriterAlone(Contender):
    """The identity writer, upon whatever the store holds of its generation."""

    name = "identity-writer"
    promises = "one cursor; merges told before they are committed; memberships, entries, profiles, tombstones"

    def command(self, attempt: Attempt) -> list[str]:
        """The process."""
        return [
            "env", f"PYTHONPATH={ROOT}", sys.executable, "-m", "benchmarks.graph_writer",
            "--kafka", attempt.servers.bootstrap, "--redis", attempt.servers.redis,
            "--group", f"graph-{attempt.number}", "--session-timeout", str(SESSION_SECONDS),
        ]  # fmt: skip

    def visible(self, attempt: Attempt) -> int:
        """Facts whose every effect is readable."""
        return read_progress(attempt.servers.redis, FIRST_GENERATION, [LINKS])[LINKS][2]


def measure(servers: Servers, told: Sequence[Told], repeat: int, seconds_max: float) -> dict[str, Any]:
    """Both ways, without and with parts; rates of each."""
    servers.empty()
    servers.create_topics()
    with LogProducer(servers.bootstrap, client_id="scv-bench") as producer:
        for fact in facts(told):
            producer.produce(LINKS.topic, fact.subject.encode(), wire_link_fact(fact))
    [held] = lane_ends(servers.bootstrap, [LINKS.topic]).values()
    count = held.end
    customers = sum(one.subject.startswith("crm:") for one in told)
    found: dict[str, Any] = {}
    for name, parts in (("graph_only", False), ("with_parts", True)):
        drains: list[Drain] = []
        builds: list[dict[str, float]] = []
        for turn in range(repeat):
            servers.empty_store()
            fill(servers.redis, told if parts else ())
            with Running(WriterAlone(), servers, {LINKS: count}, 2 * turn + parts) as running:
                drains.append(drain(running, count, seconds_max))
            if drains[-1].complete:
                _check(servers, customers, parts)
            servers.empty_store()
            fill(servers.redis, told if parts else ())
            builds.append(_built(servers))
            _check(servers, customers, parts)
        found[name] = {"writer": _writer_rates(drains), "bulk": _rates(builds)}
    return {"facts": count, "customers": customers, **found}


def fill(redis_url: str, told: Sequence[Told]) -> None:
    """Put the parts and profiles of all that was told into an empty store, each subject for itself."""
    store = RedisStore(redis_url, FIRST_GENERATION, Settings().identity_rules.shared_above)
    store.prepare()
    if not told:
        store.close()
        return
    lanes: dict[Lane, list[Record]] = {}
    for number, (topic, key, value) in enumerate(events(told)):
        records = lanes.setdefault(Lane(topic, 0), [])
        records.append(Record(len(records), LOG_MS + number, key, value))
    worker = folding_worker(store, Memory())
    worker.take(list(lanes))
    for lane, records in lanes.items():
        for at in range(0, len(records), FOLDED_AT_ONCE):
            some = records[at : at + FOLDED_AT_ONCE]
            worker.step([Batch(lane, at, some, at + len(some), len(records))])
    worker.close()


def _built(servers: Servers) -> dict[str, float]:
    """`scv identity build`, upon a graph that nobody has begun."""
    command = [
        "env", f"PYTHONPATH={ROOT}", sys.executable, "-m", "ops.cli", "identity", "build", "--json",
        "--kafka", servers.bootstrap, "--redis", servers.redis,
    ]  # fmt: skip
    before = _children_cpu_seconds()
    done = subprocess.run(command, capture_output=True, text=True, timeout=BUILD_SECONDS_MAX, check=False)
    if done.returncode:
        raise Ended(f"scv identity build ended with {done.returncode}: {done.stderr.strip()[-200:]}")
    # Starting Python and importing is in the processor time, not in the seconds that it says itself.
    return {**json.loads(done.stdout), "cpu_seconds": _children_cpu_seconds() - before}


def _children_cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _check(servers: Servers, customers: int, parts: bool) -> None:
    """All three subjects of a customer lead to one id, and with parts its profile has all three."""
    keys = Keys(FIRST_GENERATION)
    with servers.client() as client:
        for number in range(0, customers, max(customers // CHECKED, 1)):
            names = [f"{kind}:{number}" for kind in ("crm", "web", "billing")]
            entries = [json.loads(client.get(keys.identifier(name)) or b'{"customers":[]}') for name in names]
            linking = {
                one["customer_id"]
                for entry in entries
                for one in entry["customers"]
                if one["status"] == "linking"
            }
            if len(linking) != 1 or not linking <= {customer_id(name) for name in names}:
                raise WrongGraph(f"customer {number}: its subjects lead to {sorted(linking) or 'nobody'}")
            if parts:
                identity = client.hget(keys.profile(linking.pop()), "identity") or b""
                if not all(f'"subject":"{name}"'.encode() in identity for name in names):
                    raise WrongGraph(f"customer {number}: its profile lacks members: {identity[:300]!r}")


def _writer_rates(drains: Sequence[Drain]) -> dict[str, Any]:
    figures = [one.figures() for one in drains]
    measured = [one for one in figures if one is not None]
    named = {
        "per_second": "events_per_second",
        "per_cpu_second": "events_per_cpu_second",
        "writer_us": "worker_us_per_event",
        "store_us": "store_us_per_event",
        "broker_us": "broker_us_per_event",
        "rss_peak_mib": "rss_peak_mib",
    }
    return {
        "runs": len(drains),
        "stopped_for_time": sum(not one.complete for one in drains),
        "load_average": max(one.load_average for one in drains),
        **{
            name: spread([one[figure] for one in measured]) if measured else None
            for name, figure in named.items()
        },
    }


def _rates(builds: Sequence[dict[str, float]]) -> dict[str, Any]:
    return {
        "runs": len(builds),
        "per_second": spread([one["facts"] / one["seconds"] for one in builds]),
        "per_cpu_second": spread([one["facts"] / one["cpu_seconds"] for one in builds]),
    }
