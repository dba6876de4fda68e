"""What is read and answered about dead letters over HTTP, as models: for requests and the OpenAPI document.

Invariants:
- Requests are strict, and every text has its limit, as in `api.bodies`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from api.bodies import Request
from models.commands import Actor, Why
from models.dead_letter import Reason
from models.event import Shape
from models.profile_sections import Moment

Position = Annotated[str, Field(description="Where the record lies: topic, partition, offset.")]


class DiscardRequest(Request):
    """Nothing is to become of it."""

    actor: Actor = Field(description="Who decides, as `E-7`.")
    reason: Why = Field(description="Why, in words; it is kept with the decision.")


class RedriveRequest(DiscardRequest):
    """Write it again, as received or corrected."""

    event: dict[str, Any] | None = Field(
        None,
        description="The whole CloudEvent, corrected; its subject becomes the key. Needs `events:write` too.",
    )
    dry_run: bool = Field(False, description="Only say what would happen.")


class SettledLetter(Shape):
    """What became of a dead letter."""

    action: Literal["redriven", "discarded"]
    actor: str
    reason: str | None
    at: Moment
    topic: str | None = Field(description="Where a redriven one went.")
    corrected: bool


class LetterSummary(Shape):
    """A dead letter in a list; what stood in the record is not in it."""

    position: Position
    reason: Reason
    pointer: str = Field(description="The field as a JSON pointer; empty for the whole.")
    detail: str
    logged_at: Moment
    settled: SettledLetter | None


class ReasonTotal(Shape):
    """How many letters have a reason."""

    reason: Reason
    count: int
    latest_at: Moment


class LettersAnswer(Shape):
    """Counts by reason, and a page of letters, those written last first."""

    total: int
    reasons: list[ReasonTotal]
    letters: list[LetterSummary]
    next_cursor: str | None
    complete: bool = Field(description="False when there are older ones than were looked at.")


class LetterHeader(Shape):
    """A header of the record."""

    name: str
    value: str | None


class LetterAnswer(LetterSummary):
    """A dead letter with its record as received."""

    hint: str = Field(description="What would make it right.")
    masked: bool
    key: str | None
    event: dict[str, Any] | None = Field(description="The event, where the value is a JSON object.")
    value: str | None = Field(description="The value as text, where it is no JSON object.")
    headers: list[LetterHeader]
    omitted_bytes: int


class LetterSettledAnswer(Shape):
    """What was done, or would be."""

    position: Position
    action: Literal["redriven", "discarded"]
    topic: str | None
    corrected: bool
    dry_run: bool


LETTER_ANSWERS = (
    LettersAnswer, LetterAnswer, LetterSettledAnswer, RedriveRequest, DiscardRequest,
)  # fmt: skip

_SUMMARY: dict[str, Any] = {
    "position": "sales.events-5@1042", "reason": "wrong_shape", "pointer": "/data/amount_minor",
    "detail": "Input should be a valid integer", "logged_at": "2026-03-01T10:42:08Z", "settled": None,
}  # fmt: skip
LETTERS = {
    "total": 1,
    "reasons": [{"reason": "wrong_shape", "count": 1, "latest_at": "2026-03-01T10:42:08Z"}],
    "letters": [_SUMMARY],
    "next_cursor": None,
    "complete": True,
}
LETTER = {
    **_SUMMARY, "hint": "correct what the pointer names with --file", "masked": True, "key": "crm:4711",
    "event": {
        "specversion": "1.0", "id": "evt-1", "source": "shop/checkout", "type": "sales.order_placed",
        "time": "2026-03-01T10:42:07Z", "subject": "crm:4711",
        "data": {"order_id": "…", "amount_minor": "…", "currency": "…"},
    },
    "value": None, "headers": [], "omitted_bytes": 0,
}  # fmt: skip
DISCARD = {"actor": "E-7", "reason": "a test of the shop"}
REDRIVE = {
    "actor": "E-7", "reason": "the amount was text",
    "event": {
        "specversion": "1.0", "id": "evt-1", "source": "shop/checkout", "type": "sales.order_placed",
        "time": "2026-03-01T10:42:07Z", "subject": "crm:4711",
        "data": {"order_id": "O-1", "amount_minor": 4990, "currency": "EUR"},
    },
}  # fmt: skip
REDRIVEN = {
    "position": "sales.events-5@1042", "action": "redriven", "topic": "sales.events", "corrected": True,
    "dry_run": False,
}  # fmt: skip
DISCARDED = {**REDRIVEN, "action": "discarded", "topic": None, "corrected": False}
