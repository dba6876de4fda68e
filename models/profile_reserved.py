"""The sections of the profile that are reserved: experience, journey, value. Null until they are built.

Invariants:
- Their names are final: a reader may be written against them today.
- Every list has its bound from `models.bounds`; instants are text: RFC 3339 in UTC with `Z`.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from models.bounds import COMMENTS_MAX, LIST_MAX, TOUCHPOINTS_MAX
from models.event import Shape
from models.fields import Currency, Id, Name, Text
from models.profile_sections import Amount, Moment, Total


class Nps(Shape):
    """Would you recommend us, 0 to 10; answers that were paid for are counted in `incentivised` alone."""

    last_score: Annotated[int, Field(ge=0, le=10)] | None
    last_at: Moment | None
    scope: Literal["relational", "transactional"] | None
    touchpoint: Name | None
    previous_score: Annotated[int, Field(ge=0, le=10)] | None
    count: Total
    sum: Total


class Score(Shape):
    """How satisfied (csat, 1 to 5), or how easy (ces, 1 to 7)."""

    last_score: Annotated[int, Field(ge=1, le=7)] | None
    last_at: Moment | None
    count: Total
    sum: Total


class Incentivised(Shape):
    """Answers given for a reward."""

    count: Total
    nps_sum: Total


class Comment(Shape):
    """What the customer wrote beside a score."""

    text: Text
    kind: Literal["nps", "csat", "ces", "expectation"]
    score: Annotated[int, Field(ge=0, le=10)]
    occurred_at: Moment
    event_id: Id


class FollowUp(Shape):
    """Somebody shall get back to the customer by `due_at`."""

    follow_up_id: Id
    kind: Literal["recovery", "thank_you", "silence"]
    playbook: Name | None
    trigger_event_id: Id
    owner_id: Id | None
    opened_at: Moment
    due_at: Moment


class FollowUps(Shape):
    """Loops that were closed, and those still open."""

    closed_count: Total
    close_seconds_total: Total
    open: Annotated[list[FollowUp], Field(max_length=LIST_MAX)]


class Experience(Shape):
    """How the customer scored us, and what came of it. Reserved: null until it is built."""

    nps: Nps
    csat: Score
    ces: Score
    incentivised: Incentivised
    comments: Annotated[list[Comment], Field(max_length=COMMENTS_MAX)]
    follow_ups: FollowUps


class Touchpoint(Shape):
    """How one step of the journey went."""

    touchpoint: Name
    count: Total
    succeeded: Total
    failed: Total
    last_problem_code: Name | None


class RepeatedAsk(Shape):
    """What the customer had to tell us more than once."""

    asked_for: Name
    count: Total


class Journey(Shape):
    """Where the customer stands, and where it went wrong. Reserved: null until it is built."""

    stage: Literal["prospect", "customer", "lapsed"]
    stage_since: Moment | None
    handover_count: Total
    touchpoints: Annotated[list[Touchpoint], Field(max_length=TOUCHPOINTS_MAX)]
    repeated_asks: Annotated[list[RepeatedAsk], Field(max_length=LIST_MAX)]


class LifetimeValue(Shape):
    """What a model expects the customer to bring over the horizon."""

    amount_minor: Amount
    currency: Currency
    horizon_days: Annotated[int, Field(ge=1)]
    probability_alive: Annotated[float, Field(ge=0, le=1)]
    model: Name
    parameters: Name


class Value(Shape):
    """What the customer has brought and cost, and may bring. Reserved: null until it is built."""

    evaluated_at: Moment
    transactions: Total
    repeat_transactions: Total
    first_at: Moment | None
    last_at: Moment | None
    spend_minor: Amount | None
    currency: Currency | None
    service_cost_minor: Amount
    lifetime_value: LifetimeValue | None
