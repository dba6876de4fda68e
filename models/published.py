"""What subscribers of `customer.profiles` read, as models: for schemas and documents, not for the hot path.

Invariants:
- `projections.snapshot` writes these; tests hold what it writes to them.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field
from pydantic.json_schema import SkipJsonSchema

from models.event import Shape
from models.profile import CustomerId, Profile
from models.profile_sections import Moment

SnapshotId = Annotated[str, Field(pattern=r"^prf_[0-9a-f]{16}$", description="A repeat has the same id.")]
PublishedVersion = Annotated[
    str,
    Field(
        pattern=r"^[0-9]+\.[0-9]+\.[0-9]+$",
        description="Promotion, position, revisions: compared number by number, the greater is the newer.",
    ),
]
Cause = Literal["first", "events", "identity", "promotion"]


def _left_out(schema: dict[str, Any]) -> None:
    schema.pop("default", None)


class SnapshotEvent(Shape):
    """A customer's whole profile, after it changed. The record's key is the customer id."""

    specversion: Literal["1.0"]
    id: SnapshotId
    source: Literal["scv"]
    type: Literal["customer.profile_changed"]
    subject: Annotated[CustomerId, Field(description="The customer id, also the record's key.")]
    version: PublishedVersion
    cause: Annotated[Cause, Field(description="Why; docs/topics.md explains each.")]
    changed: str | SkipJsonSchema[None] = Field(
        None,
        description="Sections that differ from the snapshot before, comma-separated; `meta` always does. "
        "Left out where none does.",
        json_schema_extra=_left_out,
    )
    time: Moment | SkipJsonSchema[None] = Field(
        None, description="When the latest of its events was logged.", json_schema_extra=_left_out
    )
    datacontenttype: Literal["application/json"] | SkipJsonSchema[None] = Field(
        None, json_schema_extra=_left_out
    )
    data: Profile | SkipJsonSchema[None] = Field(
        None,
        description="The profile; left out where it is too large for a record.",
        json_schema_extra=_left_out,
    )
    dataref: str | SkipJsonSchema[None] = Field(
        None,
        description="Instead of `data`: where the profile can be read, as a path of the HTTP API.",
        json_schema_extra=_left_out,
    )


class TombstoneHeaders(Shape):
    """A customer that is no more: a record without value, a CloudEvent in binary mode."""

    ce_specversion: Literal["1.0"]
    ce_id: SnapshotId
    ce_source: Literal["scv"]
    ce_type: Annotated[
        Literal["customer.profile_merged", "customer.profile_removed"],
        Field(description="Merged into another, or unknown to the generation that was promoted."),
    ]
    ce_subject: Annotated[CustomerId, Field(description="The customer id, also the record's key.")]
    ce_version: PublishedVersion
    ce_cause: Literal["merged", "promotion"]
    ce_mergedinto: CustomerId | SkipJsonSchema[None] = Field(
        None,
        description="The customer that it is part of by now; left out where that is not clear yet.",
        json_schema_extra=_left_out,
    )
