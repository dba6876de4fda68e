"""The identity graph against the naive reference: after every fact, in any order of facts, in every detail.

Guarantees:
- Hearing facts one by one, in any order, twice, or all at once ends in the customers of the reference.
- What a change names is what readers see of it: who is stamped, which look-ups moved, who merged and split.
- What one fact costs is bounded by `component_max`, not by how much hangs together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from random import Random
from typing import Any, NamedTuple

import msgspec
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from models.identifiers import customer_id
from models.link import LinkFact
from models.rules import IdentifierRule, IdentityRules, SubjectRule
from projections.graph import Graph, build
from projections.graph_changes import Change, Evidence
from projections.graph_nodes import MemoryNodes, Node, pack_node, unpack_node
from tests.graph_oracle import Expected, Reference
from tests.graph_oracle_histories import COMMANDS_LANE, IDENTIFIERS, OTHERS, SUBJECTS, History, histories

EVERYONE = sorted({*SUBJECTS, *IDENTIFIERS, *OTHERS})
# As many as fit into some seconds each.
QUICK = settings(
    derandomize=True, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow]
)  # fmt: skip


class View(NamedTuple):
    """All that readers see of a graph."""

    placements: dict[str, Expected | None]
    entries: dict[str, list[tuple[str, str]]]


def seen_in(graph: Graph, names: Sequence[str] = EVERYONE) -> View:
    """What readers see of these names."""
    placements = {}
    for name in names:
        placed = graph.placement_of(name)
        placements[name] = placed and Expected(
            placed.founder, tuple(placed.members), dict(placed.statuses), tuple(map(tuple, placed.related))
        )
    return View(placements, {name: [tuple(one) for one in graph.entry_of(name)] for name in names})


def wanted(facts: list[LinkFact], rules: IdentityRules, names: Sequence[str] = EVERYONE) -> View:
    """What readers must see."""
    return view_of(Reference(facts, rules), names)


def view_of(reference: Reference, names: Sequence[str] = EVERYONE) -> View:
    """The same of a reference that is there already."""
    return View(
        {name: reference.placement_of(name) for name in names},
        {name: reference.entry_of(name) for name in names},
    )


def differing(before: Mapping[str, Any], after: Mapping[str, Any]) -> set[str]:
    """The names that do not have the same value in both."""
    return {name for name in EVERYONE if before[name] != after[name]}


def heard(facts: Iterable[LinkFact], rules: IdentityRules) -> Graph:
    """A graph that heard these facts one by one."""
    graph = Graph(rules, MemoryNodes())
    for position, fact in enumerate(facts, 1):
        graph.apply(fact, position)
    return graph


def stamps(graph: Graph) -> dict[str, int]:
    """The position that every node was last stamped with."""
    return {name: node.stamp for name, node in graph.nodes.get_many(EVERYONE).items()}


Turned = tuple[str, frozenset[Any], frozenset[Any]]


def turns_between(before: View, after: View) -> set[Turned]:
    """Which customers merged, split, exchanged members or changed their founder."""
    old = {(one.founder, one.members) for one in before.placements.values() if one}
    new = {(one.founder, one.members) for one in after.placements.values() if one}
    found: set[Turned] = set()
    for start in old:
        # All customers, before and after, that have members in common with those found so far.
        givers, takers = {start}, set()
        for _ in range(len(old) + len(new)):
            takers |= {one for one in new if any(set(one[1]) & set(giver[1]) for giver in givers)}
            givers |= {one for one in old if any(set(one[1]) & set(taker[1]) for taker in takers)}
        founders = {founder for founder, _ in givers} == {founder for founder, _ in takers}
        if not takers or (len(givers) == len(takers) == 1 and founders):
            continue
        names = {(False, True): "merged", (True, False): "split", (True, True): "regrouped"}
        kind = names.get((len(takers) > 1, len(givers) > 1), "refounded")
        found.add((kind, frozenset(givers), frozenset(takers)))
    return found


def turns_told(change: Change) -> set[Turned]:
    """The same as a change has it."""
    return {(turn.kind, frozenset(turn.before), frozenset(turn.after)) for turn in change.turns}


def judged(reference: Reference, edge: Evidence) -> str:
    """What has become of an edge that is given as a reason."""
    if reference.unlinked(edge.subject, edge.other):
        return "unlinked"
    together = reference.sets[edge.subject]
    # Of those who are in no customer nothing holds anybody together.
    if edge.other in together and together in reference.customers:
        return "linking"
    return "shared" if edge.other in reference.shared else "rejected"


def is_new(name: str, before: View, after: View) -> bool:
    """Whether a subject has become a customer of its own, of which there is nothing to say."""
    alone = Expected(name, (name,), {}, ())
    return before.placements[name] is None and after.placements[name] == alone


def is_known(name: str, after: View, stamps: Mapping[str, int]) -> bool:
    """Whether lanes show the look-up entry of a name without the graph."""
    [(customer, status)] = after.entries[name] if len(after.entries[name]) == 1 else [("", "")]
    [founder] = [one for one in EVERYONE if customer_id(one) == customer] or [""]
    alone = after.placements.get(founder) == Expected(founder, (founder,), {}, ())
    return alone and not stamps[founder] and status == "linking"


def walk(history: History) -> None:
    """Hear a history fact by fact, and compare everything after each."""
    graph, before = Graph(history.rules, MemoryNodes()), wanted([], history.rules)
    old_stamps = stamps(graph)
    told: set[str] = set()
    for position, fact in enumerate(history.facts, 1):
        change = graph.apply(fact, position)
        reference = Reference(history.facts[:position], history.rules)
        after = view_of(reference)
        found = seen_in(graph)
        assert found.placements == after.placements, f"placements after fact {position}, {fact}"
        assert found.entries == after.entries, f"entries after fact {position}, {fact}"
        moved = differing(before.placements, after.placements)
        # Who is alone for the first time is what readers assume before the graph has spoken.
        moved -= {name for name in moved if is_new(name, before, after) and not old_stamps[name]}
        reindexed = differing(before.entries, after.entries)
        if change is None:
            assert not moved, f"no change was told of fact {position}, {fact}"
            for name in reindexed:
                assert is_known(name, after, old_stamps), f"nobody was told of {name} by fact {position}"
                assert name not in told, f"{name} was told of, but not by fact {position}"
        else:
            told |= change.reindex
            assert change.position == position
            assert change.stamped == moved, f"stamped by fact {position}, {fact}"
            assert change.reindex >= reindexed, f"reindexed by fact {position}, {fact}"
            assert turns_told(change) == turns_between(before, after), f"turns of fact {position}, {fact}"
            for edge in (edge for turn in change.turns for edge in turn.edges):
                assert edge.status == judged(reference, edge), f"{edge} of fact {position}, {fact}"
        new_stamps = {name: position if name in moved else old for name, old in old_stamps.items()}
        assert stamps(graph) == new_stamps, f"stamps after fact {position}, {fact}"
        before, old_stamps = after, new_stamps


@settings(QUICK, max_examples=150)
@given(histories())
def test_after_every_fact_readers_see_what_the_reference_sees(history: History) -> None:
    walk(history)


@settings(QUICK, max_examples=90)
@given(histories(), st.data())
def test_the_order_of_arrival_changes_nothing(history: History, data: st.DataObject) -> None:
    facts = data.draw(st.permutations(history.facts))
    graph, other = heard(history.facts, history.rules), heard(facts, history.rules)
    assert seen_in(other) == seen_in(graph) == wanted(facts, history.rules)


@settings(QUICK, max_examples=90)
@given(histories(), st.data())
def test_what_is_stored_of_a_node_does_not_depend_on_the_order_either(
    history: History, data: st.DataObject
) -> None:
    """But for the stamps, which are positions: a store that was set back and healed holds the same."""
    facts = data.draw(st.permutations(history.facts))

    def stored(graph: Graph) -> dict[str, Node]:
        nodes = graph.nodes.get_many(EVERYONE)
        packed = {name: unpack_node(pack_node(node)) for name, node in nodes.items()}
        return {name: msgspec.structs.replace(node, stamp=0, indexed=0) for name, node in packed.items()}

    assert stored(heard(facts, history.rules)) == stored(heard(history.facts, history.rules))


@settings(QUICK, max_examples=90)
@given(histories())
def test_built_at_once_it_is_the_same(history: History) -> None:
    graph = build(list(enumerate(history.facts, 1)), history.rules)
    assert seen_in(graph) == wanted(history.facts, history.rules)


@settings(QUICK, max_examples=90)
@given(histories(), histories(longest=8))
def test_a_graph_built_at_once_hears_on(history: History, more: History) -> None:
    facts = [*history.facts, *later_commands(history.facts, more.facts)]
    graph = build(list(enumerate(history.facts, 1)), history.rules)
    for position, fact in enumerate(facts[len(history.facts) :], len(history.facts) + 1):
        graph.apply(fact, position)
    assert seen_in(graph) == wanted(facts, history.rules)


def later_commands(facts: list[LinkFact], more: list[LinkFact]) -> list[LinkFact]:
    """`more` with its commands after those of `facts`, since no two commands have one offset."""
    after = next_offset(facts)
    return [
        msgspec.structs.replace(fact, offset=fact.offset + after)
        if fact.command not in (None, "erased")
        else fact
        for fact in more
    ]


def next_offset(facts: list[LinkFact]) -> int:
    """The first offset of the commands' lane that nothing has yet."""
    return max((fact.offset for fact in facts if fact.lane == COMMANDS_LANE), default=-1) + 1


@settings(QUICK, max_examples=90)
@given(histories(), st.randoms(use_true_random=False))
def test_facts_heard_again_change_nothing(history: History, random: Any) -> None:
    graph = heard(history.facts, history.rules)
    before, old_stamps = seen_in(graph), stamps(graph)
    graph.drain()
    again = random.sample(history.facts, len(history.facts))
    for position, fact in enumerate(again, len(history.facts) + 1):
        assert graph.apply(fact, position) is None, f"{fact} was heard before"
    assert graph.drain() == {}, "a node was changed by what it had heard before"
    assert (seen_in(graph), stamps(graph)) == (before, old_stamps)


@settings(QUICK, max_examples=90)
@given(histories(), st.sampled_from(SUBJECTS), st.sampled_from(SUBJECTS))
def test_a_link_and_its_unlink_leave_everything_as_it_was(history: History, one: str, other: str) -> None:
    """For two customers that nothing joins directly: an unlink also takes away what the two had stated."""
    reference = Reference(history.facts, history.rules)
    assume({one, other} <= reference.subjects and reference.sets[one] != reference.sets[other])
    pair = {one, other}
    assume(not any({fact.subject, fact.identifier} == pair for fact in history.facts))
    graph = heard(history.facts, history.rules)
    before, offset = seen_in(graph), next_offset(history.facts)
    for step, command in enumerate(("link", "unlink")):
        told = LinkFact(one, COMMANDS_LANE, offset + step, 5, other, command=command, actor="clerk")
        graph.apply(told, len(history.facts) + 1 + step)
        if command == "link" and not reference.cannot:
            assert graph.placement_of(one) == graph.placement_of(other)
    assert seen_in(graph) == before


@settings(QUICK, max_examples=90)
@given(histories())
def test_nodes_that_were_stored_and_read_again_hear_on_alike(history: History) -> None:
    """A worker restarts after every fact, with nothing but what was drained before."""
    stored: dict[str, bytes] = {}
    for position, fact in enumerate(history.facts, 1):
        nodes = MemoryNodes({name: unpack_node(packed) for name, packed in stored.items()})
        graph = Graph(history.rules, nodes)
        graph.apply(fact, position)
        stored |= {name: pack_node(node) for name, node in graph.drain().items()}
    restarted = Graph(history.rules, MemoryNodes({name: unpack_node(one) for name, one in stored.items()}))
    assert seen_in(restarted) == wanted(history.facts, history.rules)


class CountedNodes(MemoryNodes):
    """Nodes in memory that remember which of them were asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: set[str] = set()

    def __getitem__(self, name: str) -> Node:
        self.asked.add(name)
        return super().__getitem__(name)

    def get_many(self, names: Iterable[str]) -> Mapping[str, Node]:
        for name in names:
            self[name]
        return self


CROWD_RULES = {
    "shared_above": 100,
    "subjects": {"crm": SubjectRule(strength=90), "web": SubjectRule(strength=25, person=False)},
    "identifiers": {"email": IdentifierRule(strength=70), "phone": IdentifierRule(strength=50)},
}


def household(number: int) -> list[LinkFact]:
    """One more person with a cookie and an address, on a phone that all have."""
    told = [(f"crm:{number}", f"email:{number}"), (f"web:{number}", f"email:{number}")]
    told.append((f"crm:{number}", "phone:all"))
    return [LinkFact(who, "l-0", number * 3 + step, number, what) for step, (who, what) in enumerate(told)]


def chain(number: int) -> list[LinkFact]:
    """One more person who has an address in common with the one before, and another with the next."""
    emails = (f"email:{number}", f"email:{number + 1}")
    return [
        LinkFact(f"crm:{number}", "l-0", number * 2 + step, number, one) for step, one in enumerate(emails)
    ]


def matched(number: int) -> list[LinkFact]:
    """One more person whom a program takes for the owner of a phone that it gives to all."""
    who = f"crm:{number}"
    link = LinkFact(who, COMMANDS_LANE, number, number, "phone:all", command="link", actor="matcher/splink")
    return [LinkFact(who, "l-0", number, number), link]


def crowd(number: int) -> list[LinkFact]:
    """Cookies that come back, addresses of many, persons' decisions and erasures, at random."""
    random = Random(number)
    names = [f"{kind}:{random.randrange(2 * number + 2)}" for kind in ("web", "web", "crm")]
    others = [f"email:{random.randrange(2 * number + 2)}", "email:all", f"phone:{number % 3}"]
    told = [
        LinkFact(
            name, "l-0", number * 3 + step, number, random.choice(others), verified=random.random() < 0.3
        )
        for step, name in enumerate(names[:2])
    ]
    told.append(LinkFact(names[2], "l-0", number * 3 + 2, number, others[0]))
    pair = (names[2], random.choice(names[:2]))
    decided: Any = random.choice(("unlink", "verify", "erased"))
    if decided == "erased":
        return [*told, LinkFact(names[0], "l-0", number * 3, number, command=decided)]
    return [*told, LinkFact(pair[0], COMMANDS_LANE, number, number, pair[1], command=decided, actor="clerk")]


@pytest.mark.parametrize("growing, people", [(household, 70), (chain, 70), (matched, 150), (crowd, 70)])
@pytest.mark.parametrize("component_max", [4, 16])
def test_a_fact_costs_no_more_however_much_hangs_together(
    growing: Callable[[int], list[LinkFact]], people: int, component_max: int
) -> None:
    graph = Graph(IdentityRules(component_max=component_max, **CROWD_RULES), nodes := CountedNodes())
    facts = [fact for number in range(people) for fact in growing(number)]
    costs = []
    for position, fact in enumerate(facts, 1):
        nodes.asked.clear()
        graph.apply(fact, position)
        costs.append(len(nodes.asked))
    # The components of both ends before and after, few of which differ, and what else their members state.
    assert max(costs) <= 3 * (component_max + 1) + 12
    names = sorted(nodes)
    assert seen_in(graph, names) == wanted(facts, graph.rules, names)


@pytest.mark.campaign
@settings(QUICK, max_examples=4_000)
@given(histories(longest=60))
def test_long_histories_after_every_fact(history: History) -> None:
    walk(history)


@pytest.mark.campaign
@settings(QUICK, max_examples=4_000)
@given(histories(longest=40), st.data())
def test_long_histories_in_any_order_and_at_once(history: History, data: st.DataObject) -> None:
    facts = data.draw(st.permutations(history.facts))
    view = wanted(facts, history.rules)
    assert seen_in(heard(facts, history.rules)) == view
    assert seen_in(build(list(enumerate(facts, 1)), history.rules)) == view
