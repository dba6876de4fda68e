"""An import map: the TOML file that says how a row becomes an event (docs/import.md).

Invariants:
- A map that could not work is refused before the first row is read: unknown keys, types, fields, conversions.
- A row becomes the same bytes whenever the same map meets it: no clock, no random id.
- What a row lacks is a value with a reason (RowRejected), never a guess.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Mapping
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple
from zoneinfo import ZoneInfoNotFoundError

import msgspec

from ops import values as convert
from ops.failures import Exit, Failure
from ops.rows import FORMATS, Layout, Row

# The name under which a template finds the row's own number.
ROW = "row"
NESTING_MAX = 8

_PLACE = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")
_FIELD_KEYS = {"column", "as", "currency", "currency_column", "decimal", "group", "format", "zone", "values"}
_FILE_KEYS = {"format", "delimiter", "quote", "header", "columns", "encoding"}
_EVENT_KEYS = {"type", "source", "subject", "id", "time", "dataschema"}
_FILTER_KEYS = {"column", "is", "is_not"}
_PLAIN = {
    "text": convert.as_text, "int": convert.as_int, "number": convert.as_number, "bool": convert.as_bool,
    "json": convert.as_json,
}  # fmt: skip

Field = Callable[[Row], Any]
"""A field's value for a row; None leaves the field out."""


class RowRejected(Exception):
    """Why a row cannot become an event."""


class ImportMap(NamedTuple):
    """A map, ready to use. `columns` are all that it reads."""

    name: str
    layout: Layout
    topic: str
    type: str
    columns: frozenset[str]
    wanted: Callable[[Row], bool]
    event: Callable[[Row], dict[str, Any]]


def load_map(name: str) -> ImportMap:
    """The map of a file, or one that scv brings (`cdnow`). Raises Failure with what is wrong, and where."""
    path = Path(name)
    if path.is_file():
        text = path.read_text()
    else:
        maps = resources.files("ops") / "maps"
        shipped = maps / f"{name}.toml"
        if not shipped.is_file():
            known = ", ".join(sorted(item.name.removesuffix(".toml") for item in maps.iterdir()))
            raise Failure(
                Exit.NOT_FOUND, f"{name}: no such map; give a TOML file, or one that scv brings: {known}"
            )
        text = shipped.read_text()
    return read_map(name, text)


def read_map(name: str, text: str) -> ImportMap:
    """The map that this TOML is; `name` is how errors call it."""
    try:
        return _Reader(name).read(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise Failure(Exit.USAGE, f"{name}: not TOML: {error}") from None


class _Reader:
    """Turns the document into functions, and remembers which columns it saw."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._columns: set[str] = set()

    def read(self, document: dict[str, Any]) -> ImportMap:
        from models.catalogue import topic_of
        from models.event import EVENT_TYPES

        self._known_keys(document, {"file", "event", "data", "filter"}, "the map")
        event = self._table(document, "event")
        self._known_keys(event, _EVENT_KEYS, "[event]")
        wire_type = event.get("type")
        if wire_type not in EVENT_TYPES:
            raise self._wrong(
                "[event] type", f"{wire_type!r} is no event type{_meant(wire_type, EVENT_TYPES)}"
            )
        data = self._table(document, "data")
        self._known_keys(data, set(EVENT_TYPES[wire_type].model_fields), f"[data] of {wire_type}")
        layout = self._layout(document.get("file", {}))
        wanted = self._filters(document.get("filter", []))
        make = self._event(wire_type, event, self._object(data, "[data]", 0))
        return ImportMap(
            self._name, layout, topic_of(wire_type), wire_type, frozenset(self._columns), wanted, make
        )

    def _event(self, wire_type: str, event: dict[str, Any], data: Field) -> Callable[[Row], dict[str, Any]]:
        required = {}
        for key in ("id", "source", "subject"):
            if not isinstance(event.get(key), str):
                raise self._wrong(f"[event] {key}", "is required, as text with {column} in it")
            required[key] = self._template(event[key], f"[event] {key}", required=True)
        time = self._field(event["time"], "[event] time", 0) if "time" in event else None
        if isinstance(event.get("time"), dict) and event["time"].get("as", "time") != "time":
            raise self._wrong("[event] time", "is a time; leave `as` out")
        fixed = {"dataschema": event["dataschema"]} if "dataschema" in event else {}

        def make(row: Row) -> dict[str, Any]:
            made: dict[str, Any] = {"specversion": "1.0", "type": wire_type}
            for key, text in required.items():
                made[key] = text(row)
            if time is not None:
                if (at := time(row)) is None:
                    raise RowRejected(
                        "[event] time: the column is empty; leave time out for the moment of the import"
                    )
                made["time"] = at
            made |= fixed
            made["data"] = data(row) or {}
            return made

        return make

    def _field(self, spec: Any, where: str, depth: int) -> Field:
        if depth > NESTING_MAX:
            raise self._wrong(where, f"is nested deeper than {NESTING_MAX} levels")
        if isinstance(spec, str):
            return self._template(spec, where)
        if isinstance(spec, list):
            return self._list(spec, where, depth)
        if isinstance(spec, dict):
            return self._column(spec, where) if "column" in spec else self._object(spec, where, depth)
        if isinstance(spec, (bool, int, float)):
            return lambda _: spec
        raise self._wrong(where, f"a {type(spec).__name__} of TOML is not possible here; write it as text")

    def _object(self, spec: dict[str, Any], where: str, depth: int) -> Field:
        spec = dict(spec)
        condition = spec.pop("when", None)
        if condition is not None:
            self._columns.add(condition)
        fields = [(key, self._field(value, f"{where} {key}", depth + 1)) for key, value in spec.items()]

        def make(row: Row) -> dict[str, Any] | None:
            if condition is not None and convert.cell(row.values, condition) is None:
                return None
            made = {}
            for key, field in fields:
                if (value := field(row)) is not None:
                    made[key] = value
            return made

        return make

    def _list(self, spec: list[Any], where: str, depth: int) -> Field:
        fields = [self._field(value, f"{where}[{index}]", depth + 1) for index, value in enumerate(spec)]
        # An empty list states nothing: it is left out, as an empty value is.
        return lambda row: [value for field in fields if (value := field(row)) is not None] or None

    def _template(self, text: str, where: str, *, required: bool = False) -> Field:
        """`crm:{customer_id}`; without a column it is a constant. `{{` and `}}` are braces.

        An empty column leaves the field out; where it is `required`, the row is rejected.
        """
        pieces: list[str | tuple[str]] = []
        end = 0
        for match in _PLACE.finditer(text):
            pieces.append(text[end : match.start()])
            end = match.end()
            if match.group(1):
                pieces.append((match.group(1),))
            elif match.group() in ("{{", "}}"):
                pieces.append(match.group()[0])
            else:
                raise self._wrong(where, f"{text!r}: write {{column}}, and {{{{ for a brace")
        pieces.append(text[end:])
        self._columns.update(piece[0] for piece in pieces if isinstance(piece, tuple) and piece[0] != ROW)
        if not any(isinstance(piece, tuple) for piece in pieces):
            constant = "".join(pieces)  # type: ignore[arg-type]
            return lambda _: constant

        def make(row: Row) -> str | None:
            said = ""
            for piece in pieces:
                if isinstance(piece, str):
                    said += piece
                elif piece[0] == ROW:
                    said += str(row.number)
                elif (value := convert.cell(row.values, piece[0])) is None:
                    if required:
                        raise ValueError(f"column {piece[0]} is empty")
                    return None
                else:
                    said += value if isinstance(value, str) else convert.as_text(value, row.values)
            return said

        return _explained(make, where)

    def _column(self, spec: dict[str, Any], where: str) -> Field:
        self._known_keys(spec, _FIELD_KEYS, where)
        column = spec["column"]
        if not isinstance(column, str):
            raise self._wrong(where, "column is the name of a column")
        self._columns.add(column)
        change = self._conversion(spec, where)
        meaning = spec.get("values")
        if meaning is not None and not isinstance(meaning, dict):
            raise self._wrong(where, 'values is a table: { M = "male" }')

        def make(row: Row) -> Any:
            value = row.number if column == ROW else convert.cell(row.values, column)
            if value is None:
                return None
            if meaning is not None:
                if str(value) not in meaning:
                    raise ValueError(f"{str(value)[:40]!r} is not among its values")
                return meaning[str(value)]
            return change(value, row.values)

        return _explained(make, f"{where}: column {column}")

    def _conversion(self, spec: dict[str, Any], where: str) -> convert.Convert:
        kind = spec.get("as", "time" if where == "[event] time" else "text")
        if kind in _PLAIN:
            return _PLAIN[kind]
        if kind == "minor":
            if ("currency" in spec) == ("currency_column" in spec):
                raise self._wrong(where, "minor units need `currency` or `currency_column`")
            if "currency_column" in spec:
                self._columns.add(spec["currency_column"])
            return convert.minor_conversion(
                spec.get("currency"),
                spec.get("currency_column"),
                spec.get("decimal", "."),
                spec.get("group", ""),
            )
        if kind == "date":
            return convert.date_conversion(spec.get("format"))
        if kind == "time":
            try:
                return convert.time_conversion(spec.get("format"), spec.get("zone", "UTC"))
            except (ZoneInfoNotFoundError, ValueError, OSError):
                raise self._wrong(
                    where, f"{spec['zone']!r} is no time zone; write it as Europe/Berlin"
                ) from None
        kinds = [*_PLAIN, "minor", "date", "time"]
        raise self._wrong(where, f"as = {kind!r} is none of {', '.join(kinds)}")

    def _filters(self, specs: Any) -> Callable[[Row], bool]:
        tests = []
        for spec in specs if isinstance(specs, list) else [specs]:
            self._known_keys(spec, _FILTER_KEYS, "[[filter]]")
            if "column" not in spec or ("is" in spec) == ("is_not" in spec):
                raise self._wrong(
                    "[[filter]]", "needs a column, and either `is` or `is_not`, a list of texts"
                )
            self._columns.add(spec["column"])
            listed = spec.get("is", spec.get("is_not"))
            chosen = frozenset(str(value) for value in (listed if isinstance(listed, list) else [listed]))
            tests.append((spec["column"], chosen, "is" in spec))

        def wanted(row: Row) -> bool:
            for column, chosen, included in tests:
                value = convert.cell(row.values, column)
                if (("" if value is None else convert.as_text(value, row.values)) in chosen) != included:
                    return False
            return True

        return wanted

    def _layout(self, spec: dict[str, Any]) -> Layout:
        self._known_keys(spec, _FILE_KEYS, "[file]")
        if spec.get("format", "csv") not in FORMATS:
            raise self._wrong("[file] format", f"{spec['format']!r} is none of {', '.join(FORMATS)}")
        try:
            "".encode(spec.get("encoding", "utf-8"))
        except LookupError:
            raise self._wrong(
                "[file] encoding", f"{spec['encoding']!r} is not known; write it as latin-1"
            ) from None
        columns = tuple(spec["columns"]) if "columns" in spec else None
        return Layout(**{**spec, "columns": columns})

    def _table(self, document: dict[str, Any], key: str) -> dict[str, Any]:
        table = document.get(key)
        if not isinstance(table, dict):
            raise self._wrong(f"[{key}]", "is missing")
        return table

    def _known_keys(self, table: Any, known: set[str], where: str) -> None:
        if not isinstance(table, dict):
            raise self._wrong(where, "must be a table")
        for key in table:
            if key not in known:
                raise self._wrong(where, f"{key!r} is not known there{_meant(key, known)}")

    def _wrong(self, where: str, what: str) -> Failure:
        return Failure(Exit.USAGE, f"{self._name}: {where}: {what} (docs/import.md)")


def _explained(make: Field, where: str) -> Field:
    def explained(row: Row) -> Any:
        try:
            return make(row)
        except ValueError as error:
            raise RowRejected(f"{where}: {error}") from None

    return explained


def _meant(word: Any, known: Mapping[str, Any] | set[str]) -> str:
    import difflib

    near = difflib.get_close_matches(str(word), list(known), n=1)
    return f"; did you mean {near[0]}?" if near else ""


def encode_event(event: dict[str, Any]) -> bytes:
    """The event as structured CloudEvents JSON."""
    return msgspec.json.encode(event)
