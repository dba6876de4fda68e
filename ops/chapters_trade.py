"""The chapters of a life that are about buying and paying."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, NamedTuple

from ops.chapters_care import complaint, late_delivery, survey_after
from ops.life import Life, instant

# product, euro cents, margin in percent.
PRODUCTS = (
    ("P-11", 1990, 40), ("P-12", 2490, 35), ("P-13", 3990, 30), ("P-14", 4990, 30), ("P-15", 7900, 25),
    ("P-16", 12900, 22), ("P-17", 24900, 18), ("P-18", 990, 55), ("P-19", 59900, 12), ("P-20", 1490, 45),
)  # fmt: skip
PRODUCT_WEIGHTS = (10, 12, 10, 9, 7, 5, 3, 14, 1, 10)
FAILURE_CODES = ("card_expired", "insufficient_funds", "card_declined", "mandate_revoked")
RETURN_REASONS = ("wrong_size", "damaged", "not_as_described", "changed_mind")


class Order(NamedTuple):
    """What the later steps of an order need to know of it."""

    order_id: str
    placed_at: datetime
    promised_at: datetime
    amount_minor: int
    channel: str


def order(life: Life, days_ago: float, campaign_id: str | None = None) -> None:
    """One purchase, with all that follows from it."""
    channel = life.rng.choices(("web", "app", "store", "phone"), (50, 22, 22, 6))[0]
    at = life.day(days_ago)
    if channel in ("web", "app"):
        at = _browse(life, at, channel, campaign_id)
        if life.chance(0.05):
            life.tell(
                "sales.basket_abandoned",
                at,
                "shop/web",
                basket_id=life.id("B"),
                channel=channel,
                amount_minor=life.price(life.rng.choice(PRODUCTS)[1]),
                currency=life.country.currency,
                touchpoint="checkout.basket",
                outcome="abandoned",
            )
            return
        at = life.later(at, 0.02, 0.2)
    placed = _place(life, at, channel, campaign_id)
    if life.chance(0.04):
        life.tell(
            "sales.order_cancelled",
            life.later(at, 1, 20),
            "shop/checkout",
            order_id=placed.order_id,
            delta_minor=-placed.amount_minor,
            currency=life.country.currency,
            reason=life.rng.choice(("changed_mind", "too_slow", "ordered_twice")),
            channel=channel,
        )
        return
    if channel == "store":
        survey_after(life, life.later(at, 2, 30), "store", share=0.12)
        return
    invoice(life, life.later(at, 0.1, 2), placed.amount_minor, order_id=placed.order_id)
    _deliver(life, placed)


def _browse(life: Life, at: datetime, channel: str, campaign_id: str | None) -> datetime:
    for step in range(life.rng.randint(1, 4)):
        product = life.rng.choices(PRODUCTS, PRODUCT_WEIGHTS)[0][0]
        life.tell(
            "marketing.page_viewed",
            at,
            "shop/web",
            page=f"/products/{product}",
            channel=channel,
            campaign_id=campaign_id if step == 0 else None,
        )
        at = life.later(at, 0.01, 0.12)
    return at


def _place(life: Life, at: datetime, channel: str, campaign_id: str | None) -> Order:
    lines: list[dict[str, Any]] = []
    for product, cents, margin in life.rng.choices(
        PRODUCTS, PRODUCT_WEIGHTS, k=life.rng.choices((1, 2, 3), (6, 3, 1))[0]
    ):
        quantity = life.rng.choices((1, 2, 3), (8, 2, 1))[0]
        amount = quantity * life.price(cents)
        lines.append(
            {
                "product_id": product,
                "quantity": quantity,
                "amount_minor": amount,
                "margin_minor": amount * margin // 100,
            }
        )
    amount = sum(line["amount_minor"] for line in lines)
    order_id = life.id("O")
    promised = (at + timedelta(days=3)).replace(hour=18, minute=0, second=0)
    if channel in ("web", "app") and life.chance(0.06):
        # The first try of the payment fails, the second works: that is friction, too.
        life.tell(
            "service.task_attempted",
            life.later(at, -0.1, -0.02),
            "shop/web",
            task="pay",
            outcome="failed",
            seconds=life.rng.randint(20, 120),
            errors=1,
            clicks=life.rng.randint(4, 12),
            channel=channel,
            touchpoint="checkout.payment",
            problem_code="card_declined",
            asked_for=["card_number"],
        )
    life.tell(
        "sales.order_placed",
        at,
        "store/pos" if channel == "store" else "shop/checkout",
        order_id=order_id,
        amount_minor=amount,
        currency=life.country.currency,
        lines=lines,
        margin_minor=sum(line["margin_minor"] for line in lines),
        channel=channel,
        campaign_id=campaign_id,
        promised_at=None if channel == "store" else instant(promised),
        touchpoint="checkout.payment",
        outcome="succeeded",
        store_id=life.rng.choice(("ST-1", "ST-2", "ST-3")) if channel == "store" else None,
        identifiers=life.person.identifiers()[:1] if channel == "web" and life.chance(0.3) else None,
    )
    return Order(order_id, at, promised, amount, channel)


def _deliver(life: Life, placed: Order) -> None:
    late = life.chance(0.12)
    at = life.later(placed.promised_at, 10, 90) if late else life.later(placed.promised_at, -30, -1)
    if life.chance(0.03):
        amended = -placed.amount_minor // 10
        life.tell(
            "sales.order_amended",
            life.later(placed.placed_at, 2, 20),
            "shop/checkout",
            order_id=placed.order_id,
            delta_minor=amended,
            currency=life.country.currency,
        )
    life.tell(
        "sales.order_delivered",
        at,
        "warehouse",
        order_id=placed.order_id,
        touchpoint="delivery",
        outcome="failed" if late else "succeeded",
        problem_code="late" if late else None,
    )
    if late:
        late_delivery(life, at, placed.order_id)
    survey_after(life, life.later(at, 3, 60), "delivery", share=0.25)
    if life.chance(0.09):
        _return(life, life.after_days(at, 1, 12), placed)


def _return(life: Life, at: datetime, placed: Order) -> None:
    part = placed.amount_minor if life.chance(0.6) else placed.amount_minor // 2
    refund_id = life.id("R")
    life.tell(
        "billing.refund_requested",
        at,
        "billing",
        refund_id=refund_id,
        amount_minor=part,
        currency=life.country.currency,
        references=[f"order:{placed.order_id}"],
        channel="web",
    )
    back = life.after_days(at, 2, 6)
    life.tell(
        "sales.order_returned",
        back,
        "warehouse",
        order_id=placed.order_id,
        amount_minor=part,
        currency=life.country.currency,
        reason=life.rng.choice(RETURN_REASONS),
    )
    life.tell(
        "billing.credit_note_issued",
        back + timedelta(minutes=10),
        "billing",
        credit_note_id=life.id("CN"),
        amount_minor=part,
        currency=life.country.currency,
    )
    if life.chance(0.9):
        life.tell(
            "billing.refund_issued",
            life.after_days(back, 1, 5),
            "billing",
            refund_id=refund_id,
            amount_minor=part,
            currency=life.country.currency,
        )
    elif back < life.until:
        complaint(life, life.after_days(back, 5, 9), "refund_not_received")


def invoice(life: Life, at: datetime, amount_minor: int, order_id: str | None = None) -> None:
    """An invoice and what becomes of it: paid, failed and reminded, disputed, credited, or still open."""
    invoice_id, currency = life.id("I"), life.country.currency
    due = (at + timedelta(days=14)).replace(hour=0, minute=0, second=0)
    life.tell(
        "billing.invoice_issued",
        at,
        "billing",
        invoice_id=invoice_id,
        amount_minor=amount_minor,
        currency=currency,
        due_at=instant(due),
        references=[f"order:{order_id}"] if order_id else None,
    )
    fate = life.rng.random()
    if fate < 0.86:
        _paid(life, life.after_days(at, 0, 9), invoice_id, amount_minor)
    elif fate < 0.95:
        _failed(life, life.after_days(at, 1, 3), invoice_id, amount_minor)
    elif fate < 0.97:
        _disputed(life, life.after_days(at, 2, 8), invoice_id, amount_minor)
    else:
        for level in (1, 2, 3):
            life.tell(
                "billing.dunning_sent",
                due + timedelta(days=10 * level, hours=8),
                "billing",
                level=level,
                invoice_id=invoice_id,
                channel="mail",
            )
        _paid(life, due + timedelta(days=34, hours=9), invoice_id, amount_minor)


def _paid(life: Life, at: datetime, invoice_id: str, amount_minor: int) -> None:
    life.tell(
        "billing.payment_received",
        at,
        "billing",
        payment_id=life.id("Y"),
        amount_minor=amount_minor,
        currency=life.country.currency,
        invoice_id=invoice_id,
    )


def _failed(life: Life, at: datetime, invoice_id: str, amount_minor: int) -> None:
    code = life.rng.choice(FAILURE_CODES)
    for attempt in range(life.rng.choices((1, 2, 3), (5, 3, 2))[0]):
        life.tell(
            "billing.payment_failed",
            at + timedelta(days=3 * attempt),
            "billing",
            code=code,
            invoice_id=invoice_id,
            amount_minor=amount_minor,
            currency=life.country.currency,
            touchpoint="billing.payment",
            outcome="failed",
            problem_code=code,
        )
    life.tell(
        "billing.dunning_sent",
        at + timedelta(days=10),
        "billing",
        level=1,
        invoice_id=invoice_id,
        channel="email",
    )
    life.mood -= 0.4
    if life.chance(0.85):
        _paid(life, life.after_days(at, 11, 16), invoice_id, amount_minor)


def _disputed(life: Life, at: datetime, invoice_id: str, amount_minor: int) -> None:
    dispute_id = life.id("D")
    life.tell(
        "billing.invoice_disputed",
        at,
        "billing",
        dispute_id=dispute_id,
        invoice_id=invoice_id,
        reason=life.rng.choice(("charged_twice", "wrong_amount", "never_received")),
    )
    upheld, settled = life.chance(0.6), life.after_days(at, 4, 15)
    life.tell("billing.dispute_settled", settled, "billing", dispute_id=dispute_id, upheld=upheld)
    if upheld:
        life.tell(
            "billing.credit_note_issued",
            settled + timedelta(hours=1),
            "billing",
            credit_note_id=life.id("CN"),
            amount_minor=amount_minor,
            currency=life.country.currency,
            invoice_id=invoice_id,
        )
    else:
        _paid(life, life.after_days(settled, 1, 5), invoice_id, amount_minor)
