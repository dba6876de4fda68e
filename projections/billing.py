"""Section `billing`: what the customer owes us and how paying goes."""

from __future__ import annotations

from typing import Any

from models.billing import (
    CreditNoteIssued,
    DisputeSettled,
    DunningSent,
    InvoiceDisputed,
    InvoiceIssued,
    PaymentFailed,
    PaymentReceived,
    RefundIssued,
    RefundRequested,
    SubscriptionCancelled,
    SubscriptionChanged,
    SubscriptionStarted,
)
from models.bounds import LIST_MAX, OPEN_INVOICES_MAX
from models.titles import words
from projections.entities import Keyed, Naming, Shown
from projections.instants import instant_or_none, rfc3339
from projections.lists import FailuresInARow, failures_in_a_row
from projections.reducers import Latest, Ledger, State, constant, field, instant, occurred_us
from projections.section import Page, Rendered, Section, by_currency
from projections.service import newest_concern

_AMOUNT = field("amount_minor")


def _invoice_open(invoice: Shown) -> bool:
    amount_minor, currency, _ = invoice.values
    return amount_minor is not None and (invoice.total(currency) or 0) > 0


class Billing(Section):
    """Balances, invoices, payments, refunds, disputes, subscriptions."""

    name = "billing"

    failures = FailuresInARow(PaymentFailed, PaymentReceived)
    dunning = Latest(DunningSent, reads=(field("level"),))
    balance = Ledger(
        balance={
            InvoiceIssued: (_AMOUNT, 1),
            CreditNoteIssued: (_AMOUNT, -1),
            PaymentReceived: (_AMOUNT, -1),
            RefundIssued: (_AMOUNT, 1),
        }
    )
    invoices = Keyed(
        Naming(
            InvoiceIssued,
            "invoice_id",
            total=("amount_minor", 1),
            amount_minor=_AMOUNT,
            currency=field("currency"),
            due_at=instant("due_at"),
        ),
        Naming(PaymentReceived, "invoice_id", total=("amount_minor", -1)),
        Naming(CreditNoteIssued, "invoice_id", total=("amount_minor", -1)),
        Naming(RefundIssued, "invoice_id", total=("amount_minor", 1)),
        fields=("amount_minor", "currency", "due_at"),
        is_open=_invoice_open,
        kept=2 * OPEN_INVOICES_MAX,
    )
    last_payment = Latest(PaymentReceived, reads=(field("payment_id"), _AMOUNT, field("currency")))
    last_failure = Latest(PaymentFailed, reads=(field("code"), field("invoice_id")))
    refunds = Keyed(
        Naming(
            RefundRequested,
            "refund_id",
            status=constant("requested"),
            requested_at=occurred_us,
            amount_minor=_AMOUNT,
            currency=field("currency"),
        ),
        Naming(
            RefundIssued,
            "refund_id",
            status=constant("issued"),
            issued_at=occurred_us,
            amount_minor=_AMOUNT,
            currency=field("currency"),
        ),
        fields=("status", "requested_at", "issued_at", "amount_minor", "currency"),
        is_open=lambda refund: refund["status"] == "requested",
        kept=2 * LIST_MAX,
    )
    disputes = Keyed(
        Naming(
            InvoiceDisputed,
            "dispute_id",
            status=constant("open"),
            invoice_id=field("invoice_id"),
            reason=field("reason"),
            opened_at=occurred_us,
        ),
        Naming(
            DisputeSettled,
            "dispute_id",
            status=constant("settled"),
            settled_at=occurred_us,
            upheld=field("upheld"),
        ),
        fields=("status", "invoice_id", "reason", "opened_at", "settled_at", "upheld"),
        is_open=lambda dispute: dispute["status"] == "open",
        kept=2 * LIST_MAX,
    )
    subscriptions = Keyed(
        Naming(
            SubscriptionStarted,
            "subscription_id",
            status=constant("active"),
            plan=field("plan"),
            amount_minor=_AMOUNT,
            currency=field("currency"),
            interval=field("interval"),
            renews_at=instant("renews_at"),
        ),
        Naming(
            SubscriptionChanged,
            "subscription_id",
            status=constant("active"),
            plan=field("plan"),
            amount_minor=_AMOUNT,
            renews_at=instant("renews_at"),
        ),
        Naming(SubscriptionCancelled, "subscription_id", status=constant("cancelled")),
        fields=("status", "plan", "amount_minor", "currency", "interval", "renews_at"),
        is_open=lambda subscription: subscription["status"] == "active",
        kept=2 * LIST_MAX,
    )

    @classmethod
    def render(cls, states: dict[str, State], page: Page) -> Rendered:
        invoices = cls.invoices.ordered(states["invoices"]).opened
        shown_invoices = page.cut("open_invoices", invoices, OPEN_INVOICES_MAX, states["invoices"][0])
        failures, payment, failure = (
            failures_in_a_row(states["failures"]),
            states["last_payment"],
            states["last_failure"],
        )
        refunds, disputes = cls.refunds.ordered(states["refunds"]), cls.disputes.ordered(states["disputes"])
        subscriptions = cls.subscriptions.ordered(states["subscriptions"])
        document = {
            "failures_in_a_row": failures,
            "dunning_level": 0 if states["dunning"] is None else states["dunning"][3],
            "balances": page.cut("balances", _balances(states["balance"]), LIST_MAX),
            "open_invoices": [_invoice(invoice) for invoice in shown_invoices],
            "last_payment": None if payment is None else _payment(payment),
            "last_failure": None
            if failure is None
            else {"code": failure[3], "occurred_at": rfc3339(failure[0]), "event_id": failure[2]},
            "refunds": page.entities("refunds", refunds, states["refunds"], LIST_MAX, _refund),
            "disputes": page.entities("disputes", disputes, states["disputes"], LIST_MAX, _dispute),
            "subscriptions": page.entities(
                "subscriptions", subscriptions, states["subscriptions"], LIST_MAX, _subscription
            ),
            "recurring": page.cut("recurring", _recurring(subscriptions.opened), LIST_MAX),
        }
        facts = cls._facts(states, failures, refunds.opened, disputes.opened)
        return Rendered(document, page.truncated, facts)

    @classmethod
    def _facts(
        cls, states: dict[str, State], failures: int, refunds: list[Shown], disputes: list[Shown]
    ) -> dict[str, Any]:
        balances = [(-abs(row[0]), currency, row[0]) for currency, row in states["balance"].items()]
        failure = states["last_failure"]
        text = None
        if failures and failure is not None:
            text = words(failure[3]) if failure[4] is None else f"Invoice {failure[4]}: {words(failure[3])}"
        return {
            "balance": min(balances, default=None),
            "payment_failed": text,
            "dispute_open": _dispute_concern(disputes),
            "refund_waiting": newest_concern(refunds, "requested_at", "Refund {id} requested", None),
        }


def _dispute_concern(disputes: list[Shown]) -> Any:
    newest = newest_concern(disputes, "opened_at", "{id}", None)
    if newest is None:
        return None
    dispute = next(one for one in disputes if one.id == newest[1])
    text = f"Invoice {dispute['invoice_id']} disputed"
    return newest[0], newest[1], text if dispute["reason"] is None else f"{text}: {words(dispute['reason'])}"


def monthly_minor(amount_minor: int, interval: str) -> int:
    """What an amount every `interval` (ISO 8601: `P1M`, `P1Y`, `P4W`, `P30D`) comes to in a month, halves up.

    A month is a twelfth of a year of 365.25 days.
    """
    number, unit = int(interval[1:-1]), interval[-1]
    if unit in "MY":
        times, parts = 1, number * (12 if unit == "Y" else 1)
    else:
        times, parts = 36_525, 1_200 * number * (7 if unit == "W" else 1)
    return (2 * amount_minor * times + parts) // (2 * parts)


def _recurring(subscriptions: list[Shown]) -> list[dict[str, Any]]:
    totals: dict[str, int] = {}
    for one in subscriptions:
        amount, currency, interval = one["amount_minor"], one["currency"], one["interval"]
        if None not in (amount, currency, interval):
            totals[currency] = totals.get(currency, 0) + monthly_minor(amount, interval)
    return [{"currency": currency, "monthly_minor": total} for currency, total in sorted(totals.items())]


def _balances(state: State) -> list[dict[str, Any]]:
    return [{"currency": currency, "balance_minor": row[0]} for currency, row in by_currency(state)]


def _payment(held: list[Any]) -> dict[str, Any]:
    return {
        "payment_id": held[3],
        "occurred_at": rfc3339(held[0]),
        "amount_minor": held[4],
        "currency": held[5],
    }


def _invoice(invoice: Shown) -> dict[str, Any]:
    amount_minor, currency, due_at = invoice.values
    return {
        "invoice_id": invoice.id,
        "amount_minor": amount_minor,
        "open_minor": invoice.total(currency),
        "currency": currency,
        "due_at": instant_or_none(due_at),
    }


def _refund(refund: Shown) -> dict[str, Any]:
    return {
        "refund_id": refund.id,
        "status": refund["status"],
        "requested_at": instant_or_none(refund["requested_at"]),
        "issued_at": instant_or_none(refund["issued_at"]),
        "amount_minor": refund["amount_minor"],
        "currency": refund["currency"],
    }


def _dispute(dispute: Shown) -> dict[str, Any]:
    return {
        "dispute_id": dispute.id,
        "invoice_id": dispute["invoice_id"],
        "status": dispute["status"],
        "reason": dispute["reason"],
        "opened_at": instant_or_none(dispute["opened_at"]),
        "settled_at": instant_or_none(dispute["settled_at"]),
        "upheld": dispute["upheld"],
    }


def _subscription(one: Shown) -> dict[str, Any]:
    names = ("plan", "status", "amount_minor", "currency", "interval")
    return {
        "subscription_id": one.id,
        **{name: one[name] for name in names},
        "renews_at": instant_or_none(one["renews_at"]),
    }
