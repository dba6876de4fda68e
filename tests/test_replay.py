"""Looking back: a replay to a time is what the oracle says that has heard nothing later.

Guarantees:
- Random customers and instants, by event time and by log time, with merges, splits and commands among them.
- Records come from a real broker, by the offsets that parts remember.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

import msgspec
import pytest

from api.replaying import Replayed, Replayer
from eventlog.embedded import EmbeddedBroker
from models.catalogue import COMMAND_TOPIC
from models.dead_letter import Fault
from models.record import Record
from projections.assembling import document
from projections.replay import Point
from stores.embedded import EmbeddedStore
from tests import oracle
from tests.graph_oracle import Expected, Reference
from tests.oracle_customer import Together
from tests.oracle_reading import german, told
from tests.replay_world import ReplayWorld, meeting_history
from tests.simulation import people

# Sixty customers and instants.
SEEDS = range(2)
INSTANTS, CUSTOMERS = 5, 6
# A thousand customers and instants by event time, and as many by log time.
CAMPAIGN_SEEDS = range(100, 120)
CAMPAIGN_INSTANTS, CAMPAIGN_CUSTOMERS = 5, 10


def comparable(made: dict[str, Any]) -> dict[str, Any]:
    """A document without where it was made; `meta` with the sum of revisions, as the oracle has it."""
    meta = {name: value for name, value in made["meta"].items() if name not in ("generation", "config")}
    if "version" in meta:
        meta["revisions"] = int(meta.pop("version").partition(".")[2])
    return {**made, "meta": dict(sorted(meta.items()))}


def shown(replayed: Replayed) -> dict[str, Any] | None:
    """The document of a replay."""
    made = replayed.profile
    if made is None:
        return None
    sections = {name: msgspec.json.decode(section) for name, section in made.sections.items()}
    return comparable(document(made.customer_id, made.founder, sections))


def expected(records: Sequence[Record], placed: Expected) -> dict[str, Any] | None:
    """What the oracle says of this customer after these records."""
    mine = [record for record in records if (record.key or b"").decode(errors="replace") in placed.members]
    customers = {placed.founder: Together(placed.members, placed.statuses, placed.related)}
    found = oracle.profiles(mine, customers=customers).get(placed.founder)
    return found and comparable(found)


def occurred_by(record: Record, at_us: int) -> bool:
    """Whether the record is an event that occurred by then."""
    if record.topic == COMMAND_TOPIC:
        return False
    event = told(record, german)
    return not isinstance(event, Fault) and event.key[0] <= at_us


class Looking:
    """One world, and the instants at which something happens in it."""

    def __init__(self, world: ReplayWorld, seed: int) -> None:
        self.world, self.rng = world, Random(seed)
        self.records, self.facts, self.rules = world.records, world.facts, world.folded.rules
        self.now = Reference(self.facts, self.rules)
        self.subjects = sorted({fact.subject for fact in self.facts if people.is_subject(fact.subject)})
        logged = [record.timestamp_ms * 1_000 for record in self.records]
        occurred = [
            event.key[0]
            for record in self.records
            if record.topic != COMMAND_TOPIC and not isinstance(event := told(record, german), Fault)
        ]
        self.instants = [*logged, *occurred]

    def instant(self) -> int:
        """That of an event or record, or just before it."""
        return self.rng.choice(self.instants) - self.rng.choice((0, 0, 1))

    def compare(self, replayer: Replayer, instants: int, customers: int) -> int:
        """Look back; gives how many profiles of the past were equal and not empty."""
        count = 0
        for _ in range(instants):
            at_us = self.instant()
            happened = [record for record in self.records if occurred_by(record, at_us)]
            known = [record for record in self.records if record.timestamp_ms * 1_000 <= at_us]
            then = Reference([fact for fact in self.facts if fact.log_us <= at_us], self.rules)
            both = [record for record in known if occurred_by(record, at_us)]
            for subject in self.rng.sample(self.subjects, min(customers, len(self.subjects))):
                today, before = self.now.placement_of(subject), self._placed(then, subject)
                assert today is not None
                for point, records, placed in (
                    (Point(as_of_us=at_us), happened, today),
                    (Point(known_us=at_us), known, before),
                    (Point(at_us, at_us), both, before),
                ):
                    found = shown(replayer.replay(subject, point))
                    wanted = None if placed is None else expected(records, placed)
                    assert found == wanted, (subject, point)
                    assert repr(found) == repr(wanted), f"{subject}, {point}: order or types"
                    count += found is not None
        return count

    @staticmethod
    def _placed(then: Reference, subject: str) -> Expected | None:
        return then.placement_of(subject) if subject in then.names else None


def look_back(kafka: str, redis: str, seed: int, instants: int, customers: int) -> int:
    """Write a history, fold it, look back."""
    world = ReplayWorld(kafka, redis, people.rules(Random(seed)))
    try:
        world.load(meeting_history(seed))
        with world.replayer as replayer:
            return Looking(world, seed).compare(replayer, instants, customers)
    finally:
        world.close()


@pytest.mark.parametrize("seed", SEEDS)
def test_a_customer_at_any_time_is_what_the_oracle_says(seed: int, embedded_store: EmbeddedStore) -> None:
    with EmbeddedBroker() as broker:
        assert look_back(broker.bootstrap, embedded_store.url, seed, INSTANTS, CUSTOMERS) > 10


@pytest.mark.campaign
@pytest.mark.parametrize("seed", CAMPAIGN_SEEDS)
def test_a_thousand_customers_and_instants_are_what_the_oracle_says(
    seed: int, embedded_store: EmbeddedStore
) -> None:
    with EmbeddedBroker() as broker:
        look_back(broker.bootstrap, embedded_store.url, seed, CAMPAIGN_INSTANTS, CAMPAIGN_CUSTOMERS)
