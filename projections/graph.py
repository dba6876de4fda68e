"""The identity graph: hears facts one by one, and keeps every customer what all facts together make it.

Invariants (L3):
- The result is a function of the set of facts and commands; their order changes nothing.
- What one fact can change is the components at its ends, and the neighbours of an identifier that became
  shared or is shared no longer; nothing else is read, and no component is searched beyond `component_max`.
- A fact that changes nothing stamps nothing.

docs/decisions/0009 says what the result is, to the letter.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable

import msgspec

from models.bounds import IDENTIFIERS_MAX
from models.identifiers import customer_id, is_employee, namespace_of
from models.link import LinkFact
from models.rules import IdentityRules
from projections.graph_changes import Change, Moves, told
from projections.graph_nodes import PROGRAM, MemoryNodes, Node, Nodes, Placement, alone
from projections.graph_reach import Reach
from projections.graph_record import record, statements
from projections.placing import placements

# More identifiers than almost anybody has; whoever has more takes the long way.
FEW = 16
_UNKNOWN = Node()


def keyed_hash(name: str) -> str:
    """What is remembered of an erased subject, where the installation gives no secret of its own."""
    return hashlib.blake2b(name.encode(), key=b"scv", digest_size=12).hexdigest()


class Graph:
    """All that is known of who is who. `changed` has the names of nodes to be stored."""

    def __init__(
        self, rules: IdentityRules, nodes: Nodes, pseudonym: Callable[[str], str] = keyed_hash
    ) -> None:
        self.rules, self.nodes, self.pseudonym = rules, nodes, pseudonym
        self.reach = Reach(rules, nodes)
        self.changed: set[str] = set()

    def apply(self, fact: LinkFact, position: int) -> Change | None:
        """Hear one fact; what readers see of it, None when they see nothing new."""
        heard = without_employees(fact)
        if heard is None:
            return None
        fact = heard
        subject = self.nodes[fact.subject]
        ends = self._ends(fact)
        # A new statement only joins, unless it is one too many; everything else may take apart.
        joins = fact.command in (None, "verify") and len(ends) <= 2 and (subject.named or not subject.pairs)
        if self._stands_alone(fact, subject):
            return None
        self.reach.too_large.clear()
        before: set[str] = set()
        if not joins:
            for end in ends:
                if end not in before:
                    before.update(self.reach.component(end, self.nodes[end].floor)[0])
        was_named, was_shared = subject.named, self._shared(fact)
        was = self._said(fact)
        touched = record(fact, self.nodes, self.rules, self.pseudonym)
        self.changed |= touched
        # Most facts say again, in another lane, what is known: nothing follows from them.
        if not touched or (fact.command != "erased" and was == self._said(fact)):
            return None
        self.reach.too_large.clear()
        moves = self._place(position, self._components(ends, before, joins, fact))
        # As a subject it leads from the identifiers that a command has linked it with.
        led = touched if was_named else touched | subject.pairs.keys()
        flipped = was_shared != self._shared(fact)
        change = told(self.nodes, fact, position, moves, led, flipped=flipped)
        if change is None or self._is_known(fact, change):
            return None
        for name in change.reindex:
            self.nodes[name].indexed = position
            self.changed.add(name)
        return change

    def _stands_alone(self, fact: LinkFact, subject: Node) -> bool:
        """Record the commonest fact by far, if this is it: a subject alone, and what nobody else has stated.

        What the long way makes of such a fact is the same, and no change.
        """
        name, other = fact.subject, fact.identifier
        if (
            fact.command is not None
            or subject.stamp
            or subject.by
            or subject.pairs
            or subject.indexed
            or subject.voids
            or subject.floor != PROGRAM
            or subject.founder != (name if subject.out or subject.founder else None)
            or len(subject.out) + 2 > min(FEW, self.rules.component_max)
        ):
            return False
        if other is not None and other not in subject.out:
            node = self.nodes[other]
            if (
                other == name
                or node != _UNKNOWN
                or self.reach.is_subject(other, node)
                or self.reach.limit(other, node) is not None
            ):
                return False
        self.changed |= record(fact, self.nodes, self.rules, self.pseudonym)
        if subject.founder is None:
            subject.founder, subject.placement = name, alone(name)
        if other is not None:
            self.nodes[other].founder = name
        return True

    def _is_known(self, fact: LinkFact, change: Change) -> bool:
        """Whether lanes show all of this without the graph: a subject alone, and what it alone has stated."""
        return fact.command is None and not change.stamped and all(map(self.is_indexed, change.reindex))

    def is_indexed(self, name: str) -> bool:
        """Whether the look-up entry of a node is the one that lanes write, and no other was ever written."""
        node = self.nodes[name]
        if node.indexed or node.founder is None or node.pairs or len(node.by) > 1:
            return False
        founder = self.nodes[node.founder]
        # A part forgets identifiers beyond its bound, and does not index those.
        alone = not founder.stamp and len(founder.out) <= IDENTIFIERS_MAX
        return alone and (not node.by if name == node.founder else node.founder in node.by)

    def _said(self, fact: LinkFact) -> object:
        """All that customers are made of and that a fact, but for an erasure, can change."""
        name, other = fact.subject, fact.identifier
        node = self.nodes[name]
        mine = (node.named, node.seen, node.first_us, node.shared)
        if other is None:
            return mine
        edge, pair = node.out.get(other), node.pairs.get(other)
        stated = None if edge is None else (edge.seen_us, edge.verified)
        spoken = None if pair is None else (pair.person, pair.programmed)
        return mine, stated, spoken, self.nodes[other].shared

    def _shared(self, fact: LinkFact) -> bool:
        return fact.identifier is not None and self.nodes[fact.identifier].shared

    def _ends(self, fact: LinkFact) -> list[str]:
        """The nodes whose edges a fact can change: its own, and the neighbours where sharing may flip."""
        subject, joins = self.nodes[fact.subject], fact.command in (None, "verify")
        ends = [fact.subject]
        if fact.identifier is not None:
            ends.append(fact.identifier)
        if fact.command == "erased":
            ends += subject.out
        held = self.nodes.get_many(ends)
        neighbours: list[str] = []
        counts = self.rules.counts(namespace_of(fact.subject))
        for name in ends[1:] if joins else ends:
            node = held[name]
            told = fact.subject in node.by and not node.unlinked(fact.subject)
            if joins and (not counts or told):
                # A browser counts for nobody, and nobody counts twice.
                continue
            stating = statements(name, node, self.rules, self.pseudonym)
            spare = self.rules.shared_limit(namespace_of(name)) - stating
            # One fact moves the count by one.
            if spare == 0 or (spare == -1 and not joins):
                neighbours += [*node.by, *node.pairs]
        return list(dict.fromkeys([*ends, *neighbours]))

    def _components(
        self, ends: list[str], before: set[str], joins: bool, fact: LinkFact
    ) -> list[tuple[list[str], int]]:
        """The components that a change at these ends can have touched, as they are now, each once."""
        at_least = self._at_least(fact) if joins else {}
        floors: dict[str, int] = {}
        components: list[tuple[list[str], int]] = []
        explored: set[str] = set()
        waiting = list(dict.fromkeys([*ends, *sorted(before)]))
        while waiting:
            name = waiting.pop()
            floor_before = self.nodes[name].floor
            if name not in floors:
                known = max(floor_before, at_least.get(name, floor_before)) if joins else None
                names, floor = self.reach.component(name, known)
                floors.update(dict.fromkeys(names, floor))
                components.append((names, floor))
            if joins and floors[name] > floor_before and name not in explored:
                # Too large by now: what it was before this edge has to be looked at, too.
                hidden = (fact.subject, fact.identifier or "")
                was = self.reach.connected(name, floor_before, hidden) or []
                explored.update(was)
                waiting += was
        return components

    def _at_least(self, fact: LinkFact) -> dict[str, int]:
        """What the floors of a new edge's ends cannot be below: what one end reaches, the other does, too.

        Without it, everybody who states a phone that hangs together with too much would search all of that.
        """
        subject, name = self.nodes[fact.subject], fact.identifier
        edge = None if name is None else subject.out.get(name)
        if name is None or edge is None or self.nodes[name].shared or subject.unlinked(name):
            return {}
        above = self.reach.floor_above(self.reach.strength_class(name, edge.verified))
        return {fact.subject: min(self.nodes[name].floor, above), name: min(subject.floor, above)}

    def _place(self, position: int, components: list[tuple[list[str], int]]) -> Moves:
        """Store what these components make of their nodes; what moved by it."""
        moves = Moves()
        now: dict[str, Placement] = {}
        members: dict[str, frozenset[str]] = {}
        for names, floor in components:
            placed, founders = placements(names, floor, self.reach)
            for placement in placed.values():
                now.update(dict.fromkeys(placement.members, placement))
            for name in names:
                node = self.nodes[name]
                moves.founders[name] = (node.founder, founders[name])
                moves.note(name, self._placed(name, node.founder, members), now.get(name))
                if node.floor != floor:
                    node.floor = floor
                    self.changed.add(name)
        for name, (was_founder, founder) in moves.founders.items():
            if was_founder != founder:
                self.nodes[name].founder = founder
                self.changed.add(name)
        for name in list(moves.stamped):
            node, (was, new) = self.nodes[name], moves.placements[name]
            if not node.stamp and was is None and new == alone(name):
                # Nothing that readers do not assume anyway.
                del moves.stamped[name]
            else:
                node.stamp = position
            node.placement = new if new is not None and new.founder == name else None
            self.changed.add(name)
        return moves

    def _placed(self, name: str, founder: str | None, members: dict[str, frozenset[str]]) -> Placement | None:
        """`placement_of` for many: `members` keeps those of each founder, to be searched once."""
        placement = None if founder is None else self.nodes[founder].placement
        if founder is None or placement is None:
            return None
        if founder not in members:
            members[founder] = frozenset(placement.members)
        return placement if name in members[founder] else None

    def placement_of(self, subject: str) -> Placement | None:
        """The customer that a subject is in; None for subjects in none, and for identifiers."""
        founder = self.nodes[subject].founder
        placement = None if founder is None else self.nodes[founder].placement
        return placement if placement is not None and subject in placement.members else None

    def entry_of(self, name: str, bound: int | None = None) -> list[tuple[str, str]]:
        """The look-up entry of a node: (customer id, status) of each, at most one more than may share it."""
        bound = self.rules.shared_limit(namespace_of(name)) + 1 if bound is None else bound
        node = self.nodes[name]
        founders = {} if node.founder is None else {node.founder: "linking"}
        status = "shared" if node.shared else "rejected"
        leading = {one for one in node.by if not node.unlinked(one)}
        leading |= {one for one, pair in node.pairs.items() if pair.human or pair.programmed}
        for one in sorted(leading):
            if len(founders) >= bound:
                break
            founder = self.nodes[one].founder
            # An identifier linked by command leads to nobody but through its own subjects.
            if founder is not None and self.reach.is_subject(one, self.nodes[one]):
                founders.setdefault(founder, status)
        return [(customer_id(founder), status) for founder, status in founders.items()]

    def drain(self) -> dict[str, Node]:
        """The nodes changed since the last call, to be stored."""
        changed, self.changed = self.changed, set()
        return {name: self.nodes[name] for name in sorted(changed)}

    def settle(self, names: Iterable[str], position: int) -> None:
        """Place these nodes by what was recorded of them, stamping all that moves by it."""
        done: set[str] = set()
        self.reach.too_large.clear()
        for name in names:
            if name not in done:
                component = self.reach.component(name)
                done.update(component[0])
                self._place(position, [component])


def without_employees(fact: LinkFact) -> LinkFact | None:
    """Employees are nobody's customers, and nobody's identifiers; None: nothing is left of the fact."""
    if is_employee(fact.subject):
        return None
    if fact.identifier is None or not is_employee(fact.identifier):
        return fact
    # Whoever states an employee has been seen all the same.
    return None if fact.command is not None else msgspec.structs.replace(fact, identifier=None)


def build(
    facts: Iterable[tuple[int, LinkFact]],
    rules: IdentityRules,
    pseudonym: Callable[[str], str] = keyed_hash,
) -> Graph:
    """The graph of a whole log of (position, fact) at once: all is recorded first, and partitioned once."""
    nodes = MemoryNodes()
    position = 0
    for position, fact in facts:  # noqa: B007 - the last one is where the graph then stands
        heard = without_employees(fact)
        if heard is not None:
            record(heard, nodes, rules, pseudonym)
    graph = Graph(rules, nodes, pseudonym)
    graph.settle(list(nodes), position)
    for name, node in nodes.items():
        if not graph.is_indexed(name):
            node.indexed = position
    graph.changed = set(nodes)
    return graph
