"""A dead letter is settled once: killed at every point, paused, at the same time. On Apache Kafka."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from eventlog.apache import ApacheBroker
from eventlog.settling import Settler
from eventlog.transactions import Fenced
from tests import servers
from tests.letter_world import LetterWorld, values
from tests.settling_victim import settlings

ROOT = Path(__file__).resolve().parent.parent
POINTS = ("after opening", "after looking", "after the first record", "before the commit", "after the commit")


@pytest.fixture(scope="module")
def world(apache_broker: ApacheBroker) -> LetterWorld:
    """A log without events."""
    servers.empty_broker(apache_broker.bootstrap)
    return LetterWorld(apache_broker.bootstrap)


def settled_again(world: LetterWorld, positions: list[str]) -> None:
    with Settler(world.bootstrap) as settler:
        for _ in settler.settle(settlings(positions)):
            pass


def test_killed_at_any_point_a_letter_is_redriven_once_and_marked_once(world: LetterWorld) -> None:
    everything = []
    for number, point in enumerate(POINTS):
        positions = [f"sales.events-1@{number * 10 + one}" for one in range(2)]
        everything += positions
        told = {"bootstrap": world.bootstrap, "point": point, "positions": positions}
        died = subprocess.run(
            [sys.executable, "-m", "tests.settling_victim", json.dumps(told)],
            cwd=ROOT,
            check=False,
            timeout=60,
        )
        assert died.returncode == -9, point
        settled_again(world, positions)
    settled_again(world, everything)
    # Read as workers read: what was not committed never happened.
    assert Counter(values(world.records())) == {one.encode(): 1 for one in everything}
    assert Counter(one.position for one in world.marks()) == dict.fromkeys(everything, 1)


def test_whoever_was_paused_before_the_commit_is_refused_when_another_has_settled_it(
    world: LetterWorld,
) -> None:
    position = "sales.events-1@900"

    def paused(name: str) -> None:
        if name == "before the commit":
            settled_again(world, [position])

    with Settler(world.bootstrap, paused) as slow, pytest.raises(Fenced):
        list(slow.settle(settlings([position])))
    assert values(world.records()).count(position.encode()) == 1
    assert [one.position for one in world.marks()].count(position) == 1
