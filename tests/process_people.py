"""People known by several subjects, and what is decided about who is who: records to put among others.

Guarantees:
- The same seed gives the same records; each lane gets a key's records as `tests.histories` spreads them.
- It never comes to rest: new people appear, new identifiers, and new phones that turn out to be shared only
  after they have merged customers; persons and programs link, unlink and verify, and contradict each other.
"""

from __future__ import annotations

import json
import random
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple
from zlib import crc32

from models.catalogue import COMMAND_TOPIC, DOMAIN_TOPICS
from models.record import Lane, Record

COMMANDS = Lane(COMMAND_TOPIC, 0)
# An event of each domain that needs little data.
PLAIN: Mapping[str, tuple[str, dict[str, Any]]] = {
    "marketing.events": ("marketing.page_viewed", {"page": "/"}),
    "sales.events": ("sales.basket_abandoned", {"basket_id": "B-1", "amount_minor": 1, "currency": "EUR"}),
    "service.events": ("service.service_interrupted", {"outage_id": "O-1"}),
    "billing.events": ("billing.payment_failed", {"code": "card_expired"}),
}
ACTORS = ("clerk", "clerk", "E-7", "matcher/splink", "matcher/other")
# Of all records; of these, the commands.
PEOPLE_SHARE = 0.15
COMMAND_SHARE = 0.2
# Who has to do with each other, by the order of appearance. Circles do not meet, so that no component gets so
# large that the graph does little else.
CIRCLE = 6
# Circles that something happens to now; one more person appears every so many records.
CIRCLES = 2
PERSON_EVERY = 30
# Subjects of the histories that these records go among: they have much to merge.
KNOWN_FIRST, KNOWN = 1_000, 112


class Person(NamedTuple):
    """Somebody, as sources know them."""

    number: int
    subjects: tuple[str, ...]
    identifiers: tuple[tuple[str, str], ...]


class People:
    """Everybody so far; `next` is the next thing that happens to one of them."""

    def __init__(self, seed: int, partitions: int | Mapping[str, int]) -> None:
        self.seed, self.rng, self.partitions = seed, random.Random(seed), partitions
        self.count = 0
        self.persons = [self._person(number) for number in range(CIRCLES * CIRCLE)]
        self.pairs: deque[tuple[str, str]] = deque(maxlen=8)

    def next(self) -> Record:
        """A visit or a command."""
        self.count += 1
        if self.count % PERSON_EVERY == 0:
            self.persons.append(self._person(len(self.persons)))
        if self.rng.random() < COMMAND_SHARE:
            return self._command()
        return self._visit()

    def _person(self, number: int) -> Person:
        """Two to four subjects, some of them those of a history."""
        subjects = [f"{source}:p{number}" for source in ("crm", "billing", "web", "shop")]
        first = KNOWN_FIRST + 4 * number
        if first + 4 <= KNOWN_FIRST + KNOWN and self.rng.random() < 0.5:
            place = self.rng.randrange(4)
            subjects[place] = f"{subjects[place].split(':')[0]}:{first + place}"
        self.rng.shuffle(subjects)
        identifiers = [("email", f"Person-{number}@Example.com"), ("phone", f"030 9{number:06}")]
        identifiers.append(("loyalty_card", f"l-{number}"))
        return Person(number, tuple(subjects[: self.rng.choice((2, 3, 4))]), tuple(identifiers))

    def _somebody(self) -> Person:
        """Most often one of the latest circles."""
        latest = self.persons[-CIRCLES * CIRCLE :]
        return self.rng.choice(latest if self.rng.random() < 0.8 else self.persons)

    def _around(self, person: Person) -> Person:
        """One of the person's circle."""
        first = person.number - person.number % CIRCLE
        return self.rng.choice(self.persons[first : first + CIRCLE])

    def _visit(self) -> Record:
        person, chance = self._somebody(), self.rng.random()
        subject = self.rng.choice(person.subjects)
        stated = [self.rng.choice(person.identifiers)]
        if chance < 0.15:
            # Two at a time: sooner or later too many people have stated one.
            office = person.number // CIRCLE * 10 + self.rng.randrange(2)
            stated.append(("phone", f"030 8{office:06}"))
        elif chance < 0.25:
            stated.append(("browser_id", f"b-{self.seed}-{self.count}"))
        elif chance < 0.32:
            stated.append(tuple(self.rng.choice(person.subjects).split(":", 1)))
        elif chance < 0.36:
            stated = []
        topic = self.rng.choice(DOMAIN_TOPICS)
        kind, data = PLAIN[topic]
        named = [
            {"type": kind, "value": value, "verified": self.rng.random() < 0.2} for kind, value in stated
        ]
        return self._record(topic, subject, kind, {**data, "identifiers": named})

    def _command(self) -> Record:
        if not self.pairs or self.rng.random() < 0.4:
            one = self._somebody()
            other = self._around(one)
            ends = [*other.subjects, *(f"{kind}:{value}" for kind, value in other.identifiers)]
            self.pairs.append((self.rng.choice(one.subjects), self.rng.choice(ends)))
        subject, other = self.rng.choice(self.pairs)
        data: dict[str, Any] = {"actor": self.rng.choice(ACTORS), "reason": "seen", "subject": subject}
        kind = self.rng.choice(("link", "link", "unlink", "verify"))
        if kind == "verify":
            named, _, value = other.partition(":")
            data |= {"identifier_type": named, "identifier_value": value}
        else:
            # Equal ends are no command, but garbage.
            data["other"] = other
        return self._record(COMMAND_TOPIC, subject, f"identity.{kind}", data)

    def _record(self, topic: str, subject: str, kind: str, data: dict[str, Any]) -> Record:
        event = {"specversion": "1.0", "id": f"{self.seed}-{self.count}", "source": "desk", "type": kind}
        value = json.dumps({**event, "subject": subject, "time": "2026-01-01T00:00:00Z", "data": data})
        key = subject.encode()
        count = self.partitions if isinstance(self.partitions, int) else self.partitions.get(topic, 1)
        partition = 0 if topic == COMMAND_TOPIC else crc32(key) % count
        return Record(topic, partition, 0, 0, key, value.encode(), [])


def among(records: Iterable[Record], seed: int, partitions: int | Mapping[str, int]) -> Iterator[Record]:
    """These records, in their order, with what happens to people in between, at the time of what follows."""
    people = People(seed, partitions)
    for record in records:
        while people.rng.random() < PEOPLE_SHARE:
            yield people.next()._replace(timestamp_ms=record.timestamp_ms)
        yield record
