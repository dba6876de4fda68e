"""What is counted by a clock: lag, requests a second."""

from __future__ import annotations

import pytest

from api.freshness import LagWatch, wait_of
from api.limits import RequestLimit
from api.problems import Problem
from models.record import Lane
from stores.store import Checkpoint

SALES, LINKS = Lane("sales.events", 0), Lane("scv.g1.links", 0)


class Clock:
    """A time that a test sets, in seconds."""

    now = 1_000.0

    def __call__(self) -> float:
        return self.now


def lag_of(watch: LagWatch, at_ms: int, **lanes: tuple[int, int]) -> tuple[str, int | None, float | None]:
    """What the watch makes of lanes that stand there: (end, assembled) each."""
    named = {"sales": SALES, "links": LINKS}
    lag = watch._reckon(
        {named[name]: Checkpoint(end, end, assembled, at_ms) for name, (end, assembled) in lanes.items()}
    )
    return lag.status, lag.lag_records, lag.lag_seconds


def test_a_lag_counts_records_of_all_lanes_and_the_wait_of_the_oldest() -> None:
    clock = Clock()
    watch = LagWatch(None, lambda _: [], clock)  # type: ignore[arg-type]
    assert lag_of(watch, 1_000_000, sales=(5, 5), links=(2, 2)) == ("live", 0, 0.0)
    assert lag_of(watch, 1_000_000, sales=(8, 5), links=(4, 2)) == ("behind", 5, 0.0)
    clock.now = 1_003.0
    assert lag_of(watch, 1_003_000, sales=(20, 5), links=(4, 2)) == ("behind", 17, 3.0)
    # The first three are there, and the next have waited since they were seen; the links still do.
    clock.now = 1_004.0
    assert lag_of(watch, 1_004_000, sales=(20, 8), links=(4, 4)) == ("behind", 12, 1.0)
    assert lag_of(watch, 1_004_000, sales=(20, 20), links=(4, 4)) == ("live", 0, 0.0)


def test_lanes_that_nobody_looks_at_are_told_with_how_long(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    watch = LagWatch(None, lambda _: [], clock)  # type: ignore[arg-type]
    assert lag_of(watch, 990_000, sales=(5, 5)) == ("unattended", 0, 10.0)
    assert lag_of(watch, 0, sales=(5, 5)) == ("unattended", 0, 0.0)
    assert lag_of(watch, 0) == ("unattended", 0, 0.0)
    assert watch.lag.status == "unknown", "it never looked"


def test_many_looks_at_a_lane_that_stands_remember_a_bounded_number() -> None:
    clock = Clock()
    watch = LagWatch(None, lambda _: [], clock)  # type: ignore[arg-type]
    for number in range(1, 5_000):
        clock.now += 0.5
        lag_of(watch, int(clock.now * 1_000), sales=(number, 0))
    assert len(watch._ends.seen[SALES]) <= 1_001
    assert lag_of(watch, int(clock.now * 1_000), sales=(5_000, 0))[2] == pytest.approx(4_998 * 0.5)


def test_a_key_has_so_many_requests_a_second_and_twice_that_at_once() -> None:
    clock = Clock()
    limit = RequestLimit(10.0, clock)
    for _ in range(20):
        limit.take("a")
    with pytest.raises(Problem) as refused:
        limit.take("a")
    assert (refused.value.code, refused.value.retry_seconds) == ("too_many_requests", 1)
    limit.take("b")
    clock.now += 0.5
    for _ in range(5):
        limit.take("a")
    with pytest.raises(Problem):
        limit.take("a")
    clock.now += 1_000
    for _ in range(20):
        limit.take("a")
    with pytest.raises(Problem):
        limit.take("a")


@pytest.mark.parametrize(
    "prefer, seconds",
    [(None, 0), ("", 0), ("wait=2", 2), ("respond-async, wait=3", 3), ("wait = 4; x", 4), ("wait=99", 10),
     ('wait="5"', 5), ("await=5", 0), ("wait=x", 0), ("wait=-1", 0)],
)  # fmt: skip
def test_a_wait_is_read_as_rfc_7240_writes_it(prefer: str | None, seconds: float) -> None:
    assert wait_of(prefer) == seconds
