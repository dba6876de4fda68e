"""Ada Byron (crm:4711): one customer whose story a demo can tell.

A gold customer of almost two years, happy for long. Then an order came late, a card expired, a payment failed
twice, a promise to call back was broken. This morning the assistant could not help. She may call any minute.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from random import Random
from typing import Any, NamedTuple

from ops.life import Life, instant
from ops.people import COUNTRIES, Person

NUMBER = 4711
SUBJECT = f"crm:{NUMBER}"
HISTORY_DAYS = 680
ADA = Person(
    number=NUMBER,
    country=COUNTRIES[0],
    given_name="Ada",
    family_name="Byron",
    birthdate="1985-12-10",
    email="ada@example.com",
    phone="+4930901820",
    address={
        "use": "billing",
        "street_address": "Unter den Linden 1",
        "postal_code": "10117",
        "locality": "Berlin",
        "country": "DE",
    },
    locale="de-DE",
    tier="gold",
)


class At(NamedTuple):
    """A time of day (UTC), so many days before the end; a negative number lies ahead."""

    days_ago: int
    time: str = "10:00"

    def moment(self, end: datetime) -> datetime:
        """The instant, for a history that ends at `end`."""
        hour, minute = self.time.split(":")
        day = end - timedelta(days=self.days_ago)
        return day.replace(hour=int(hour), minute=int(minute), second=0, microsecond=0)


PLACED = {"touchpoint": "checkout.payment", "outcome": "succeeded"}
FAILED = {
    "code": "card_expired", "invoice_id": "I-88", "amount_minor": 4990, "currency": "EUR",
    "touchpoint": "billing.payment", "outcome": "failed", "problem_code": "card_expired",
}  # fmt: skip
MONEY_BACK = {"amount_minor": 1995, "currency": "EUR"}
RELATIONAL = {"kind": "nps", "scope": "relational", "incentivised": False, "touchpoint": "relationship"}
DELIVERY = {"kind": "nps", "scope": "transactional", "incentivised": False, "touchpoint": "delivery"}
CHAT = {"kind": "csat", "scope": "transactional", "incentivised": False, "touchpoint": "service.chat"}
CALL = {"channel": "phone", "automated": False, "employee_id": "E-7", "team_id": "T-1"}
# What an event is, when, where it comes from, and what it says: the story as it is told.
Told = tuple[str, At, str, dict[str, Any]]
# fmt: off
BEGINNING: tuple[Told, ...] = (
    ("marketing.page_viewed", At(680, "19:12"), "shop/web", {
        "page": "/insurance", "channel": "web", "campaign_id": "C-3"}),
    ("marketing.profile_updated", At(669, "08:00"), "crm", {
        "given_name": "Ada", "family_name": "Byron", "birthdate": ADA.birthdate, "email": ADA.email,
        "phone_number": ADA.phone, "address": ADA.address, "locale": ADA.locale, "zoneinfo": "Europe/Berlin",
        "tier": "silver", "identifiers": ADA.identifiers(email_verified=True)}),
    ("sales.contract_signed", At(638, "09:00"), "crm/sales", {
        "contract_id": "K-1", "product_line": "insurance"}),
    ("service.survey_answered", At(600, "12:00"), "survey", RELATIONAL | {
        "survey_id": "SV-1", "score": 9, "comment": "Quick and friendly."}),
    ("marketing.consent_changed", At(415, "12:00"), "consent-portal", {
        "purpose": "marketing", "channel": "email", "granted": True, "legal_basis": "consent",
        "proof": "double opt-in"}),
    ("service.conversation_held", At(361, "18:00"), "contact-center", CALL | {
        "conversation_id": "V-1", "seconds": 340, "waiting_seconds": 40, "transfers": 0,
        "disposition": "solved", "asked_for": ["customer_number"]}),
    ("service.promise_made", At(361, "18:06"), "contact-center", {
        "promise_id": "PR-1", "text": "Send the care-plus brochure", "due_at": At(359, "18:00"),
        "employee_id": "E-7"}),
    ("service.promise_kept", At(360, "11:00"), "contact-center", {"promise_id": "PR-1"}),
    ("marketing.profile_updated", At(300, "09:00"), "crm", {
        "tier": "gold", "identifiers": [{"type": "loyalty", "value": "LC-4711-08", "verified": True}]}),
    ("marketing.consent_changed", At(273, "09:30"), "consent-portal", {
        "purpose": "marketing", "channel": "phone", "granted": False, "legal_basis": "consent"}),
    ("marketing.preference_stated", At(272, "09:00"), "crm", {
        "contact_channel": "phone", "contact_hours": "17:00-20:00", "prefers_human": True,
        "values": ["climate"], "interests": ["mathematics", "music"]}),
    ("billing.subscription_started", At(245, "06:00"), "billing", {
        "subscription_id": "U-1", "plan": "care-plus", "amount_minor": 4990, "currency": "EUR",
        "interval": "P1M", "renews_at": At(-25, "00:00"), "channel": "web"}),
    ("marketing.social_mentioned", At(238, "20:00"), "social/listening", {
        "platform": "mastodon", "thread_id": "TH-1", "sentiment": "positive", "needs_reply": False,
        "channel": "social", "text": "My new lens from the shop is wonderful."}),
    ("service.survey_answered", At(230, "12:00"), "survey", RELATIONAL | {"survey_id": "SV-2", "score": 9}),
    ("billing.refund_requested", At(120), "billing", MONEY_BACK | {
        "refund_id": "R-3", "references": ["order:O-7"]}),
    ("marketing.page_viewed", At(119), "panel", {
        "page": "/survey", "channel": "web", "traits": {"household_size": 3}}),
    ("sales.order_returned", At(118, "14:00"), "warehouse", MONEY_BACK | {
        "order_id": "O-7", "reason": "damaged"}),
    ("billing.credit_note_issued", At(116, "09:00"), "billing", MONEY_BACK | {"credit_note_id": "CN-3"}),
    ("billing.refund_issued", At(116), "billing", MONEY_BACK | {"refund_id": "R-3"}),
    ("marketing.experiment_assigned", At(28), "experiments", {
        "experiment": "short-checkout", "variant": "B"}),
)
LAST_DAYS: tuple[Told, ...] = (
    ("service.follow_up_opened", At(5, "13:00"), "crm/cases", {
        "follow_up_id": "L-4", "kind": "recovery", "due_at": At(3, "13:00"), "playbook": "late-delivery"}),
    ("service.follow_up_assigned", At(5, "15:00"), "crm/cases", {"follow_up_id": "L-4", "owner_id": "E-7"}),
    ("billing.invoice_issued", At(4, "06:00"), "billing", {
        "invoice_id": "I-88", "amount_minor": 4990, "currency": "EUR", "due_at": At(-10, "00:00")}),
    ("billing.payment_failed", At(4, "06:05"), "billing", FAILED),
    ("service.case_opened", At(3, "09:00"), "crm/cases", {
        "case_id": "S-5", "topic": "billing.card_declined", "priority": "high", "due_at": At(-1, "09:00"),
        "url": "https://crm.example/S-5", "channel": "phone"}),
    ("service.case_changed", At(3, "09:20"), "crm/cases", {
        "case_id": "S-5", "status": "open", "owner_id": "E-7", "employee_id": "E-7", "team_id": "T-1"}),
    ("service.conversation_held", At(3, "09:30"), "contact-center", CALL | {
        "conversation_id": "V-5", "seconds": 510, "waiting_seconds": 800, "transfers": 2, "case_id": "S-5",
        "disposition": "not_solved", "sentiment": "negative", "asked_for": ["customer_number", "birthdate"],
        "identifiers": [{"type": "phone", "value": "030 901820", "verified": False}]}),
    ("service.promise_made", At(3, "09:45"), "contact-center", {
        "promise_id": "PR-2", "text": "Call back about invoice I-88", "due_at": At(2, "16:00"),
        "employee_id": "E-7"}),
    ("service.promise_broken", At(2, "18:00"), "contact-center", {"promise_id": "PR-2"}),
    ("billing.payment_failed", At(1, "06:05"), "billing", FAILED),
    ("billing.dunning_sent", At(1, "07:00"), "billing", {
        "level": 1, "invoice_id": "I-88", "channel": "email"}),
)
# fmt: on
# order, days ago, channel, product, euro cents; the last of them comes late.
ORDERS = (
    ("O-1", 668, "web", "P-12", 2490),
    ("O-2", 640, "store", "P-11", 1990),
    ("O-3", 610, "store", "P-15", 7900),
    ("O-4", 480, "web", "P-12", 7470),
    ("O-5", 365, "store", "P-16", 12900),
    ("O-6", 240, "store", "P-14", 9980),
    ("O-7", 130, "web", "P-13", 3990),
    ("O-8", 9, "store", "P-15", 7900),
)  # fmt: skip
LATE_ORDER = "O-8"
UNIT_CENTS = 2490


def ada(seed: int, end: datetime) -> Life:
    """Her life up to `end`."""
    life = Life(ADA, Random(f"{seed}/ada"), end, HISTORY_DAYS)
    _tell(life, end, BEGINNING)
    for order_id, days_ago, channel, product, cents in ORDERS:
        _order(life, end, order_id, At(days_ago, "15:00").moment(end), channel, product, cents)
    for month in range(8):
        _paid_month(life, month, At(245 - 30 * month, "06:00").moment(end))
    for number in range(14):
        _campaign(life, number, At(395 - 30 * number, "17:00").moment(end))
    survey = {
        "survey_id": "SV-9",
        "score": 3,
        "comment": "Paid twice for a late delivery.",
        "channel": "email",
    }
    answer = life.tell("service.survey_answered", At(5, "12:00").moment(end), "survey", **DELIVERY | survey)
    _tell(life, end, LAST_DAYS, trigger_event_id=answer)
    _today(life, end)
    return life


def _tell(life: Life, end: datetime, story: tuple[Told, ...], trigger_event_id: str | None = None) -> None:
    for wire_type, at, source, said in story:
        data = {
            name: instant(value.moment(end)) if isinstance(value, At) else value
            for name, value in said.items()
        }
        if wire_type == "service.follow_up_opened":
            data["trigger_event_id"] = trigger_event_id
        life.tell(wire_type, at.moment(end), source, **data)


def _order(
    life: Life, end: datetime, order_id: str, at: datetime, channel: str, product: str, cents: int
) -> None:
    promised = at + timedelta(days=2, hours=3)
    quantity = cents // UNIT_CENTS if product == "P-12" else 1
    life.tell(
        "sales.order_placed",
        at,
        "store/pos" if channel == "store" else "shop/checkout",
        order_id=order_id,
        amount_minor=cents,
        currency="EUR",
        channel=channel,
        margin_minor=cents * 35 // 100,
        lines=[{"product_id": product, "quantity": quantity, "amount_minor": cents}],
        promised_at=instant(promised),
        store_id="ST-1" if channel == "store" else None,
        **PLACED,
    )
    late = order_id == LATE_ORDER
    life.tell(
        "sales.order_delivered",
        promised + timedelta(hours=17 if late else -20),
        "warehouse",
        order_id=order_id,
        touchpoint="delivery",
        outcome="failed" if late else "succeeded",
        problem_code="late" if late else None,
    )


def _paid_month(life: Life, month: int, at: datetime) -> None:
    """care-plus, 49.90 € a month: paid for eight months; the invoice after them is I-88."""
    amount = {"invoice_id": f"I-{80 + month}", "amount_minor": 4990, "currency": "EUR"}
    due = instant(at + timedelta(days=14))
    life.tell("billing.invoice_issued", at, "billing", due_at=due, **amount)
    life.tell(
        "billing.payment_received",
        at + timedelta(minutes=20),
        "billing",
        payment_id=f"Y-{62 + month}",
        **amount,
    )


def _campaign(life: Life, number: int, at: datetime) -> None:
    """She opens every other one, and follows the link of a few."""
    sent = {"campaign_id": f"C-{28 + number}", "channel": "email"}
    opened = at + timedelta(hours=1)
    life.tell("marketing.campaign_sent", at, "mailer", **sent)
    if number % 2:
        life.tell("marketing.campaign_opened", opened, "mailer", **sent)
    if number % 5 == 3:
        clicked = opened + timedelta(minutes=2)
        life.tell("marketing.campaign_clicked", clicked, "mailer", url="https://shop.example/spring", **sent)
        seen = sent | {"page": "/spring", "channel": "web"}
        life.tell("marketing.page_viewed", clicked + timedelta(minutes=1), "shop/web", **seen)


def _today(life: Life, end: datetime) -> None:
    """A quarter of an hour ago: a chat with the assistant, and what she thought of it."""
    life.tell(
        "service.conversation_held",
        end - timedelta(minutes=18),
        "contact-center",
        conversation_id="V-6",
        seconds=351,
        waiting_seconds=0,
        transfers=0,
        automated=True,
        channel="chat",
        disposition="not_solved",
        case_id="S-5",
        sentiment="negative",
        touchpoint="service.billing",
        outcome="failed",
        asked_for=["customer_number"],
    )
    answered = {"survey_id": "SV-10", "score": 2, "comment": "The chat sent me in circles."}
    life.tell("service.survey_answered", end - timedelta(minutes=9), "survey", **CHAT | answered)
