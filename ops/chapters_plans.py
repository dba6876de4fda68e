"""The chapters of a life that last: subscriptions and contracts."""

from __future__ import annotations

from datetime import timedelta

from ops.chapters_trade import invoice
from ops.life import Life, instant

PLANS = (("care-plus", 4990, "P1M"), ("care-basic", 990, "P1M"), ("delivery-pass", 4900, "P1Y"))


def subscription(life: Life, days_ago: int) -> None:
    """A plan, its invoices, perhaps a dearer plan, perhaps an end."""
    subscription_id, (plan, cents, interval) = life.id("U"), life.rng.choice(PLANS)
    price, step = life.price(cents), 30 if interval == "P1M" else 365
    started = life.day(days_ago)
    ends_after = life.rng.randint(3, 20) if life.chance(0.3) else None
    renewals = [
        renewal for renewal in range(days_ago // step + 1) if ends_after is None or renewal < ends_after
    ]
    renews = started + timedelta(days=step * len(renewals))
    life.tell(
        "billing.subscription_started",
        started,
        "billing",
        subscription_id=subscription_id,
        plan=plan,
        amount_minor=price,
        currency=life.country.currency,
        interval=interval,
        renews_at=instant(renews),
        channel="web",
    )
    for renewal in renewals:
        at = started + timedelta(days=step * renewal, hours=2)
        if renewal == 12 and step == 30:
            price = price * 11 // 10
            life.tell(
                "billing.subscription_changed",
                at - timedelta(hours=1),
                "billing",
                subscription_id=subscription_id,
                amount_minor=price,
            )
        # What runs by itself rarely fails; one invoice a month is enough of a history.
        invoice(life, at, price)
    if ends_after is not None:
        life.tell(
            "billing.subscription_cancelled",
            started + timedelta(days=step * ends_after),
            "billing",
            subscription_id=subscription_id,
            reason=life.rng.choice(("too_expensive", "not_used", "moved_away")),
        )


def contract(life: Life, days_ago: int) -> None:
    """A contract, won from an opportunity."""
    line = life.rng.choice(("insurance", "energy", "warranty"))
    opportunity_id, contract_id = life.id("OP"), life.id("K")
    at, amount = life.day(days_ago), life.price(life.rng.choice((18000, 36000, 96000)))
    for stage in ("qualified", "proposal", "won" if life.chance(0.7) else "lost"):
        life.tell(
            "sales.opportunity_changed",
            at,
            "crm/sales",
            opportunity_id=opportunity_id,
            stage=stage,
            amount_minor=amount,
            currency=life.country.currency,
            product_line=line,
            employee_id="E-3",
            channel="field",
        )
        if stage == "proposal":
            life.tell(
                "sales.quote_sent",
                life.later(at, 1, 20),
                "crm/sales",
                quote_id=life.id("Q"),
                amount_minor=amount,
                currency=life.country.currency,
                channel="email",
            )
        if stage == "lost":
            return
        at = life.after_days(at, 3, 14)
    ends = at + timedelta(days=365)
    life.tell(
        "sales.contract_signed",
        at,
        "crm/sales",
        contract_id=contract_id,
        product_line=line,
        ends_at=instant(ends),
    )
    if life.chance(0.3):
        life.tell(
            "sales.contract_ended",
            at + timedelta(days=life.rng.randint(60, 360)),
            "crm/sales",
            contract_id=contract_id,
            reason=life.rng.choice(("moved", "competitor", "sold_the_house")),
        )
