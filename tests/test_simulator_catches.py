"""The simulator finds what it is there to find: workers and stores broken on purpose fail it.

Guarantees:
- Every mutant of tests/simulation/mutants.py and graph_mutants.py is caught, and by what it breaks: by seeds,
  or by a test written by hand.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from functools import partial

import pytest

from streams.identity_writer import IdentityWriter
from streams.lane_worker import FoldingWorker
from tests import test_simulation, test_simulation_identity
from tests.simulation import graph_mutants, mutants
from tests.simulation.cases import Kinds
from tests.simulation.graph_scenes import GraphScene
from tests.simulation.run import failing, simulate
from tests.simulation.scenes import Scene
from tests.simulation.store import SimulatedStore

# The rarest is caught once in four hundred seeds: ten times that is luck enough.
SEEDS_MAX = 4_000

STALE = r"profile |latest notice"
TWICE = r" part |scv\.g1\.links|is folded after one at"
MISHEARD = r"node |membership |customer\.merges"
Mutant = type[FoldingWorker | IdentityWriter | SimulatedStore]

CAUGHT_BY: dict[Mutant, str] = {
    mutants.CheckpointApart: TWICE,
    mutants.KeepsItsCache: TWICE,
    mutants.StatesAfterTheCommit: "is committed, but not in",
    mutants.StatesWithoutWaiting: "is committed, but not in",
    mutants.ClosesMarksEarly: "is closed, but no notice",
    mutants.LastWriteWins: STALE,
    mutants.AssemblesFromMemory: STALE,
    mutants.ForgetsMarks: "marks are left|is closed",
    mutants.KeepsItsFooting: "marks are left",
    mutants.FoldsAnyRange: f"{TWICE}|is committed|missing|next, end",
    mutants.Reconnects: "marks are left|is closed|next, end|missing|reference|lanes",
    graph_mutants.ReadsAnyNode: MISHEARD,
    graph_mutants.RemembersNodes: MISHEARD,
    graph_mutants.ForgetsItsMarks: "graph: marks are left",
    graph_mutants.ClosesFirst: "of the graph is closed, but its",
    graph_mutants.AssemblesFirst: STALE,
    graph_mutants.BuriesNobody: "its tombstone is |should not be there",
    graph_mutants.IndexesAnything: "entry ",
    graph_mutants.TellsAfterTheCommit: "is committed, but not in customer.merges",
    graph_mutants.TellsWithoutWaiting: "is committed, but not in customer.merges",
}

# Seeds that are known to catch those that few do; tried first, since finding them took most of the time.
TRIED_FIRST: dict[Mutant, int] = {
    mutants.AssemblesFromMemory: 1201,
    mutants.LastWriteWins: 158,
    graph_mutants.ReadsAnyNode: 354,
    graph_mutants.IndexesAnything: 250,
}

# What these do takes two faults at two places: seeds hardly find it, so it is written by hand.
CAUGHT_BY_HAND: dict[Mutant, tuple[type[Scene], Callable[..., None]]] = {
    mutants.AnyProfileIsABase: (
        Scene,
        test_simulation.test_changed_sections_are_not_written_upon_an_older_profile,
    ),
    mutants.NotesOnlyOnce: (
        Scene,
        test_simulation.test_lanes_noted_before_a_commit_survive_a_store_that_went_back_in_between,
    ),
    mutants.ClosesWhatItDoesNotShow: (
        Scene,
        partial(
            test_simulation.test_a_mark_stays_while_the_parts_that_were_read_are_older_than_it, older="half"
        ),
    ),
    mutants.LoadsAnything: (
        Scene,
        test_simulation.test_a_zombie_that_loaded_after_anothers_commit_meets_a_store_that_went_back,
    ),
    mutants.KeepsItsFooting: (
        Scene,
        test_simulation.test_after_a_lost_answer_every_lane_looks_for_its_marks_again,
    ),
    mutants.GoesBackInOffsets: (
        Scene,
        test_simulation.test_a_paused_worker_does_not_put_the_assembled_offset_back,
    ),
    graph_mutants.CommitsAnywhere: (
        GraphScene,
        partial(
            test_simulation_identity.test_a_zombie_before_its_commit_is_refused, place="after graph load"
        ),
    ),
    graph_mutants.PlacesAnything: (
        GraphScene,
        partial(
            test_simulation_identity.test_a_zombie_of_the_merge_does_not_undo_the_split,
            place="before memberships",
        ),
    ),
    graph_mutants.PlacesOneByOne: (
        GraphScene,
        test_simulation_identity.test_all_memberships_are_written_before_anybody_is_assembled,
    ),
    graph_mutants.ForgetsTheDead: (
        GraphScene,
        partial(
            test_simulation_identity.test_a_late_assembler_does_not_bring_back_who_was_merged,
            place="between parts and profile",
        ),
    ),
    graph_mutants.MendsNothing: (
        GraphScene,
        test_simulation_identity.test_memberships_that_went_back_are_mended_from_the_graph,
    ),
}


def kinds(mutant: Mutant) -> Kinds:
    """A worker of which this is a part, all else real."""
    if issubclass(mutant, SimulatedStore):
        return Kinds(store=mutant)
    return Kinds(folding=mutant) if issubclass(mutant, FoldingWorker) else Kinds(identity=mutant)


def test_every_mutant_is_listed() -> None:
    made = {
        one
        for module in (mutants, graph_mutants)
        for name, one in vars(module).items()
        if inspect.isclass(one) and one.__module__ == module.__name__ and not name.startswith("_")
    }
    assert made == {*CAUGHT_BY, *CAUGHT_BY_HAND}


@pytest.mark.parametrize("mutant", CAUGHT_BY, ids=lambda mutant: mutant.__name__)
def test_a_mutant_is_caught(mutant: Mutant) -> None:
    # What goes wrong before there is a graph, the graph may hide: it assembles everybody once more.
    run = partial(simulate, kinds=kinds(mutant), graph=mutant.__module__ == graph_mutants.__name__)
    for seed in (TRIED_FIRST.get(mutant, 0), *range(1, SEEDS_MAX)):
        for _, reason in failing([seed], run):
            assert re.search(CAUGHT_BY[mutant], reason), f"seed {seed} fails otherwise: {reason}"
            return
    pytest.fail(f"{mutant.__name__} passed {SEEDS_MAX} seeds")


@pytest.mark.parametrize("mutant", CAUGHT_BY_HAND, ids=lambda mutant: mutant.__name__)
def test_a_mutant_is_caught_by_hand(mutant: Mutant) -> None:
    scene, test = CAUGHT_BY_HAND[mutant]
    test(scene())
    with pytest.raises(AssertionError):
        test(scene(kinds(mutant)))
