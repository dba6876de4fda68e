"""Far behind, customers wait: what is postponed is in the store, and is assembled when the end comes.

Guarantees:
- Kills, lost answers and zombies in the midst of it lose nothing and put nothing back.
"""

from __future__ import annotations

import pytest

from streams import lane_worker
from tests.simulation.scenes import MARKETING, SALES, Scene, kill, take_over
from tests.test_simulation import not_acknowledged, version
from tests.told_by_hand import ADA


@pytest.fixture
def scene() -> Scene:
    """Half of the log is folded and assembled."""
    return Scene()


@pytest.fixture
def patient(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """A single record is far behind, and nothing is due by time."""
    monkeypatch.setattr(lane_worker, "BEHIND_RECORDS", 0)
    monkeypatch.setattr(lane_worker, "BEHIND_MS", 1_000_000)
    monkeypatch.setattr(lane_worker, "BEHIND_MS_MAX", 1_000_000)


@pytest.mark.usefixtures("patient")
def test_far_behind_marks_stay_open_and_are_assembled_when_the_end_comes(scene: Scene) -> None:
    scene.step(scene.first, 1, SALES)
    state = scene.world.shelf.lane(SALES)
    assert (state.next_offset, state.assembled_offset, set(state.marks)) == (3, 2, {ADA})
    assert version(scene) == "0.3"
    scene.step(scene.first)
    state = scene.world.shelf.lane(SALES)
    assert (state.assembled_offset, dict(state.marks)) == (state.next_offset, {})
    assert version(scene) == "0.5"
    scene.ends_well()


@pytest.mark.usefixtures("patient")
def test_what_waits_is_told_by_time_or_when_much_waits(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lane_worker, "POSTPONED_MAX", 0)
    scene.step(scene.first, 1, SALES)
    assert scene.world.shelf.lane(SALES).assembled_offset == 3
    monkeypatch.undo()
    monkeypatch.setattr(lane_worker, "BEHIND_RECORDS", 0)
    monkeypatch.setattr(lane_worker, "BEHIND_MS", 0)
    scene.step(scene.first, 1, SALES)
    assert scene.world.shelf.lane(SALES).assembled_offset == 4
    scene.ends_well()


@pytest.mark.usefixtures("patient")
def test_what_waits_longest_is_told_however_much_is_left(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lane_worker, "BEHIND_MS", 0)
    # As if less than a tenth of what is left had been folded since.
    monkeypatch.setattr(lane_worker, "BEHIND_SHARE", 0)
    scene.step(scene.first, 1, SALES)
    assert scene.world.shelf.lane(SALES).assembled_offset == 2
    monkeypatch.setattr(lane_worker, "BEHIND_MS_MAX", 0)
    scene.step(scene.first, 1, SALES)
    assert scene.world.shelf.lane(SALES).assembled_offset == 4
    scene.ends_well()


@pytest.mark.usefixtures("patient")
def test_what_waits_is_told_when_the_clock_was_set_back(scene: Scene) -> None:
    folding = scene.first.worker.folding
    folding.assembled_ms = folding.clock_ms() + 3_600_000
    scene.step(scene.first, 1, SALES)
    assert scene.world.shelf.lane(SALES).assembled_offset == 3
    scene.ends_well()


@pytest.mark.usefixtures("patient")
def test_killed_while_customers_wait_it_leaves_their_marks(scene: Scene) -> None:
    scene.step(scene.first, 1, SALES)
    scene.on("between membership and parts", kill)
    scene.step(scene.first)
    scene.ends_well()


# Found by a seed of a campaign: such a lane was told as not assembled for ever.
@pytest.mark.parametrize("time", [1, 2])
def test_a_lane_that_waits_without_marks_is_not_forgotten(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, time: int
) -> None:
    scene.step(scene.first, 2, SALES)
    monkeypatch.setattr(lane_worker, "BEHIND_RECORDS", 0)
    monkeypatch.setattr(lane_worker, "BEHIND_MS", 1_000_000)
    monkeypatch.setattr(lane_worker, "BEHIND_MS_MAX", 1_000_000)
    scene.step(scene.first, 1)
    assert not scene.world.shelf.lane(SALES).marks
    scene.on("flush", not_acknowledged, time)
    scene.step(scene.first, 100, MARKETING)
    scene.first.idle()
    assert scene.world.shelf.lane(SALES).assembled_offset == scene.next_offset(SALES)
    scene.ends_well()


@pytest.mark.usefixtures("patient")
def test_a_zombie_that_waited_puts_no_profile_back(scene: Scene) -> None:
    scene.step(scene.first, 1, SALES)
    take_over(scene.world, scene.first)
    scene.step(scene.first)
    assert version(scene) == "0.5"
    scene.ends_well()


@pytest.mark.usefixtures("patient")
def test_what_a_stopped_lane_left_is_assembled_with_the_lanes_that_are_idle(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.step(scene.first, 100, MARKETING)
    scene.step(scene.first, 1, SALES)
    assert scene.world.shelf.lane(SALES).marks
    # Nobody asks any more for a lane that was stopped: only the other one is idle.
    del scene.first.positions[SALES]
    scene.first.idle()
    assert scene.world.shelf.lane(SALES).marks, "it waits like a lane that is far behind"
    monkeypatch.setattr(lane_worker, "BEHIND_MS_MAX", 0)
    scene.first.idle()
    state = scene.world.shelf.lane(SALES)
    assert (dict(state.marks), state.assembled_offset) == ({}, 3)
