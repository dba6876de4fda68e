"""What the commands `scv identity …` show, from graphs in memory: edges, picture, differences."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from io import StringIO
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import pytest
from rich.console import Console

from models.identifiers import customer_id
from models.rules import IdentityRules, SubjectRule
from ops.identity_compare import Overlap, customers, differences, explained, moved, overlaps, under
from ops.identity_dry_run import not_seen
from ops.identity_edges import ShownGraph, shown_graph, shown_safely
from ops.identity_layout import BOX_HEIGHT, ROWS_MAX, lay_out
from ops.identity_picture import cut, picture
from ops.identity_tree import tree
from projections.graph import Graph, build
from tests.identity_cli_world import Facts

EXAMPLE = Path(__file__).resolve().parent.parent / "docs" / "pictures" / "identity-graph.svg"
SWITCHBOARD = "phone:+49309009000"
PHONE = "phone:+4930901820"
EMAIL = "email:ada@example.com"
SVG = "{http://www.w3.org/2000/svg}"


def family() -> Facts:
    """Ada, known to seven sources; Ralph, who has her phone; a switchboard; two decisions of persons."""
    facts = Facts()
    facts.say("web:3f9c-77", EMAIL)
    facts.say("shop:88012", EMAIL, "loyalty_card:LC-5540")
    facts.say("crm:4711", EMAIL, PHONE, verified=True)
    facts.say("billing:A-9", PHONE, SWITCHBOARD)
    facts.say("app:ios-912", "crm:4711", "push_token:88aa-01")
    facts.say("service:S-12", EMAIL, SWITCHBOARD)
    facts.say("loyalty:L-31", "email:a.byron@work.example")
    facts.say("crm:4712", PHONE, "email:ralph@example.com")
    for number in range(5001, 5006):
        facts.say(f"crm:{number}", SWITCHBOARD)
    facts.command("link", "loyalty:L-31", "crm:4711", "E-7", "card shown at the till, same name")
    facts.command("unlink", "crm:4711", "crm:4712", "E-9", "father & daughter <one phone>")
    return facts


def undecided() -> Facts:
    """The family before a person has said that Ada and Ralph are two."""
    return Facts(family()[:-1])


def drawn(facts: Facts, subject: str) -> ShownGraph:
    shown = shown_graph(build(facts, IdentityRules()), subject)
    assert shown is not None
    return shown


def told(shown: ShownGraph) -> str:
    """The tree as it is printed where there is no terminal."""
    out = StringIO()
    Console(file=out, width=160).print(tree(shown, datetime(2026, 3, 1, tzinfo=UTC)))
    return out.getvalue()


def test_every_edge_of_a_customer_has_its_status_and_what_stands_behind_it():
    shown = drawn(family(), "crm:4711")
    edges = {(one.subject, one.other): one for one in shown.edges}
    assert (edges["crm:4711", EMAIL].status, edges["crm:4711", EMAIL].strength) == ("linking", "verified")
    assert (edges["web:3f9c-77", EMAIL].status, edges["web:3f9c-77", EMAIL].strength) == ("linking", "stated")
    assert edges["service:S-12", SWITCHBOARD].status == "shared"
    assert edges["app:ios-912", "crm:4711"].status == "linking"
    by_person = edges["crm:4711", "loyalty:L-31"]
    assert (by_person.status, by_person.strength, by_person.actor) == ("linking", "person", "E-7")
    assert edges["crm:4711", "crm:4712"].status == "unlinked"
    # Ralph states Ada's phone and may not come in: his edge is shown, and whose it is.
    assert edges["crm:4712", PHONE].status == "rejected"
    assert [(one.subject, one.customer_id) for one in shown.outsiders] == [
        ("crm:4712", customer_id("crm:4712"))
    ]
    assert {one.name: one.people for one in shown.identifiers}[SWITCHBOARD] == 7
    assert shown.founder == "shop:88012"


def test_the_tree_tells_members_edges_decisions_and_matches():
    said = told(drawn(family(), "crm:4711"))
    for words in (
        "7 members",
        "shop:88012  first seen 7 Jan 2026  founder",
        "shared, stated, stated by 7 people",
        "E-9: “father & daughter <one phone>”",
        f"crm:4712 of {customer_id('crm:4712')} → {PHONE}  rejected",
    ):
        assert words in said, said
    assert "possible matches\n    └── " in told(drawn(undecided(), "crm:4711"))


def test_who_was_parted_by_a_person_is_no_possible_match_any_more():
    for mine, other in (("crm:4711", "crm:4712"), ("crm:4712", "shop:88012")):
        matches = drawn(undecided(), mine).matches
        assert [(one.founder, one.via) for one in matches] == [(other, "phone")]
        assert drawn(family(), mine).matches == ()
    facts = undecided()
    facts.command("unlink", "crm:4711", "crm:4712", "matcher/splink", "a program parts nobody")
    assert len(drawn(facts, "crm:4711").matches) == 1


def test_what_sources_wrote_is_text_in_tree_and_picture():
    facts = Facts()
    facts.say("crm:1", "card:\x1b[31m</text><script>", "card:[bold]x[/bold]", "card:\u202eabc\ufffe")
    facts.command("link", "crm:1", "shop:2", "E-7", "a\x07b\nc")
    facts.say("shop:2")
    shown = drawn(facts, "crm:1")
    said, svg = told(shown), picture(shown)
    for text in (said, svg):
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f\u202e\ufffe]", text)
    assert "[bold]x[/bold]" in said
    root = ElementTree.fromstring(svg)
    assert root.find(f".//{SVG}script") is None
    assert "card:\ufffd[31m</text><script>" in [one.text for one in root.iter(f"{SVG}text")]


def test_the_picture_has_a_box_for_each_node_and_a_line_for_each_edge():
    shown = drawn(family(), "crm:4711")
    root = ElementTree.fromstring(picture(shown))
    boxes = [one for one in root.iter(f"{SVG}rect") if one.get("class") != "paper"]
    assert len(boxes) == len(shown.members) + len(shown.identifiers) + len(shown.outsiders)
    lines = [one for one in root.iter(f"{SVG}path") if one.find(f"{SVG}title") is not None]
    assert len(lines) == len(shown.edges)
    statuses = {str(one.get("class")).split()[1] for one in lines}
    assert statuses == {"linking", "rejected", "shared", "unlinked"}
    # Each status has a colour and a dash of its own, in light and in dark.
    style = root.findtext(f"{SVG}style") or ""
    light, dark = style.split("@media (prefers-color-scheme: dark)")
    for scheme in (light, dark):
        colours = [re.findall(rf"\.{status} {{ stroke: (#\w+)", scheme) for status in statuses]
        assert len({one[0] for one in colours}) == 4
    assert not {"script", "image", "use", "foreignObject", "a"} & {
        one.tag.removeprefix(SVG) for one in root.iter()
    }
    assert "http" not in picture(shown).replace("http://www.w3.org/2000/svg", "")


def test_the_picture_in_the_documents_is_what_this_code_draws():
    assert EXAMPLE.read_text(encoding="utf-8") == picture(drawn(family(), "crm:4711"))


def test_the_order_of_facts_changes_nothing_of_what_is_shown():
    facts = family()
    assert drawn(Facts(facts[::-1]), "crm:4711").edges == drawn(facts, "crm:4711").edges


def test_a_large_graph_is_drawn_to_its_bounds_and_says_so():
    facts = Facts()
    for number in range(150):
        facts.say(f"web:{number}", EMAIL, f"cookie_id:{number}")
    shown = drawn(facts, "web:0")
    layout = lay_out(shown)
    assert len(layout.places) == 2 * ROWS_MAX
    assert layout.hidden == 150 + 151 - 2 * ROWS_MAX
    svg = picture(shown)
    assert f"Not drawn: {layout.hidden:,} boxes" in svg
    ElementTree.fromstring(svg)
    for x in {place.x for place in layout.places.values()}:
        tops = sorted(place.y for place in layout.places.values() if place.x == x)
        assert all(below - above >= BOX_HEIGHT for above, below in pairwise(tops))
    said = told(shown)
    assert "… and 100 more; --json has them" in said


def test_text_is_cut_by_its_width():
    assert cut("abc", 3) == "abc"
    assert cut("abcd", 3) == "ab…"
    assert cut("ＡＢＣ", 6) == "ＡＢＣ"
    assert cut("ＡＢＣＤ", 6) == "ＡＢ…"


@pytest.mark.parametrize(
    "before, after, kinds",
    [
        ({"a": "ab", "c": "c"}, {"a": "ab", "c": "c"}, []),
        ({"a": "ab", "c": "c"}, {"a": "abc"}, [("merged", 1)]),
        ({"a": "abc"}, {"a": "a", "b": "bc"}, [("split", 1)]),
        ({"a": "ab", "c": "cd"}, {"a": "ac", "b": "bd"}, [("exchanged", 2)]),
        ({"a": "ab"}, {"b": "ab"}, [("renamed", 0)]),
        ({"a": "abc", "d": "de", "f": "f"}, {"a": "abcde", "f": "f"}, [("merged", 2)]),
    ],
)
def test_customers_merge_split_exchange_members_or_change_their_name(
    before: dict[str, str], after: dict[str, str], kinds: list[tuple[str, int]]
):
    old, new = ({name: frozenset(members) for name, members in side.items()} for side in (before, after))
    assert [(kind, subjects) for kind, subjects, _ in differences(old, new)] == kinds
    assert sum(len(one.before) for one in overlaps(old, new)) == len(old)


def test_subjects_that_move_are_counted_against_the_larger_company():
    before = {"a": frozenset("abcd"), "e": frozenset("ef")}
    after = {"a": frozenset("abce"), "d": frozenset("df")}
    assert moved(Overlap(["a", "e"], ["a", "d"]), before, after) == 2


def compared(facts: Facts, rules: IdentityRules) -> list[tuple[str, list[tuple[str, str, str, str]]]]:
    """Kinds of difference between the default rules and these, with the edges that are the reason."""
    then = [(at, heard) for at, fact in facts if (heard := under(fact, rules)) is not None]
    current, new = build(facts, IdentityRules()), build(then, rules)
    before, after = customers(current), customers(new)
    found = [explained(one, current, new, before, after) for one in differences(before, after)]
    return [
        (one.kind, [(edge.subject, edge.other, edge.before, str(edge.after)) for edge in one.edges])
        for one in found
    ]


def rules_with(**changed: object) -> IdentityRules:
    return IdentityRules.model_validate({**IdentityRules().model_dump(), **changed})


def test_a_dry_run_says_which_edges_are_the_reason():
    facts = Facts()
    facts.say("crm:1", PHONE)
    facts.say("shop:2", PHONE)
    assert compared(facts, IdentityRules()) == []
    [(kind, edges)] = compared(facts, rules_with(shared_above=1))
    assert kind == "split"
    assert edges == [("crm:1", PHONE, "linking", "shared"), ("shop:2", PHONE, "linking", "shared")]
    blocked = IdentityRules().blocked.model_dump() | {"values": ["+4930901820"]}
    [(kind, edges)] = compared(facts, rules_with(blocked=blocked))
    assert (kind, edges[0]) == ("split", ("crm:1", PHONE, "linking", "absent"))


def test_a_dry_run_renames_identifiers_as_the_new_rules_do_and_says_what_it_cannot_know():
    upper = {**IdentityRules().model_dump()["identifiers"], "card": {"form": "upper"}}
    facts = Facts()
    facts.say("crm:1", "card:a")
    facts.say("shop:2", "card:A")
    new = rules_with(identifiers=upper)
    [(kind, edges)] = compared(facts, new)
    assert (kind, edges) == ("merged", [])
    assert [words.partition(":")[0] for words in not_seen(IdentityRules(), new)] == ["card"]
    austrian = rules_with(subjects={"crm": SubjectRule(region="AT").model_dump()})
    assert "region" in not_seen(IdentityRules(), austrian)[0]
    assert not_seen(IdentityRules(), rules_with(shared_above=9)) == []


def test_a_command_on_a_value_that_is_blocked_by_now_is_none():
    facts = Facts()
    facts.say("crm:1", "card:X-1")
    facts.command("link", "crm:1", "card:X-1", "E-7", "y")
    blocked = rules_with(blocked=IdentityRules().blocked.model_dump() | {"values": ["x-1"]})
    heard = [under(fact, blocked) for _, fact in facts]
    assert [one and one.identifier for one in heard] == [None, None, None]
    assert heard[2] is None


def test_members_whose_names_look_alike_keep_their_edges():
    facts = Facts()
    for number, sign in enumerate("\u202e\u2028\ufffe"):
        facts.say(f"app:{sign}", EMAIL, f"card:{number}")
    facts.say("app:\ufffd", EMAIL, "card:plain")
    shown = drawn(facts, "app:\ufffd")
    safe = shown_safely(shown)
    assert {one.subject for one in safe.members} == {
        "app:\ufffd", "app:\ufffd (2)", "app:\ufffd (3)", "app:\ufffd (4)"
    }  # fmt: skip
    assert [one.subject for one in safe.edges if one.other == "card:plain"] == ["app:\ufffd"]
    assert told(shown).count("card:") == 4
    root = ElementTree.fromstring(picture(shown))
    assert len([one for one in root.iter(f"{SVG}rect") if one.get("class") == "member"]) == 4


def test_nobody_is_shown_for_a_subject_in_no_customer():
    graph = Graph(IdentityRules(), build(Facts(), IdentityRules()).nodes)
    assert shown_graph(graph, "crm:1") is None
