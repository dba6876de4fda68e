"""What an agent must know before saying hello, and what to do next: rules over a profile and the time now.

Invariants:
- Nothing is invented: each alert and step names what in the profile it stands on. Where a section is null,
  its rules are silent.
- What depends on the time (a promise is overdue) is reckoned when somebody looks.
- At most `ALERTS_MAX` alerts, the worst first; `do not contact` is told beside the consent too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from models.moments import moment
from models.money import money_text
from models.titles import words

ALERTS_MAX = 3
# A score up to this is a detractor's (net promoter score).
DETRACTOR_MAX = 6

Profile = Mapping[str, Any]


class Alert(NamedTuple):
    """An icon's name, a word or two, what it stands on, and how bad it is: `danger` or `warn`."""

    icon: str
    word: str
    why: str
    tone: str


class Step(NamedTuple):
    """What to do, and why."""

    what: str
    why: str


def alerts(profile: Profile, now: datetime, *, dated: bool = False) -> list[Alert]:
    """What is wrong, the worst first. `dated`: with dates alone, as `moment` has it."""
    found = [*_service_alerts(profile["service"], now, dated), *_other_alerts(profile, now)]
    return sorted(found, key=lambda one: one.tone != "danger")[:ALERTS_MAX]


def _service_alerts(service: Profile | None, now: datetime, dated: bool) -> Iterator[Alert]:
    if service is None:
        return
    complaints = [one for one in service["complaints"] if one["status"] == "open"]
    if complaints:
        topic = complaints[0]["topic"]
        made = moment(complaints[0]["made_at"], now, dated=dated)
        yield Alert(
            "flag", "Complaint open", " · ".join(filter(None, (topic and words(topic), made))), "danger"
        )
    late = [one for one in service["promises"]["open"] if is_past(one["due_at"], now)]
    broken = service["promises"]["broken_count"]
    if late:
        since = moment(late[0]["due_at"], now, dated=dated)
        yield Alert("broken", "Promise overdue", f"since {since}", "danger")
    elif broken:
        yield Alert("broken", "Broken promise", "once" if broken == 1 else f"{broken} so far", "warn")


def _other_alerts(profile: Profile, now: datetime) -> Iterator[Alert]:
    billing, summary = profile["billing"], profile["summary"] or {}
    if billing and (failures := billing["failures_in_a_row"]):
        code = billing["last_failure"]["code"]
        times = "once" if failures == 1 else f"{failures} times"
        yield Alert("card", "Payment failing", f"{times} · {words(code)}", "danger")
    score = summary.get("last_nps")
    if score is not None and score <= DETRACTOR_MAX:
        yield Alert("angry", "Detractor", f"last NPS {score}", "warn")
    if summary.get("do_not_contact"):
        yield Alert("silent", "Do not contact", "asked not to be approached", "warn")


def next_step(profile: Profile, now: datetime) -> Step | None:
    """The one thing to offer first; None where nothing is open."""
    return next(_steps(profile, now), None)


def _steps(profile: Profile, now: datetime) -> Iterator[Step]:
    """What signals suggest, once there are some; else rules over what is open, the most urgent first."""
    for signal in profile["signals"] or ():
        if signal["suggested_step"] and not is_past(
            now.isoformat(), datetime.fromisoformat(signal["raised_at"])
        ):
            yield Step(words(signal["suggested_step"]).capitalize(), words(signal["rule"]))
    service, billing = profile["service"], profile["billing"]
    if service:
        for promise in service["promises"]["open"]:
            if is_past(promise["due_at"], now):
                yield Step("Keep the promise now", f"{promise['text']}: due {moment(promise['due_at'], now)}")
    if billing and billing["failures_in_a_row"]:
        yield _payment_step(billing)
    if service:
        for complaint in service["complaints"]:
            if complaint["status"] == "open":
                topic = complaint["topic"]
                yield Step("Settle the complaint", words(topic) if topic else complaint["complaint_id"])
        for case in service["cases"]:
            if is_open(case):
                yield Step(f"Move case {case['case_id']} on", words(case["topic"] or "no topic stated"))
        if service["social"]["unanswered"]:
            yield Step(
                "Answer in public", f"waits on {words(service['social']['unanswered'][0]['platform'])}"
            )
    if billing:
        for refund in billing["refunds"]:
            if refund["status"] == "requested":
                amount = money_text(refund["amount_minor"], refund["currency"])
                yield Step("Say when the refund comes", f"{refund['refund_id']}, {amount}")


def _payment_step(billing: Profile) -> Step:
    code = billing["last_failure"]["code"]
    what = "Ask for another card" if "card" in code or "expired" in code else "Ask for another way to pay"
    why = words(code).capitalize()
    if billing["open_invoices"]:
        invoice = billing["open_invoices"][0]
        why += f"; {invoice['invoice_id']} is open: {money_text(invoice['open_minor'], invoice['currency'])}"
    return Step(what, why)


def is_open(case: Profile) -> bool:
    """Whether a case is still worked on."""
    return case["status"] not in (None, "resolved", "closed")


def is_past(instant: str | None, now: datetime) -> bool:
    """Whether an instant of a profile lies before now."""
    return instant is not None and datetime.fromisoformat(instant) < now
