"""From the nodes of one component to its customers.

Invariants:
- Every set with a seen subject is one customer, founded by a seen subject; no set without one is.
- A customer's placement names all that readers see of the graph; equal placements look equal to them.
"""

from __future__ import annotations

from collections.abc import Iterable

from models.bounds import RELATED_KEPT, STATUSES_MAX
from models.identifiers import namespace_of
from projections.graph_nodes import Node, Placement
from projections.graph_reach import Reach
from projections.partition import RawEdge, fits, partition


def placements(
    names: list[str], floor: int, reach: Reach
) -> tuple[dict[str, Placement], dict[str, str | None]]:
    """The customers of one component by founder; and per node the founder of the set it is in, if any."""
    nodes = {name: reach.nodes[name] for name in names}
    subjects = {name for name, node in nodes.items() if reach.is_subject(name, node)}
    limits = {name: reach.limit(name, node) for name, node in nodes.items()}
    cannot = {name: parted for name in subjects if (parted := _parted(nodes[name], subjects, nodes))}
    edges: list[RawEdge] = []
    if not cannot and fits(limits.values()):
        # All of it fits in one customer: whatever the edges are, they join it.
        sets = {names[0]: names}
    else:
        edges = reach.edges(names)
        sets = partition(limits, [edge for edge in edges if -edge.weakness >= floor], cannot)
    founders: dict[str, str | None] = {}
    set_of: dict[str, str] = {}
    for root, held in sets.items():
        founder = _founder(held, nodes, reach)
        for name in held:
            set_of[name], founders[name] = root, founder
    related = _related(edges, set_of, founders) if len(sets) > 1 else {}
    placed: dict[str, Placement] = {}
    for held in sets.values():
        founder = founders[held[0]]
        if founder is not None:
            members = tuple(sorted(name for name in held if name in subjects))
            placed[founder] = Placement(
                founder,
                members,
                _statuses(members, set(held), reach),
                tuple(sorted(related.get(founder, ()))[:RELATED_KEPT]),
            )
    return placed, founders


def _parted(node: Node, subjects: set[str], nodes: dict[str, Node]) -> dict[str, int]:
    return {
        other: pair.person.offset
        for other, pair in node.pairs.items()
        if pair.person is not None and not pair.person.link and other in subjects
    }


def _founder(held: Iterable[str], nodes: dict[str, Node], reach: Reach) -> str | None:
    """Persons before others, then by first log time, then by name; only who was seen."""
    seen = [
        (not reach.rules.subject(namespace_of(name)).person, node.first_us or 0, name)
        for name in held
        if (node := nodes[name]).first_us is not None and node.seen
    ]
    return min(seen)[2] if seen else None


def _statuses(members: Iterable[str], held: set[str], reach: Reach) -> dict[str, str]:
    """The identifiers that members state and that do not link."""
    statuses: dict[str, str] = {}
    for member in members:
        node = reach.nodes[member]
        for identifier in sorted(node.out):
            if identifier not in held:
                shared = reach.nodes[identifier].shared and not node.unlinked(identifier)
                if shared or identifier not in statuses:
                    statuses[identifier] = "shared" if shared else "rejected"
                if len(statuses) == STATUSES_MAX:
                    return statuses
    return statuses


def _related(
    edges: Iterable[RawEdge], set_of: dict[str, str], founders: dict[str, str | None]
) -> dict[str, set[tuple[str, str]]]:
    """Possible matches: the customers at the other ends of edges that join nothing."""
    related: dict[str, set[tuple[str, str]]] = {}
    for edge in edges:
        if set_of[edge.subject] == set_of[edge.other]:
            continue
        mine, theirs = founders[edge.subject], founders[edge.other]
        if mine is not None and theirs is not None:
            related.setdefault(mine, set()).add((theirs, edge.via))
            related.setdefault(theirs, set()).add((mine, edge.via))
    return related
