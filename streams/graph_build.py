"""Build the identity graph of a whole link log at once: for a first load, before anything has been placed.

Invariants:
- What it makes is what the identity writer would have made of the same facts; only the stamps are all the
  last position, and no merges are told: where customers begin, nothing has merged.
- While it runs the cursor says so (`BUILDING`), and no identity writer touches the graph. It ends by putting
  the cursor where the facts end, from where workers follow. Killed, it begins again from nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from models.link import LinkFact
from models.record import Lane
from models.rules import IdentityRules
from projections.graph import Graph, build
from projections.graph_nodes import pack_node
from stores.store import Commit, Entry, PartWrite, Store
from streams.assembler import Assembler
from streams.identity_writer import BUILDING, NODES_PER_COMMIT
from streams.memberships import membership

# Commits of one pipeline, and nodes made readable at a time: some megabytes on the wire.
COMMITS_AT_ONCE = 16
NODES_AT_ONCE = NODES_PER_COMMIT * COMMITS_AT_ONCE

# How far it is: what is being done, how much of how much.
Show = Callable[[str, int, int], None]


class GraphBegun(Exception):
    """Somebody has placed something already; a build is for a graph that has not been begun."""


class Built(NamedTuple):
    """What a build has made."""

    nodes: int
    subjects: int
    customers: int


def build_graph(
    store: Store,
    assembler: Assembler,
    links: Lane,
    rules: IdentityRules,
    facts: Iterable[tuple[int, LinkFact]],
    end: int,
    at_ms: int,
    show: Show,
    *,
    assembling: bool = True,
) -> Built:
    """Place all that these facts, in log order, say; `end` is where they end. GraphBegun, StoreAway.

    Customers of several are assembled, too, unless `assembling` is left to the caller.
    """
    [checkpoint] = store.checkpoints([links])
    if checkpoint.next_offset not in (None, BUILDING):
        raise GraphBegun(f"the graph stands at {checkpoint.next_offset} of {links} already")
    _move(store, links, checkpoint.next_offset, BUILDING, end, at_ms)
    graph = build(facts, rules)
    names = sorted(graph.nodes)
    for done, some in _portions(names):
        show("writing nodes", done, len(names))
        commits = [
            Commit(links, BUILDING, BUILDING, end, at_ms, [_node(graph, name) for name in chunk])
            for chunk in _chunks(some, NODES_PER_COMMIT)
        ]
        if not all(store.commit(commits)):
            raise GraphBegun(f"another build of {links} has begun")
    subjects = 0
    for done, some in _portions(names):
        show("placing", done, len(names))
        subjects += _make_readable(store, assembler, graph, some, end, assembling=assembling)
    show("placing", len(names), len(names))
    _move(store, links, BUILDING, end, end, at_ms)
    store.close_marks({links: (end, {})})
    customers = sum(graph.nodes[name].placement is not None for name in names)
    return Built(len(names), subjects, customers)


def _move(store: Store, links: Lane, expected: int | None, to: int, end: int, at_ms: int) -> None:
    [moved] = store.commit([Commit(links, expected, to, end, at_ms, ())])
    if not moved:
        raise GraphBegun(f"an identity writer or another build has moved {links} meanwhile")


def _node(graph: Graph, name: str) -> PartWrite:
    return PartWrite(name, pack_node(graph.nodes[name]), None)


def _make_readable(
    store: Store, assembler: Assembler, graph: Graph, names: Sequence[str], end: int, *, assembling: bool
) -> int:
    """Place these nodes, then assemble or bury; how many of them are subjects of customers."""
    memberships = {
        name: membership(graph.nodes[name].stamp, graph.placement_of(name))
        for name in names
        if graph.nodes[name].stamp
    }
    entries = {name: Entry(end, tuple(graph.entry_of(name))) for name in names if graph.nodes[name].indexed}
    store.place(memberships, entries)
    buried = {name: one.stamp for name, one in memberships.items() if not one.members or one.founder != name}
    assembler.bury(buried)
    if assembling:
        assembler.assemble({name: {} for name, one in memberships.items() if one.founder == name})
    return sum(graph.placement_of(name) is not None for name in names)


def _portions(names: Sequence[str]) -> Iterator[tuple[int, Sequence[str]]]:
    return zip(range(0, len(names), NODES_AT_ONCE), _chunks(names, NODES_AT_ONCE), strict=True)


def _chunks(names: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    return (names[at : at + size] for at in range(0, len(names), size))
