"""What an agent writes down after a call, as events of the catalogue.

Invariants:
- One form makes one set of event ids: sent twice, it changes nothing the second time.
- Events are about the customer's founder: a subject that the customer has whatever merges and splits come.
- What is promised or taken over has an owner: it is not written without the agent's number.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from api.problems import invalid

SOURCE = "scv/agent"
# How it ended: what is written, and what the agent reads.
DISPOSITIONS = {
    "solved": "Solved",
    "not_solved": "Not solved",
    "call_back": "Call back",
    "question": "Just a question",
    "wrong_person": "Wrong person",
}
CHANNELS = ("phone", "chat", "email", "store", "social", "other")
KINDS = {"recovery": "Put it right", "thank_you": "Say thank you", "silence": "Ask how it went"}
# A form left open over night is no talk of fifteen hours.
SECONDS_MAX = 4 * 60 * 60

_FORM_ID = re.compile(r"[0-9a-f]{32}")


def events_of(
    form: Mapping[str, str], subject: str, actor: str | None, now: datetime, zone: ZoneInfo
) -> list[bytes]:
    """The events of a filled form, each a CloudEvent. Problem for what is not right, with the field."""
    form_id = form.get("form_id", "")
    if not _FORM_ID.fullmatch(form_id):
        raise invalid("/form_id", "open the form again")
    told: list[tuple[str, str, dict[str, Any]]] = [
        ("conversation", "service.conversation_held", _talk(form, form_id))
    ]
    for promise_id in (name.removeprefix("kept:") for name in form if name.startswith("kept:")):
        told.append((f"kept-{promise_id}"[:80], "service.promise_kept", {"promise_id": promise_id}))
    if text := form.get("promise"):
        due = _instant(form, "promise_due", now, zone)
        promise = {"promise_id": f"PR-{form_id[:8].upper()}", "text": text[:4_000], "due_at": due}
        told.append(("promise", "service.promise_made", promise))
    if "follow_up" in form:
        told += _follow_up(form, form_id, actor, now, zone)
    if actor is None and len(told) > 1:
        raise invalid("/actor", "sign in with your number: a promise needs somebody who keeps it")
    return [_event(f"{form_id}-{part}", kind, subject, now, data, actor) for part, kind, data in told]


def _talk(form: Mapping[str, str], form_id: str) -> dict[str, Any]:
    disposition, channel = form.get("disposition", ""), form.get("channel", "phone")
    if disposition not in DISPOSITIONS:
        raise invalid("/disposition", "say how it ended")
    if channel not in CHANNELS:
        raise invalid("/channel", f"one of {', '.join(CHANNELS)}")
    seconds = form.get("seconds", "0")
    if not (seconds.isascii() and seconds.isdecimal() and len(seconds) < 9):
        raise invalid("/seconds", "a whole number of seconds")
    talk: dict[str, Any] = {
        "conversation_id": f"V-{form_id[:12].upper()}",
        "seconds": min(int(seconds), SECONDS_MAX),
        "automated": False,
        "channel": channel,
        "disposition": disposition,
        "outcome": "succeeded" if disposition in ("solved", "question") else "failed",
    }
    if disposition == "wrong_person":
        del talk["outcome"]
    if case_id := form.get("case_id"):
        talk["case_id"] = case_id[:200]
        talk["references"] = [f"case:{case_id[:200]}"]
    if text := form.get("text"):
        talk["text"] = text[:4_000]
    return talk


def _follow_up(
    form: Mapping[str, str], form_id: str, actor: str | None, now: datetime, zone: ZoneInfo
) -> list[tuple[str, str, dict[str, Any]]]:
    """Opened, and taken by the agent."""
    kind = form.get("follow_up_kind", "recovery")
    if kind not in KINDS:
        raise invalid("/follow_up_kind", f"one of {', '.join(KINDS)}")
    follow_up_id = f"L-{form_id[:8].upper()}"
    opened = {
        "follow_up_id": follow_up_id,
        "kind": kind,
        "trigger_event_id": f"{form_id}-conversation",
        "due_at": _instant(form, "follow_up_due", now, zone),
    }
    return [
        ("follow-up", "service.follow_up_opened", opened),
        ("follow-up-taken", "service.follow_up_assigned", {"follow_up_id": follow_up_id, "owner_id": actor}),
    ]


def _instant(form: Mapping[str, str], name: str, now: datetime, zone: ZoneInfo) -> str:
    """A time as the browser writes it, without an offset: one of the agent's zone, ahead of now."""
    try:
        at = datetime.fromisoformat(form.get(name, ""))
        at = (at if at.tzinfo else at.replace(tzinfo=zone)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise invalid(f"/{name}", "say by when: a day and a time") from None
    if at <= now:
        raise invalid(f"/{name}", "this lies in the past; say by when it will be done")
    return _written(at)


def _event(
    event_id: str, wire_type: str, subject: str, now: datetime, data: dict[str, Any], actor: str | None
) -> bytes:
    return msgspec.json.encode(
        {
            "specversion": "1.0",
            "id": event_id,
            "source": SOURCE,
            "type": wire_type,
            "time": _written(now),
            "subject": subject,
            "data": {**data, **({"employee_id": actor} if actor else {})},
        }
    )


def _written(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
