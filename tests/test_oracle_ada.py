"""The reference on Ada Byron, the example of the contract, with figures computed by hand.

All of it is told of one subject, since the reference links none.
"""

from __future__ import annotations

from typing import Any

from tests.told_by_hand import ADA, Event, event, order, profile


def test_ada_bought_eight_times_and_returned_once() -> None:
    in_store = {"channel": "store", "margin_minor": 3_500}
    on_the_web = {
        "channel": "web",
        "lines": [{"product_id": "P-12", "quantity": 1, "amount_minor": 1, "margin_minor": 3_500}],
    }
    sales = profile(
        order(1, "2024-05-02T08:00:00Z", 10_000, **in_store),
        order(2, "2024-06-01T08:00:00Z", 10_000, **on_the_web),
        # The 89th day after the first; the next day would be too late.
        order(3, "2024-07-30T23:59:59Z", 10_100, **in_store),
        order(4, "2024-07-31T00:00:00Z", 11_000, **on_the_web),
        order(5, "2024-09-01T08:00:00Z", 11_000, **in_store),
        order(6, "2025-01-01T08:00:00Z", 11_000, **on_the_web),
        order(7, "2025-06-01T08:00:00Z", 11_000, **in_store),
        event(
            "sales.order_returned", "2025-06-20T08:00:00Z", order_id="O-7", amount_minor=4_000, currency="EUR"
        ),
        order(8, "2026-02-20T15:00:00Z", 9_900, **in_store, promised_at="2026-02-22T18:00:00Z"),
        event("sales.order_delivered", "2026-02-23T11:00:00Z", order_id="O-8"),
        event("sales.contract_signed", "2024-06-01T09:00:00Z", contract_id="K-1", product_line="insurance"),
    )["sales"]
    eight = {"order_id": "O-8", "status": "delivered", "placed_at": "2026-02-20T15:00:00Z"}
    eight |= {"promised_at": "2026-02-22T18:00:00Z", "delivered_at": "2026-02-23T11:00:00Z"}
    eight |= {"amount_minor": 9_900, "currency": "EUR", "channel": "store"}
    revenue = {"currency": "EUR", "gross_minor": 84_000, "returned_minor": 4_000}
    assert (sales["order_count"], sales["return_count"], sales["orders_first_90_days"]) == (8, 1, 3)
    assert (sales["first_order_at"], sales["last_order_at"]) == (
        "2024-05-02T08:00:00Z",
        "2026-02-20T15:00:00Z",
    )
    assert sales["revenue"] == [revenue | {"net_minor": 80_000, "margin_minor": 28_000}]
    assert sales["by_channel"] == [
        {"channel": "store", "order_count": 5, "amount_minor": 52_000, "currency": "EUR"},
        {"channel": "web", "order_count": 3, "amount_minor": 32_000, "currency": "EUR"},
    ]
    # O-8 was delivered and O-7 returned, so the six that are open come first.
    assert [row["order_id"] for row in sales["orders"]] == [
        "O-6",
        "O-5",
        "O-4",
        "O-3",
        "O-2",
        "O-1",
        "O-8",
        "O-7",
    ]
    assert sales["orders"][6] == eight
    assert sales["orders"][7]["status"] == "returned"
    contract = {"contract_id": "K-1", "product_line": "insurance", "signed_at": "2024-06-01T09:00:00Z"}
    assert sales["contracts"] == [contract | {"ends_at": None}]
    assert sales["products"] == [
        {"product_id": "P-12", "quantity": 3, "last_bought_at": "2025-01-01T08:00:00Z"}
    ]


def bill(kind: str, time: str, amount: int, **data: Any) -> Event:
    """An event of billing that moves money."""
    return event(f"billing.{kind}", time, amount_minor=amount, currency="EUR", **data)


PAYING = (
    bill("invoice_issued", "2025-06-01T08:00:00Z", 4_000, invoice_id="I-70", due_at="2025-06-15T00:00:00Z"),
    bill("payment_received", "2025-06-02T08:00:00Z", 4_000, payment_id="Y-60", invoice_id="I-70"),
    bill("invoice_issued", "2026-01-05T00:00:00Z", 4_990, invoice_id="I-87", due_at="2026-02-05T00:00:00Z"),
    bill("payment_received", "2026-01-28T06:00:00Z", 4_990, payment_id="Y-70", invoice_id="I-87"),
    bill("invoice_issued", "2026-02-05T00:00:00Z", 4_990, invoice_id="I-88", due_at="2026-03-05T00:00:00Z"),
    bill("refund_requested", "2026-02-24T10:00:00Z", 4_000, refund_id="R-3"),
    bill("credit_note_issued", "2026-02-26T09:00:00Z", 4_000, credit_note_id="N-1", invoice_id="I-70"),
    bill("refund_issued", "2026-02-26T10:00:00Z", 4_000, refund_id="R-3", invoice_id="I-70"),
    event("billing.payment_failed", "2026-02-27T06:00:00Z", code="insufficient_funds", invoice_id="I-88"),
    event(
        "billing.payment_failed",
        "2026-02-28T06:00:00Z",
        code="card_expired",
        invoice_id="I-88",
        event_id="01J9Y",
    ),
    event("billing.dunning_sent", "2026-02-28T07:00:00Z", level=1),
    bill(
        "subscription_started",
        "2024-06-28T00:00:00Z",
        4_990,
        subscription_id="U-1",
        plan="care-plus",
        interval="P1M",
        renews_at="2026-03-28T00:00:00Z",
    ),
)


def test_ada_owes_one_invoice_after_two_failed_payments() -> None:
    open_invoice = {"invoice_id": "I-88", "amount_minor": 4_990, "open_minor": 4_990, "currency": "EUR"}
    refund = {"refund_id": "R-3", "status": "issued", "requested_at": "2026-02-24T10:00:00Z"}
    refund |= {"issued_at": "2026-02-26T10:00:00Z", "amount_minor": 4_000, "currency": "EUR"}
    subscription = {"subscription_id": "U-1", "plan": "care-plus", "status": "active", "amount_minor": 4_990}
    subscription |= {"currency": "EUR", "interval": "P1M", "renews_at": "2026-03-28T00:00:00Z"}
    payment = {"payment_id": "Y-70", "occurred_at": "2026-01-28T06:00:00Z", "amount_minor": 4_990}
    assert profile(*PAYING)["billing"] == {
        "failures_in_a_row": 2,
        "dunning_level": 1,
        "balances": [{"currency": "EUR", "balance_minor": 4_990}],
        "open_invoices": [open_invoice | {"due_at": "2026-03-05T00:00:00Z"}],
        "last_payment": payment | {"currency": "EUR"},
        "last_failure": {"code": "card_expired", "occurred_at": "2026-02-28T06:00:00Z", "event_id": "01J9Y"},
        "refunds": [refund],
        "disputes": [],
        "subscriptions": [subscription],
        "recurring": [{"currency": "EUR", "monthly_minor": 4_990}],
    }


def test_ada_probably_calls_about_the_payment_that_failed() -> None:
    document = profile(*PAYING)
    summary = document["summary"]
    assert summary["contact_reason"] == "payment_failed"
    assert summary["contact_reason_text"] == "Invoice I-88: card expired"
    assert (summary["balance_minor"], summary["balance_currency"]) == (4_990, "EUR")
    failure = next(row for row in document["timeline"] if row["event_id"] == "01J9Y")
    assert failure["title"] == "Payment failed: card expired"
    assert "amount_minor" not in failure


def talk(time: str, *, automated: bool, **data: Any) -> Event:
    """A conversation."""
    return event("service.conversation_held", time, conversation_id=time, automated=automated, **data)


def test_ada_spoke_to_an_assistant_last() -> None:
    months = ("01", "02", "03", "04")
    calls = [
        talk(f"2025-{month}-01T00:00:00Z", automated=False, seconds=60, waiting_seconds=200)
        for month in months
    ]
    chat = {"channel": "chat", "event_id": "01J9Z", "seconds": 321, "disposition": "not_solved"}
    document = profile(
        *calls,
        talk(
            "2025-05-01T00:00:00Z",
            automated=True,
            seconds=9,
            waiting_seconds=40,
            transfers=3,
            employee_id="E-7",
        ),
        talk("2026-03-01T10:42:07Z", automated=True, **chat),
    )
    service, summary = document["service"], document["summary"]
    assert (service["contact_count"], service["waiting_seconds_total"], service["transfer_count"]) == (
        6,
        840,
        3,
    )
    assert service["replies"] == {"human": 4, "automated": 2}
    contact = {"occurred_at": "2026-03-01T10:42:07Z", "channel": "chat", "employee_id": None}
    assert service["last_contact"] == contact | {"automated": True, "event_id": "01J9Z"}
    assert document["timeline"][0]["title"] == "Chat with assistant, 6 min, not solved"
    assert (summary["last_contact_channel"], summary["last_employee_id"]) == ("chat", "E-7")


def test_ada_waits_for_a_call_about_her_case() -> None:
    case = {"case_id": "S-5", "topic": "billing.card_declined", "priority": "high"}
    link = {"due_at": "2026-03-02T09:00:00Z", "url": "https://crm.example/S-5"}
    promised = {"text": "Call back about invoice I-88", "due_at": "2026-03-01T17:00:00+01:00"}
    earlier = {"promise_id": "PR-1", "text": "x", "due_at": "2026-02-02T00:00:00Z"}
    document = profile(
        event("service.case_opened", "2026-02-28T09:00:00Z", **case, **link),
        event("service.case_changed", "2026-02-28T09:05:00Z", case_id="S-5", owner_id="E-7"),
        event("service.promise_made", "2026-02-01T00:00:00Z", **earlier),
        event("service.promise_broken", "2026-02-02T00:00:00Z", promise_id="PR-1"),
        event("service.promise_made", "2026-02-28T16:00:00Z", promise_id="PR-2", **promised),
    )
    opened = {"status": "open", "opened_at": "2026-02-28T09:00:00Z", "owner_id": "E-7"}
    assert document["service"]["cases"] == [case | link | opened]
    promise = {"promise_id": "PR-2", "text": "Call back about invoice I-88", "due_at": "2026-03-01T16:00:00Z"}
    waiting = [promise | {"status": "open"}]
    assert document["service"]["promises"] == {"kept_count": 0, "broken_count": 1, "open": waiting}
    assert document["summary"]["open_case_count"] == 1
    # The promise began after the case was opened.
    assert document["summary"]["contact_reason_text"] == "Promise PR-2: Call back about invoice I-88"


def test_ada_was_answered_in_public_after_21_minutes_and_helps_herself() -> None:
    def mention(time: str, thread: str, **data: Any) -> Event:
        return event("marketing.social_mentioned", time, platform="forum", thread_id=thread, **data)

    def attempt(time: str, outcome: str, **data: Any) -> Event:
        return event("service.task_attempted", time, task="pay", outcome=outcome, **data)

    service = profile(
        mention("2026-01-01T00:00:00Z", "T-1"),
        event("marketing.social_replied", "2026-01-01T00:21:00.999Z", thread_id="T-1", automated=True),
        # The thread is closed already: a reply, and no answer.
        event("marketing.social_replied", "2026-01-01T00:22:00Z", thread_id="T-1", automated=True),
        mention("2026-01-02T00:00:00Z", "T-2", needs_reply=False),
        attempt("2026-01-01T00:00:00Z", "succeeded", seconds=600, clicks=47),
        attempt("2026-01-02T00:00:00Z", "failed", seconds=10, errors=2),
    )["service"]
    assert service["replies"] == {"human": 0, "automated": 2}
    assert service["social"] == {
        "mention_count": 2,
        "replied_count": 1,
        "replied_within_30_min_count": 1,
        "reply_seconds_total": 1_260,
        "unanswered": [],
    }
    tried = {"attempt_count": 2, "success_count": 1, "abandoned_count": 0}
    assert service["self_service"] == tried | {"error_count": 2, "seconds_total": 610, "click_count": 47}


def test_ada_is_known_by_name_mail_and_phone() -> None:
    address = {
        "street_address": "Unter den Linden 1",
        "postal_code": "10117",
        "locality": "Berlin",
        "country": "DE",
    }
    mail = {"type": "email", "value": " Ada@Example.com", "verified": True}
    phone = {"type": "phone", "value": "030 / 90 18 20"}
    person = {"given_name": "Ada", "family_name": "Byron", "birthdate": "1985-12-10", "tier": "gold"}
    first, second = "2024-05-02T08:00:00Z", "2024-05-03T09:00:00Z"
    at_home = address | {"use": "billing"}
    document = profile(
        event(
            "marketing.profile_updated",
            first,
            event_id="01J9A",
            **person,
            address=at_home,
            identifiers=[mail],
        ),
        event("marketing.form_submitted", second, form="call_me", identifiers=[phone]),
    )
    identity, summary = document["identity"], document["summary"]
    assert (identity["given_name"], identity["birthdate"]) == ("Ada", "1985-12-10")
    assert (identity["email"], identity["phone_number"]) == ("ada@example.com", "+4930901820")
    stated = ["given_name", "family_name", "birthdate", "email", "phone_number", "tier"]
    assert list(identity["provenance"]) == stated
    known = {"source": "crm", "event_id": "01J9A", "occurred_at": first, "rule": "most_trusted_then_latest"}
    assert identity["provenance"]["family_name"] == known
    assert identity["addresses"] == [at_home]
    assert identity["subjects"] == [{"subject": ADA, "first_seen_at": first, "last_seen_at": second}]
    held = {"status": "linking", "sources": [ADA]}
    assert identity["identifiers"] == [
        {"type": "email", "value": "ada@example.com", **held, "verified_at": first, "first_seen_at": first},
        {"type": "phone", "value": "+4930901820", **held, "verified_at": None, "first_seen_at": second},
    ]
    assert (summary["display_name"], summary["tier"]) == ("Ada Byron", "gold")
    assert summary["callback_phone"] == "+4930901820"


def test_ada_allows_mail_and_no_calls_and_prefers_people() -> None:
    def consent(channel: str, time: str, *, granted: bool, event_id: str) -> Event:
        said = {"purpose": "marketing", "channel": channel, "granted": granted, "legal_basis": "consent"}
        return event("marketing.consent_changed", time, event_id=event_id, **said)

    preferred = {"contact_channel": "phone", "contact_hours": "17:00-20:00", "prefers_human": True}
    document = profile(
        event(
            "marketing.preference_stated",
            "2024-05-03T09:00:00Z",
            event_id="01JC1",
            **preferred,
            values=["climate"],
        ),
        consent("phone", "2025-06-01T09:30:00Z", granted=False, event_id="01JB7"),
        consent("email", "2025-01-10T12:00:00Z", granted=True, event_id="01JA2"),
    )
    basis = {"legal_basis": "consent"}
    by_mail = {"purpose": "marketing", "channel": "email", "granted": True, "since": "2025-01-10T12:00:00Z"}
    by_phone = {"purpose": "marketing", "channel": "phone", "granted": False, "since": "2025-06-01T09:30:00Z"}
    assert document["consent"] == {
        "permissions": [by_mail | basis | {"event_id": "01JA2"}, by_phone | basis | {"event_id": "01JB7"}],
        "preferences": preferred,
        "stated_values": [{"value": "climate", "event_id": "01JC1"}],
    }
    summary = document["summary"]
    assert (summary["preferred_channel"], summary["prefers_human"]) == ("phone", True)
    assert summary["do_not_contact"] is False


def test_adas_touches_count_by_channel_and_the_last_campaign_is_the_last_sent() -> None:
    def campaign(what: str, time: str, name: str, **data: Any) -> Event:
        return event(f"marketing.campaign_{what}", time, campaign_id=name, **data)

    marketing = profile(
        event("marketing.page_viewed", "2024-04-20T19:12:00Z", page="/", campaign_id="C-3"),
        campaign("sent", "2026-01-01T00:00:00Z", "C-40"),
        campaign("sent", "2026-02-27T17:00:00Z", "C-41"),
        campaign("opened", "2026-02-27T18:00:00Z", "C-41"),
        campaign("clicked", "2026-02-26T18:00:00Z", "C-40", channel="app"),
        event("marketing.review_posted", "2026-02-01T00:00:00Z", platform="maps", rating=2),
    )["marketing"]
    assert marketing["touches"] == {"app": 1, "email": 1, "web": 2}
    assert marketing["first_touch"] == {
        "occurred_at": "2024-04-20T19:12:00Z",
        "channel": "web",
        "campaign_id": "C-3",
    }
    assert marketing["last_touch"] == {
        "occurred_at": "2026-02-27T18:00:00Z",
        "channel": "email",
        "campaign_id": "C-41",
    }
    assert marketing["campaigns"] == {"sent_count": 2, "opened_count": 1, "clicked_count": 1}
    sent = {"campaign_id": "C-41", "sent_at": "2026-02-27T17:00:00Z", "opened_at": "2026-02-27T18:00:00Z"}
    assert marketing["last_campaign"] == sent | {"clicked_at": None}
