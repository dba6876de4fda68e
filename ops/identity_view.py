"""The identity graph as the store has it, for commands that look and change nothing.

Guarantees:
- Reads only. Within one `steady` reading all nodes are of one position, unless the graph goes on without a
  pause: then, after `TRIES`, they are of neighbouring ones.
- Nodes come in batches that do not block the store.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, TypeVar

from models.identifiers import customer_id
from models.rules import IdentityRules
from models.settings import Settings
from ops.failures import Exit, Failure
from projections.graph import Graph
from projections.graph_nodes import Node, unpack_node
from stores.keys import Keys
from stores.redis_store import KEYS_PER_CALL, RedisStore

# A busy graph moves a few hundred times a second, a reading takes some milliseconds.
TRIES = 5

Read = TypeVar("Read")


class GraphMoved(Exception):
    """The writer has gone on between two reads."""


class StoredNodes(dict[str, Node]):
    """Nodes read when they are asked for; those the graph has never heard of are fresh ones."""

    def __init__(self, store: RedisStore, *, strict: bool) -> None:
        super().__init__()
        self.store, self.strict = store, strict
        self.next_offset: int | None = None
        self._began = False

    def __missing__(self, name: str) -> Node:
        return self.get_many([name])[name]

    def get_many(self, names: Iterable[str]) -> Mapping[str, Node]:
        """These nodes; GraphMoved when those read before are of another position, and that matters."""
        missing = [name for name in dict.fromkeys(names) if name not in self]
        links = self.store.keys.links
        for at in range(0, len(missing), KEYS_PER_CALL):
            chunk = missing[at : at + KEYS_PER_CALL]
            loaded = self.store.load({links: chunk})[links]
            if self._began and self.strict and loaded.next_offset != self.next_offset:
                raise GraphMoved
            self._began, self.next_offset = True, loaded.next_offset
            self.update(zip(chunk, map(unpack_node, loaded.parts), strict=True))
        return self


class GraphView(NamedTuple):
    """One generation's graph: the store, a client for what the store has no method for, and the rules."""

    keys: Keys
    store: RedisStore
    client: Any
    rules: IdentityRules

    def nodes(self, *, strict: bool = False) -> StoredNodes:
        """A fresh reading."""
        return StoredNodes(self.store, strict=strict)

    def steady(self, read: Callable[[Graph], Read]) -> Read:
        """What `read` makes of the graph, all of it at one position where that can be had."""
        for _ in range(TRIES):
            try:
                return read(Graph(self.rules, self.nodes(strict=True)))
            except GraphMoved:
                continue
        return read(Graph(self.rules, self.nodes()))


def active_generation(settings: Settings) -> str:
    """The generation that readers see; Failure when there is none yet."""
    from stores.reading import ProfileReader

    reader = ProfileReader(settings.redis)
    try:
        active = reader.active_generation()
    finally:
        reader.close()
    if active is None:
        raise Failure(
            Exit.NOT_FOUND, f"{settings.redis_shown}: no view there yet; the first `scv worker` makes it"
        )
    return active


@contextmanager
def graph_view(settings: Settings, generation: str | None) -> Iterator[GraphView]:
    """The graph of a generation, of the active one for None; Failure when there is none yet."""
    from stores.connection import connect

    active = generation or active_generation(settings)
    rules = settings.identity_rules
    store = RedisStore(settings.redis, active, rules.shared_above)
    client = connect(settings.redis)
    try:
        yield GraphView(store.keys, store, client, rules)
    finally:
        client.close()
        store.close()


class Found(NamedTuple):
    """Whom a name leads to: the node it stands for, and (founder, status) of each customer."""

    name: str
    customers: Sequence[tuple[str, str]]


def customers_of(graph: Graph, name: str) -> Found:
    """The customers of a subject (one at most) or an identifier (all that state it)."""
    node = graph.nodes[name]
    if graph.reach.is_subject(name, node) and node.founder is not None:
        return Found(name, [(node.founder, "linking")])
    around = [*node.by, *node.pairs, name]
    held = graph.nodes.get_many(around)
    founders = {customer_id(one): one for name in around if (one := held[name].founder) is not None}
    return Found(name, [(founders[customer], status) for customer, status in graph.entry_of(name)])


def find(graph: Graph, view: GraphView, text: str) -> Found:
    """Whom a person's text leads to: a customer id, old ones too, a subject, an identifier. NotAName."""
    from api.lookup import NotAName

    text = text.strip()
    if text.startswith("cus_") and ":" not in text:
        # Of an id that was merged away the tombstone still names the subject that it is the hash of.
        founder: Any = view.client.hget(view.keys.profile(text), "founder")
        return Found(text, []) if founder is None else customers_of(graph, founder.decode())
    kind, colon, value = text.partition(":")
    if not (kind and colon and value):
        raise NotAName(f"{text!r} is no customer id and no type:value; try crm:4711 or phone:+4930901820")
    parsed = None if view.rules.declares(kind) else view.rules.parse(text)
    # A subject of a namespace that the rules do not declare is found as it is written.
    names = [":".join(parsed)] if parsed is not None else []
    for name in dict.fromkeys([*names, text]):
        found = customers_of(graph, name)
        if found.customers:
            return found
    return Found(names[0] if names else text, [])
