"""The line that the timeline shows for an event: every type has one, and it reads well."""

from __future__ import annotations

import re
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings

from models import careful
from models.catalogue import EVENT_TYPES, topic_of
from models.decoding import Event
from models.titles import TITLE_MAX, cut, title_of, words
from tests.event_strategies import events

PLACEHOLDER = re.compile(r"\{(\w+)(?::(\w+))?\}")


TITLES: list[tuple[str, dict[str, Any], str]] = [
    ("billing.payment_failed", {"code": "card_expired"}, "Payment failed: card expired"),
    (
        "billing.payment_received",
        {"payment_id": "Y", "amount_minor": 1, "currency": "EUR"},
        "Payment received",
    ),
    (
        "billing.payment_received",
        {"payment_id": "Y", "amount_minor": 1, "currency": "EUR", "invoice_id": "I-88"},
        "Payment received for invoice I-88",
    ),
    (
        "service.conversation_held",
        {"conversation_id": "1", "seconds": 0},
        "Conversation with agent, 0 min",
    ),
    (
        "service.conversation_held",
        {
            "conversation_id": "1",
            "seconds": 301,
            "channel": "chat",
            "automated": True,
            "disposition": "not_solved",
        },
        "Chat with assistant, 6 min, not solved",
    ),
    (
        "service.conversation_held",
        {"conversation_id": "1", "seconds": 300, "channel": "phone", "automated": False},
        "Call with agent, 5 min",
    ),
    (
        "marketing.consent_changed",
        {"purpose": "market_research", "channel": "email", "granted": False, "legal_basis": "consent"},
        "Consent withdrawn for market research by email",
    ),
    (
        "service.survey_answered",
        {
            "survey_id": "1",
            "kind": "nps",
            "score": 3,
            "scope": "relational",
            "incentivised": False,
            "comment": "Late.",
        },
        "Answered NPS with 3: Late.",
    ),
    (
        "service.task_attempted",
        {"task": "change_address", "outcome": "failed", "seconds": 9},
        "Tried change address: failed",
    ),
    (
        "sales.contract_signed",
        {"contract_id": "{x}[y]", "product_line": "home_care"},
        "Contract {x}[y] signed: home care",
    ),
]


def title(wire_type: str, **data: Any) -> str:
    """The title of an event with this data, after it was read."""
    event = {
        "specversion": "1.0",
        "id": "1",
        "source": "s",
        "type": wire_type,
        "subject": "crm:1",
        "data": data,
    }
    read = careful.read(topic_of(wire_type), b"crm:1", msgspec.json.encode(event), [], 0)
    assert isinstance(read, Event), read
    return title_of(wire_type)(read.data)


@pytest.mark.parametrize("wire_type", sorted(EVENT_TYPES))
def test_every_valid_event_has_a_title_of_one_piece_without_gaps(wire_type: str) -> None:
    @settings(max_examples=10, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
    @given(events(wire_type))
    def check(event: dict[str, Any]) -> None:
        read = careful.read(topic_of(wire_type), event["subject"].encode(), msgspec.json.encode(event), [], 0)
        assert isinstance(read, Event)
        made = title_of(wire_type)(read.data)
        assert 0 < len(made) <= TITLE_MAX
        assert made == title_of(wire_type)(read.data)

    check()


@pytest.mark.parametrize("wire_type", sorted(EVENT_TYPES))
def test_a_field_that_may_be_missing_stands_in_brackets_or_has_words_for_it(wire_type: str) -> None:
    kind = EVENT_TYPES[wire_type]
    assert kind.shown_as
    for name, _ in PLACEHOLDER.findall(kind.shown_as):
        assert name in kind.model_fields
    outside = re.sub(r"\[[^\]]*\]", "", kind.shown_as)
    for name, shown in PLACEHOLDER.findall(outside):
        assert kind.model_fields[name].is_required() or shown in ("talk", "who")


@pytest.mark.parametrize("wire_type, data, expected", TITLES)
def test_titles_read_like_this(wire_type: str, data: dict[str, Any], expected: str) -> None:
    assert title(wire_type, **data) == expected


def test_a_long_title_is_cut_with_an_ellipsis() -> None:
    made = title("service.promise_made", promise_id="1", text="x" * 4_000, due_at="2026-03-01T00:00:00Z")
    assert len(made) == TITLE_MAX and made.endswith("x…")
    fitting = "x" * (TITLE_MAX - len("Promised: "))
    assert title(
        "service.promise_made", promise_id="1", text=fitting, due_at="2026-03-01T00:00:00Z"
    ).endswith("x")


def test_cutting_counts_characters_and_leaves_what_fits() -> None:
    assert [cut("äöü", limit) for limit in (3, 2, 1)] == ["äöü", "ä…", "…"]
    assert words("card_expired_") == "card expired "
