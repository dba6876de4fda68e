"""A lane worker, watched: where its lanes stand, how far they are behind, and whether it gets on.

Guarantees:
- The lane worker is called exactly as it would be without; the watcher adds a few assignments a lane and
  round.
- How old what waits is told as the time since the lane was last seen folded to its end, or since its last
  folded record, whichever is later: at least the truth, but for clocks that differ.

The projector thread calls it. `lanes` may be read by another thread: copy it first.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Sized

from models.record import Lane
from streams.lanes import Batch, LaneWorker
from streams.stage_clock import StageClock


class LaneState:
    """One lane. Offsets are None while they are not known, times are milliseconds since 1970."""

    __slots__ = ("caught_up_ms", "end", "end_ms", "folded_ms", "marked_ms", "marks", "next_offset", "stopped")

    def __init__(self, next_offset: int | None, now_ms: int) -> None:
        self.next_offset = next_offset
        self.end: int | None = None
        self.end_ms = now_ms
        self.folded_ms = 0
        self.caught_up_ms = 0
        self.marks = 0
        self.marked_ms: int | None = None
        self.stopped = False

    @property
    def lag_records(self) -> int:
        """Records that the lane holds and that are not folded, as of when its end was told last."""
        return max(0, (self.end or 0) - (self.next_offset or 0))

    def lag_ms(self, now_ms: int) -> int:
        """How old the oldest of them may be; 0 without any."""
        known = max(self.caught_up_ms, self.folded_ms)
        return max(0, now_ms - known) if self.lag_records and known else 0

    def tell_end(self, end: int | None, now_ms: int) -> None:
        """The broker says where the lane ends (None: it does not)."""
        if end is not None:
            self.end, self.end_ms = end, now_ms
            if not self.lag_records:
                self.caught_up_ms = now_ms


class WatchedWorker:
    """A `LaneWorker` around another one. `marks` gives the marks of a lane that are open."""

    def __init__(
        self,
        worker: LaneWorker,
        clock: StageClock,
        marks: Callable[[Lane], Sized],
        clock_ms: Callable[[], int],
    ) -> None:
        self.worker, self.clock, self.clock_ms = worker, clock, clock_ms
        self.lanes: dict[Lane, LaneState] = {}
        self.rounds = 0
        # When it last got on: lanes taken, a round folded, or nothing to do and the store agrees.
        self.progress_ms = clock_ms()
        self._marks = marks

    def take(self, lanes: Sequence[Lane]) -> Mapping[Lane, int | None]:
        """Own these lanes."""
        # Listed from now on: taking may wait for long, and a lane that waits is one to worry about.
        for lane in lanes:
            self.lanes[lane] = LaneState(None, self.clock_ms())
        self.clock.begin()
        found = self.worker.take(lanes)
        self.clock.end()
        self.progress_ms = self.clock_ms()
        self._stand(found)
        self._look_at_marks(lanes)
        return found

    def lose(self, lanes: Sequence[Lane]) -> None:
        """Own them no longer."""
        for lane in lanes:
            self.lanes.pop(lane, None)
        self.worker.lose(lanes)

    def step(self, batches: Sequence[Batch]) -> Mapping[Lane, int | None]:
        """Fold and commit one round."""
        began_ms = self.clock_ms()
        for batch in batches:
            state = self.lanes[batch.lane]
            state.tell_end(batch.end, began_ms)
            if batch.records:
                # The oldest of what waits, exactly.
                state.folded_ms = batch.records[0].timestamp or 0
        self.clock.begin()
        moved = self.worker.step(batches)
        self.clock.end()
        self.rounds += 1
        now_ms = self.clock_ms()
        for batch in batches:
            if batch.lane not in moved:
                state = self.lanes[batch.lane]
                state.next_offset = batch.next_offset
                if batch.records:
                    state.folded_ms = batch.records[-1].timestamp or 0
                if batch.end is not None and batch.end <= batch.next_offset:
                    state.caught_up_ms = began_ms
        self._stand(moved)
        # A lane that moved may have got on, too, as far as there was time.
        if any((moved.get(batch.lane, batch.next_offset) or 0) > batch.start for batch in batches):
            self.progress_ms = now_ms
        self._look_at_marks([batch.lane for batch in batches])
        return moved

    def idle(self, ends: Mapping[Lane, int | None]) -> Mapping[Lane, int | None]:
        """A second without records in these lanes."""
        now_ms = self.clock_ms()
        for lane, end in ends.items():
            if lane in self.lanes:
                self.lanes[lane].tell_end(end, now_ms)
        self.clock.begin()
        moved = self.worker.idle(ends)
        self.clock.end()
        self._stand(moved)
        if len(moved) < len(ends):
            self.progress_ms = self.clock_ms()
        self._look_at_marks(self.lanes)
        return moved

    def stopped(self, lane: Lane, reason: str) -> None:
        """This lane cannot be read on."""
        if lane in self.lanes:
            self.lanes[lane].stopped = True
        self.worker.stopped(lane, reason)

    def close(self) -> None:
        """Let go."""
        self.worker.close()

    def progress_age_ms(self, now_ms: int) -> int:
        """How long ago it last got on; 0 without lanes, when there is nothing to get on with."""
        return max(0, now_ms - self.progress_ms) if self.lanes else 0

    def _stand(self, offsets: Mapping[Lane, int | None]) -> None:
        for lane, offset in offsets.items():
            if lane in self.lanes:
                self.lanes[lane].next_offset = offset

    def _look_at_marks(self, lanes: Sequence[Lane] | Mapping[Lane, LaneState]) -> None:
        now_ms = self.clock_ms()
        for lane in lanes:
            state, count = self.lanes[lane], len(self._marks(lane))
            state.marks = count
            if not count:
                state.marked_ms = None
            elif state.marked_ms is None:
                state.marked_ms = now_ms
