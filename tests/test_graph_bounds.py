"""What the graph remembers of one edge is bounded, and still says what all of its facts say."""

from __future__ import annotations

import random

import msgspec

from models.bounds import EDGE_FACTS_MAX, STATUSES_MAX
from models.link import LinkFact
from models.rules import IdentityRules
from projections.graph import Graph
from projections.graph_nodes import Edge, MemoryNodes, Node, pack_node, unpack_node
from tests.graph_oracle import Reference


def restated(offsets: list[int]) -> Edge:
    """An email that crm:1 states at each of these offsets of two lanes; the 3rd of each 7 is verified."""
    graph = Graph(IdentityRules(), MemoryNodes())
    for offset in offsets:
        log_us = 5_000 if offset == 250 else 10_000 + offset
        fact = LinkFact("crm:1", f"sales.events-{offset % 2}", offset, log_us, "email:a", offset % 7 == 3)
        graph.apply(fact, offset + 1)
    node = unpack_node(pack_node(msgspec.structs.replace(graph.nodes["crm:1"], stamp=0)))
    return node.out["email:a"]


def test_an_edge_stated_again_and_again_stays_small_and_says_the_same_in_any_order() -> None:
    offsets = list(range(500))
    edge = restated(offsets)
    assert len(edge.facts) <= EDGE_FACTS_MAX
    assert (edge.seen_us, edge.verified) == (5_000, True)
    for seed in range(5):
        random.Random(seed).shuffle(offsets)
        assert restated(offsets) == edge


class Asked(MemoryNodes):
    """Nodes that remember which of them were asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def __getitem__(self, name: str) -> Node:
        self.names.add(name)
        return super().__getitem__(name)


def test_a_browser_more_on_an_address_of_hundreds_costs_the_same_with_one_person_to_go() -> None:
    rules = IdentityRules(shared_above=2, component_max=20)
    graph = Graph(rules, nodes := Asked())
    told = [f"web:v{number}" for number in range(300)] + ["crm:1", "crm:2"]
    for offset, subject in enumerate(told):
        graph.apply(LinkFact(subject, "l-0", offset, offset, "email:all"), offset + 1)
    for subject, lane in (("web:late", "l-0"), ("crm:1", "l-1")):
        nodes.names.clear()
        graph.apply(LinkFact(subject, lane, 900, 900, "email:all"), 901)
        assert len(nodes.names) <= 3 * rules.component_max
    assert not nodes["email:all"].shared
    graph.apply(LinkFact("crm:3", "l-0", 902, 902, "email:all"), 903)
    assert nodes["email:all"].shared


def test_what_is_forgotten_of_an_edge_does_not_outlive_an_erasure() -> None:
    graph = Graph(IdentityRules(), MemoryNodes())
    for offset in range(500):
        graph.apply(LinkFact("crm:1", "sales.events-0", offset, offset, "email:a"), offset + 1)
    graph.apply(LinkFact("crm:1", "sales.events-0", 498, 600, command="erased"), 501)
    assert [fact.offset for fact in graph.nodes["crm:1"].out["email:a"].facts] == [499]
    graph.apply(LinkFact("crm:1", "sales.events-0", 499, 601, command="erased"), 502)
    assert not graph.nodes["crm:1"].out and not graph.nodes["email:a"].by


def test_of_hundreds_of_identifiers_that_link_nobody_the_first_are_told_in_any_order() -> None:
    rules = IdentityRules(shared_above=1)
    facts = [
        LinkFact(subject, "l-0", offset, offset, f"email:{offset % 250:03d}")
        for offset, subject in enumerate(["crm:1", "crm:2", "crm:3"] * 250)
    ]
    facts.append(LinkFact("crm:1", "l-0", 800, 800, "web:9", command="link", actor="clerk"))
    expected = Reference(facts, rules).placement_of("crm:1")
    assert expected is not None and len(expected.statuses) == STATUSES_MAX < 250
    for seed in range(3):
        graph = Graph(rules, MemoryNodes())
        random.Random(seed).shuffle(facts)
        for position, fact in enumerate(facts, 1):
            graph.apply(fact, position)
        placed = graph.placement_of("crm:1")
        assert placed is not None and dict(placed.statuses) == expected.statuses
