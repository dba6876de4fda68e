"""A log and the view of it, for replays: records in a real broker, folded by the workers' own code.

Guarantees:
- What Kafka holds and what was folded are the same records, at the same offsets and log times.
- Each topic has one lane; the broker is the embedded one, which keeps the log times that it is given.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

from confluent_kafka import Producer

from api.replaying import Installation, Replayer
from eventlog.admin import create_topics
from models.catalogue import COMMAND_TOPIC, DOMAIN_TOPICS
from models.link import LinkFact, read_link_fact
from models.record import Lane, Record
from models.rules import IdentityRules
from models.settings import Settings
from tests.histories import history
from tests.lookup_world import GENERATION, LINKS, LookupWorld
from tests.simulation import people

SOURCES = (*DOMAIN_TOPICS, COMMAND_TOPIC)


class ReplayWorld:
    """An empty view, and what was written to it; `sync` writes to Kafka what was told since."""

    def __init__(self, kafka: str, redis: str, rules: IdentityRules | None = None) -> None:
        create_topics(kafka, 1)
        self.kafka, self.redis = kafka, redis
        self.folded = LookupWorld(redis, rules)
        self._written: dict[str, int] = {}
        self._producer = Producer({"bootstrap.servers": kafka, "acks": "all", "log_level": 0})

    @property
    def replayer(self) -> Replayer:
        """A replayer of this view."""
        return Replayer(
            Installation(
                self.kafka, self.redis, GENERATION, self.folded.rules, Settings().trust, Settings().config
            )
        )

    @property
    def records(self) -> list[Record]:
        """All that sources have written."""
        return [record for topic in SOURCES for record in self.folded.log.get(topic, [])]

    @property
    def facts(self) -> list[LinkFact]:
        """All that the identity graph has heard."""
        heard = (read_link_fact(record.value) for record in self.folded.log.get(LINKS.topic, []))
        return [fact for fact in heard if fact is not None]

    def load(self, lanes: Sequence[Sequence[Record]]) -> None:
        """Write these lanes, fold all of it, and place everybody."""
        for lane in lanes:
            self.folded.log.setdefault(lane[0].topic, []).extend(lane)
        self.settle()

    def settle(self) -> None:
        """Fold what was told, and write it to Kafka."""
        self.folded.settle()
        self.sync()

    def sync(self) -> None:
        """Write to Kafka what was told since."""
        for topic in SOURCES:
            records = self.folded.log.get(topic, [])
            for record in records[self._written.get(topic, 0) :]:
                headers: Any = list(record.headers) or None
                self._producer.produce(
                    topic, record.value, record.key, 0, timestamp=record.timestamp_ms, headers=headers
                )
            self._written[topic] = len(records)
        assert self._producer.flush(30) == 0

    def close(self) -> None:
        """Let go of all connections."""
        self.folded.close()


def meeting_history(seed: int, events: int = 260) -> list[list[Record]]:
    """A history whose subjects meet: they state each other's names, and commands link and part them."""
    rng = Random(seed)
    lanes = history(seed, subjects=10, events=events, partitions=1, bursts=1)
    lanes = [lane for lane in lanes if lane[0].topic in DOMAIN_TOPICS]
    subjects = sorted(
        {
            name
            for lane in lanes
            for record in lane
            if record.key and people.is_subject(name := record.key.decode(errors="replace"))
        }
    )
    lanes = [
        [*lane, *people.meeting(rng, subjects, Lane(lane[0].topic, 0), len(lane), rng.choice((3, 8)))]
        for lane in lanes
    ]
    return [*lanes, people.commands(rng, subjects, rng.choice((2, 6)))]
