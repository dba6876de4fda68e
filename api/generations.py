"""Where generations stand, looked at again and again by one thread, told to whoever asks.

Invariants:
- A question asks nobody. Of the log only what `api.operations` has seen is used; the promotions are read when
  their number has changed.
- What was known stays known, with the time of it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

from eventlog.errors import LogError
from eventlog.observing import Observed
from eventlog.promotions import promotions
from models.promotion import Active, parse_active
from stores.connection import asking, connect
from stores.generations import WORKING, Stand, stands_of
from stores.keys import ACTIVE
from stores.rebuilding import Rebuilds
from stores.store import StoreAway, StoreBroken

_log = logging.getLogger("scv.http")

EVERY_SECONDS = 5.0
# The stages of a rebuild count alike: none of them knows how long the others take.
STAGES = len(WORKING)


class Rebuilding(NamedTuple):
    """A rebuild in flight: the generation that is built, its stage, how far the whole is, in percent."""

    generation: str
    stage: str
    percent: int


class Generations(NamedTuple):
    """What a look saw, at this time (seconds since 1970).

    `previous` is what readers saw before the last promotion; None where there was nothing, or nobody knows.
    """

    at: float
    active: Active
    previous: str | None
    stands: tuple[Stand, ...]


class GenerationWatch:
    """Looks while it `run`s; `observed` tells what was seen of the log last."""

    def __init__(
        self,
        kafka: str,
        redis: str,
        observed: Callable[[], Observed | None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._kafka, self._redis, self._observed, self._clock = kafka, redis, observed, clock
        # Of its own: a store that is away takes no thread from look-ups.
        self._thread = ThreadPoolExecutor(1, "scv-generations")
        self._previous: tuple[int, str | None] | None = None
        self.seen: Generations | None = None
        """The last look that was answered; None before, and while nothing is active."""

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            try:
                await self.look()
            except Exception as failed:  # noqa: BLE001 - whatever it was, the next look is another
                _log.warning("generations could not be looked at: %s", type(failed).__name__)
            await asyncio.sleep(EVERY_SECONDS)

    async def look(self) -> None:
        """Look once."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._look)

    def close(self) -> None:
        """Let go of the thread; a look under way ends by itself."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def rebuilding(self) -> Rebuilding | None:
        """The rebuild that is in flight, the newest of several; None when nobody is at one."""
        for one in reversed(self.seen.stands if self.seen else ()):
            if one.holder is not None and one.percent is not None:
                stage = [str(state) for state in WORKING].index(one.state)
                return Rebuilding(one.generation, one.state, (100 * stage + one.percent) // STAGES)
        return None

    def _look(self) -> None:
        client = connect(self._redis)
        try:
            with asking("generations"):
                self.seen = self._seen(client)
        except (StoreAway, StoreBroken):
            # What was known ages.
            return
        finally:
            client.close()

    def _seen(self, client: Any) -> Generations | None:
        stored = client.get(ACTIVE)
        if stored is None:
            return None
        active, observed = parse_active(stored), self._observed()
        held = list(observed.generations) if observed else []
        # One whose name is none of a link log's is worth showing where readers see it.
        names = held if active.generation in held else [active.generation, *held]
        ends = dict(observed.ends) if observed else {}
        stands = stands_of(self._redis, Rebuilds(client), names, active.generation, ends)
        return Generations(self._clock(), active, self._before(active), tuple(stands))

    def _before(self, active: Active) -> str | None:
        if self._previous is None or self._previous[0] != active.promotion:
            try:
                history = promotions(self._kafka)
            except LogError:
                return None
            # The pointer may be behind for a moment: then this is asked again.
            last = history[-1] if history else None
            if last is None or last.number != active.promotion:
                return None
            self._previous = active.promotion, last.previous
        return self._previous[1]
