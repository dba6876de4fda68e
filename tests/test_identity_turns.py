"""How long a merge held and who was together meanwhile, from the records of `customer.merges`."""

from __future__ import annotations

from collections.abc import Sequence

from models.bounds import MERGE_MEMBERS_MAX
from models.identifiers import customer_id
from models.merge import wire_turn
from models.rules import IdentityRules
from ops.identity_turns import (
    GroupTold,
    Span,
    TurnRecord,
    TurnTold,
    holding,
    read_turn,
    whole,
    with_late,
)
from projections.graph import Graph
from projections.graph_nodes import MemoryNodes
from tests.identity_cli_world import Facts

EMAIL, PHONE = "email:ada@example.com", "phone:+4930901820"


def turn(position: int, kind: str, before: Sequence[str], after: Sequence[str]) -> TurnRecord:
    """A turn between customers whose members are letters, founded by the first of each."""
    groups = [[GroupTold(customer_id(one[0]), one[0], list(one)) for one in side] for side in (before, after)]
    return TurnRecord(f"mrg_{position}", "t", TurnTold("g1", position, kind, "r", *groups, []))


def test_a_merge_holds_until_no_customer_has_members_of_two_sides():
    merge = turn(5, "merged", ["ab", "cd"], ["abcd"])
    still = holding(merge, [merge, turn(3, "split", ["abcd"], ["ab", "cd"])])
    assert still.spans == [Span(customer_id("a"), "a", 5, None)]
    assert still.ended_by is None
    # Others join, one leaves: two sides are together all the same, under another id for a while.
    turns = [
        merge,
        turn(7, "merged", ["0x", "abcd"], ["0abcdx"]),
        turn(9, "split", ["0abcdx"], ["0abcd", "x"]),
        turn(12, "split", ["0abcd"], ["0ab", "cd"]),
        turn(20, "merged", ["cd", "z"], ["cdz"]),
    ]
    ended = holding(merge, [*turns, *turns])
    assert ended.spans == [Span(customer_id("a"), "a", 5, 7), Span(customer_id("0"), "0", 7, 12)]
    assert ended.ended_by is not None
    assert ended.ended_by.id == "mrg_12"
    # Both were together with both sides; one is left with a side, the other on its own.
    assert ended.joined == {"0": 0, "x": None}
    assert ended.held(customer_id("a"), 5)
    assert ended.held(customer_id("0"), 11)
    assert not ended.held(customer_id("a"), 7)
    assert not ended.held(customer_id("0"), 12)


def test_an_exchange_holds_on_each_side_by_itself():
    exchange = turn(5, "regrouped", ["ab", "cd"], ["ac", "bd"])
    found = holding(exchange, [turn(8, "split", ["ac"], ["a", "c"])])
    assert found.spans == [Span(customer_id("a"), "a", 5, 8), Span(customer_id("b"), "b", 5, None)]
    assert found.ended_by is None


def test_a_side_saw_those_whom_it_was_together_with_and_nobody_else():
    merge = turn(5, "merged", ["b", "ac"], ["abc"])
    # One of a side leaves; whom that one is with from then on, the other side never saw.
    left = [turn(6, "split", ["abc"], ["ab", "c"]), turn(7, "merged", ["c", "z"], ["cz"])]
    found = holding(merge, left)
    assert found.ended_by is None
    assert (found.saw, found.joined) == ([{"a", "b", "c"}, {"a", "b", "c"}], {})
    # Whoever came alone is told of when the customer is, and whoever is there now.
    ended = holding(merge, [*left, turn(8, "split", ["abd"], ["ad", "b"])])
    assert ended.ended_by is not None
    assert (ended.saw[0], ended.joined) == ({"a", "b", "c", "d"}, {"d": 1})
    late = with_late(found, merge, [["a", "b", "e"], ["c", "z"]])
    assert (late.saw[0], late.joined) == ({"a", "b", "c", "e"}, {"e": None})
    # Of three sides one may have seen less.
    three = turn(5, "merged", ["a", "b", "c"], ["abc"])
    found = holding(three, [turn(6, "split", ["abc"], ["ab", "c"]), turn(7, "merged", ["ab", "d"], ["abd"])])
    assert (found.saw, found.joined) == ([set("abcd"), set("abcd"), set("abc")], {"d": None})


def test_members_that_a_record_leaves_out_come_from_the_link_log():
    facts = Facts()
    names = [f"web:{number:03}" for number in range(MERGE_MEMBERS_MAX + 20)]
    for name in names:
        facts.say(name, EMAIL)
    facts.say("crm:1", PHONE)
    facts.command("link", "crm:1", names[0], "E-7", "y")
    facts.say("crm:2")
    graph, records = Graph(IdentityRules(), MemoryNodes()), dict[str, TurnRecord]()
    for position, one in facts:
        change = graph.apply(one, position)
        for each in change.turns if change else ():
            instants = {edge.seen_us: "t" for edge in each.edges}
            read = read_turn(wire_turn(each, position, change.cause, "g1", "t", instants))
            assert read is not None
            records[read.id] = read
    merge = list(records.values())[-1]
    assert merge.data.truncated
    assert len(merge.data.after[0].members) == MERGE_MEMBERS_MAX
    assert not holding(merge, records.values()).complete
    cut = {name: one for name, one in records.items() if one.data.truncated}
    full = whole(facts, IdentityRules(), cut)
    assert full.keys() == cut.keys()
    assert {len(group.members) for group in full[merge.id].data.before} == {1, len(names)}
    found = holding(full[merge.id], (records | full).values())
    assert found.complete
    assert found.saw[0] == {*names, "crm:1"}
    # Facts that led to something else say nothing of this merge.
    assert whole(facts[1:], IdentityRules(), {"mrg_x": merge}) == {}


def test_turns_of_another_generation_end_nothing():
    merge = turn(5, "merged", ["a", "b"], ["ab"])
    other = TurnRecord("mrg_x", "t", TurnTold("g2", 6, "split", "r", merge.data.after, merge.data.before, []))
    assert holding(merge, [other]).ended_by is None
