"""Workers that share lanes and take turns, while things go wrong.

Guarantees:
- Turns and faults come from one generator: a seed gives the same run again.
- What a paused or zombie worker does when it goes on is what its real code does; nobody repairs anything.
- What must hold at every moment is watched at every commit and every closed mark (`watch`).
- A run ends by letting everything settle: nothing fails any more, everybody hears who owns what.

What is demanded of a store that goes back:
- One Redis goes back as a whole, and every connection to it breaks: all of it must heal from the log.
- On a cluster shards go back alone. A lane must heal by itself, whether or not a connection broke; one that
  went back to the very checkpoint where its owner stands, under an unbroken connection, may keep reopened
  marks until its next owner, so such lanes change hands in the end.
- Memberships, profiles, index entries and the lanes of a subject that went back alone heal by a sweep (L2).
  `_sweep` stands for it; nothing of them is demanded before.
- References (`{order:O-8}:of`) heal by nothing but a replay, so they do not go back alone here.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Sequence

from eventlog.errors import ProduceFailed
from models.identifiers import is_employee
from models.record import Lane
from projections.graph_nodes import unpack_node
from projections.parts import unpack
from stores.store import StoreAway
from tests.simulation.actors import Actor, Killed
from tests.simulation.cases import CACHE_BYTES_MAX, LABELS, LINK_LANE, Case, Kinds
from tests.simulation.faults import Chance, Faults
from tests.simulation.heard import HeardGraph
from tests.simulation.log import SimulatedLog
from tests.simulation.store import (
    INDEX,
    KEYS_PER_CALL,
    LANE,
    LANES,
    MEMBERSHIP,
    PROFILE,
    REFERENCE,
    Call,
    Key,
    Shelf,
    Snapshot,
)
from tests.simulation.watch import Watch

# Others may act within a pause of another's pause; deeper than that nothing new is learnt.
PAUSES_DEEP_MAX = 3
# Far enough back to undo a few batches.
SNAPSHOTS_MAX = 24
# A lane may have to wait for another that went back, and that for a third; not for ever.
SETTLING_ROUNDS_MAX = 12


class World:
    """Everything there is in one run.

    Without a `graph` nobody hears the link log: what a graph makes of customers later would hide what went
    wrong with them before. By chance if it is None.
    """

    def __init__(
        self,
        case: Case,
        seed: int,
        *,
        faults: Faults | None = None,
        actors: int | None = None,
        kinds: Kinds = Kinds(),  # noqa: B008 - immutable
        graph: bool | None = None,
        trace: Callable[[str], None] | None = None,
    ) -> None:
        self.case, self.trace, self.kinds = case, trace, kinds
        self.rng = rng = random.Random(seed)
        self.graph = rng.random() < 0.6 if graph is None else graph
        self.shelf, self.log = Shelf(), SimulatedLog(case.lanes, LINK_LANE)
        self.heard = HeardGraph(case.reading.rules, LABELS.generation, self.log.links)
        self.watch = Watch(self)
        self.faults = Chance(rng) if faults is None else faults
        self.cluster = rng.random() < 0.5
        self.keys_per_call = rng.choice((1, 3, KEYS_PER_CALL))
        self.cache_bytes = rng.choice((0, 5_000, CACHE_BYTES_MAX))
        self.batch_max = rng.choice((1, 3, 10, 30))
        self.sloppy = rng.choice((0.0, 0.0, 0.1)) if faults is None else 0.0
        self.given_away, self.deaf = rng.choice((0.5, 1.0)), rng.choice((0.0, 0.5, 0.9))
        if faults is None and rng.random() < 0.4:
            self.log.grow_to_the_end()
            self.log.at_once = True
        self.snapshots: deque[Snapshot] = deque([{}], SNAPSHOTS_MAX)
        self.in_flight: list[list[Call]] = []
        self.unnoticed: set[Lane] = set()
        self.sweep_due = self.calm = False
        self.deep = self.clock_ms = self.born = 0
        self.actors = [self._new_actor() for _ in range(actors or rng.choice((1, 2, 2, 2, 3)))]
        heard = [lane for lane in self.log.lanes if self.graph or lane != LINK_LANE]
        self.owners = {lane: rng.choice(self.actors) for lane in heard}

    def _new_actor(self) -> Actor:
        self.born += 1
        return Actor(self, f"w{self.born}")

    def now_ms(self) -> int:
        """The time, on which nothing may depend."""
        self.clock_ms += 1
        return self.clock_ms

    def say(self, text: str) -> None:
        """A line of the story of this run, for those who asked for it."""
        if self.trace is not None:
            self.trace("  " * self.deep + text)

    # What goes wrong.

    def moment(self, actor: Actor, place: str, rest: Sequence[Call] | None) -> None:
        """An actor is at this place: whatever else happens, happens now."""
        if actor.doomed:
            raise Killed
        if not self.calm:
            if self.rng.random() < 0.1:
                self.snapshots.append(self.shelf.snapshot())
            self.faults.at(self, actor, place, rest)

    def kill(self, actor: Actor, late: Sequence[Call] = ()) -> None:
        """End the process in the midst of its call; `late` is still on the wire."""
        self.say(f"{actor.name} is killed")
        self.in_flight.append(list(late))
        raise Killed

    def bury(self, actor: Actor) -> None:
        """A new process in place of one that ended; the others hear of its lanes when they do."""
        actor.doomed = True
        actor.outlet.die()
        self.actors[self.actors.index(actor)] = self._new_actor()
        for lane in self.lanes_of(actor):
            self.owners[lane] = self.rng.choice(self.actors)

    def pause(self, actor: Actor) -> None:
        """Others act while this one stands still; often they are given its lanes."""
        if self.deep >= PAUSES_DEEP_MAX or self.calm:
            return
        self.say(f"{actor.name} stands still")
        self.deep += 1
        if self.rng.random() < 0.5:
            self.give_away(actor)
        for _ in range(self.rng.choice((1, 2, 4, 8))):
            self.turn()
        self.deep -= 1
        self.say(f"{actor.name} goes on")
        if actor.doomed:
            raise Killed

    def be_away(self, actor: Actor, place: str, late: Sequence[Call] = ()) -> None:
        """The service fails this call; `late` is still on the wire."""
        self.say(f"{actor.name} gets no answer to {place}")
        self.in_flight.append(list(late))
        if place in ("produce", "flush"):
            raise ProduceFailed(f"{place}: not acknowledged")
        raise StoreAway(f"{place}: no answer")

    def set_back_by_chance(self) -> None:
        """All of one Redis, or some shards of a cluster, to how they were."""
        to = self.rng.choice(self.snapshots)
        if not self.cluster:
            self.set_back_all(to)
            return
        what = self.rng.choice(
            ("one lane", "one lane", "graph", "graph", LANE, PROFILE, INDEX, LANES, MEMBERSHIP, "all")
        )
        if what in ("one lane", "graph"):
            lane = LINK_LANE if what == "graph" else self.rng.choice(list(self.log.lanes))
            self.set_back(to, lambda key: key == (LANE, lane))
        elif what == "all":
            # Each shard has a replica of its own, and each of these was late by its own time.
            keys = {key for shelf in (to, self.shelf.values) for key in shelf}
            for key in sorted(keys, key=repr):
                if key[0] != REFERENCE:
                    self.set_back(self.rng.choice(self.snapshots), lambda one, key=key: one == key)
        else:
            self.set_back(to, lambda key: key[0] == what)
        if self.rng.random() < 0.5:
            self.break_connections()

    def set_back_all(self, to: Snapshot) -> None:
        """One Redis went back: everything, and no connection to it is left."""
        self.say("the store goes back")
        self.shelf.set_back(to, lambda _: True)
        self.break_connections()

    def set_back(self, to: Snapshot, gone: Callable[[Key], bool]) -> None:
        """Some shards went back; whoever is connected to them does not notice."""
        keys = [key for key in {**to, **self.shelf.values} if gone(key)]
        self.say(f"back go {[f'{kind} {name}' for kind, name in keys]}")
        self.shelf.set_back(to, gone)
        self.unnoticed |= {name for kind, name in keys if kind == LANE}
        self.sweep_due |= any(kind != LANE for kind, _ in keys)

    def break_connections(self) -> None:
        """Whoever is connected must connect anew; what was on the wire is lost."""
        self.in_flight = []
        for actor in self.actors:
            actor.cut_off()

    # Turns.

    def turn(self) -> None:
        """Somebody does something."""
        rng = self.rng
        actor = rng.choice(self.actors)
        drawn = rng.randrange(100)
        if drawn < 22:
            self.log.grow(rng.choice(list(self.log.lanes)), rng.randrange(1, 16))
        elif drawn < 27:
            self.owners[rng.choice(list(self.owners))] = actor
        elif drawn < 32:
            self._arrive()
        elif drawn < 34:
            self._end(actor)
        elif not actor.busy:
            if drawn < 48 or not actor.positions:
                if not actor.positions or rng.random() >= self.deaf:
                    actor.hear(anew=rng.random() < 0.5)
            elif drawn < 58:
                actor.idle()
            else:
                lanes = [lane for lane in actor.positions if rng.random() < 0.8]
                actor.step({lane: rng.randrange(self.batch_max) + 1 for lane in lanes})

    def _end(self, actor: Actor) -> None:
        """A kill that no point and no call sees: between two calls, or while it stands still."""
        self.say(f"{actor.name} ends")
        if actor.busy:
            actor.doomed = True
        else:
            self.bury(actor)

    def _arrive(self) -> None:
        """The oldest calls on the wire reach their server."""
        if self.in_flight:
            for call in self.in_flight.pop(0):
                call()

    def give_away(self, actor: Actor) -> None:
        """Another owns what this one owned; this one does not know, the other does."""
        others = [one for one in self.actors if one is not actor and not one.busy]
        if others:
            other = self.rng.choice(others)
            for lane in self.lanes_of(actor):
                if self.rng.random() < self.given_away:
                    self.owners[lane] = other
            other.hear(anew=False)

    def lanes_of(self, actor: Actor) -> list[Lane]:
        """The lanes that are this one's, whether it knows or not."""
        return [lane for lane, owner in self.owners.items() if owner is actor]

    def run(self, turns: int) -> None:
        """So many turns."""
        for _ in range(turns):
            self.turn()

    # The end.

    def settle(self) -> None:
        """Nothing fails any more; everybody reads to the end and idles until all is assembled."""
        self.calm = True
        self.say("all is well from here")
        while self.in_flight:
            self._arrive()
        self.log.grow_to_the_end()
        self._catch_up()
        if self.sweep_due:
            self.say("sweep")
            self._sweep()
        if self.sweep_due or self.unnoticed:
            self._change_hands(self.owners if self.sweep_due else self.unnoticed)
            self._catch_up()

    def _catch_up(self) -> None:
        rounds = 0
        # Some for each fact: a round of the graph may be as short as one, and begins again when it went back.
        while rounds < SETTLING_ROUNDS_MAX * (1 + len(self.log.lanes.get(LINK_LANE, ()))):
            rounds += 1
            for actor in self.actors:
                # A zombie goes on once more before it hears.
                self.log.grow_to_the_end()
                actor.step({lane: len(self.log.lanes[lane]) for lane in actor.positions})
                actor.hear(anew=False)
            self.log.grow_to_the_end()
            for actor in self.actors:
                actor.idle()
            if all(self._stands(lane) for lane in self.owners):
                return

    def _stands(self, lane: Lane) -> bool:
        state = self.shelf.lane(lane)
        at, end = self.owners[lane].positions.get(lane), self.log.ends[lane]
        return not state.marks and (state.next_offset or 0) == end == at

    def _change_hands(self, lanes: set[Lane] | dict[Lane, Actor]) -> None:
        for actor in self.actors:
            actor.lose([lane for lane in actor.positions if lane in lanes])
            actor.hear(anew=False)

    def _sweep(self) -> None:
        """What the real one does: the graph's nodes name all subjects and their lanes; all settle anew.

        Without a graph all parts are assembled anew. Employees are in no graph, and nobody asks for them.
        """
        for lane in self.case.lanes:
            state = self.shelf.lane(lane)
            mine = [name for name in state.parts if not self.graph or is_employee(name)]
            self._note_lanes(mine, lane)
            if not self.graph:
                marks = {name: unpack(state.parts[name]).revision for name in mine if not is_employee(name)}
                self.shelf.values[LANE, lane] = state._replace(marks=marks)
        graph = self.shelf.lane(LINK_LANE)
        for name, packed in graph.parts.items():
            for lane_name in unpack_node(packed).lanes:
                self._note_lanes([name], Lane.parse(lane_name))
        marks = dict.fromkeys(graph.parts, graph.next_offset or 0)
        self.shelf.values[LANE, LINK_LANE] = graph._replace(marks=marks)

    def _note_lanes(self, subjects: Sequence[str], lane: Lane) -> None:
        for name in subjects:
            self.shelf.values[LANES, name] = self.shelf.values.get((LANES, name), frozenset()) | {lane}
