"""Customers change while an assembler reads who is in which.

Guarantees:
- Whatever is read between a merge and a split, no subject's parts count twice.
"""

from __future__ import annotations

import pytest

from streams import lane_worker
from tests.simulation.graph_scenes import GraphScene
from tests.simulation.scenes import MARKETING, SALES


# Found by five seeds of a campaign: the customers before and after the split both list the subject, and its
# parts were read twice, for a version that nothing later could replace.
@pytest.mark.parametrize("time", range(1, 6))
def test_a_split_between_the_reading_of_two_memberships_counts_nobody_twice(
    monkeypatch: pytest.MonkeyPatch, time: int
) -> None:
    scene = GraphScene()
    scene.step(scene.first, 1)
    folding = scene.second.worker.folding
    # As if the parts lay in lanes of other workers, too: they are read from the store.
    monkeypatch.setattr(folding.assembler, "remembered", lambda _: {})
    # Committed, and not assembled yet.
    monkeypatch.setattr(lane_worker, "BEHIND_RECORDS", -1)
    monkeypatch.setattr(lane_worker, "BEHIND_MS", 1_000_000)
    monkeypatch.setattr(lane_worker, "BEHIND_MS_MAX", 1_000_000)
    scene.step(scene.second, 1, SALES, MARKETING)
    assert scene.world.shelf.lane(SALES).marks and scene.world.shelf.lane(MARKETING).marks
    scene.script.been.clear()
    scene.script.on(scene.second.name, "members", lambda *_: scene.step(scene.first), time)
    # Whoever stays with the others first, then who leaves them.
    folding._assemble([SALES, MARKETING])
    monkeypatch.undo()
    scene.ends_well()
