"""Events to measure with: four topics, customers of very different activity, 350 to 450 bytes an event.

Guarantees:
- The same arguments give the same bytes, on every machine.
- Every event is valid, and in the order in which its customer lived it: no delivery before its order.
- All instants lie in the past of any clock that runs this: none is clamped to the log's time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, NamedTuple

import msgspec

from eventlog.topics import BILLING, MARKETING, SALES, SERVICE

# Of ten events, so many state who the customer is, as web sites and call-center tools do at a log-in or call.
IDENTIFIED_OF_TEN = 3

FIRST_AT = datetime(2025, 1, 6, 8, 0, tzinfo=UTC)
# A load of a million events spans a quarter of a year.
APART = timedelta(seconds=8)

CAMPAIGNS, PAGES, PRODUCTS, EMPLOYEES, STORES = 40, 300, 800, 60, 25

_write = msgspec.json.Encoder().encode

Data = dict[str, Any]


class Sent(NamedTuple):
    """A record to produce."""

    topic: str
    key: bytes
    value: bytes


class Kind(NamedTuple):
    """One sort of event: its name, who tells it, how often it comes, what it says, what it follows."""

    topic: str
    wire_type: str
    source: str
    weight: int
    data: Callable[[Random, int, str], Data]
    follows: str | None = None


def _money(random: Random) -> int:
    return int(random.lognormvariate(8.3, 0.8))


def _page(random: Random, number: int, who: str) -> Data:
    page = random.randrange(PAGES)
    return {
        "page": f"/catalogue/department-{page % 12}/article-{page}",
        "campaign_id": f"CMP-{random.randrange(CAMPAIGNS)}",
        "channel": random.choice(("web", "app")),
        "touchpoint": f"browse.department-{page % 12}",
    }


def _opened(random: Random, number: int, who: str) -> Data:
    return {
        "campaign_id": f"CMP-{random.randrange(CAMPAIGNS)}",
        "channel": "email",
        "touchpoint": "newsletter.opened",
        "traits": {"mail_client": random.choice(("desktop", "mobile", "webmail"))},
    }


def _consent(random: Random, number: int, who: str) -> Data:
    return {
        "purpose": random.choice(("newsletter", "profiling", "partner_offers")),
        "channel": random.choice(("email", "phone", "mail")),
        "granted": random.random() < 0.7,
        "legal_basis": "consent",
        "proof": f"form 2025-{random.randrange(1, 13):02}, box ticked, double opt-in {number}",
    }


def _order(random: Random, number: int, who: str) -> Data:
    lines = [
        {"product_id": f"P-{random.randrange(PRODUCTS)}", "quantity": 1, "amount_minor": _money(random)}
        for _ in range(random.choice((1, 1, 2)))
    ]
    return {
        "order_id": f"O-{who}",
        "amount_minor": sum(line["amount_minor"] for line in lines),
        "currency": "EUR",
        "lines": lines,
        "channel": random.choice(("store", "web")),
        "store_id": f"ST-{random.randrange(STORES)}",
    }


def _delivered(random: Random, number: int, who: str) -> Data:
    return {
        "order_id": f"O-{who}",
        "promised_at": "2025-06-30T18:00:00Z",
        "outcome": "succeeded",
        "touchpoint": "delivery.door",
        "store_id": f"ST-{random.randrange(STORES)}",
    }


def _talk(random: Random, number: int, who: str) -> Data:
    return {
        "conversation_id": f"CV-{number}",
        "seconds": random.randrange(30, 900),
        "waiting_seconds": random.randrange(0, 240),
        "automated": random.random() < 0.4,
        "disposition": random.choice(("solved", "call_back", "not_solved")),
        "channel": random.choice(("phone", "chat")),
        "employee_id": f"E-{random.randrange(EMPLOYEES)}",
    }


def _case(random: Random, number: int, who: str) -> Data:
    return {
        "case_id": f"S-{who}",
        "topic": random.choice(("delivery.late", "billing.card_declined", "product.broken")),
        "priority": random.choice(("normal", "high")),
        "due_at": "2025-12-31T16:00:00Z",
        "channel": "phone",
        "employee_id": f"E-{random.randrange(EMPLOYEES)}",
    }


def _solved(random: Random, number: int, who: str) -> Data:
    return {
        "case_id": f"S-{who}",
        "cause": random.choice(("carrier_late", "card_expired", "part_missing")),
        "employee_id": f"E-{random.randrange(EMPLOYEES)}",
        "team_id": "service-one",
        "touchpoint": "service.case",
    }


def _invoice(random: Random, number: int, who: str) -> Data:
    return {
        "invoice_id": f"I-{who}",
        "amount_minor": _money(random),
        "currency": "EUR",
        "due_at": "2025-12-31T00:00:00Z",
        "references": [f"order:O-{who}"],
        "touchpoint": "billing.invoice",
    }


def _paid(random: Random, number: int, who: str) -> Data:
    return {
        "payment_id": f"Y-{number}",
        "invoice_id": f"I-{who}",
        "amount_minor": _money(random),
        "currency": "EUR",
        "outcome": "succeeded",
        "touchpoint": "checkout.payment",
    }


def _refused(random: Random, number: int, who: str) -> Data:
    return {
        "code": random.choice(("card_expired", "insufficient_funds", "limit_exceeded")),
        "invoice_id": f"I-{who}",
        "amount_minor": _money(random),
        "currency": "EUR",
        "outcome": "failed",
        "touchpoint": "checkout.payment",
    }


KINDS = (
    Kind(MARKETING, "marketing.page_viewed", "web/tracking", 24, _page),
    Kind(MARKETING, "marketing.campaign_opened", "mail/automation", 12, _opened),
    Kind(MARKETING, "marketing.consent_changed", "crm/consent-desk", 4, _consent),
    Kind(SALES, "sales.order_placed", "shop/checkout", 12, _order),
    Kind(SALES, "sales.order_delivered", "logistics/tracking", 8, _delivered, "sales.order_placed"),
    Kind(SERVICE, "service.conversation_held", "cc/telephony", 10, _talk),
    Kind(SERVICE, "service.case_opened", "cc/desk", 3, _case),
    Kind(SERVICE, "service.case_resolved", "cc/desk", 3, _solved, "service.case_opened"),
    Kind(BILLING, "billing.invoice_issued", "erp/invoicing", 12, _invoice),
    Kind(BILLING, "billing.payment_received", "erp/payments", 9, _paid, "billing.invoice_issued"),
    Kind(BILLING, "billing.payment_failed", "erp/payments", 3, _refused, "billing.invoice_issued"),
)
_WEIGHTS = [kind.weight for kind in KINDS]
_KIND = {kind.wire_type: kind for kind in KINDS}


def email_of(number: int) -> str:
    """The address of customer `number`."""
    return f"customer.{number}@mail.example"


def phone_of(number: int) -> str:
    """The telephone of customer `number`, E.164, in a range that Germany keeps for films and examples."""
    return f"+4930{23125000 + number}"


class _Customers:
    """Writes events, and remembers per customer how many orders, cases and invoices there were."""

    def __init__(self, random: Random) -> None:
        self.random = random
        # Bounded by the customers of a load times the kinds.
        self.begun: dict[tuple[str, int], int] = {}

    def _possible(self, customer: int, kind: Kind) -> Kind:
        """This kind, or what it follows, when the customer has none of that yet."""
        if kind.follows is None or (kind.follows, customer) in self.begun:
            return kind
        return _KIND[kind.follows]

    def write(self, number: int, customer: int, kind: Kind, identifiers: list[Data]) -> Sent:
        """Event `number` of the load, about this customer."""
        kind = self._possible(customer, kind)
        about = (kind.follows or kind.wire_type, customer)
        if kind.follows is None:
            self.begun[about] = self.begun.get(about, 0) + 1
        who = f"{customer}-{self.begun[about]}"
        data = kind.data(self.random, number, who)
        if identifiers:
            data["identifiers"] = identifiers
        at = FIRST_AT + number * APART
        subject = f"crm:{customer}"
        event = {
            "specversion": "1.0",
            "id": f"01JGVX{number:020}",
            "source": kind.source,
            "type": kind.wire_type,
            "time": at.strftime("%Y-%m-%dT%H:%M:%S.120Z"),
            "datacontenttype": "application/json",
            "subject": subject,
            "data": data,
        }
        return Sent(kind.topic, subject.encode(), _write(event))


def mixed(events: int, subjects: int, seed: int = 1) -> Iterator[Sent]:
    """So many events of so many subjects, skewed: one subject in a hundred has a tenth of all events."""
    random = Random(seed)
    customers = _Customers(random)
    for number in range(events):
        customer = int(subjects * random.random() ** 2)
        [kind] = random.choices(KINDS, _WEIGHTS)
        identifiers: list[Data] = []
        if random.randrange(10) < IDENTIFIED_OF_TEN:
            identifiers = [{"type": "email", "value": email_of(customer), "verified": True}]
        yield customers.write(number, customer, kind, identifiers)


class Mixed:
    """The same records, made anew each time they are gone over: for loads too large to keep."""

    def __init__(self, events: int, subjects: int, seed: int = 1) -> None:
        self.events, self.subjects, self.seed = events, subjects, seed

    def __iter__(self) -> Iterator[Sent]:
        """`mixed`, from the beginning."""
        return mixed(self.events, self.subjects, self.seed)


class Crowd:
    """Customers that are about equally busy: first an event of each, then events of anybody; no identifiers.

    Unlike `mixed`, which has few customers in most of its events, this touches all of them alike.
    """

    def __init__(self, subjects: int, seed: int = 1) -> None:
        self.subjects, self._random = subjects, Random(seed)
        self._customers, self._number = _Customers(self._random), 0

    def first(self) -> Iterator[Sent]:
        """One event of each customer."""
        for customer in range(self.subjects):
            yield self._write(customer)

    def more(self, events: int) -> Iterator[Sent]:
        """So many events, each of a customer taken at random."""
        for _ in range(events):
            yield self._write(self._random.randrange(self.subjects))

    def _write(self, customer: int) -> Sent:
        [kind] = self._random.choices(KINDS, _WEIGHTS)
        self._number += 1
        return self._customers.write(self._number, customer, kind, [])


def equal_customers(customers: int, events_each: int = 20, seed: int = 1) -> Iterator[Sent]:
    """Customers of equally many events, in waves; each is known by an email address and a telephone."""
    random = Random(seed)
    writer = _Customers(random)
    for wave in range(events_each):
        for customer in range(customers):
            [kind] = random.choices(KINDS, _WEIGHTS)
            identifiers: list[Data] = []
            if wave == 0:
                identifiers = [
                    {"type": "email", "value": email_of(customer), "verified": True},
                    {"type": "phone", "value": phone_of(customer)},
                ]
            yield writer.write(wave * customers + customer, customer, kind, identifiers)
