"""The data of any event type, made from what its model declares.

Guarantees:
- Required fields are always there, optional ones sometimes, sometimes as null.
- Names and ids come from small pools, so that events meet; in a burst they are new, so that lists overflow.
"""

from __future__ import annotations

import random
import types
import typing
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal, Union

import annotated_types

from models.catalogue import DOMAIN_TOPICS, types_of
from models.event import EVENT_TYPES, EventData, Shape
from models.fields import SAFE_INTEGER
from models.service import SCORE_RANGES

Json = dict[str, Any]

EVENT_FIELDS = frozenset(EventData.model_fields)
"""What any event may carry: rarer than a type's own fields."""
OFTEN = {"channel": 0.4, "employee_id": 0.3}
TEXTS = (
    "Call back", "late_delivery", "Zu spät geliefert", "日本語",
    "a\nb\t\"c\" \\d\\", "<b>x</b> & {y} [z]", "🙂" * 70,
    "x" * 119, "y" * 120, "z" * 121, "w_" * 130, "v" * 4_000, " ", "\u0000\u007f\u2028",
)  # fmt: skip
POOLS: dict[str, Sequence[Any]] = {
    "currency": ("EUR", "EUR", "EUR", "USD", "JPY", "GBP"),
    "interval": ("P1M", "P1M", "P1Y", "P3M", "P4W", "P1W", "P30D", "P7D", "P999D", "P2Y"),
    "birthdate": ("1985-12-10", "1990", "0000-05-01"),
    "occurred_on": ("2025-12-10", "2025"),
    "stage": ("new", "negotiating", "won", "lost", "closed", "closed_by_us", "reopened"),
    "status": ("waiting", "in_progress", "closed", "resolved", "open"),
    "code": ("card_expired", "insufficient_funds", "no_mandate"),
    "locale": ("de-DE", "en-GB"),
    "zoneinfo": ("Europe/Berlin", "Europe/London"),
    "tier": ("gold", "silver"),
    "given_name": ("Ada", "Ada Augusta", "A" * 200),
    "family_name": ("Byron", "Lovelace", "B" * 200),
    "sentiment": ("negative", "neutral", "positive", -0.5, 1.0),
}
# Fields whose values name an entry of some list; `_id` fields do, too.
NAMING = frozenset({"purpose", "experiment", "task", "touchpoint", "problem_code", "campaign_id"})
EMAILS = (
    "Ada@Example.com", " ada@example.com ", "ada@example.com", "noreply@shop.example", "No-Reply@x.example",
    "null", "no at sign", "@host", "name@", "a@b@c.example", "ÀDA@example.com",
)  # fmt: skip
PHONES = (
    "+49 30 901820", "030 901820", "030/90 18 20", "+4930901820", "0049 30 901820", "+1 (212) 555-0100",
    "000000", "unknown", "12", "+49", "call me", "+44 20 7946 0000", "030901820 ext. 7", " 0151 23456789 ",
)  # fmt: skip
OTHERS = ("77", " 77 ", "N/A", "-", "None", "0", "Ünï", "00000", "AbC")
# Kinds whose form the rules name, and one that is no identifier.
OTHER_KINDS = {"AbC": "loyalty_card", "Ünï": "person_key", "77": "employee"}
TRAIT_VALUES = (3, -1, 0, 2.5, 1e-7, True, False, None, "", "three", "drei — ✓", SAFE_INTEGER)
AMOUNTS = (0, 1, 4_990, 4_990, 9_900, 12_345, -500)
PLACES = ("Berlin", "München", None)


class DataMaker:
    """Makes the data of events. `fresh` is the number that names in a burst are made of."""

    def __init__(self, rng: random.Random, subjects: Sequence[str]) -> None:
        self.rng, self.subjects, self.fresh = rng, subjects, 1_000
        self.types = [kind for topic in DOMAIN_TOPICS for kind in types_of(topic)]
        self.hints = {kind: _hints(EVENT_TYPES[kind]) for kind in self.types}

    def data(self, kind: str, subject: str, in_burst: bool) -> Json:
        """Data that the model of this type accepts."""
        made: Json = {}
        for name, info in EVENT_TYPES[kind].model_fields.items():
            share = OFTEN.get(name, 0.12 if name in EVENT_FIELDS else 0.5)
            if name == "traits" and in_burst:
                share = 0.4
            if not info.is_required() and self.rng.random() >= share:
                continue
            hint = self.hints[kind][name]
            null = not info.is_required() and type(None) in typing.get_args(hint) and self.rng.random() < 0.1
            made[name] = None if null else self.value(name, hint, subject, in_burst)
        if kind == "service.survey_answered":
            made["score"] = self.rng.randint(*SCORE_RANGES[made["kind"]])
        return made

    def with_extras(self, data: Json) -> Json:
        """The same with fields that no model knows, some of them inside others."""
        data = {**data, "zz_unknown": {"deep": [1, {"er": None}]}}
        for name in ("identifiers", "lines"):
            data |= {name: [{**item, "zz_note": "?"} for item in data[name]]} if data.get(name) else {}
        if data.get("address"):
            data["address"] = {**data["address"], "zz_floor": 3}
        return data

    def value(self, name: str, hint: Any, subject: str, in_burst: bool) -> Any:
        """One field's value, by its name where that says more than its type."""
        special: dict[str, Callable[[], Any]] = {
            "identifiers": lambda: self.identifiers(subject, in_burst),
            "traits": lambda: {
                self.naming("trait", in_burst): self.rng.choice(TRAIT_VALUES)
                for _ in range(self.rng.randrange(4))
            },
            "references": lambda: [
                self.rng.choice(("order:O-8", "case:S-5", f"invoice:I-{self.rng.randrange(9)}"))
            ],
            "lines": lambda: [self.line(in_burst) for _ in range(self.rng.randrange(5))],
            "address": self.address,
            "other_subject": lambda: f"crm:{self.naming('other', in_burst)}" if in_burst else self.subject(),
            "values": lambda: [self.naming("value", in_burst) for _ in range(self.rng.randrange(4))],
            "email": lambda: self.rng.choice(EMAILS),
            "phone_number": lambda: self.rng.choice(PHONES),
        }
        if name in special:
            return special[name]()
        if name in POOLS:
            return self.rng.choice(POOLS[name])
        return self.typed(name, hint, in_burst)

    def typed(self, name: str, hint: Any, in_burst: bool) -> Any:
        """A value of a type: of `X | None` an X."""
        members = [member for member in _members(hint) if member is not type(None)]
        plain, limits = _plain(members[0])
        if typing.get_origin(plain) is Literal:
            return self.rng.choice(typing.get_args(plain))
        if typing.get_origin(plain) is list:
            return [
                self.typed(name, typing.get_args(plain)[0], in_burst) for _ in range(self.rng.randrange(3))
            ]
        if plain is bool:
            return self.rng.random() < 0.5
        if plain is datetime:
            return self.instant(
                datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=self.rng.randrange(-300, 300))
            )
        if plain is float:
            return self.rng.choice((0.0, 0.25, 1.0))
        if plain is int:
            return self.number(name, limits)
        if name.endswith("_id") or name in NAMING:
            return self.naming(name, in_burst)
        longest = limits.get("max_length", 40)
        return (
            self.rng.choice(TEXTS)[:longest] if self.rng.random() < 0.5 else f"{name}_{self.rng.randrange(4)}"
        )

    def number(self, name: str, limits: dict[str, int]) -> int:
        """An integer in its range; money now and then as large as it may be."""
        low, high = limits.get("ge", 0), limits.get("le", SAFE_INTEGER)
        if name.endswith("_minor"):
            amount = self.rng.choice(AMOUNTS) if self.rng.random() < 0.5 else self.rng.randrange(20_000)
            amount = -amount if name == "delta_minor" and self.rng.random() < 0.7 else amount
            return SAFE_INTEGER if self.rng.random() < 0.005 else amount
        return self.rng.randint(low, min(high, low + 600 if "seconds" in name else low + 10))

    def naming(self, name: str, in_burst: bool) -> str:
        """A name or id: from a small pool, or, in a burst, one of the newest."""
        prefix = "".join(word[0] for word in name.split("_")).upper()
        if in_burst:
            return f"{prefix}-{self.fresh - self.rng.choice((0, 0, 0, 1, 3, 20, 70))}"
        return f"{prefix}-{self.rng.randrange(6)}"

    def subject(self) -> str:
        """One of the history's subjects."""
        return self.rng.choice(self.subjects)

    def identifiers(self, subject: str, in_burst: bool) -> list[Json]:
        """Up to four, in the spellings that sources use; some say nothing about a person."""
        found = []
        for _ in range(self.rng.randrange(5)):
            kind = self.rng.choice(("email", "phone", "cookie", "loyalty"))
            value = self.rng.choice({"email": EMAILS, "phone": PHONES}.get(kind, OTHERS))
            if in_burst:
                kind, value = "cookie", self.naming("cookie", in_burst)
            elif self.rng.random() < 0.5:
                local = "".join(letter for letter in subject if letter.isascii() and letter.isalnum())
                value = {"email": f"{local}@Example.com", "phone": f"030 90{crc_digits(subject)}"}.get(
                    kind, local
                )
            if kind == "loyalty":
                kind = OTHER_KINDS.get(value, kind)
            stated = {"type": kind, "value": value}
            found.append(
                stated | {"verified": self.rng.random() < 0.5} if self.rng.random() < 0.7 else stated
            )
        return found

    def line(self, in_burst: bool) -> Json:
        """One line of an order."""
        line = {"product_id": self.naming("product_id", in_burst), "quantity": self.rng.randrange(4)}
        line["amount_minor"] = self.rng.choice(AMOUNTS)
        return line | {"margin_minor": self.rng.choice((100, 250, None))} if self.rng.random() < 0.6 else line

    def address(self) -> Json:
        """An address, complete or not."""
        whole = {
            "street_address": "Unter den Linden 1",
            "postal_code": "10117",
            "locality": self.rng.choice(PLACES),
        }
        whole |= {"country": "DE", "region": "BE"}
        kept = {name: value for name, value in whole.items() if self.rng.random() < 0.7}
        uses = ("billing", "shipping", "home", "work", "other")
        return {"use": self.rng.choice(uses), **kept} if self.rng.random() < 0.8 else kept

    def instant(self, at: datetime, *, exact: bool = False) -> str:
        """An instant as sources write it: with any offset, with 0 to 9 digits of a second."""
        zone = self.rng.choice((0, 0, 60, 330, -480))
        local = (at + timedelta(minutes=zone)).replace(tzinfo=None)
        offset = f"{'-' if zone < 0 else '+'}{abs(zone) // 60:02}:{abs(zone) % 60:02}"
        offset = self.rng.choice(("Z", "Z", "+00:00", "z", "-00:00")) if zone == 0 else offset
        spelling = (
            "microseconds" if exact else self.rng.choice(("seconds", "milliseconds", "microseconds", "nanos"))
        )
        text = local.isoformat(timespec="microseconds" if spelling == "nanos" else spelling)
        return text + (f"{self.rng.randrange(1_000):03}" if spelling == "nanos" else "") + offset


def crc_digits(text: str) -> str:
    """Four digits that belong to a text."""
    return f"{sum(text.encode()) % 10_000:04}"


def _hints(shape: type[Shape]) -> dict[str, Any]:
    return typing.get_type_hints(shape, include_extras=True)


def _members(hint: Any) -> tuple[Any, ...]:
    return typing.get_args(hint) if typing.get_origin(hint) in (Union, types.UnionType) else (hint,)


def _plain(hint: Any) -> tuple[Any, dict[str, int]]:
    """A type without its annotations, and the limits that these declare."""
    limits: dict[str, int] = {}
    while typing.get_origin(hint) is Annotated:
        hint, *metadata = typing.get_args(hint)
        for item in metadata:
            for rule in getattr(item, "metadata", [item]):
                if isinstance(rule, annotated_types.BaseMetadata):
                    limits |= {
                        name: getattr(rule, name)
                        for name in ("ge", "le", "max_length")
                        if hasattr(rule, name)
                    }
    return hint, limits
