"""Open dead letters, counted by reason and topic as they are written and settled, and the latest of them.

Invariants:
- Counted by the index that `/v1/dead-letters` has, too; only what is new is read, every few seconds, by one
  thread of its own. A question asks nobody.
- While the log is away, what was counted last stays, with the trouble.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from eventlog.dead_letters import Entry, LetterIndex, Overview
from eventlog.errors import LogError

EVERY_SECONDS = 5.0
# Some seconds of reading when the server starts, and 60 MB, later up to twice as much.
# More than a hundred thousand have one cause for most of them; `scv dead-letters list` has twice as many.
COUNTED_MAX = 100_000
# One screen; the list of `/v1/dead-letters` has the others.
LATEST_MAX = 50
# Fifteen reasons times the topics of an installation; beyond it somebody else writes here.
TALLIES_MAX = 500
OTHER = "other"
# Kafka's own limit.
TOPIC_CHARACTERS_MAX = 249


class Tallied(NamedTuple):
    """Open letters of one reason and topic: all, those of the last hour, when the last one was written."""

    reason: str
    topic: str
    count: int
    last_hour: int
    last_ms: int


class Counted(NamedTuple):
    """What is known of dead letters now.

    `held` is how many records the topic has (None before it could be asked), `counted` how many letters are
    known, each once; `complete` is False before all of them were read, `older` True when there are others.
    """

    held: int | None
    counted: int
    redriven: int
    discarded: int
    complete: bool
    older: bool
    trouble: str | None
    tallies: tuple[Tallied, ...]
    latest: tuple[Entry, ...]

    @property
    def open(self) -> int:
        """How many are neither redriven nor discarded."""
        return self.counted - self.redriven - self.discarded


class LetterCounts:
    """Looks while it `run`s; `counted` may be asked from any thread."""

    def __init__(self, index: LetterIndex, clock: Callable[[], float] = time.time) -> None:
        self._index, self._clock = index, clock
        # Of its own: a broker that is away takes no thread from look-ups.
        self._thread = ThreadPoolExecutor(1, "scv-letters")
        self._known: Overview | None = None
        self._trouble: str | None = "not asked yet"

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(EVERY_SECONDS)

    async def look(self) -> None:
        """Look once: all that was written and settled before is counted afterwards, or `trouble` says why."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._look)

    def _look(self) -> None:
        try:
            self._index.catch_up()
            self._known, self._trouble = self._index.overview(LATEST_MAX), None
        except LogError as failed:
            self._trouble = str(failed)

    def close(self) -> None:
        """Let go of the thread; a look under way ends by itself, in the time that its client takes."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def counted(self) -> Counted:
        """What is known now; asks nobody."""
        known, now_ms = self._known, int(self._clock() * 1_000)
        if known is None:
            return Counted(None, 0, 0, 0, False, False, self._trouble, (), ())
        tallies = [
            Tallied(reason, topic[:TOPIC_CHARACTERS_MAX], one.count, one.last_hour(now_ms), one.last_ms)
            for (reason, topic), one in known.tallies.items()
        ]
        tallies.sort(key=lambda one: (-one.last_hour, -one.count, one.reason, one.topic))
        return Counted(
            known.held, known.known, known.redriven, known.discarded, True, not known.complete, self._trouble,
            tuple(_bounded(tallies)), tuple(known.latest),
        )  # fmt: skip


def _bounded(tallies: Sequence[Tallied]) -> Sequence[Tallied]:
    """At most `TALLIES_MAX`: the others as one."""
    if len(tallies) <= TALLIES_MAX:
        return tallies
    shown, rest = tallies[: TALLIES_MAX - 1], tallies[TALLIES_MAX - 1 :]
    count, last_hour = (sum(one[place] for one in rest) for place in (2, 3))
    return [*shown, Tallied(OTHER, OTHER, count, last_hour, max(one.last_ms for one in rest))]
