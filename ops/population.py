"""A seeded population of customers, whose histories run through all four domains.

Invariants:
- A pure function of seed, number of customers and end: no clock, no randomness but the seed's.
- Every event is one that the workers fold; the broken ones of `broken_events` are not among them.
- In time order. A person's events have one subject (`crm:…`), but for some browsers (`web:visitor-…`) and
  accounts (`billing:A-…`) that state the same identifiers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from random import Random

import msgspec

from ops.ada import ada
from ops.chapters_care import AGENTS, case, conversation, satisfaction, self_service, survey_after, team_of
from ops.chapters_marketing import about_them, anonymous_visitor, campaigns, introduction, visits
from ops.chapters_plans import contract, subscription
from ops.chapters_trade import invoice, order
from ops.life import Happening, Life, instant
from ops.people import FIRST_NUMBER, person

DEFAULT_SEED = 1815
DEFAULT_CUSTOMERS = 300
# All events are sorted in memory: about 100 a customer, half a KiB each.
CUSTOMERS_MAX = 10_000
HISTORY_DAYS = 730

# outage, country, days ago, hours
OUTAGES = (("OUT-1", "DE", 410, 3.0), ("OUT-2", "GB", 150, 7.5), ("OUT-3", "DE", 2, 1.5))
# order rate a year, share with a subscription, share with a contract: the kinds of customers there are.
KINDS = ((0.0, 0.0, 0.0), (1.2, 0.15, 0.05), (3.5, 0.4, 0.1), (8.0, 0.55, 0.15), (2.0, 0.3, 0.7))
KIND_WEIGHTS = (14, 38, 30, 10, 8)


def events(seed: int, customers: int, end: datetime) -> Iterator[Happening]:
    """What `customers` people (Ada Byron is one of them) did in the two years before `end`, in time order.

    `end` has an offset. ValueError for fewer than 1 or more than `CUSTOMERS_MAX` customers.
    """
    if not 1 <= customers <= CUSTOMERS_MAX:
        raise ValueError(f"{customers} customers: 1 to {CUSTOMERS_MAX} are possible")
    midnight = end.replace(hour=0, minute=0, second=0, microsecond=0)
    numbers = range(FIRST_NUMBER, FIRST_NUMBER + customers - 1)
    told = list(ada(seed, end).told())
    for number in numbers:
        for life in _lives(seed, number, numbers, midnight):
            told += life.told()
    for life in _employees(seed, midnight):
        told += life.told()
    told.sort(key=lambda happening: (happening.at, happening.key, happening.value))
    yield from told


def _lives(seed: int, number: int, numbers: range, until: datetime) -> Iterator[Life]:
    """A person's life, and those of the browser and the account that are theirs, too."""
    rng = Random(f"{seed}/life/{number}")
    days = rng.randint(20, HISTORY_DAYS)
    life = Life(person(seed, number), rng, until, days)
    introduction(life, days)
    orders_a_year, subscribes, signs = rng.choices(KINDS, KIND_WEIGHTS)[0]
    # The past first: a later disappointment must not spoil an earlier score.
    moments = sorted(
        (rng.randint(1, days - 1) for _ in range(_poisson(rng, orders_a_year * days / 365))), reverse=True
    )
    campaigns(life, days)
    for days_ago in moments:
        order(life, days_ago)
    if life.chance(subscribes) and days > 40:
        subscription(life, rng.randint(30, days - 5))
        _outages(life)
    if life.chance(signs) and days > 60:
        contract(life, rng.randint(50, days))
    _care(life, days, busy=len(moments) > 4)
    visits(life, days)
    about_them(life, days, numbers)
    yield life
    if life.chance(0.25):
        browser = Life(life.person, Random(f"{seed}/browser/{number}"), until, days, f"web:visitor-{number}")
        anonymous_visitor(browser, days)
        yield browser
    if life.chance(0.12):
        yield _old_account(seed, number, life, until)


def _care(life: Life, days: int, busy: bool) -> None:
    rng = life.rng
    for _ in range(_poisson(rng, (1.2 if busy else 0.5) * days / 365)):
        case(
            life,
            life.day(rng.randint(1, days)),
            rng.choice(("billing.card_declined", "product.how_to", "contract.change")),
        )
    for _ in range(_poisson(rng, 0.9 * days / 365)):
        over = conversation(life, life.day(rng.randint(1, days)), "product.how_to")
        satisfaction(life, life.later(over, 0.2, 20), rng.choice(AGENTS))
    for _ in range(_poisson(rng, 0.8 * days / 365)):
        self_service(life, rng.randint(1, days))
    for days_ago in range(days - 180, 0, -365):
        survey_after(life, life.day(days_ago), "relationship", share=0.4)


def _outages(life: Life) -> None:
    for outage_id, country, days_ago, hours in OUTAGES:
        if country == life.country.code and days_ago < life.days:
            began = life.until - timedelta(days=days_ago) + timedelta(hours=9)
            life.tell(
                "service.service_interrupted",
                began,
                "operations",
                outage_id=outage_id,
                cause="network",
                expected_end_at=instant(began + timedelta(hours=hours)),
            )
            life.tell(
                "service.service_restored", began + timedelta(hours=hours), "operations", outage_id=outage_id
            )
            life.mood -= 0.3


def _old_account(seed: int, number: int, life: Life, until: datetime) -> Life:
    """An account of the billing system, from before it knew customer numbers."""
    account = Life(life.person, Random(f"{seed}/account/{number}"), until, life.days, f"billing:A-{number}")
    at = account.day(account.rng.randint(2, life.days))
    account.tell(
        "marketing.form_submitted",
        at,
        "billing",
        form="direct_debit",
        channel="web",
        identifiers=life.person.identifiers(),
    )
    invoice(account, account.later(at, 1, 30), account.price(account.rng.choice((1990, 4990, 7900))))
    return account


def _employees(seed: int, until: datetime) -> Iterator[Life]:
    """Four surveys a year of those who talk to customers; employees never become customers."""
    for employee in AGENTS:
        rng = Random(f"{seed}/{employee}")
        life = Life(person(seed, 1), rng, until, HISTORY_DAYS, f"employee:{employee}")
        for quarter in range(HISTORY_DAYS // 91):
            at = (
                life.until
                - timedelta(days=91 * quarter + 5)
                + timedelta(hours=10, minutes=rng.randint(0, 200))
            )
            low = team_of(employee) == "T-2"
            life.tell(
                "service.employee_surveyed",
                at,
                "hr/pulse",
                score=max(0, min(10, round(rng.gauss(5.5 if low else 7.8, 1.2)))),
                team_id=team_of(employee),
                belief=rng.randint(5, 9),
                turnover=0.22 if low else 0.08,
                training_hours=float(rng.randint(2, 20)),
            )
        yield life


def _poisson(rng: Random, mean: float) -> int:
    """How many, when so many are usual (gaps between them are exponential)."""
    count, passed = 0, rng.expovariate(1.0)
    while passed < mean:
        count, passed = count + 1, passed + rng.expovariate(1.0)
    return count


def broken_events(end: datetime) -> list[Happening]:
    """Seven records of the kind that real systems send by mistake; each becomes a dead letter."""
    at = end - timedelta(hours=6)

    def event(wire_type: str, subject: str, data: dict[str, object], **extra: object) -> bytes:
        envelope = {
            "specversion": "1.0",
            "id": f"broken-{wire_type}",
            "source": "legacy/export",
            "type": wire_type,
            "time": instant(at),
            "subject": subject,
            "data": data,
        }
        return msgspec.json.encode(envelope | extra)

    ada_key, order_data = b"crm:4711", {"order_id": "O-9", "amount_minor": 4990, "currency": "EUR"}
    broken = (
        ("sales.events", ada_key, b'{"specversion": "1.0", "id": "broken-1", '),
        ("sales.events", ada_key, event("sales.order_shipped", "crm:4711", {"order_id": "O-9"})),
        ("sales.events", b"crm:4712", event("sales.order_placed", "crm:4711", order_data)),
        (
            "sales.events",
            ada_key,
            event("sales.order_placed", "crm:4711", order_data | {"amount_minor": "49,90"}),
        ),
        ("billing.events", ada_key, event("sales.order_placed", "crm:4711", order_data)),
        (
            "service.events",
            b"4711",
            event("service.case_opened", "4711", {"case_id": "S-6", "topic": "other"}),
        ),
        (
            "marketing.events",
            ada_key,
            event("marketing.page_viewed", "crm:4711", {"page": "/"}, time="01.03.2026 10:42"),
        ),
    )
    return [Happening(topic, key, value, at) for topic, key, value in broken]


def subjects_of_customers(happenings: Iterable[Happening]) -> set[str]:
    """The subjects that become customers: all but employees."""
    return {
        key for key in (happening.key.decode() for happening in happenings) if not key.startswith("employee:")
    }
