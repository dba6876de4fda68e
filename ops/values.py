"""What becomes of a column's value: the conversions that an import map may ask for.

Invariants:
- A conversion gives the exact value or raises ValueError with the reason; it never rounds and never guesses.
- An empty value is None: the field is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

from models.money import minor_of

Values = Mapping[str, Any]
Convert = Callable[[Any, Values], Any]

TRUE_WORDS = frozenset({"true", "t", "yes", "y", "1"})
FALSE_WORDS = frozenset({"false", "f", "no", "n", "0"})
# Files come sorted by time: a day or a minute is converted once, not once a row.
TIMES_REMEMBERED = 65_536
_EPOCH_UNITS = {"epoch": 1, "epoch_ms": 1_000, "epoch_us": 1_000_000}


def cell(values: Values, column: str) -> Any:
    """A row's value in `column`, stripped; None when it is empty. `a.b` looks into objects of JSON Lines."""
    value = values.get(column)
    if value is None and "." in column and column not in values:
        value = values
        for step in column.split("."):
            value = value.get(step) if isinstance(value, dict) else None
    if isinstance(value, str):
        value = value.strip()
        return value or None
    return value


def as_text(value: Any, _: Values) -> str:
    """Text as it is; whole numbers and truths in JSON's spelling."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, Decimal)):
        return str(value)
    if isinstance(value, (datetime, date)):
        return value.isoformat()
    raise ValueError(f"a {type(value).__name__} is no text")


def as_int(value: Any, _: Values) -> int:
    """A whole number."""
    try:
        # bool is an int to Python, and 1.0 is a whole number that only a float's spelling hides.
        whole = (
            int(value)
            if isinstance(value, (str, int, float, Decimal)) and not isinstance(value, bool)
            else None
        )
    except (ValueError, OverflowError, ArithmeticError):
        whole = None
    if whole is None or (not isinstance(value, str) and whole != value):
        raise ValueError(f"{str(value)[:40]!r} is no whole number")
    return whole


def as_number(value: Any, _: Values) -> float:
    """A number with decimals. Never for money: use `minor`."""
    try:
        return float(value)
    except (TypeError, ValueError):
        raise ValueError(f"{str(value)[:40]!r} is no number") from None


def as_bool(value: Any, _: Values) -> bool:
    """A truth, in one of the usual words."""
    word = str(value).lower()
    if word in TRUE_WORDS or word in FALSE_WORDS:
        return word in TRUE_WORDS
    raise ValueError(f"{str(value)[:40]!r} is neither yes nor no")


def as_json(value: Any, _: Values) -> Any:
    """Lists and objects of JSON Lines and Parquet as they are; text is read as JSON."""
    if not isinstance(value, str):
        return value
    import msgspec

    try:
        return msgspec.json.decode(value)
    except msgspec.DecodeError as error:
        raise ValueError(f"not JSON: {error}") from None


def minor_conversion(currency: str | None, column: str | None, decimal: str, group: str) -> Convert:
    """Money into the smallest unit of `currency`, or of the currency that `column` names."""

    def convert(value: Any, values: Values) -> int:
        code = currency if column is None else cell(values, column)
        if not isinstance(code, str):
            raise ValueError(f"column {column!r} names no currency")
        if isinstance(value, str):
            written = value
            value = value.replace(group, "") if group else value
            if decimal != "." and "." in value:
                raise ValueError(f"{written[:40]!r} has a point, where decimals are set apart by {decimal!r}")
            value = value.replace(decimal, ".")
        return minor_of(value, code)

    return convert


def time_conversion(form: str | None, zone: str) -> Convert:
    """A moment, RFC 3339 in UTC. Without an offset of its own a time is one of `zone`."""
    tz = ZoneInfo(zone)

    @lru_cache(maxsize=TIMES_REMEMBERED)
    def of_text(text: str) -> str:
        try:
            if form in _EPOCH_UNITS:
                return _of_epoch(Decimal(text), _EPOCH_UNITS[form])
            at = datetime.strptime(text, form) if form else datetime.fromisoformat(text)  # noqa: DTZ007
        except (ValueError, ArithmeticError):
            wanted = form or "ISO 8601"
            raise ValueError(f"{text[:40]!r} is no time of the form {wanted}") from None
        return instant_text(at if at.tzinfo else at.replace(tzinfo=tz))

    def convert(value: Any, _: Values) -> str:
        if isinstance(value, datetime):
            return instant_text(value if value.tzinfo else value.replace(tzinfo=tz))
        if isinstance(value, date):
            return instant_text(datetime(value.year, value.month, value.day, tzinfo=tz))
        if isinstance(value, bool) or not isinstance(value, (str, int, float, Decimal)):
            raise ValueError(f"a {type(value).__name__} is no time")
        return of_text(str(value))

    return convert


def date_conversion(form: str | None) -> Convert:
    """A calendar day, `YYYY-MM-DD`."""

    @lru_cache(maxsize=TIMES_REMEMBERED)
    def of_text(text: str) -> str:
        try:
            # Only the day counts: a zone would not change what is written there.
            at = datetime.strptime(text, form) if form else datetime.fromisoformat(text)  # noqa: DTZ007
            return at.date().isoformat()
        except ValueError:
            raise ValueError(f"{text[:40]!r} is no date of the form {form or 'YYYY-MM-DD'}") from None

    def convert(value: Any, _: Values) -> str:
        if isinstance(value, datetime):
            return value.date().isoformat()
        return value.isoformat() if isinstance(value, date) else of_text(str(value))

    return convert


def instant_text(at: datetime) -> str:
    """RFC 3339 in UTC, as events carry times; ValueError for a moment that UTC's calendar does not have."""
    try:
        return at.astimezone(UTC).isoformat().replace("+00:00", "Z")
    except OverflowError:
        raise ValueError(f"{at} lies outside the calendar") from None


def _of_epoch(number: Decimal, units: int) -> str:
    microseconds = number * (1_000_000 // units)
    whole, part = divmod(int(microseconds), 1_000_000)
    try:
        return instant_text(datetime.fromtimestamp(whole, UTC).replace(microsecond=part))
    except (OverflowError, OSError):
        raise ValueError from None
