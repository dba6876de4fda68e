"""A log full of everything, a generation that followed it live, and what the store holds of any generation.

Guarantees:
- What follows is the worker's own, driven batch by batch from a broker: batches of any size, in any order
  between lanes, now and then a worker that is replaced by another.
- Of two generations all that does not name positions must be equal, byte for byte.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from random import Random
from typing import Any

import redis

from eventlog.admin import create_topics
from eventlog.ends import lane_ends
from eventlog.producing import LogProducer
from eventlog.reading import read_lane
from eventlog.topics import link_log
from models.catalogue import COMMAND_TOPIC, DOMAIN_TOPICS
from models.identifiers import customer_id
from models.record import Lane, Record
from models.settings import Settings
from stores.keys import Keys
from streams.lanes import Batch
from streams.routing import RoutingWorker
from streams.worker import lane_worker
from tests.histories import history, interleaved
from tests.process_people import among
from tests.process_world import write

SOURCES = (*DOMAIN_TOPICS, COMMAND_TOPIC)
PARTITIONS = 2
# Customers that merge and split, beside histories with every kind of record.
KNOBS = {"subjects": 30, "employees": 2, "bursts": 1, "partitions": dict.fromkeys(DOMAIN_TOPICS, PARTITIONS)}


def records_of(seed: int, events: int) -> list[Record]:
    """A history, with people and commands among it."""
    plain = interleaved(history(seed, events=events, **KNOBS), Random(seed))
    return list(among(plain, seed, KNOBS["partitions"]))


def fill(kafka: str, records: Iterable[Record], generation: str = "g1") -> None:
    """Topics, and these records in them."""
    create_topics(kafka, PARTITIONS, generation)
    with LogProducer(kafka, client_id="source") as producer:
        write(producer, records)


def settings_for(kafka: str, url: str, generation: str = "g1") -> Settings:
    """Settings as of variables."""
    return Settings(kafka=kafka, redis=url, generation=generation)


class Following:
    """A worker of one generation, in this process; `catch_up` lets it fold all that the log holds."""

    def __init__(self, settings: Settings, rng: Random, replaced: float = 0.0) -> None:
        """`replaced`: how often, between two rounds, it is replaced by another worker, from 0 to 1."""
        self.settings, self.rng, self.replaced = settings, rng, replaced
        self.links = Lane(link_log(settings.generation), 0)
        self.lanes = [*(Lane(*one) for one in lane_ends(settings.kafka, SOURCES)), self.links]
        self.worker: RoutingWorker | None = None
        self.at: dict[Lane, int] = {}

    def _take(self) -> RoutingWorker:
        if self.worker is None:
            self.worker = lane_worker(self.settings)
            self.at = {lane: at or 0 for lane, at in self.worker.take(self.lanes).items()}
        return self.worker

    def catch_up(self) -> None:
        """Fold and assemble all that there is now, link facts included."""
        for topics in (SOURCES, (self.links.topic,)):
            ends = {Lane(*lane): held.end for lane, held in lane_ends(self.settings.kafka, topics).items()}
            self._take()
            waiting = {
                lane: list(read_lane(self.settings.kafka, *lane, self.at[lane], end))
                for lane, end in ends.items()
                if end > self.at[lane]
            }
            self._fold(waiting, ends)
        assert self.worker is not None
        for lane, moved in self.worker.idle({lane: self.at[lane] for lane in self.lanes}).items():
            self.at[lane] = moved or 0

    def _fold(self, waiting: dict[Lane, list[Record]], ends: dict[Lane, int]) -> None:
        while waiting:
            if self.rng.random() < self.replaced and self.worker is not None:
                self.worker = None
            worker = self._take()
            some = self.rng.sample(sorted(waiting), self.rng.randint(1, len(waiting)))
            batches = []
            for lane in some:
                ahead = [one for one in waiting[lane] if one.offset >= self.at[lane]]
                records = ahead[: self.rng.choice((1, 7, 40, 300))]
                end = records[-1].offset + 1 if len(records) < len(ahead) else ends[lane]
                batches.append(Batch(lane, self.at[lane], records, end, ends[lane]))
            moved = worker.step(batches)
            for batch in batches:
                self.at[batch.lane] = moved.get(batch.lane, batch.next_offset) or 0
                if self.at[batch.lane] >= ends[batch.lane]:
                    del waiting[batch.lane]

    def close(self) -> None:
        """Let go of the store."""
        if self.worker is not None:
            self.worker.close()


def held(url: str, generation: str) -> dict[str, Any]:
    """All that the store holds of a generation and that does not name positions, by key without its prefix.

    Tombstones are left out: who was a customer on the way there depends on the way.
    """
    found: dict[str, Any] = {}
    prefix = Keys(generation).prefix
    with redis.Redis.from_url(url) as client:
        for key in client.scan_iter(f"{prefix}*", count=1_000):
            name = key.decode().removeprefix(prefix)
            if ":part:" in name:
                found[name] = client.get(key)
            elif name.endswith((":lanes", ":of")):
                found[name] = sorted(client.smembers(key))
            elif name.endswith(":ids"):
                # Nobody, and no entry: the same to readers.
                if customers := json.loads(client.get(key))["customers"]:
                    found[name] = customers
            elif name.endswith(":member"):
                _, founder, members, *more = json.loads(client.get(key))
                # Who is alone has no membership before having been with others: readers assume just that. Nor
                # has who is in no customer before having been in one.
                if members and (members != [founder] or any(more)):
                    found[name] = [founder, members, *more]
            elif name.endswith(":profile"):
                fields = client.hgetall(key)
                if fields[b"state"] == b"live":
                    found[name] = {
                        one: value
                        for one, value in fields.items()
                        if one not in (b"meta", b"version", b"writer")
                    }
    return found


def tombstones(url: str, generation: str) -> dict[str, str]:
    """The founder of each tombstone, by customer id."""
    prefix = Keys(generation).prefix
    found = {}
    with redis.Redis.from_url(url) as client:
        for key in client.scan_iter(f"{prefix}*:profile", count=1_000):
            state, founder = client.hmget(key, "state", "founder")
            if state == b"merged":
                found[key.decode().removeprefix(prefix)] = founder.decode()
    return found


def assert_same(url: str, one: str, other: str) -> dict[str, Any]:
    """Two generations hold the same; gives what they hold."""
    mine, theirs = held(url, one), held(url, other)
    assert mine.keys() ^ theirs.keys() == set(), f"only in one of {one} and {other}"
    for name, value in mine.items():
        assert value == theirs[name], name
    # Whoever belongs to another customer has a tombstone in both.
    members = {member for name, value in mine.items() if name.endswith(":member") for member in value[1]}
    founders = {value[0] for name, value in mine.items() if name.endswith(":member")}
    for generation in (one, other):
        buried = tombstones(url, generation)
        for member in members - founders:
            assert buried.get(f"{{{customer_id(member)}}}:profile") == member
    return mine


def kinds(names: Sequence[str]) -> set[str]:
    """What these keys are: `part`, `profile` and so on."""
    return {"part" if ":part:" in name else name.rpartition(":")[2] for name in names}
