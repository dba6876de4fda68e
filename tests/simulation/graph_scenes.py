"""A small world for the identity writer: the first worker hears the graph, the second folds the lanes.

Guarantees:
- Nothing happens by chance, as in `scenes`.
- Two customers are placed before the script begins; what is heard then merges them and splits one off.
- A record of each lane is left, for members whose lanes commit in the midst of it.
"""

from __future__ import annotations

import json
from functools import cache

from models.identifiers import customer_id
from models.record import Lane, Record
from models.rules import IdentityRules
from stores.store import Membership
from tests.simulation.actors import Actor
from tests.simulation.cases import LINK_LANE, Case, Kinds, made_of
from tests.simulation.faults import GRAPH, Script
from tests.simulation.people import COMMANDS
from tests.simulation.scenes import MARKETING, SALES, VISITOR, Deed, Scene
from tests.simulation.store import MEMBERSHIP, ProfileState
from tests.simulation.world import World
from tests.told_by_hand import ADA, event, logged

BO, OTHER = "crm:5000", "web:other-1"
EMAIL = "email:ada@example.com"
# Facts that are heard before the script begins: two of each of four subjects.
PLACED = 8


def _command(offset: int, kind: str, subject: str, other: str) -> Record:
    data = {"actor": "clerk", "reason": "on the phone", "subject": subject, "other": other}
    written = event(f"identity.{kind}", "2026-03-02T10:00:00Z", event_id=f"c{offset}")
    written |= {"subject": subject, "data": data}
    return Record(
        *COMMANDS, offset, 1_772_445_600_000 + offset, subject.encode(), json.dumps(written).encode(), []
    )


@cache
def acquaintances() -> Case:
    """Ada and her visit by email, Bo and his by phone; a clerk links the two, and takes the visit away."""
    email, phone = {"type": "email", "value": "ada@example.com"}, {"type": "phone", "value": "030 901820"}
    order = {"amount_minor": 990, "currency": "EUR"}
    records = logged(
        event("marketing.page_viewed", "2026-03-01T10:00:00Z", page="/", subject=VISITOR,
              identifiers=[email]),
        event("marketing.page_viewed", "2026-03-01T10:00:01Z", page="/", subject=OTHER, identifiers=[phone]),
        event("marketing.page_viewed", "2026-03-01T10:00:02Z", page="/shop", subject=VISITOR),
        event("sales.order_placed", "2026-03-01T10:01:00Z", order_id="O-1", identifiers=[email], **order),
        event("sales.order_placed", "2026-03-01T10:02:00Z", order_id="O-2", subject=BO, identifiers=[phone],
              **order),
        event("sales.order_placed", "2026-03-01T10:03:00Z", order_id="O-3", subject=BO, **order),
    )  # fmt: skip
    lanes: dict[Lane, list[Record]] = {}
    for record in records:
        lanes.setdefault(record.lane, []).append(record)
    commands = [_command(0, "link", ADA, BO), _command(1, "unlink", VISITOR, EMAIL)]
    return made_of([*lanes.values(), commands], IdentityRules())


class GraphScene(Scene):
    """`first` owns the graph and has placed two customers; `second` owns the lanes, a record left in each.

    What is left to be heard is a merge and a split.
    """

    def __init__(self, kinds: Kinds = Kinds()) -> None:  # noqa: B008 - immutable
        self.script = Script()
        self.world = World(acquaintances(), 0, faults=self.script, actors=2, kinds=kinds, graph=True)
        self.first, self.second = self.world.actors
        log = self.world.log
        for lane in (MARKETING, SALES, COMMANDS):
            log.grow(lane, 2)
        self.world.owners[LINK_LANE] = self.first
        self.own(self.second, MARKETING, SALES, COMMANDS)
        self.own(self.first, LINK_LANE)
        self.step(self.second, 100, MARKETING, SALES)
        self.step(self.second, 100, COMMANDS)
        log.grow_to_the_end()
        self.step(self.first, PLACED)
        assert (self.next_offset(LINK_LANE), len(log.links)) == (PLACED, PLACED + 2)
        self.script.been.clear()
        self.half = self.world.shelf.snapshot()

    def on_graph(self, place: str, deed: Deed, time: int = 1) -> None:
        """When the first worker's identity writer comes to this place for the n-th time from now on."""
        self.on(GRAPH + place, deed, time)

    def placed(self, subject: str) -> Membership:
        """The stored membership."""
        return self.world.shelf.values[MEMBERSHIP, subject]

    def profile_of(self, subject: str) -> ProfileState:
        """The profile, or the tombstone, under the hash of this subject."""
        found = self.profile(customer_id(subject))
        assert found is not None
        return found


def members_commit(world: World, actor: Actor) -> None:
    """While the first worker stands still, the other one folds what is left in the lanes, and assembles."""
    other = next(one for one in world.actors if one is not actor)
    if not other.busy:
        other.step({lane: 1 for lane in other.positions if lane != LINK_LANE})
