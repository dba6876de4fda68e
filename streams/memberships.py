"""From the graph's nodes in the store to the memberships that assemblers read.

Invariants:
- A membership written is one that the graph has committed; a later one is never replaced.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from models.record import Lane
from projections.graph_nodes import Node, Placement, unpack_node
from stores.store import Membership, Store


def membership(stamp: int, placement: Placement | None) -> Membership:
    """Where a subject is, as readers of the store see it."""
    if placement is None:
        return Membership(stamp, "", ())
    return Membership(stamp, placement.founder, placement.members, placement.statuses, placement.related)


def read_nodes(store: Store, links: Lane, names: Sequence[str]) -> dict[str, Node]:
    """These nodes as stored; none for those the graph has never heard of."""
    if not names:
        return {}
    loaded = store.load({links: names})[links]
    return {
        name: unpack_node(packed)
        for name, packed in zip(names, loaded.parts, strict=False)
        if packed is not None
    }


def read_memberships(store: Store, links: Lane, subjects: Sequence[str]) -> dict[str, Membership]:
    """Where the graph has placed these subjects, read from the graph itself."""
    nodes: Mapping[str, Node] = read_nodes(store, links, subjects)
    founders = {node.founder for node in nodes.values() if node.founder is not None}
    known = {**nodes, **read_nodes(store, links, sorted(founders - nodes.keys()))}
    found: dict[str, Membership] = {}
    for name, node in nodes.items():
        founder = known.get(node.founder) if node.founder is not None else None
        placement = None if founder is None else founder.placement
        # Between two reads the writer may have gone on: what does not fit together is read again later.
        if node.stamp and (node.founder is None or (placement is not None and name in placement.members)):
            found[name] = membership(node.stamp, placement)
    return found


def mending(store: Store, links: Lane) -> Callable[[Sequence[str]], None]:
    """A function that writes the memberships of subjects again, from the graph itself."""

    def mend(subjects: Sequence[str]) -> None:
        found = read_memberships(store, links, subjects)
        if found:
            store.place(found, {})

    return mend
