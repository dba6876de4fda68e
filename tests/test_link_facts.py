"""What a lane tells the identity graph, and what a look-up can ask by, follows from folding alone."""

from __future__ import annotations

from typing import Any

from models.identifiers import REFERENCE_TYPES
from models.link import LinkFact
from models.record import Lane, Record
from models.rules import IdentityRules, SubjectRule
from projections.folding import REFERENCE_FIELDS, Projection
from projections.parts import Part
from projections.reducers import Configuration
from streams.folder import Folded, Folder, prefixes
from tests.folding import as_consumed
from tests.told_by_hand import event, logged, order

LANE = Lane("marketing.events", 0)
LOG_US = 1_767_225_600_000_000


def visit(number: int, *identifiers: dict[str, Any], **data: Any) -> dict[str, Any]:
    """A page view at the first instant of 2026, numbered, stating these identifiers."""
    return event(
        "marketing.page_viewed",
        "2026-01-01T00:00:00Z",
        event_id=str(number),
        page="/",
        identifiers=list(identifiers),
        **data,
    )


def email(value: str, verified: bool = False) -> dict[str, Any]:
    """A stated email."""
    return {"type": "email", "value": value, "verified": verified}


def folded(
    records: list[Record], known: dict[str, Part] | None = None, rules: IdentityRules | None = None
) -> tuple[Folded, dict[str, Part]]:
    """The records of one lane, folded in one batch."""
    changed: dict[str, Part] = {}
    folder = Folder(Projection(Configuration(rules=rules or IdentityRules())))
    (prefix,) = prefixes([as_consumed(record) for record in records], None, len(records))
    return folder.fold(records[0].lane, prefix, known or {}, changed), changed


def fact(offset: int, identifier: str | None = None, verified: bool = False) -> LinkFact:
    """A fact of Ada's lane."""
    return LinkFact("crm:4711", "marketing.events-0", offset, LOG_US, identifier, verified)


def test_a_lane_says_once_that_it_has_seen_a_subject() -> None:
    result, _ = folded(logged(visit(1), visit(2)))
    assert result.facts == [fact(0)]
    assert result.new_subjects == ["crm:4711"]


def test_an_identifier_is_told_when_new_and_when_first_verified() -> None:
    stated = (email("Ada@Example.com "), email("ada@example.com"), email("ada@example.com", True))
    again = (email("ada@example.com", True), email("other@example.com", True))
    result, _ = folded(logged(*[visit(n, one) for n, one in enumerate(stated + again)]))
    assert result.facts == [
        fact(0),
        fact(0, "email:ada@example.com"),
        fact(2, "email:ada@example.com", True),
        fact(4, "email:other@example.com", True),
    ]


def test_what_says_nothing_about_a_person_makes_no_fact_and_is_counted() -> None:
    blocked = [email("noreply@shop.example"), {"type": "phone", "value": "unknown"}]
    # References are looked up by and link nobody; customers are made by the graph, stated by nobody.
    kinds = ("order", "case", "invoice", "customer")
    blocked += [{"type": kind, "value": "O-9"} for kind in kinds]
    assert {*REFERENCE_FIELDS.values()} == REFERENCE_TYPES == {*kinds[:3]}
    result, changed = folded(logged(visit(1, *blocked)))
    assert result.facts == [fact(0)]
    seen = changed["crm:4711"].seen
    assert seen is not None
    assert seen.ignored_fields == 6


def test_a_repeat_tells_nothing_again() -> None:
    result, _ = folded(logged(visit(1), visit(1, email("ada@example.com"))))
    assert result.facts == [fact(0)]


def test_orders_cases_invoices_and_stated_references_can_be_asked_by() -> None:
    placed = order(8, "2026-01-01T00:00:00Z", 100, references=["case:S-5", "ticket:T-1"])
    result, _ = folded(logged(placed))
    assert result.references == [
        ("case:S-5", "crm:4711"),
        ("order:O-8", "crm:4711"),
        ("ticket:T-1", "crm:4711"),
    ]


def test_a_phone_is_read_in_the_region_of_the_subjects_namespace() -> None:
    rules = IdentityRules(subjects={"crm": SubjectRule(region="US")})
    phone = {"type": "phone", "value": "212 555 0100"}
    result, _ = folded(logged(visit(1, phone)), rules=rules)
    assert result.facts == [fact(0), fact(0, "phone:+12125550100")]


def test_an_employee_is_no_identifier_of_a_customer() -> None:
    result, changed = folded(logged(visit(1, {"type": "employee", "value": "E-7"})))
    assert result.facts == [fact(0)]
    assert all(b"E-7" not in section for section in changed["crm:4711"].sections if section)


def test_an_employee_has_a_part_and_no_mark_and_tells_the_graph_nothing() -> None:
    survey = event(
        "service.employee_surveyed",
        "2026-01-01T00:00:00Z",
        subject="employee:7",
        score=9,
        team_id="T",
        identifiers=[email("grace@example.com")],
    )
    result, changed = folded(logged(survey))
    assert [part.revision for part in result.parts] == [None]
    assert (result.marks, result.facts) == ({}, [])
    assert changed["employee:7"].revision == 1
