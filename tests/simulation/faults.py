"""What goes wrong, and where: by chance, or as a test wrote it down.

Guarantees:
- `Chance` draws from the run's generator only, so that a seed gives the same faults again.
- `Script` does what it was told at the place it was told, and nothing else.

A place is a point between the worker's steps (`after load`), or a call to the store or the log: `commit`
before each call of its pipeline, `commit answered` when all were made and the answer is on its way. A place
is only a name here, so that other workers may have points of their own.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

from tests.simulation.store import Call

if TYPE_CHECKING:
    from tests.simulation.world import Actor, World

POINTS = (
    "after load",
    "after link acknowledgement",
    "after commit",
    "between membership and parts",
    "between parts and profile",
    "after profile",
    "between indexes and notice",
    "after side effects",
    "before marks close",
)
"""Where a worker is killed and paused: all in `step`, those from the fourth on also in `take` and `idle`."""

GRAPH = "graph: "
"""Before the name of each point and call of the identity writer: much of it folding workers have, too."""

GRAPH_POINTS = (
    "between the two graph reads",
    "after graph load",
    "after merge acknowledgement",
    "after graph commit",
    "before memberships",
    "after memberships",
    "between membership and parts",
    "between parts and profile",
    "after profile",
    "between indexes and notice",
    "after side effects",
    "before graph marks close",
)
"""Where an identity writer is killed and paused: the first only in `take`, the next three only in `step`."""


class Faults(Protocol):
    """Decides what happens at a place."""

    def at(self, world: World, actor: Actor, place: str, rest: Sequence[Call] | None) -> None:
        """`rest` is None at a point, else the calls not made yet (none: the answer is on its way)."""


class Chance:
    """Each kind of fault with a rate of its own: what is rare in one run is common in another."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng

        def rate(most: float) -> float:
            return rng.choice((0.0, 0.0, 0.3, 1.0)) * most

        # Of a point, of a call that is made, and of an answer. A run has about 100 points and 1,000 calls.
        self.kill = (rate(0.08), rate(0.002), rate(0.01))
        self.pause = (rate(0.25), rate(0.01), rate(0.05))
        self.back = (rate(0.08), rate(0.002), rate(0.01))
        self.away = (0.0, rate(0.01), rate(0.05))
        self.late = (0.0, rate(0.005), rate(0.0))
        self.some = [
            sum(rates) for rates in zip(self.kill, self.pause, self.back, self.away, self.late, strict=True)
        ]

    def at(self, world: World, actor: Actor, place: str, rest: Sequence[Call] | None) -> None:
        """One fault at most, but for a store that goes back in the same instant as a kill."""
        which = 0 if rest is None else 1 if rest else 2
        drawn = self.rng.random()
        if drawn >= self.some[which]:
            return
        if (drawn := drawn - self.kill[which]) < 0:
            world.kill(actor, (self.rng.random() < 0.3 and rest) or ())
        elif (drawn := drawn - self.pause[which]) < 0:
            world.pause(actor)
        elif (drawn := drawn - self.back[which]) < 0:
            world.set_back_by_chance()
            if self.rng.random() < 0.3:
                world.kill(actor)
            if self.rng.random() < 0.3:
                world.pause(actor)
        elif (drawn := drawn - self.away[which]) < 0:
            world.be_away(actor, place)
        else:
            world.be_away(actor, place, rest or ())


Deed = Callable[["World", "Actor"], None]


class Script:
    """What a test wants, at the n-th time that one actor comes to a place (counted from 1)."""

    def __init__(self) -> None:
        self.deeds: dict[tuple[str, str, int], Deed] = {}
        self.been: Counter[tuple[str, str]] = Counter()

    def on(self, actor: str, place: str, deed: Deed, time: int = 1) -> None:
        """Do this there."""
        self.deeds[actor, place, time] = deed

    def at(self, world: World, actor: Actor, place: str, rest: Sequence[Call] | None) -> None:
        """Do what the test wants; each deed once."""
        where = (actor.name, place if rest is None or rest else f"{place} answered")
        self.been[where] += 1
        deed = self.deeds.pop((*where, self.been[where]), None)
        if deed is not None:
            deed(world, actor)
