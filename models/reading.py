"""Read a record, whoever has fetched it: fast when it is the common case, else carefully.

Invariants:
- Workers, replays and the command line read a record in this one way: what is an event to one is so to all.
- A record is an event or a fault; nothing is raised.
"""

from __future__ import annotations

from collections.abc import Sequence

from models.careful import read
from models.dead_letter import Fault
from models.decoding import Event, fast_decoder

# What a record's timestamp can mean: 1970 to 9999. A clock that is farther off is taken as that.
_GREATEST_MS = 253_402_300_799_999

Headers = Sequence[tuple[str, bytes | None]]


def logged_us(timestamp_ms: int | None) -> int:
    """When a record was logged, in microseconds; one without a timestamp was in 1970."""
    return min(max(timestamp_ms or 0, 0), _GREATEST_MS) * 1_000


def event_of(
    topic: str, key: bytes | None, value: bytes | None, headers: Headers | None, timestamp_ms: int | None
) -> Event | Fault:
    """The event of a record, or why it is none."""
    log_us = logged_us(timestamp_ms)
    if value is not None and not (headers and _is_binary(headers)):
        event = fast_decoder(topic)(value, key, log_us)
        if event is not None:
            return event
    return read(topic, key, value, headers or (), log_us)


def _is_binary(headers: Headers) -> bool:
    return any(name.lower() == "ce_specversion" for name, _ in headers)
