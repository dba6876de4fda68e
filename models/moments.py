"""Instants as a person reads them: `18 min ago`, `yesterday 06:05`, `20 Feb 2026`.

Invariants:
- "Now" comes in as an argument, with the zone in which times of day are shown.
"""

from __future__ import annotations

from datetime import datetime, timedelta

# Beyond this a date says more than a number of days.
DAYS_TOLD = 7


def moment(instant: str | None, now: datetime, *, dated: bool = False) -> str:
    """An instant of a profile (RFC 3339), relative to `now` where that is short; empty for None.

    `dated`: as a date always. Where `now` is no now, "yesterday" would be taken for another day.
    """
    if instant is None:
        return ""
    at = datetime.fromisoformat(instant).astimezone(now.tzinfo)
    if dated:
        return day(at)
    away = at - now
    if timedelta(0) <= away < timedelta(days=DAYS_TOLD):
        return _ahead(at, now)
    if timedelta(0) <= -away < timedelta(days=DAYS_TOLD):
        return _ago(at, now)
    return day(at)


def day(at: datetime) -> str:
    """`20 Feb 2026`, in English whatever the locale."""
    return f"{at.day} {_MONTHS[at.month - 1]} {at.year}"


_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def _ago(at: datetime, now: datetime) -> str:
    minutes, days = int((now - at).total_seconds() // 60), (now.date() - at.date()).days
    if minutes < 1:
        return "just now"
    if minutes < 60:
        return f"{minutes} min ago"
    if days == 0:
        return f"today {at:%H:%M}"
    return f"yesterday {at:%H:%M}" if days == 1 else f"{days} days ago"


def _ahead(at: datetime, now: datetime) -> str:
    days = (at.date() - now.date()).days
    if days == 0:
        return f"today {at:%H:%M}"
    return f"tomorrow {at:%H:%M}" if days == 1 else f"in {days} days"


def due(instant: str | None, now: datetime, *, dated: bool = False) -> str:
    """`due in 3 days` or `overdue since yesterday 16:00`; empty for None. `dated`: as `moment` has it."""
    if instant is None:
        return ""
    late = datetime.fromisoformat(instant) < now
    told = moment(instant, now, dated=dated)
    return f"overdue since {told}" if late else f"due {told}"
