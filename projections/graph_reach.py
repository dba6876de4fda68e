"""What hangs together: the raw edges of a node, and the component that they reach.

Invariants:
- A component has at most `component_max` nodes, unless persons linked more; no search goes beyond that.
- All nodes of a component find the same component, with the same floor.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Iterable, Iterator

from models.identifiers import namespace_of
from models.rules import IdentityRules
from projections.graph_nodes import HUMAN, PROGRAM, UNVERIFIED, VERIFIED, Node, Nodes
from projections.partition import Limit, RawEdge

# Identifiers of one subject that are read in one go: more than almost anybody has.
AT_ONCE = 64


class Reach:
    """Searches a graph by its rules."""

    def __init__(self, rules: IdentityRules, nodes: Nodes) -> None:
        self.rules, self.nodes = rules, nodes
        # Per type that the rules declare: asked for at every step of a search.
        self.strengths: dict[str, int] = {kind: rule.strength for kind, rule in rules.identifiers.items()}
        self.strengths |= {kind: rule.strength for kind, rule in rules.subjects.items()}
        self.other_strength = rules.other_identifiers.strength
        self.limits = {kind: _limit(kind, rule.max_per_customer) for kind, rule in rules.subjects.items()}
        strengths = {*self.strengths.values(), self.other_strength}
        self.at_once = min(AT_ONCE, rules.component_max)
        # Per floor, nodes that are known to reach too much; forgotten whenever an edge changes.
        self.too_large: dict[int, set[str]] = {}
        # Every class there can be, weakest first: where a component that is too large goes on to.
        self.floors = sorted(
            {PROGRAM, HUMAN, *(kind + strength for kind in (UNVERIFIED, VERIFIED) for strength in strengths)}
        )

    def is_subject(self, name: str, node: Node) -> bool:
        """Whether this node can be a member of a customer."""
        return node.named or self.rules.declares(namespace_of(name))

    def limit(self, name: str, node: Node) -> Limit:
        """How many nodes like this one a customer may have."""
        kind, rules = namespace_of(name), self.rules
        if kind in self.limits:
            return self.limits[kind]
        if node.named and kind not in rules.identifiers:
            return _limit(kind, rules.other_subjects.max_per_customer)
        # Of a type that nobody declared, subjects and others are counted apart.
        return _limit(f"{kind} as an identifier", rules.identifier(kind).max_per_customer)

    def strength_class(self, identifier: str, verified: bool) -> int:
        """How strong a stated edge to this identifier is, as the class it is in."""
        strength = self.strengths.get(namespace_of(identifier), self.other_strength)
        return (VERIFIED if verified else UNVERIFIED) + strength

    def floor_above(self, strength: int) -> int:
        """The weakest floor that is above this class, which is not that of persons' links."""
        return self.floors[bisect_right(self.floors, strength)]

    def neighbours(self, name: str, node: Node, floor: int) -> Iterator[tuple[str, int]]:
        """Whom the raw edges of a node lead to, with the class of each; below `floor` some may be missing."""
        nodes, pairs, out = self.nodes, node.pairs, node.out
        for some in self._few(out):
            for other in some:
                if not nodes[other].shared and not (pairs and node.unlinked(other)):
                    yield other, self.strength_class(other, out[other].verified)
        if node.by and not node.shared:
            strengths = self.strength_class(name, False), self.strength_class(name, True)
            for other, verified in node.by.items():
                if not (pairs and node.unlinked(other)):
                    yield other, strengths[verified]
        for other, pair in pairs.items():
            if pair.human:
                yield other, HUMAN
        if floor <= PROGRAM and not node.shared:
            for some in self._few([other for other, pair in pairs.items() if pair.programmed]):
                for other in some:
                    if not nodes[other].shared:
                        yield other, PROGRAM

    def _few(self, held: Collection[str]) -> Iterable[Collection[str]]:
        """These names in portions, each read as a whole: whoever needs no more has not read all."""
        return (held,) if len(held) <= self.at_once else self._portions(list(held))

    def _portions(self, names: list[str]) -> Iterator[list[str]]:
        for at in range(0, len(names), self.at_once):
            some = names[at : at + self.at_once]
            self.nodes.get_many(some)
            yield some

    def connected(self, start: str, floor: int, hidden: tuple[str, str] | None = None) -> list[str] | None:
        """What edges of this class or stronger connect to a node; None above the cap.

        `hidden` is an edge that is looked through. Persons' links alone have no cap.
        """
        if hidden is None and start in self.too_large.get(floor, ()):
            return None
        cap = None if floor >= HUMAN else self.rules.component_max
        nodes = self.nodes
        found: dict[str, None] = {start: None}
        frontier = [start]
        while frontier:
            held = nodes.get_many(frontier)
            nodes.get_many(self._beside(frontier, floor))
            following: list[str] = []
            for name in frontier:
                for other, strength in self.neighbours(name, held[name], floor):
                    if strength < floor or other in found:
                        continue
                    if hidden and (name, other) in (hidden, hidden[::-1]):
                        continue
                    found[other] = None
                    if cap is not None and len(found) > cap:
                        if hidden is None:
                            self.too_large.setdefault(floor, set()).update(found)
                        return None
                    following.append(other)
            frontier = following
        return list(found)

    def _beside(self, names: list[str], floor: int) -> Iterator[str]:
        """The nodes that must be known to say whether an edge of these is raw."""
        for name in names:
            node = self.nodes[name]
            if len(node.out) <= self.at_once:
                yield from node.out
            if floor <= PROGRAM and len(node.pairs) <= self.at_once:
                for other, pair in node.pairs.items():
                    if pair.programmed:
                        yield other

    def component(self, name: str, known: int | None = None) -> tuple[list[str], int]:
        """The component of a node and its floor: the weakest class at which it is not too large.

        `known`: a class that it is too large below, from before edges were only added.
        """
        floors = self.floors
        low = 0 if known is None else floors.index(known)
        found = self.connected(name, floors[low])
        if found is not None:
            return found, floors[low]
        high = len(floors) - 1
        best = self.connected(name, floors[high]) or [name]
        # The higher the floor, the less it reaches: halve.
        while high - low > 1:
            middle = (low + high) // 2
            reached = self.connected(name, floors[middle])
            if reached is None:
                low = middle
            else:
                high, best = middle, reached
        return best, floors[high]

    def edges(self, names: list[str]) -> Iterator[RawEdge]:
        """The raw edges among these nodes, each once, whatever their class."""
        inside = set(names)
        for name in names:
            node = self.nodes[name]
            for other, edge in node.out.items():
                if other in inside and not self.nodes[other].shared and not node.unlinked(other):
                    strength = self.strength_class(other, edge.verified)
                    yield RawEdge(-strength, 0, edge.seen_us, name, other, namespace_of(other))
            for other, pair in node.pairs.items():
                if other not in inside or name > other:
                    continue
                if pair.human:
                    yield RawEdge(-HUMAN, -pair.human.offset, pair.human.log_us, name, other, "person")
                elif pair.programmed and not node.shared and not self.nodes[other].shared:
                    yield RawEdge(-PROGRAM, 0, pair.programmed.log_us, name, other, "matcher")


def _limit(counted: str, most: int | None) -> Limit:
    return None if most is None else (counted, most)
