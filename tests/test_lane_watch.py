"""Where time is charged, and when a lane is behind: by hand, with a clock that stands until it is moved."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from types import SimpleNamespace

import pytest

from models.record import Lane
from stores.store import ProfileWrite, Store, StoreAway
from streams.lane_watch import WatchedWorker
from streams.lanes import Batch
from streams.stage_clock import (
    ACKNOWLEDGE,
    AWAY,
    NOTIFY,
    OTHER,
    STAGE_OF_CALL,
    STAGE_OF_POINT,
    STORE,
    WORKER,
    StageClock,
    TimedStore,
)
from tests.lane_recorder import Recorder
from tests.simulation.faults import GRAPH_POINTS, POINTS

LANE, OTHER_LANE = Lane("sales.events", 0), Lane("sales.events", 1)


class Time:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def ms(self) -> int:
        """In milliseconds."""
        return round(self.now * 1_000)


def spent(clock: StageClock) -> dict[tuple[str, str], float]:
    """What was charged at all."""
    return {charged: seconds for charged, seconds in clock.seconds.items() if seconds}


def test_every_point_and_every_call_to_the_store_has_a_stage() -> None:
    assert set(STAGE_OF_POINT) == {*POINTS, *GRAPH_POINTS}
    assert set(STAGE_OF_CALL) == {name for name in vars(Store) if not name.startswith("_")} - {"close"}


def test_a_step_is_charged_with_what_was_done_since_the_last_one_and_calls_with_their_own() -> None:
    time = Time()
    clock = StageClock(lambda: time.now)

    def passes(seconds: float) -> None:
        time.now += seconds

    load = clock.timed(("load", STORE), passes)
    time.now += 100
    clock.begin()
    time.now += 1
    load(2)
    time.now += 4
    load(8)
    clock.point("after load")
    time.now += 16
    clock.point("after link acknowledgement")
    time.now += 32
    clock.end()
    time.now += 100
    clock.begin()
    clock.end()
    assert spent(clock) == {
        ("load", WORKER): 5, ("load", STORE): 10, ("fold", WORKER): 16, OTHER: 32,
    }  # fmt: skip


def test_a_call_that_fails_is_charged_to_what_is_away() -> None:
    time = Time()
    clock = StageClock(lambda: time.now)

    def fails() -> None:
        time.now += 3
        raise StoreAway("gone")

    with pytest.raises(StoreAway):
        clock.timed(("commit", STORE), fails)()
    assert spent(clock) == {AWAY: 3}


def test_acknowledgements_before_the_commit_are_told_from_notices() -> None:
    time = Time()
    clock = StageClock(lambda: time.now)

    def waits() -> None:
        time.now += 1

    flush = clock.flushing(waits)
    for acknowledging in ("after load", "after graph load"):
        clock.point(acknowledging)
        flush()
        clock.point("after commit")
        flush()
        flush()
    assert spent(clock) == {ACKNOWLEDGE: 2, NOTIFY: 4}


def test_what_is_made_while_a_call_takes_it_is_the_workers_own_work() -> None:
    time = Time()
    clock = StageClock(lambda: time.now)

    def takes(made: Iterable[int]) -> list[int]:
        taken = []
        for one in made:
            time.now += 10
            taken.append(one)
        time.now += 5
        return taken

    def making() -> Iterator[int]:
        for one in range(3):
            time.now += 1
            yield one

    put = clock.timed(("put", STORE), takes)
    assert put(clock.lent(making())) == [0, 1, 2]
    clock.point("after profile")
    assert spent(clock) == {("put", STORE): 35, ("assemble", WORKER): 3}
    assert put(clock.lent(iter(()))) == []
    assert clock.seconds["put", STORE] == 40


def test_a_point_that_nobody_knows_stops_nothing() -> None:
    time = Time()
    clock = StageClock(lambda: time.now)
    time.now += 1
    clock.point("after a step that is new")
    assert spent(clock) == {OTHER: 1}


def test_profiles_written_are_those_that_replaced_an_older_one() -> None:
    answers = ["newer", "equal", "newer", "older", "base"]
    calls = dict.fromkeys(STAGE_OF_CALL, lambda *_: None) | {"put_profiles": lambda _: answers}
    store = TimedStore(SimpleNamespace(**calls, shape="s"), StageClock())  # type: ignore[arg-type]
    one = ProfileWrite("cus_1", "0.1", "crm:1", "a.1", None, {})
    assert store.put_profiles([one] * 5) == answers
    assert store.profiles_written == 2
    assert store.shape == "s"


class Watched:
    """A watched recorder, with a clock to move and marks to set."""

    def __init__(self) -> None:
        self.time, self.recorder = Time(), Recorder()
        self.marks: dict[Lane, dict[str, int]] = {}
        self.worker = WatchedWorker(
            self.recorder, StageClock(), lambda lane: self.marks.get(lane, {}), self.time.ms
        )
        self.worker.take([LANE, OTHER_LANE])

    def step(self, start: int, logged: list[float], end: int | None, lane: Lane = LANE) -> None:
        """A round with records logged at these seconds."""
        records = [SimpleNamespace(offset=start + n, timestamp=at * 1_000) for n, at in enumerate(logged)]
        self.worker.step([Batch(lane, start, records, start + len(logged), end)])

    def lag(self, lane: Lane = LANE) -> tuple[int, float]:
        """Of a lane, in records and seconds."""
        state = self.worker.lanes[lane]
        return state.lag_records, state.lag_ms(self.time.ms()) / 1_000


def test_a_lane_folded_to_its_end_is_not_behind_however_old_its_records_are() -> None:
    watched = Watched()
    watched.step(0, [10, 20], 2)
    watched.time.now += 500
    assert watched.lag() == (0, 0)


def test_a_lane_is_as_late_as_its_last_folded_record() -> None:
    watched = Watched()
    watched.step(0, [900, 950], 7)
    assert watched.lag() == (5, 50)
    watched.time.now += 10
    assert watched.lag() == (5, 60)
    watched.step(2, [960, 970, 980, 985, 990], 7)
    assert watched.lag() == (0, 0)


def test_a_record_after_a_long_silence_is_not_late_by_the_silence() -> None:
    watched = Watched()
    watched.step(0, [500], 1)
    watched.time.now += 400
    watched.worker.idle({LANE: 1})
    watched.time.now += 2
    watched.worker.idle({LANE: 3})
    assert watched.lag() == (2, 2)


def test_while_a_step_waits_its_first_record_tells_how_late_the_lane_is() -> None:
    watched = Watched()
    watched.step(0, [900], 1)
    seen = []
    real = watched.recorder.step

    def slow(batches: list[Batch]) -> dict:
        watched.time.now += 30
        seen.append(watched.lag())
        return real(batches)

    watched.recorder.step = slow  # type: ignore[method-assign, assignment]
    watched.step(1, [1_001, 1_002], 3)
    assert seen == [(2, 29)]
    assert watched.lag() == (0, 0)


def test_an_end_that_nobody_tells_grows_old_and_is_kept() -> None:
    watched = Watched()
    watched.step(0, [900], 5)
    watched.time.now += 60
    watched.worker.idle({LANE: None})
    state = watched.worker.lanes[LANE]
    assert (state.lag_records, watched.time.ms() - state.end_ms) == (4, 60_000)


def test_the_oldest_open_mark_is_as_old_as_the_time_since_there_was_none() -> None:
    watched = Watched()
    state = watched.worker.lanes[LANE]
    watched.marks[LANE] = {"crm:1": 1}
    watched.step(0, [900], 1)
    began = watched.time.ms()
    watched.time.now += 5
    watched.marks[LANE]["crm:2"] = 1
    watched.step(1, [901], 2)
    assert (state.marks, state.marked_ms) == (2, began)
    watched.marks[LANE].clear()
    watched.worker.idle({LANE: 2})
    assert (state.marks, state.marked_ms) == (0, None)


def test_a_worker_whose_lanes_are_all_refused_does_not_get_on() -> None:
    watched = Watched()
    watched.time.now += 60
    watched.recorder.refuse[LANE] = 0
    watched.step(0, [900], 1)
    assert watched.worker.progress_age_ms(watched.time.ms()) == 60_000
    assert watched.worker.lanes[LANE].next_offset == 0
    watched.recorder.refuse_idle[LANE] = 0
    watched.worker.idle({LANE: 1})
    assert watched.worker.progress_age_ms(watched.time.ms()) == 60_000
    watched.step(0, [900], 1)
    assert watched.worker.progress_age_ms(watched.time.ms()) == 0


def test_without_lanes_there_is_nothing_to_get_on_with() -> None:
    watched = Watched()
    watched.time.now += 60
    watched.worker.lose([LANE, OTHER_LANE])
    assert watched.worker.progress_age_ms(watched.time.ms()) == 0
    assert watched.worker.lanes == {}


def test_a_lane_that_cannot_be_read_is_told_until_it_is_taken_anew() -> None:
    watched = Watched()
    watched.worker.stopped(LANE, "gone")
    assert (watched.worker.lanes[LANE].stopped, watched.recorder.stops) == (True, {LANE: "gone"})
    watched.worker.lose([LANE])
    watched.worker.take([LANE])
    assert not watched.worker.lanes[LANE].stopped
