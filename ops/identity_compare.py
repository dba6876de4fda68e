"""What becomes of customers when one graph is replaced by another: who merges, splits, exchanges members.

Guarantees:
- Pure: a function of two graphs of the same facts, whatever the order of either.
- Every subject that some event was about is counted; those that were only named by others are not.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Literal, NamedTuple

import msgspec

from models.identifiers import customer_id, namespace_of
from models.link import LinkFact
from models.merge import EdgeStatus, EdgeStrength
from models.rules import IdentityRules
from projections.graph import Graph
from projections.graph_changes import evidence
from projections.graph_nodes import MemoryNodes

# Edges that say why; the first of them tell a person enough.
EDGES_TOLD = 10
# Members of a customer that are named; the figures count all.
MEMBERS_TOLD = 20

Kind = Literal["merged", "split", "exchanged", "renamed"]
Customers = Mapping[str, frozenset[str]]


class Standing(msgspec.Struct, frozen=True):
    """A customer under one of the two rules; of `members` at most `MEMBERS_TOLD` are named."""

    customer_id: str
    founder: str
    size: int
    members: list[str]


class EdgeTurn(msgspec.Struct, frozen=True):
    """An edge whose status is another under the new rules; `absent`: the value is none any more."""

    subject: str
    other: str
    before: EdgeStatus
    after: EdgeStatus | Literal["absent"]
    strength: EdgeStrength


class Difference(msgspec.Struct, frozen=True):
    """Customers that have members in common, before and after. `moved`: subjects that change company."""

    kind: Kind
    moved: int
    before: list[Standing]
    after: list[Standing]
    edges: list[EdgeTurn]


class Overlap(NamedTuple):
    """Founders of customers that have members in common."""

    before: list[str]
    after: list[str]


def under(fact: LinkFact, rules: IdentityRules) -> LinkFact | None:
    """The fact with its identifier as these rules normalise it, or without it when they block it.

    None for a command on a blocked value: workers forward none.
    """
    if fact.identifier is None or fact.command == "erased":
        return fact
    name = name_under(fact.identifier, fact.subject, rules)
    if name is None and fact.command is not None:
        return None
    return fact if name == fact.identifier else msgspec.structs.replace(fact, identifier=name)


def name_under(name: str, subject: str, rules: IdentityRules) -> str | None:
    """An identifier that this subject stated, as these rules name it; None when they block it."""
    kind, _, value = name.partition(":")
    if rules.declares(kind):
        return name
    normal = rules.normalise(kind, value, namespace_of(subject))
    return None if normal is None else f"{kind}:{normal}"


def customers(graph: Graph) -> dict[str, frozenset[str]]:
    """The customers of a graph in memory, by founder: their members that events were about."""
    assert isinstance(graph.nodes, MemoryNodes)
    return {
        name: frozenset(one for one in node.placement.members if graph.nodes[one].seen)
        for name, node in graph.nodes.items()
        if node.placement is not None
    }


def overlaps(before: Customers, after: Customers) -> Iterator[Overlap]:
    """All customers, those together that have members in common."""
    now = {member: founder for founder, members in after.items() for member in members}
    was = {member: founder for founder, members in before.items() for member in members}
    left = dict.fromkeys(sorted(before))
    while left:
        first = next(iter(left))
        del left[first]
        old, new, waiting = [first], dict[str, None](), [first]
        while waiting:
            for member in before[waiting.pop()]:
                founder = now.get(member)
                if founder is None or founder in new:
                    continue
                new[founder] = None
                for other in after[founder]:
                    earlier = was.get(other)
                    if earlier is not None and earlier in left:
                        del left[earlier]
                        old.append(earlier)
                        waiting.append(earlier)
        yield Overlap(sorted(old), sorted(new))


def kind_of(overlap: Overlap) -> Kind | None:
    """What becomes of these customers; None for nothing."""
    match len(overlap.before), len(overlap.after):
        case 1, 1:
            return "renamed" if overlap.before != overlap.after else None
        case _, 1:
            return "merged"
        case 1, more if more > 1:
            return "split"
        case _:
            return "exchanged"


def moved(overlap: Overlap, before: Customers, after: Customers) -> int:
    """How many subjects leave the company that most of their customer stays in."""
    pieces = sorted(
        (-len(before[old] & after[new]), old, new) for old in overlap.before for new in overlap.after
    )
    kept, olds, news = 0, set[str](), set[str]()
    for size, old, new in pieces:
        if size and old not in olds and new not in news:
            olds.add(old)
            news.add(new)
            kept -= size
    return sum(len(before[old]) for old in overlap.before) - kept


def differences(before: Customers, after: Customers) -> Iterator[tuple[Kind, int, Overlap]]:
    """Every difference with how many subjects it moves, in the order of the founders."""
    for overlap in overlaps(before, after):
        kind = kind_of(overlap)
        if kind is not None:
            yield kind, moved(overlap, before, after), overlap


def explained(
    difference: tuple[Kind, int, Overlap], current: Graph, new: Graph, before: Customers, after: Customers
) -> Difference:
    """A difference with its customers named, and the edges that are the reason."""
    kind, subjects, overlap = difference
    members = sorted({member for founder in overlap.before for member in before[founder]})
    return Difference(
        kind,
        subjects,
        [_standing(founder, before[founder]) for founder in overlap.before],
        [_standing(founder, after[founder]) for founder in overlap.after],
        _turns(members, current, new),
    )


def _standing(founder: str, members: Iterable[str]) -> Standing:
    named = sorted(members)
    return Standing(customer_id(founder), founder, len(named), named[:MEMBERS_TOLD])


def _turns(members: Iterable[str], current: Graph, new: Graph) -> list[EdgeTurn]:
    """Edges of these subjects that have another status under the new rules; the strongest first."""
    found: dict[tuple[str, str], EdgeTurn] = {}
    for name in members:
        node = current.nodes[name]
        for other in sorted({*node.out, *node.pairs}):
            if (other, name) in found:
                continue
            was = evidence(current.nodes, name, other)
            there, then = new.nodes[name], name_under(other, name, new.rules)
            absent = then is None or (then not in there.out and then not in there.pairs)
            status = "absent" if then is None or absent else evidence(new.nodes, name, then).status
            if status != was.status:
                found[name, other] = EdgeTurn(name, other, was.status, status, was.strength)
    order = {"person": 0, "verified": 1, "stated": 2, "program": 3}
    # What makes or breaks a link says more than what was idle before and after.
    ranked = sorted(
        found.values(),
        key=lambda one: (
            "linking" not in (one.before, one.after),
            order[one.strength],
            one.subject,
            one.other,
        ),
    )
    return ranked[:EDGES_TOLD]
