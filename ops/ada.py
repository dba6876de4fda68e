"""Ada Byron (crm:4711): one customer whose story a demo can tell.

A gold customer of almost two years, happy for long. Then an order came late, a card expired, a payment failed twice,
a promise to call back was broken. This morning the assistant could not help. She may call any minute.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from random import Random

from ops.chapters_marketing import consent
from ops.life import Life, instant
from ops.people import COUNTRIES, Person

NUMBER = 4711
SUBJECT = f"crm:{NUMBER}"
ADA = Person(
    number=NUMBER, country=COUNTRIES[0], given_name="Ada", family_name="Byron", birthdate="1985-12-10",
    email="ada@example.com", phone="+4930901820",
    address={"use": "billing", "street_address": "Unter den Linden 1", "postal_code": "10117", "locality": "Berlin", "country": "DE"},
    locale="de-DE", tier="gold",
)  # fmt: skip
# order, days ago, channel, product, euro cents; the last of them comes late.
ORDERS = (
    ("O-1", 668, "web", "P-12", 2490), ("O-2", 640, "store", "P-11", 1990), ("O-3", 610, "store", "P-15", 7900),
    ("O-4", 480, "web", "P-12", 7470), ("O-5", 365, "store", "P-16", 12900), ("O-6", 240, "store", "P-14", 9980),
    ("O-7", 130, "web", "P-13", 3990), ("O-8", 9, "store", "P-15", 7900),
)  # fmt: skip


def ada(seed: int, end: datetime) -> Life:
    """Her life up to `end`."""
    life = Life(ADA, Random(f"{seed}/ada"), end, 672)
    _beginning(life, end)
    _orders(life, end)
    _subscription(life, end)
    _campaigns(life, end)
    _good_times(life, end)
    _last_weeks(life, end)
    return life


def _ago(end: datetime, days: float, hour: int = 10, minute: int = 0) -> datetime:
    return (end - timedelta(days=days)).replace(hour=hour, minute=minute, second=0, microsecond=0)


def _beginning(life: Life, end: datetime) -> None:
    life.tell("marketing.page_viewed", _ago(end, 680, 19, 12), "shop/web", page="/insurance", channel="web", campaign_id="C-3")
    life.tell("marketing.profile_updated", _ago(end, 669, 8), "crm", given_name="Ada", family_name="Byron",
              birthdate=ADA.birthdate, email=ADA.email, phone_number=ADA.phone, address=ADA.address, locale=ADA.locale,
              zoneinfo="Europe/Berlin", tier="silver", identifiers=ADA.identifiers(email_verified=True))
    life.tell("marketing.profile_updated", _ago(end, 300, 9), "crm", tier="gold", identifiers=[
        {"type": "loyalty", "value": "LC-4711-08", "verified": True}])
    consent(life, _ago(end, 415, 12), "email", granted=True)
    consent(life, _ago(end, 273, 9, 30), "phone", granted=False)
    life.tell("marketing.preference_stated", _ago(end, 272, 9), "crm", contact_channel="phone", contact_hours="17:00-20:00",
              prefers_human=True, values=["climate"], interests=["mathematics", "music"])
    life.tell("sales.contract_signed", _ago(end, 638, 9), "crm/sales", contract_id="K-1", product_line="insurance")


def _orders(life: Life, end: datetime) -> None:
    for order_id, days, channel, product, amount in ORDERS:
        at = _ago(end, days, 15)
        promised = at + timedelta(days=2, hours=3)
        life.tell("sales.order_placed", at, "store/pos" if channel == "store" else "shop/checkout", order_id=order_id,
                  amount_minor=amount, currency="EUR", channel=channel, margin_minor=amount * 35 // 100,
                  lines=[{"product_id": product, "quantity": max(1, amount // 2490 if product == "P-12" else 1), "amount_minor": amount}],
                  promised_at=instant(promised), touchpoint="checkout.payment", outcome="succeeded",
                  store_id="ST-1" if channel == "store" else None)
        late = order_id == "O-8"
        life.tell("sales.order_delivered", promised + timedelta(hours=17 if late else -20), "warehouse", order_id=order_id,
                  touchpoint="delivery", outcome="failed" if late else "succeeded", problem_code="late" if late else None)
    life.tell("billing.refund_requested", _ago(end, 120), "billing", refund_id="R-3", amount_minor=1995, currency="EUR",
              references=["order:O-7"])
    life.tell("sales.order_returned", _ago(end, 118, 14), "warehouse", order_id="O-7", amount_minor=1995, currency="EUR",
              reason="damaged")
    life.tell("billing.refund_issued", _ago(end, 116), "billing", refund_id="R-3", amount_minor=1995, currency="EUR")
    # The account owed it to her until then.
    life.tell("billing.credit_note_issued", _ago(end, 116, 9), "billing", credit_note_id="CN-3", amount_minor=1995, currency="EUR")


def _subscription(life: Life, end: datetime) -> None:
    """care-plus, 49.90 € a month: paid for eight months; the invoice of this month is I-88."""
    life.tell("billing.subscription_started", _ago(end, 245, 6), "billing", subscription_id="U-1", plan="care-plus",
              amount_minor=4990, currency="EUR", interval="P1M", renews_at=instant(_ago(end, -25, 0)), channel="web")
    for month in range(8):
        at, invoice_id = _ago(end, 245 - 30 * month, 6), f"I-{80 + month}"
        life.tell("billing.invoice_issued", at, "billing", invoice_id=invoice_id, amount_minor=4990, currency="EUR",
                  due_at=instant(at + timedelta(days=14)))
        life.tell("billing.payment_received", at + timedelta(minutes=20), "billing", payment_id=f"Y-{62 + month}",
                  amount_minor=4990, currency="EUR", invoice_id=invoice_id)


def _campaigns(life: Life, end: datetime) -> None:
    for number in range(14):
        at, campaign_id = _ago(end, 395 - 30 * number, 17), f"C-{28 + number}"
        life.tell("marketing.campaign_sent", at, "mailer", campaign_id=campaign_id, channel="email")
        if number % 2:
            life.tell("marketing.campaign_opened", at + timedelta(hours=1), "mailer", campaign_id=campaign_id, channel="email")
        if number % 5 == 3:
            life.tell("marketing.campaign_clicked", at + timedelta(hours=1, minutes=2), "mailer", campaign_id=campaign_id,
                      url="https://shop.example/spring", channel="email")
            life.tell("marketing.page_viewed", at + timedelta(hours=1, minutes=3), "shop/web", page="/spring", channel="web",
                      campaign_id=campaign_id)
    life.tell("marketing.experiment_assigned", _ago(end, 28), "experiments", experiment="short-checkout", variant="B")


def _good_times(life: Life, end: datetime) -> None:
    for days, score in ((600, 9), (230, 9)):
        life.tell("service.survey_answered", _ago(end, days, 12), "survey", survey_id=f"SV-{days}", kind="nps", score=score,
                  scope="relational", incentivised=False, comment="Quick and friendly." if score > 8 else None, touchpoint="relationship")
    life.tell("service.conversation_held", _ago(end, 361, 18), "contact-center", conversation_id="V-1", seconds=340,
              waiting_seconds=40, transfers=0, automated=False, channel="phone", employee_id="E-7", team_id="T-1",
              disposition="solved", asked_for=["customer_number"])
    life.tell("service.promise_made", _ago(end, 361, 18, 6), "contact-center", promise_id="PR-1",
              text="Send the care-plus brochure", due_at=instant(_ago(end, 359, 18)), employee_id="E-7")
    life.tell("service.promise_kept", _ago(end, 360, 11), "contact-center", promise_id="PR-1")
    life.tell("marketing.social_mentioned", _ago(end, 238, 20), "social/listening", platform="mastodon", thread_id="TH-1",
              sentiment="positive", needs_reply=False, text="My new lens from the shop is wonderful.", channel="social")
    life.tell("marketing.page_viewed", _ago(end, 119), "panel", page="/survey", channel="web", traits={"household_size": 3})


def _last_weeks(life: Life, end: datetime) -> None:
    """O-8 late, I-88 failing twice, a case, a broken promise, a low score, and a chat that did not help."""
    answer = life.tell("service.survey_answered", _ago(end, 5, 12), "survey", survey_id="SV-9", kind="nps", score=3,
                       scope="transactional", incentivised=False, comment="Paid twice for a late delivery.", touchpoint="delivery",
                       channel="email")
    life.tell("service.follow_up_opened", _ago(end, 5, 13), "crm/cases", follow_up_id="L-4", kind="recovery",
              trigger_event_id=answer, due_at=instant(_ago(end, 3, 13)), playbook="late-delivery")
    life.tell("service.follow_up_assigned", _ago(end, 5, 15), "crm/cases", follow_up_id="L-4", owner_id="E-7")
    life.tell("billing.invoice_issued", _ago(end, 4, 6), "billing", invoice_id="I-88", amount_minor=4990, currency="EUR",
              due_at=instant(_ago(end, -10, 0)))
    for days in (4, 1):
        life.tell("billing.payment_failed", _ago(end, days, 6, 5), "billing", code="card_expired", invoice_id="I-88",
                  amount_minor=4990, currency="EUR", touchpoint="billing.payment", outcome="failed", problem_code="card_expired")
    life.tell("billing.dunning_sent", _ago(end, 1, 7), "billing", level=1, invoice_id="I-88", channel="email")
    life.tell("service.case_opened", _ago(end, 3, 9), "crm/cases", case_id="S-5", topic="billing.card_declined", priority="high",
              due_at=instant(_ago(end, -1, 9)), url="https://crm.example/S-5", channel="phone")
    life.tell("service.case_changed", _ago(end, 3, 9, 20), "crm/cases", case_id="S-5", status="open", owner_id="E-7",
              employee_id="E-7", team_id="T-1")
    life.tell("service.conversation_held", _ago(end, 3, 9, 30), "contact-center", conversation_id="V-5", seconds=510,
              waiting_seconds=800, transfers=2, automated=False, channel="phone", employee_id="E-7", team_id="T-1",
              disposition="not_solved", case_id="S-5", sentiment="negative", asked_for=["customer_number", "birthdate"],
              identifiers=[{"type": "phone", "value": "030 901820", "verified": False}])
    life.tell("service.promise_made", _ago(end, 3, 9, 45), "contact-center", promise_id="PR-2", text="Call back about invoice I-88",
              due_at=instant(_ago(end, 2, 16)), employee_id="E-7")
    life.tell("service.promise_broken", _ago(end, 2, 18), "contact-center", promise_id="PR-2")
    life.tell("service.conversation_held", end - timedelta(minutes=18), "contact-center", conversation_id="V-6", seconds=351,
              waiting_seconds=0, transfers=0, automated=True, channel="chat", disposition="not_solved", case_id="S-5",
              sentiment="negative", touchpoint="service.billing", outcome="failed", asked_for=["customer_number"])
    life.tell("service.survey_answered", end - timedelta(minutes=9), "survey", survey_id="SV-10", kind="csat", score=2,
              scope="transactional", incentivised=False, comment="The chat sent me in circles.", touchpoint="service.chat")
