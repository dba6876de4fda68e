"""One person's life as events: what every chapter of it is written with.

Invariants:
- Nothing is told that lies after the life's `until`: what would have come later has not happened yet.
- A day is counted back from `until`, so that a population looks the same whenever it is made.
- Ids are the person's number and a running number: unique, and the same in every run of a seed.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import msgspec

from models.catalogue import topic_of
from models.event import EVENT_TYPES
from ops.people import Country, Person

# Waking hours, and how busy each is.
HOURS = range(7, 23)
HOUR_WEIGHTS = (2, 3, 4, 5, 5, 5, 5, 4, 4, 4, 5, 6, 8, 8, 6, 3)


class Happening(NamedTuple):
    """One record of the population: where it goes, and when it happened."""

    topic: str
    key: bytes
    value: bytes
    at: datetime


class Life:
    """What happens to one subject; `mood` falls with disappointments and rises with good service."""

    def __init__(
        self, person: Person, rng: Random, until: datetime, days: int, subject: str | None = None
    ) -> None:
        self.person, self.rng, self.until, self.days = person, rng, until, days
        self.subject = subject or person.subject
        self.mood = rng.gauss(0.4, 0.8)
        self._zone = ZoneInfo(person.country.zoneinfo)
        self._count = 0
        self._told: list[Happening] = []

    @property
    def country(self) -> Country:
        """Where the person lives."""
        return self.person.country

    def tell(self, wire_type: str, at: datetime, source: str, **data: Any) -> str | None:
        """This happened; its id, or None when it lies in the future. What is None is left out."""
        if at >= self.until:
            return None
        self._count += 1
        event_id = f"{self.subject.partition(':')[2]}-{self._count}"
        event = {
            "specversion": "1.0",
            "id": event_id,
            "source": source,
            "type": wire_type,
            "time": instant(at),
            "subject": self.subject,
            "data": {name: value for name, value in data.items() if value is not None},
        }
        if EVENT_TYPES[wire_type].version > 1:
            event["dataschema"] = f"https://scv.example/schemas/{wire_type}/{EVENT_TYPES[wire_type].version}"
        value = msgspec.json.encode(event)
        self._told.append(Happening(topic_of(wire_type), self.subject.encode(), value, at))
        return event_id

    def told(self) -> Iterator[Happening]:
        """All that happened, in the order in which it was told."""
        yield from self._told

    def day(self, days_ago: float) -> datetime:
        """A waking hour of the person's own day, so many days before the end."""
        date = (self.until - timedelta(days=days_ago)).date()
        hour = self.rng.choices(HOURS, HOUR_WEIGHTS)[0]
        local = datetime(
            date.year,
            date.month,
            date.day,
            hour,
            self.rng.randrange(60),
            self.rng.randrange(60),
            tzinfo=self._zone,
        )
        return local.astimezone(UTC)

    def later(self, at: datetime, low_hours: float, high_hours: float) -> datetime:
        """Some time after `at`, to the second."""
        return at + timedelta(seconds=int(self.rng.uniform(low_hours, high_hours) * 3600))

    def after_days(self, at: datetime, low: int, high: int) -> datetime:
        """Some days after `at`, at a waking hour."""
        moved = at + timedelta(days=self.rng.randint(low, high))
        return max(
            at + timedelta(minutes=5),
            moved.replace(hour=self.rng.randint(7, 20), minute=self.rng.randrange(60)),
        )

    def chance(self, share: float) -> bool:
        """True in that share of cases."""
        return self.rng.random() < share

    def price(self, euro_cents: int) -> int:
        """What costs so many euro cents costs this, in the smallest unit of the person's currency."""
        return max(1, euro_cents * self.country.price_percent // 1000 * 10)

    def id(self, prefix: str) -> str:
        """A name for an order, case, invoice… that no other life uses."""
        self._count += 1
        return f"{prefix}-{self.subject.partition(':')[2]}-{self._count}"


def instant(at: datetime) -> str:
    """RFC 3339, in UTC."""
    return at.isoformat().replace("+00:00", "Z")
