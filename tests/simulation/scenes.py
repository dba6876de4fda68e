"""Small worlds for tests written by hand: two workers, two customers, two lanes; the first owns everything.

Guarantees:
- Nothing happens by chance: a `Script` says what goes wrong, and the test says who acts.
- Half of the log is folded and assembled before the script begins.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache

from models.record import Lane, Record
from models.rules import IdentityRules
from tests.simulation.actors import Actor
from tests.simulation.cases import Case, Kinds, made_of
from tests.simulation.faults import Script
from tests.simulation.store import PROFILE, Call, ProfileState, Snapshot
from tests.simulation.verdict import check
from tests.simulation.world import World
from tests.told_by_hand import ADA, event, logged

MARKETING, SALES = Lane("marketing.events", 0), Lane("sales.events", 0)
VISITOR = "web:visitor-77"
# Records of each lane that are folded before the script begins.
FIRST_HALF = 2

Deed = Callable[[World, Actor], None]


@cache
def two_customers() -> Case:
    """Ada in both lanes, a visitor who comes back and later buys, one who comes late; garbage at the ends."""
    phone = [{"type": "phone", "value": "030 901820", "verified": True}]
    email = [{"type": "email", "value": "ada@example.com"}]
    records = logged(
        event("marketing.page_viewed", "2026-03-01T10:00:00Z", page="/"),
        event("marketing.page_viewed", "2026-03-01T10:00:01Z", page="/", subject=VISITOR, identifiers=phone),
        event("marketing.page_viewed", "2026-03-01T10:00:02Z", page="/shop", identifiers=phone),
        event("marketing.page_viewed", "2026-03-01T10:00:03Z", page="/shop", subject=VISITOR),
        event("marketing.page_viewed", "2026-03-01T10:00:04Z", page="/", subject="web:late"),
        event("sales.order_placed", "2026-03-01T10:01:00Z", order_id="O-1", amount_minor=990, currency="EUR"),
        event("sales.basket_abandoned", "2026-03-01T10:02:00Z", basket_id="B-1", amount_minor=1,
              currency="EUR"),
        event("sales.order_placed", "2026-03-01T10:03:00Z", order_id="O-2", amount_minor=500, currency="EUR",
              identifiers=email),
        event("sales.order_placed", "2026-03-01T10:04:00Z", order_id="O-3", amount_minor=1, currency="EUR",
              subject=VISITOR),
    )  # fmt: skip
    lanes: dict[Lane, list[Record]] = {}
    for record in records:
        lanes.setdefault(record.lane, []).append(record)
    for lane in (MARKETING, SALES):
        garbage = Record(*lane, len(lanes[lane]), records[0].timestamp_ms, ADA.encode(), b"no event", [])
        lanes[lane].append(garbage)
    assert set(lanes) == {MARKETING, SALES}
    return made_of(list(lanes.values()), IdentityRules())


class Scene:
    """`first` owns both lanes and stands in their middle, `second` owns nothing; nobody hears the graph."""

    def __init__(self, kinds: Kinds = Kinds()) -> None:  # noqa: B008 - immutable
        self.script = Script()
        self.world = World(two_customers(), 0, faults=self.script, actors=2, kinds=kinds, graph=False)
        self.first, self.second = self.world.actors
        self.world.log.grow_to_the_end()
        self.own(self.first)
        self.step(self.first, FIRST_HALF)
        assert self.first.positions == {MARKETING: FIRST_HALF, SALES: FIRST_HALF}
        self.script.been.clear()
        self.half = self.world.shelf.snapshot()

    def own(self, actor: Actor, *lanes: Lane) -> None:
        """This one owns these lanes (else all) from now on, and hears it; the other does not."""
        for lane in lanes or self.world.owners:
            self.world.owners[lane] = actor
        actor.hear(anew=False)

    def step(self, actor: Actor, count: int = 100, *lanes: Lane) -> None:
        """A round of up to so many records in each of these lanes, else in all it believes to own."""
        actor.step(dict.fromkeys(lanes or list(actor.positions), count))

    def on(self, place: str, deed: Deed, time: int = 1) -> None:
        """When the first worker comes to this place for the n-th time from now on."""
        self.script.on(self.first.name, place, deed, time + self.script.been[self.first.name, place])

    def next_offset(self, lane: Lane) -> int | None:
        """The stored checkpoint."""
        return self.world.shelf.lane(lane).next_offset

    def profile(self, customer: str) -> ProfileState | None:
        """A stored profile."""
        return self.world.shelf.values.get((PROFILE, customer))

    def ends_well(self) -> None:
        """Everything settles, and all is as without faults."""
        self.world.settle()
        check(self.world)


def kill(world: World, actor: Actor) -> None:
    """The process ends here."""
    world.kill(actor)


def take_over(world: World, actor: Actor) -> None:
    """While this worker stands still, the other one is given its lanes and reads all to their end."""
    other = next(one for one in world.actors if one is not actor)
    if other.busy:
        return
    for lane in world.lanes_of(actor):
        world.owners[lane] = other
    other.hear(anew=True)
    other.step(dict.fromkeys(other.positions, 100))


class AtMoment:
    """Does one deed at one worker's n-th moment, counted over all places from 0 on."""

    def __init__(self, actor: str, number: int = -1, deed: Deed = lambda *_: None) -> None:
        self.actor, self.number, self.deed = actor, number, deed
        self.moments: list[tuple[str, bool, Snapshot]] = []
        """Each moment so far: the place, whether it is a point, and what the store held."""

    def at(self, world: World, actor: Actor, place: str, rest: Sequence[Call] | None) -> None:
        """Remember the moment, and act when it is the one."""
        if actor.name == self.actor:
            self.moments.append((place, rest is None, world.shelf.snapshot()))
            if len(self.moments) - 1 == self.number:
                self.deed(world, actor)


def moments(kind: type[Scene] = Scene) -> list[tuple[str, bool, Snapshot]]:
    """All moments of the first worker while it reads the second half of the log without a fault."""
    scene = kind()
    scene.world.faults = watch = AtMoment(scene.first.name)
    scene.step(scene.first)
    return watch.moments


def with_deed(number: int, deed: Deed, kind: type[Scene] = Scene) -> Scene:
    """The second half with one deed at one of its moments, which must come up; not settled yet."""
    scene = kind()
    scene.world.faults = watch = AtMoment(scene.first.name, number, deed)
    scene.step(scene.first)
    assert len(watch.moments) > number
    return scene


def states_before(number: int, told: list[tuple[str, bool, Snapshot]]) -> list[Snapshot]:
    """The different states of the store up to a moment: the empty one, and those of all points."""
    found: list[Snapshot] = [{}, told[0][2]]
    for _, is_point, state in told[: number + 1]:
        if is_point and state != found[-1]:
            found.append(state)
    return found
