"""Instants as a person types them: `2026-03-01`, `2026-03-01T10:42:07Z`, `90m`.

Invariants:
- Without a zone an instant is UTC, as everywhere in scv; "now" comes in as an argument.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from ops.failures import Exit, Failure

_AGO = re.compile(r"(\d{1,6})([smhd])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def instant_of(option: str, text: str | None, now: datetime) -> datetime | None:
    """The instant that an option names, or so long before `now`; None without one. Failure."""
    if text is None:
        return None
    if (ago := _AGO.fullmatch(text.strip())) is not None:
        return now - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
    try:
        at = datetime.fromisoformat(text.strip())
        return (at if at.tzinfo is not None else at.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise Failure(
            Exit.USAGE, f"{option} {text!r}: no instant; write 2026-03-01T10:42:07Z, 2026-03-01 or 90m (ago)"
        ) from None


def milliseconds(at: datetime | None) -> int | None:
    """Milliseconds since 1970; None for None."""
    return None if at is None else int(at.timestamp() * 1_000)


def from_to(from_: str | None, to: str | None, now: datetime) -> tuple[int | None, int | None]:
    """The bounds of `--from` and `--to` in milliseconds since 1970. Failure, also when they hold nothing."""
    begins, ends = instant_of("--from", from_, now), instant_of("--to", to, now)
    if begins is not None and ends is not None and ends <= begins:
        raise Failure(Exit.USAGE, f"--to {to} does not lie after --from {from_}: nothing is in between")
    return milliseconds(begins), milliseconds(ends)


def shown_ms(at_ms: int) -> str:
    """`2026-03-01 10:42:07` of milliseconds since 1970; `-` where there is no time."""
    if at_ms < 0:
        return "-"
    try:
        return f"{datetime.fromtimestamp(at_ms / 1_000, UTC):%Y-%m-%d %H:%M:%S}"
    except (OverflowError, OSError, ValueError):
        return "-"
