"""JSON Schemas of what scv reads and writes, made from the models.

Invariants:
- Pure and stable: the same models give the same text, byte for byte.
- Schemas are open: a reader must ignore fields it does not know, and so may a validator.
- An event's `$id` is what its producer names in `dataschema`: it ends in the type and the version.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field
from pydantic.json_schema import GenerateJsonSchema

from models.bounds import EVIDENCE_MAX, MERGE_CUSTOMERS_MAX, MERGE_MEMBERS_MAX
from models.catalogue import event_model
from models.dead_letter import Reason
from models.event import EVENT_TYPES, Shape
from models.fields import Instant, SubjectName
from models.merge import EdgeStatus, EdgeStrength, Kind
from models.profile import CustomerId, Profile
from models.profile_sections import Moment
from models.promotion import PromotionEvent
from models.published import SnapshotEvent

DIALECT = "https://json-schema.org/draft/2020-12/schema"
# A name, not an address: nothing is served there, and nothing is ever fetched.
ROOT = "https://scv.example/schemas"

Base64 = Annotated[str, Field(json_schema_extra={"contentEncoding": "base64"})]


class DeadLetterHeader(Shape):
    """One header of the record; a name may repeat."""

    name: str
    value_base64: Base64 | None


class DeadLetterData(Shape):
    """Why a record was not folded, where it lies, and the record as it was received."""

    reason: Annotated[Reason, Field(description="Why, in one word; docs/events.md explains each.")]
    pointer: Annotated[str, Field(description="The field as a JSON pointer; empty for the whole document.")]
    detail: Annotated[str, Field(description="A sentence for people; its wording may change.")]
    topic: str
    partition: Annotated[int, Field(ge=0)]
    offset: Annotated[int, Field(ge=0)]
    timestamp_ms: Annotated[
        int, Field(description="The record's log time, in milliseconds since 1970 (UTC).")
    ]
    key_base64: Base64 | None
    value_base64: Base64 | None
    headers: list[DeadLetterHeader]
    omitted_bytes: Annotated[
        int,
        Field(
            ge=0,
            description="How much of key, value and headers was too large to be carried along; 0 but for "
            "records over half a MiB: read those where they lie.",
        ),
    ]


class DeadLetterEvent(Shape):
    """A record of `scv.dead-letters`. Its id is the record's coordinates, so a repeat is recognisable."""

    specversion: Literal["1.0"]
    id: str
    source: Literal["scv"]
    type: Literal["scv.dead_letter"]
    time: Instant
    subject: Annotated[str, Field(description="The record's lane, as `sales.events-5`.")]
    datacontenttype: Literal["application/json"]
    data: DeadLetterData


class SettledData(Shape):
    """Who decided what becomes of a dead letter, and why."""

    actor: str
    reason: Annotated[str | None, Field(description="Why, in the actor's words.")]
    topic: Annotated[str | None, Field(description="Where a redriven one went; null for a discarded one.")]
    corrected: Annotated[bool, Field(description="Whether it was corrected before it was redriven.")]
    keyid: Annotated[str | None, Field(description="The API key it came through; null for the command line.")]


class SettledEvent(Shape):
    """A record of `scv.dead-letters.settled`: what became of a dead letter, once and for all."""

    specversion: Literal["1.0"]
    id: str
    source: Literal["scv"]
    type: Literal["scv.dead_letter_redriven", "scv.dead_letter_discarded"]
    time: Instant
    subject: Annotated[str, Field(description="The dead letter's id, `sales.events-5@1042`; also the key.")]
    datacontenttype: Literal["application/json"]
    data: SettledData


class MergedCustomer(Shape):
    """A customer before or after."""

    customer_id: CustomerId
    founder: Annotated[SubjectName, Field(description="The subject whose hash the customer id is.")]
    members: Annotated[
        list[SubjectName],
        Field(
            min_length=1,
            max_length=MERGE_MEMBERS_MAX,
            description="By name, the founder too; the first of them where there are more.",
        ),
    ]
    member_count: Annotated[int, Field(ge=1, description="How many members there are.")]


class MergeEdge(Shape):
    """What was stated or commanded of two names, and what it is worth now."""

    subject: SubjectName
    other: Annotated[str, Field(min_length=3, description="The identifier or subject, as `type:value`.")]
    status: Annotated[EdgeStatus, Field(description="After the change.")]
    strength: Annotated[EdgeStrength, Field(description="Who says so: a person, a source, a program.")]
    first_seen_at: Annotated[Moment, Field(description="When it was first logged, or commanded.")]
    actor: Annotated[str | None, Field(description="Whose command it is; null for what a source stated.")]
    reason: Annotated[str | None, Field(description="Why, in the actor's words.")]


class MergeData(Shape):
    """Customers that one fact has changed, before and after, and the edges that are the reason."""

    generation: str
    position: Annotated[
        int, Field(ge=1, description="Of the fact in the generation's link log: its offset + 1.")
    ]
    kind: Kind
    rule: Annotated[str, Field(description="What did it, in one word; docs/topics.md lists them.")]
    before: Annotated[list[MergedCustomer], Field(min_length=1, max_length=MERGE_CUSTOMERS_MAX)]
    before_count: Annotated[int, Field(ge=1, description="How many customers there were.")]
    after: Annotated[list[MergedCustomer], Field(min_length=1, max_length=MERGE_CUSTOMERS_MAX)]
    after_count: Annotated[int, Field(ge=1, description="How many customers there are.")]
    truncated: Annotated[
        bool, Field(description="Whether customers or members are counted only, since there are so many.")
    ]
    edges: Annotated[list[MergeEdge], Field(max_length=EVIDENCE_MAX)]


class MergeEvent(Shape):
    """A record of `customer.merges`. Its id is a hash of position and founder: a repeat is recognisable."""

    specversion: Literal["1.0"]
    id: Annotated[str, Field(pattern=r"^mrg_[0-9a-f]{16}$")]
    source: Literal["scv"]
    type: Literal["customer.merged", "customer.split", "customer.regrouped", "customer.refounded"]
    time: Annotated[Moment, Field(description="When the fact was logged.")]
    subject: Annotated[CustomerId, Field(description="The first customer after it; also the record's key.")]
    datacontenttype: Literal["application/json"]
    data: MergeData


def event_schema_id(wire_type: str) -> str:
    """The `$id` of an event type's current version, also the `dataschema` that names it."""
    return f"{ROOT}/events/{wire_type}/{EVENT_TYPES[wire_type].version}"


def event_schema(wire_type: str) -> dict[str, Any]:
    """The schema of a whole event in structured mode: envelope and data. KeyError for an unknown type."""
    return _schema(event_model(wire_type), event_schema_id(wire_type), wire_type)


def profile_schema() -> dict[str, Any]:
    """The schema of a profile, the contract that other systems read."""
    return _schema(Profile, f"{ROOT}/profile/1", "profile")


def dead_letter_schema() -> dict[str, Any]:
    """The schema of a record of `scv.dead-letters`."""
    return _schema(DeadLetterEvent, f"{ROOT}/dead_letter/1", "scv.dead_letter")


def settled_schema() -> dict[str, Any]:
    """The schema of a record of `scv.dead-letters.settled`."""
    return _schema(SettledEvent, f"{ROOT}/settled/1", "scv.dead-letters.settled")


def merge_schema() -> dict[str, Any]:
    """The schema of a record of `customer.merges`."""
    return _schema(MergeEvent, f"{ROOT}/merge/1", "customer.merges")


def snapshot_schema() -> dict[str, Any]:
    """The schema of a record of `customer.profiles` that has a value."""
    return _schema(SnapshotEvent, f"{ROOT}/snapshot/1", "customer.profiles")


def promotion_schema() -> dict[str, Any]:
    """The schema of a record of `scv.generations`."""
    return _schema(PromotionEvent, f"{ROOT}/promotion/1", "scv.generations")


class SchemaGenerator(GenerateJsonSchema):
    """Pydantic's, which sorts all keys but the names of properties; those keep the order of the models."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        # "Team Id" says no more than `team_id`.
        return False


def _schema(model: type[BaseModel], schema_id: str, title: str) -> dict[str, Any]:
    body = model.model_json_schema(schema_generator=SchemaGenerator)
    return {"$schema": DIALECT, "$id": schema_id, **body, "title": title}


def files() -> Mapping[str, str]:
    """Every schema's text by its path under `schemas/`, in order of the paths."""
    schemas = {
        "profile.json": profile_schema(),
        "dead_letter.json": dead_letter_schema(),
        "merge.json": merge_schema(),
        "settled.json": settled_schema(),
        "promotion.json": promotion_schema(),
        "snapshot.json": snapshot_schema(),
    }
    for wire_type, kind in EVENT_TYPES.items():
        schemas[f"events/{wire_type}.{kind.version}.json"] = event_schema(wire_type)
    return {path: _text(schemas[path]) for path in sorted(schemas)}


def _text(schema: dict[str, Any]) -> str:
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"
