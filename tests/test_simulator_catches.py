"""The simulator finds what it is there to find: workers and stores broken on purpose fail it.

Guarantees:
- Every mutant of tests/simulation/mutants.py is caught, and by what it breaks: by seeds, or by a test written
  by hand.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from functools import partial

import pytest

from streams.lane_worker import FoldingWorker
from tests import test_simulation
from tests.simulation import mutants
from tests.simulation.run import failing, simulate
from tests.simulation.scenes import Scene
from tests.simulation.store import SimulatedStore

# The rarest is caught once in four hundred seeds: ten times that is luck enough.
SEEDS_MAX = 4_000

STALE = r"profile |latest notice"
TWICE = r" part |scv\.g1\.links"
CAUGHT_BY: dict[type[FoldingWorker | SimulatedStore], str] = {
    mutants.CheckpointApart: TWICE,
    mutants.LoadsAnything: TWICE,
    mutants.KeepsItsCache: TWICE,
    mutants.StatesAfterTheCommit: "is committed, but not in",
    mutants.StatesWithoutWaiting: "is committed, but not in",
    mutants.ClosesMarksEarly: "is closed, but no notice",
    mutants.LastWriteWins: STALE,
    mutants.AssemblesFromMemory: STALE,
    mutants.ForgetsMarks: "marks are left|is closed",
    mutants.KeepsItsFooting: "marks are left",
    mutants.FoldsAnyRange: f"{TWICE}|is committed|missing|next, end",
    mutants.AnyProfileIsABase: STALE,
    mutants.Reconnects: "marks are left|is closed|next, end|missing",
    mutants.GoesBackInOffsets: "next, end and assembled",
}

# What these do takes two faults at two places: seeds hardly find it, so it is written by hand.
CAUGHT_BY_HAND: dict[type[FoldingWorker], Callable[[Scene], None]] = {
    mutants.NotesOnlyOnce: (
        test_simulation.test_lanes_noted_before_a_commit_survive_a_store_that_went_back_in_between
    ),
    mutants.ClosesWhatItDoesNotShow: partial(
        test_simulation.test_a_mark_stays_while_the_parts_that_were_read_are_older_than_it, older="half"
    ),
    mutants.LoadsAnything: (
        test_simulation.test_a_zombie_that_loaded_after_anothers_commit_meets_a_store_that_went_back
    ),
    mutants.KeepsItsFooting: test_simulation.test_after_a_lost_answer_every_lane_looks_for_its_marks_again,
}


def test_every_mutant_is_listed() -> None:
    made = {
        one
        for name, one in vars(mutants).items()
        if inspect.isclass(one) and one.__module__ == mutants.__name__ and not name.startswith("_")
    }
    assert made == {*CAUGHT_BY, *CAUGHT_BY_HAND}


@pytest.mark.parametrize("mutant", CAUGHT_BY, ids=lambda mutant: mutant.__name__)
def test_a_mutant_is_caught(mutant: type[FoldingWorker | SimulatedStore]) -> None:
    broken = {"worker_kind" if issubclass(mutant, FoldingWorker) else "store_kind": mutant}
    run = partial(simulate, **broken)
    for seed in range(SEEDS_MAX):
        for _, reason in failing([seed], run):
            assert re.search(CAUGHT_BY[mutant], reason), f"seed {seed} fails otherwise: {reason}"
            return
    pytest.fail(f"{mutant.__name__} passed {SEEDS_MAX} seeds")


@pytest.mark.parametrize("mutant", CAUGHT_BY_HAND, ids=lambda mutant: mutant.__name__)
def test_a_mutant_is_caught_by_hand(mutant: type[FoldingWorker]) -> None:
    CAUGHT_BY_HAND[mutant](Scene())
    with pytest.raises(AssertionError):
        CAUGHT_BY_HAND[mutant](Scene(mutant))
