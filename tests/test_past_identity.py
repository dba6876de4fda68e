"""Who was who at an earlier time equals the naive reference that has heard nothing later.

Guarantees:
- Any facts and commands in any order of arrival, any rules, any instant: customers, members, statuses,
  possible matches.
- Commands are read only where there were some, and once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.link import LinkFact
from models.rules import IdentityRules
from projections.graph import Graph
from projections.graph_nodes import Edge, MemoryNodes, Node, Placement, Stated, pack_node, unpack_node
from projections.past import STATING_AT_ONCE, PastNodes, TooManyStating, placement_at
from tests.graph_oracle import Expected, Reference
from tests.graph_oracle_histories import SUBJECTS, History, histories

# As many as fit into some seconds.
QUICK = settings(
    derandomize=True, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow],
    max_examples=60,
)  # fmt: skip


def past_of(facts: Sequence[LinkFact], rules: IdentityRules, at_us: int) -> PastNodes:
    """The past of a graph that has heard all of these, as its nodes lie in the store."""
    graph = Graph(rules, MemoryNodes())
    for position, fact in enumerate(facts, 1):
        graph.apply(fact, position)
    return past_of_nodes(graph.nodes, facts, rules, at_us)


def past_of_nodes(
    nodes: Mapping[str, Node], facts: Sequence[LinkFact], rules: IdentityRules, at_us: int
) -> PastNodes:
    """The past of these nodes."""
    stored = {name: pack_node(node) for name, node in nodes.items()}
    asked: list[int] = []

    def read(names: Sequence[str]) -> dict[str, Node]:
        return {name: unpack_node(stored[name]) for name in names if name in stored}

    def commands() -> Iterable[LinkFact]:
        asked.append(1)
        assert len(asked) == 1
        return [fact for fact in facts if fact.command is not None]

    return PastNodes(read, commands, at_us, rules)


def expected(facts: Sequence[LinkFact], rules: IdentityRules, at_us: int, name: str) -> Expected | None:
    """What the reference says that has heard nothing later."""
    return Reference([fact for fact in facts if fact.log_us <= at_us], rules).placement_of(name)


def assert_past(history: History, at_us: int) -> None:
    """Everybody, at this time."""
    facts = [fact for fact in history.facts if fact.command != "erased"]
    past = past_of(facts, history.rules, at_us)
    for name in SUBJECTS:
        placed = placement_at(name, past)
        found = placed and Expected(
            placed.founder, tuple(placed.members), dict(placed.statuses), tuple(map(tuple, placed.related))
        )
        assert found == expected(facts, history.rules, at_us, name), name


@given(histories(longest=40), st.integers(-1, 10))
@QUICK
def test_who_was_who_at_any_time_is_what_the_reference_says(history: History, at_us: int) -> None:
    assert_past(history, at_us)


@pytest.mark.campaign
@given(histories(longest=60), st.integers(-1, 10))
@settings(QUICK, derandomize=False, max_examples=3_000)
def test_who_was_who_holds_for_thousands_of_histories(history: History, at_us: int) -> None:
    assert_past(history, at_us)


@pytest.mark.parametrize(("at_us", "members"), [(3, ("crm:1",)), (5, ("crm:1", "pos:1"))])
def test_a_name_that_was_only_stated_by_then_is_no_member(at_us: int, members: tuple[str, ...]) -> None:
    facts = [
        LinkFact("crm:1", "sales.events-0", 1, 1, "pos:1"),
        LinkFact("pos:1", "sales.events-0", 2, 5),
    ]
    placed = placement_at("crm:1", past_of(facts, IdentityRules(), at_us))
    assert placed is not None and placed.members == members
    wanted = expected(facts, IdentityRules(), at_us, "crm:1")
    assert wanted is not None and wanted.members == members


def test_a_name_that_a_command_linked_with_itself_was_named_by_then() -> None:
    facts = [
        LinkFact("crm:1", "sales.events-0", 1, 0, "pos:1"),
        LinkFact("pos:1", "sales.events-0", 2, 1, "email:a"),
        LinkFact("pos:1", "identity.commands-0", 0, 0, "pos:1", command="link", actor="clerk"),
    ]
    wanted = expected(facts, IdentityRules(), 0, "crm:1")
    placed = placement_at("crm:1", past_of(facts, IdentityRules(), 0))
    assert wanted is not None and placed is not None
    assert placed.members == wanted.members == ("crm:1", "pos:1")


def test_what_commands_say_of_employees_is_not_heard() -> None:
    facts = [
        LinkFact("crm:1", "sales.events-0", 1, 1, "phone:1"),
        LinkFact("employee:7", "identity.commands-0", 0, 2, "phone:1", command="unlink", actor="clerk"),
        LinkFact("employee:7", "identity.commands-0", 1, 2, "phone:1", command="link", actor="clerk"),
        LinkFact("crm:1", "identity.commands-0", 2, 3, "phone:1", command="verify", actor="clerk"),
        LinkFact("crm:1", "identity.commands-0", 3, 3, "phone:2", command="link", actor="clerk"),
        LinkFact("crm:1", "identity.commands-0", 4, 3, "phone:1", command="link", actor="clerk"),
    ]
    past = past_of(facts, IdentityRules(), 3)
    placed = placement_at("crm:1", past)
    assert placed == Placement(*expected(facts, IdentityRules(), 3, "crm:1") or ())
    assert list(past["phone:1"].pairs) == ["crm:1"]


def test_a_subject_that_a_command_alone_had_named_by_then_is_one() -> None:
    facts = [
        LinkFact("crm:1", "sales.events-0", 1, 1, "pos:1"),
        LinkFact("pos:1", "identity.commands-0", 0, 2, "email:a", command="verify", actor="clerk"),
        LinkFact("pos:1", "sales.events-0", 2, 5),
    ]
    placed = placement_at("crm:1", past_of(facts, IdentityRules(), 3))
    wanted = expected(facts, IdentityRules(), 3, "crm:1")
    assert placed is not None and wanted is not None
    assert placed.members == wanted.members == ("crm:1", "pos:1")


def stated_by(count: int, name: str, at_us: int) -> PastNodes:
    """The past of a graph where so many persons state a name, one an instant."""
    nodes: dict[str, Node] = {name: Node(by={f"crm:{number}": False for number in range(count)}, shared=True)}
    for number in range(count):
        told = Stated("sales.events-0", number, number, verified=False)
        edges = {name: Edge([told], number, verified=False)}
        nodes[f"crm:{number}"] = Node(True, number, {"sales.events-0": number}, out=edges)
    return past_of_nodes(nodes, (), IdentityRules(), at_us)


def test_of_a_phone_that_thousands_state_only_the_first_few_are_read() -> None:
    past = stated_by(2_000, "phone:+49301", 1_500)
    assert past["phone:+49301"].shared
    assert len(past["phone:+49301"].by) == STATING_AT_ONCE
    alone = placement_at("crm:3", past)
    assert alone == Placement("crm:3", ("crm:3",), {"phone:+49301": "shared"}, ())
    before = stated_by(2_000, "phone:+49301", 4)
    assert not before["phone:+49301"].shared
    assert sorted(before["phone:+49301"].by) == [f"crm:{number}" for number in range(5)]


def test_who_stated_what_too_many_state_now_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("projections.past.STATING_MAX", 2 * STATING_AT_ONCE)
    with pytest.raises(TooManyStating, match=r"1,000 subjects state phone:…"):
        placement_at("crm:3", stated_by(1_000, "phone:+49301", 4))
