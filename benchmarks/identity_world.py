"""Events in, customers out, in this process: the worker's own folding and the identity graph, no servers.

Guarantees:
- Decoding, folding, assembling and the graph are the code that workers run; only the log and the store are
  missing. Facts reach the graph one by one, as they would from the link log.
- A record that is no event, or states something that is dropped, is an error: no figure hides it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from benchmarks.identity_data import BEGIN, Sent
from models.dead_letter import Fault
from models.link import LinkFact
from models.record import Lane
from models.rules import IdentityRules
from ops.customer_records import record_of
from ops.suggesting import Traits
from projections.folding import Projection
from projections.forwarding import fact_of
from projections.graph import Graph
from projections.graph_nodes import MemoryNodes, Node, Placement, pack_node, unpack_node
from projections.parts import Part
from projections.reducers import Configuration
from streams.folder import Folder, decode, prefixes

BEGIN_MS = int(BEGIN.timestamp() * 1_000)
COMMANDS = Lane("identity.commands", 0)


class Consumed(NamedTuple):
    """A record as the worker's client hands it over."""

    offset: int
    timestamp: int
    key: bytes
    value: bytes
    headers: Sequence[tuple[str, bytes]] = ()


class World:
    """All that was written so far, folded and placed."""

    def __init__(self, rules: IdentityRules) -> None:
        self.rules = rules
        self.graph = Graph(rules, MemoryNodes())
        # The link log: the position of a fact is its place here, from 1.
        self.facts: list[LinkFact] = []
        self.parts: dict[str, dict[Lane, Part]] = defaultdict(dict)
        self._folder = Folder(Projection(Configuration(rules=rules)))
        self._next: dict[Lane, int] = defaultdict(int)

    def write(self, records: Iterable[Sent]) -> None:
        """Fold these events, one lane a topic, and let the graph hear what they state."""
        by_topic: dict[str, list[Sent]] = defaultdict(list)
        for record in records:
            by_topic[record.topic].append(record)
        for topic, sent in by_topic.items():
            lane = Lane(topic, 0)
            consumed = self._consumed(lane, sent)
            changed: dict[str, Part] = {}
            for prefix in prefixes(consumed, None, self._next[lane]):
                folded = self._folder.fold(lane, prefix, {}, changed)
                if folded.dead_letters:
                    raise ValueError(f"not an event: {folded.dead_letters[0]}")
                self._hear(folded.facts)
            for subject, part in changed.items():
                self.parts[subject][lane] = part

    def command(self, records: Iterable[Sent]) -> list[LinkFact]:
        """Forward these commands as the commands' lane does; gives the facts they became."""
        facts = []
        for record in self._consumed(COMMANDS, list(records)):
            event = decode(COMMANDS.topic, record)
            fact = (
                None if isinstance(event, Fault) else fact_of(event, str(COMMANDS), record.offset, self.rules)
            )
            if fact is None:
                raise ValueError(f"not a command: {event}")
            facts.append(fact)
        self._hear(facts)
        return facts

    def _consumed(self, lane: Lane, sent: Sequence[Sent]) -> list[Consumed]:
        start = self._next[lane]
        self._next[lane] += len(sent)
        return [
            Consumed(start + number, BEGIN_MS + 1_000 * (start + number), one.key, one.value)
            for number, one in enumerate(sent)
        ]

    def _hear(self, facts: Iterable[LinkFact]) -> None:
        for fact in facts:
            self.facts.append(fact)
            self.graph.apply(fact, len(self.facts))

    def customers(self) -> dict[str, str]:
        """Per subject: the founder of its customer."""
        return {
            subject: placement.founder
            for subject in self.parts
            if (placement := self.graph.placement_of(subject)) is not None
        }

    def traits(self) -> list[Traits]:
        """What each subject's own parts say of the person, and which customer it is of."""
        return [
            record_of(subject, list(self.parts[subject].items()), founder)
            for subject, founder in self.customers().items()
        ]


class _Aside(MemoryNodes):
    """Nodes to try something on: copies of others, made when they are asked for."""

    def __init__(self, others: Mapping[str, Node]) -> None:
        super().__init__()
        self._others = others

    def __missing__(self, name: str) -> Node:
        held = self._others.get(name)
        node = self[name] = Node() if held is None else unpack_node(pack_node(held))
        return node


def undone(world: World, links: Sequence[LinkFact]) -> int:
    """How many of these links one `unlink` of a person takes back: customers are as if it never was.

    Each is tried alone, with all others standing, and compared with a graph that has heard everything about
    the same subjects but this link.
    """
    about: dict[str, list[tuple[int, LinkFact]]] = defaultdict(list)
    for position, fact in enumerate(world.facts, 1):
        about[fact.subject].append((position, fact))
    count = 0
    for link in links:
        other = link.identifier or ""
        members = _members(world.graph, link.subject)
        tried = Graph(world.rules, _Aside(world.graph.nodes))  # type: ignore[arg-type]
        position = len(world.facts) + 1
        tried.apply(
            LinkFact(
                link.subject, str(COMMANDS), position, BEGIN_MS * 1_000, other,
                command="unlink", actor="E-7", reason="not the same person",
            ),
            position,
        )  # fmt: skip
        without = Graph(world.rules, MemoryNodes())
        for at, fact in sorted((one for name in members for one in about[name]), key=lambda one: one[0]):
            if fact is not link:
                without.apply(fact, at)
        count += _placed(tried, members) == _placed(without, members)
    return count


def _members(graph: Graph, subject: str) -> tuple[str, ...]:
    placement = graph.placement_of(subject)
    return () if placement is None else placement.members


def _placed(graph: Graph, subjects: Iterable[str]) -> dict[str, Placement | None]:
    return {subject: graph.placement_of(subject) for subject in subjects}
