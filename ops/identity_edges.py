"""The graph of one customer as people see it: members, identifiers, every edge with its status and reason.

Guarantees:
- Says what the graph has stored and decides nothing; the same nodes give the same answer, in the same order.
- Bounded: what a bound leaves out is counted.
- Possible matches are those that still wait for a person: who was parted by one is none any more.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from models.identifiers import customer_id
from models.merge import EdgeStatus, EdgeStrength, Evidence
from ops.identity_pairs import parted
from ops.portrait import printable
from projections.graph import Graph
from projections.graph_changes import evidence
from projections.graph_nodes import Node, Placement
from projections.graph_record import statements
from projections.instants import instant_or_none, rfc3339

# A component of the usual bound (1,000 nodes) has seldom more; beyond, nobody looks at single edges.
EDGES_MAX = 5_000
# Others who state an identifier of this customer and are not let in: whoever has more is a shared desk.
OUTSIDERS_MAX = 100


# The fields of what is shown that name a node.
_NAMES = frozenset({"founder", "subject", "other", "name"})


class ShownMember(msgspec.Struct, frozen=True):
    """A subject of the customer; `first_seen_at` is None where only others have named it."""

    subject: str
    first_seen_at: str | None
    is_founder: bool


class ShownIdentifier(msgspec.Struct, frozen=True):
    """An identifier that an edge of a member leads to. `customer_id`: who else has it, where another has.

    `people`: how many people state it, as sharing counts them.
    """

    name: str
    status: EdgeStatus
    people: int
    customer_id: str | None


class ShownOutsider(msgspec.Struct, frozen=True):
    """A subject that is no member and that an edge leads to or comes from."""

    subject: str
    customer_id: str | None


class ShownEdge(msgspec.Struct, frozen=True):
    """`subject` states `other`, or a command names both; `first_seen_at` of a command is when it was said."""

    subject: str
    other: str
    status: EdgeStatus
    strength: EdgeStrength
    first_seen_at: str
    actor: str | None
    reason: str | None


class ShownMatch(msgspec.Struct, frozen=True):
    """A customer that may be the same person. `via`: what leads there, a type, `matcher` or `person`."""

    customer_id: str
    founder: str
    via: str


class ShownGraph(msgspec.Struct, frozen=True):
    """All of it. `position`: of the fact that changed this customer last. `edges_left_out`: see EDGES_MAX."""

    customer_id: str
    founder: str
    position: int
    members: tuple[ShownMember, ...]
    identifiers: tuple[ShownIdentifier, ...]
    outsiders: tuple[ShownOutsider, ...]
    edges: tuple[ShownEdge, ...]
    edges_left_out: int
    matches: tuple[ShownMatch, ...]


def shown_graph(graph: Graph, founder: str) -> ShownGraph | None:
    """The graph of the customer that this subject is in; None when it is in none."""
    placement = graph.placement_of(founder)
    if placement is None:
        return None
    members = placement.members
    held = graph.nodes.get_many(members)
    graph.nodes.get_many([*_around(members, held)])
    pairs = list(dict.fromkeys(_pairs(graph, placement)))
    kept = pairs[:EDGES_MAX]
    graph.nodes.get_many(name for pair in kept for name in pair)
    edges = sorted((evidence(graph.nodes, *pair) for pair in kept), key=lambda one: (one.subject, one.other))
    return ShownGraph(
        customer_id(placement.founder),
        placement.founder,
        held[placement.founder].stamp,
        tuple(_member(one, held[one], placement.founder) for one in members),
        _identifiers(graph, edges, placement),
        _outsiders(graph, edges, placement),
        tuple(shown_edge(one) for one in edges),
        len(pairs) - len(kept),
        _matches(graph, placement),
    )


def _matches(graph: Graph, placement: Placement) -> tuple[ShownMatch, ...]:
    members = graph.nodes.get_many(placement.members)
    held = graph.nodes.get_many(founder for founder, _ in placement.related)
    return tuple(
        ShownMatch(customer_id(founder), founder, via)
        for founder, via in placement.related
        if (theirs := held[founder].placement) is None or not parted(members, placement, theirs)
    )


def _around(members: tuple[str, ...], held: Mapping[str, Node]) -> Iterator[str]:
    for member in members:
        yield from held[member].out
        yield from held[member].pairs


def _pairs(graph: Graph, placement: Placement) -> Iterator[tuple[str, str]]:
    """The ends of every edge of a member, and of those by which outsiders reach what is this customer's."""
    nodes, members = graph.nodes, set(placement.members)
    identifiers: dict[str, None] = {}
    for member in placement.members:
        node = nodes[member]
        for other in node.out:
            yield member, other
            identifiers[other] = None
        for other in node.pairs:
            # A pair that one of the two states as well is told once, with the statement.
            stated = other in node.out or member in nodes[other].out
            if not stated and (other not in members or member < other):
                yield member, other
            identifiers[other] = None
    mine = [name for name in identifiers if name not in members and nodes[name].founder == placement.founder]
    for name in [*placement.members, *mine]:
        node = nodes[name]
        for outsider in [one for one in node.by if one not in members][:OUTSIDERS_MAX]:
            yield outsider, name
        if name not in members:
            said = [one for one in node.pairs if one not in members and one not in node.by]
            for outsider in said[:OUTSIDERS_MAX]:
                yield outsider, name


def _member(name: str, node: Node, founder: str) -> ShownMember:
    return ShownMember(name, instant_or_none(node.first_us), name == founder)


def _is_subject(graph: Graph, name: str) -> bool:
    return graph.reach.is_subject(name, graph.nodes[name])


def _identifiers(graph: Graph, edges: list[Evidence], placement: Placement) -> tuple[ShownIdentifier, ...]:
    statuses: dict[str, EdgeStatus] = {}
    for edge in edges:
        if not _is_subject(graph, edge.other):
            # What links by one edge is the customer's, whatever became of another edge.
            linking = graph.nodes[edge.other].founder == placement.founder
            statuses.setdefault(edge.other, "linking" if linking else edge.status)
    found = []
    for name in sorted(statuses):
        node = graph.nodes[name]
        elsewhere = node.founder if node.founder != placement.founder else None
        found.append(
            ShownIdentifier(
                name,
                statuses[name],
                statements(name, node, graph.rules, graph.pseudonym),
                None if elsewhere is None else customer_id(elsewhere),
            )
        )
    return tuple(found)


def _outsiders(graph: Graph, edges: list[Evidence], placement: Placement) -> tuple[ShownOutsider, ...]:
    names = {end for edge in edges for end in (edge.subject, edge.other)} - set(placement.members)
    return tuple(
        ShownOutsider(name, None if (founder := graph.nodes[name].founder) is None else customer_id(founder))
        for name in sorted(names)
        if _is_subject(graph, name)
    )


def shown_edge(edge: Evidence) -> ShownEdge:
    """An edge with its instant as people read it."""
    return ShownEdge(
        edge.subject, edge.other, edge.status, edge.strength, rfc3339(edge.seen_us), edge.actor, edge.reason
    )


def shown_safely(drawn: ShownGraph) -> ShownGraph:
    """The same without any sign that would steer a terminal or that XML has no place for.

    Names that differ in such signs only are numbered: edges are found by the names of their ends.
    """
    names = _told_apart(
        [
            drawn.founder,
            *(one.subject for one in (*drawn.members, *drawn.outsiders)),
            *(one.name for one in drawn.identifiers),
            *(end for edge in drawn.edges for end in (edge.subject, edge.other)),
            *(one.founder for one in drawn.matches),
        ]
    )

    def safe(value: Any, key: str = "") -> Any:
        if isinstance(value, dict):
            return {name: safe(inner, name) for name, inner in value.items()}
        if isinstance(value, list | tuple):
            return [safe(inner) for inner in value]
        return names[value] if key in _NAMES else printable(value)

    return msgspec.convert(safe(msgspec.to_builtins(drawn)), ShownGraph)


def _told_apart(names: Iterable[str]) -> dict[str, str]:
    """What each name is shown as: those that can be shown as they are first."""
    shown: dict[str, str] = {}
    taken: Counter[str] = Counter()
    for name in sorted(set(names), key=lambda one: (not one.isprintable(), one)):
        safe = told = printable(name)
        while taken[told]:
            taken[safe] += 1
            told = f"{safe} ({taken[safe]})"
        taken[told] += 1
        shown[name] = told
    return shown
