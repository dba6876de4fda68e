"""Instants as the profile writes them.

Invariants:
- Parts hold microseconds since 1970 (UTC); only the profile holds text.
"""

from __future__ import annotations

from datetime import date
from functools import lru_cache

_1970 = date(1970, 1, 1).toordinal()
DAY_US = 86_400 * 1_000_000
# What RFC 3339 can write: the years 1 to 9999. A clock that is farther off is shown as that.
_LEAST_US = -62_135_596_800_000_000
_GREATEST_US = 253_402_300_799_999_999


@lru_cache(maxsize=65_536)
def rfc3339(at_us: int) -> str:
    """RFC 3339 in UTC; a fraction of 3 or 6 digits only when there is one."""
    seconds, micros = divmod(min(max(at_us, _LEAST_US), _GREATEST_US), 1_000_000)
    days, second = divmod(seconds, 86_400)
    minutes, second = divmod(second, 60)
    whole = f"{_day(days)}T{minutes // 60:02d}:{minutes % 60:02d}:{second:02d}"
    if not micros:
        return whole + "Z"
    return f"{whole}.{micros // 1000:03d}Z" if micros % 1000 == 0 else f"{whole}.{micros:06d}Z"


@lru_cache(maxsize=4_096)
def _day(days: int) -> str:
    """The date so many days after 1970-01-01."""
    return date.fromordinal(_1970 + days).isoformat()


def instant_or_none(at_us: int | None) -> str | None:
    """The same, for what may not have happened."""
    return None if at_us is None else rfc3339(at_us)
