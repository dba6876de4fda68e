"""The last hour of an installation, as one server saw it.

Invariants:
- Bounded: a sample each `EVERY_SECONDS`, the latest `SAMPLES_MAX`; it begins anew with the server.
- What could not be seen is a gap, never 0.
- A rate is made of lanes that were seen at both ends of the time it is about; a store that went back counts
  as no progress, never as negative.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import NamedTuple

from models.record import Lane

EVERY_SECONDS = 5.0
# An hour.
SAMPLES_MAX = 720
# Long enough for batches to even out, short enough to say what is so now.
RATE_SECONDS = 60.0
# A lag that turned is told within two looks; of a shorter time the change says nothing.
CHANGE_SECONDS = 16.0
CHANGE_SECONDS_MIN = 9.0


class Sample(NamedTuple):
    """What was so at one time (seconds since 1970); None where it was not known."""

    at: float
    lag_records: int | None
    lag_seconds: float | None
    events_per_second: float | None
    dead_letters: int | None


class History:
    """Samples, and where lanes stood during the last minute."""

    def __init__(self) -> None:
        self.samples: deque[Sample] = deque(maxlen=SAMPLES_MAX)
        self._stood: deque[tuple[float, Mapping[Lane, int]]] = deque()

    def stand(self, at: float, offsets: Mapping[Lane, int]) -> None:
        """The next offsets of lanes at this time."""
        if self._stood and at <= self._stood[-1][0]:
            # The same look as before: nobody has looked since.
            return
        self._stood.append((at, offsets))
        while at - self._stood[0][0] > RATE_SECONDS:
            self._stood.popleft()

    def add(self, sample: Sample) -> None:
        """One more sample."""
        self.samples.append(sample)

    def rate(self, wanted: Callable[[Lane], bool], now: float) -> float | None:
        """Records a second folded in the wanted lanes, on average of the last minute; None when not known."""
        return self._rate(0, wanted, now)

    def rate_now(self, wanted: Callable[[Lane], bool], now: float) -> float | None:
        """The same of the last two looks."""
        return self._rate(-2, wanted, now)

    def change_per_second(self, now: float) -> float | None:
        """Records a second by which the lag changes, of the last 15 s; None when not known."""
        known = [
            (one.at, one.lag_records)
            for one in self.samples
            if one.lag_records is not None and now - one.at <= CHANGE_SECONDS
        ]
        if not known or known[-1][0] - known[0][0] < CHANGE_SECONDS_MIN:
            return None
        (since, before), (until, after) = known[0], known[-1]
        return (after - before) / (until - since)

    def _rate(self, first: int, wanted: Callable[[Lane], bool], now: float) -> float | None:
        if len(self._stood) < 2 or now - self._stood[-1][0] > 2 * EVERY_SECONDS:
            return None
        looks = list(self._stood)[first:]
        moved = sum(
            max(0, offset - before[lane])
            for (_, before), (_, after) in pairwise(looks)
            for lane, offset in after.items()
            if wanted(lane) and lane in before
        )
        return moved / (looks[-1][0] - looks[0][0])
