"""The simulator finds what it is there to find: workers and stores broken on purpose fail it.

Guarantees:
- Every mutant of tests/simulation/mutants.py is caught, and by what it breaks.
"""

from __future__ import annotations

import inspect
import re
from functools import partial

import pytest

from streams.lane_worker import FoldingWorker
from tests.simulation import mutants
from tests.simulation.run import failing, simulate
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
    mutants.NotesOnlyOnce: "is closed, but no notice",
    mutants.FoldsAnyRange: f"{TWICE}|is committed|missing|next, end",
    mutants.AnyProfileIsABase: STALE,
    mutants.Reconnects: "marks are left|is closed|next, end|missing",
    mutants.GoesBackInOffsets: "next, end and assembled",
}


def test_every_mutant_is_listed() -> None:
    made = {
        one
        for name, one in vars(mutants).items()
        if inspect.isclass(one) and one.__module__ == mutants.__name__ and not name.startswith("_")
    }
    assert made == set(CAUGHT_BY)


@pytest.mark.parametrize("mutant", CAUGHT_BY, ids=lambda mutant: mutant.__name__)
def test_a_mutant_is_caught(mutant: type[FoldingWorker | SimulatedStore]) -> None:
    broken = {"worker_kind" if issubclass(mutant, FoldingWorker) else "store_kind": mutant}
    run = partial(simulate, **broken)
    for seed in range(SEEDS_MAX):
        for _, reason in failing([seed], run):
            assert re.search(CAUGHT_BY[mutant], reason), f"seed {seed} fails otherwise: {reason}"
            return
    pytest.fail(f"{mutant.__name__} passed {SEEDS_MAX} seeds")
