"""What a figure's declaration says, in words: its reducer, and what each event type does to it.

Invariants:
- Made from the declaration itself (`projections.section`), so it cannot say anything else.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from projections.entities import Keyed
from projections.reducers import (
    Configuration,
    Count,
    Latest,
    Ledger,
    MostTrusted,
    Read,
    Reducer,
    Total,
    wire_types,
)

_WORD = re.compile(r"(?<=[a-z])(?=[A-Z])")


class Rule(NamedTuple):
    """`figure` of the section, its `reducer`, what that does, and per event type what it takes of it."""

    figure: str
    reducer: str
    meaning: str
    events: dict[str, str]


def rule_of(figure: str, reducer: Reducer, configuration: Configuration) -> Rule:
    """The rule of a declared figure."""
    kind = type(reducer)
    meaning = (
        (kind.__doc__ or "")
        .strip()
        .partition("\n")[0]
        .partition(" State: ")[0]
        .partition(": `")[0]
        .rstrip(".")
    )
    told = _told(reducer)
    events = {name: told.get(name, "") for name in sorted(reducer.adders(configuration))}
    return Rule(figure, _WORD.sub("_", kind.__name__).lower(), meaning, events)


def _told(reducer: Reducer) -> dict[str, str]:
    """Per wire type what is taken of it, for the reducers that say so."""
    match reducer:
        case Count():
            return dict.fromkeys(wire_types(reducer.types), "+ 1")
        case Total():
            return dict.fromkeys(wire_types(reducer.types), f"+ {_name(reducer.read)}")
        case Ledger():
            moves: dict[str, list[str]] = {}
            for column, inputs in reducer.columns.items():
                for cls, (read, sign) in inputs.items():
                    text = f"{column} {'+' if sign > 0 else '-'} {_name(read)}"
                    moves.setdefault(cls.wire_type, []).append(text)
            return {name: ", ".join(texts) for name, texts in moves.items()}
        case Latest():
            return dict.fromkeys(wire_types(reducer.types), ", ".join(map(_name, reducer.reads)))
        case MostTrusted():
            return {
                name: _name(read)
                for cls, read in reducer.inputs.items()
                for name in wire_types(() if cls is None else (cls,))
            }
        case Keyed():
            return {
                naming.cls.wire_type: "; ".join(
                    [
                        f"by {naming.id_field}",
                        *(f"{name} = {_name(read)}" for name, read in naming.states.items()),
                    ]
                    + ([f"{'+' if naming.total[1] > 0 else '-'} {naming.total[0]}"] if naming.total else [])
                )
                for naming in reducer.namings
            }
    return {}


def _name(read: Read) -> str:
    """What a reading function reads: a field's name, or a constant."""
    name: str = getattr(read, "__name__", "")
    return "" if name.startswith("<") else name.strip("_")
