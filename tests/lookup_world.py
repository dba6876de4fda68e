"""A view made in this process: the two lane workers of a worker on a real store, and a log that is a list.

Guarantees:
- Folding, committing, placing and assembling are the worker's own; only Kafka is left out.
- Records are handed over in the order in which they were written, each topic being one lane.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import msgspec

from api.lookup import Answer, lookup, spellings
from eventlog.topics import link_log
from models.catalogue import COMMAND_TOPIC, DOMAIN_TOPICS, topic_of
from models.identifiers import customer_id
from models.record import Lane, Record
from models.rules import IdentityRules
from models.settings import Settings
from projections.assembling import Labels
from projections.folding import Projection
from projections.reducers import Configuration
from stores.connection import claim_generation, connect
from stores.keys import ACTIVE
from stores.reading import ProfileReader
from stores.redis_store import RedisStore
from stores.serving import Found, ServingReader
from stores.store import Entry, ProfileWrite
from streams.cache import PartCache
from streams.folder import Folder
from streams.identity_writer import IdentityWriter
from streams.lane_worker import FoldingWorker
from streams.lanes import Batch
from streams.routing import RoutingWorker
from tests.folding import as_consumed
from tests.servers import empty_store

GENERATION = "g1"
LINKS = Lane(link_log(GENERATION), 0)
# 2026-03-01T10:00:00Z; every record is logged a second after the one before.
FIRST_MS = 1_772_359_200_000
SHOWN = {"generation", "match", "profile", "customers", "merged_into", "unknown"}


class LookupWorld:
    """An empty store at `url`, what was written to it through the workers, and look-ups of it.

    Another `generation` than the first is one more in the store as it is.
    """

    def __init__(self, url: str, rules: IdentityRules | None = None, generation: str = GENERATION) -> None:
        self.url = url
        self.rules = rules or IdentityRules()
        self.client: Any = connect(url)
        if generation == GENERATION:
            empty_store(url)
            self.client.set(ACTIVE, f"{GENERATION} 1")
        self.store = RedisStore(url, generation, self.rules.shared_above)
        self.store.prepare()
        claim_generation(self.client, generation, Settings().shape)
        self.reader = ProfileReader(url)
        self.log: dict[str, list[Record]] = {}
        self._count = 0
        labels, name = Labels(generation, "c-test"), "w"
        self.links = Lane(link_log(generation), 0)
        folder = Folder(Projection(Configuration(rules=self.rules)))
        own: dict[str, Any] = {"clock_ms": lambda: FIRST_MS, "wait": lambda _: None}
        cache = PartCache(2**20)
        folding = FoldingWorker(
            self.store, self, folder, labels, name=name, link_topic=self.links.topic, cache=cache, **own
        )
        identity = IdentityWriter(
            RedisStore(url, generation, self.rules.shared_above), self, self.rules, labels, name=f"{name}.i",
            links=self.links, **own,
        )  # fmt: skip
        self.worker = RoutingWorker(folding, identity, self.links)
        lanes = [Lane(topic, 0) for topic in (*DOMAIN_TOPICS, COMMAND_TOPIC)] + [self.links]
        self.worker.take(lanes)
        self._at: dict[Lane, int] = dict.fromkeys(lanes, 0)

    def produce(self, topic: str, key: bytes | None, value: bytes | None) -> None:
        """What a worker produces, and what a test does."""
        records = self.log.setdefault(topic, [])
        at_ms = FIRST_MS + 1_000 * self._count
        self._count += 1
        records.append(Record(topic, 0, len(records), at_ms, key, value, []))

    def flush(self) -> None:
        """Everything is acknowledged."""

    def tell(self, kind: str, subject: str, /, *names: str, **data: Any) -> None:
        """Write an event of this subject that states these identifiers, and fold it; facts wait."""
        stated = [dict(zip(("type", "value"), name.split(":", 1), strict=True)) for name in names]
        event = {
            "specversion": "1.0", "id": str(self._count), "source": "test", "type": kind, "subject": subject,
            "data": {**data, **({"identifiers": stated} if stated else {})},
        }  # fmt: skip
        self.produce(topic_of(kind), subject.encode(), json.dumps(event).encode())

    def command(self, word: str, subject: str, other: str, actor: str = "ada") -> None:
        """Write a command, `link` or `unlink`."""
        self.tell(f"identity.{word}", subject, subject=subject, other=other, actor=actor, reason="asked")

    def settle(self, *, placed: bool = True) -> None:
        """Fold everything, and place everybody; or leave the graph's facts where they are."""
        moved = True
        while moved:
            moved = False
            for lane, at in self._at.items():
                if lane == self.links and not placed:
                    continue
                records = self.log.get(lane.topic, [])[at:]
                if records:
                    consumed, end = [as_consumed(record) for record in records], at + len(records)
                    assert self.worker.step([Batch(lane, at, consumed, end, end)]) == {}
                    self._at[lane], moved = end, True

    def look(self, *names: str, **options: Any) -> Answer:
        """Look these names up."""
        return lookup(self.reader, names, self.rules, **options)

    def call(self, *names: str) -> dict[str, Any]:
        """The same in one call of Redis; names are normalised here, as docs/redis.md asks of callers."""
        arguments: list[str] = []
        for name in names:
            normal = self.rules.parse(name)
            arguments += ["customer", name] if name.startswith("cus_") else normal or name.split(":", 1)
        answer = json.loads(self.client.execute_command("FCALL_RO", "scv_lookup", 1, "scv", *arguments))
        assert answer.keys() == SHOWN
        return answer

    def both(self, *names: str) -> Answer:
        """Look these names up both ways; they must say the same."""
        answer, called = self.look(*names), self.call(*names)
        customers = [(one["customer_id"], one["reasons"]) for one in answer.candidates]
        if answer.match != "none":
            assert [(one["customer_id"], one["reasons"]) for one in called["customers"]] == customers
        else:
            assert called["customers"] == []
        assert (called["match"], called["merged_into"]) == (answer.match, answer.merged_into)
        assert len(called["unknown"]) == len(answer.unknown)
        assert_same_profile(answer.profile, called["profile"])
        self.straight(*names)
        return answer

    def straight(self, *names: str) -> Found:
        """What a server finds of these names: in one call what it finds by keys; and nobody else."""
        ways = [way for name in names for way in spellings(name, self.rules)]

        async def ask() -> tuple[Found, Found]:
            reader = ServingReader(self.url)
            try:
                return await reader.find(ways, ["summary"]), await reader._found_by_keys(ways, ["summary"])
            finally:
                await reader.close()

        found, by_keys = asyncio.run(ask())
        assert found == by_keys
        if found.stored is not None and not any(way.startswith("cus_") for way in ways):
            answer = self.look(*names)
            assert answer.profile is not None
            assert answer.profile["customer_id"] == found.stored.customer_id
            assert answer.profile["summary"] == msgspec.json.decode(found.stored.sections["summary"])
        return found

    def write(self, founder: str, version: str = "1.1", state: str = "live", **summary: Any) -> str:
        """Store a profile or a tombstone directly; gives its id."""
        customer = customer_id(founder)
        held = {"summary": summary, "meta": {"version": version}} if state == "live" else {}
        sections = {name: msgspec.json.encode(section) for name, section in held.items()}
        self.store.put_profiles(
            [ProfileWrite(customer, version, founder, version, None, sections, state=state)]
        )
        return customer

    def enter(self, name: str, *customers: tuple[str, str], stamp: int = 1) -> None:
        """Store whom a name leads to directly: founders, with the status of each."""
        entries = tuple((customer_id(founder), status) for founder, status in customers)
        self.store.place({}, {name: Entry(stamp, entries)})

    def merges(self) -> list[dict[str, Any]]:
        """What `customer.merges` was told."""
        return [msgspec.json.decode(record.value or b"") for record in self.log.get("customer.merges", [])]

    def close(self) -> None:
        """Let go of all connections."""
        self.worker.close()
        self.reader.close()
        self.client.close()


def assert_same_profile(document: Mapping[str, Any] | None, called: Mapping[str, Any] | None) -> None:
    """Python's document says what the one call gives, where sections that nothing fills are left out."""
    assert (document is None) == (called is None)
    if document is None or called is None:
        return
    assert called["version"] == document["meta"]["version"]
    for name, section in called.items():
        if name != "version":
            assert document[name] == section, name
