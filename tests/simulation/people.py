"""Records that make identities meet: events that state each other's names, and commands on who is who.

Guarantees:
- A function of the generator it is given.
- Few names for many, so that customers merge, split, exchange members and share identifiers within dozens of
  records; some arrive with earlier log times than what was told before.
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from typing import Any

from models.catalogue import COMMAND_TOPIC
from models.identifiers import is_employee
from models.record import Lane, Record
from models.rules import IdentityRules

COMMANDS = Lane(COMMAND_TOPIC, 0)
# An event of each domain that needs no data, so that a lane of any can tell of identifiers.
PLAIN = {
    "marketing.events": ("marketing.page_viewed", {"page": "/"}),
    "sales.events": ("sales.basket_abandoned", {"basket_id": "B-1", "amount_minor": 1, "currency": "EUR"}),
    "service.events": ("service.service_interrupted", {"outage_id": "O-1"}),
    "billing.events": ("billing.payment_failed", {"code": "card_expired"}),
}
IDENTIFIERS = (
    ("email", "ada@example.com"), ("email", " Ada@Example.com"), ("email", "bo@example.com"),
    ("phone", "030 901820"), ("phone", "+49 30 901820"), ("phone", "+44 20 7946 0000"),
    ("loyalty_card", "AbC"), ("cookie", "c-1"), ("employee", "E-7"), ("email", "noreply@shop.example"),
)  # fmt: skip
ACTORS = ("clerk", "E-7", "matcher/splink", "matcher/other")
# When histories begin, and how long they take.
BEGIN_MS = 1_735_689_600_000
SPAN_MS = 400 * 86_400_000


def is_subject(name: str) -> bool:
    """Whether a key names somebody who can become a customer."""
    return ":" in name and name.isprintable() and not is_employee(name) and "\ufffd" not in name


def rules(rng: random.Random) -> IdentityRules:
    """Rules under which little is shared, and much is too large."""
    return IdentityRules(
        shared_above=rng.choice((1, 2, 2, 3, 5)), component_max=rng.choice((1_000, 1_000, 3, 5, 8))
    )


def meeting(rng: random.Random, subjects: Sequence[str], lane: Lane, at: int, count: int) -> list[Record]:
    """So many records for the end of a lane, which has `at` already."""
    kind, data = PLAIN[lane.topic]
    records = []
    for offset in range(at, at + count):
        subject = rng.choice(subjects)
        names = rng.sample(IDENTIFIERS, rng.choice((0, 1, 1, 2)))
        if rng.random() < 0.3:
            names.append(tuple(rng.choice(subjects).split(":", 1)))
        stated = [{"type": one, "value": value, "verified": rng.random() < 0.2} for one, value in names]
        event = _event(kind, subject, f"meeting-{offset}", {**data, "identifiers": stated})
        records.append(_record(rng, lane, offset, subject, event))
    return records


def commands(rng: random.Random, subjects: Sequence[str], count: int) -> list[Record]:
    """The lane of commands: link, unlink and verify, on few pairs, so that they contradict each other."""
    pairs = []
    for _ in range(rng.choice((1, 2, 4))):
        one, other = rng.choice(subjects), rng.choice(subjects)
        pairs.append(
            (one, ":".join(rng.choice(IDENTIFIERS)) if one == other or rng.random() < 0.2 else other)
        )
    records = []
    for offset in range(count):
        subject, other = rng.choice(pairs)
        if ":" in other and other in subjects and rng.random() < 0.4:
            subject, other = other, subject
        data: dict[str, Any] = {"actor": rng.choice(ACTORS), "reason": "seen", "subject": subject}
        kind = rng.choice(("link", "link", "link", "unlink", "verify"))
        if kind == "verify":
            named, value = rng.choice(IDENTIFIERS)
            data |= {"identifier_type": named, "identifier_value": value}
        else:
            data["other"] = other
        event = _event(f"identity.{kind}", subject, f"command-{offset}", data)
        if rng.random() < 0.05:
            event = {"no": "event"}
        records.append(_record(rng, COMMANDS, offset, subject, event))
    return records


def _event(kind: str, subject: str, event_id: str, data: dict[str, Any]) -> dict[str, Any]:
    envelope = {"specversion": "1.0", "id": event_id, "source": "desk", "type": kind, "subject": subject}
    return {**envelope, "time": "2026-01-01T00:00:00Z", "data": data}


def _record(rng: random.Random, lane: Lane, offset: int, subject: str, event: dict[str, Any]) -> Record:
    logged_ms = BEGIN_MS + rng.randrange(SPAN_MS)
    return Record(*lane, offset, logged_ms, subject.encode(), json.dumps(event).encode(), [])
