"""Whatever fails while customers merge and split: once all is well again, everybody sees who is who.

Guarantees:
- Each point of the identity writer has a kill and a pause written by hand, at each of them a zombie, and a
  lane of a member that commits.
- Every single moment of a merge and a split is tried with every kind of fault, and every point with every
  earlier state of the graph, of memberships, of look-ups and of profiles, alone and together.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from eventlog.errors import ProduceFailed
from models.catalogue import DEAD_LETTER_TOPIC, MERGES_TOPIC
from models.identifiers import customer_id
from stores.store import StoreAway
from tests.simulation.actors import Actor
from tests.simulation.cases import LINK_LANE, LINKS
from tests.simulation.faults import GRAPH, GRAPH_POINTS
from tests.simulation.graph_scenes import BO, EMAIL, OTHER, PLACED, GraphScene, members_commit
from tests.simulation.scenes import (
    MARKETING,
    SALES,
    VISITOR,
    Deed,
    kill,
    moments,
    states_before,
    take_over,
    with_deed,
)
from tests.simulation.store import INDEX, LANE, LANES, MEMBERSHIP, PROFILE, Snapshot
from tests.simulation.world import World
from tests.told_by_hand import ADA

BEFORE, MERGED, SPLIT = PLACED, PLACED + 1, PLACED + 2
STEP_POINTS = [place for place in GRAPH_POINTS if place != "between the two graph reads"]
BEFORE_COMMIT = STEP_POINTS[:2]
AFTER_COMMIT = STEP_POINTS[2:]
BEFORE_PLACING = AFTER_COMMIT[:2]


@pytest.fixture
def scene() -> GraphScene:
    """Two customers are placed; two commands on them are to be heard."""
    return GraphScene()


def merges(scene: GraphScene) -> int:
    """How many different merges and splits were told."""
    return len(scene.world.log.written(MERGES_TOPIC))


def marked(scene: GraphScene) -> set[str]:
    """Whose readers have not heard yet."""
    return set(scene.world.shelf.lane(LINK_LANE).marks)


def test_a_run_without_faults_merges_and_splits(scene: GraphScene) -> None:
    assert scene.placed(VISITOR).members == (ADA, VISITOR) and scene.placed(OTHER).founder == BO
    assert scene.profile_of(VISITOR).state == scene.profile_of(OTHER).state == "merged"
    before = merges(scene)
    scene.step(scene.first)
    assert merges(scene) == before + 2
    assert scene.placed(BO).members == (ADA, BO, OTHER) and scene.placed(VISITOR).members == (VISITOR,)
    assert (scene.profile_of(BO).state, scene.profile_of(VISITOR).state) == ("merged", "live")
    scene.ends_well()


# A process that ends.


@pytest.mark.parametrize("place", BEFORE_COMMIT)
def test_killed_before_its_commit_it_leaves_the_graph_as_it_was(scene: GraphScene, place: str) -> None:
    told = merges(scene)
    scene.on_graph(place, kill)
    scene.step(scene.first)
    assert scene.world.shelf.values == scene.half
    assert merges(scene) == told + (2 if place == "after merge acknowledgement" else 0)
    scene.ends_well()


def test_killed_between_the_two_graph_reads_the_next_owner_reads_both(scene: GraphScene) -> None:
    scene.on_graph("after graph commit", kill)
    scene.step(scene.first)
    scene.script.on(scene.second.name, f"{GRAPH}between the two graph reads", kill)
    scene.own(scene.second, LINK_LANE)
    assert scene.second not in scene.world.actors
    assert {BO, VISITOR} <= marked(scene)
    scene.ends_well()


@pytest.mark.parametrize("place", AFTER_COMMIT)
def test_killed_after_its_commit_it_leaves_marks_that_the_next_owner_settles(
    scene: GraphScene, place: str
) -> None:
    scene.on_graph(place, kill)
    scene.step(scene.first)
    assert scene.next_offset(LINK_LANE) == SPLIT
    assert {ADA, BO, OTHER, VISITOR} <= marked(scene)
    assert scene.placed(BO).stamp == (BEFORE if place in BEFORE_PLACING else SPLIT)
    scene.own(scene.second, LINK_LANE)
    assert not marked(scene)
    assert (scene.profile_of(BO).state, scene.profile_of(VISITOR).state) == ("merged", "live")
    scene.ends_well()


@pytest.mark.parametrize("time", [1, 2, 3, 4, 5])
def test_killed_between_two_memberships_it_leaves_some_that_are_later_than_others(
    scene: GraphScene, time: int
) -> None:
    scene.on_graph("place", kill, time)
    scene.step(scene.first)
    assert {scene.placed(name).stamp for name in (ADA, BO, OTHER, VISITOR)} <= {6, BEFORE, MERGED, SPLIT}
    scene.step(scene.second, 1, MARKETING, SALES)
    scene.ends_well()


def test_killed_between_two_tombstones_it_leaves_marks(scene: GraphScene) -> None:
    scene.on_graph("put_profiles", kill, 2)
    scene.step(scene.first)
    assert {BO, OTHER} <= marked(scene)
    scene.ends_well()


# A lane of a member that commits while the writer stands still, which then goes on, or ends there.


@pytest.mark.parametrize("ending", ["goes on", "is killed"])
@pytest.mark.parametrize("place", [*STEP_POINTS, "place", "put_profiles", "close_marks"])
def test_a_members_lane_commits_at_any_point_and_nothing_of_it_is_lost(
    scene: GraphScene, place: str, ending: str
) -> None:
    def commit(world: World, actor: Actor) -> None:
        members_commit(world, actor)
        if ending == "is killed":
            kill(world, actor)

    scene.on_graph(place, commit, 2 if place in ("place", "put_profiles") else 1)
    scene.step(scene.first)
    assert (scene.next_offset(MARKETING), scene.next_offset(SALES)) == (3, 3)
    scene.ends_well()


def test_a_membership_written_late_does_not_leave_the_profile_that_was_made_under_the_old_one(
    scene: GraphScene,
) -> None:
    scene.on_graph("place", members_commit)
    scene.step(scene.first)
    merged = scene.profile_of(ADA)
    assert b"O-3" in merged.sections["sales"] and merged.order == (SPLIT, 4)
    assert scene.profile_of(BO).state == "merged"
    scene.ends_well()


def test_all_memberships_are_written_before_anybody_is_assembled(scene: GraphScene) -> None:
    def look(world: World, actor: Actor) -> None:
        seen.append({scene.placed(name).stamp for name in (ADA, BO, OTHER, VISITOR)})

    seen: list[set[int]] = []
    scene.on_graph("put_profiles", look)
    scene.step(scene.first)
    assert seen == [{SPLIT}]
    scene.ends_well()


# A zombie.


@pytest.mark.parametrize("place", BEFORE_COMMIT)
def test_a_zombie_before_its_commit_is_refused(scene: GraphScene, place: str) -> None:
    scene.on_graph(place, take_over)
    scene.step(scene.first)
    assert scene.first.worker.identity.counters.refused == 1
    assert scene.first.positions[LINK_LANE] == SPLIT
    scene.ends_well()


@pytest.mark.parametrize("place", AFTER_COMMIT)
def test_a_zombie_after_its_commit_repeats_what_is_there(scene: GraphScene, place: str) -> None:
    scene.on_graph(place, take_over)
    scene.step(scene.first)
    assert scene.first.worker.identity.counters.refused == 0
    scene.ends_well()


@pytest.mark.parametrize("place", AFTER_COMMIT)
def test_a_zombie_of_the_merge_does_not_undo_the_split(scene: GraphScene, place: str) -> None:
    """It heard the first command only; both were settled by another meanwhile."""
    scene.on_graph(place, take_over)
    scene.step(scene.first, 1)
    assert scene.placed(VISITOR) == (SPLIT, VISITOR, (VISITOR,), {EMAIL: "rejected"}, ())
    assert scene.world.shelf.values[INDEX, EMAIL].stamp == SPLIT
    assert scene.profile_of(VISITOR).state == "live"
    assert not marked(scene)
    scene.ends_well()


def test_a_zombie_between_two_memberships_does_not_put_one_back(scene: GraphScene) -> None:
    scene.step(scene.first, 1)
    calls = scene.script.been[scene.first.name, f"{GRAPH}place"]
    assert calls > 4
    for time in range(1, calls + 1):
        scene = GraphScene()
        scene.on_graph("place", take_over, time)
        scene.step(scene.first, 1)
        assert scene.placed(VISITOR).stamp == SPLIT
        scene.ends_well()


def test_who_takes_the_graph_and_stands_still_between_its_reads_reads_again(scene: GraphScene) -> None:
    scene.on_graph("after graph commit", kill)
    scene.step(scene.first, 1)

    [born] = [actor for actor in scene.world.actors if actor is not scene.second]
    scene.script.on(scene.second.name, f"{GRAPH}between the two graph reads", take_over)
    scene.own(scene.second, LINK_LANE)
    assert scene.next_offset(LINK_LANE) == SPLIT and born.positions[LINK_LANE] == SPLIT
    scene.ends_well()


# A worker of the lanes that knows less than the graph does.


@pytest.mark.parametrize(
    "place", ["between membership and parts", "between parts and profile", "put_profiles"]
)
def test_a_late_assembler_does_not_bring_back_who_was_merged(scene: GraphScene, place: str) -> None:
    def merge(world: World, actor: Actor) -> None:
        scene.step(scene.first)

    scene.script.been.clear()
    scene.script.on(scene.second.name, place, merge)
    scene.step(scene.second, 1, SALES)
    assert (scene.profile_of(BO).state, scene.profile_of(BO).order) == ("merged", (SPLIT, 0))
    assert b"O-3" in scene.profile_of(ADA).sections["sales"]
    scene.ends_well()


def test_memberships_that_went_back_are_mended_from_the_graph(scene: GraphScene) -> None:
    scene.step(scene.first)
    for name in (ADA, BO, OTHER):
        scene.world.shelf.values[MEMBERSHIP, name] = scene.half[MEMBERSHIP, name]
    scene.step(scene.second, 1, SALES)
    assert scene.placed(BO).members == (ADA, BO, OTHER)
    assert b"O-3" in scene.profile_of(ADA).sections["sales"]
    assert not scene.world.shelf.lane(SALES).marks


def test_facts_of_a_part_that_was_never_committed_place_a_subject_all_the_same(scene: GraphScene) -> None:
    scene.world.set_back_all({})
    scene.step(scene.second)
    scene.script.on(scene.second.name, "after link acknowledgement", kill)
    scene.step(scene.second, 100, SALES)
    assert scene.second not in scene.world.actors and scene.next_offset(SALES) is None
    scene.world.log.grow_to_the_end()
    for _ in range(2):
        scene.step(scene.first)
    assert ADA in scene.placed(BO).members and customer_id(ADA) not in scene.world.shelf.of_kind(PROFILE)
    scene.ends_well()


# The log.


def test_what_is_no_link_fact_becomes_a_dead_letter_and_stops_nothing(scene: GraphScene) -> None:
    log = scene.world.log
    before = len(log.written(DEAD_LETTER_TOPIC))
    log.append(LINKS, b"x", b"no fact")
    log.grow_to_the_end()
    scene.step(scene.first)
    assert scene.next_offset(LINK_LANE) == SPLIT + 1
    assert len(log.written(DEAD_LETTER_TOPIC)) == before + 1
    assert not marked(scene)


def test_facts_that_change_nothing_leave_the_graph_assembled_to_the_end(scene: GraphScene) -> None:
    log = scene.world.log
    scene.step(scene.first)
    for record in list(log.links):
        log.append(LINKS, record.key, record.value)
    log.grow_to_the_end()
    stored = dict(scene.world.shelf.values)
    scene.step(scene.first)
    changed = {key for key, value in scene.world.shelf.values.items() if stored.get(key) != value}
    assert changed == {(LANE, LINK_LANE)}
    scene.ends_well()


@pytest.mark.parametrize("start, count", [(0, 3), (PLACED - 1, 2), (PLACED + 1, 1), (0, 100)])
def test_an_old_range_or_one_after_a_gap_counts_once_or_not_at_all(
    scene: GraphScene, start: int, count: int
) -> None:
    scene.first.positions[LINK_LANE] = start
    scene.step(scene.first, count)
    assert scene.next_offset(LINK_LANE) in (PLACED, min(start + count, SPLIT))
    scene.ends_well()


# Every moment.


def away(world: World, actor: Actor) -> None:
    raise StoreAway("no answer")


def not_acknowledged(world: World, actor: Actor) -> None:
    raise ProduceFailed("not acknowledged")


def cut_off(world: World, actor: Actor) -> None:
    actor.cut_off()


FAULTS: dict[str, Deed] = {
    "killed": kill, "taken over": take_over, "cut off": cut_off, "beside a member's commit": members_commit,
}  # fmt: skip


def test_every_point_comes_up_when_customers_merge() -> None:
    found = {place.removeprefix(GRAPH) for place, is_point, _ in moments(GraphScene) if is_point}
    assert found == set(STEP_POINTS)


@pytest.mark.parametrize("fault", FAULTS)
def test_at_any_single_moment_an_identity_writer_may_be(fault: str) -> None:
    for number, _ in enumerate(moments(GraphScene)):
        with_deed(number, FAULTS[fault], GraphScene).ends_well()


def test_at_any_single_call_the_store_or_the_log_may_be_away() -> None:
    for number, (place, is_point, _) in enumerate(moments(GraphScene)):
        if not is_point:
            deed = not_acknowledged if place in ("flush", "produce") else away
            with_deed(number, deed, GraphScene).ends_well()


SHARDS: dict[str, Callable[[tuple[str, object]], bool]] = {
    "the graph": lambda key: key == (LANE, LINK_LANE),
    "a lane": lambda key: key == (LANE, SALES),
    "memberships": lambda key: key[0] == MEMBERSHIP,
    "look-ups": lambda key: key[0] == INDEX,
    "profiles": lambda key: key[0] == PROFILE,
    "lanes of subjects": lambda key: key[0] == LANES,
    "memberships and profiles": lambda key: key[0] in (MEMBERSHIP, PROFILE),
    "everything": lambda key: key[0] in (LANE, MEMBERSHIP, INDEX, PROFILE, LANES),
}


@pytest.mark.parametrize("ending", ["goes on", "is killed"])
def test_at_any_point_one_redis_may_go_back_to_any_earlier_state(ending: str) -> None:
    told = moments(GraphScene)
    for number in [number for number, (_, is_point, _) in enumerate(told) if is_point]:
        for state in states_before(number, told):

            def go_back(world: World, actor: Actor, state: Snapshot = state) -> None:
                world.set_back_all(state)
                if ending == "is killed":
                    kill(world, actor)

            with_deed(number, go_back, GraphScene).ends_well()


@pytest.mark.parametrize("ending", ["goes on", "is killed", "is cut off"])
@pytest.mark.parametrize("shards", SHARDS)
def test_at_any_point_shards_may_go_back_to_any_earlier_state(shards: str, ending: str) -> None:
    told = moments(GraphScene)
    for number in [number for number, (_, is_point, _) in enumerate(told) if is_point]:
        for state in states_before(number, told):

            def go_back(world: World, actor: Actor, state: Snapshot = state) -> None:
                world.set_back(state, SHARDS[shards])
                if ending == "is killed":
                    kill(world, actor)
                if ending == "is cut off":
                    world.break_connections()

            with_deed(number, go_back, GraphScene).ends_well()
