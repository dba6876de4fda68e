"""The columns of an export, made from the profile's models: nested types, instants as timestamps.

Invariants:
- Made from `models.profile`: a field that is added there is a column here, and nothing else is.
- A map with a closed set of keys is a struct; a value of any kind (a trait's) is text.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Iterable, Sequence
from typing import Annotated, Any, Literal, Union

import pyarrow as pa
from pydantic import BaseModel

from models.profile import Profile

INSTANT = pa.timestamp("us", tz="UTC")
# What every row has before its sections.
HEAD = (
    ("customer_id", pa.string()),
    ("founder", pa.string()),
    ("version", pa.string()),
    ("published_at", INSTANT),
)
_PLAIN = {str: pa.string(), bool: pa.bool_(), int: pa.int64(), float: pa.float64()}


def schema(sections: Sequence[str]) -> pa.Schema:
    """The columns: the head, and one for each of these sections of the profile."""
    columns = [pa.field(name, kind, nullable=name != "customer_id") for name, kind in HEAD]
    hints = typing.get_type_hints(Profile, include_extras=True)
    return pa.schema([*columns, *(pa.field(name, arrow_type(hints[name])) for name in sections)])


def arrow_type(hint: Any, metadata: Sequence[Any] = ()) -> pa.DataType | None:
    """The type of a field's annotation; None for what is nothing but null."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if hint is type(None):
        return None
    if origin is Annotated:
        return arrow_type(inner[0], inner[1:])
    if origin is Literal:
        return _one_of(_PLAIN[type(value)] for value in inner)
    if origin in (Union, types.UnionType):
        return _one_of(arrow_type(one, metadata) for one in inner)
    if origin is list:
        return pa.list_(arrow_type(inner[0]))
    if origin is dict:
        return pa.struct([(name, arrow_type(inner[1])) for name in typing.get_args(inner[0])])
    if issubclass(hint, BaseModel):
        hints = typing.get_type_hints(hint, include_extras=True)
        return pa.struct([(name, arrow_type(hints[name])) for name in hint.model_fields])
    return INSTANT if hint is str and any(map(_is_instant, metadata)) else _PLAIN[hint]


def _is_instant(one: Any) -> bool:
    extra = getattr(one, "json_schema_extra", None)
    return isinstance(extra, dict) and extra.get("format") == "date-time"


def _one_of(kinds: Iterable[pa.DataType | None]) -> pa.DataType:
    """The one type there is; text where there are several."""
    found = {kind for kind in kinds if kind is not None}
    return found.pop() if len(found) == 1 else pa.string()
