"""Why a figure is what it is, as a person reads it: an explanation of the API, worked out for a template.

Invariants:
- What stands here is in the explanation's document, masked already; nothing is left out but bookkeeping.
- The zone of whoever looks comes in: nothing here reads a clock.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime, tzinfo
from typing import Any, NamedTuple

from api.pages.past import when
from models.catalogue import domain_of
from models.money import money_text
from models.titles import words
from projections.differing import MISSING

# What a figure is called beside its "Why?".
NAMES = {
    "balance_minor": "The balance",
    "net_minor": "Bought, net",
    "last_nps": "The last NPS",
    "lifetime_value_minor": "The lifetime value",
    "permissions": "The consents",
    "contact_reason_text": "The reason to call",
}
# Of an object that appeared, what a line has room for.
FIELDS_SHOWN = 4

# By id, type and time of an event.
Titles = Mapping[tuple[str, str, str], str]

_INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
_CURRENCY = re.compile(r"[A-Z]{3}")


class Change(NamedTuple):
    """One place that an event changed; `what` is empty for the figure itself, `by` the step of an amount."""

    what: str
    before: str
    after: str
    by: str


class Effect(NamedTuple):
    """One event and what it did."""

    at: str
    when: str
    domain: str
    title: str
    subject: str
    changes: list[Change]


class Rule(NamedTuple):
    """A figure's declaration: what its reducer does, and what it takes of each type of event."""

    figure: str
    meaning: str
    takes: list[tuple[str, str]]


class Why(NamedTuple):
    """An explanation. `counted`: how many events made it, of how many; `earlier`: how many are not listed."""

    name: str
    value: str
    effects: list[Effect]
    rules: list[Rule]
    counted: str
    earlier: int


def why_of(document: Mapping[str, Any], titles: Titles, currency: str | None, zone: tzinfo) -> Why:
    """The explanation for a page.

    `titles`: those of the timeline. `currency`: of an amount whose field names none.
    """
    field: str = document["field"]
    last = field.rpartition(".")[2]
    currency = next((part for part in field.split(".") if _CURRENCY.fullmatch(part)), currency)
    effects = [_effect(one, last, titles, currency, zone) for one in document["effects"]]
    made, heard = document["effect_count"], document["event_count"]
    return Why(
        NAMES.get(last, words(last).capitalize()),
        _told(document["value"], last, currency, zone),
        effects[::-1],
        [_rule(one) for one in document["rules"]],
        f"{made:,} of {heard:,} events made it" if made != 1 else f"1 of {heard:,} events made it",
        made - len(effects),
    )


def _effect(one: Mapping[str, Any], last: str, titles: Titles, currency: str | None, zone: tzinfo) -> Effect:
    known = titles.get((one["event_id"], one["type"], one["occurred_at"]))
    title = known or words(one["type"].partition(".")[2]).capitalize()
    at = datetime.fromisoformat(one["occurred_at"]).astimezone(zone)
    changes = [_change(change, last, currency, zone) for change in one["changes"]]
    return Effect(one["occurred_at"], when(at), domain_of(one["type"]), title, one["subject"], changes)


def _change(one: Mapping[str, Any], last: str, currency: str | None, zone: tzinfo) -> Change:
    steps = [step for step in one["path"].split(".") if step and not step.isdecimal()]
    name = steps[-1] if steps else last
    before, after = one["before"], one["after"]
    by = ""
    if _is_number(after) and (_is_number(before) or before == MISSING):
        step = after - (0 if before == MISSING else before)
        by = f"{'−' if step < 0 else '+'}{_told(abs(step), name, currency, zone)}"
    # A consent says itself which one it is.
    what = "" if _is_consent(after) else " ".join(map(words, steps))
    return Change(what, _told(before, name, currency, zone), _told(after, name, currency, zone), by)


def _rule(one: Mapping[str, Any]) -> Rule:
    takes = [
        (words(name.partition(".")[2]).capitalize(), said or "is taken")
        for name, said in one["events"].items()
    ]
    return Rule(words(one["figure"]), one["meaning"].replace("`", ""), takes)


def _is_consent(value: Any) -> bool:
    return isinstance(value, Mapping) and "granted" in value and "channel" in value


def _is_number(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _told(value: Any, name: str, currency: str | None, zone: tzinfo) -> str:
    """A value of a profile in words."""
    if value == MISSING or value is None:
        return "nothing"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return money_text(value, currency) if name.endswith("_minor") and currency else f"{value:,}"
    if isinstance(value, str):
        if _INSTANT.fullmatch(value):
            return when(datetime.fromisoformat(value).astimezone(zone))
        return value
    if isinstance(value, Mapping):
        return _object(value, currency, zone)
    if isinstance(value, Sequence):
        said = [_told(one, name, currency, zone) for one in value[:FIELDS_SHOWN]]
        more = len(value) - len(said)
        return ", ".join(said) + (f" and {more} more" if more else "") if said else "nothing"
    return str(value)


def _object(value: Mapping[str, Any], currency: str | None, zone: tzinfo) -> str:
    if _is_consent(value):
        return f"{value['channel']} {words(value['purpose'])}: {'yes' if value['granted'] else 'no'}"
    currency = value.get("currency") or currency
    plain = [
        (name, one) for name, one in value.items() if one is not None and not isinstance(one, list | dict)
    ]
    return ", ".join(
        f"{words(name)} {_told(one, name, currency, zone)}" for name, one in plain[:FIELDS_SHOWN]
    )
