"""Browsers that all state the same things: few nodes and many edges cost no more than `component_max` allows.

Guarantees:
- With the bound of edges drawn tight, one by one, in any order and at once still ends as the reference does.
- What one fact looks at is bounded in nodes and in edges, however much hangs together.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from models.link import LinkFact
from models.rules import IdentifierRule, IdentityRules, SubjectRule
from projections import graph_reach
from projections.graph import Graph, build
from projections.graph_nodes import MemoryNodes, Node
from tests import graph_oracle
from tests.graph_oracle_histories import COMMANDS_LANE, FEW_OTHERS, FEW_SUBJECTS, History, histories, rules
from tests.test_graph import QUICK, heard, seen_in, walk, wanted

KINDS = ("email", "phone", "card", "token")
FACTORS = (1, 2)


def dense(longest: int = 30) -> SearchStrategy[History]:
    """Few names, of which most state most, under rules that leave them few edges."""
    return histories(longest, rules(components=(3, 4, 5, 6, 8)), FEW_SUBJECTS, FEW_OTHERS)


@contextmanager
def edges_per_node(factor: int) -> Iterator[None]:
    """With so many raw edges for each node that a component may have, the reference's as well."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(graph_reach, "EDGES_PER_NODE", factor)
        patch.setattr(graph_oracle, "EDGES_PER_NODE", factor)
        yield


@settings(QUICK, max_examples=90)
@given(dense(), st.sampled_from(FACTORS))
def test_too_many_edges_part_after_every_fact_as_the_reference_says(history: History, factor: int) -> None:
    with edges_per_node(factor):
        walk(history)


@settings(QUICK, max_examples=80)
@given(dense(), st.sampled_from(FACTORS), st.data())
def test_too_many_edges_part_in_any_order_and_at_once(
    history: History, factor: int, data: st.DataObject
) -> None:
    facts = data.draw(st.permutations(history.facts))
    with edges_per_node(factor):
        view = wanted(facts, history.rules)
        assert seen_in(heard(facts, history.rules)) == view
        assert seen_in(build(list(enumerate(facts, 1)), history.rules)) == view


@pytest.mark.campaign
@settings(QUICK, max_examples=10_000)
@given(dense(longest=60), st.sampled_from(FACTORS))
def test_long_dense_histories_after_every_fact(history: History, factor: int) -> None:
    with edges_per_node(factor):
        walk(history)


def tangle(seed: int) -> History:
    """Forty facts of four browsers and a person on four identifiers: most state most, little is forbidden."""
    random = Random(seed)
    facts: list[LinkFact] = []
    for number in range(40):
        subject = random.choice(("web:1", "web:2", "pos:1", "pos:2", "crm:1"))
        other = random.choice(("email:a", "email:b", "phone:1", "card:1"))
        kind = random.random()
        if kind < 0.8:
            sure = random.random() < 0.2
            facts.append(LinkFact(subject, "l-0", number, random.randrange(9), other, verified=sure))
        elif kind < 0.87:
            facts.append(LinkFact(subject, "l-0", random.randrange(40), 1, command="erased"))
        else:
            decided: Any = random.choice(("link", "unlink", "verify"))
            actor = random.choice(("clerk", "matcher/splink"))
            facts.append(LinkFact(subject, COMMANDS_LANE, number, 9, other, command=decided, actor=actor))
    loose = SubjectRule(strength=25, person=False)
    subjects = {"crm": SubjectRule(), "web": loose, "pos": loose}
    most = random.choice((5, 6, 8))
    return History(IdentityRules(component_max=most, shared_above=3, subjects=subjects), facts)


@pytest.mark.parametrize("factor", FACTORS)
def test_a_tangle_parts_and_joins_as_the_reference_says(factor: int) -> None:
    with edges_per_node(factor):
        for seed in range(25):
            history = tangle(seed)
            walk(history)
            view = wanted(history.facts, history.rules)
            shuffled = Random(seed).sample(history.facts, len(history.facts))
            assert seen_in(heard(shuffled, history.rules)) == view
            assert seen_in(build(list(enumerate(shuffled, 1)), history.rules)) == view


def said(browsers: Iterable[int], things: int, number: int = 0) -> list[LinkFact]:
    """Each of these browsers states each of so many things, of several kinds in turn."""
    told: list[LinkFact] = []
    for browser in browsers:
        for thing in range(things):
            name = f"{KINDS[thing % len(KINDS)]}:{thing}"
            told.append(LinkFact(f"web:{browser}", "l-0", number + len(told), number + len(told), name))
    return told


def test_a_component_may_have_eight_edges_a_node_and_not_one_more() -> None:
    alike = {kind: IdentifierRule(strength=50) for kind in KINDS}
    rules = IdentityRules(component_max=34, identifiers=alike)
    facts = said(range(17), 16)
    assert len(facts) == 8 * rules.component_max
    one_more = LinkFact("web:0", "l-0", 900, 900, "email:more")
    parted = LinkFact("web:0", "identity.commands-0", 0, 901, "email:more", command="unlink", actor="clerk")
    everybody = tuple(sorted(f"web:{number}" for number in range(17)))
    graph = heard(facts, rules)
    for fact, members in ((None, everybody), (one_more, ("web:0",)), (parted, everybody)):
        if fact is not None:
            facts.append(fact)
            graph.apply(fact, len(facts))
        placed = graph.placement_of("web:0")
        assert placed is not None and placed.members == members
    names = sorted({fact.subject for fact in facts} | {str(fact.identifier) for fact in facts})
    assert seen_in(graph, names) == wanted(facts, rules, names)


class Walked(dict[str, object]):
    """The edges of a node, counting each that is looked at one by one."""

    walked = 0

    def __iter__(self) -> Iterator[str]:
        for name in super().__iter__():
            Walked.walked += 1
            yield name

    def keys(self) -> Any:
        """All of them."""
        Walked.walked += len(self)
        return super().keys()

    def items(self) -> Any:
        """All of them."""
        Walked.walked += len(self)
        return super().items()


class WalkedNodes(MemoryNodes):
    """Nodes in memory that remember which of them were asked for, and count what is read of their edges."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: set[str] = set()

    def __missing__(self, name: str) -> Node:
        node = self[name] = Node(out=Walked(), by=Walked(), pairs=Walked())  # type: ignore[arg-type]
        return node

    def __getitem__(self, name: str) -> Node:
        self.asked.add(name)
        return super().__getitem__(name)

    def get_many(self, names: Iterable[str]) -> WalkedNodes:
        for name in names:
            self[name]
        return self


def crowd(people: int, things: int) -> list[LinkFact]:
    """Two persons, and browsers that all state the same, in any order."""
    facts = said(range(people), things)
    Random(people).shuffle(facts)
    persons = [LinkFact("crm:1", "l-1", 0, 5, "email:0"), LinkFact("crm:2", "l-1", 1, 6, "phone:1")]
    return [*persons, *facts]


@pytest.mark.parametrize(
    "people, things, component_max", [(60, 4, 16), (300, 40, 16), (60, 40, 128), (300, 4, 64)]
)
def test_a_fact_looks_at_no_more_nodes_and_edges_however_many_say_the_same(
    people: int, things: int, component_max: int
) -> None:
    """But for the facts of persons, with which those who state an identifier are counted anew."""
    strengths = dict(zip(KINDS, (70, 50, 60, 20), strict=True))
    kinds = {kind: IdentifierRule(strength=strength) for kind, strength in strengths.items()}
    rules = IdentityRules(component_max=component_max, identifiers=kinds)
    with edges_per_node(2):
        graph = Graph(rules, nodes := WalkedNodes())
    asked, walked = [], []
    for position, fact in enumerate(crowd(people, things), 1):
        nodes.asked.clear()
        Walked.walked = 0
        graph.apply(fact, position)
        asked.append(len(nodes.asked))
        walked.append(Walked.walked)
    assert max(asked) <= 3 * (component_max + 1) + 12
    # Of a component that comes apart every node is searched anew, at each of some strengths.
    edges_max = 2 * component_max
    assert max(walked) <= 40 * edges_max
    assert sorted(walked)[-len(walked) // 50] <= 10 * edges_max
