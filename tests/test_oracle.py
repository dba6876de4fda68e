"""The reference itself, pinned to docs/profile.md by figures that were computed by hand."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import pytest

from models.catalogue import DOMAIN_TOPICS, topic_of, types_of
from models.dead_letter import Reason
from models.record import Record
from tests.histories import history, shuffles
from tests.oracle import dead_letters, parts, profiles

ADA = "crm:4711"
Event = dict[str, Any]


def event(
    kind: str, time: str, *, subject: str = ADA, source: str = "crm", id: str = "", **data: Any
) -> Event:
    """An event; its id is its type and time unless it is given."""
    envelope = {"specversion": "1.0", "id": id or f"{kind}@{time}", "source": source, "type": kind}
    return {**envelope, "time": time, "subject": subject, "data": data}


def logged(*events: Event, at: str | None = None) -> list[Record]:
    """Each event in partition 0 of its topic, in this order, logged `at` or when it occurred."""
    records: list[Record] = []
    for one in events:
        topic = topic_of(one["type"])
        offset = sum(record.topic == topic for record in records)
        millis = int(datetime.fromisoformat(at or one["time"]).timestamp() * 1_000)
        value = json.dumps(one).encode()
        records.append(Record(topic, 0, offset, millis, one["subject"].encode(), value, []))
    return records


def profile(*events: Event, at: str | None = None, **settings: Any) -> dict[str, Any]:
    """Ada's profile after these events."""
    return profiles(logged(*events, at=at), **settings)[ADA]


def page(number: int, **changed: Any) -> Event:
    """One of many page views, a second apart, in the order of their numbers."""
    at = f"2026-01-01T{number // 3_600:02}:{number // 60 % 60:02}:{number % 60:02}Z"
    return event("marketing.page_viewed", at, page="/", id=f"p{number}") | changed


def order(number: int, time: str, amount: int, **data: Any) -> Event:
    """An order in euros, numbered."""
    return event(
        "sales.order_placed", time, order_id=f"O-{number}", amount_minor=amount, currency="EUR", **data
    )


# Ada Byron, as the example of the contract has her, all of it under one subject.


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
        event("sales.order_returned", "2025-06-20T08:00:00Z", order_id="O-7", amount_minor=4_000, currency="EUR"),
        order(8, "2026-02-20T15:00:00Z", 9_900, **in_store, promised_at="2026-02-22T18:00:00Z"),
        event("sales.order_delivered", "2026-02-23T11:00:00Z", order_id="O-8"),
        event("sales.contract_signed", "2024-06-01T09:00:00Z", contract_id="K-1", product_line="insurance"),
    )["sales"]  # fmt: skip
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


def test_ada_owes_one_invoice_after_two_failed_payments() -> None:
    def bill(kind: str, time: str, amount: int, **data: Any) -> Event:
        return event(f"billing.{kind}", time, amount_minor=amount, currency="EUR", **data)

    document = profile(
        bill("invoice_issued", "2025-06-01T08:00:00Z", 4_000, invoice_id="I-70", due_at="2025-06-15T00:00:00Z"),
        bill("payment_received", "2025-06-02T08:00:00Z", 4_000, payment_id="Y-60", invoice_id="I-70"),
        bill("invoice_issued", "2026-01-05T00:00:00Z", 4_990, invoice_id="I-87", due_at="2026-02-05T00:00:00Z"),
        bill("payment_received", "2026-01-28T06:00:00Z", 4_990, payment_id="Y-70", invoice_id="I-87"),
        bill("invoice_issued", "2026-02-05T00:00:00Z", 4_990, invoice_id="I-88", due_at="2026-03-05T00:00:00Z"),
        bill("refund_requested", "2026-02-24T10:00:00Z", 4_000, refund_id="R-3"),
        bill("credit_note_issued", "2026-02-26T09:00:00Z", 4_000, credit_note_id="N-1", invoice_id="I-70"),
        bill("refund_issued", "2026-02-26T10:00:00Z", 4_000, refund_id="R-3", invoice_id="I-70"),
        event("billing.payment_failed", "2026-02-27T06:00:00Z", code="insufficient_funds", invoice_id="I-88"),
        event("billing.payment_failed", "2026-02-28T06:00:00Z", code="card_expired", invoice_id="I-88", id="01J9Y"),
        event("billing.dunning_sent", "2026-02-28T07:00:00Z", level=1),
        bill("subscription_started", "2024-06-28T00:00:00Z", 4_990, subscription_id="U-1", plan="care-plus",
             interval="P1M", renews_at="2026-03-28T00:00:00Z"),
    )  # fmt: skip
    open_invoice = {"invoice_id": "I-88", "amount_minor": 4_990, "open_minor": 4_990, "currency": "EUR"}
    refund = {"refund_id": "R-3", "status": "issued", "requested_at": "2026-02-24T10:00:00Z"}
    refund |= {"issued_at": "2026-02-26T10:00:00Z", "amount_minor": 4_000, "currency": "EUR"}
    subscription = {"subscription_id": "U-1", "plan": "care-plus", "status": "active", "amount_minor": 4_990}
    subscription |= {"currency": "EUR", "interval": "P1M", "renews_at": "2026-03-28T00:00:00Z"}
    payment = {"payment_id": "Y-70", "occurred_at": "2026-01-28T06:00:00Z", "amount_minor": 4_990}
    assert document["billing"] == {
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
    assert document["summary"]["contact_reason"] == "payment_failed"
    assert document["summary"]["contact_reason_text"] == "Invoice I-88: card expired"
    assert document["summary"]["balance_minor"] == 4_990
    failure = next(row for row in document["timeline"] if row["event_id"] == "01J9Y")
    assert failure["title"] == "Payment failed: card expired"
    assert "amount_minor" not in failure


def test_ada_spoke_to_an_assistant_and_waits_for_a_call() -> None:
    def talk(time: str, automated: bool, **data: Any) -> Event:
        return event("service.conversation_held", time, conversation_id=time, automated=automated, **data)

    last = {"channel": "chat", "id": "01J9Z", "seconds": 321, "disposition": "not_solved"}
    document = profile(
        *(talk(f"2025-0{month}-01T00:00:00Z", False, seconds=60, waiting_seconds=200) for month in (1, 2, 3, 4)),
        talk("2025-05-01T00:00:00Z", True, seconds=60, waiting_seconds=40, transfers=3, employee_id="E-7"),
        talk("2026-03-01T10:42:07Z", True, **last),
        event("service.case_opened", "2026-02-28T09:00:00Z", case_id="S-5", topic="billing.card_declined",
              priority="high", due_at="2026-03-02T09:00:00Z", url="https://crm.example/S-5"),
        event("service.case_changed", "2026-02-28T09:05:00Z", case_id="S-5", owner_id="E-7"),
        event("service.promise_made", "2026-02-01T00:00:00Z", promise_id="PR-1", text="x", due_at="2026-02-02T00:00:00Z"),
        event("service.promise_broken", "2026-02-02T00:00:00Z", promise_id="PR-1"),
        event("service.promise_made", "2026-02-28T16:00:00Z", promise_id="PR-2", text="Call back about invoice I-88",
              due_at="2026-03-01T17:00:00+01:00"),
        event("marketing.social_mentioned", "2026-01-01T00:00:00Z", platform="forum", thread_id="T-1"),
        event("marketing.social_replied", "2026-01-01T00:21:00.999Z", thread_id="T-1", automated=True),
        event("marketing.social_replied", "2026-01-01T00:22:00Z", thread_id="T-1", automated=True),
        event("marketing.social_mentioned", "2026-01-02T00:00:00Z", platform="forum", thread_id="T-2", needs_reply=False),
        event("service.task_attempted", "2026-01-01T00:00:00Z", task="pay", outcome="succeeded", seconds=600, clicks=47),
        event("service.task_attempted", "2026-01-02T00:00:00Z", task="pay", outcome="failed", seconds=10, errors=2),
    )  # fmt: skip
    service = document["service"]
    assert (service["contact_count"], service["waiting_seconds_total"], service["transfer_count"]) == (
        6,
        840,
        3,
    )
    assert service["replies"] == {"human": 4, "automated": 4}
    contact = {"occurred_at": "2026-03-01T10:42:07Z", "channel": "chat", "employee_id": None}
    assert service["last_contact"] == contact | {"automated": True, "event_id": "01J9Z"}
    case = {"case_id": "S-5", "status": "open", "topic": "billing.card_declined", "priority": "high"}
    case |= {"opened_at": "2026-02-28T09:00:00Z", "due_at": "2026-03-02T09:00:00Z", "owner_id": "E-7"}
    assert service["cases"] == [case | {"url": "https://crm.example/S-5"}]
    promise = {"promise_id": "PR-2", "text": "Call back about invoice I-88", "due_at": "2026-03-01T16:00:00Z"}
    assert service["promises"] == {"kept_count": 0, "broken_count": 1, "open": [promise | {"status": "open"}]}
    assert service["social"] == {"mention_count": 2, "replied_count": 1, "replied_within_30_min_count": 1,
                                 "reply_seconds_total": 1_260, "unanswered": []}  # fmt: skip
    assert service["self_service"] == {"attempt_count": 2, "success_count": 1, "abandoned_count": 0,
                                       "error_count": 2, "seconds_total": 610, "click_count": 47}  # fmt: skip
    summary = document["summary"]
    assert document["timeline"][0]["title"] == "Chat with assistant, 6 min, not solved"
    # The promise began after the case was opened.
    assert summary["contact_reason_text"] == "Promise PR-2: Call back about invoice I-88"
    assert (summary["open_case_count"], summary["last_employee_id"]) == (1, "E-7")


def test_ada_is_known_by_name_mail_and_phone_and_says_what_she_allows() -> None:
    address = {
        "street_address": "Unter den Linden 1",
        "postal_code": "10117",
        "locality": "Berlin",
        "country": "DE",
    }
    mail = {"type": "email", "value": " Ada@Example.com", "verified": True}
    phone = {"type": "phone", "value": "030 / 90 18 20"}

    def consent(channel: str, time: str, *, granted: bool, id: str) -> Event:
        said = {"purpose": "marketing", "channel": channel, "granted": granted, "legal_basis": "consent"}
        return event("marketing.consent_changed", time, id=id, **said)

    document = profile(
        event("marketing.profile_updated", "2024-05-02T08:00:00Z", id="01J9A", given_name="Ada", family_name="Byron",
              birthdate="1985-12-10", address=address | {"use": "billing"}, tier="gold", identifiers=[mail]),
        event("marketing.preference_stated", "2024-05-03T09:00:00Z", id="01JC1", contact_channel="phone",
              contact_hours="17:00-20:00", prefers_human=True, values=["climate"], identifiers=[phone]),
        consent("phone", "2025-06-01T09:30:00Z", granted=False, id="01JB7"),
        consent("email", "2025-01-10T12:00:00Z", granted=True, id="01JA2"),
    )  # fmt: skip
    identity, mailed = document["identity"], {"status": "linking", "sources": [ADA]}
    assert (identity["given_name"], identity["email"], identity["phone_number"]) == (
        "Ada",
        "ada@example.com",
        "+4930901820",
    )
    assert list(identity["provenance"]) == [
        "given_name",
        "family_name",
        "birthdate",
        "email",
        "phone_number",
        "tier",
    ]
    assert identity["provenance"]["family_name"] == {
        "source": "crm", "event_id": "01J9A", "occurred_at": "2024-05-02T08:00:00Z", "rule": "most_trusted_then_latest",
    }  # fmt: skip
    assert identity["addresses"] == [address | {"use": "billing"}]
    assert identity["identifiers"] == [
        {"type": "email", "value": "ada@example.com", **mailed, "verified_at": "2024-05-02T08:00:00Z",
         "first_seen_at": "2024-05-02T08:00:00Z"},
        {"type": "phone", "value": "+4930901820", **mailed, "verified_at": None, "first_seen_at": "2024-05-03T09:00:00Z"},
    ]  # fmt: skip
    permissions = document["consent"]["permissions"]
    assert [(row["channel"], row["granted"], row["event_id"]) for row in permissions] == [
        ("email", True, "01JA2"),
        ("phone", False, "01JB7"),
    ]
    assert document["consent"]["stated_values"] == [{"value": "climate", "event_id": "01JC1"}]
    summary = document["summary"]
    assert (summary["display_name"], summary["tier"], summary["callback_phone"]) == (
        "Ada Byron",
        "gold",
        "+4930901820",
    )
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


# The laws of docs/profile.md, one by one.


def test_a_customer_id_is_eighty_bits_of_the_founders_hash() -> None:
    # printf crm:4711 | sha256sum begins 225353f51dad1d365b16... read five bits at a time.
    assert profile(page(1))["customer_id"] == "cus_499N3X8XM5CNPS6H"


def test_a_repeat_among_the_last_64_events_changes_only_the_revision() -> None:
    pages = [page(number) for number in range(64)]
    document = profile(*pages, page(0, data={"page": "/other", "zz": 1, "channel": "app"}))
    assert document["marketing"]["touches"] == {"web": 64}
    assert document["meta"]["revisions"] == 65
    assert document["meta"]["ignored_fields"] == 0


def test_a_repeat_from_65_events_back_counts_again() -> None:
    document = profile(*[page(number) for number in range(65)], page(0))
    assert document["marketing"]["touches"] == {"web": 66}
    assert document["meta"]["truncated"] == []


def test_repeats_do_not_push_events_out_of_the_window() -> None:
    document = profile(page(0), *[page(number) for number in range(1, 64)], *[page(1)] * 10, page(0))
    assert document["marketing"]["touches"] == {"web": 64}


def test_an_id_is_unique_only_within_its_source() -> None:
    assert profile(page(1), page(1, source="shop"))["marketing"]["touches"] == {"web": 2}


def test_a_time_more_than_five_minutes_ahead_becomes_the_log_time() -> None:
    log = "2026-01-01T00:00:00Z"
    on_time = profile(event("sales.lead_created", "2026-01-01T00:05:00Z", lead_id="L"), at=log)["meta"]
    ahead = profile(event("sales.lead_created", "2026-01-01T00:05:00.000001Z", lead_id="L"), at=log)["meta"]
    assert (on_time["last_event_at"], on_time["clamped_times"]) == ("2026-01-01T00:05:00Z", 0)
    assert (ahead["last_event_at"], ahead["clamped_times"]) == ("2026-01-01T00:00:00Z", 1)


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("2026-03-01T12:42:07+02:00", "2026-03-01T10:42:07Z"),
        ("2026-03-01T10:42:07.120000z", "2026-03-01T10:42:07.120Z"),
        ("2026-03-01T10:42:07.0001Z", "2026-03-01T10:42:07.000100Z"),
        ("2026-03-01T10:42:07.9999995Z", "2026-03-01T10:42:08Z"),
        ("2026-03-01T10:42:07.9999994Z", "2026-03-01T10:42:07.999999Z"),
        ("2026-03-01T02:12:07-08:30", "2026-03-01T10:42:07Z"),
    ],
)
def test_an_instant_is_shown_in_utc_with_as_many_digits_as_it_needs(written: str, shown: str) -> None:
    lead = event("sales.lead_created", written, lead_id="L")
    assert profile(lead, at="2026-03-01T10:43:00Z")["timeline"][0]["occurred_at"] == shown


def test_among_equal_keys_the_greater_value_counts_for_first_and_last() -> None:
    def viewed(channel: str, number: int) -> Event:
        return event(
            "marketing.page_viewed", "2026-01-01T00:00:00Z", id="same", page=str(number), channel=channel
        )

    between = [
        event("marketing.page_viewed", "2026-01-01T00:00:00Z", id=f"same{n}", page="/") for n in range(64)
    ]
    marketing = profile(viewed("app", 1), *between, viewed("social", 2))["marketing"]
    assert marketing["first_touch"]["channel"] == "social"


def test_the_most_trusted_source_wins_over_the_latest() -> None:
    def named(name: str, time: str, source: str) -> Event:
        return event("marketing.profile_updated", time, source=source, given_name=name)

    events = [
        named("Ada", "2024-01-01T00:00:00Z", "crm/berlin"),
        named("A.", "2025-01-01T00:00:00Z", "crmx"),
        named("Augusta", "2025-02-01T00:00:00Z", "shop"),
    ]
    assert profile(*events)["identity"]["given_name"] == "Augusta"
    assert profile(*events, trust=("crm", "shop"))["identity"]["given_name"] == "Ada"
    assert profile(*events, trust=("shop/checkout", "crmx"))["identity"]["given_name"] == "A."


def test_the_forty_first_order_makes_a_part_forget_its_oldest_closed_one() -> None:
    placed = [order(number, f"2026-01-01T00:00:{number:02}Z", 100) for number in range(40)]
    delivered = event("sales.order_delivered", "2026-01-02T00:00:00Z", order_id="O-39")
    amended = {"order_id": "O-39", "delta_minor": 5, "currency": "EUR"}
    document = profile(
        *placed,
        delivered,
        order(40, "2026-01-03T00:00:00Z", 100),
        event("sales.order_amended", "2026-01-04T00:00:00Z", **amended),
    )
    orders = document["sales"]["orders"]
    # O-39 was forgotten and began anew as an order of unknown status, then O-40 and the rest are open.
    assert [row["order_id"] for row in orders[:2]] == ["O-40", "O-38"]
    assert document["sales"]["order_count"] == 41
    assert document["meta"]["truncated"] == ["sales.orders"]
    assert document["sales"]["revenue"][0]["gross_minor"] == 4_105


def test_an_earlier_first_order_moves_the_window_and_what_was_forgotten_stays_forgotten() -> None:
    in_june, in_december, in_may, in_july = (
        f"2025-{month}-10T00:00:00Z" for month in ("06", "12", "05", "07")
    )
    days = [order(number, time, 1) for number, time in enumerate((in_june, in_december, in_may, in_july))]
    assert profile(*days)["sales"]["orders_first_90_days"] == 3


def test_an_entity_told_in_the_wrong_order_is_the_same_entity() -> None:
    opened = event("service.case_opened", "2026-01-01T00:00:00Z", case_id="S-1", topic="login")
    resolved = event("service.case_resolved", "2026-01-02T00:00:00Z", case_id="S-1")
    assert profile(resolved, opened)["service"] == profile(opened, resolved)["service"]
    assert profile(resolved, opened)["service"]["cases"][0]["status"] == "resolved"


def test_money_of_two_currencies_is_never_added() -> None:
    def paid(amount: int, currency: str) -> Event:
        data = {"payment_id": currency, "invoice_id": "I-1", "amount_minor": amount, "currency": currency}
        return event("billing.payment_received", f"2026-01-02T00:00:00.{amount:03}Z", **data)

    invoice = {"invoice_id": "I-1", "amount_minor": 500, "currency": "EUR", "due_at": "2026-02-01T00:00:00Z"}
    issued = event("billing.invoice_issued", "2026-01-01T00:00:00Z", **invoice)
    billing = profile(paid(700, "USD"), issued, paid(100, "EUR"))["billing"]
    assert billing["open_invoices"][0]["open_minor"] == 400
    euros, dollars = {"currency": "EUR", "balance_minor": 400}, {"currency": "USD", "balance_minor": -700}
    assert billing["balances"] == [euros, dollars]


@pytest.mark.parametrize(
    ("interval", "amount", "monthly"),
    [("P1Y", 1_206, 101), ("P3M", 100, 33), ("P2M", -1, 0), ("P1W", 100, 435), ("P30D", 3_000, 3_044)],
)
def test_what_recurs_is_told_per_month(interval: str, amount: int, monthly: int) -> None:
    # 1206/12 = 100.5 and -1/2 round up; 100 × 30.4375/7 = 434.82…; 3000 × 30.4375/30 = 3043.75.
    plan = {
        "subscription_id": "U",
        "plan": "p",
        "amount_minor": amount,
        "currency": "EUR",
        "interval": interval,
    }
    started = event("billing.subscription_started", "2026-01-01T00:00:00Z", **plan)
    assert profile(started)["billing"]["recurring"] == [{"currency": "EUR", "monthly_minor": monthly}]


def test_an_older_consent_is_read_as_todays() -> None:
    said = {"purpose": "marketing", "channel": "email", "status": "opt_out", "legal_basis": "consent"}
    older = event("marketing.consent_changed", "2026-01-01T00:00:00Z", **said)
    document = profile(older | {"dataschema": "https://schemas.example/marketing.consent_changed/1"})
    assert document["consent"]["permissions"][0]["granted"] is False
    assert document["summary"]["do_not_contact"] is True
    assert document["meta"]["ignored_fields"] == 0


def test_unknown_fields_and_identifiers_that_say_nothing_are_counted() -> None:
    stated = [
        {"type": "phone", "value": "unknown", "note": "?"},
        {"type": "email", "value": "noreply@x.example"},
    ]
    lead = event("sales.lead_created", "2026-01-01T00:00:00Z", lead_id="L", identifiers=stated, hat="blue")
    document = profile(lead | {"tenant": "eu"})
    assert document["meta"]["ignored_fields"] == 4
    assert document["identity"]["identifiers"] == []


def test_an_employee_has_a_part_and_no_profile() -> None:
    records = logged(
        event(
            "service.employee_surveyed", "2026-01-01T00:00:00Z", subject="employee:E-7", score=9, team_id="T"
        )
    )
    assert profiles(records) == {}
    assert list(parts(records)) == [("service.events", 0, "employee:E-7")]


# The histories, and the oracle on them.


def test_the_same_seed_gives_the_same_history() -> None:
    assert history(7) == history(7)
    assert history(7) != history(8)


def test_lanes_count_from_zero_and_a_key_stays_in_its_partition() -> None:
    lanes = history(1, partitions={"sales.events": 5, "marketing.events": 1}, events=1_500)
    assert sum(len(lane) for lane in lanes) == 1_500
    seen: dict[tuple[str, bytes], int] = {}
    for lane in lanes:
        assert [record.offset for record in lane] == list(range(len(lane)))
        for record in lane:
            if record.key is not None:
                assert seen.setdefault((record.topic, record.key), record.partition) == record.partition


def test_a_history_has_every_type_and_every_reason() -> None:
    lanes = history(3, events=4_000, garbage=0.1, bursts=0)
    kinds = {
        told.type
        for part in parts(record for lane in lanes for record in lane).values()
        for told in part.events
    }
    assert kinds == {kind for topic in DOMAIN_TOPICS for kind in types_of(topic)}
    assert {reason for *_, reason in dead_letters(record for lane in lanes for record in lane)} == set(Reason)
    assert dead_letters(record for lane in history(3, garbage=0) for record in lane) == []


@pytest.mark.parametrize("seed", range(3))
def test_neither_interleaving_nor_redelivery_changes_a_profile(seed: int) -> None:
    lanes = history(seed, bursts=4)
    plain = [record for lane in lanes for record in lane]
    mixed = shuffles(lanes, seed)
    assert len(mixed) > len(plain)
    assert mixed != sorted(mixed[: len(plain)])
    assert profiles(mixed) == profiles(plain)
    assert dead_letters(mixed) == dead_letters(plain)


def test_a_shuffle_shows_each_lane_in_its_order_once_repeats_are_dropped() -> None:
    lanes = history(5)
    position: dict[tuple[str, int], int] = {}
    for record in shuffles(lanes, 11, redelivered=0.3):
        expected = position.get((record.topic, record.partition), 0)
        assert record.offset <= expected
        position[record.topic, record.partition] = max(expected, record.offset + 1)
    assert sum(position.values()) == sum(len(lane) for lane in lanes)
