"""What the profile says about dealing with the customer: sales, service, billing."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction
from math import floor

from tests.oracle_customer import Customer, Document
from tests.oracle_parts import (
    INVOICES,
    PROMISES,
    THREADS,
    WINDOW_DAYS,
    Name,
    Said,
    is_open,
    latest,
    latest_of,
    text,
    threads_in_order,
    total,
)
from tests.oracle_reading import Told, instant

FAILURES_MAX = 20
REPLY_SECONDS = 1_800
DAYS_OF = {"D": 1, "W": 7}


def sales(customer: Customer) -> Document:
    """What the customer bought."""
    placed = customer.of("sales.order_placed")
    at = [event.key[0] for event in placed]
    days = [day for part in customer.parts for day in part.first_days]
    return {
        "order_count": len(placed) - len(customer.of("sales.order_cancelled")),
        "return_count": len(customer.of("sales.order_returned")),
        "first_order_at": instant(min(at)) if at else None,
        "last_order_at": instant(max(at)) if at else None,
        "orders_first_90_days": sum(day < min(days) + WINDOW_DAYS for day in days),
        "revenue": revenue(customer),
        "by_channel": by_channel(customer, placed),
        "orders": customer.shown(
            "sales.orders", [order_row(name, entry) for name, entry in customer.ordered("sales.orders")]
        ),
        "opportunities": customer.rows(
            "sales.opportunities",
            "opportunity_id",
            "stage",
            "amount_minor",
            "currency",
            "product_line",
            "changed_at",
        ),
        "baskets": customer.rows("sales.baskets", "basket_id", "amount_minor", "currency", "abandoned_at"),
        "contracts": customer.rows("sales.contracts", "contract_id", "product_line", "signed_at", "ends_at"),
        "products": customer.shown(
            "sales.products",
            [
                {"product_id": name, "quantity": sum(said.fact["quantity"] for said in entry)}
                | {"last_bought_at": latest(entry, "last_bought_at")}
                for name, entry in customer.ordered("sales.products")
            ],
        ),
    }


def revenue(customer: Customer) -> list[Document]:
    """Per currency."""
    gross, returned, margin = Counter(), Counter(), Counter()
    for event in customer.of("sales.order_placed", "sales.order_amended", "sales.order_cancelled"):
        data = event.data
        gross[data["currency"]] += data["amount_minor"] if "amount_minor" in data else data["delta_minor"]
    for event in customer.of("sales.order_returned"):
        returned[event.data["currency"]] += event.data["amount_minor"]
    for event in customer.of("sales.order_placed"):
        whole = event.data.get("margin_minor")
        of_lines = sum(line.get("margin_minor") or 0 for line in event.data.get("lines", []))
        margin[event.data["currency"]] += of_lines if whole is None else whole
    rows = [
        {"currency": unit, "gross_minor": gross[unit], "returned_minor": returned[unit]}
        | {"net_minor": gross[unit] - returned[unit], "margin_minor": margin[unit]}
        for unit in sorted(gross.keys() | returned.keys())
    ]
    return customer.shown("sales.revenue", rows)


def by_channel(customer: Customer, placed: list[Told]) -> list[Document]:
    """Orders placed per channel and currency; most orders first."""
    count, amount = Counter(), Counter()
    for event in placed:
        place = (event.data.get("channel") or "other", event.data["currency"])
        count[place] += 1
        amount[place] += event.data["amount_minor"]
    rows = [
        {
            "channel": place[0],
            "order_count": count[place],
            "amount_minor": amount[place],
            "currency": place[1],
        }
        for place in sorted(count, key=lambda place: (-count[place], place))
    ]
    return customer.shown("sales.by_channel", rows)


def order_row(name: Name, entry: list[Said]) -> Document:
    """One order; its amount in the currency that it was last told in."""
    row = {"order_id": name}
    row |= {field: latest(entry, field) for field in ("status", "placed_at", "promised_at", "delivered_at")}
    currency = latest(entry, "currency")
    return row | {
        "amount_minor": total(entry, currency),
        "currency": currency,
        "channel": latest(entry, "channel"),
    }


def amount_of(events: list[Told], name: str) -> int:
    """The total of a field; left out and null count nothing."""
    return sum(event.data.get(name) or 0 for event in events)


def service(customer: Customer) -> Document:
    """How the customer was served."""
    held = customer.of("service.conversation_held")
    replies = held + customer.of("marketing.social_replied")
    automated = sum(event.data.get("automated") is True for event in replies)
    contacts = [
        (
            event.key,
            {"occurred_at": event.at, "channel": event.data.get("channel")}
            | {"employee_id": event.data.get("employee_id"), "automated": event.data.get("automated") is True}
            | {"event_id": event.id},
        )
        for event in held
    ]
    promises = [(name, entry) for name, entry in customer.ordered(PROMISES) if is_open(PROMISES, entry)]
    return {
        "contact_count": len(held),
        "waiting_seconds_total": amount_of(held, "waiting_seconds"),
        "transfer_count": amount_of(held, "transfers"),
        "replies": {"human": len(replies) - automated, "automated": automated},
        "last_contact": latest_of(contacts),
        "cases": customer.rows(
            "service.cases",
            "case_id",
            "status",
            "topic",
            "priority",
            "opened_at",
            "due_at",
            "owner_id",
            "url",
        ),
        "complaints": customer.rows(
            "service.complaints", "complaint_id", "topic", "status", "made_at", "settled_at"
        ),
        "promises": {
            "kept_count": len(customer.of("service.promise_kept")),
            "broken_count": len(customer.of("service.promise_broken")),
            "open": customer.shown(
                PROMISES,
                [
                    {"promise_id": name, "text": latest(entry, "text"), "due_at": latest(entry, "due_at")}
                    | {"status": "open"}
                    for name, entry in promises
                ],
            ),
        },
        "social": social(customer),
        "self_service": self_service(customer),
    }


def social(customer: Customer) -> Document:
    """How fast we answer in public."""
    seconds = [taken for part in customer.parts for taken in part.reply_seconds]
    threads: dict[str, Told] = {}
    for part in customer.parts:
        for thread, mention in part.threads.items():
            known = threads.get(thread, mention)
            threads[thread] = max(known, mention, key=lambda one: (one.key, text(one.data["platform"])))
    unanswered = [
        {"thread_id": thread, "platform": threads[thread].data["platform"]}
        | {"mentioned_at": threads[thread].at, "event_id": threads[thread].id}
        for thread in threads_in_order(threads)
    ]
    return {
        "mention_count": len(customer.of("marketing.social_mentioned")),
        "replied_count": len(seconds),
        "replied_within_30_min_count": sum(taken <= REPLY_SECONDS for taken in seconds),
        "reply_seconds_total": sum(seconds),
        "unanswered": customer.shown(THREADS, unanswered),
    }


def self_service(customer: Customer) -> Document:
    """How far the customer gets alone."""
    attempts = customer.of("service.task_attempted")
    outcomes = Counter(event.data["outcome"] for event in attempts)
    return {
        "attempt_count": len(attempts),
        "success_count": outcomes["succeeded"],
        "abandoned_count": outcomes["abandoned"],
        "error_count": amount_of(attempts, "errors"),
        "seconds_total": amount_of(attempts, "seconds"),
        "click_count": amount_of(attempts, "clicks"),
    }


def billing(customer: Customer) -> Document:
    """What the customer owes us and how paying goes."""
    invoices = [
        {"invoice_id": name, "amount_minor": latest(entry, "amount_minor")}
        | {"open_minor": total(entry, latest(entry, "currency"))}
        | {field: latest(entry, field) for field in ("currency", "due_at")}
        for name, entry in customer.ordered(INVOICES)
        if is_open(INVOICES, entry)
    ]
    payments = customer.told(
        "billing.payment_received",
        lambda event: {
            "payment_id": event.data["payment_id"],
            "occurred_at": event.at,
            "amount_minor": event.data["amount_minor"],
            "currency": event.data["currency"],
        },
    )
    failure = latest_failure(customer)
    return {
        "failures_in_a_row": failures_in_a_row(customer),
        "dunning_level": latest_of(customer.told("billing.dunning_sent", lambda event: event.data["level"]))
        or 0,
        "balances": customer.shown("billing.balances", balances(customer)),
        "open_invoices": customer.shown(INVOICES, invoices),
        "last_payment": latest_of(payments),
        "last_failure": failure and {name: failure[name] for name in ("code", "occurred_at", "event_id")},
        "refunds": customer.rows(
            "billing.refunds", "refund_id", "status", "requested_at", "issued_at", "amount_minor", "currency"
        ),
        "disputes": customer.rows(
            "billing.disputes",
            "dispute_id",
            "invoice_id",
            "status",
            "reason",
            "opened_at",
            "settled_at",
            "upheld",
        ),
        "subscriptions": customer.rows(
            "billing.subscriptions",
            "subscription_id",
            "plan",
            "status",
            "amount_minor",
            "currency",
            "interval",
            "renews_at",
        ),
        "recurring": customer.shown("billing.recurring", recurring(customer)),
    }


def latest_failure(customer: Customer) -> Document | None:
    """The latest payment that failed, with the invoice that it was for."""
    return latest_of(
        customer.told(
            "billing.payment_failed",
            lambda event: {
                "code": event.data["code"],
                "occurred_at": event.at,
                "event_id": event.id,
                "invoice_id": event.data.get("invoice_id"),
            },
        )
    )


def failures_in_a_row(customer: Customer) -> int:
    """Failures after the latest payment, 20 at most."""
    paid = [event.key for event in customer.of("billing.payment_received")]
    failed = [event.key for event in customer.of("billing.payment_failed")]
    return min(FAILURES_MAX, sum(not paid or key > max(paid) for key in failed))


def balances(customer: Customer) -> list[Document]:
    """Per currency: positive is owed to us."""
    signs = {"invoice_issued": 1, "refund_issued": 1, "payment_received": -1, "credit_note_issued": -1}
    owed: Counter[str] = Counter()
    for kind, sign in signs.items():
        for event in customer.of(f"billing.{kind}"):
            owed[event.data["currency"]] += sign * event.data["amount_minor"]
    return [{"currency": unit, "balance_minor": owed[unit]} for unit in sorted(owed)]


def recurring(customer: Customer) -> list[Document]:
    """What the active subscriptions amount to per month, each rounded by itself."""
    monthly: Counter[str] = Counter()
    for _, entry in customer.ordered("billing.subscriptions"):
        amount, currency, interval = (
            latest(entry, name) for name in ("amount_minor", "currency", "interval")
        )
        if None in (amount, currency, interval) or not is_open("billing.subscriptions", entry):
            continue
        count, unit = int(interval[1:-1]), interval[-1]
        months = {"M": Fraction(count), "Y": Fraction(12 * count)}.get(unit)
        per_month = amount / months if months else Fraction(amount * 36_525, 1_200 * count * DAYS_OF[unit])
        monthly[currency] += floor(per_month + Fraction(1, 2))
    return [{"currency": unit, "monthly_minor": monthly[unit]} for unit in sorted(monthly)]
