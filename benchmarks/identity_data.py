"""The FEBRL records as the events of several sources, and who is truly who.

Guarantees:
- A subject is a source and the number of a line: nothing of the truth is in it.
- The number that FEBRL gives each person (`soc_sec_id`) is left out for all contenders alike: it would settle
  nearly everything, and few companies have such a number of their customers.
- What is wrong in the file stays wrong: typing errors, swapped fields, dates that do not exist.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple
from zlib import crc32

import msgspec

from models.composite import PERSON_KEY, person_keys
from ops.suggesting import Traits

FOLDER = Path(__file__).parent.parent / "data" / "febrl"
SETS = ("dataset2", "dataset3")
SOURCES = ("form", "call", "guest", "newsletter")
# When the first line was written; the others follow a second apart.
BEGIN = datetime(2026, 1, 5, 8, tzinfo=UTC)
# The records of every so manieth person, for a quick look.
QUICK_SHARE = 4


class Person(NamedTuple):
    """One record: its subject, the person it truly is of, and what a source holds."""

    subject: str
    truth: str
    given_name: str | None
    family_name: str | None
    birthdate: str | None
    street_address: str | None
    postal_code: str | None
    locality: str | None
    region: str | None

    @property
    def traits(self) -> Traits:
        """The record as it goes straight into a comparison."""
        return Traits(self.subject, *self[2:8])


class Sent(NamedTuple):
    """A record as a source writes it."""

    topic: str
    key: bytes
    value: bytes


def people(name: str, *, quick: bool = False) -> list[Person]:
    """The records of a set, in the order of the file; `quick`: all those of a quarter of the people."""
    with (FOLDER / f"{name}.csv").open(newline="") as file:
        rows = csv.DictReader(file, skipinitialspace=True)
        found = [_person(number, row) for number, row in enumerate(rows, 1)]
    return [one for one in found if not quick or crc32(one.truth.encode()) % QUICK_SHARE == 0]


def _person(number: int, row: dict[str, str]) -> Person:
    held = {column: value.strip() or None for column, value in row.items()}
    born = held["date_of_birth"]
    street = " ".join(part for part in (held["street_number"], held["address_1"]) if part)
    return Person(
        f"{SOURCES[crc32(str(number).encode()) % len(SOURCES)]}:{number}",
        (held["rec_id"] or "").split("-")[1],
        held["given_name"],
        held["surname"],
        f"{born[:4]}-{born[4:6]}-{born[6:]}" if born else None,
        street or None,
        held["postcode"],
        held["suburb"],
        held["state"],
    )


def truth_of(records: Iterable[Person]) -> dict[str, str]:
    """Per subject: whom it is truly of."""
    return {one.subject: one.truth for one in records}


def events(records: Sequence[Person], *, keyed: bool) -> Iterator[Sent]:
    """What the sources write; `keyed`: with composite identifiers. Guests are known by an order as well."""
    for number, one in enumerate(records):
        at = (BEGIN + timedelta(seconds=number)).isoformat().replace("+00:00", "Z")
        keys = person_keys(one.given_name, one.family_name, one.birthdate, one.postal_code) if keyed else []
        identifiers = [{"type": PERSON_KEY, "value": key} for key in keys]
        profile = {
            "given_name": one.given_name,
            "family_name": one.family_name,
            "birthdate": one.birthdate,
            "address": {
                "use": "home",
                "street_address": one.street_address,
                "postal_code": one.postal_code,
                "locality": one.locality,
                "region": one.region,
                "country": "AU",
            },
            "identifiers": identifiers,
        }
        if one.subject.startswith("guest:"):
            order = {"order_id": f"O-{number}", "amount_minor": 4990, "currency": "AUD", "channel": "web"}
            yield _sent(
                "sales.events", "sales.order_placed", one.subject, at, {**order, "identifiers": identifiers}
            )
        yield _sent("marketing.events", "marketing.profile_updated", one.subject, at, profile)


def _sent(topic: str, wire_type: str, subject: str, at: str, data: dict[str, object]) -> Sent:
    event = {
        "specversion": "1.0",
        "id": f"{wire_type}:{subject}",
        "source": f"intake/{subject.partition(':')[0]}",
        "type": wire_type,
        "time": at,
        "subject": subject,
        "data": data,
    }
    return Sent(topic, subject.encode(), msgspec.json.encode(event))
