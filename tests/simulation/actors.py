"""A worker process in the simulation: the real worker, what it believes it owns, and where it reads on.

Guarantees:
- It calls its worker as `streams.runner` does: a lane is lost before it is taken anew, and read on from where
  `take`, `step` or `idle` said last.
- A sloppy one also delivers what the runner never would: ranges again, late, or with a gap before them.
- A kill ends the call that runs and all memory; what follows is another process.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from models.record import Lane
from streams.lanes import Batch
from tests.simulation.cases import worker
from tests.simulation.faults import GRAPH
from tests.simulation.log import SimulatedOutlet
from tests.simulation.store import SimulatedStore

if TYPE_CHECKING:
    from tests.simulation.world import World


class Killed(BaseException):
    """The process ended here. Not an Exception: nothing of the worker may catch it."""


class Actor:
    """One process. `busy` while a call of its worker runs, `doomed` when that call must not go on."""

    def __init__(self, world: World, name: str) -> None:
        self.world, self.name = world, name
        self.busy = self.doomed = False
        self.positions: dict[Lane, int] = {}
        self.stores = self._store(world, ""), self._store(world, GRAPH)
        self.outlet = SimulatedOutlet(world.log, world.rng, partial(world.moment, self))
        self.worker = worker(
            self.stores,
            self.outlet,
            name,
            world.case.reading,
            kinds=world.kinds,
            cache_bytes=world.cache_bytes,
            clock_ms=world.now_ms,
            wait=lambda attempt: world.pause(self) if attempt > 1 else None,
            points=(
                lambda place: world.moment(self, place, None),
                lambda place: world.moment(self, GRAPH + place, None),
            ),
        )

    def _store(self, world: World, prefix: str) -> SimulatedStore:
        return world.kinds.store(
            world.shelf,
            shared_above=world.case.reading.rules.shared_above,
            keys_per_call=world.keys_per_call,
            fate=lambda place, rest: world.moment(self, prefix + place, rest),
        )

    def cut_off(self) -> None:
        """Its connections to the store are gone."""
        for store in self.stores:
            store.connected = False

    def _call(self, call: Callable[[], Mapping[Lane, int | None]]) -> Mapping[Lane, int | None] | None:
        """What the worker answered; None when it was killed. Lanes that it moved are read on from there."""
        self.busy = True
        try:
            moved = call()
            if self.doomed:
                raise Killed
        except Killed:
            self.world.bury(self)
            return None
        finally:
            self.busy = False
        for lane, offset in moved.items():
            self.positions[lane] = offset or 0
        if moved:
            self.world.say(
                f"{self.name} reads on at { {str(lane): offset for lane, offset in moved.items()} }"
            )
        return moved

    def take(self, lanes: Sequence[Lane]) -> None:
        """Own these lanes, which it does not own."""
        if lanes:
            self.world.say(f"{self.name} takes {[str(lane) for lane in lanes]}")
            self._call(lambda: self.worker.take(lanes))

    def lose(self, lanes: Sequence[Lane]) -> None:
        """Hear that these lanes are not its own any more."""
        for lane in lanes:
            del self.positions[lane]
        self.worker.lose(lanes)

    def hear(self, *, anew: bool) -> None:
        """Hear who owns what; `anew` takes all of its lanes again, as an eager rebalance does."""
        mine = self.world.lanes_of(self)
        self.lose([lane for lane in self.positions if anew or lane not in mine])
        self.take([lane for lane in mine if lane not in self.positions])

    def step(self, counts: Mapping[Lane, int]) -> None:
        """A round of up to so many records a lane."""
        batches = [batch for lane, count in counts.items() if (batch := self._batch(lane, count)) is not None]
        if not batches:
            return
        ranges = [f"{batch.lane}[{batch.start}..{batch.next_offset}]" for batch in batches]
        self.world.say(f"{self.name} steps {', '.join(ranges)}")
        moved = self._call(lambda: self.worker.step(batches))
        if moved is not None:
            for batch in batches:
                if batch.lane not in moved:
                    self.positions[batch.lane] = batch.next_offset

    def _batch(self, lane: Lane, count: int) -> Batch | None:
        log, rng = self.world.log, self.world.rng
        start = self.positions[lane]
        # From the beginning of a topic on a gap cannot be told from what retention removed.
        if start > 0 and rng.random() < self.world.sloppy:
            start = max(0, start + rng.choice((-30, -8, -3, -1, 1, 3)))
        records = log.read(lane, start, count)
        return Batch(lane, start, records, start + len(records), log.ends[lane]) if records else None

    def idle(self) -> None:
        """A second without records, in lanes that have none."""
        log = self.world.log
        ends = {
            lane: log.ends[lane] for lane, position in self.positions.items() if position >= log.ends[lane]
        }
        if ends:
            self.world.say(f"{self.name} idles at {[str(lane) for lane in ends]}")
            self._call(lambda: self.worker.idle(ends))
