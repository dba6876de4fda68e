"""What `customer.merges` tells satisfies its schema, whatever did it, and docs/topics.md has a word for each.

Guarantees:
- Every rule is made to do something: a fact for each, through the graph itself.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest

from models.bounds import EVIDENCE_MAX, MERGE_BYTES_MAX, MERGE_CUSTOMERS_MAX, MERGE_MEMBERS_MAX
from models.identifiers import customer_id
from models.link import LinkFact, wire_link_fact
from models.merge import Evidence, Group, Turn, wire_turn
from models.rules import IdentityRules
from models.schemas import merge_schema
from projections.graph import Graph
from projections.graph_nodes import MemoryNodes
from projections.instants import rfc3339

PAGE = (
    (Path(__file__).resolve().parent.parent / "docs" / "topics.md").read_text().split("## customer.merges")[1]
)
RULES = IdentityRules(shared_above=2)
EMAIL, PHONE = "email:ada@example.com", "phone:+4930901820"


def stated(subject: str, identifier: str | None = None, at: int = 0, **more: Any) -> LinkFact:
    """A fact of a lane."""
    return LinkFact(subject, "sales.events-0", at, 1_772_359_200_000_000 + at, identifier, **more)


def commanded(command: Any, subject: str, other: str, at: int, actor: str = "ada") -> LinkFact:
    """A command of a person or program."""
    return LinkFact(
        subject, "identity.commands-0", at, 1_772_359_200_000_000 + at, other, command=command, actor=actor,
        reason="asked on the phone",
    )  # fmt: skip


TOGETHER = [stated("crm:1", EMAIL, 1), stated("web:1", None, 2), stated("web:1", EMAIL, 3)]
APART = [stated("crm:1", None, 1), stated("shop:1", None, 2)]
# The rule and what it did, by a history of which the last fact does it.
HISTORIES: dict[tuple[str, str], list[LinkFact]] = {
    ("stated", "merged"): TOGETHER,
    ("verified", "regrouped"): [
        *(stated(one, PHONE, at) for at, one in enumerate(("crm:1", "web:1", "crm:2"))),
        stated("crm:2", PHONE, 9, verified=True),
    ],
    ("subject_seen", "refounded"): [stated("web:1", "crm:1", 1), stated("crm:1", None, 2)],
    ("became_shared", "split"): [
        stated("crm:1", PHONE, 1),
        stated("web:1", PHONE, 2),
        stated("crm:2", PHONE, 3),
        stated("crm:3", PHONE, 4),
    ],
    ("shared", "refounded"): [
        *(stated(f"crm:{number}", PHONE, 10 + number) for number in (1, 2, 3)),
        stated("shop:9", EMAIL, 20),
        stated("crm:9", EMAIL, 21),
        stated("crm:9", PHONE, 22),
        # A lane that lags behind has heard it long ago.
        LinkFact("crm:9", "billing.events-0", 0, 1_772_359_200_000_005, PHONE),
    ],
    ("linked_by_person", "merged"): [*APART, commanded("link", "crm:1", "shop:1", 3)],
    ("unlinked_by_person", "split"): [*TOGETHER, commanded("unlink", "web:1", EMAIL, 4)],
    ("linked_by_program", "merged"): [*APART, commanded("link", "crm:1", "shop:1", 3, "matcher/splink")],
    ("unlinked_by_program", "split"): [
        *APART,
        commanded("link", "crm:1", "shop:1", 3, "matcher/splink"),
        commanded("unlink", "crm:1", "shop:1", 4, "matcher/splink"),
    ],
    ("erased", "refounded"): [*TOGETHER, stated("crm:1", None, 4, command="erased")],
}


@pytest.mark.parametrize("rule, kind", HISTORIES)
def test_what_is_told_satisfies_the_schema(rule: str, kind: str) -> None:
    graph = Graph(RULES, MemoryNodes())
    change = None
    for offset, fact in enumerate(HISTORIES[rule, kind]):
        change = graph.apply(fact, offset + 1)
    assert change is not None and change.cause == rule
    (turn,) = change.turns
    instants = {edge.seen_us: rfc3339(edge.seen_us) for edge in turn.edges}
    at = rfc3339(change.log_us)
    told = msgspec.json.decode(wire_turn(turn, change.position, change.cause, "g1", at, instants))
    jsonschema.Draft202012Validator(merge_schema()).validate(told)
    data = told["data"]
    assert (data["kind"], told["type"], data["rule"]) == (kind, f"customer.{kind}", rule)
    assert told["subject"] == data["after"][0]["customer_id"]
    for group in (*data["before"], *data["after"]):
        assert group["customer_id"] == customer_id(group["founder"])
        assert group["founder"] in group["members"]
    assert again(turn, change) == told["id"], "the same fact at the same position has the same id"


def again(turn: Any, change: Any) -> str:
    """The id of the same turn, told after a restart."""
    instants = {edge.seen_us: rfc3339(edge.seen_us) for edge in turn.edges}
    value = wire_turn(turn, change.position, change.cause, "g1", rfc3339(change.log_us), instants)
    return msgspec.json.decode(value)["id"]


# Names of 200 characters: of the longest ones in UTF-8, of those that JSON escapes, and plain ones.
SIGNS = {"emoji": "\U0001f600", "quotes": '"', "controls": "\x01", "plain": "x", "umlauts": "ü"}
# Customers before and after, each with so many members.
SIZES = {
    "kiosk": ([650, 650], [1300]),
    "largest": ([10_000], [9_999, 1]),
    "many": ([1] * 1_000, [1_000]),
    "apart": ([10_000], [1] * 10_000),
    "exchange": ([150] * 30, [150] * 30),
}


def great_turn(sign: str, sizes: tuple[list[int], list[int]]) -> Turn:
    """A turn of very many members with very long names, and edges with very long reasons."""
    sides = []
    for side in sizes:
        names = iter([f"crm:{number:06}{sign * 194}" for number in range(sum(side))])
        groups = [tuple(next(names) for _ in range(size)) for size in side]
        # The founder is the last by name, so that the first members leave it out.
        sides.append(tuple(sorted(Group(group[-1], group) for group in groups)))
    edge = Evidence(
        f"crm:{sign * 200}", f"email:{sign * 600}", "linking", "person", 5, sign * 255, sign * 4_000
    )
    return Turn("regrouped", sides[0], sides[1], (edge,) * EVIDENCE_MAX)


@pytest.mark.parametrize("sign", SIGNS.values(), ids=list(SIGNS))
@pytest.mark.parametrize("sizes", SIZES.values(), ids=list(SIZES))
def test_no_turn_is_too_large_for_kafka_whatever_names_it_holds(
    sign: str, sizes: tuple[list[int], list[int]]
) -> None:
    turn = great_turn(sign, sizes)
    value = wire_turn(turn, 2**53, "unlinked_by_program", "g" * 50, "2026-03-01T10:00:00.123456Z", {5: "t"})
    assert len(value) <= MERGE_BYTES_MAX
    told = msgspec.json.decode(value)
    data = told["data"]
    assert data["truncated"] is True
    assert (data["before_count"], data["after_count"]) == (len(turn.before), len(turn.after))
    assert told["subject"] == data["after"][0]["customer_id"]
    assert data["edges"]
    for named, groups in ((data["before"], turn.before), (data["after"], turn.after)):
        assert len(named) == min(len(groups), MERGE_CUSTOMERS_MAX)
        for one, group in zip(named, groups, strict=False):
            assert (one["founder"], one["member_count"]) == (group.founder, len(group.members))
            assert group.founder in one["members"]
            assert one["members"] == sorted({*one["members"]})
            assert {*one["members"]} <= {*group.members}
            assert len(one["members"]) <= MERGE_MEMBERS_MAX


def test_members_are_all_named_as_long_as_they_are_few() -> None:
    names = tuple(f"web:3f9c7a52-90aa-4d1c-8a53-{number:012}" for number in range(MERGE_MEMBERS_MAX))
    one, other = (Group(some[-1], some) for some in (names[:60], names[60:]))
    turn = Turn("split", (Group(names[-1], names),), (one, other), ())
    data = msgspec.json.decode(wire_turn(turn, 1, "stated", "g1", "t", {}))["data"]
    assert (data["truncated"], data["before"][0]["members"]) == (False, list(names))
    assert [group["members"] for group in data["after"]] == [list(names[:60]), list(names[60:])]


@pytest.mark.parametrize("sign", SIGNS.values(), ids=list(SIGNS))
def test_a_link_fact_is_small_whatever_it_holds(sign: str) -> None:
    fact = LinkFact(
        f"crm:{sign * 200}", "identity.commands-0", 2**53, 2**53, f"email:{sign * 600}", verified=True,
        command="verify", actor=sign * 255, reason=sign * 4_000,
    )  # fmt: skip
    assert len(wire_link_fact(fact)) <= MERGE_BYTES_MAX


def test_the_page_has_a_line_for_every_rule_and_kind() -> None:
    cells = re.findall(r"^\| (`[a-z_`, ]+`) \|", PAGE, re.MULTILINE)
    told = {word for cell in cells for word in re.findall(r"`([a-z_]+)`", cell)}
    kinds = merge_schema()["$defs"]["MergeData"]["properties"]["kind"]["enum"]
    assert told == {rule for rule, _ in HISTORIES} | set(kinds)


def test_the_example_of_the_page_satisfies_the_schema() -> None:
    (example,) = re.findall(r"^```json\n([^`]*customer\.merged.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    jsonschema.Draft202012Validator(merge_schema()).validate(msgspec.json.decode(example))


def test_a_record_that_is_none_does_not_satisfy_the_schema() -> None:
    check = jsonschema.Draft202012Validator(merge_schema())
    assert not check.is_valid({"type": "customer.merged"})
