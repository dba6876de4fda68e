"""Every event type there is, which topic carries it, and how older schema versions become today's.

Invariants:
- A topic carries the types of its domain only.
- Upcasting goes one version at a time, before anything else sees the data.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Annotated, Any, Literal, Union

from pydantic import Field, TypeAdapter, create_model

# Imported for what they declare: each class registers itself.
from models import billing, commands, marketing, sales, service  # noqa: F401
from models.event import EVENT_TYPES, Envelope, EventData

TOPIC_OF_DOMAIN: Mapping[str, str] = {
    "marketing": "marketing.events",
    "sales": "sales.events",
    "service": "service.events",
    "billing": "billing.events",
    "identity": "identity.commands",
}
DOMAIN_TOPICS: tuple[str, ...] = ("marketing.events", "sales.events", "service.events", "billing.events")
COMMAND_TOPIC = "identity.commands"
SOURCES = (*DOMAIN_TOPICS, COMMAND_TOPIC)
"""What views are made of: all else is made from these."""
DEAD_LETTER_TOPIC = "scv.dead-letters"
SETTLED_TOPIC = "scv.dead-letters.settled"
CHANGES_TOPIC = "scv.changes"
MERGES_TOPIC = "customer.merges"
PROFILES_TOPIC = "customer.profiles"
SIGNALS_TOPIC = "customer.signals"
AUDIT_TOPIC = "scv.audit"
GENERATIONS_TOPIC = "scv.generations"

Upcaster = Callable[[dict[str, Any]], dict[str, Any]]


def _consent_status_became_granted(data: dict[str, Any]) -> dict[str, Any]:
    """`marketing.consent_changed` 1 → 2: `status` was `opt_in` or `opt_out`."""
    status = data.pop("status", None)
    if status in ("opt_in", "opt_out"):
        data["granted"] = status == "opt_in"
    return data


def _order_total_became_amount(data: dict[str, Any]) -> dict[str, Any]:
    """`sales.order_placed` 1 → 2: the amount was called `total_minor`."""
    total = data.pop("total_minor", None)
    if total is not None:
        data.setdefault("amount_minor", total)
    return data


# (wire type, version read) → what makes version + 1 of it. The data is a copy; change it in place.
UPCASTERS: Mapping[tuple[str, int], Upcaster] = {
    ("marketing.consent_changed", 1): _consent_status_became_granted,
    ("sales.order_placed", 1): _order_total_became_amount,
}


def link_topic(generation: str) -> str:
    """The topic of a generation's link facts."""
    return f"scv.{generation}.links"


def domain_of(wire_type: str) -> str:
    """`sales` of `sales.order_placed`."""
    return wire_type.partition(".")[0]


def topic_of(wire_type: str) -> str:
    """The topic that carries this type. KeyError for a type of no domain."""
    return TOPIC_OF_DOMAIN[domain_of(wire_type)]


def types_of(topic: str) -> dict[str, type[EventData]]:
    """The event types that this topic may carry."""
    return {name: cls for name, cls in EVENT_TYPES.items() if topic_of(name) == topic}


def schema_version(dataschema: str | None, current: int) -> int | None:
    """The version that a `dataschema` names by its last path segment; the current one when there is none.

    None when the text names no version.
    """
    if dataschema is None:
        return current
    last = dataschema.rstrip("/").rpartition("/")[2]
    return int(last) if last.isascii() and last.isdecimal() and len(last) < 6 else None


def upcast(wire_type: str, data: dict[str, Any], version: int) -> dict[str, Any]:
    """Today's data of this type, from data of an older version."""
    data = dict(data)
    for step in range(version, EVENT_TYPES[wire_type].version):
        if change := UPCASTERS.get((wire_type, step)):
            data = change(data)
    return data


@cache
def event_model(wire_type: str) -> type[Envelope]:
    """The whole event, envelope and data, as one pydantic model."""
    data = EVENT_TYPES[wire_type]
    fields: dict[str, Any] = {"type": (Literal[wire_type], ...), "data": (data, ...)}
    return create_model(f"{data.__name__}Event", __base__=Envelope, __doc__=data.__doc__, **fields)


@cache
def event_union(topic: str) -> TypeAdapter[Any]:
    """All events that a topic may carry: one union, told apart by `type`."""
    members = tuple(event_model(name) for name in types_of(topic))
    union: Any = Annotated[Union[members], Field(discriminator="type")]  # noqa: UP007
    return TypeAdapter(union)
