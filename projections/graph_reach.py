"""What hangs together: the raw edges of a node, and the component that they reach.

Invariants:
- A component has at most `component_max` nodes and eight times as many raw edges, unless persons linked more;
  no search goes beyond that.
- All nodes of a component find the same component, with the same floor.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Iterable, Iterator, Mapping

from models.identifiers import namespace_of
from models.rules import IdentityRules
from projections.graph_nodes import HUMAN, PROGRAM, UNVERIFIED, VERIFIED, Node, Nodes
from projections.partition import Limit, RawEdge

# Identifiers of one subject that are read in one go: more than almost anybody has.
AT_ONCE = 64
# Raw edges of a component for each node that it may have. Customers have one or two: most of what they state
# is theirs alone. Eight leaves room for those whose every source states all that it knows; where there are
# more, machines speak, and a fact walks all edges of its component.
EDGES_PER_NODE = 8


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
        self.weakest_stated = UNVERIFIED + min(strengths)
        self.at_once = min(AT_ONCE, rules.component_max)
        self.edges_max = EDGES_PER_NODE * rules.component_max
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

    def _leading(
        self, name: str, floor: int, stated: Collection[str], found: Mapping[str, None]
    ) -> Iterator[tuple[Collection[str], int]]:
        """Nodes not yet found that raw edges of this class or stronger lead to, in portions.

        With each portion goes how many of these edges are counted at this node: a stated one at what it is
        stated of, a link by command at the lesser name. `stated`: what the node states and was not yet found
        before its level of the search; `found` is looked at anew for each portion.
        """
        nodes, node = self.nodes, self.nodes[name]
        pairs, out = node.pairs, node.out
        if stated and floor > self.weakest_stated:
            stated = [one for one in stated if self.strength_class(one, out[one].verified) >= floor]
        for some in self._few(stated) if stated else ():
            yield (
                [
                    other
                    for other in some
                    if other not in found and not nodes[other].shared and not (pairs and node.unlinked(other))
                ],
                0,
            )
        stating = () if node.shared else self._stating(name, node, floor)
        if stating:
            if pairs:
                stating = [other for other in stating if not node.unlinked(other)]
            # Counted first: of too many, nobody is looked at.
            yield (), len(stating)
            yield [other for other in stating if other not in found], 0
        if pairs:
            linked = [other for other, pair in pairs.items() if pair.human]
            yield _unfound(linked, found), _counted(name, linked)
            if floor <= PROGRAM and not node.shared:
                for some in self._few([other for other, pair in pairs.items() if pair.programmed]):
                    linked = [other for other in some if not nodes[other].shared]
                    yield _unfound(linked, found), _counted(name, linked)

    def _stating(self, name: str, node: Node, floor: int) -> Collection[str]:
        """Who states this node in edges of this class or stronger."""
        if not node.by or self.strength_class(name, True) < floor:
            return ()
        if self.strength_class(name, False) >= floor:
            return node.by
        # Of a kiosk's address thousands state the same, and nobody has verified it.
        return [one for one, sure in node.by.items() if sure] if True in node.by.values() else ()

    def _few(self, held: Collection[str]) -> Iterable[Collection[str]]:
        """These names in portions, each read as a whole: whoever needs no more has not read all."""
        return (held,) if len(held) <= self.at_once else self._portions(list(held))

    def _portions(self, names: list[str]) -> Iterator[list[str]]:
        for at in range(0, len(names), self.at_once):
            some = names[at : at + self.at_once]
            self.nodes.get_many(some)
            yield some

    def connected(self, start: str, floor: int, hidden: tuple[str, str] | None = None) -> list[str] | None:
        """What edges of this class or stronger connect to a node; None above the caps.

        `hidden` is an edge that is looked through: what there was without it was within the caps. Persons'
        links alone have no caps.
        """
        too_large = self.too_large.setdefault(floor, set()) if hidden is None else set[str]()
        if start in too_large:
            return None
        capped = floor < HUMAN and hidden is None
        edges, edges_max, nodes_max = 0, self.edges_max, self.rules.component_max
        found: dict[str, None] = {start: None}
        frontier = [start]
        while frontier:
            stated = self._stated(frontier, floor, found)
            following: list[str] = []
            for name in frontier:
                seen_through = hidden if hidden is not None and name in hidden else ()
                for leading, counted in self._leading(name, floor, stated[name], found):
                    fresh = [other for other in leading if other not in seen_through]
                    found.update(dict.fromkeys(fresh))
                    following += fresh
                    edges += counted
                    # What leads to something too large is so, too.
                    beyond = len(found) > nodes_max or edges > edges_max or not too_large.isdisjoint(fresh)
                    if capped and beyond:
                        too_large.update(found)
                        return None
            frontier = following
        return list(found)

    def _stated(self, names: list[str], floor: int, found: Mapping[str, None]) -> dict[str, list[str]]:
        """What these nodes state and is not found yet; all that says whether an edge is raw is read."""
        held = self.nodes.get_many(names)
        stated: dict[str, list[str]] = {}
        unread: dict[str, None] = {}
        for name in names:
            node = held[name]
            stated[name] = fresh = [other for other in node.out if other not in found] if node.out else []
            if fresh and len(node.out) <= self.at_once:
                unread.update(dict.fromkeys(fresh))
            if floor <= PROGRAM and 0 < len(node.pairs) <= self.at_once:
                unread.update(dict.fromkeys(other for other, pair in node.pairs.items() if pair.programmed))
        self.nodes.get_many(unread)
        return stated

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

    def edges(self, names: list[str]) -> list[RawEdge]:
        """The raw edges among these nodes, each once, whatever their class."""
        nodes, inside, found = self.nodes, set(names), list[RawEdge]()
        # What an edge to each of these is: its type, and the weakness of an unverified and a verified one.
        ends = {
            name: (namespace_of(name), (-self.strength_class(name, False), -self.strength_class(name, True)))
            for name in names
            if nodes[name].by and not nodes[name].shared
        }
        for name in names:
            node = nodes[name]
            found += [
                RawEdge(end[1][edge.verified], 0, edge.seen_us, name, other, end[0])
                for other, edge in node.out.items()
                if (end := ends.get(other)) is not None and not (node.pairs and node.unlinked(other))
            ]
            for other, pair in node.pairs.items():
                if other not in inside or name > other:
                    continue
                if pair.human:
                    found.append(
                        RawEdge(-HUMAN, -pair.human.offset, pair.human.log_us, name, other, "person")
                    )
                elif pair.programmed and not node.shared and not nodes[other].shared:
                    found.append(RawEdge(-PROGRAM, 0, pair.programmed.log_us, name, other, "matcher"))
        return found


def _unfound(names: Iterable[str], found: Mapping[str, None]) -> list[str]:
    return [name for name in names if name not in found]


def _counted(name: str, linked: Iterable[str]) -> int:
    """How many of the links between a node and these are counted at the node."""
    return sum(name < other for other in linked)


def _limit(counted: str, most: int | None) -> Limit:
    return None if most is None else (counted, most)
