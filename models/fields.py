"""The field types that events are made of.

Invariants:
- Every text has a greatest length and every number a range, so that one event is bounded.
- Each type is a plain type with declarative constraints: `models.decoding` turns the same constraints
  into the types of the fast decoder, and a test holds the two equal.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import msgspec
from pydantic import BeforeValidator, Field, PlainSerializer, WithJsonSchema

# Integers that every JSON reader holds exactly (RFC 8259, section 6).
SAFE_INTEGER = 9_007_199_254_740_991
# Longer texts belong in the system that the event came from; the event may name its `url`.
TEXT_MAX = 4_000
NAME_MAX = 255
ID_MAX = 200

Text = Annotated[str, Field(max_length=TEXT_MAX)]
Name = Annotated[str, Field(min_length=1, max_length=NAME_MAX)]
Id = Annotated[str, Field(min_length=1, max_length=ID_MAX)]
Url = Annotated[str, Field(min_length=1, max_length=2_000)]

Minor = Annotated[int, Field(ge=-SAFE_INTEGER, le=SAFE_INTEGER)]
"""Money in the currency's smallest unit; negative where an event carries a delta."""
Count = Annotated[int, Field(ge=0, le=SAFE_INTEGER)]
Seconds = Annotated[int, Field(ge=0, le=SAFE_INTEGER)]
Currency = Annotated[str, Field(pattern=r"^[A-Z]{3}$")]
"""ISO 4217, by its form: new currencies need no release of ours."""

Birthdate = Annotated[str, Field(pattern=r"^[0-9]{4}(-[0-9]{2}-[0-9]{2})?$")]
"""OpenID Connect: `YYYY-MM-DD`, or `YYYY` alone; `0000-MM-DD` hides the year."""
Interval = Annotated[str, Field(pattern=r"^P[1-9][0-9]{0,2}[DWMY]$")]
"""ISO 8601 duration of one unit: `P1M`, `P1Y`, `P4W`, `P30D`."""
IdentifierType = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_.-]{0,31}$")]
Reference = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,31}:[^\x00-\x1f\x7f]{1,200}$")]
SubjectName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_.-]{0,31}:[^\x00-\x20\x7f]{1,200}$")]
"""A source identity, `namespace:value`."""

Channel = Literal[
    "web", "app", "store", "phone", "chat", "email", "social", "field", "partner", "mail", "other"
]
Outcome = Literal["succeeded", "failed", "abandoned"]
Sentiment = Annotated[float, Field(ge=-1, le=1)] | Literal["negative", "neutral", "positive"]
TraitText = Annotated[str, Field(max_length=NAME_MAX)]


def _whole_number_stays_exact(value: Any) -> Any:
    """Refuse what would otherwise become the nearest float: 2**53 + 1 is not 2**53."""
    if type(value) is int and abs(value) > SAFE_INTEGER:
        raise ValueError(f"a whole number must be within ±{SAFE_INTEGER}; send it as text")
    return value


TraitValue = Annotated[TraitText | bool | Minor | float | None, BeforeValidator(_whole_number_stays_exact)]
"""What nobody has modelled: text, truth, a number. Kept as it came, never computed with."""
Share = Annotated[float, Field(ge=0, le=1)]
Hours = Annotated[float, Field(ge=0, le=100_000)]

_instant_decoder = msgspec.json.Decoder(Annotated[datetime, msgspec.Meta(tz=True)], strict=True)


def read_instant(value: Any) -> datetime:
    """An RFC 3339 time with an offset, given as text, in the years 1 to 9999 of UTC. Else ValueError.

    The fast decoder reads times with the same function of msgspec, so both agree on every text.
    """
    try:
        at: datetime = _instant_decoder.decode(msgspec.json.encode(value))
        # Some systems write "never" as the last second of 9999 in their zone: no instant that UTC can name.
        at.astimezone(UTC)
    except msgspec.ValidationError:
        raise ValueError("a time must be RFC 3339 text with an offset, as 2026-03-01T10:42:07Z") from None
    except OverflowError:
        raise ValueError("a time must lie in the years 0001 to 9999, in UTC") from None
    return at


def near_the_end_of_time(at: datetime) -> bool:
    """True where the offset may carry a time out of the years of UTC; `read_instant` knows better."""
    return not 1 < at.year < 9999


Instant = Annotated[
    datetime,
    BeforeValidator(read_instant),
    PlainSerializer(lambda at: at.isoformat().replace("+00:00", "Z"), return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]
"""A moment, RFC 3339 with an offset."""
