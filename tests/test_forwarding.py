"""Commands become link facts of the commands' lane, or dead letters; they never make a part."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from models.link import LinkFact, read_link_fact, wire_link_fact
from models.record import Lane, Record
from models.rules import IdentityRules, SubjectRule
from projections.folding import Projection
from projections.reducers import Configuration
from streams.folder import Folded, Folder, prefixes
from tests.folding import as_consumed
from tests.told_by_hand import event, logged

LANE = Lane("identity.commands", 0)
LOG_US = 1_767_225_600_000_000
RULES = IdentityRules(subjects={"crm": SubjectRule(), "shop": SubjectRule()})
SAID: dict[str, Any] = {"actor": "E-7", "reason": "same passport"}


def heard(*told: dict[str, Any]) -> Folded:
    """What a lane of these commands says to the graph."""
    records: list[Record] = logged(*told)
    (prefix,) = prefixes([as_consumed(one) for one in records], None, len(records))
    changed: dict[str, Any] = {}
    folded = Folder(Projection(Configuration(rules=RULES))).fold(LANE, prefix, {}, changed)
    assert not folded.parts and not changed and not folded.marks
    return folded


def command(verb: str, number: int = 1, **data: Any) -> dict[str, Any]:
    """A command of agent E-7 about crm:4711."""
    one = event(f"identity.{verb}", "2026-01-01T00:00:00Z", event_id=str(number))
    return {**one, "data": {"subject": "crm:4711", **SAID, **data}}


def fact(offset: int, identifier: str, **said: Any) -> LinkFact:
    """What the graph hears of it."""
    return LinkFact("crm:4711", str(LANE), offset, LOG_US, identifier, **{**SAID, **said})


def test_a_link_and_an_unlink_name_both_ends_and_who_said_it() -> None:
    told = heard(command("link", other="shop:88"), command("unlink", 2, other="shop:88"))
    assert told.facts == [fact(0, "shop:88", command="link"), fact(1, "shop:88", command="unlink")]
    assert told.event_count == 2 and not told.dead_letters


def test_an_identifier_is_brought_into_its_form_and_a_subject_stays_as_written() -> None:
    told = heard(
        command("link", other="email: Ada@Example.com "),
        command("unlink", 2, other="shop: A b"),
        command("verify", 3, identifier_type="phone", identifier_value="030 901820"),
    )
    assert [one.identifier for one in told.facts] == [
        "email:ada@example.com",
        "shop: A b",
        "phone:+4930901820",
    ]
    assert [one.verified for one in told.facts] == [False, False, True]


def test_what_stands_for_nobody_links_nobody() -> None:
    told = heard(command("link", other="email:unknown"), command("erase", 2))
    assert told.facts == [] and not told.dead_letters


@pytest.mark.parametrize(
    "broken",
    [
        {"other": "crm:4711"},
        {"other": "nonsense"},
        {"other": "shop:88", "actor": None},
        {},
        {"subject": "phone:+4930901820", "other": "crm:4711"},
        {"subject": "customer:4711", "other": "crm:4711"},
        {"other": "customer:cus_499N3X8XM5CNPS6H"},
        {"other": "order:O-9"},
        {"subject": "case:S-5", "other": "crm:4711"},
        {"other": "shop:88", "actor": " \n"},
        {"other": "shop:88", "actor": "Matcher/ "},
        {"other": "shop:88", "reason": ""},
        {"other": "shop:88", "reason": " \u2003\t"},
    ],
    ids=[
        "with itself",
        "no name",
        "by nobody",
        "with nothing",
        "of an identifier",
        "of a customer",
        "with a customer",
        "with a reference",
        "of a reference",
        "by a blank",
        "by a program without a name",
        "without a reason",
        "with a blank reason",
    ],
)
def test_a_broken_command_is_a_dead_letter_and_the_next_is_heard(broken: dict[str, Any]) -> None:
    told = heard(command("link", **broken), command("link", 2, other="shop:88"))
    assert [letter.offset for letter in told.dead_letters] == [0]
    assert told.facts == [fact(1, "shop:88", command="link")]


def test_a_link_fact_comes_back_from_the_wire_and_garbage_does_not() -> None:
    one = fact(7, "shop:88", command="link")
    assert read_link_fact(wire_link_fact(one)) == one
    broken = [None, b"", b"{}", b"[]", b"\xff"]
    for offset, log_us in ((-1, 0), (2**53, 0), (10**30, 0), (0, -1), (0, 10**30)):
        broken.append(b'{"subject":"crm:1","lane":"x-0","offset":%d,"log_us":%d}' % (offset, log_us))
    for name in ("", "nocolon", ":4711", "crm:", "CRM:4711", "crm x:4711", " crm:4711"):
        broken += [wire_link_fact(replace(one, subject=name)), wire_link_fact(replace(one, identifier=name))]
    assert [read_link_fact(value) for value in broken] == [None] * len(broken)
    # What follows the colon is the source's: lines and blanks, too.
    stated = replace(one, identifier="card:\n A:1")
    assert read_link_fact(wire_link_fact(stated)) == stated
    assert read_link_fact(b'{"subject":"crm:1","lane":"x-0","offset":1,"log_us":0,"command":"link"}') is None


def test_a_program_is_a_program_in_any_spelling() -> None:
    actors = ("Matcher/x", " matcher/x", "MATCHER/ x ", "matcher/X", " E-7 ", "matchers")
    told = heard(*(command("link", at, other="shop:88", actor=actor) for at, actor in enumerate(actors)))
    assert [one.actor for one in told.facts] == [*["matcher/x"] * 3, "matcher/X", "E-7", "matchers"]
    assert [one.by_program for one in told.facts] == [True] * 4 + [False] * 2
    # Facts of older workers have the spelling of the command.
    assert fact(0, "shop:88", command="link", actor=" Matcher/x").by_program


def test_nobody_has_verified_a_reference() -> None:
    told = heard(command("verify", identifier_type="invoice", identifier_value="I-88"))
    (letter,) = told.dead_letters
    assert letter.fault.pointer == "/data/identifier_type"
    assert "invoice:… is a reference" in letter.fault.detail


def test_a_link_fact_that_no_event_can_have_led_to_is_none() -> None:
    one = fact(7, "shop:88", command="link")
    assert read_link_fact(wire_link_fact(replace(one, identifier="card:" + "x" * 600))) is not None
    longer: list[dict[str, Any]] = [
        {"subject": "crm:" + "x" * 230},
        {"identifier": "card:" + "x" * 700},
        {"actor": "x" * 256},
        {"reason": "x" * 4_001},
    ]
    for broken in longer:
        assert read_link_fact(wire_link_fact(replace(one, **broken))) is None


def test_what_was_verified_has_a_type_as_identifiers_have() -> None:
    told = heard(*(command("verify", identifier_type=kind, identifier_value="x") for kind in ("E mail", "")))
    assert [letter.fault.pointer for letter in told.dead_letters] == ["/data/identifier_type"] * 2
    assert told.facts == []
