"""What `scv.generations` tells: which generation readers see, from when on, by whom and why.

Invariants:
- Promotions and rollbacks are numbered from 1. A record counts if its number is one more than that of the
  record before it that counts; another record with a number that is taken came second, and is void.
- So the history is a function of the log, the same for everybody who reads it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Literal, NamedTuple

import msgspec
from pydantic import Field

from models.event import Shape
from models.profile_sections import Moment
from models.record import Record

Kind = Literal["promoted", "rolled_back"]
PROMOTED: Kind = "promoted"
ROLLED_BACK: Kind = "rolled_back"

FIRST_NUMBER = 1
TYPE = "scv.generation_"
# A sentence or two; the record must stay far below what Kafka takes.
ACTOR_MAX = 200
REASON_MAX = 4_000


class PromotionRefused(Exception):
    """Nothing was promoted; the message says why, and what to do."""


class NoGeneration(PromotionRefused):
    """There is no such generation."""


class Active(NamedTuple):
    """The generation that readers see, and the number of its promotion."""

    generation: str
    promotion: int


def parse_active(stored: bytes) -> Active:
    """What `g7 13` says."""
    generation, promotion = stored.decode().split()
    return Active(generation, int(promotion))


class Promotion(NamedTuple):
    """One promotion that counts. `previous`: the generation that was active before; None for the first.

    One of the generation that is active already publishes everybody anew, and keeps `previous`.

    `at_ms` is the record's log time in milliseconds since 1970 (UTC); `record_id` tells it from all others.
    `keyid`: the API key that it came through; None for the command line.
    """

    number: int
    generation: str
    previous: str | None
    kind: Kind
    actor: str
    reason: str
    at_ms: int
    record_id: str
    keyid: str | None = None


class _Data(msgspec.Struct):
    number: int
    generation: str
    previous: str | None
    actor: str
    reason: str
    keyid: str | None = None


class _Event(msgspec.Struct):
    id: str
    type: str
    data: _Data


_read = msgspec.json.Decoder(_Event).decode


def wire_promotion(promotion: Promotion, at: str) -> bytes:
    """The CloudEvent for `scv.generations`; `at` is now (RFC 3339). The record's key is the generation."""
    return msgspec.json.encode(
        {
            "specversion": "1.0",
            "id": promotion.record_id,
            "source": "scv",
            "type": TYPE + promotion.kind,
            "time": at,
            "subject": promotion.generation,
            "datacontenttype": "application/json",
            "data": _Data(
                promotion.number,
                promotion.generation,
                promotion.previous,
                promotion.actor,
                promotion.reason,
                promotion.keyid,
            ),
        }
    )


def read_promotion(record: Record) -> Promotion | None:
    """The promotion in a record of `scv.generations`; None for what is none."""
    try:
        event = _read(record.value or b"")
    except msgspec.MsgspecError:
        return None
    kind, data = event.type.removeprefix(TYPE), event.data
    if kind != PROMOTED and kind != ROLLED_BACK:
        return None
    return Promotion(
        data.number,
        data.generation,
        data.previous,
        kind,
        data.actor,
        data.reason,
        record.timestamp_ms,
        event.id,
        data.keyid,
    )


def those_that_count(records: Iterable[Record]) -> list[Promotion]:
    """The history, from the records of the topic in the order of the log."""
    history: list[Promotion] = []
    for record in records:
        promotion = read_promotion(record)
        if promotion is not None and promotion.number == len(history) + FIRST_NUMBER:
            history.append(promotion)
    return history


class PromotionData(Shape):
    """Which generation readers see from now on, and why."""

    number: Annotated[
        int,
        Field(
            ge=FIRST_NUMBER,
            description="One more than the one before; a record with a number that is taken is void.",
        ),
    ]
    generation: Annotated[str, Field(description="The generation that readers see now.")]
    previous: Annotated[
        str | None, Field(description="The one they saw before; null for the first that there was.")
    ]
    actor: Annotated[str, Field(min_length=1, max_length=ACTOR_MAX, description="Who promoted it.")]
    reason: Annotated[str, Field(min_length=1, max_length=REASON_MAX, description="Why, in their words.")]
    keyid: Annotated[
        str | None, Field(description="The API key it came through; null for the command line.")
    ] = None


class PromotionEvent(Shape):
    """A generation was promoted, or rolled back to. The record's key is the generation."""

    specversion: Literal["1.0"]
    id: Annotated[str, Field(pattern=r"^gen_[0-9a-f]{16}$")]
    source: Literal["scv"]
    type: Literal["scv.generation_promoted", "scv.generation_rolled_back"]
    time: Annotated[Moment, Field(description="When it was asked for; it holds from the log time on.")]
    subject: Annotated[str, Field(description="The generation, also the record's key.")]
    datacontenttype: Literal["application/json"]
    data: PromotionData
