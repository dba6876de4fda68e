"""What is wrong with a file of rules, in the words of the file.

Invariants:
- All mistakes are told, each in one line: the key, what is wrong, what to do. The first line names the file.
- A single mistake is a single line.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import pydantic
from pydantic_core import ErrorDetails

PAGE = "docs/identity.md explains each rule"
# Whoever has made more corrects these first: often the same mistake in every table.
MISTAKES_TOLD = 50


def told(
    path: Path,
    error: pydantic.ValidationError,
    document: Mapping[str, Any],
    known: Mapping[str, Sequence[str]],
) -> list[str]:
    """The lines for a document that the model refuses; `known` has the keys of each table, "" is the top."""
    # The model compares its tables only when each is right by itself, and has no place for what it finds.
    found = [_told(one, known) for one in error.errors(include_url=False) if one["loc"]]
    subjects, identifiers = document.get("subjects"), document.get("identifiers")
    if isinstance(subjects, dict) and isinstance(identifiers, dict):
        found += twice(subjects, identifiers)
    found = list(dict.fromkeys(found))
    if len(found) == 1:
        return [f"{path}: {found[0]}"]
    more = len(found) - MISTAKES_TOLD
    lines = [f"{path}: {len(found)} mistakes", *found[:MISTAKES_TOLD]]
    return [*lines, f"… and {more} more"] if more > 0 else lines


def twice(subjects: Mapping[str, Any], identifiers: Mapping[str, Any]) -> list[str]:
    """A line for each name that is under both headings."""
    return [
        f"[subjects.{name}]: is under [identifiers] too; what writes events is a subject, all else an "
        "identifier: keep one of the two tables"
        for name in sorted(subjects.keys() & identifiers.keys())
    ]


def _told(wrong: ErrorDetails, known: Mapping[str, Sequence[str]]) -> str:
    steps, limits, given = wrong["loc"], wrong.get("ctx", {}), wrong["input"]
    place, shown = _place(steps), repr(given)[:60]
    match wrong["type"]:
        case "extra_forbidden":
            return f"{place}: there is no such rule{_meant(steps, known)}"
        case "int_type" | "bool_type" | "string_type":
            wanted = {"int": "a whole number", "bool": "true or false", "string": "a text"}
            return f"{place}: {shown} is not {wanted[wrong['type'].removesuffix('_type')]}; {PAGE}"
        case "model_type" | "model_attributes_type" | "dict_type":
            return f"{place}: {shown} is no table; write it as [{'.'.join(map(str, steps))}]"
        case "greater_than_equal" | "less_than_equal":
            bound = "at least {ge}" if "ge" in limits else "at most {le}"
            return f"{place}: {shown} is out of range; give {bound.format(**limits)}; {PAGE}"
        case "literal_error":
            return f"{place}: {shown} is no form; give one of {limits['expected']}"
        case "too_long":
            return f"{place}: more than {limits['max_length']} with those of scv; keep those that matter"
        case "string_too_short":
            return f"{place}: an empty text is blocked anyway; take it out"
        case "tuple_type":
            return f"{place}: {shown} is no list; write it as [{shown}]"
        case "string_pattern_mismatch" if steps[-1] == "[key]":
            return f"{place}: is no namespace; write a to z first, then also digits, _, . and -, 32 together"
        case "string_pattern_mismatch":
            return f"{place}: {shown} is no mailbox; write it as 'noreply@', as an address begins"
        case "value_error":
            return f"{place}: {limits['error']}"
    return f"{place}: {wrong['msg']}, not {shown}; {PAGE}"


def _place(steps: tuple[int | str, ...]) -> str:
    """`[subjects.crm] strength` of its steps; an entry of a list is shown, not numbered."""
    names = [step for step in steps if isinstance(step, str) and step != "[key]"]
    depth = 2 if names[:1] in (["subjects"], ["identifiers"]) else 1 if len(names) > 1 else 0
    head, key = ".".join(names[:depth]), " ".join(names[depth:])
    return " ".join(part for part in (f"[{head}]" if head else "", key) if part)


def _meant(steps: tuple[int | str, ...], known: Mapping[str, Sequence[str]]) -> str:
    """What may stand in that place, the likeliest first."""
    keys = known.get(str(steps[0]), known[""]) if len(steps) > 1 else known[""]
    close = get_close_matches(str(steps[-1]), keys, 1)
    return f"; did you mean {close[0]}?" if close else f"; there are: {', '.join(keys)}"
