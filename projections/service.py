"""Section `service`: conversations, cases, complaints, promises, social threads, self-service."""

from __future__ import annotations

from typing import Any

from models.bounds import LIST_MAX
from models.decoding import Event
from models.marketing import SocialMentioned, SocialReplied
from models.service import (
    CaseChanged,
    CaseOpened,
    CaseReopened,
    CaseResolved,
    ComplaintMade,
    ComplaintSettled,
    ConversationHeld,
    PromiseBroken,
    PromiseKept,
    PromiseMade,
    TaskAttempted,
)
from models.titles import words
from projections.entities import Keyed, Naming, Shown
from projections.instants import instant_or_none, rfc3339
from projections.lists import Threads
from projections.reducers import Count, Latest, State, Total, constant, field, instant, occurred_us
from projections.section import Page, Rendered, Section


def _automated(event: Event) -> bool:
    return event.data.automated is True


def _by_person(event: Event) -> bool:
    return event.data.automated is not True


def _outcome(outcome: str) -> Any:
    return lambda event: event.data.outcome == outcome


class Service(Section):
    """How we dealt with the customer's concerns."""

    name = "service"

    contact_count = Count(ConversationHeld)
    waiting_seconds_total = Total(field("waiting_seconds"), ConversationHeld)
    transfer_count = Total(field("transfers"), ConversationHeld)
    human = Count(ConversationHeld, SocialReplied, where=_by_person)
    automated = Count(ConversationHeld, SocialReplied, where=_automated)
    last_contact = Latest(ConversationHeld, reads=(field("channel"), field("employee_id"), _automated))
    cases = Keyed(
        Naming(
            CaseOpened,
            "case_id",
            status=constant("open"),
            topic=field("topic"),
            priority=field("priority"),
            opened_at=occurred_us,
            due_at=instant("due_at"),
            url=field("url"),
        ),
        Naming(
            CaseChanged,
            "case_id",
            status=field("status"),
            owner_id=field("owner_id"),
            due_at=instant("due_at"),
        ),
        Naming(CaseResolved, "case_id", status=constant("resolved")),
        Naming(CaseReopened, "case_id", status=constant("open")),
        fields=("status", "topic", "priority", "opened_at", "due_at", "owner_id", "url"),
        is_open=lambda case: case["status"] not in ("resolved", "closed", None),
        kept=2 * LIST_MAX,
    )
    complaints = Keyed(
        Naming(
            ComplaintMade, "complaint_id", status=constant("open"), topic=field("topic"), made_at=occurred_us
        ),
        Naming(ComplaintSettled, "complaint_id", status=constant("settled"), settled_at=occurred_us),
        fields=("status", "topic", "made_at", "settled_at"),
        is_open=lambda complaint: complaint["status"] == "open",
        kept=2 * LIST_MAX,
    )
    kept_count = Count(PromiseKept)
    broken_count = Count(PromiseBroken)
    promises = Keyed(
        Naming(
            PromiseMade,
            "promise_id",
            status=constant("open"),
            text=field("text"),
            due_at=instant("due_at"),
            made_at=occurred_us,
        ),
        Naming(PromiseKept, "promise_id", status=constant("kept")),
        Naming(PromiseBroken, "promise_id", status=constant("broken")),
        fields=("status", "text", "due_at", "made_at"),
        is_open=lambda promise: promise["status"] == "open",
        kept=2 * LIST_MAX,
    )
    mention_count = Count(SocialMentioned)
    threads = Threads(SocialMentioned, SocialReplied, kept=2 * LIST_MAX)
    attempt_count = Count(TaskAttempted)
    success_count = Count(TaskAttempted, where=_outcome("succeeded"))
    abandoned_count = Count(TaskAttempted, where=_outcome("abandoned"))
    error_count = Total(field("errors"), TaskAttempted)
    seconds_total = Total(field("seconds"), TaskAttempted)
    click_count = Total(field("clicks"), TaskAttempted)

    @classmethod
    def render(cls, states: dict[str, State], page: Page) -> Rendered:
        last_contact = _last_contact(states["last_contact"])
        open_promises = cls.promises.ordered(states["promises"]).opened
        shown_promises = page.cut("promises.open", open_promises, LIST_MAX, states["promises"][0])
        cases, complaints = cls.cases.ordered(states["cases"]), cls.complaints.ordered(states["complaints"])
        attempts = ("attempt_count", "success_count", "abandoned_count", "error_count", "seconds_total")
        document = {
            "contact_count": states["contact_count"],
            "waiting_seconds_total": states["waiting_seconds_total"],
            "transfer_count": states["transfer_count"],
            "replies": {"human": states["human"], "automated": states["automated"]},
            "last_contact": last_contact,
            "cases": page.entities("cases", cases, states["cases"], LIST_MAX, _case),
            "complaints": page.entities("complaints", complaints, states["complaints"], LIST_MAX, _complaint),
            "promises": {
                "kept_count": states["kept_count"],
                "broken_count": states["broken_count"],
                "open": [_promise(promise) for promise in shown_promises],
            },
            "social": _social(states["mention_count"], states["threads"], page),
            "self_service": {name: states[name] for name in (*attempts, "click_count")},
        }
        facts = cls._facts(last_contact, cases.opened, complaints.opened, open_promises)
        return Rendered(document, page.truncated, facts)

    @classmethod
    def _facts(
        cls,
        last_contact: dict[str, Any] | None,
        cases: list[Shown],
        complaints: list[Shown],
        open_promises: list[Shown],
    ) -> dict[str, Any]:
        """What the summary wants to know: the newest open concern of each kind."""
        return {
            "last_contact_at": last_contact and last_contact["occurred_at"],
            "last_contact_channel": last_contact and last_contact["channel"],
            "open_case_count": len(cases),
            "case_open": newest_concern(cases, "opened_at", "Case {id}", "topic"),
            "complaint_open": newest_concern(complaints, "made_at", "Complaint {id}", "topic"),
            "promise_open": newest_concern(open_promises, "made_at", "Promise {id}", "text"),
        }


def newest_concern(entities: list[Shown], began: str, label: str, detail: str | None) -> Any:
    """The entity that began last, as (instant, id, text); None when none began at a known time."""
    known = [(one[began], one.id, one) for one in entities if one[began] is not None]
    if not known:
        return None
    began_us, entity_id, one = max(known, key=lambda item: item[:2])
    text = label.format(id=entity_id)
    said = None if detail is None else one[detail]
    return (
        began_us,
        entity_id,
        text if said is None else f"{text}: {said if detail == 'text' else words(said)}",
    )


def _last_contact(held: State) -> dict[str, Any] | None:
    if held is None:
        return None
    at_us, _, event_id, channel, employee_id, automated = held
    return {
        "occurred_at": rfc3339(at_us),
        "channel": channel,
        "employee_id": employee_id,
        "automated": automated,
        "event_id": event_id,
    }


def _case(case: Shown) -> dict[str, Any]:
    status, topic, priority, opened_at, due_at, owner_id, url = case.values
    return {
        "case_id": case.id,
        "status": status,
        "topic": topic,
        "priority": priority,
        "opened_at": instant_or_none(opened_at),
        "due_at": instant_or_none(due_at),
        "owner_id": owner_id,
        "url": url,
    }


def _complaint(complaint: Shown) -> dict[str, Any]:
    return {
        "complaint_id": complaint.id,
        "topic": complaint["topic"],
        "status": complaint["status"],
        "made_at": instant_or_none(complaint["made_at"]),
        "settled_at": instant_or_none(complaint["settled_at"]),
    }


def _promise(promise: Shown) -> dict[str, Any]:
    return {
        "promise_id": promise.id,
        "text": promise["text"],
        "due_at": instant_or_none(promise["due_at"]),
        "status": "open",
    }


def _social(mentions: int, threads: State, page: Page) -> dict[str, Any]:
    forgotten, replied, in_time, seconds, waiting = threads
    listed = sorted(waiting.items())
    listed.sort(key=lambda item: item[1][:3], reverse=True)
    return {
        "mention_count": mentions,
        "replied_count": replied,
        "replied_within_30_min_count": in_time,
        "reply_seconds_total": seconds,
        "unanswered": [
            {"thread_id": name, "platform": held[3], "mentioned_at": rfc3339(held[0]), "event_id": held[2]}
            for name, held in page.cut("social.unanswered", listed, LIST_MAX, forgotten)
        ],
    }
