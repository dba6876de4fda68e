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

from models.identifiers import customer_id
from models.link import LinkFact
from models.merge import wire_turn
from models.rules import IdentityRules
from models.schemas import merge_schema
from projections.graph import Graph
from projections.graph_nodes import MemoryNodes
from projections.instants import rfc3339

PAGE = (Path(__file__).resolve().parent.parent / "docs" / "topics.md").read_text()
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


def test_the_page_has_a_line_for_every_rule_and_kind() -> None:
    cells = re.findall(r"^\| (`[a-z_`, ]+`) \|", PAGE, re.MULTILINE)
    told = {word for cell in cells for word in re.findall(r"`([a-z_]+)`", cell)}
    kinds = merge_schema()["$defs"]["MergeData"]["properties"]["kind"]["enum"]
    assert told == {rule for rule, _ in HISTORIES} | set(kinds)


def test_the_example_of_the_page_satisfies_the_schema() -> None:
    (example,) = re.findall(r"^```json\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    jsonschema.Draft202012Validator(merge_schema()).validate(msgspec.json.decode(example))


def test_a_record_that_is_none_does_not_satisfy_the_schema() -> None:
    check = jsonschema.Draft202012Validator(merge_schema())
    assert not check.is_valid({"type": "customer.merged"})
