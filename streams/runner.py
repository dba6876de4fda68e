"""The projector thread, and what waits for it.

Guarantees:
- One thread makes every call to the lane worker, one at a time.
- What waits is bounded: one round, and at most one order of each kind a lane. Orders go before rounds. What
  is read while a round waits joins it: a worker that keeps up folds few rounds, and none waits for another.
- Every lane has an epoch. It changes when the lane is assigned, lost, moved or stopped, and a batch of
  another epoch is dropped: the batches of a lane that are folded follow each other.
- An exception of the lane worker ends the thread and is kept in `failure`; nothing is called after it.

Methods without a leading underscore may be called from any thread; only `close` waits for the lane worker.
"""

import itertools
import threading
from collections.abc import Callable, Collection, Iterable, Mapping
from time import monotonic
from typing import NamedTuple

from models.record import Lane
from streams.lanes import Batch, LaneWorker

# How often a lane without records is compared with its store and has its freshness written.
IDLE_EVERY_SECONDS = 1.0

PROJECTOR_THREAD = "projector"


class EpochBatch(NamedTuple):
    """A batch, and the epoch its lane was read in."""

    epoch: int
    batch: Batch


class Placement(NamedTuple):
    """Where a lane is to be read from now on, and the epoch this holds in; None: the earliest there is."""

    epoch: int
    offset: int | None


class End(NamedTuple):
    """A lane's end as the broker told it lately (None: it did not), in the epoch the lane was read in."""

    epoch: int
    offset: int | None


class Waiting(NamedTuple):
    """How much was read and waits for the thread."""

    records: int
    size_bytes: int


class Projector:
    """Runs a `LaneWorker` in a thread of its own.

    `notify` is called (from any thread, often, quickly) whenever there may be room, a placement or the end.
    """

    def __init__(self, worker: LaneWorker) -> None:
        self.failure: BaseException | None = None
        self._worker = worker
        self._notify: Callable[[], None] = lambda: None
        self._changed = threading.Condition()
        self._closing = False
        # Seconds of all calls that have ended, and when the one in progress began: changed as one.
        self._busy: tuple[float, float | None] = (0.0, None)
        self.records_read = 0
        self._next_epoch = itertools.count(1).__next__
        # All of the following are guarded by `_changed`, and hold at most one entry a lane of this worker.
        self._epochs: dict[Lane, int] = {}
        self._taken: set[Lane] = set()
        self._to_take: set[Lane] = set()
        self._to_lose: set[Lane] = set()
        self._to_stop: dict[Lane, str] = {}
        self._placements: dict[Lane, Placement] = {}
        self._ends: dict[Lane, End] = {}
        self._folded: dict[Lane, int] = {}
        self._seen: set[Lane] = set()
        # One round is being folded, one waits: folding does not wait for the broker, memory holds two rounds.
        self._round: dict[Lane, EpochBatch] = {}
        self._waiting = Waiting(0, 0)
        self._idle_at = monotonic() + IDLE_EVERY_SECONDS
        # A daemon: a step that outlasts the grace of `close` is abandoned, as by a crash.
        self._thread = threading.Thread(target=self._run, name=PROJECTOR_THREAD, daemon=True)

    def start(self, notify: Callable[[], None]) -> None:
        """Start the thread."""
        self._notify = notify
        self._thread.start()

    def close(self, grace_seconds: float) -> bool:
        """End after the call in progress, waiting for it at most `grace_seconds`; whether it ended."""
        with self._changed:
            self._closing = True
            self._take_round()
            self._changed.notify()
        if self._thread.ident is not None:
            self._thread.join(grace_seconds)
        return not self._thread.is_alive()

    @property
    def busy_seconds(self) -> float:
        """How long the call in progress has been running; 0 between calls. For a liveness probe."""
        _, began = self._busy
        return 0.0 if began is None else monotonic() - began

    @property
    def busy_seconds_total(self) -> float:
        """How long calls have been running since the start, the one in progress included."""
        ended, began = self._busy
        return ended if began is None else ended + monotonic() - began

    @property
    def rounds_waiting(self) -> int:
        """How many rounds were read and wait for the thread: 0 or 1."""
        return 1 if self._round else 0

    @property
    def waiting(self) -> Waiting:
        """How much is in the round that waits; what is offered now joins it."""
        return self._waiting

    def assign(self, lanes: Collection[Lane]) -> None:
        """Make these lanes, all anew, and no others this worker's.

        Each gets a placement when the lane worker has taken it.
        """
        with self._changed:
            # All: a rebalance on top of a rebalance may leave lanes here that are not ours any more.
            self._revoke([*self._epochs, *self._taken])
            for lane in lanes:
                self._epochs[lane] = self._next_epoch()
            self._to_take.update(lanes)
            self._changed.notify()

    def revoke(self, lanes: Iterable[Lane]) -> None:
        """Fold nothing more of these lanes, except by a step that is running already."""
        with self._changed:
            self._revoke(lanes)
            self._changed.notify()

    def holds(self, lanes: Collection[Lane]) -> bool:
        """Whether the lane worker was not yet told to lose one of these."""
        with self._changed:
            return not self._taken.isdisjoint(lanes)

    def is_current(self, lane: Lane, epoch: int) -> bool:
        """Whether this is still the lane's epoch."""
        return self._epochs.get(lane) == epoch

    def stop_lane(self, lane: Lane, epoch: int, reason: str) -> bool:
        """Fold nothing more of this lane in this assignment; False if the epoch has passed already."""
        with self._changed:
            if self._epochs.get(lane) != epoch:
                return False
            self._forget(lane)
            self._to_stop[lane] = reason
            self._changed.notify()
            return True

    def offer(self, batches: list[EpochBatch], size_bytes: int = 0) -> None:
        """Let a round wait for the thread, or join the one that waits: one caller, who minds how much."""
        records = sum(len(batch.records) for _, batch in batches)
        with self._changed:
            if self._closing:
                return
            for one in batches:
                lane = one.batch.lane
                before = self._round.get(lane)
                # What was read in an earlier epoch would be dropped anyway.
                if before is None or before.epoch < one.epoch:
                    self._round[lane] = one
                elif before.epoch == one.epoch:
                    self._round[lane] = _joined(before, one)
            self._waiting = Waiting(self._waiting.records + records, self._waiting.size_bytes + size_bytes)
            self.records_read += records
            self._changed.notify()

    def _take_round(self) -> list[EpochBatch]:
        taken, self._round = list(self._round.values()), {}
        self._waiting = Waiting(0, 0)
        return taken

    def tell_ends(self, ends: Mapping[Lane, End]) -> None:
        """Take note of the ends of the lanes being read; they replace what was told before."""
        with self._changed:
            self._ends = dict(ends)

    def placements(self) -> dict[Lane, Placement]:
        """Hand over the placements made since the last call."""
        with self._changed:
            placements, self._placements = self._placements, {}
            return placements

    def folded(self) -> dict[Lane, int]:
        """Tell up to where the lane worker has committed each lane, of what this process folded."""
        with self._changed:
            return dict(self._folded)

    def _forget(self, lane: Lane) -> None:
        self._epochs.pop(lane, None)
        self._placements.pop(lane, None)

    def _revoke(self, lanes: Iterable[Lane]) -> None:
        for lane in lanes:
            self._forget(lane)
            self._to_take.discard(lane)
            self._to_stop.pop(lane, None)
            self._folded.pop(lane, None)
            if lane in self._taken:
                self._to_lose.add(lane)

    def _run(self) -> None:
        try:
            while (work := self._next_work()) is not None:
                ended, began = self._busy[0], monotonic()
                self._busy = ended, began
                work()
                self._busy = ended + monotonic() - began, None
                self._notify()
            self._worker.close()
        except BaseException as failure:  # noqa: BLE001 - the event loop ends the process with it
            self.failure = failure
        finally:
            self._busy = self._busy[0], None
            self._notify()

    def _next_work(self) -> Callable[[], None] | None:
        """Choose what to do next, in the order that the protocol promises; None: end."""
        with self._changed:
            while not self._closing:
                if self._to_lose:
                    return self._lose
                if self._to_take:
                    return self._take
                if self._to_stop:
                    return self._stop
                idle_in_seconds = self._idle_at - monotonic()
                if idle_in_seconds <= 0:
                    return self._idle
                if self._round:
                    return self._step
                self._changed.wait(idle_in_seconds)
        return None

    def _lose(self) -> None:
        with self._changed:
            lanes, self._to_lose = self._to_lose, set()
        self._worker.lose(sorted(lanes))
        with self._changed:
            self._taken -= lanes

    def _take(self) -> None:
        with self._changed:
            lanes, self._to_take = self._to_take, set()
            self._taken |= lanes
            before = dict(self._epochs)
        offsets = self._worker.take(sorted(lanes))
        if missing := lanes.difference(offsets):
            names = ", ".join(map(str, sorted(missing)))
            raise RuntimeError(f"lanes taken without an offset to resume at: {names}")
        with self._changed:
            for lane in lanes:
                epoch = self._epochs.get(lane)
                if epoch is not None and epoch == before.get(lane):
                    self._placements[lane] = Placement(epoch, offsets[lane])

    def _stop(self) -> None:
        with self._changed:
            stops, self._to_stop = self._to_stop, {}
        for lane, reason in stops.items():
            self._worker.stopped(lane, reason)

    def _step(self) -> None:
        with self._changed:
            offered = self._take_round()
            before = dict(self._epochs)
            batches = [batch for epoch, batch in offered if before.get(batch.lane) == epoch]
            self._seen.update(batch.lane for batch in batches)
        # There is room again: the next round is fetched while this one is folded.
        self._notify()
        if not batches:
            return
        moved = self._worker.step(batches)
        with self._changed:
            for batch in batches:
                if batch.lane not in moved and self._epochs.get(batch.lane) == before[batch.lane]:
                    self._folded[batch.lane] = batch.next_offset
            self._move(moved, before)

    def _idle(self) -> None:
        with self._changed:
            self._idle_at = monotonic() + IDLE_EVERY_SECONDS
            before = dict(self._epochs)
            ends = {
                lane: end.offset
                for lane, end in self._ends.items()
                if before.get(lane) == end.epoch and lane not in self._seen
            }
            self._seen.clear()
        if not ends:
            return
        moved = self._worker.idle(ends)
        with self._changed:
            self._move(moved, before)

    def _move(self, moved: Mapping[Lane, int | None], before: Mapping[Lane, int]) -> None:
        """Begin a new epoch in each lane that must resume elsewhere, unless it left or came meanwhile."""
        for lane, offset in moved.items():
            epoch = self._epochs.get(lane)
            if epoch is None or epoch != before.get(lane):
                continue
            self._epochs[lane] = epoch = self._next_epoch()
            self._placements[lane] = Placement(epoch, offset)
            self._folded.pop(lane, None)


def _joined(before: EpochBatch, after: EpochBatch) -> EpochBatch:
    """Two batches of a lane that follow each other, as one."""
    first, then = before.batch, after.batch
    assert then.start == first.next_offset, f"{first.lane}: {then.start} was read after {first.next_offset}"
    records = [*first.records, *then.records]
    return EpochBatch(after.epoch, Batch(first.lane, first.start, records, then.next_offset, then.end))
