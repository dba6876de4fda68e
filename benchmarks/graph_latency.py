"""How long until two subjects are one customer: from event and link fact to the merged profile.

Guarantees:
- `scv worker` runs as anybody would start it. Both subjects are known before, each with a profile of its own;
  then the second one states the first one's email: fold, link fact, graph, tombstone, merged profile.
- A merge has arrived when the profile of the founder's customer lists both subjects *and* the `:ids` of the
  second leads there. Looking every millisecond is part of the figure.
- `event`: since the event was due. `fact`: since the time in the link log, which has whole milliseconds.
- At most `OTHERS_PER_SECOND` other events come in between, in a second measurement of its own.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import redis

from benchmarks.contenders import CONTENDERS, Ended, Running
from benchmarks.draining import FIRST_SECONDS_MAX
from benchmarks.graph_population import Told, event
from benchmarks.latency import LINGER_MS, LOOK_EVERY_SECONDS, SUBJECTS, percentile
from benchmarks.load import email_of, mixed
from benchmarks.servers import Servers
from benchmarks.usage import load_average
from eventlog.ends import lane_ends
from eventlog.producing import LogProducer
from eventlog.reading import read_topic
from eventlog.topics import MARKETING, SALES, link_log
from models.identifiers import customer_id
from models.link import read_link_fact
from models.record import Lane
from stores.keys import Keys
from stores.progress import read_progress

MERGES_PER_SECOND = 20
# A merge that is not there by then counts as this late, and is said to be missing.
MERGE_SECONDS_MAX = 30.0
# Numbers of the load's own customers stay below.
FIRST_NUMBER = 1_000_000


class _Merge(NamedTuple):
    number: int
    due_at: float


def measure(servers: Servers, merges: int, others_per_second: int) -> dict[str, Any]:
    """Merge so many customers, at a modest rate, beside so many other events a second."""
    servers.empty()
    servers.create_topics()
    with (
        Running(CONTENDERS["scv"], servers, servers.ends(), 1) as running,
        servers.client() as client,
        LogProducer(servers.bootstrap, client_id="scv-bench", linger_ms=LINGER_MS) as producer,
    ):
        one = _Merging(running, client, producer, merges)
        one.prepare()
        began = load_average()
        one.run(others_per_second)
        return {
            "merges": merges,
            "merges_per_second": MERGES_PER_SECOND,
            "others_per_second": others_per_second,
            "missing": merges - len(one.readable_at),
            "from_event": _summed(one.since_due()),
            "from_fact": _summed(one.since_logged()),
            "load_average": max(began, load_average()),
        }


def _summed(seconds: Sequence[float]) -> dict[str, float]:
    return {
        **{f"p{share}_ms": percentile(seconds, share / 100) * 1e3 for share in (50, 95, 99)},
        "max_ms": max(seconds) * 1e3,
    }


class _Merging:
    """One measurement: which merges are on their way, and when they became readable."""

    def __init__(self, running: Running, client: redis.Redis, producer: LogProducer, merges: int) -> None:
        self.running, self.client, self.producer = running, client, producer
        self.keys = Keys(running.attempt.generation)
        self.numbers = range(FIRST_NUMBER, FIRST_NUMBER + merges)
        self.waiting: list[_Merge] = []
        self.due_at: dict[int, float] = {}
        # By number: when it was readable, by the monotonic clock and by the wall clock.
        self.readable_at: dict[int, tuple[float, float]] = {}
        self.sent = 0

    def prepare(self) -> None:
        """Make both subjects of every merge known, and wait until the graph has placed all of them."""
        for number in self.numbers:
            self._send(Told(SALES, f"crm:{number}", (("email", email_of(number), True),)))
            self._send(Told(MARKETING, f"web:{number}", (("browser_id", f"b-{number}", False),)))
        self.producer.flush()
        deadline = time.monotonic() + FIRST_SECONDS_MAX
        while not self._all_placed():
            self.running.visible()
            if time.monotonic() > deadline:
                raise Ended(f"scv: subjects not placed after {FIRST_SECONDS_MAX:.0f} s")
            time.sleep(0.1)

    def _all_placed(self) -> bool:
        """Whether each subject leads to a customer, and the graph has no fact left to hear."""
        links = Lane(link_log(self.keys.generation), 0)
        [held] = lane_ends(self.running.attempt.servers.bootstrap, [links.topic]).values()
        servers = self.running.attempt.servers
        done = read_progress(servers.redis, self.keys.generation, [links])[links][2]
        # Of each pair: two subjects seen, an email and a browser.
        return held.end >= 4 * len(self.numbers) and done >= held.end

    def run(self, others_per_second: int) -> None:
        """Send what is due, look what has arrived, until all merges have or are given up."""
        load = mixed(10**9, SUBJECTS, seed=2)
        began, sent, others = time.monotonic(), 0, 0
        while sent < len(self.numbers) or self.waiting:
            now = time.monotonic()
            while sent < len(self.numbers) and sent <= (now - began) * MERGES_PER_SECOND:
                self._merge(self.numbers[sent], began + sent / MERGES_PER_SECOND)
                sent += 1
            while sent < len(self.numbers) and others < (now - began) * others_per_second:
                record = next(load)
                self.producer.produce(record.topic, record.key, record.value)
                others += 1
            self._look()
            self.waiting = [one for one in self.waiting if now - one.due_at < MERGE_SECONDS_MAX]
            time.sleep(LOOK_EVERY_SECONDS)
        self.running.visible()

    def _merge(self, number: int, due_at: float) -> None:
        self._send(Told(MARKETING, f"web:{number}", (("email", email_of(number), False),)))
        self.due_at[number] = due_at
        self.waiting.append(_Merge(number, due_at))

    def _send(self, told: Told) -> None:
        record = event(told, FIRST_NUMBER + self.sent)
        self.producer.produce(record.topic, record.key, record.value)
        self.sent += 1

    def _look(self) -> None:
        if not self.waiting:
            return
        pipe = self.client.pipeline(transaction=False)
        for number, _ in self.waiting:
            pipe.hget(self.keys.profile(customer_id(f"crm:{number}")), "identity")
            pipe.get(self.keys.identifier(f"web:{number}"))
        answers = pipe.execute()
        readable_at = (time.monotonic(), time.time())
        still = []
        for one, identity, entry in zip(self.waiting, answers[::2], answers[1::2], strict=True):
            second, founder = f'"subject":"web:{one.number}"', customer_id(f"crm:{one.number}")
            if second.encode() in (identity or b"") and founder.encode() in (entry or b""):
                self.readable_at[one.number] = readable_at
            else:
                still.append(one)
        self.waiting = still

    def since_due(self) -> list[float]:
        """Seconds from when each event was due."""
        return [
            self.readable_at[number][0] - due_at if number in self.readable_at else MERGE_SECONDS_MAX
            for number, due_at in self.due_at.items()
        ]

    def since_logged(self) -> list[float]:
        """Seconds from when each link fact was logged."""
        logged: dict[str, float] = {}
        for record in read_topic(self.running.attempt.servers.bootstrap, link_log(self.keys.generation)):
            fact = read_link_fact(record.value)
            if fact is not None and fact.identifier is not None and fact.identifier.startswith("email:"):
                logged.setdefault(fact.subject, record.timestamp_ms / 1e3)
        return [
            self.readable_at[number][1] - logged[f"web:{number}"]
            if number in self.readable_at
            else MERGE_SECONDS_MAX
            for number in self.numbers
        ]
