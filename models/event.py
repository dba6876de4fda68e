"""The envelope of every event, and what an event of any type may carry.

Invariants:
- CloudEvents 1.0. An event's identity is `(source, id)`.
- A type is declared once: its class names the wire type, the current schema version and the title that the
  timeline shows. Declaring it registers it.
- Unknown extra fields are no error; `models.careful` counts them.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from models.fields import (
    Channel,
    Id,
    IdentifierType,
    Instant,
    Minor,
    Name,
    Outcome,
    Reference,
    SubjectName,
    TraitValue,
)

# A call names a handful of identifiers; more than this is a bulk export in the wrong topic.
LIST_MAX = 20
TRAITS_MAX = 50
# One printed order; a longer one is split by its producer.
LINES_MAX = 200


class Shape(BaseModel):
    """Strict: no text is read as a number. Unknown fields are left out."""

    model_config = ConfigDict(strict=True, extra="ignore", frozen=True, allow_inf_nan=False, defer_build=True)


class StatedIdentifier(Shape):
    """Something the subject is known by, as the source states it; normalised by `models.identifiers`."""

    type: IdentifierType
    value: Id
    verified: bool = False


class EventData(Shape):
    """The fields that any event may carry beside its own (docs/events.md gives each one's meaning)."""

    wire_type: ClassVar[str] = ""
    version: ClassVar[int] = 1
    shown_as: ClassVar[str] = ""

    identifiers: Annotated[list[StatedIdentifier], Field(max_length=LIST_MAX)] = []
    channel: Channel | None = None
    store_id: Id | None = None
    touchpoint: Name | None = None
    outcome: Outcome | None = None
    problem_code: Name | None = None
    asked_for: Annotated[list[Name], Field(max_length=LIST_MAX)] = []
    employee_id: Id | None = None
    team_id: Id | None = None
    cost_minor: Minor | None = None
    references: Annotated[list[Reference], Field(max_length=LIST_MAX)] = []
    traits: Annotated[dict[Name, TraitValue], Field(max_length=TRAITS_MAX)] = {}

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """The class's keywords are read when its fields are known: `__pydantic_init_subclass__`."""

    @staticmethod
    def fault(data: Any) -> str | None:
        """What is wrong with the fields taken together; None when nothing is. Both decoders ask it."""
        return None

    @model_validator(mode="after")
    def _fields_agree(self) -> Self:
        if fault := self.fault(self):
            raise ValueError(fault)
        return self

    @classmethod
    def __pydantic_init_subclass__(
        cls, wire_type: str = "", version: int = 1, shown_as: str = "", **_: Any
    ) -> None:
        if wire_type:
            cls.wire_type, cls.version, cls.shown_as = wire_type, version, shown_as
            if wire_type in EVENT_TYPES:
                raise TypeError(f"{wire_type} is declared twice")
            EVENT_TYPES[wire_type] = cls


# Filled by the modules of the domains as they declare their types; `models.catalogue` imports all of them.
EVENT_TYPES: dict[str, type[EventData]] = {}


class Envelope(Shape):
    """What CloudEvents puts around the data. `time` left out means: when the log took the record."""

    specversion: Annotated[str, Field(pattern=r"^1\.0$")]
    id: Id
    source: Id
    type: Name
    subject: SubjectName
    time: Instant | None = None
    datacontenttype: Annotated[str, Field(pattern=r"^application/([a-z0-9.+-]+\+)?json( *;.*)?$")] | None = (
        None
    )
    dataschema: Annotated[str, Field(min_length=1, max_length=500)] | None = None
    traceparent: Name | None = None
    tracestate: Annotated[str, Field(max_length=1_000)] | None = None
    partitionkey: Name | None = None
