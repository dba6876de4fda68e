"""The demo's story of who is who: one customer from four systems, a shared phone, a wrong merge taken apart.

Invariants:
- Nothing is staged: the events go through the log and the workers, and what is told is what a look-up gives.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from api.lookup import Answer
from eventlog.producing import LogProducer
from models.catalogue import topic_of
from ops.answers import say
from ops.failures import Exit, Failure
from ops.installation import Installation

# Folded, placed and assembled takes a few hundredths of a second.
WAIT_SECONDS_MAX = 30.0
LOOK_EVERY_SECONDS = 0.05

# In the population: the number of an office, which all who work there state.
OFFICE = "phone:+496990009000"
NORA, OTTO = "crm:9001", "shop:9002"
EMAIL = {"type": "email", "value": "nora@example.com"}
PHONE = {"type": "phone", "value": "+4930901999"}
# What four systems know of her, each by a name of its own.
STEPS: tuple[tuple[str, str, str, dict[str, Any]], ...] = (
    ("a visit to the web site", "marketing.page_viewed", "web:visitor-9001",
     {"page": "/prices", "identifiers": [EMAIL]}),
    ("an order in a store", "sales.order_placed", NORA,
     {"order_id": "O-9001", "amount_minor": 7990, "currency": "EUR", "channel": "store",
      "identifiers": [EMAIL]}),
    ("an invoice", "billing.invoice_issued", "billing:A-9001",
     {"invoice_id": "I-9001", "amount_minor": 7990, "currency": "EUR", "due_at": "2030-01-31T00:00:00Z",
      "identifiers": [{"type": "crm", "value": "9001"}, PHONE]}),
    ("a call", "service.conversation_held", "service:call-9001",
     {"conversation_id": "V-9001", "seconds": 240, "channel": "phone", "identifiers": [PHONE]}),
)  # fmt: skip
MISTAKEN = (
    "sales.order_placed",
    OTTO,
    {
        "order_id": "O-9002",
        "amount_minor": 129900,
        "currency": "EUR",
        "channel": "web",
        "identifiers": [EMAIL],
    },
)
APART = {
    "subject": NORA,
    "other": OTTO,
    "actor": "E-7",
    "reason": "Otto's order was typed in with Nora's address",
}


def tell_identity(installation: Installation, look_up: Callable[[str], Answer]) -> None:
    """Play the story against a running installation; `look_up` answers for a name. Failure."""
    sharing = look_up(OFFICE).candidates
    if sharing:
        status = sharing[0]["reasons"][0]["status"]
        say(
            f"A call from an office, {OFFICE}: {len(sharing)} customers, {status}; nobody is picked silently."
        )
    say("Who is who, live: four systems know Nora, each by another name.")
    members: list[str] = []
    with LogProducer(installation.settings.kafka, client_id="scv-demo", linger_ms=0) as producer:
        for what, wire_type, subject, data in STEPS:
            _produce(producer, wire_type, subject, data)
            members.append(subject)
            profile = _wait(look_up, subject, members)
            say(f"  {what:<24} {subject:<20} {profile['customer_id']}, {_known_as(profile)}")
        say("A clerk types her address into Otto's order, and the two become one customer:")
        _produce(producer, *MISTAKEN)
        profile = _wait(look_up, OTTO, [*members, OTTO])
        say(f"  {'a wrong merge':<24} {OTTO:<20} {profile['customer_id']}, {_spent(profile)}")
        say("An agent says so, and both are again what they were:")
        _produce(producer, "identity.unlink", NORA, APART)
        for name, whole in ((NORA, members), (OTTO, [OTTO])):
            profile = _wait(look_up, name, whole)
            say(f"  {'taken apart':<24} {name:<20} {profile['customer_id']}, {_spent(profile)}")


def _produce(producer: LogProducer, wire_type: str, subject: str, data: Mapping[str, Any]) -> None:
    now = datetime.now(UTC)
    event = {
        "specversion": "1.0",
        "id": f"demo-{subject}-{now.timestamp():.6f}",
        "source": "scv/demo",
        "type": wire_type,
        "time": now.isoformat(),
        "subject": subject,
        "data": data,
    }
    producer.produce(topic_of(wire_type), subject.encode(), msgspec.json.encode(event))
    producer.flush()


def _wait(look_up: Callable[[str], Answer], name: str, members: list[str]) -> Mapping[str, Any]:
    """The profile under this name, once exactly these are its members."""
    deadline = time.monotonic() + WAIT_SECONDS_MAX
    while time.monotonic() < deadline:
        profile = look_up(name).profile
        if profile and {one["subject"] for one in profile["identity"]["subjects"]} == set(members):
            return profile
        time.sleep(LOOK_EVERY_SECONDS)
    raise Failure(
        Exit.FAILED,
        f"{name} has not become one customer with {', '.join(members)} in {WAIT_SECONDS_MAX:.0f} s; "
        "start again, and report it if it happens twice",
    )


def _known_as(profile: Mapping[str, Any]) -> str:
    count = len(profile["identity"]["subjects"])
    return "known by this name alone" if count == 1 else f"known by {count} names"


def _spent(profile: Mapping[str, Any]) -> str:
    spent = sum(one["net_minor"] for one in profile["sales"]["revenue"])
    return f"{_known_as(profile)}, spent {spent / 100:,.2f} EUR"
