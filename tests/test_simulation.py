"""Whatever fails, wherever it fails: once all is well again the view is what a run without faults gives.

Guarantees:
- Each point between the worker's steps has a kill and a pause written by hand, since random seeds miss most.
- Every single moment of a batch is tried with every kind of fault, and every point with every earlier state
  of the store.
- A thousand seeds try what nobody thought of; `make campaign` tries a hundred thousand.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from eventlog.errors import ProduceFailed
from models.catalogue import DEAD_LETTER_TOPIC
from models.identifiers import customer_id
from stores.store import StoreAway
from tests.simulation.actors import Actor
from tests.simulation.cases import LINKS
from tests.simulation.faults import POINTS
from tests.simulation.run import SEEDS_PER_CASE, failing, simulate
from tests.simulation.scenes import (
    MARKETING,
    SALES,
    VISITOR,
    Deed,
    Scene,
    kill,
    moments,
    states_before,
    take_over,
    with_deed,
)
from tests.simulation.store import INDEX, LANE, LANES, PROFILE, Snapshot
from tests.simulation.world import World
from tests.told_by_hand import ADA

SEEDS = 1_002
EMAIL = (INDEX, "email:ada@example.com")
ADAS, VISITORS = customer_id(ADA), customer_id(VISITOR)


@pytest.fixture
def scene() -> Scene:
    """Half of the log is folded by the first of two workers."""
    return Scene()


def written(scene: Scene, topic: str) -> int:
    """How many different records a topic has."""
    return len(scene.world.log.written(topic))


def version(scene: Scene, customer: str = ADAS) -> str | None:
    profile = scene.profile(customer)
    return None if profile is None else profile.version


def test_a_run_without_faults_ends_well(scene: Scene) -> None:
    scene.step(scene.first)
    assert (version(scene), version(scene, VISITORS)) == ("0.5", "0.3")
    scene.ends_well()


# A process that ends.


def test_killed_after_load_it_leaves_nothing_and_the_next_owner_folds_all(scene: Scene) -> None:
    scene.on("after load", kill)
    scene.step(scene.first)
    assert scene.world.shelf.values == scene.half
    assert scene.first not in scene.world.actors
    scene.ends_well()


def test_killed_after_link_acknowledgement_it_leaves_facts_that_come_again(scene: Scene) -> None:
    before = written(scene, LINKS), written(scene, DEAD_LETTER_TOPIC)
    scene.on("after link acknowledgement", kill)
    scene.step(scene.first)
    assert (written(scene, LINKS), written(scene, DEAD_LETTER_TOPIC)) > before
    assert scene.next_offset(SALES) == scene.half[LANE, SALES].next_offset
    scene.ends_well()


def test_killed_after_commit_it_leaves_marks_that_the_next_owner_assembles(scene: Scene) -> None:
    scene.on("after commit", kill)
    scene.step(scene.first)
    assert scene.next_offset(MARKETING) == 6
    assert set(scene.world.shelf.lane(SALES).marks) == {ADA, VISITOR}
    assert version(scene) == "0.3"
    scene.own(scene.second)
    assert not scene.world.shelf.lane(SALES).marks
    assert version(scene) == "0.5"
    scene.ends_well()


@pytest.mark.parametrize("place", ["between membership and parts", "between parts and profile"])
def test_killed_while_assembling_it_leaves_the_old_profile_and_its_mark(scene: Scene, place: str) -> None:
    scene.on(place, kill)
    scene.step(scene.first)
    assert version(scene) == "0.3"
    assert ADA in scene.world.shelf.lane(SALES).marks
    scene.ends_well()


def test_killed_after_the_profile_it_leaves_side_effects_to_be_repeated_upon_an_equal_version(
    scene: Scene,
) -> None:
    scene.on("after profile", kill)
    scene.step(scene.first)
    assert version(scene) == "0.5"
    assert EMAIL not in scene.world.shelf.values
    assert ADA in scene.world.shelf.lane(SALES).marks
    scene.ends_well()


def test_killed_between_indexes_and_notice_it_leaves_a_notice_to_be_made(scene: Scene) -> None:
    scene.on("between indexes and notice", kill)
    scene.step(scene.first)
    assert EMAIL in scene.world.shelf.values
    assert scene.world.watch.latest(ADAS) == (0, 3)
    scene.ends_well()


@pytest.mark.parametrize("place", ["after side effects", "before marks close"])
def test_killed_before_the_mark_closes_it_leaves_the_mark_only(scene: Scene, place: str) -> None:
    scene.on(place, kill)
    scene.step(scene.first)
    assert scene.world.watch.latest(ADAS) == (0, 5)
    assert ADA in scene.world.shelf.lane(SALES).marks
    scene.ends_well()


# A process that stands still while another one is given its lanes, reads them to the end, and assembles.


@pytest.mark.parametrize("place", ["after load", "after link acknowledgement"])
def test_a_zombie_before_its_commit_is_refused(scene: Scene, place: str) -> None:
    scene.on(place, take_over)
    scene.step(scene.first)
    assert scene.first.worker.folding.counters.refused == 2
    assert scene.first.positions == {MARKETING: 6, SALES: 5}
    scene.ends_well()


def test_a_zombie_after_its_commit_finds_everything_assembled(scene: Scene) -> None:
    scene.on("after commit", take_over)
    scene.step(scene.first)
    assert scene.first.worker.folding.counters.refused == 0
    scene.ends_well()


@pytest.mark.parametrize(
    "place",
    ["between membership and parts", "between parts and profile", "after profile", "after side effects"],
)
def test_a_zombie_in_the_midst_of_assembling_repeats_what_is_there(scene: Scene, place: str) -> None:
    scene.on(place, take_over)
    scene.step(scene.first)
    assert version(scene) == "0.5"
    scene.ends_well()


@pytest.mark.parametrize(
    "place", ["between parts and profile", "after profile", "between indexes and notice"]
)
def test_a_zombie_with_old_parts_does_not_put_the_profile_back(scene: Scene, place: str) -> None:
    scene.on(place, take_over)
    # Only the sales of the second half; the rest of the log is the other worker's.
    scene.step(scene.first, 1, SALES)
    assert (version(scene), version(scene, VISITORS)) == ("0.5", "0.3")
    assert scene.world.watch.latest(ADAS) == (0, 5)
    scene.ends_well()


def test_a_zombie_before_the_marks_close_does_not_close_newer_ones(scene: Scene) -> None:
    def commit_and_die(world: World, actor: Actor) -> None:
        scene.script.on(scene.second.name, "after commit", kill)
        take_over(world, actor)

    scene.on("before marks close", commit_and_die)
    scene.step(scene.first, 1, SALES)
    assert ADA in scene.world.shelf.lane(MARKETING).marks
    assert scene.world.shelf.lane(SALES).marks == {VISITOR: 1}
    scene.ends_well()


def test_a_paused_worker_does_not_put_the_assembled_offset_back(scene: Scene) -> None:
    scene.on("before marks close", take_over)
    scene.step(scene.first, 1, SALES)
    assert scene.world.shelf.lane(SALES).assembled_offset == 5
    scene.ends_well()


# A store that goes back.


def test_a_zombie_that_loaded_after_anothers_commit_meets_a_store_that_went_back(scene: Scene) -> None:
    take_over(scene.world, scene.first)

    def go_back(world: World, actor: Actor) -> None:
        world.set_back(scene.half, lambda key: key[0] == LANE)

    scene.on("after load", go_back)
    scene.step(scene.first)
    assert scene.first.worker.folding.counters.refused == 2
    scene.ends_well()


def test_after_a_lost_answer_every_lane_looks_for_its_marks_again(scene: Scene) -> None:
    back: list[Snapshot] = []
    scene.on("after commit", lambda world, actor: back.append(world.shelf.snapshot()))
    scene.step(scene.first, 100, MARKETING)
    # The checkpoint is the same as now, but the profile is not made yet and the mark is open.
    scene.world.set_back_all(back[0])
    assert ADA in scene.world.shelf.lane(MARKETING).marks
    scene.step(scene.first, 100, SALES)
    scene.first.idle()
    assert not scene.world.shelf.lane(MARKETING).marks
    scene.ends_well()


@pytest.mark.parametrize("older", ["empty", "half"])
def test_a_mark_stays_while_the_parts_that_were_read_are_older_than_it(scene: Scene, older: str) -> None:
    def go_back(world: World, actor: Actor) -> None:
        committed.append(world.shelf.snapshot())
        world.set_back({} if older == "empty" else scene.half, lambda key: key[0] == LANE)

    def go_forth(world: World, actor: Actor) -> None:
        # As if another worker had folded the same records again, and died.
        world.set_back(committed[0], lambda key: key[0] == LANE)

    committed: list[Snapshot] = []
    scene.on("between membership and parts", go_back)
    scene.on("before marks close", go_forth)
    scene.step(scene.first)
    assert version(scene) == "0.3"
    assert ADA in scene.world.shelf.lane(SALES).marks
    scene.first.idle()
    assert version(scene) == "0.5"
    assert not scene.world.shelf.lane(SALES).marks
    scene.ends_well()


def test_lanes_noted_before_a_commit_survive_a_store_that_went_back_in_between(scene: Scene) -> None:
    def forget_lanes(world: World, actor: Actor) -> None:
        world.set_back(scene.half, lambda key: key[0] == LANES)
        world.sweep_due = False

    scene.on("after link acknowledgement", forget_lanes)
    scene.step(scene.first)
    assert version(scene, VISITORS) == "0.3"
    scene.ends_well()


def test_changed_sections_are_not_written_upon_a_profile_that_went_back(scene: Scene) -> None:
    scene.world.set_back({}, lambda key: key[0] == PROFILE)
    scene.step(scene.first)
    profile = scene.profile(ADAS)
    assert profile is not None and {"identity", "sales", "meta"} <= set(profile.sections)
    scene.ends_well()


def test_changed_sections_are_not_written_upon_an_older_profile(scene: Scene) -> None:
    scene.step(scene.first, 1, SALES)
    scene.world.set_back(scene.half, lambda key: key[0] == PROFILE)
    scene.step(scene.first, 1, MARKETING)
    profile = scene.profile(ADAS)
    assert profile is not None and b"O-2" in profile.sections["sales"], "profile without the order"
    scene.ends_well()


# A reader that delivers what the runner never would.


@pytest.mark.parametrize("start, count", [(0, 1), (0, 2), (3, 2)])
def test_an_old_range_or_one_after_a_gap_moves_no_checkpoint(scene: Scene, start: int, count: int) -> None:
    scene.first.positions[SALES] = start
    scene.step(scene.first, count, SALES)
    assert scene.next_offset(SALES) == 2
    assert scene.first.positions[SALES] == 2
    scene.ends_well()


def test_a_range_that_overlaps_what_is_folded_counts_once(scene: Scene) -> None:
    scene.first.positions[SALES] = 0
    scene.step(scene.first, 4, SALES)
    assert scene.next_offset(SALES) == 4
    scene.ends_well()


# Every moment.


def away(world: World, actor: Actor) -> None:
    raise StoreAway("no answer")


def not_acknowledged(world: World, actor: Actor) -> None:
    raise ProduceFailed("not acknowledged")


def cut_off(world: World, actor: Actor) -> None:
    actor.cut_off()


FAULTS: dict[str, Deed] = {"killed": kill, "taken over": take_over, "cut off": cut_off}


def test_every_point_comes_up_in_a_batch() -> None:
    assert {place for place, is_point, _ in moments() if is_point} == set(POINTS)


@pytest.mark.parametrize("fault", FAULTS)
def test_at_any_single_moment_a_worker_may_be(fault: str) -> None:
    for number, _ in enumerate(moments()):
        with_deed(number, FAULTS[fault]).ends_well()


def test_at_any_single_call_the_store_or_the_log_may_be_away() -> None:
    for number, (place, is_point, _) in enumerate(moments()):
        if not is_point:
            with_deed(number, not_acknowledged if place in ("flush", "produce") else away).ends_well()


SHARDS: dict[str, Callable[[tuple[str, object]], bool]] = {
    "one lane": lambda key: key == (LANE, SALES),
    "all lanes": lambda key: key[0] == LANE,
    "profiles": lambda key: key[0] == PROFILE,
    "indexes": lambda key: key[0] == INDEX,
    "lanes of subjects": lambda key: key[0] == LANES,
    "lanes and profiles": lambda key: key[0] in (LANE, PROFILE),
    "everything": lambda key: key[0] in (LANE, PROFILE, INDEX, LANES),
}


@pytest.mark.parametrize("ending", ["goes on", "is killed"])
def test_at_any_point_one_redis_may_go_back_to_any_earlier_state(ending: str) -> None:
    told = moments()
    for number in [number for number, (_, is_point, _) in enumerate(told) if is_point]:
        for state in states_before(number, told):

            def go_back(world: World, actor: Actor, state: Snapshot = state) -> None:
                world.set_back_all(state)
                if ending == "is killed":
                    kill(world, actor)

            with_deed(number, go_back).ends_well()


@pytest.mark.parametrize("ending", ["goes on", "is killed", "is cut off"])
@pytest.mark.parametrize("shards", SHARDS)
def test_at_any_point_shards_may_go_back_to_any_earlier_state(shards: str, ending: str) -> None:
    told = moments()
    for number in [number for number, (_, is_point, _) in enumerate(told) if is_point]:
        for state in states_before(number, told):

            def go_back(world: World, actor: Actor, state: Snapshot = state) -> None:
                world.set_back(state, SHARDS[shards])
                if ending == "is killed":
                    kill(world, actor)
                if ending == "is cut off":
                    world.break_connections()

            with_deed(number, go_back).ends_well()


# By chance.


def test_a_seed_gives_the_same_run_again() -> None:
    stories: list[list[str]] = [[], []]
    for story in stories:
        for seed in (3, SEEDS_PER_CASE + 1):
            simulate(seed, trace=story.append)
    assert stories[0] == stories[1] and len(stories[0]) > 10


@pytest.mark.parametrize("part", range(6))
def test_a_thousand_seeds_end_well(part: int) -> None:
    share = SEEDS // 6
    assert failing(range(part * share, (part + 1) * share)) == []
