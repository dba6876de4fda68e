"""Sections `traits`, `timeline`, `summary` and `meta`: what every event adds to, whatever its domain.

Invariants:
- A trait is kept as its JSON text, so that parts hold no floats.
"""

from __future__ import annotations

from typing import Any

import msgspec

from models.bounds import SUMMARY_TEXT_MAX, TIMELINE_MAX, TRAITS_MAX
from models.decoding import Event
from models.service import SurveyAnswered
from models.titles import cut, title_of
from projections.instants import rfc3339
from projections.lists import LatestBy, Newest
from projections.reducers import Count, Greatest, Latest, State, Total, field
from projections.section import Page, Rendered, Section

_write = msgspec.json.Encoder().encode
_read = msgspec.json.Decoder().decode


def _traits(event: Event) -> list[tuple[str, list[Any]]]:
    return [(name, [_write(value).decode()]) for name, value in event.data.traits.items()]


class LatestText(LatestBy):
    """The latest JSON text per name."""

    @staticmethod
    def beats(a: list[Any], b: list[Any]) -> bool:
        """By key, then by the text itself."""
        return bool(a > b)


class Traits(Section):
    """What nobody has modelled."""

    name = "traits"

    latest = LatestText(_traits, kept=TRAITS_MAX)

    @classmethod
    def render(cls, states: dict[str, State], page: Page) -> Rendered:
        return Rendered(page.newest("", states["latest"], TRAITS_MAX, _trait), page.truncated, {})


def _trait(name: str, held: list[Any]) -> dict[str, Any]:
    at_us, source, _, text = held
    return {"key": name, "value": _read(text), "source": source, "occurred_at": rfc3339(at_us)}


def _title(event: Event) -> str:
    return title_of(event.type)(event.data)


def _amount(event: Event) -> int | None:
    """The amount or delta that an event states together with its currency."""
    amount = getattr(event.data, "amount_minor", None)
    amount = getattr(event.data, "delta_minor", None) if amount is None else amount
    return amount if getattr(event.data, "currency", None) is not None else None


def _currency(event: Event) -> str | None:
    return event.data.currency if _amount(event) is not None else None


class Timeline(Section):
    """The latest events, newest first."""

    name = "timeline"

    events = Newest(lambda event: event.type, field("channel"), _title, _amount, _currency)

    @classmethod
    def attributed(cls, states: list[State], subject: str) -> list[State]:
        return [Newest.attributed(states[0], subject)]

    @classmethod
    def render(cls, states: dict[str, State], page: Page) -> Rendered:
        forgotten, entries = states["events"]
        return Rendered(
            [_entry(entry) for entry in page.cut("", entries, TIMELINE_MAX, forgotten)], page.truncated, {}
        )


def _entry(entry: list[Any]) -> dict[str, Any]:
    at_us, _, event_id, wire_type, channel, title, amount_minor, currency, subject = entry
    shown = {
        "event_id": event_id,
        "type": wire_type,
        "occurred_at": rfc3339(at_us),
        "channel": channel,
        "subject": subject,
        "title": title,
    }
    if amount_minor is not None:
        shown |= {"amount_minor": amount_minor, "currency": currency}
    return shown


def _names_employee(event: Event) -> bool:
    return event.data.employee_id is not None


def _honest_nps(event: Event) -> bool:
    return event.data.kind == "nps" and not event.data.incentivised


class Highlights(Section):
    """What the summary needs beside the other sections. It has no section of its own in the profile."""

    name = "summary"

    last_employee = Latest(reads=(field("employee_id"),), where=_names_employee)
    last_nps = Latest(SurveyAnswered, reads=(field("score"),), where=_honest_nps)

    @classmethod
    def render(cls, states: dict[str, State], page: Page) -> Rendered:
        employee, nps = states["last_employee"], states["last_nps"]
        facts = {
            "last_employee_id": None if employee is None else employee[3],
            "last_nps": None if nps is None else nps[3],
        }
        return Rendered(None, [], facts)


class Meta(Section):
    """Bookkeeping: when, and what was odd. `first_log_us` and `last_log_us` also date the subject."""

    name = "meta"

    last_event_us = Greatest(lambda event: event.occurred_us)
    first_log_us_negated = Greatest(lambda event: -event.log_us)
    last_log_us = Greatest(lambda event: event.log_us)
    clamped_times = Count(where=lambda event: event.clamped)
    ignored_fields = Total(lambda event: event.ignored_fields)

    @classmethod
    def render(cls, states: dict[str, State], page: Page) -> Rendered:
        return Rendered(None, [], dict(states))


# In this order, the newest by when it began counts; at equal instants the one named first.
CONCERNS = ("case_open", "complaint_open", "dispute_open", "refund_waiting", "promise_open", "order_open")


def summary(facts: dict[str, Any]) -> dict[str, Any]:
    """The flat section that call-center tools map: at most 255 characters a value."""
    reason, text = _contact_reason(facts)
    balance = facts["balance"]
    names = [name for name in (facts["given_name"], facts["family_name"]) if name is not None]
    flat = {
        "display_name": " ".join(names) or None,
        "tier": facts["tier"],
        "locale": facts["locale"],
        "zoneinfo": facts["zoneinfo"],
        "callback_phone": facts["phone_number"],
        "preferred_channel": facts["contact_channel"],
        "prefers_human": facts["prefers_human"],
        "do_not_contact": facts["do_not_contact"],
        "contact_reason": reason,
        "contact_reason_text": text,
        "top_alert": None,
        "open_case_count": facts["open_case_count"],
        "last_contact_at": facts["last_contact_at"],
        "last_contact_channel": facts["last_contact_channel"],
        "last_employee_id": facts["last_employee_id"],
        "last_nps": facts["last_nps"],
        "balance_minor": None if balance is None else balance[2],
        "balance_currency": None if balance is None else balance[1],
        "lifetime_value_minor": None,
        "lifetime_value_currency": None,
    }
    return {
        name: cut(value, SUMMARY_TEXT_MAX) if isinstance(value, str) else value
        for name, value in flat.items()
    }


def _contact_reason(facts: dict[str, Any]) -> tuple[str | None, str | None]:
    if facts["payment_failed"] is not None:
        return "payment_failed", facts["payment_failed"]
    began = [(facts[kind][0], -place, kind) for place, kind in enumerate(CONCERNS) if facts[kind] is not None]
    if not began:
        return None, None
    kind = max(began)[2]
    return kind, facts[kind][2]
