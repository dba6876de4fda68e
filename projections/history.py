"""Sections `traits` and `summary`: what events of every domain add to.

Invariants:
- A trait is kept as its JSON text, so that parts hold no floats.
"""

from __future__ import annotations

from typing import Any

import msgspec

from models.bounds import SUMMARY_TEXT_MAX, TRAITS_MAX
from models.decoding import Event
from models.service import SurveyAnswered
from models.titles import cut
from projections.instants import rfc3339
from projections.lists import LatestBy
from projections.reducers import Latest, State, field
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
    by_type = False

    latest = LatestText(_traits, kept=TRAITS_MAX)

    @classmethod
    def speaks(cls, event: Event) -> bool:
        return bool(event.data.traits)

    @classmethod
    def render(cls, states: dict[str, State], page: Page) -> Rendered:
        return Rendered(page.newest("", states["latest"], TRAITS_MAX, _trait), page.truncated, {})


def _trait(name: str, held: list[Any]) -> dict[str, Any]:
    at_us, source, _, text = held
    return {"key": name, "value": _read(text), "source": source, "occurred_at": rfc3339(at_us)}


def _names_employee(event: Event) -> bool:
    return event.data.employee_id is not None


def _honest_nps(event: Event) -> bool:
    return event.data.kind == "nps" and not event.data.incentivised


class Highlights(Section):
    """What the summary needs beside the other sections. It has no section of its own in the profile."""

    name = "summary"
    by_type = False

    last_employee = Latest(reads=(field("employee_id"),), where=_names_employee)
    last_nps = Latest(SurveyAnswered, reads=(field("score"),), where=_honest_nps)

    @classmethod
    def speaks(cls, event: Event) -> bool:
        return event.data.employee_id is not None or event.type == SurveyAnswered.wire_type

    @classmethod
    def render(cls, states: dict[str, State], page: Page) -> Rendered:
        employee, nps = states["last_employee"], states["last_nps"]
        facts = {
            "last_employee_id": None if employee is None else employee[3],
            "last_nps": None if nps is None else nps[3],
        }
        return Rendered(None, [], facts)


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
    for name, value in flat.items():
        if type(value) is str and len(value) > SUMMARY_TEXT_MAX:
            flat[name] = cut(value, SUMMARY_TEXT_MAX)
    return flat


def _contact_reason(facts: dict[str, Any]) -> tuple[str | None, str | None]:
    if facts["payment_failed"] is not None:
        return "payment_failed", facts["payment_failed"]
    began = [(facts[kind][0], -place, kind) for place, kind in enumerate(CONCERNS) if facts[kind] is not None]
    if not began:
        return None, None
    kind = max(began)[2]
    return kind, facts[kind][2]
