"""The reference, pinned to docs/profile.md law by law, with figures computed by hand."""

from __future__ import annotations

import pytest

from tests.oracle import parts, profiles
from tests.told_by_hand import Event, event, logged, order, page, profile


def test_a_customer_id_is_eighty_bits_of_the_founders_hash() -> None:
    # SHA-256 begins 225351f51da1595b64d1: 00100 01001 01001 10101 00011 11101…, five bits a character.
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
    "written, shown",
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
            "marketing.page_viewed",
            "2026-01-01T00:00:00Z",
            event_id="same",
            page=str(number),
            channel=channel,
        )

    between = [
        event("marketing.page_viewed", "2026-01-01T00:00:00Z", event_id=f"same{n}", page="/")
        for n in range(64)
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
    "interval, amount, monthly",
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
