"""The chapters of a life that are about being addressed, and about what we hear of the person."""

from __future__ import annotations

from datetime import datetime, timedelta

from ops.chapters_care import mention
from ops.chapters_trade import order
from ops.life import Life
from ops.people import address

CAMPAIGN_EVERY_DAYS = 30
INTERESTS = ("cooking", "cycling", "gardening", "music", "photography", "travel")
VALUES = ("climate", "local_shops", "privacy", "value_for_money")


def introduction(life: Life, days_ago: int) -> None:
    """How the customer came to us, and what we know of them."""
    person, at = life.person, life.day(days_ago)
    campaign = f"C-{life.rng.randint(1, 6)}" if life.chance(0.5) else None
    life.tell("marketing.page_viewed", at, "shop/web", page="/", channel="web", campaign_id=campaign)
    if campaign is not None:
        life.tell(
            "sales.lead_created",
            life.later(at, 0.02, 0.1),
            "crm/sales",
            lead_id=life.id("LD"),
            campaign_id=campaign,
        )
    at = life.later(at, 0.1, 0.3)
    life.tell(
        "marketing.form_submitted",
        at,
        "shop/web",
        form="registration",
        channel="web",
        outcome="succeeded",
        touchpoint="registration",
        identifiers=person.identifiers(),
    )
    at = life.later(at, 0.01, 0.05)
    life.tell(
        "marketing.profile_updated",
        at,
        "crm",
        given_name=person.given_name,
        family_name=person.family_name,
        birthdate=person.birthdate if life.chance(0.7) else None,
        email=person.email,
        phone_number=person.phone,
        address=person.address,
        locale=person.locale,
        zoneinfo=person.country.zoneinfo,
        tier=person.tier,
        identifiers=person.identifiers(email_verified=True, phone_verified=life.chance(0.4)),
    )
    if life.chance(0.5):
        life.tell(
            "marketing.preference_stated",
            life.after_days(at, 0, 40),
            "crm",
            contact_channel=life.rng.choice(("email", "phone", "chat", "app")),
            contact_hours=life.rng.choice((None, "09:00-12:00", "17:00-20:00")),
            prefers_human=life.chance(0.4),
            values=life.rng.sample(VALUES, life.rng.randint(0, 2)),
            interests=life.rng.sample(INTERESTS, life.rng.randint(0, 3)),
        )


def consent(life: Life, at: datetime, channel: str, granted: bool, purpose: str = "marketing") -> None:
    """A permission given or withdrawn."""
    life.tell(
        "marketing.consent_changed",
        at,
        "consent-portal",
        purpose=purpose,
        channel=channel,
        granted=granted,
        legal_basis="consent",
        proof="double opt-in" if granted and channel == "email" else None,
    )


def campaigns(life: Life, days_ago: int) -> None:
    """A campaign a month while there is permission: sent, sometimes opened, clicked, bought from.

    Some withdraw their permission when they are annoyed.
    """
    allowed = life.chance(0.72)
    consent(life, life.day(days_ago - 0.5), "email", allowed)
    consent(life, life.day(days_ago - 0.5), "phone", life.chance(0.25))
    consent(life, life.day(days_ago - 0.5), "web", life.chance(0.8), purpose="analytics")
    keen = life.rng.uniform(0.1, 0.7)
    for back in range(days_ago - 7, 0, -CAMPAIGN_EVERY_DAYS):
        if not allowed:
            return
        campaign_id = f"C-{40 - back // CAMPAIGN_EVERY_DAYS}"
        sent = life.day(back)
        life.tell("marketing.campaign_sent", sent, "mailer", campaign_id=campaign_id, channel="email")
        if not life.chance(keen):
            continue
        opened = life.later(sent, 0.1, 30)
        life.tell("marketing.campaign_opened", opened, "mailer", campaign_id=campaign_id, channel="email")
        if life.chance(0.3):
            life.tell(
                "marketing.campaign_clicked",
                life.later(opened, 0.01, 0.1),
                "mailer",
                campaign_id=campaign_id,
                url=f"https://shop.example/{campaign_id.lower()}",
                channel="email",
            )
            if life.chance(0.25) and back > 2:
                order(life, back - 1, campaign_id)
        if life.mood < -1.5 and life.chance(0.3):
            consent(life, life.later(opened, 0.01, 0.2), "email", granted=False)
            allowed = False


def about_them(life: Life, days_ago: int, subjects: range) -> None:
    """What else is known: experiments, public words, reviews, life events, household, a panel's data."""
    rng = life.rng
    if life.chance(0.5):
        life.tell(
            "marketing.experiment_assigned",
            life.day(rng.randint(1, 90)),
            "experiments",
            experiment="short-checkout",
            variant=rng.choice(("A", "B")),
        )
    if life.chance(0.1):
        sentiment = "positive" if life.mood > 0.3 else "negative" if life.mood < -0.6 else "neutral"
        words = {
            "positive": "Love my new order!",
            "negative": "Not happy with the service.",
            "neutral": "Does it fit?",
        }
        mention(life, life.day(rng.randint(1, days_ago)), sentiment, words[sentiment])
    if life.chance(0.15):
        rating = max(1, min(5, round(4 + 0.6 * life.mood)))
        life.tell(
            "marketing.review_posted",
            life.day(rng.randint(1, days_ago)),
            "reviews",
            platform="shop",
            rating=rating,
            text="As described." if rating > 3 else "Expected more.",
            channel="web",
        )
    if life.chance(0.1):
        moved = life.day(rng.randint(1, days_ago))
        life.tell(
            "marketing.life_event_noted", moved, "crm", kind="moved", occurred_on=moved.date().isoformat()
        )
        life.tell(
            "marketing.profile_updated",
            moved + timedelta(minutes=3),
            "crm",
            address=address(rng, life.country),
        )
    if life.chance(0.15):
        other = rng.choice(subjects)
        if other != life.person.number:
            life.tell(
                "marketing.relationship_stated",
                life.day(rng.randint(1, days_ago)),
                "crm",
                kind=rng.choice(("household", "household", "referral")),
                other_subject=f"crm:{other}",
            )
    if life.chance(0.3):
        life.tell(
            "marketing.page_viewed",
            life.day(rng.randint(1, days_ago)),
            "panel",
            page="/survey",
            channel="web",
            traits={"household_size": rng.randint(1, 5), "home_owner": life.chance(0.4)},
        )


def visits(life: Life, days_ago: int) -> None:
    """Looking around now and then, without buying."""
    for _ in range(min(40, int(life.rng.expovariate(1 / 8)))):
        at = life.day(life.rng.randint(1, days_ago))
        channel = life.rng.choice(("web", "web", "app"))
        for _ in range(life.rng.randint(1, 3)):
            life.tell(
                "marketing.page_viewed",
                at,
                "shop/web",
                page=f"/products/P-{life.rng.randint(11, 20)}",
                channel=channel,
            )
            at = life.later(at, 0.01, 0.1)


def anonymous_visitor(life: Life, days_ago: int) -> None:
    """What a browser did until we knew whose it is; its subject is the cookie."""
    at = life.day(days_ago + 0.5)
    for _ in range(life.rng.randint(2, 8)):
        life.tell(
            "marketing.page_viewed",
            at,
            "shop/web",
            page=f"/products/P-{life.rng.randint(11, 20)}",
            channel="web",
        )
        at = life.later(at, 0.01, 20)
    life.tell(
        "marketing.form_submitted",
        at,
        "shop/web",
        form="newsletter",
        channel="web",
        identifiers=life.person.identifiers()[:1],
    )
