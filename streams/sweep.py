"""Hold what readers see against the identity graph and the parts, and write again what differs (L2, sweep).

Invariants:
- The graph's nodes say what must be: of each name its membership, its index entry, its lanes, and a profile
  or a tombstone. Keys that no node explains are found from the other side.
- Workers go on meanwhile: what is marked is theirs to do, and what differs otherwise is looked at again
  before it counts. A healthy view has no finding.
- Nothing is replaced by something earlier: writes compare, as all writes of workers do. What cannot be
  written over because it claims to be later than the graph itself is removed first.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
import redis

from models.catalogue import DOMAIN_TOPICS
from models.identifiers import customer_id
from models.record import Lane
from models.rules import IdentityRules
from projections.graph import Graph
from projections.graph_nodes import Node, unpack_node
from projections.parts import unpack
from stores.keys import Keys
from stores.redis_store import RedisStore
from stores.store import Entry
from streams.assembler import Assembler
from streams.memberships import membership

NAMES_AT_ONCE = 512
# What a worker has begun is done within moments: what differs this long differs.
LOOKS = 6
LOOK_AGAIN_SECONDS = 0.5

LIVE, MERGED = "live", "merged"


class Finding(NamedTuple):
    """Something that is not as it must be: what, of whom."""

    kind: str
    name: str


class LooseNodes(dict[str, Node]):
    """Nodes read as they are needed, without asking whether the graph moved in between."""

    def __init__(self, store: RedisStore, links: Lane) -> None:
        super().__init__()
        self.store, self.links = store, links

    def __missing__(self, name: str) -> Node:
        return self.get_many((name,))[name]

    def get_many(self, names: Iterable[str]) -> Mapping[str, Node]:
        """These nodes; a fresh one for those the graph has never heard of."""
        missing = [name for name in dict.fromkeys(names) if name not in self]
        if missing:
            loaded = self.store.load({self.links: missing})[self.links].parts
            # Two calls that saw two cursors give nothing: they are asked one by one.
            if len(loaded) != len(missing):
                loaded = [self.store.load({self.links: [name]})[self.links].parts[0] for name in missing]
            self.update(zip(missing, map(unpack_node, loaded), strict=True))
        return self


class Sweep:
    """A sweep of one generation. Its errors are the store's and the client's."""

    def __init__(
        self, client: redis.Redis, store: RedisStore, assembler: Assembler, rules: IdentityRules
    ) -> None:
        self.client, self.store, self.assembler, self.rules = client, store, assembler, rules
        self.keys: Keys = store.keys

    def names(self) -> Iterator[list[str]]:
        """All names that the graph knows, in portions; some repeat."""
        graph = self.keys.part(self.keys.links, "")
        yield from self._scanned(f"{graph}*", graph, "")

    def keyed(self) -> Iterator[list[str]]:
        """All names of which readers find an index entry or a membership, in portions; some repeat."""
        begins = f"{self.keys.prefix}{{"
        for ends in ("}:ids", "}:member"):
            yield from self._scanned(f"{begins}*{ends}", begins, ends)

    def _scanned(self, pattern: str, begins: str, ends: str) -> Iterator[list[str]]:
        names: list[str] = []
        for key in self.client.scan_iter(pattern, count=4 * NAMES_AT_ONCE):
            text = key.decode()
            names.append(text[len(begins) : len(text) - len(ends)])
            if len(names) >= NAMES_AT_ONCE:
                yield names
                names = []
        if names:
            yield names

    def profiles(self) -> Iterator[list[str]]:
        """The customer ids of all profiles and tombstones, in portions."""
        prefix = self.keys.prefix
        yield from self._scanned(f"{prefix}{{cus_*}}:profile", f"{prefix}{{", "}:profile")

    def lasting(self, look: Callable[[Sequence[Any]], list[Finding]], names: Sequence[Any]) -> list[Finding]:
        """What `look` finds of these names, and goes on finding."""
        found = look(names)
        for _ in range(LOOKS - 1):
            if not found:
                break
            time.sleep(LOOK_AGAIN_SECONDS)
            again = {*look(list(dict.fromkeys(one.name for one in found)))}
            found = [one for one in found if one in again]
        return found

    def look_at_names(self, names: Sequence[str]) -> list[Finding]:
        """What is wrong of these names."""
        graph = self._graph(names)
        found: list[Finding] = []
        stored = self._stored(names)
        subjects = [name for name in names if graph.reach.is_subject(name, graph.nodes[name])]
        lanes = dict(zip(subjects, self.store.lanes(subjects), strict=True))
        for name, (entry, member) in zip(names, stored, strict=True):
            node = graph.nodes[name]
            if node == Node():
                # Whoever a lane has just seen may be here before the graph has heard of it.
                found += (
                    [Finding("key of a name that the graph does not know", name)] if entry or member else []
                )
                continue
            if _customers(entry) != graph.entry_of(name):
                found.append(Finding("index entry", name))
            if name in lanes:
                wanted = _membership_of(graph, name)
                if (None if member is None else msgspec.json.decode(member)) != wanted:
                    found.append(Finding("membership", name))
                if not _lanes_of(node) <= lanes[name]:
                    found.append(Finding("lanes", name))
        found += self._look_at_profiles(graph, subjects, lanes)
        marked = self._marked([(self.keys.links, one.name) for one in found])
        return [one for one in found if (self.keys.links, one.name) not in marked]

    def _marked(self, pairs: Sequence[tuple[Lane, str]]) -> set[tuple[Lane, str]]:
        """Those of (lane, subject), or (link log, name), that a worker has yet to do: no faults, but work."""
        pipe = self.client.pipeline(transaction=False)
        for lane, name in pairs:
            pipe.hexists(self.keys.dirty(lane), name)
        return {pair for pair, marked in zip(pairs, pipe.execute(), strict=True) if marked}

    def _look_at_profiles(
        self, graph: Graph, subjects: Sequence[str], lanes: dict[str, frozenset[Lane]]
    ) -> list[Finding]:
        """Every hash(S) is a profile with all its events, or a tombstone."""
        founded = {name: one.members for name in subjects if (one := graph.placement_of(name)) is not None}
        founded = {name: members for name, members in founded.items() if graph.nodes[name].founder == name}
        others = [name for members in founded.values() for name in members if name not in lanes]
        lanes |= dict(zip(others, self.store.lanes(others), strict=True))
        wanted = [
            (lane, name) for members in founded.values() for name in members for lane in sorted(lanes[name])
        ]
        parts = dict(zip(wanted, self.store.parts(wanted), strict=True))
        heads = self._heads([customer_id(name) for name in subjects])
        found: list[Finding] = []
        pending = self._marked(wanted)
        for name, (state, founder, version) in zip(subjects, heads, strict=True):
            stamp = graph.nodes[name].stamp
            if name in founded:
                packed = [parts[lane, one] for one in founded[name] for lane in lanes[one]]
                revisions = sum(unpack(one).revision for one in packed if one is not None)
                waits = any((lane, one) in pending for one in founded[name] for lane in lanes[one])
                if (
                    revisions
                    and not waits
                    and (state, founder, version) != (LIVE, name, f"{stamp}.{revisions}")
                ):
                    found.append(Finding("profile" if state == LIVE else "profile that is not there", name))
            elif stamp and (state, founder) != (MERGED, name):
                found.append(Finding("tombstone", name))
        return found

    def look_at_keyed(self, names: Sequence[str]) -> list[Finding]:
        """Keys of names that the graph has never heard of. It may be about to: lanes are ahead of it."""
        nodes = LooseNodes(self.store, self.keys.links).get_many(names)
        unknown = [name for name in names if nodes[name] == Node()]
        held = zip(unknown, self._stored(unknown), strict=True)
        return [Finding("key of a name unknown to the graph", name) for name, keys in held if any(keys)]

    def look_at_profiles(self, customers: Sequence[str]) -> list[Finding]:
        """Profiles and tombstones of founders that the graph does not know."""
        heads = self._heads(customers)
        nodes = LooseNodes(self.store, self.keys.links).get_many(
            founder for _, founder, _ in heads if founder
        )
        return [
            Finding("profile of nobody", customer)
            for customer, (_, founder, _) in zip(customers, heads, strict=True)
            if founder and (customer_id(founder) != customer or nodes[founder] == Node())
        ]

    def repair(self, found: Sequence[Finding]) -> None:
        """Write again what was found; what is left then, another look says."""
        names = list(dict.fromkeys(one.name for one in found if one.kind != "profile of nobody"))
        nobody = [one.name for one in found if one.kind == "profile of nobody"]
        if nobody:
            self.client.unlink(*map(self.keys.profile, nobody))
        graph = self._graph(names)
        unknown = [name for name in names if graph.nodes[name] == Node()]
        for name in unknown:
            self.client.unlink(self.keys.identifier(name), self.keys.membership(name))
        known = [name for name in names if name not in unknown]
        subjects = [name for name in known if graph.reach.is_subject(name, graph.nodes[name])]
        self.store.note_subjects(
            [(name, lane) for name in subjects for lane in _lanes_of(graph.nodes[name])], ()
        )
        self._unlink_later(graph, known, {one.name for one in found if one.kind == "index entry"})
        nodes = graph.nodes
        memberships = {
            name: membership(nodes[name].stamp, graph.placement_of(name))
            for name in subjects
            if nodes[name].stamp
        }
        entries = {
            name: Entry(nodes[name].indexed, tuple(graph.entry_of(name)))
            for name in known
            if nodes[name].indexed
        }
        self.store.place(memberships, entries)
        self._assemble(graph, known, subjects)

    def _unlink_later(self, graph: Graph, names: Sequence[str], wrong: set[str]) -> None:
        """Remove what could not be written over: it claims to be later, or nobody but lanes writes it."""
        for name, (entry, member) in zip(names, self._stored(names), strict=True):
            node = graph.nodes[name]
            if entry is not None and name in wrong:
                stamp = msgspec.json.decode(entry)["stamp"]
                if not node.indexed or stamp > node.indexed:
                    self.client.unlink(self.keys.identifier(name))
            if member is not None and msgspec.json.decode(member)[0] > node.stamp:
                self.client.unlink(self.keys.membership(name))

    def _assemble(self, graph: Graph, names: Sequence[str], subjects: Sequence[str]) -> None:
        nodes = graph.nodes
        founders = {founder for name in names if (founder := nodes[name].founder) is not None}
        buried = {name: nodes[name].stamp for name in subjects if nodes[name].stamp and name not in founders}
        # A head that no write could replace.
        heads = zip(buried, self._heads(list(map(customer_id, buried))), strict=True)
        if living := [name for name, (state, _, _) in heads if state == LIVE]:
            self.client.unlink(*(self.keys.profile(customer_id(name)) for name in living))
        self.assembler.forget()
        self.assembler.bury(buried)
        done = self.assembler.assemble({name: {} for name in founders})
        if left := founders - done:
            self.client.unlink(*(self.keys.profile(customer_id(name)) for name in left))
            self.assembler.assemble({name: {} for name in left})
        self.assembler.forget()

    def _graph(self, names: Sequence[str]) -> Graph:
        nodes = LooseNodes(self.store, self.keys.links)
        nodes.get_many(names)
        nodes.get_many({one.founder for one in nodes.values() if one.founder is not None})
        nodes.get_many({one for name in names for one in (*nodes[name].by, *nodes[name].pairs)})
        return Graph(self.rules, nodes)

    def _stored(self, names: Sequence[str]) -> list[tuple[bytes | None, bytes | None]]:
        """Index entry and membership of each."""
        if not names:
            return []
        keys = [key for name in names for key in (self.keys.identifier(name), self.keys.membership(name))]
        found: Any = self.client.mget(keys)
        return list(zip(found[::2], found[1::2], strict=True))

    def _heads(self, customers: Sequence[str]) -> list[tuple[str, str, str]]:
        """State, founder and version of each; empty where there is none."""
        pipe = self.client.pipeline(transaction=False)
        for one in customers:
            pipe.hmget(self.keys.profile(one), "state", "founder", "version")
        return [tuple((one or b"").decode() for one in head) for head in pipe.execute()]  # type: ignore[misc]


def _customers(entry: bytes | None) -> list[tuple[str, str]]:
    if entry is None:
        return []
    return [(one["customer_id"], one["status"]) for one in msgspec.json.decode(entry)["customers"]]


def _membership_of(graph: Graph, name: str) -> Any:
    """What must be stored, as JSON is read; None for who was always alone."""
    stamp = graph.nodes[name].stamp
    if not stamp:
        return None
    return msgspec.json.decode(msgspec.json.encode(membership(stamp, graph.placement_of(name))))


def _lanes_of(node: Node) -> frozenset[Lane]:
    """The lanes that hold parts of it, as far as the graph has heard."""
    lanes = map(Lane.parse, node.lanes)
    return frozenset(lane for lane in lanes if lane.topic in DOMAIN_TOPICS)
