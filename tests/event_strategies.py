"""Hypothesis strategies for events, built from the annotations of the pydantic models themselves.

Guarantees:
- `events(wire_type)` draws whole CloudEvents that the models accept: boundary values, explicit nulls, fields
  left out, text of any script, times in every spelling of RFC 3339. No field has to be named here.
- `mangled(event)` draws the bytes of an event after some harm: wrong types and sizes, keys removed, added or
  written twice, broken encodings, cut or flipped bytes.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from types import SimpleNamespace
from typing import Annotated, Any, Literal, Union

import annotated_types
import msgspec
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy
from pydantic.fields import FieldInfo

from models.catalogue import EVENT_TYPES
from models.event import Envelope, Shape

CHARACTERS = st.characters(codec="utf-8")
FLOAT_SIZE = 1e300


@dataclass(frozen=True)
class Limits:
    """The constraints that a field's annotation declares."""

    least: float | None = None
    most: float | None = None
    shortest: int = 0
    longest: int | None = None
    pattern: str | None = None


def limits_of(metadata: typing.Iterable[Any]) -> Limits:
    """The constraints among an annotation's metadata."""
    found: dict[str, Any] = {}
    names = {
        annotated_types.Ge: ("least", "ge"),
        annotated_types.Le: ("most", "le"),
        annotated_types.MinLen: ("shortest", "min_length"),
        annotated_types.MaxLen: ("longest", "max_length"),
    }
    for item in metadata:
        for one in item.metadata if isinstance(item, FieldInfo) else [item]:
            if type(one) in names:
                ours, theirs = names[type(one)]
                found[ours] = getattr(one, theirs)
            elif pattern := getattr(one, "pattern", None):
                found["pattern"] = pattern
    return Limits(**found)


# --- valid values -----------------------------------------------------------------------------------------


@st.composite
def instants(draw: DrawFn) -> str:
    """A time as RFC 3339 allows to write it; the years 1 and 9999 are always read the careful way."""
    years = draw(st.sampled_from([(2, 9998), (2020, 2030)]))
    first, last = (datetime.fromisoformat(f"{year:04}-01-01") for year in years)
    at = draw(st.datetimes(first, last))
    fraction = draw(
        st.sampled_from(["", ".1", ".000", ".120", ".999999", ".9999999", ".123456789", ".0000005"])
    )
    minutes = draw(st.integers(-(24 * 60 - 1), 24 * 60 - 1))
    hours, rest = divmod(abs(minutes), 60)
    offset = f"{'-' if minutes < 0 else '+'}{hours:02}:{rest:02}"
    zone = draw(st.sampled_from(["Z", "z", "+00:00", "-00:00", offset]))
    return f"{at:%Y-%m-%d}".rjust(10, "0") + draw(st.sampled_from("TTt ")) + f"{at:%H:%M:%S}{fraction}{zone}"


def _texts(limits: Limits) -> SearchStrategy[str]:
    if limits.pattern is not None:
        pattern = limits.pattern[:-1] + r"\Z" if limits.pattern.endswith("$") else limits.pattern
        return st.from_regex(pattern, fullmatch=True, alphabet=CHARACTERS)
    longest = limits.longest if limits.longest is not None else 300
    some = st.text(CHARACTERS, min_size=limits.shortest, max_size=min(longest, 12))
    ends = [character * size for size in {limits.shortest, longest} for character in "x€😀\n\\"]
    return some | st.sampled_from(ends)


def _integers(limits: Limits) -> SearchStrategy[int]:
    least = None if limits.least is None else int(limits.least)
    most = None if limits.most is None else int(limits.most)
    ends = [end for end in (least, most) if end is not None]
    return st.integers(least, most) | st.sampled_from(ends or [0])


def _floats(limits: Limits) -> SearchStrategy[Any]:
    least = -FLOAT_SIZE if limits.least is None else limits.least
    most = FLOAT_SIZE if limits.most is None else limits.most
    whole = st.integers(int(max(least, -9)), int(min(most, 9)))
    return st.floats(least, most, allow_nan=False) | whole | st.sampled_from([float(least), float(most)])


def values(hint: Any, limits: Limits = Limits()) -> SearchStrategy[Any]:
    """JSON values that a field annotated with `hint` accepts."""
    origin = typing.get_origin(hint)
    if origin is Annotated:
        inner, *metadata = typing.get_args(hint)
        return values(inner, limits_of(metadata))
    if origin in (Union, types.UnionType):
        return st.one_of(*(values(member) for member in typing.get_args(hint)))
    if origin is Literal:
        return st.sampled_from(typing.get_args(hint))
    if origin is list:
        item, longest = values(*typing.get_args(hint)), limits.longest
        filled = st.builds(lambda one: [one] * longest, item)
        return st.lists(item, max_size=min(longest, 3)) | st.lists(item, max_size=2) | filled
    if origin is dict:
        return st.dictionaries(*(values(member) for member in typing.get_args(hint)), max_size=4)
    if isinstance(hint, type) and issubclass(hint, Shape):
        return shapes(hint)
    plain: dict[Any, Callable[[], SearchStrategy[Any]]] = {
        datetime: instants,
        str: lambda: _texts(limits),
        int: lambda: _integers(limits),
        float: lambda: _floats(limits),
        bool: st.booleans,
        type(None): st.none,
    }
    return plain[hint]()


def shapes(shape: type[Shape], **fixed: SearchStrategy[Any]) -> SearchStrategy[dict[str, Any]]:
    """Objects that a model accepts; `fixed` replaces the strategies of some fields."""
    hints = typing.get_type_hints(shape, include_extras=True)
    required: dict[str, SearchStrategy[Any]] = {}
    optional: dict[str, SearchStrategy[Any]] = {}
    for name, info in shape.model_fields.items():
        (required if info.is_required() else optional)[name] = (
            fixed[name] if name in fixed else values(hints[name])
        )
    return st.fixed_dictionaries(required, optional=optional)


@cache
def events(wire_type: str) -> SearchStrategy[dict[str, Any]]:
    """Whole CloudEvents of a type, in its current version."""
    kind = EVENT_TYPES[wire_type]
    optional_fields = {name: None for name, info in kind.model_fields.items() if not info.is_required()}

    def agrees(data: dict[str, Any]) -> bool:
        return kind.fault(SimpleNamespace(**{**optional_fields, **data})) is None

    schemas = st.sampled_from([None, f"https://example.com/schemas/{wire_type}/{kind.version}"])
    return st.builds(
        lambda envelope, data: {**envelope, "data": data},
        shapes(
            Envelope,
            type=st.just(wire_type),
            datacontenttype=st.sampled_from([None, "application/json", "application/json; charset=utf-8"]),
            dataschema=schemas,
        ),
        shapes(kind).filter(agrees),
    )


@cache
def any_events() -> SearchStrategy[dict[str, Any]]:
    """Whole CloudEvents of every type."""
    return st.sampled_from(sorted(EVENT_TYPES)).flatmap(events)


# --- harm -------------------------------------------------------------------------------------------------


class Raw(bytes):
    """Bytes that stand in the document as they are, JSON or not."""


class Members(list[tuple[bytes, Any]]):
    """A JSON object whose keys may repeat and need not be text."""


ODD_TIMES = (
    "2026-03-01T10:42:60Z", "2016-12-31T23:59:60Z", "2026-03-01T24:00:00Z", "0000-01-01T00:00:00Z",
    "0001-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59Z",
    "9999-12-31T23:59:59-05:00", "9999-12-31T23:59:59.9999999Z", "2026-02-29T00:00:00Z",
    "2026-03-01T10:42:07", "2026-03-01", "2026-03-01T10:42Z", "2026-03-01T10:42:07+0100",
    "2026-03-01T10:42:07+24:00", "2999-01-01T00:00:00Z", "20260301T104207Z", "2026-03-01T10:42:07,5Z",
    "2026-03-01T10:42:07.Z", " 2026-03-01T10:42:07Z", "2026-03-01T10:42:07Z\n", "1700000000",
)  # fmt: skip
ODD_NUMBERS = (
    b"NaN", b"Infinity", b"-Infinity", b"1e400", b"-1e400", b"1e-400", b"-0", b"-0.0", b"0.0", b"1.0",
    b"1e2", b"1E+2", b"01", b"+1", b".5", b"1.", b"0x1", b"9007199254740991", b"9007199254740992",
    b"-9007199254740992", b"9223372036854775808", b"18446744073709551615", b"18446744073709551616",
    b"-18446744073709551616", b"9007199254740993.0", b"1" * 30, b"1" * 60, b"-" + b"1" * 400, b"1" * 5_000,
    b"0." + b"3" * 400, b"5.0000000000000000000000000001", b"1.0000000000000000000000000001",
    b"-1.00000000000000000001",
)  # fmt: skip
ODD_TEXTS = (
    b'""', b'"\\ud800"', b'"\\udc00\\ud800"', b'"\\ud83d\\ude00"', b'"\\u0000"', b'"a\x00b"', b'"\xff"',
    b'"\xed\xa0\x80"', b'"\xf4\x90\x80\x80"', b'"\xc0\xaf"', b'"unended', b'"\\x"', b'"a\nb"', b'"\\u00e9"',
    b'"a\\n"', b"'single'", b'"EUR\\n"', b'"1.0\\n"', b'"crm:4711\\n"', b'"\xe2\x80\xa8"',
    b'"' + b"x" * 256 + b'"', b'"' + b"x" * 5_000 + b'"',
)  # fmt: skip
ODD_OTHERS = (
    b"null", b"true", b"false", b"[]", b"{}", b"[null]", b"[[]]", b'{"a":1}', b'{"":null}', b"nul", b"",
    b"[1,]", b"[" * 12 + b"]" * 12, b"[" * 17 + b"]" * 17, b'{"a":' * 40 + b"1" + b"}" * 40,
    b"[" * 5_000 + b"]" * 5_000, b"[" * 60_000, b'{"a":' * 30_000,
)  # fmt: skip
ODD_KEYS = (
    b'"data"', b'"type"', b'"subject"', b'"time"', b'"specversion"', b'"dataschema"', b'"unknown"',
    b'"Upper"', b'"a/b~c"', b'""', b'"\\u0064ata"', b'"\\ud800"', b'"\xff"', b'"data_base64"', b'"score"',
    b'"status"', b'"granted"', b'"traits"', b"unquoted", b"1", b'"' + b"k" * 300 + b'"',
)  # fmt: skip


@cache
def odd_values() -> SearchStrategy[Raw]:
    """What a field may not expect: JSON of every kind, and things that are no JSON."""
    times = [msgspec.json.encode(text) for text in ODD_TIMES]
    each = [st.sampled_from(group) for group in (times, ODD_NUMBERS, ODD_TEXTS, ODD_OTHERS)]
    return st.one_of(
        *each, st.integers().map(lambda number: b"%d" % number), st.floats().map(lambda x: repr(x).encode())
    ).map(Raw)


def tree(value: Any) -> Any:
    """The same document with its objects as `Members`."""
    if isinstance(value, dict):
        return Members((msgspec.json.encode(name), tree(inner)) for name, inner in value.items())
    return [tree(inner) for inner in value] if isinstance(value, list) else value


def written(value: Any) -> bytes:
    """The bytes of a tree."""
    if isinstance(value, Raw):
        return bytes(value)
    if isinstance(value, Members):
        return b"{" + b",".join(name + b":" + written(inner) for name, inner in value) + b"}"
    if isinstance(value, list):
        return b"[" + b",".join(written(inner) for inner in value) + b"]"
    return msgspec.json.encode(value)


def _containers(value: Any) -> list[Any]:
    if not isinstance(value, list):
        return []
    inner = [item[1] if isinstance(value, Members) else item for item in value]
    return [value, *(found for child in inner for found in _containers(child))]


def _bent(draw: DrawFn, value: Any) -> Any:
    """Something close to `value`: one more, one less, another spelling, another type."""
    if isinstance(value, Raw) or value is None:
        return value
    if isinstance(value, bool):
        return draw(st.sampled_from([not value, int(value), str(value).lower(), None]))
    if isinstance(value, (int, float)):
        around = [value + 1, value - 1, -value, value * 10, value / 2, str(value), None]
        if abs(value) < 2**60:
            around += [float(value), int(value)]
        return Raw(b"%d.0" % value) if draw(st.booleans()) else draw(st.sampled_from(around))
    if isinstance(value, str):
        around = [value + "\n", value + " ", " " + value, value[:-1], value.upper(), value.lower(), value * 2]
        return draw(st.sampled_from([*around, value + "x" * 300, "0" + value, [value], None]))
    if isinstance(value, Members):
        return draw(st.sampled_from([Members(value * 2), [value], Members([(b'"x"', value)])]))
    return value * draw(st.sampled_from([2, 21, 51, 201])) or [None]


def _harm_tree(draw: DrawFn, document: Any) -> None:
    place = draw(st.sampled_from(_containers(document)))
    at = draw(st.integers(0, max(len(place) - 1, 0)))
    if place and draw(st.booleans()):
        name, value = place[at] if isinstance(place, Members) else (b"", place[at])
        bent = _bent(draw, value)
        place[at] = (name, bent) if isinstance(place, Members) else bent
        return
    odd = draw(odd_values())
    if not isinstance(place, Members):
        if place and draw(st.booleans()):
            place[at] = odd
        else:
            place.insert(at, odd)
        return
    what = draw(st.sampled_from(["replace", "replace", "remove", "add", "twice", "again", "rename"]))
    if what == "add" or not place:
        place.insert(at, (draw(st.sampled_from(ODD_KEYS)), odd))
        return
    name, value = place[at]
    if what == "remove":
        del place[at]
    elif what == "replace":
        place[at] = (name, odd)
    elif what == "rename":
        place[at] = (draw(st.sampled_from(ODD_KEYS)), value)
    else:
        place.insert(draw(st.integers(0, len(place))), (name, odd if what == "twice" else value))


def _harm_bytes(draw: DrawFn, raw: bytes) -> bytes:
    at = draw(st.integers(0, len(raw)))
    some = draw(
        st.binary(max_size=3)
        | st.sampled_from([b" ", b"\n", b"\xef\xbb\xbf", b"null", b"}", b"]", b'"', b",", b"\\"])
    )
    return raw[:at] + some + raw[at + draw(st.integers(0, 2) | st.integers(0, len(raw))) :]


@st.composite
def mangled(draw: DrawFn, event: dict[str, Any]) -> bytes:
    """The bytes of `event` after harm to its tree, its bytes, or both."""
    document = tree(event)
    for _ in range(draw(st.sampled_from([1, 1, 1, 0, 2, 3]))):
        _harm_tree(draw, document)
    raw = written(document)
    return _harm_bytes(draw, raw) if draw(st.integers(0, 3)) == 0 else raw
