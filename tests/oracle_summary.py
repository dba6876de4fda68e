"""The summary of a profile: what a call-center tool shows before anybody has opened anything."""

from __future__ import annotations

from typing import Any

from tests.oracle_customer import Customer, Document
from tests.oracle_dealings import balances, failures_in_a_row, latest_failure
from tests.oracle_parts import PROMISES, is_open, latest, latest_of
from tests.oracle_person import chosen
from tests.oracle_reading import cut, microseconds, words

SUMMARY_TEXT_MAX = 255


def reason_to_call(customer: Customer) -> tuple[str, str] | tuple[None, None]:
    """What the customer probably calls about, and how that reads."""
    if failures_in_a_row(customer) > 0:
        failure = latest_failure(customer)
        invoice = failure["invoice_id"]
        return "payment_failed", (f"Invoice {invoice}: " if invoice else "") + words(failure["code"])

    def with_words(head: str, told_text: str | None) -> str:
        return head if told_text is None else f"{head}: {words(told_text)}"

    kinds: list[tuple[str, str, str, Any]] = [
        ("case_open", "service.cases", "opened_at", lambda name, of: with_words(f"Case {name}", of("topic"))),
        (
            "complaint_open",
            "service.complaints",
            "made_at",
            lambda name, of: with_words(f"Complaint {name}", of("topic")),
        ),
        (
            "dispute_open",
            "billing.disputes",
            "opened_at",
            lambda name, of: with_words(f"Invoice {of('invoice_id')} disputed", of("reason")),
        ),
        ("refund_waiting", "billing.refunds", "requested_at", lambda name, of: f"Refund {name} requested"),
        ("promise_open", PROMISES, "made_at", lambda name, of: f"Promise {name}: {of('text')}"),
        ("order_open", "sales.orders", "placed_at", lambda name, of: f"Order {name} placed"),
    ]
    found = [
        (
            microseconds(began),
            -place,
            name,
            reason,
            read(name, lambda field, entry=entry: latest(entry, field)),
        )
        for place, (reason, path, field, read) in enumerate(kinds)
        for name, entry in customer.ordered(path)
        if is_open(path, entry) and (began := latest(entry, field)) is not None
    ]
    return max(found)[3:] if found else (None, None)


def summary(customer: Customer, sections: Document) -> Document:
    """Flat, for tools that map flat attributes."""
    identity, preferences = sections["identity"], sections["consent"]["preferences"]
    contact = sections["service"]["last_contact"] or {}
    names = [name for name in (identity["given_name"], identity["family_name"]) if name is not None]
    granted = [latest(entry, "permission")["granted"] for _, entry in customer.ordered("consent.permissions")]
    reason, reason_text = reason_to_call(customer)
    employees = [
        (event.key, event.data["employee_id"]) for event in customer.events if event.data.get("employee_id")
    ]
    scores = [
        (event.key, event.data["score"])
        for event in customer.of("service.survey_answered")
        if event.data["kind"] == "nps" and not event.data["incentivised"]
    ]
    owed = min(balances(customer), key=lambda row: (-abs(row["balance_minor"]), row["currency"]), default={})
    flat = {
        "display_name": " ".join(names) if names else None,
        **{name: chosen(customer, name) for name in ("tier", "locale", "zoneinfo")},
        "callback_phone": identity["phone_number"],
        "preferred_channel": preferences["contact_channel"],
        "prefers_human": preferences["prefers_human"],
        "do_not_contact": bool(granted) and not any(granted),
        "contact_reason": reason,
        "contact_reason_text": reason_text,
        "top_alert": None,
        "open_case_count": sum(
            is_open("service.cases", entry) for _, entry in customer.ordered("service.cases")
        ),
        "last_contact_at": contact.get("occurred_at"),
        "last_contact_channel": contact.get("channel"),
        "last_employee_id": latest_of(employees),
        "last_nps": latest_of(scores),
        "balance_minor": owed.get("balance_minor"),
        "balance_currency": owed.get("currency"),
        "lifetime_value_minor": None,
        "lifetime_value_currency": None,
    }
    return {
        name: cut(value, SUMMARY_TEXT_MAX) if isinstance(value, str) else value
        for name, value in flat.items()
    }
