"""Limits per API key: requests a second, open streams, reads that wait.

Invariants:
- One key at its limit takes nothing from the others.
- What is kept is bounded by the number of keys.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from api.problems import Problem

# A screen that opens asks several things at once.
BURST_SECONDS = 2.0
# Each open stream is a connection and a question to the store now and then.
STREAMS_PER_KEY_MAX = 100
STREAMS_MAX = 500
# Each looks at the store up to a hundred times a second; most waits are over within some hundredths of one.
WAITING_PER_KEY_MAX = 50
WAITING_MAX = 200


class RequestLimit:
    """A token bucket per key: `per_second` in the long run, twice that at once."""

    def __init__(self, per_second: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate, self._clock = per_second, clock
        self._most = max(1.0, per_second * BURST_SECONDS)
        self._left: dict[str, tuple[float, float]] = {}

    def take(self, key_id: str) -> None:
        """Count one request of this key; Problem `too_many_requests` when it has none left."""
        now = self._clock()
        left, at = self._left.get(key_id, (self._most, now))
        left = min(self._most, left + (now - at) * self._rate)
        if left < 1.0:
            self._left[key_id] = (left, now)
            seconds = max(1, math.ceil((1.0 - left) / self._rate))
            raise Problem(
                "too_many_requests",
                f"this key may ask {self._rate:g} times a second; wait, or ask for a higher limit",
                retry_seconds=seconds,
            )
        self._left[key_id] = (left - 1.0, now)


class OpenLimit:
    """How many things go on at once, per key and in all; one too many is the Problem `code`."""

    def __init__(self, code: str, per_key: int, most: int, retry_seconds: int) -> None:
        self._code, self._retry_seconds = code, retry_seconds
        self._per_key, self._most = per_key, most
        self._open: dict[str, int] = {}

    @property
    def open(self) -> int:
        """How many there are now."""
        return sum(self._open.values())

    @contextmanager
    def one(self, key_id: str) -> Iterator[None]:
        """One of them, while it goes on. Problem."""
        held = self._open.get(key_id, 0)
        if held >= self._per_key or self.open >= self._most:
            raise Problem(
                self._code,
                f"{held} of this key and {self.open} in all are open; "
                f"at most {self._per_key} of a key and {self._most} in all",
                retry_seconds=self._retry_seconds,
            )
        self._open[key_id] = held + 1
        try:
            yield
        finally:
            self._open[key_id] -= 1
            if not self._open[key_id]:
                del self._open[key_id]


def stream_limit(per_key: int = STREAMS_PER_KEY_MAX, most: int = STREAMS_MAX) -> OpenLimit:
    """Of streams."""
    return OpenLimit("too_many_streams", per_key, most, retry_seconds=10)


def waiting_limit(per_key: int = WAITING_PER_KEY_MAX, most: int = WAITING_MAX) -> OpenLimit:
    """Of reads that wait for a write."""
    return OpenLimit("too_many_waiting", per_key, most, retry_seconds=1)
