"""Who belongs together inside one component: the strongest edges first, none that would break a rule.

Invariants:
- Pure: a function of the nodes, the edges, the limits and the cannot-links; their order changes nothing.
- An edge that does not join two sets changes nothing; what it would have joined stays a possible match.

docs/decisions/0009 has the rules to the letter; this is Kruskal's algorithm (1956) with constraints.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

from projections.graph_nodes import HUMAN


class RawEdge(NamedTuple):
    """An edge as it is taken: the least first.

    `weakness` is the negative strength class; `latest` the negative offset of a person's link, 0 of others.
    """

    weakness: int
    latest: int
    seen_us: int
    subject: str
    other: str
    via: str

    @property
    def is_human(self) -> bool:
        """Whether a person said so."""
        return self.weakness == -HUMAN


# What a node counts as, and how many of those a customer may have: ("crm", 1). None: no limit.
Limit = tuple[str, int] | None
# Per subject: the subjects that it must not be joined with, and the offset of the command that said so.
CannotLinks = Mapping[str, Mapping[str, int]]


class _Sets:
    """Disjoint sets that know what each holds."""

    def __init__(self, limits: Mapping[str, Limit], cannot: CannotLinks) -> None:
        self.parent = {name: name for name in limits}
        self.size = dict.fromkeys(limits, 1)
        self.cannot = cannot
        self.parted: dict[str, list[str]] = {name: [name] for name in cannot}
        self.most: dict[str, int] = {}
        self.counts: dict[str, dict[str, int]] = {}
        for name, limit in limits.items():
            if limit is not None:
                kind, most = limit
                self.most[kind] = most
                self.counts[name] = {kind: 1}

    def root(self, name: str) -> str:
        """The name that stands for the set of this one."""
        parent = self.parent
        while (above := parent[name]) != name:
            parent[name] = name = parent[above]
        return name

    def may_join(self, a: str, b: str, edge: RawEdge) -> bool:
        """Whether this edge may join the sets of roots `a` and `b`."""
        human = edge.is_human
        if not human and not self._within_limits(a, b):
            return False
        fewer, more = (a, b) if len(self.parted.get(a, ())) <= len(self.parted.get(b, ())) else (b, a)
        for name in self.parted.get(fewer, ()):
            for other, offset in self.cannot[name].items():
                # Among persons' decisions the latest wins.
                if self.root(other) == more and (not human or offset > -edge.latest):
                    return False
        return True

    def _within_limits(self, a: str, b: str) -> bool:
        mine, theirs = self.counts.get(a), self.counts.get(b)
        if not mine or not theirs:
            return True
        return all(count + theirs.get(kind, -count) <= self.most[kind] for kind, count in mine.items())

    def join(self, a: str, b: str) -> None:
        """Make one set of the sets of roots `a` and `b`."""
        if self.size[a] < self.size[b]:
            a, b = b, a
        self.parent[b] = a
        self.size[a] += self.size[b]
        if b in self.parted:
            self.parted.setdefault(a, []).extend(self.parted.pop(b))
        if b in self.counts:
            mine = self.counts.setdefault(a, {})
            for kind, count in self.counts.pop(b).items():
                mine[kind] = mine.get(kind, 0) + count


def partition(
    limits: Mapping[str, Limit], edges: Collection[RawEdge], cannot: CannotLinks
) -> dict[str, list[str]]:
    """The sets of one connected component, each under one of its names; `limits` names all of its nodes."""
    sets = _Sets(limits, cannot)
    parent = sets.parent
    # Plain tuples are what Python sorts fastest.
    for edge in sorted(edges, key=tuple):
        if parent[edge.subject] == parent[edge.other]:
            continue
        a, b = sets.root(edge.subject), sets.root(edge.other)
        if a != b and sets.may_join(a, b, edge):
            sets.join(a, b)
    grouped: dict[str, list[str]] = {}
    for name in limits:
        grouped.setdefault(sets.root(name), []).append(name)
    return grouped


def fits(limits: Iterable[Limit]) -> bool:
    """Whether one customer may have all of these: if no two are parted, every edge among them joins."""
    counts: dict[str, int] = {}
    for limit in limits:
        if limit is not None:
            kind, most = limit
            counts[kind] = count = counts.get(kind, 0) + 1
            if count > most:
                return False
    return True
