"""What a fact has changed for readers: whom to assemble and index anew, which customers merged or split.

Invariants:
- `stamped` are exactly the subjects whose placement changed; `reindex` covers every node whose entry did.
- A turn names all customers that gave or took members, before and after, and the edges that are the reason.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from models.bounds import EVIDENCE_MAX
from models.link import LinkFact
from models.merge import EdgeStatus, EdgeStrength, Evidence, Group, Kind, Turn
from projections.graph_nodes import Nodes, Placement


class Change(NamedTuple):
    """All that readers see of one fact: `cause` is the rule that did it, `log_us` when it was logged."""

    position: int
    log_us: int
    cause: str
    stamped: frozenset[str]
    reindex: frozenset[str]
    turns: tuple[Turn, ...]


class Moves:
    """Per node of a region, what it was and is: its set's founder, and its placement if it is a subject.

    `stamped` are those whose placement is another now; `restated` the identifiers of which they say something
    else. Members share a placement: each pair of them is compared once, however many members there are.
    """

    def __init__(self) -> None:
        self.founders: dict[str, tuple[str | None, str | None]] = {}
        self.placements: dict[str, tuple[Placement | None, Placement | None]] = {}
        self.stamped: dict[str, None] = {}
        self.restated: set[str] = set()
        self._differ: dict[tuple[int, int], bool] = {}

    def note(self, name: str, was: Placement | None, now: Placement | None) -> None:
        """This node was placed so, and is now. Each placement must stay the same object meanwhile."""
        self.placements[name] = was, now
        pair = id(was), id(now)
        differ = self._differ.get(pair)
        if differ is None:
            differ = self._differ[pair] = was != now
            if differ:
                self.restated |= _restated(was, now)
        if differ:
            self.stamped[name] = None


def told(
    nodes: Nodes, fact: LinkFact, position: int, moves: Moves, touched: set[str], *, flipped: bool
) -> Change | None:
    """What readers see of a fact, if anything new. `flipped`: its identifier is shared now, or no longer."""
    stamped = frozenset(moves.stamped)
    reindex = {name for name, (was, now) in moves.founders.items() if was != now}
    for name in list(reindex):
        reindex.update(nodes[name].out, nodes[name].pairs)
    reindex |= moves.restated
    # An edge begins or ceases to lead somewhere only when its other end notes it, too.
    if touched != {fact.subject}:
        reindex |= touched
    if not stamped and not reindex:
        return None
    cause = _cause(fact, nodes, flipped=flipped)
    turns = tuple(_turns(nodes, fact, moves, stamped))
    return Change(position, fact.log_us, cause, stamped, frozenset(reindex), turns)


def _restated(was: Placement | None, now: Placement | None) -> set[str]:
    before = {} if was is None else was.statuses
    after = {} if now is None else now.statuses
    return {name for name, _ in before.items() ^ after.items()}


def _cause(fact: LinkFact, nodes: Nodes, *, flipped: bool) -> str:
    if fact.command == "erased":
        return "erased"
    if fact.command in ("link", "unlink"):
        return f"{fact.command}ed_by_{'program' if fact.by_program else 'person'}"
    other = fact.identifier
    if other is None:
        return "subject_seen"
    if nodes[other].shared:
        return "became_shared" if flipped else "shared"
    return "verified" if fact.verified or fact.command == "verify" else "stated"


def _turns(nodes: Nodes, fact: LinkFact, moves: Moves, stamped: Iterable[str]) -> Iterator[Turn]:
    before: dict[str, Placement] = {}
    after: dict[str, Placement] = {}
    for name in stamped:
        was, now = moves.placements[name]
        if was is not None:
            before[was.founder] = was
        if now is not None:
            after[now.founder] = now
    for old, new in _overlapping(before, after):
        kind = _kind(old, new)
        if kind is not None:
            yield Turn(kind, _groups(old), _groups(new), _evidence(nodes, fact, moves, (*old, *new)))


def _groups(placements: Iterable[Placement]) -> tuple[Group, ...]:
    return tuple(sorted(Group(one.founder, one.members) for one in placements))


def _overlapping(
    before: dict[str, Placement], after: dict[str, Placement]
) -> Iterator[tuple[list[Placement], list[Placement]]]:
    """Customers of before and after that have members in common, together."""
    of_member = {name: one for one in after.values() for name in one.members}
    from_member = {name: one for one in before.values() for name in one.members}
    left = dict(sorted(before.items()))
    while left:
        waiting = [left.pop(next(iter(left)))]
        old, new = [], dict[str, Placement]()
        while waiting:
            one = waiting.pop()
            old.append(one)
            for name in one.members:
                now = of_member.get(name)
                if now is None or now.founder in new:
                    continue
                new[now.founder] = now
                for other in now.members:
                    was = from_member.get(other)
                    if was is not None and was.founder in left:
                        waiting.append(left.pop(was.founder))
        yield old, list(new.values())


def _kind(old: list[Placement], new: list[Placement]) -> Kind | None:
    """None: nobody's company changed, but for those who were in no customer before or are in none now."""
    if len(old) > 1:
        return "merged" if len(new) == 1 else "regrouped" if new else None
    if len(new) > 1:
        return "split"
    return "refounded" if new and old[0].founder != new[0].founder else None


def _evidence(
    nodes: Nodes, fact: LinkFact, moves: Moves, placements: Iterable[Placement]
) -> tuple[Evidence, ...]:
    """The edges that join what was apart, or no longer join what was together; the fact's own first."""
    found: dict[tuple[str, str], Evidence] = {}
    members = sorted({name for one in placements for name in one.members})
    for name in sorted(members, key=lambda one: one != fact.subject):
        node = nodes[name]
        for other in sorted({*node.out, *node.pairs}, key=lambda one: (one != fact.identifier, one)):
            was, now = moves.founders.get(name, (None, None)), moves.founders.get(other, (None, None))
            own = (name, other) == (fact.subject, fact.identifier)
            if (own or (was[0] == now[0]) != (was[1] == now[1])) and (other, name) not in found:
                found[name, other] = evidence(nodes, name, other)
                if len(found) == EVIDENCE_MAX:
                    return tuple(found.values())
    return tuple(found.values())


def evidence(nodes: Nodes, name: str, other: str) -> Evidence:
    """The edge between two nodes, of which `name` states `other` or a command names both."""
    node, end = nodes[name], nodes[other]
    edge, pair = node.out.get(other), node.pairs.get(other)
    spoken = None if pair is None else pair.person or (pair.programmed if edge is None else None)
    if spoken is None and pair is not None and edge is None:
        spoken = pair.program
    seen_us = spoken.log_us if spoken is not None else edge.seen_us if edge is not None else 0
    status: EdgeStatus = "rejected"
    if pair is not None and pair.unlinked:
        status = "unlinked"
    elif node.founder is not None and node.founder == end.founder:
        status = "linking"
    elif end.shared:
        status = "shared"
    strength: EdgeStrength = "stated"
    if pair is not None and pair.person is not None:
        strength = "person"
    elif edge is None:
        strength = "program"
    elif edge.verified:
        strength = "verified"
    if spoken is None:
        return Evidence(name, other, status, strength, seen_us)
    return Evidence(name, other, status, strength, seen_us, spoken.actor, spoken.reason)
