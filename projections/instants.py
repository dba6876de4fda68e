"""Instants as the profile writes them.

Invariants:
- Parts hold microseconds since 1970 (UTC); only the profile holds text.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache

_1970 = date(1970, 1, 1).toordinal()
DAY_US = 86_400 * 1_000_000
# What RFC 3339 can write: the years 1 to 9999. A clock that is farther off is shown as that.
_LEAST_US = -62_135_596_800_000_000
_GREATEST_US = 253_402_300_799_999_999


# "10:42:" of each minute of a day, "07" of each second.
_MINUTES = [f"{minute // 60:02d}:{minute % 60:02d}:" for minute in range(1_440)]
_SECONDS = [f"{second:02d}" for second in range(60)]


def rfc3339(at_us: int) -> str:
    """RFC 3339 in UTC; a fraction of 3 or 6 digits only when there is one."""
    if not _LEAST_US <= at_us <= _GREATEST_US:
        at_us = _LEAST_US if at_us < _LEAST_US else _GREATEST_US
    seconds, micros = divmod(at_us, 1_000_000)
    minutes, second = divmod(seconds, 60)
    days, minute = divmod(minutes, 1_440)
    whole = f"{_day(days)}T{_MINUTES[minute]}{_SECONDS[second]}"
    if not micros:
        return whole + "Z"
    return f"{whole}.{micros // 1000:03d}Z" if micros % 1000 == 0 else f"{whole}.{micros:06d}Z"


@lru_cache(maxsize=4_096)
def _day(days: int) -> str:
    """The date so many days after 1970-01-01."""
    return date.fromordinal(_1970 + days).isoformat()


# Seconds may be left out; what else Python reads (weeks, 20260301) is not of this form.
_RFC_3339 = re.compile(r"\d{4}-\d\d-\d\d([Tt ]\d\d:\d\d(:\d\d(\.\d+)?)?([Zz]|[+-]\d\d:\d\d)?)?", re.ASCII)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def instant_of(text: str) -> int:
    """Microseconds since 1970 of an RFC 3339 instant with its offset; a date alone is its midnight in UTC.

    ValueError for anything else.
    """
    if _RFC_3339.fullmatch(text) is None:
        raise ValueError("an instant is written as 2026-03-01T10:00:00Z")
    at = datetime.fromisoformat(text)
    if at.tzinfo is None:
        if "T" in text or ":" in text:
            raise ValueError("an instant has an offset, as 2026-03-01T10:00:00Z")
        at = at.replace(tzinfo=UTC)
    return (at - _EPOCH) // timedelta(microseconds=1)


def instant_or_none(at_us: int | None) -> str | None:
    """The same, for what may not have happened."""
    return None if at_us is None else rfc3339(at_us)
