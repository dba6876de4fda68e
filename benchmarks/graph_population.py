"""Who is measured: customers of three sources that belong together; people on a second household's phone.

Guarantees:
- The same arguments give the same facts, in the same order, on every machine.
- The events of a population say exactly what its facts say; facts are as lanes tell them, one that a subject
  was seen and one for each identifier.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random
from typing import NamedTuple

import msgspec

from benchmarks.load import FIRST_AT, Sent, email_of, phone_of
from eventlog.topics import BILLING, MARKETING, SALES
from models.link import LinkFact

# Facts of one customer: three subjects, each seen once and known by two identifiers.
FACTS_EACH = 9
BEGIN_US = int(FIRST_AT.timestamp()) * 1_000_000
# Of a hundred people so many also state the phone of a household that is not theirs.
SECOND_PHONE_PERCENT = 40
# Who may live in one household, and how many people may state one phone: fewer than make it shared.
HOUSEHOLD_MAX, STATED_MAX = 3, 4

_write = msgspec.json.Encoder().encode


class Told(NamedTuple):
    """What a source says once: of a subject, in its topic, the identifiers (type, value, verified)."""

    topic: str
    subject: str
    identifiers: tuple[tuple[str, str, bool], ...]


def customers(count: int, seed: int = 1) -> list[Told]:
    """What three sources say of so many customers: the email joins two, the phone the third; shuffled."""
    told: list[Told] = []
    for number in range(count):
        email, phone = email_of(number), phone_of(number)
        told += [
            Told(SALES, f"crm:{number}", (("email", email, True), ("phone", phone, False))),
            Told(MARKETING, f"web:{number}", (("email", email, False), ("browser_id", f"b-{number}", False))),
            Told(
                BILLING, f"billing:{number}", (("phone", phone, True), ("loyalty_card", f"L-{number}", True))
            ),
        ]
    Random(seed).shuffle(told)
    return told


def facts(told: Sequence[Told]) -> Iterator[LinkFact]:
    """The link facts of it, in its order; each topic has one lane here."""
    offsets: dict[str, int] = {}
    for number, (topic, subject, identifiers) in enumerate(told):
        offset = offsets[topic] = offsets.get(topic, -1) + 1
        lane, log_us = f"{topic}-0", BEGIN_US + number * 1_000_000
        yield LinkFact(subject, lane, offset, log_us)
        for kind, value, verified in identifiers:
            yield LinkFact(subject, lane, offset, log_us, f"{kind}:{value}", verified)


def events(told: Sequence[Told]) -> Iterator[Sent]:
    """The events that say it: an order, a page seen, an invoice."""
    return (event(one, number) for number, one in enumerate(told))


def event(told: Told, number: int) -> Sent:
    """Event `number`, which says this."""
    data = _DATA[told.topic](number)
    data["identifiers"] = [
        {"type": kind, "value": value} | ({"verified": True} if verified else {})
        for kind, value, verified in told.identifiers
    ]
    wire_type, source = _KINDS[told.topic]
    whole = {
        "specversion": "1.0",
        "id": f"01JGVY{number:020}",
        "source": source,
        "type": wire_type,
        "time": FIRST_AT.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "subject": told.subject,
        "data": data,
    }
    return Sent(told.topic, told.subject.encode(), _write(whole))


_KINDS = {
    SALES: ("sales.order_placed", "shop/checkout"),
    MARKETING: ("marketing.page_viewed", "web/tracking"),
    BILLING: ("billing.invoice_issued", "erp/invoicing"),
}
_DATA = {
    SALES: lambda number: {
        "order_id": f"O-{number}", "amount_minor": 4_990, "currency": "EUR", "channel": "web",
    },
    MARKETING: lambda number: {"page": f"/catalogue/article-{number % 300}", "channel": "web"},
    BILLING: lambda number: {
        "invoice_id": f"I-{number}", "amount_minor": 4_990, "currency": "EUR",
        "due_at": "2025-12-31T00:00:00Z",
    },
}  # fmt: skip


def households(people: int, seed: int = 1) -> list[Told]:
    """People with an email, a browser and their household's phone; two of five state another's phone, too.

    A phone is stated by at most `STATED_MAX` people: none is ever shared by count.
    """
    random = Random(seed)
    homes: list[list[int]] = []
    number = 0
    while number < people:
        size = min(random.randint(1, HOUSEHOLD_MAX), people - number)
        homes.append(list(range(number, number + size)))
        number += size
    stated = [len(home) for home in homes]
    told: list[Told] = []
    for home, members in enumerate(homes):
        for person in members:
            phones = [home]
            if random.randrange(100) < SECOND_PHONE_PERCENT:
                phones.append(_second(random, stated, home))
            known = [("email", email_of(person), True), *[("phone", phone_of(one), False) for one in phones]]
            told.append(Told(SALES, f"crm:{person}", tuple(known)))
            told.append(Told(MARKETING, f"web:{person}", (("email", email_of(person), False),)))
    random.shuffle(told)
    return told


def _second(random: Random, stated: list[int], own: int) -> int:
    """A household of others whose phone may still be stated by one more."""
    while True:
        other = random.randrange(len(stated))
        if other != own and stated[other] < STATED_MAX:
            stated[other] += 1
            return other
