"""Who was who at an earlier time: the identity graph's nodes, taken back to the facts logged by then.

Invariants:
- A node taken back is what all facts logged up to the instant make of it; partitioned by the same code, it
  gives the customers that a graph that had heard those facts alone would have.
- An edge keeps the log time of each of its facts, so it can be taken back by itself. Of commands on a pair a
  node keeps the last one: where there is one, all commands are read again, once.
- What an erasure has voided stays void at every time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from models.catalogue import COMMAND_TOPIC
from models.identifiers import namespace_of
from models.link import LinkFact
from models.rules import IdentityRules
from projections.graph import keyed_hash, without_employees
from projections.graph_nodes import PROGRAM, Edge, MemoryNodes, Node, Placement
from projections.graph_reach import Reach
from projections.graph_record import record, statements
from projections.placing import placements

# Of an identifier that many state, so many of them are read at a time: it is shared after a few.
STATING_AT_ONCE = 200
# Who stated something thousands of others state too is read one by one up to here; nobody waits for more.
STATING_MAX = 20_000

Read = Callable[[Sequence[str]], Mapping[str, Node]]


class TooManyStating(Exception):
    """An identifier is stated by so many that who did so at a time takes too long to find out."""


class PastNodes:
    """`projections.graph_nodes.Nodes` as of `at_us`, of nodes that `read` gives as they are now.

    `commands` gives the facts of all commands of persons and programs; it is called once, and only if needed.
    """

    def __init__(
        self,
        read: Read,
        commands: Callable[[], Iterable[LinkFact]],
        at_us: int,
        rules: IdentityRules,
        pseudonym: Callable[[str], str] = keyed_hash,
    ) -> None:
        self._read, self._commands, self.at_us = read, commands, at_us
        self.rules, self.pseudonym = rules, pseudonym
        self._now: dict[str, Node] = {}
        self._past: dict[str, Node] = {}
        self._spoken: MemoryNodes | None = None

    def __getitem__(self, name: str) -> Node:
        """One node."""
        return self.get_many([name])[name]

    def get_many(self, names: Iterable[str]) -> Mapping[str, Node]:
        """These nodes."""
        missing = [name for name in names if name not in self._past]
        if missing:
            self._load(missing)
            few = (self._now[name].by for name in missing if len(self._now[name].by) <= STATING_AT_ONCE)
            self._load([one for by in few for one in by])
            for name in missing:
                self._past[name] = self._taken_back(name)
        return self._past

    def now(self, names: Sequence[str]) -> Mapping[str, Node]:
        """These nodes as they are now; a fresh one for those never heard of."""
        self._load(names)
        return self._now

    def _load(self, names: Iterable[str]) -> None:
        wanted = [name for name in dict.fromkeys(names) if name not in self._now]
        if wanted:
            found = self._read(wanted)
            self._now.update((name, found.get(name) or Node()) for name in wanted)

    def _taken_back(self, name: str) -> Node:
        now = self._now[name]
        seen = now.first_us is not None and now.first_us <= self.at_us
        spoken = self._said_of(name, now, seen=seen)
        node = Node(
            named=seen or (spoken is not None and spoken.named),
            first_us=now.first_us if seen else None,
            lanes=now.lanes if seen else {},
            voids=now.voids,
            out={other: edge for other, held in now.out.items() if (edge := self._edge(held)) is not None},
            pairs={} if spoken is None else spoken.pairs,
            stubs=now.stubs,
            floor=PROGRAM,
        )
        limit = self.rules.shared_limit(namespace_of(name))
        for some in self._stating(name, now):
            for one in some:
                edge = self._edge(self._now[one].out.get(name))
                if edge is not None:
                    node.by[one] = edge.verified
            node.shared = statements(name, node, self.rules, self.pseudonym) > limit
            if node.shared:
                # Nobody asks further who states what links nobody.
                break
        return node

    def _stating(self, name: str, now: Node) -> Iterator[Sequence[str]]:
        """Those who state an identifier now, the first to do so first, in portions; at least one."""
        stating = list(now.by)
        for at in range(0, max(len(stating), 1), STATING_AT_ONCE):
            if at >= STATING_MAX:
                raise TooManyStating(f"{len(stating):,} subjects state {namespace_of(name)}:…")
            some = stating[at : at + STATING_AT_ONCE]
            self._load(some)
            yield some

    def _edge(self, held: Edge | None) -> Edge | None:
        """What was stated by then; None: nothing."""
        facts = [] if held is None else [fact for fact in held.facts if fact.log_us <= self.at_us]
        return Edge(facts, 0, verified=False).summed() if facts else None

    def _said_of(self, name: str, now: Node, *, seen: bool) -> Node | None:
        """What commands had said of a node by then; None: nothing."""
        verified = (fact for edge in now.out.values() for fact in edge.facts)
        named = (
            not seen
            and now.named
            and (
                now.first_us is None
                or any(fact.lane.startswith(COMMAND_TOPIC) for fact in verified)
                # A command that links a name with itself leaves nothing but that it named it, which decides
                # only of a type that the rules do not declare.
                or not self.rules.declares(namespace_of(name))
            )
        )
        if not now.pairs and not named:
            return None
        if self._spoken is None:
            self._spoken = MemoryNodes()
            for fact in self._commands():
                heard = without_employees(fact)
                if heard is not None and heard.command is not None and heard.log_us <= self.at_us:
                    record(heard, self._spoken, self.rules, self.pseudonym)
        return self._spoken.get(name)


def placement_at(subject: str, nodes: PastNodes) -> Placement | None:
    """The customer that a subject was in; None when it was in none yet."""
    reach = Reach(nodes.rules, nodes)
    names, floor = reach.component(subject)
    placed, founders = placements(names, floor, reach)
    founder = founders[subject]
    placement = None if founder is None else placed[founder]
    return placement if placement is not None and subject in placement.members else None
