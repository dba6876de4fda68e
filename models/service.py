"""The events of `service.events`: cases, conversations, promises, surveys, follow-ups, outages and more."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from models.event import EventData
from models.fields import Count, Hours, Id, Instant, Name, Outcome, Seconds, Sentiment, Share, Text, Url

SCORE_RANGES = {"nps": (0, 10), "csat": (1, 5), "ces": (1, 7), "expectation": (1, 5)}


class CaseOpened(EventData, wire_type="service.case_opened", shown_as="Case {case_id} opened: {topic:words}"):
    """Somebody began to work on a concern of the customer's."""

    case_id: Id
    topic: Name
    priority: Name | None = None
    due_at: Instant | None = None
    url: Url | None = None


class CaseChanged(
    EventData, wire_type="service.case_changed", shown_as="Case {case_id} changed[: {status:words}]"
):
    """Its status, owner or due date changed."""

    case_id: Id
    status: Name | None = None
    owner_id: Id | None = None
    due_at: Instant | None = None


class CaseResolved(
    EventData, wire_type="service.case_resolved", shown_as="Case {case_id} resolved[: {cause:words}]"
):
    """It is solved."""

    case_id: Id
    cause: Name | None = None


class CaseReopened(EventData, wire_type="service.case_reopened", shown_as="Case {case_id} reopened"):
    """It was not."""

    case_id: Id


class ConversationHeld(
    EventData,
    wire_type="service.conversation_held",
    shown_as="{channel:talk} with {automated:who}, {seconds:minutes}[, {disposition:words}]",
):
    """A call, a chat, a visit: `seconds` long, after `waiting_seconds` of waiting."""

    conversation_id: Id
    seconds: Seconds
    waiting_seconds: Seconds | None = None
    transfers: Count | None = None
    automated: bool | None = None
    sentiment: Sentiment | None = None
    disposition: Name | None = None
    case_id: Id | None = None
    text: Text | None = None


class ComplaintMade(
    EventData, wire_type="service.complaint_made", shown_as="Complaint {complaint_id}: {topic:words}"
):
    """The customer complained."""

    complaint_id: Id
    topic: Name


class ComplaintSettled(
    EventData, wire_type="service.complaint_settled", shown_as="Complaint {complaint_id} settled"
):
    """The complaint is settled."""

    complaint_id: Id


class PromiseMade(EventData, wire_type="service.promise_made", shown_as="Promised: {text}"):
    """We promised something, by `due_at`."""

    promise_id: Id
    text: Text
    due_at: Instant


class PromiseKept(EventData, wire_type="service.promise_kept", shown_as="Promise {promise_id} kept"):
    """We did it."""

    promise_id: Id


class PromiseBroken(EventData, wire_type="service.promise_broken", shown_as="Promise {promise_id} broken"):
    """We did not."""

    promise_id: Id


class SurveyAnswered(
    EventData, wire_type="service.survey_answered", shown_as="Answered {kind:upper} with {score}[: {comment}]"
):
    """The customer scored us: nps 0–10, csat 1–5, ces 1–7, expectation 1–5."""

    survey_id: Id
    kind: Literal["nps", "csat", "ces", "expectation"]
    score: Annotated[int, Field(ge=0, le=10)]
    scope: Literal["relational", "transactional"]
    incentivised: bool
    comment: Text | None = None
    employee_rating: Annotated[int, Field(ge=0, le=10)] | None = None

    @staticmethod
    def fault(data: Any) -> str | None:
        """A score lies in the range of its kind."""
        low, high = SCORE_RANGES[data.kind]
        return None if low <= data.score <= high else f"a {data.kind} score lies between {low} and {high}"


class FollowUpOpened(
    EventData, wire_type="service.follow_up_opened", shown_as="Follow-up {follow_up_id}: {kind:words}"
):
    """Somebody shall get back to the customer."""

    follow_up_id: Id
    kind: Literal["recovery", "thank_you", "silence"]
    trigger_event_id: Id
    due_at: Instant
    playbook: Name | None = None


class FollowUpAssigned(
    EventData, wire_type="service.follow_up_assigned", shown_as="Follow-up {follow_up_id} taken by {owner_id}"
):
    """This person will."""

    follow_up_id: Id
    owner_id: Id


class FollowUpClosed(
    EventData,
    wire_type="service.follow_up_closed",
    shown_as="Follow-up {follow_up_id} closed[: {cause:words}]",
):
    """The loop is closed."""

    follow_up_id: Id
    resolved: bool
    cause: Name | None = None


class TaskAttempted(EventData, wire_type="service.task_attempted", shown_as="Tried {task:words}: {outcome}"):
    """The customer tried to help themselves."""

    task: Name
    outcome: Outcome
    seconds: Seconds
    clicks: Count | None = None
    errors: Count | None = None


class ServiceInterrupted(
    EventData, wire_type="service.service_interrupted", shown_as="Service interrupted[: {cause:words}]"
):
    """Something the customer uses is down."""

    outage_id: Id
    cause: Name | None = None
    expected_end_at: Instant | None = None


class ServiceRestored(EventData, wire_type="service.service_restored", shown_as="Service restored"):
    """It is back."""

    outage_id: Id


class EmployeeSurveyed(
    EventData, wire_type="service.employee_surveyed", shown_as="Employee survey: {score} of 10"
):
    """An employee scored working here. Its subject is `employee:…`; employees never become customers."""

    score: Annotated[int, Field(ge=0, le=10)]
    team_id: Id
    belief: Annotated[int, Field(ge=0, le=10)] | None = None
    turnover: Share | None = None
    training_hours: Hours | None = None
