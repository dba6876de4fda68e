"""Read a record's value fast: the decoders are made from the pydantic models.

Invariants:
- The fast way says "this event", or "ask the careful way" (None). It never decides that something is wrong.
- Whatever it accepts, `models.careful` accepts with an equal result; a test holds the two together.
"""

from __future__ import annotations

import re
import types
import typing
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache
from typing import Annotated, Any, Literal, Union

import annotated_types
import msgspec
from pydantic.fields import FieldInfo

from models.catalogue import types_of
from models.event import EVENT_TYPES, Envelope, EventData, Shape
from models.fields import near_the_end_of_time
from models.identifiers import CUSTOMER_NAMESPACE

# A record of events.md is a few hundred bytes; a quarter of a MiB is a document that belongs elsewhere.
RECORD_BYTES_MAX = 256 * 1024
# `occurred_at` may run ahead of the log by what clocks differ, not more.
FUTURE_TOLERANCE_US = 5 * 60 * 1_000_000

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

# `models.fields.SubjectName`, where a text is at hand.
SUBJECT = re.compile(r"[a-z][a-z0-9_.-]{0,31}:[^\x00-\x20\x7f]{1,200}")
_RESERVED = f"{CUSTOMER_NAMESPACE}:"


class Event(msgspec.Struct, gc=False):
    """One event as the fold sees it. Instants are microseconds since 1970 (UTC).

    `stated` keeps what its identifiers say by the rules, once somebody has asked ("type:value", verified): an
    event is folded by one set of rules only.
    """

    type: str
    source: str
    id: str
    subject: str
    occurred_us: int
    log_us: int
    clamped: bool
    ignored_fields: int
    data: Any
    stated: list[tuple[str, bool]] | None = None


def microseconds(at: datetime) -> int:
    """Microseconds since 1970-01-01T00:00:00Z."""
    since = at - EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def occurred(at: datetime | None, log_us: int) -> tuple[int, bool]:
    """When it occurred, and whether that was taken from the log because it lay too far ahead of it (L1)."""
    if at is None:
        return log_us, False
    occurred_us = microseconds(at)
    return (log_us, True) if occurred_us > log_us + FUTURE_TOLERANCE_US else (occurred_us, False)


def _constraints(metadata: typing.Iterable[Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for item in metadata:
        if isinstance(item, FieldInfo):
            found |= _constraints(item.metadata)
        elif isinstance(item, annotated_types.MinLen):
            found["min_length"] = item.min_length
        elif isinstance(item, annotated_types.MaxLen):
            found["max_length"] = item.max_length
        elif isinstance(item, annotated_types.Ge):
            found["ge"] = item.ge
        elif isinstance(item, annotated_types.Le):
            found["le"] = item.le
        elif pattern := getattr(item, "pattern", None):
            # `$` of a Python pattern also stands before a last line feed; `\Z` does not.
            found["pattern"] = pattern[:-1] + r"\Z" if pattern.endswith("$") else pattern
    return found


def fast_type(hint: Any) -> Any:
    """The msgspec type for a field's annotation."""
    origin = typing.get_origin(hint)
    if origin is Annotated:
        inner, *metadata = typing.get_args(hint)
        if inner is datetime:
            return Annotated[datetime, msgspec.Meta(tz=True)]
        limits = _constraints(metadata)
        return Annotated[fast_type(inner), msgspec.Meta(**limits)] if limits else fast_type(inner)
    if origin in (Union, types.UnionType):
        return Union[tuple(fast_type(member) for member in typing.get_args(hint))]  # noqa: UP007
    if origin in (list, dict):
        return origin[tuple(fast_type(member) for member in typing.get_args(hint))]
    if isinstance(hint, type) and issubclass(hint, Shape):
        return fast_struct(hint)
    return hint


def _fields(shape: type[Shape]) -> list[Any]:
    fields: list[Any] = []
    for name, info in shape.model_fields.items():
        # pydantic has taken the annotation apart; evaluating its text anew took five times as long.
        kind = fast_type(Annotated[(info.annotation, *info.metadata)] if info.metadata else info.annotation)
        fields.append((name, kind) if info.is_required() else (name, kind, info.get_default()))
    return fields


@cache
def fast_struct(shape: type[Shape]) -> type[msgspec.Struct]:
    """The msgspec struct of a pydantic shape; it refuses unknown fields: the careful way counts them."""
    return msgspec.defstruct(
        shape.__name__, _fields(shape), kw_only=True, forbid_unknown_fields=True, gc=False, module=__name__
    )


# What the fast way takes where a pattern would allow more: patterns are matched in Python, for a third of all
# decoding. The subject is compared with the key instead.
_NARROWED: dict[str, Any] = {
    "specversion": Literal["1.0"],
    "subject": str,
    "datacontenttype": Literal[
        "application/json",
        "application/json; charset=utf-8",
        "application/json; charset=UTF-8",
        "application/json;charset=utf-8",
    ]
    | None,
}


def _envelope(wire_type: str) -> type[msgspec.Struct]:
    fields = [
        (name, _NARROWED.get(name, kind), *default)
        for name, kind, *default in _fields(Envelope)
        if name != "type"
    ]
    fields.append(("data", fast_struct(EVENT_TYPES[wire_type])))
    return msgspec.defstruct(
        f"{EVENT_TYPES[wire_type].__name__}Event",
        fields,
        kw_only=True,
        forbid_unknown_fields=True,
        gc=False,
        tag_field="type",
        tag=wire_type,
        module=__name__,
    )


def _holds_instant(hint: Any) -> bool:
    return hint is datetime or any(_holds_instant(part) for part in typing.get_args(hint))


def _doubt(shape: type[EventData]) -> Callable[[Any], bool] | None:
    """Whether decoded data should be read again the careful way: for what no msgspec type can express."""
    instants = [name for name, info in shape.model_fields.items() if _holds_instant(info.annotation)]
    fault = None if shape.fault is EventData.fault else shape.fault
    if not instants and fault is None:
        return None

    def doubtful(data: Any) -> bool:
        for name in instants:
            if (at := getattr(data, name)) is not None and near_the_end_of_time(at):
                return True
        return fault is not None and fault(data) is not None

    return doubtful


@cache
def fast_decoder(topic: str) -> Callable[[bytes, bytes | None, int], Event | None]:
    """The decoder of a topic: `decode(value, key, log_us)` gives the event; None: "ask the careful way".

    For structured mode only: a record that has a header `ce_specversion` is `models.careful`'s at once.
    """
    names = {_envelope(name): name for name in types_of(topic)}
    decode = msgspec.json.Decoder(Union[tuple(names)], strict=True).decode  # noqa: UP007
    doubts = {kind: doubt for kind, name in names.items() if (doubt := _doubt(EVENT_TYPES[name])) is not None}
    # Records come grouped by key: the key read last, and the subject that it names.
    known: tuple[bytes, str] = (b"", "")
    # Data of an older version may happen to fit today's shape: only the current one, or none named, is fast.
    endings = {kind: f"/{EVENT_TYPES[name].version}" for kind, name in names.items()}

    def fast(value: bytes, key: bytes | None, log_us: int) -> Event | None:
        nonlocal known
        if not key or len(value) > RECORD_BYTES_MAX:
            return None
        last = known
        try:
            if key != last[0]:
                subject = key.decode()
                if SUBJECT.fullmatch(subject) is None or subject.startswith(_RESERVED):
                    return None
                known = last = (key, subject)
            read: Any = decode(value)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None
        kind = type(read)
        if read.subject != last[1]:
            return None
        if read.dataschema is not None and not read.dataschema.endswith(endings[kind]):
            return None
        if kind in doubts and doubts[kind](read.data):
            return None
        at = read.time
        if at is not None and near_the_end_of_time(at):
            return None
        occurred_us, clamped = occurred(at, log_us)
        return Event(names[kind], read.source, read.id, last[1], occurred_us, log_us, clamped, 0, read.data)

    return fast
