"""A profile as an agent's desktop shows it: worked out here, so that a template only has to write it down.

Invariants:
- What is shown is what the API would answer to the same key; a masked text is masked before it comes here.
- "Now" and the zone of whoever looks come in: nothing here reads a clock.
- A list is cut to what fits the screen, and says how many more there are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from api.pages.alerts import Alert, Step, alerts, is_open, is_past, next_step
from models.catalogue import domain_of
from models.moments import day
from models.money import money_text
from models.titles import words

Profile = Mapping[str, Any]

# Of each list what a column has room for at 1280 by 800.
IDENTIFIERS_SHOWN = 4
SUBJECTS_SHOWN = 4
PERMISSIONS_SHOWN = 4

# ISO 639-1: languages that a caller may want to be spoken to in.
_LANGUAGES = {
    "ar": "Arabic", "bg": "Bulgarian", "cs": "Czech", "da": "Danish", "de": "German", "el": "Greek",
    "en": "English", "es": "Spanish", "et": "Estonian", "fi": "Finnish", "fr": "French", "he": "Hebrew",
    "hi": "Hindi", "hr": "Croatian", "hu": "Hungarian", "it": "Italian", "ja": "Japanese", "ko": "Korean",
    "lt": "Lithuanian", "lv": "Latvian", "nb": "Norwegian", "nl": "Dutch", "no": "Norwegian", "pl": "Polish",
    "pt": "Portuguese", "ro": "Romanian", "ru": "Russian", "sk": "Slovak", "sl": "Slovene", "sr": "Serbian",
    "sv": "Swedish", "tr": "Turkish", "uk": "Ukrainian", "vi": "Vietnamese", "zh": "Chinese",
}  # fmt: skip
_ICONS = {
    "phone": "phone", "chat": "chat", "social": "chat", "email": "mail", "mail": "mail", "store": "store",
    "web": "web", "app": "web",
}  # fmt: skip
_RELATIONS = {"possible_match": "maybe the same person"}


class LocalTime(NamedTuple):
    """The time where the customer is, in which place, and whether people sleep there."""

    zone: str
    time: str
    place: str
    night: bool


class Cut(NamedTuple):
    """The beginning of a list, and how many more there are."""

    shown: Sequence[Any]
    more: int


class Entry(NamedTuple):
    """A line of the timeline, as it is written down: `icon` by name, `amount` as text, or empty."""

    event_id: str
    domain: str
    icon: str
    where: str
    time: str
    title: str
    amount: str


class Day(NamedTuple):
    """The entries of one day, newest first."""

    name: str
    entries: list[Entry]


class Desk(NamedTuple):
    """Everything of a customer that the page shows."""

    profile: Profile
    name: str
    language: str | None
    local: LocalTime | None
    alerts: list[Alert]
    step: Step | None
    open_cases: list[Profile]
    open_promises: list[Profile]
    identifiers: Cut
    subjects: Cut
    permissions: Cut
    related: list[tuple[str, str]]
    days: list[Day] | None
    newest: str
    older: bool
    now: datetime
    masked: bool
    past: bool


def desk_of(profile: Profile, now: datetime, *, masked: bool, past: bool = False) -> Desk:
    """What the page shows of this document; `now` in the zone of whoever looks.

    `past`: `now` lies in the past. Nothing is to be done there, nobody's clock is shown, and days have dates.
    """
    summary, identity = profile["summary"] or {}, profile["identity"] or {}
    service = profile["service"]
    timeline = profile.get("timeline")
    cases = [one for one in service["cases"] if is_open(one)] if service else []
    return Desk(
        profile=profile,
        name=summary.get("display_name") or "No name known",
        language=_language(summary.get("locale")),
        local=None if past else local_time(summary.get("zoneinfo"), now),
        alerts=alerts(profile, now, dated=past),
        step=None if past else next_step(profile, now),
        open_cases=sorted(cases, key=lambda one: (not is_past(one["due_at"], now), one["due_at"] or "~")),
        open_promises=service["promises"]["open"] if service else [],
        identifiers=_cut(identity.get("identifiers", ()), IDENTIFIERS_SHOWN),
        subjects=_cut(identity.get("subjects", ()), SUBJECTS_SHOWN),
        permissions=_cut((profile["consent"] or {}).get("permissions", ()), PERMISSIONS_SHOWN),
        related=[
            (one["customer_id"], _RELATIONS.get(one["relation"], words(one["relation"])))
            for one in identity.get("related", ())
        ],
        days=None if timeline is None else _days(timeline, now, dated=past),
        newest=timeline[0]["event_id"] if timeline else "",
        older="timeline" in profile["meta"]["truncated"],
        now=now,
        masked=masked,
        past=past,
    )


def local_time(zone: str | None, now: datetime) -> LocalTime | None:
    """What time it is in a zone; None for one that nobody knows."""
    try:
        there = now.astimezone(ZoneInfo(zone)) if zone else None
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return None
    if there is None or zone is None:
        return None
    return LocalTime(zone, f"{there:%H:%M}", words(zone.rpartition("/")[2]), not 7 <= there.hour < 21)


def _language(locale: str | None) -> str | None:
    if not locale:
        return None
    code = locale.replace("_", "-").partition("-")[0].lower()
    return _LANGUAGES.get(code, locale)


def _cut(entries: Sequence[Any], most: int) -> Cut:
    return Cut(entries[:most], max(0, len(entries) - most))


def _days(timeline: Sequence[Profile], now: datetime, *, dated: bool) -> list[Day]:
    entries = []
    for one in timeline:
        at = datetime.fromisoformat(one["occurred_at"]).astimezone(now.tzinfo)
        domain, channel = domain_of(one["type"]), one["channel"]
        icon = _ICONS.get(channel or "", "") or _icon_of(one["type"])
        amount = money_text(one.get("amount_minor"), one.get("currency"))
        line = Entry(one["event_id"], domain, icon, channel or domain, f"{at:%H:%M}", one["title"], amount)
        entries.append((at.date(), line))
    today = now.date()
    names = {} if dated else {today: "Today", today - timedelta(days=1): "Yesterday"}
    return [
        Day(names.get(date) or _day_name(date, now, dated=dated), [entry for _, entry in of_day])
        for date, of_day in groupby(entries, key=lambda one: one[0])
    ]


def _day_name(date: Any, now: datetime, *, dated: bool) -> str:
    at = datetime(date.year, date.month, date.day, tzinfo=now.tzinfo)
    return f"{at:%A}" if not dated and 0 < (now.date() - date).days < 7 else day(at)


def _icon_of(wire_type: str) -> str:
    name = wire_type.partition(".")[2]
    if name.startswith(("payment", "invoice", "refund", "credit", "dunning", "subscription")):
        return "card"
    if name.startswith("promise"):
        return "clock"
    if name.startswith(("complaint", "case", "dispute")):
        return "flag"
    return {"marketing": "web", "sales": "store"}.get(wire_type.partition(".")[0], "person")
