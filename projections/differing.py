"""What differs between two values of the profile: each place by its path, with both values.

Invariants:
- Equal values have no differences; unequal ones at least one.
- Entries of a list are told apart by what comes first in them (`order_id`, `currency`, `event_id`…), where
  that is unique; else by their number.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

# What one side has not at all; null is a value.
MISSING = "(missing)"


class Difference(NamedTuple):
    """One place, as `billing.balances.EUR.balance_minor`, with what it was and is."""

    path: str
    before: Any
    after: Any


def differences(before: Any, after: Any, path: str = "") -> list[Difference]:
    """All places where these differ, in the order of the later one."""
    return list(_differing(before, after, path))


def _differing(before: Any, after: Any, path: str) -> Iterator[Difference]:
    if isinstance(before, dict) and isinstance(after, dict):
        yield from _of_entries(before, after, path)
    elif isinstance(before, list) and isinstance(after, list):
        was, now = keyed(before), keyed(after)
        if was is None or now is None:
            was = {str(at): entry for at, entry in enumerate(before)}
            now = {str(at): entry for at, entry in enumerate(after)}
        found = list(_of_entries(was, now, path))
        yield from found
        if not found and list(was) != list(now):
            yield Difference(path or "(order)", list(was), list(now))
    elif before != after or type(before) is not type(after):
        yield Difference(path, before, after)


def _of_entries(before: Mapping[str, Any], after: Mapping[str, Any], path: str) -> Iterator[Difference]:
    for name in dict.fromkeys((*after, *before)):
        where = f"{path}.{name}" if path else name
        yield from _differing(before.get(name, MISSING), after.get(name, MISSING), where)


def keyed(entries: Sequence[Any]) -> dict[str, Any] | None:
    """The entries of a list by what comes first in them; None where that does not tell them apart."""
    found: dict[str, Any] = {}
    for entry in entries:
        first = next(iter(entry.values()), None) if isinstance(entry, dict) else None
        if not isinstance(first, str) or first in found:
            return None
        found[first] = entry
    return found


class NoSuchField(ValueError):
    """A path leads nowhere; the message says where it ends, and what is there."""


def value_at(value: Any, path: Sequence[str]) -> Any:
    """What lies at a path of names inside a section; an entry of a list is named by what comes first in it.

    Names that were parted at a dot of their own are joined again: of the entries that the path may mean, the
    one with the longest name is meant. MISSING for an entry that a list does not have. NoSuchField.
    """
    at = 0
    while at < len(path):
        name, after = path[at], at + 1
        if isinstance(value, list):
            entries = keyed(value) or {str(number): entry for number, entry in enumerate(value)}
            left = ".".join(path[at:]) + "."
            found = max((one for one in entries if left.startswith(one + ".")), key=len, default=None)
            if found is None:
                return MISSING
            value, after = entries[found], at + found.count(".") + 1
        elif isinstance(value, dict):
            if name not in value:
                where = ".".join(path[:at]) or "the section"
                raise NoSuchField(f"{where} has no field {name!r}; there are: {', '.join(value)}")
            value = value[name]
        elif value is None:
            # An object that nothing has filled yet has no names to check.
            return MISSING
        else:
            raise NoSuchField(f"{'.'.join(path[:at])} is a value and holds no {name!r}")
        at = after
    return value
