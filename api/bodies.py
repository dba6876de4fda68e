"""What is read and answered over HTTP, as models: they check requests and make the OpenAPI document.

Invariants:
- Requests are strict: a field that is not known is an error, so that a misspelt one is not ignored in
  silence.
- Every text and list has its limit.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from api.lookup import CANDIDATES_MAX, NAMES_MAX, REASONS_MAX
from models.commands import Actor, Node, Why
from models.event import Shape
from models.fields import ID_MAX, Name, SubjectName
from models.profile import Consent, CustomerId, Member, ProfileIdentifier, Related, TimelineEntry
from models.profile_sections import Moment

Kind = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_.-]{0,31}$", examples=["phone"])]
Purpose = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_.-]{0,63}$", examples=["inbound_call"])]
"""Why somebody reads: a word that reports can count."""


class Request(Shape):
    """A body that is read."""

    model_config = ConfigDict(extra="forbid")


class AskedName(Request):
    """An identifier, a subject, a reference (`order`, `case`, `invoice`), or `customer` with its id."""

    type: Kind
    value: Annotated[str, Field(min_length=1, max_length=ID_MAX, pattern=r"^[^\x00-\x1f\x7f]+$")]


class LookupRequest(Request):
    """Who is it? All names must lead to one customer."""

    identifiers: Annotated[list[AskedName], Field(min_length=1, max_length=NAMES_MAX)]
    purpose: Purpose | None = Field(None, description="Goes into the audit record.")
    sections: Annotated[list[Name], Field(max_length=20)] | None = Field(
        None, description="Only these sections of the profile; all that the key may see without it."
    )


class RevealRequest(Request):
    """Show single fields that are masked otherwise."""

    fields: Annotated[list[Literal["name", "birthdate", "email", "phone", "addresses", "identifiers"]], Field(
        min_length=1, max_length=6
    )]  # fmt: skip
    reason: Why = Field(description="Why, in words; it goes into the audit record.")


class PairRequest(Request):
    """A decision about two names."""

    subject: SubjectName
    other: Node
    actor: Actor = Field(description="Who decides, as `E-7`; a program as `matcher/name`.")
    reason: Why = Field(description="Why, in words.")


class AsOf(Shape):
    """How fresh an answer is."""

    last_event_at: Moment | None
    version: str | None
    generation: str | None
    status: Literal["live", "behind", "unattended", "unknown"] = Field(
        description="`live`: nothing waits; `behind`: records wait; `unattended`: no worker has looked "
        "at some lane for 5 s; `unknown`: nobody could say."
    )
    lag_records: Annotated[int, Field(ge=0)] | None
    lag_seconds: Annotated[float, Field(ge=0)] | None


class CandidateReason(Shape):
    """Why a customer answers to a name."""

    via: str
    through: str | None
    status: Literal["linking", "rejected", "shared"]


class LookupCandidate(Shape):
    """A customer that the names may mean."""

    customer_id: CustomerId
    display_name: str | None
    last_contact_at: Moment | None
    founder: str | None
    reasons: Annotated[list[CandidateReason], Field(max_length=REASONS_MAX)]


class LookupAnswer(Shape):
    """Who it is, or who it may be."""

    match: Literal["single", "ambiguous", "none"]
    profile: dict[str, Any] | None
    candidates: Annotated[list[LookupCandidate], Field(max_length=CANDIDATES_MAX)]
    merged_into: dict[str, str]
    unknown: list[str]
    as_of: AsOf


class Replayed(Shape):
    """Up to when a profile was replayed, and from how many records."""

    as_of: str | None
    known_at: str | None
    record_count: int


class ProfileAnswer(Shape):
    """A customer's profile; `replayed` is there where a time was asked for."""

    profile: dict[str, Any]
    as_of: AsOf
    replayed: Replayed | None = None


class ExplainRule(Shape):
    """A figure of the section as it is declared: per event type what is taken of it."""

    figure: str
    reducer: str
    meaning: str
    events: dict[str, str]


class ExplainChange(Shape):
    """What became of a place inside the field; `(missing)`: it was not there."""

    path: str
    before: Any
    after: Any


class ExplainEffect(Shape):
    """One event that changed the field, where its record lies, and what it did."""

    event_id: str
    source: str
    type: str
    subject: str
    occurred_at: str
    logged_at: str
    topic: str
    partition: int
    offset: int
    figures: list[str]
    changes: list[ExplainChange]


class ExplainAnswer(Shape):
    """Why a field has its value: the latest effects, in order; `effect_count` is of all."""

    customer_id: CustomerId
    field: str
    value: Any
    rules: list[ExplainRule]
    event_count: int
    effect_count: int
    effects: list[ExplainEffect]


class TimelineAnswer(Shape):
    """A page of the timeline, newest first. `truncated`: the log holds older events."""

    customer_id: CustomerId
    entries: list[TimelineEntry]
    next_cursor: str | None
    truncated: bool
    as_of: AsOf


class IdentifiersAnswer(Shape):
    """By which names the customer is known."""

    customer_id: CustomerId
    subjects: list[Member]
    identifiers: list[ProfileIdentifier]
    related: list[Related]
    as_of: AsOf


class ConsentsAnswer(Shape):
    """What the customer has permitted."""

    customer_id: CustomerId
    consent: Consent | None
    as_of: AsOf


class MergesAnswer(Shape):
    """The turns that the customer took part in, newest first."""

    customer_id: CustomerId
    merges: list[dict[str, Any]]
    complete: bool
    as_of: AsOf


class RevealAnswer(Shape):
    """The fields asked for, as they are."""

    customer_id: CustomerId
    fields: dict[str, Any]
    as_of: AsOf


class Rejection(Shape):
    """What is wrong with one event: a reason of docs/events.md, the field, a sentence."""

    code: str
    pointer: str
    detail: str


class EventOutcome(Shape):
    """What became of one event of the request, by its place there."""

    index: int
    id: str | None
    status: Literal["accepted", "rejected", "not_acknowledged"]
    sync_token: str | None = None
    problem: Rejection | None = None


class EventsAnswer(Shape):
    """What became of the events; `sync_token` stands for all that were accepted."""

    accepted: int
    rejected: int
    sync_token: str
    events: list[EventOutcome]


class CommandAnswer(Shape):
    """A decision that is in the log."""

    event_id: str
    sync_token: str


class ProblemDocument(Shape):
    """RFC 9457. `code` is stable; `pointer` or `parameter` names the place; other members by code."""

    type: str
    title: str
    status: int
    code: str
    detail: str
    request_id: str
    pointer: str | None = None
    parameter: str | None = None


ANSWERS = (
    LookupAnswer, ProfileAnswer, TimelineAnswer, IdentifiersAnswer, ConsentsAnswer, MergesAnswer,
    ExplainAnswer, RevealAnswer, EventsAnswer, CommandAnswer, LookupRequest, RevealRequest, PairRequest,
)  # fmt: skip
