"""The page for whoever looks after customers says what holds: its rules files load, its pictures are true.

Guarantees:
- The defaults that docs/identity.md prints are those of the code, all of them; its example works as it is.
- Who is one customer in a picture is so by the graph, with the default rules.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from xml.etree import ElementTree

import pytest

from models.link import LinkFact
from models.rules import Blocked, IdentifierRule, IdentityRules, SubjectRule, read_rules
from projections.graph import Graph, build

PAGE = Path(__file__).parent.parent / "docs" / "identity.md"
PICTURES = sorted((PAGE.parent / "pictures").glob("identity-*.svg"))
DEFAULTS, EXAMPLE = re.findall(r"^```toml\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
SVG = "{http://www.w3.org/2000/svg}"


def rules_of(text: str, tmp_path: Path) -> IdentityRules:
    """The rules of a file with this text."""
    path = tmp_path / "rules.toml"
    path.write_text(text)
    return read_rules(path)


def test_the_defaults_on_the_page_are_those_of_the_code_and_all_of_them(tmp_path: Path) -> None:
    told, ours = tomllib.loads(DEFAULTS), IdentityRules()
    assert rules_of(DEFAULTS, tmp_path) == ours
    assert list(told) == list(IdentityRules.model_fields)
    assert told["subjects"] == {
        name: rule.model_dump(exclude_defaults=True, exclude={"max_per_customer"})
        for name, rule in ours.subjects.items()
    }
    assert told["identifiers"] == {
        name: {"strength": rule.strength, **rule.model_dump(exclude_defaults=True)}
        for name, rule in ours.identifiers.items()
    }
    assert list(told["blocked"]) == list(Blocked.model_fields)


@pytest.mark.parametrize("rule", [*IdentityRules.model_fields, *SubjectRule.model_fields])
def test_every_rule_is_on_the_page(rule: str) -> None:
    assert re.search(rf"\b{rule}\b", PAGE.read_text())
    assert set(IdentifierRule.model_fields) <= set(re.findall(r"\w+", PAGE.read_text()))


def test_the_example_can_be_used_as_it_is(tmp_path: Path) -> None:
    rules = rules_of(EXAMPLE, tmp_path)
    assert rules.subject("shop").max_per_customer is None and rules.subject("shop").strength == 80
    assert rules.identifier("phone") == IdentifierRule(strength=35, shared_above=2, form="phone")
    assert rules.normalise("phone", "01 5550101", "crm") == "+4315550101"
    assert rules.normalise("phone", "01 5550100", "crm") is None, "the switchboard, as it may be written"
    assert rules.normalise("phone", "044 555 01 01", "shop_ch") == "+41445550101"
    assert rules.normalise("email", "Kasse@shop.example") is None
    assert not rules.counts("shop") and not rules.counts("kiosk") and rules.counts("membership")


def told(*statements: str) -> list[LinkFact]:
    """Facts of `subject states identifier` or `subject`, one a second."""
    facts = []
    for number, statement in enumerate(statements):
        subject, _, identifier = statement.partition(" ")
        facts.append(LinkFact(subject, "sales.events-0", number, number * 1_000_000, identifier or None))
    return facts


def graph_of(facts: list[LinkFact]) -> Graph:
    """The graph that these facts make, read in this order."""
    return build(enumerate(facts, 1), IdentityRules())


def customers(graph: Graph, *subjects: str) -> list[list[str]]:
    """The members of each customer that holds one of these subjects."""
    placed = [graph.placement_of(subject) for subject in subjects]
    return sorted({tuple(one.members): list(one.members) for one in placed if one is not None}.values())


def test_four_sources_are_one_customer_with_the_first_person_as_founder() -> None:
    email, card, phone = "email:ada@example.com", "loyalty_card:L-77", "phone:+4930901820"
    sources = ["billing:B-5", "service:S-12", "shop:88", "web:v-77"]
    graph = graph_of(
        told(
            f"web:v-77 {email}", f"shop:88 {email}", f"shop:88 {card}", f"shop:88 {phone}",
            f"billing:B-5 {card}", f"service:S-12 {phone}",
        )
    )  # fmt: skip
    assert customers(graph, *sources) == [sources]
    placed = graph.placement_of("web:v-77")
    assert placed is not None and placed.founder == "shop:88"


def test_a_phone_does_not_make_two_shop_accounts_one_customer() -> None:
    ada, ben, phone = "email:ada@example.com", "email:ben@example.com", "phone:+4930901820"
    graph = graph_of(
        told(
            f"shop:88 {phone}", f"shop:93 {phone}", f"crm:4711 {ada}", f"shop:88 {ada}", f"shop:93 {ben}"
        )
    )  # fmt: skip
    assert customers(graph, "crm:4711", "shop:88", "shop:93") == [["crm:4711", "shop:88"], ["shop:93"]]
    matches = [graph.placement_of(subject) for subject in ("crm:4711", "shop:93")]
    assert [[name for name, _ in one.related] for one in matches if one] == [["shop:93"], ["shop:88"]]


def test_what_a_phone_has_joined_comes_apart_by_an_unlink_or_by_a_sixth_person() -> None:
    phone = "phone:+4930901820"
    two = told(f"crm:4711 {phone}", f"service:S-12 {phone}")
    assert customers(graph_of(two), "crm:4711") == [["crm:4711", "service:S-12"]]
    apart = [["crm:4711"], ["service:S-12"]]
    unlink = LinkFact(
        "crm:4711", "identity.commands-0", 0, 9, "service:S-12", command="unlink", actor="E-7", reason="no"
    )
    assert customers(graph_of([*two, unlink]), "crm:4711", "service:S-12") == apart
    others = ("shop:93", "crm:20", "billing:B-9", "shop:31")
    six = told(*(f"{subject} {phone}" for subject in ("crm:4711", "service:S-12", *others)))
    assert customers(graph_of(six[:5]), "service:S-12") != [["service:S-12"]]
    assert customers(graph_of(six), "crm:4711", "service:S-12") == apart


@pytest.mark.parametrize("picture", PICTURES, ids=lambda picture: picture.stem)
def test_a_picture_stands_alone_has_words_for_those_who_do_not_see_it_and_a_dark_side(picture: Path) -> None:
    text, root = picture.read_text(), ElementTree.parse(picture).getroot()
    assert f"](pictures/{picture.name})" in PAGE.read_text()
    assert root.findtext(f"{SVG}title") and root.findtext(f"{SVG}desc")
    assert "prefers-color-scheme: dark" in text
    assert not re.search(r"href|url\(|<script|<image", text)
