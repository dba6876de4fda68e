"""The oracle's own way to read a record: plain `json`, one event after the other, no speed.

Guarantees:
- Only whether a record is an event comes from `models.careful`; every value is read from the raw JSON here.
- Where the two readings disagree about an event, this raises instead of choosing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache, lru_cache
from hashlib import sha256
from typing import Any

import phonenumbers

from models.careful import read
from models.dead_letter import Fault
from models.event import EVENT_TYPES
from models.identifiers import BLOCKED_MAILBOXES, BLOCKED_VALUES
from models.record import Record

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
FIVE_MINUTES_US = 5 * 60 * 1_000_000
TITLE_MAX = 120
CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
# The shapes inside `data`; `traits` may have any names.
INNER_FIELDS = {
    "identifiers": {"type", "value", "verified"},
    "lines": {"product_id", "quantity", "amount_minor", "margin_minor"},
    "address": {"use", "street_address", "postal_code", "locality", "region", "country"},
}

Key = tuple[int, str, str]
"""(occurred_at in microseconds, source, id): the total order of events."""


@dataclass(slots=True)
class Told:
    """One event. `at` is its occurred_at as the profile shows it; `log_us` is microseconds since 1970."""

    key: Key
    type: str
    subject: str
    data: dict[str, Any]
    at: str
    log_us: int
    clamped: bool
    ignored_fields: int
    identifiers: list[tuple[str, str, bool]]

    @property
    def source(self) -> str:
        """The CloudEvents source."""
        return self.key[1]

    @property
    def id(self) -> str:
        """The CloudEvents id, unique within its source."""
        return self.key[2]


def told(record: Record, region_of: Callable[[str], str]) -> Told | Fault:
    """The event in a record, or why it is none; `region_of` a subject, how its source writes phones."""
    log_us = record.timestamp_ms * 1_000
    verdict = read(record.topic, record.key, record.value, record.headers, log_us)
    if isinstance(verdict, Fault):
        return verdict
    event = _envelope(record)
    kind, subject = event["type"], event["subject"]
    if record.key != subject.encode() or kind.split(".")[0] != record.topic.split(".")[0]:
        raise AssertionError(
            f"{record.topic}[{record.partition}]@{record.offset}: accepted against the catalogue"
        )
    data = _todays(kind, event["data"], event.get("dataschema"))
    occurred_us, clamped = log_us, False
    if event.get("time") is not None:
        occurred_us = microseconds(event["time"])
        if clamped := occurred_us > log_us + FIVE_MINUTES_US:
            occurred_us = log_us
    ignored, identifiers = _unknown_fields(kind, data), []
    for stated in data.get("identifiers", []):
        value = normal(stated["type"], stated["value"], region_of(subject))
        if value is None:
            ignored += 1
        else:
            identifiers.append((stated["type"], value, stated.get("verified", False)))
    key = (occurred_us, event["source"], event["id"])
    return Told(key, kind, subject, data, instant(occurred_us), log_us, clamped, ignored, identifiers)


def _envelope(record: Record) -> dict[str, Any]:
    """The CloudEvent: attributes in `ce_` headers, or all of it in the value."""
    content = json.loads(record.value)
    headers = {name.lower(): value for name, value in record.headers if value is not None}
    if "ce_specversion" not in headers:
        return content
    event = {
        name.removeprefix("ce_"): value.decode() for name, value in headers.items() if name.startswith("ce_")
    }
    return {**event, "data": content}


def _todays(kind: str, data: dict[str, Any], dataschema: str | None) -> dict[str, Any]:
    """Two types have an older version: consent (`granted` was `status`), orders (the amount was a total)."""
    old = dataschema is not None and dataschema.rstrip("/").split("/")[-1].lstrip("0") == "1"
    if not old or kind not in ("marketing.consent_changed", "sales.order_placed"):
        return data
    data = dict(data)
    if kind == "sales.order_placed":
        total = data.pop("total_minor", None)
        return data if total is None else {"amount_minor": total, **data}
    status = data.pop("status", None)
    return {**data, "granted": status == "opt_in"} if status in ("opt_in", "opt_out") else data


def _unknown_fields(kind: str, data: dict[str, Any]) -> int:
    known = EVENT_TYPES[kind].model_fields
    unknown = sum(name not in known for name in data)
    for name, inner in INNER_FIELDS.items():
        if name in known and data.get(name) is not None:
            shapes = data[name] if isinstance(data[name], list) else [data[name]]
            unknown += sum(field not in inner for shape in shapes for field in shape)
    return unknown


# What the default rules say of other kinds; those not named stay as they are written.
IN_CAPITALS = ("customer_number", "loyalty_card")
IN_SMALL_LETTERS = ("person_key", "advertising_id")


def german(_: str) -> str:
    """The default: every source is in Germany."""
    return "DE"


@lru_cache(maxsize=10_000)
def normal(kind: str, value: str, region: str) -> str | None:
    """An identifier's value in its one form; None when it says nothing about a person."""
    value = value.strip()
    if value.casefold() in BLOCKED_VALUES:
        return None
    if kind in ("employee", "customer", "order", "case", "invoice"):
        return None
    if kind in IN_CAPITALS:
        return value.upper()
    if kind in IN_SMALL_LETTERS:
        return value.lower()
    if kind == "email":
        value = value.lower()
        at = value.rfind("@")
        return value if 0 < at < len(value) - 1 and not value.startswith(BLOCKED_MAILBOXES) else None
    if kind != "phone":
        return value
    try:
        number = phonenumbers.parse(value, region)
    except phonenumbers.NumberParseException:
        return None
    if phonenumbers.is_possible_number_with_reason(number) != phonenumbers.ValidationResult.IS_POSSIBLE:
        return None
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


INSTANT = re.compile(r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d)(?:\.(\d+))?([Zz]|[+-]\d\d:?\d\d)")


def microseconds(text: str) -> int:
    """Microseconds since 1970 (UTC) of an RFC 3339 text; digits beyond the sixth round, halves up."""
    day, clock, fraction, offset = INSTANT.fullmatch(text).groups()
    whole = datetime.fromisoformat(f"{day}T{clock}+00:00") - EPOCH
    millionths = (int(((fraction or "") + "0000000")[:7]) + 5) // 10
    if offset not in "Zz":
        digits = offset[1:].replace(":", "")
        ahead = timedelta(hours=int(digits[:2]), minutes=int(digits[2:]))
        whole -= -ahead if offset[0] == "-" else ahead
    return whole // timedelta(microseconds=1) + millionths


def instant(at_us: int) -> str:
    """RFC 3339 in UTC: no fraction where there is none, 3 digits where they are exact, else 6."""
    at = EPOCH + timedelta(microseconds=at_us)
    millis = (
        "seconds"
        if at.microsecond == 0
        else "milliseconds"
        if at.microsecond % 1_000 == 0
        else "microseconds"
    )
    return at.isoformat(timespec=millis).replace("+00:00", "Z")


def customer_id(founder: str) -> str:
    """`cus_` and the first 80 bits of SHA-256, five bits a character."""
    bits = "".join(f"{byte:08b}" for byte in sha256(founder.encode()).digest()[:10])
    return "cus_" + "".join(CROCKFORD[int(bits[start : start + 5], 2)] for start in range(0, 80, 5))


def cut(text: str | None, limit: int) -> str | None:
    """At most `limit` characters, the last one an ellipsis when something was cut."""
    return text if text is None or len(text) <= limit else text[: limit - 1] + "…"


def words(text: str) -> str:
    """`card_expired` as `card expired`."""
    return text.replace("_", " ")


OPTIONAL, FIELD = re.compile(r"\[([^\]]*)\]"), re.compile(r"\{(\w+)(?::(\w+))?\}")


@cache
def _choices(template: str) -> list[tuple[str, list[str]]]:
    """The template's pieces with the fields that each needs; a piece that is not optional needs none."""

    def pieces() -> Iterator[tuple[str, list[str]]]:
        for number, piece in enumerate(OPTIONAL.split(template)):
            yield piece, [name for name, _ in FIELD.findall(piece)] if number % 2 else []

    return list(pieces())


def title(event: Told) -> str:
    """One line for the timeline, from the template that the type declares."""
    data = event.data

    def shown(field: re.Match[str]) -> str:
        value = data.get(field[1])
        match field[2]:
            case "words":
                return words(value)
            case "upper":
                return value.upper()
            case "granted":
                return "given" if value else "withdrawn"
            case "minutes":
                return f"{(value + 59) // 60} min"
            case "talk":
                return {"chat": "Chat", "phone": "Call", "email": "Email"}.get(value, "Conversation")
            case "who":
                return "assistant" if value else "agent"
        return str(value)

    told_pieces = (
        FIELD.sub(shown, piece)
        for piece, needed in _choices(EVENT_TYPES[event.type].shown_as)
        if all(data.get(name) is not None for name in needed)
    )
    return cut("".join(told_pieces), TITLE_MAX)
