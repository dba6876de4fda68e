"""What the identity graph remembers of one node, and what it has made of it.

Invariants:
- A node's record is a function of the set of facts heard, whatever their order; `floor`, `stamp`, `founder`
  and `placement` are what the partition made of it last.
- Packed and unpacked, a node is the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol

import msgspec

# Strength classes: the greater is the stronger. Between them lie the strengths of the rules, 1 to 100.
PROGRAM = 0
UNVERIFIED = 100
VERIFIED = 300
HUMAN = 1_000


class Stated(msgspec.Struct, array_like=True, gc=False):
    """One fact of an edge, at its offset in a lane."""

    lane: str
    offset: int
    log_us: int
    verified: bool


class Edge(msgspec.Struct, array_like=True):
    """What a subject has stated of an identifier: the facts that no erasure voids, and their sum."""

    facts: list[Stated]
    seen_us: int
    verified: bool

    def summed(self) -> Edge:
        """The same with `seen_us` and `verified` made anew from the facts."""
        self.seen_us = min(fact.log_us for fact in self.facts)
        self.verified = any(fact.verified for fact in self.facts)
        return self


class Spoken(msgspec.Struct, array_like=True, gc=False):
    """A command on a pair."""

    offset: int
    log_us: int
    link: bool
    actor: str
    reason: str


class Pair(msgspec.Struct, array_like=True):
    """The latest command of a person and of a program on a pair of nodes."""

    person: Spoken | None = None
    program: Spoken | None = None

    @property
    def unlinked(self) -> bool:
        """A person has parted the two."""
        return self.person is not None and not self.person.link

    @property
    def human(self) -> Spoken | None:
        """The person's link that holds, if any."""
        return self.person if self.person is not None and self.person.link else None

    @property
    def programmed(self) -> Spoken | None:
        """The program's link that holds, if any: only where no person has spoken."""
        return (
            self.program if self.person is None and self.program is not None and self.program.link else None
        )


class Placement(msgspec.Struct, array_like=True, frozen=True):
    """One customer as readers see it.

    `statuses` has the identifiers of members that do not link, as `shared` or `rejected`; `related` the
    founders of possible matches, with what leads there.
    """

    founder: str
    members: tuple[str, ...]
    statuses: dict[str, str]
    related: tuple[tuple[str, str], ...]


def alone(name: str) -> Placement:
    """The placement of a subject of which the graph has nothing to say: what readers assume anyway."""
    return Placement(name, (name,), {}, ())


class Node(msgspec.Struct, array_like=True):
    """A subject or an identifier.

    `named`: some fact or command named it as its subject. `first_us`: least log time of all it ever stated.
    `lanes`: per lane, the greatest offset of its facts; `voids`: up to where they are void. `out`: what it
    states; `by`: who states it, and whether verified; `pairs`: commands, by other end; `stubs`: erased people
    who had stated it. `founder` is its customer's, None when it is in none; the founder's own node has the
    `placement`.
    """

    named: bool = False
    first_us: int | None = None
    lanes: dict[str, int] = {}
    voids: dict[str, int] = {}
    out: dict[str, Edge] = {}
    by: dict[str, bool] = {}
    pairs: dict[str, Pair] = {}
    stubs: list[str] = []
    shared: bool = False
    floor: int = PROGRAM
    stamp: int = 0
    founder: str | None = None
    placement: Placement | None = None
    indexed: int = 0

    @property
    def seen(self) -> bool:
        """Whether a lane holds facts of it that no erasure voids."""
        voids = self.voids
        return any(offset > voids.get(lane, -1) for lane, offset in self.lanes.items())

    def unlinked(self, other: str) -> bool:
        """Whether a person has parted it from this node."""
        pair = self.pairs.get(other)
        return pair is not None and pair.unlinked


class Nodes(Protocol):
    """Where nodes are held: by name, a fresh one for those never heard of."""

    def get_many(self, names: Iterable[str]) -> Mapping[str, Node]:
        """These nodes; what was given before is the same object, until its holder drops it."""

    def __getitem__(self, name: str) -> Node:
        """One node."""


class MemoryNodes(dict[str, Node]):
    """Nodes in memory, for bulk builds, dry runs and tests."""

    def __missing__(self, name: str) -> Node:
        node = self[name] = Node()
        return node

    def get_many(self, names: Iterable[str]) -> Mapping[str, Node]:
        """These nodes."""
        for name in names:
            self[name]
        return self


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Node)


def pack_node(node: Node) -> bytes:
    """The bytes for the store."""
    return _encoder.encode(node)


def unpack_node(packed: bytes | None) -> Node:
    """The node of stored bytes; a fresh one for None."""
    return Node() if packed is None else _decoder.decode(packed)
