"""What the profile says about the person: identity, consent, marketing, traits, timeline, and `meta`."""

from __future__ import annotations

from collections import Counter
from typing import Any

from tests.oracle_customer import SHOWN, Customer, Document
from tests.oracle_parts import CAMPAIGNS, IDENTIFIERS, earliest_of, latest, latest_of, text
from tests.oracle_reading import Key, Told, customer_id, instant, normal, title

PERSONAL = ("given_name", "family_name", "birthdate", "email", "phone_number", "tier", "locale", "zoneinfo")
TOUCHES = {
    "marketing.page_viewed": "web",
    "marketing.campaign_opened": "email",
    "marketing.campaign_clicked": "email",
    "marketing.form_submitted": "web",
    "marketing.social_mentioned": "social",
    "marketing.review_posted": "web",
}


def identity(customer: Customer) -> Document:
    """Who the customer is, and how each source knows it."""
    found_of = {name: customer.trusted(personal(customer, name)) for name in PERSONAL}
    provenance = {
        name: {"source": found[0][1], "event_id": found[0][2], "occurred_at": instant(found[0][0])}
        | {"rule": "most_trusted_then_latest"}
        for name, found in found_of.items()
        if found is not None
    }
    return {
        **{
            name: chosen(customer, name)
            for name in ("given_name", "family_name", "birthdate", "email", "phone_number")
        },
        "provenance": provenance,
        "addresses": addresses(customer),
        "subjects": subjects(customer),
        "identifiers": identifiers(customer),
        "related": related(customer),
    }


def personal(customer: Customer, name: str) -> list[tuple[Key, Any]]:
    """What was stated of one personal datum; an email or phone also by the identifiers of any event."""
    kind = {"email": "email", "phone_number": "phone"}.get(name)
    stated = []
    for event in customer.events:
        value = event.data.get(name) if event.type == "marketing.profile_updated" else None
        if kind is not None:
            first = next((value for stated_kind, value, _ in event.identifiers if stated_kind == kind), None)
            value = (
                None if value is None else normal(kind, value, customer.region_of(event.subject))
            ) or first
        if value is not None:
            stated.append((event.key, value))
    return stated


def chosen(customer: Customer, name: str) -> Any:
    """The most trusted, then latest, value of a personal datum."""
    found = customer.trusted(personal(customer, name))
    return None if found is None else found[1]


def addresses(customer: Customer) -> list[Document]:
    """One per use: the most trusted, then latest; newest first."""
    chosen = [
        customer.trusted([(said.event.key, said.fact["address"]) for said in entry])
        for _, entry in sorted(customer.lists["identity.addresses"].items())
    ]
    chosen.sort(key=lambda found: found[0], reverse=True)
    return customer.shown("identity.addresses", [address for _, address in chosen])


def subjects(customer: Customer) -> list[Document]:
    """Every member that has events, by first seen, then name."""
    seen: dict[str, list[int]] = {}
    for event in customer.events:
        seen.setdefault(event.subject, []).append(event.log_us)
    return customer.shown(
        "identity.subjects",
        [
            {"subject": name, "first_seen_at": instant(min(at)), "last_seen_at": instant(max(at))}
            for name, at in sorted(seen.items(), key=lambda item: (min(item[1]), item[0]))
        ],
    )


def related(customer: Customer) -> list[Document]:
    """What was stated, then the possible matches that the graph found."""
    stated = [(other, kind, "stated") for (other, kind), _ in customer.ordered("identity.related")]
    found = [(founder, "possible_match", via) for founder, via in customer.together.related]
    return customer.shown(
        "identity.related",
        [
            {"customer_id": customer_id(other), "relation": relation, "via": via}
            for other, relation, via in (*stated, *found)
        ],
    )


def identifiers(customer: Customer) -> list[Document]:
    """By first seen, then type, then value."""
    rows = []
    for (kind, value), entry in customer.lists[IDENTIFIERS].items():
        verified = [said.event.log_us for said in entry if said.fact["verified"]]
        stating = sorted({said.event.subject for said in entry})
        row = {"type": kind, "value": value}
        row |= {"status": customer.together.statuses.get(f"{kind}:{value}", "linking")}
        row |= {"verified_at": instant(min(verified)) if verified else None}
        row |= {"sources": stating[: SHOWN["identity.subjects"]]}
        first_us = min(said.event.log_us for said in entry)
        rows.append((first_us, kind, value, row | {"first_seen_at": instant(first_us)}))
    return customer.shown(IDENTIFIERS, [row for *_, row in sorted(rows, key=lambda row: row[:3])])


def preference(customer: Customer, name: str) -> Any:
    """The most trusted, then latest, of one stated preference."""
    stated = customer.told("marketing.preference_stated", lambda event: event.data.get(name))
    found = customer.trusted([(key, value) for key, value in stated if value is not None])
    return None if found is None else found[1]


def consent(customer: Customer) -> Document:
    """What we may do, and what the customer prefers and values."""
    permissions = [latest(entry, "permission") for _, entry in customer.ordered("consent.permissions")]
    return {
        "permissions": sorted(
            customer.shown("consent.permissions", permissions),
            key=lambda row: (row["purpose"], row["channel"]),
        ),
        "preferences": {
            name: preference(customer, name) for name in ("contact_channel", "contact_hours", "prefers_human")
        },
        "stated_values": customer.rows("consent.stated_values", "value", "event_id"),
    }


def marketing(customer: Customer) -> Document:
    """What reached the customer, and what the customer did."""
    touches = [
        (
            event.key,
            {"occurred_at": event.at, "channel": event.data.get("channel") or TOUCHES[event.type]}
            | {"campaign_id": event.data.get("campaign_id")},
        )
        for event in customer.of(*TOUCHES)
    ]
    per_channel = Counter(touch["channel"] for _, touch in touches)
    sent = [
        (max(said.event.key for said in entry if "sent_at" in said.fact), name)
        for name, entry in customer.lists[CAMPAIGNS].items()
        if latest(entry, "sent_at") is not None
    ]
    last = customer.lists[CAMPAIGNS][latest_of(sent)] if sent else None
    times = ("sent_at", "opened_at", "clicked_at")
    return {
        "touches": {channel: per_channel[channel] for channel in sorted(per_channel)},
        "first_touch": earliest_of(touches),
        "last_touch": latest_of(touches),
        "last_campaign": last
        and {"campaign_id": latest_of(sent), **{time: latest(last, time) for time in times}},
        "campaigns": {
            f"{what}_count": len(customer.of(f"marketing.campaign_{what}"))
            for what in ("sent", "opened", "clicked")
        },
        "experiments": customer.shown(
            "marketing.experiments",
            [latest(entry, "assigned") for _, entry in customer.ordered("marketing.experiments")],
        ),
    }


def traits(customer: Customer) -> list[Document]:
    """The latest value per key, newest first, then by key."""
    return customer.shown("traits", [latest(entry, "trait") for _, entry in customer.ordered("traits")])


def timeline(customer: Customer) -> list[Document]:
    """The latest events, newest first; equal keys by subject, then by the entry's text, greater first."""
    newest_first = sorted(customer.events, key=lambda event: event.key, reverse=True)
    bound = SHOWN["timeline"]
    # More than are shown, so that equal keys at the bound are all there.
    least = newest_first[: bound + 1][-1].key
    rows = [(event.key, entry(event)) for event in newest_first if event.key >= least]
    rows.sort(key=lambda row: text(row[1]), reverse=True)
    rows.sort(key=lambda row: row[1]["subject"])
    rows.sort(key=lambda row: row[0], reverse=True)
    return customer.shown("timeline", [row for _, row in rows])


def entry(event: Told) -> Document:
    """One event as the timeline shows it."""
    data = event.data
    row = {"event_id": event.id, "type": event.type, "occurred_at": event.at, "channel": data.get("channel")}
    row |= {"subject": event.subject, "title": title(event)}
    amount = data.get("amount_minor") if "delta_minor" not in data else data["delta_minor"]
    if amount is not None and data.get("currency") is not None:
        row |= {"amount_minor": amount, "currency": data["currency"]}
    return row


def meta(customer: Customer) -> Document:
    """The bookkeeping that follows from the records; asked last, when all lists have been shown."""
    return {
        "revisions": sum(part.revisions for part in customer.parts),
        "last_event_at": instant(max(event.key[0] for event in customer.events)),
        "last_log_at": instant(max(event.log_us for event in customer.events)),
        "clamped_times": sum(event.clamped for event in customer.events),
        "ignored_fields": sum(event.ignored_fields for event in customer.events),
        "truncated": sorted(customer.lost),
    }
