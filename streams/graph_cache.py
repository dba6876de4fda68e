"""The nodes that the identity writer remembers, and how it gets the others.

Invariants:
- All nodes belong to one checkpoint: a node read at another one is `Moved`, and nothing of it is used.
- At most so many nodes stay between two rounds; those that came first are forgotten first.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from models.record import Lane
from projections.graph_nodes import Node, unpack_node
from stores.store import Store

# About 2 kB each in memory: 400 MB at most, with the nodes of a hundred thousand busy customers.
NODES_MAX = 200_000


class Moved(Exception):
    """The graph in the store is not the one that this writer stands on."""


class GraphCache(dict[str, Node]):
    """Nodes by name; whoever asks for one that is not here has it read from the store."""

    def __init__(self, store: Store, links: Lane) -> None:
        super().__init__()
        self.store, self.links = store, links
        self.next_offset: int | None = None

    def __missing__(self, name: str) -> Node:
        self.get_many((name,))
        return self[name]

    def get_many(self, names: Iterable[str]) -> Mapping[str, Node]:
        """These nodes, in one round trip for all that are not here; Moved."""
        missing = [name for name in dict.fromkeys(names) if name not in self]
        if missing:
            loaded = self.store.load({self.links: missing})[self.links]
            if loaded.next_offset != self.next_offset:
                raise Moved
            for name, packed in zip(missing, loaded.parts, strict=True):
                self[name] = unpack_node(packed)
        return self

    def trim(self) -> None:
        """Forget what came first, beyond the bound."""
        if len(self) > NODES_MAX:
            for name in list(self)[: len(self) - NODES_MAX // 2]:
                del self[name]
