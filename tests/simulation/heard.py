"""The link log as one graph without faults hears it: what must hold of a run that has this very log.

Guarantees:
- Hears each record of the log once, in order, with no store, no batches and no cache between.
"""

from __future__ import annotations

from bisect import bisect_right

from models.identifiers import customer_id
from models.link import read_link_fact
from models.merge import wire_turn
from models.rules import IdentityRules
from projections.graph import Graph
from projections.graph_nodes import MemoryNodes, Node
from projections.instants import rfc3339
from tests.simulation.log import Consumed

Written = tuple[bytes | None, bytes | None]


class HeardGraph:
    """The graph, the merges and splits it told of, and when it stamped whom."""

    def __init__(self, rules: IdentityRules, generation: str, log: list[Consumed]) -> None:
        self.log, self.generation, self.at = log, generation, 0
        self.nodes = MemoryNodes()
        self.graph = Graph(rules, self.nodes)
        self.turns: list[tuple[int, Written]] = []
        self.founders: dict[str, list[tuple[int, str | None]]] = {}
        """Per subject (position, founder since then; None: in no customer)."""

    def hear(self, next_offset: int) -> None:
        """All up to an offset."""
        while self.at < next_offset:
            fact = read_link_fact(self.log[self.at].value)
            self.at += 1
            change = None if fact is None else self.graph.apply(fact, self.at)
            if change is None:
                continue
            for turn in change.turns:
                first = customer_id((turn.after or turn.before)[0].founder)
                at = rfc3339(change.log_us)
                instants = {edge.seen_us: rfc3339(edge.seen_us) for edge in turn.edges}
                value = wire_turn(turn, change.position, change.cause, self.generation, at, instants)
                self.turns.append((self.at, (first.encode(), value)))
            for name in change.stamped:
                placed = self.graph.placement_of(name)
                self.founders.setdefault(name, []).append((self.at, placed.founder if placed else None))

    def told(self, after: int, up_to: int) -> list[Written]:
        """The merges and splits of the facts from this position on, up to that one."""
        self.hear(up_to)
        return [written for position, written in self.turns if after < position <= up_to]

    def stamp(self, name: str, position: int) -> tuple[int, str | None]:
        """The latest stamp of a subject as of a position, with its founder since; 0 before the first."""
        self.hear(position)
        stamped = self.founders.get(name, [])
        place = bisect_right(stamped, position, key=lambda one: one[0])
        return stamped[place - 1] if place else (0, None)

    def ever(self, name: str) -> set[str]:
        """The founders of all customers that a subject was ever in, itself among them."""
        self.hear(len(self.log))
        return {name, *(founder for _, founder in self.founders.get(name, ()) if founder)}

    def node(self, name: str) -> Node:
        """A node as it is after what was heard."""
        return self.nodes.get(name) or Node()
