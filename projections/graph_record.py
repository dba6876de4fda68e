"""Take a fact into the nodes it names.

Invariants:
- What is recorded is a function of the set of facts, not of their order; one heard twice changes nothing.
- A fact of before an erasure leaves nothing but its log time and a keyed hash, whenever it is heard.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable

from models.bounds import EDGE_FACTS_MAX
from models.identifiers import namespace_of
from models.link import LinkFact
from models.rules import IdentityRules
from projections.graph_nodes import Edge, Node, Nodes, Pair, Spoken, Stated

Pseudonym = Callable[[str], str]


def record(fact: LinkFact, nodes: Nodes, rules: IdentityRules, pseudonym: Pseudonym) -> set[str]:
    """The names of the nodes that this fact has changed."""
    subject, other = fact.subject, fact.identifier
    node = nodes[subject]
    touched: set[str] = set()
    if not node.named:
        node.named = True
        touched.add(subject)
    if fact.command in ("link", "unlink"):
        if other is not None and other != subject:
            touched |= _spoken(fact, other, nodes)
    elif fact.command == "erased":
        touched |= _erased(fact, node, nodes, rules, pseudonym)
    else:
        touched |= _stated(fact, node, nodes, rules, pseudonym)
    spoken = fact.command in ("link", "unlink")
    # Who states the subject is moved by commands alone; and a browser more or less counts for nobody.
    if spoken and _share(subject, nodes, rules, pseudonym):
        touched.add(subject)
    counting = spoken or rules.counts(namespace_of(subject))
    if other is not None and counting and _share(other, nodes, rules, pseudonym):
        touched.add(other)
    return touched


def _stated(fact: LinkFact, node: Node, nodes: Nodes, rules: IdentityRules, pseudonym: Pseudonym) -> set[str]:
    """A lane saw the subject, or the subject stated an identifier; or a command verified one."""
    subject, other, touched = fact.subject, fact.identifier, set[str]()
    if fact.command is None:
        if node.first_us is None or fact.log_us < node.first_us:
            node.first_us = fact.log_us
            touched.add(subject)
        if fact.offset > node.lanes.get(fact.lane, -1):
            node.lanes[fact.lane] = fact.offset
            touched.add(subject)
    if other is None or other == subject:
        return touched
    if fact.offset <= node.voids.get(fact.lane, -1):
        return touched | _stub(subject, other, nodes, rules, pseudonym)
    told = Stated(fact.lane, fact.offset, fact.log_us, fact.verified or fact.command == "verify")
    edge = node.out.get(other)
    if edge is None:
        node.out[other] = Edge([told], told.log_us, told.verified)
        nodes[other].by[subject] = told.verified
        return touched | {subject, other}
    if told in edge.facts:
        return touched
    edge.facts.append(told)
    edge.facts.sort(key=_in_order)
    if len(edge.facts) > EDGE_FACTS_MAX:
        edge.facts = _thinned(edge.facts)
    return touched | _summed(edge, subject, other, nodes)


def _in_order(fact: Stated) -> tuple[str, int, int, bool]:
    return fact.lane, fact.offset, fact.log_us, fact.verified


def _thinned(facts: list[Stated]) -> list[Stated]:
    """The first and last of each lane, verified and not, and the earliest of all; of the others the first."""
    ends: dict[tuple[str, bool], tuple[Stated, Stated]] = {}
    for fact in facts:
        first, _ = ends.get((fact.lane, fact.verified), (fact, fact))
        ends[fact.lane, fact.verified] = first, fact
    kept = {id(fact) for pair in ends.values() for fact in pair}
    kept.add(id(min(facts, key=lambda fact: (fact.log_us, _in_order(fact)))))
    spare = max(0, EDGE_FACTS_MAX - len(kept))
    kept.update(id(fact) for fact in [one for one in facts if id(one) not in kept][:spare])
    return [fact for fact in facts if id(fact) in kept]


def _summed(edge: Edge, subject: str, other: str, nodes: Nodes) -> set[str]:
    """Sum the edge up again; its other end knows whether it is verified, too."""
    edge.summed()
    if nodes[other].by[subject] == edge.verified:
        return {subject}
    nodes[other].by[subject] = edge.verified
    return {subject, other}


def _spoken(fact: LinkFact, other: str, nodes: Nodes) -> set[str]:
    """A command on a pair; the latest of each kind of speaker counts."""
    spoken = Spoken(
        fact.offset, fact.log_us, fact.command == "link", fact.actor or "unknown", fact.reason or ""
    )
    touched = set[str]()
    for name, end in ((fact.subject, other), (other, fact.subject)):
        pair = nodes[name].pairs.setdefault(end, Pair())
        before = pair.program if fact.by_program else pair.person
        if before is not None and before.offset >= spoken.offset:
            continue
        if fact.by_program:
            pair.program = spoken
        else:
            pair.person = spoken
        touched.add(name)
    return touched


def _erased(fact: LinkFact, node: Node, nodes: Nodes, rules: IdentityRules, pseudonym: Pseudonym) -> set[str]:
    """The subject's facts of this lane up to this offset are void."""
    if fact.offset <= node.voids.get(fact.lane, -1):
        return set()
    node.voids[fact.lane] = fact.offset
    touched = {fact.subject}
    for other, edge in list(node.out.items()):
        kept = [one for one in edge.facts if one.lane != fact.lane or one.offset > fact.offset]
        if len(kept) == len(edge.facts):
            continue
        touched |= _stub(fact.subject, other, nodes, rules, pseudonym)
        touched.add(other)
        if kept:
            edge.facts = kept
            touched |= _summed(edge, fact.subject, other, nodes)
        else:
            del node.out[other]
            del nodes[other].by[fact.subject]
        _share(other, nodes, rules, pseudonym)
    return touched


def _stub(subject: str, other: str, nodes: Nodes, rules: IdentityRules, pseudonym: Pseudonym) -> set[str]:
    """An erased person goes on counting, as a keyed hash."""
    node = nodes[other]
    if not rules.counts(namespace_of(subject)) or (hashed := pseudonym(subject)) in node.stubs:
        return set()
    insort(node.stubs, hashed)
    return {other}


def statements(name: str, node: Node, rules: IdentityRules, pseudonym: Pseudonym) -> int:
    """How many people state an identifier, erased ones included."""
    people = {one for one in node.by if rules.counts(namespace_of(one)) and not node.unlinked(one)}
    if not node.stubs:
        return len(people)
    living = {pseudonym(one) for one in people}
    parted = {pseudonym(one) for one, pair in node.pairs.items() if pair.unlinked}
    return len(people) + len(set(node.stubs) - living - parted)


def _share(name: str, nodes: Nodes, rules: IdentityRules, pseudonym: Pseudonym) -> bool:
    """Count who states an identifier; whether that has made it shared, or shared no longer."""
    node = nodes[name]
    shared = statements(name, node, rules, pseudonym) > rules.shared_limit(namespace_of(name))
    flipped, node.shared = shared != node.shared, shared
    return flipped
