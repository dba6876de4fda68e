"""Reducers: how one figure is folded from events and merged across parts.

Invariants:
- `merge` is commutative and associative, `zero()` is its neutral element, and it never truncates.
- States are plain JSON without floats; money is integer minor units and stays apart per currency.
- `add` may depend on the order of its part's events; `merge` never does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from models.decoding import Event, microseconds
from models.event import EVENT_TYPES, EventData
from models.rules import IdentityRules

State = Any
Add = Callable[[Any, Event], Any]
Read = Callable[[Event], Any]
EventType = type[EventData]

as_text = msgspec.json.Encoder().encode


class Configuration(msgspec.Struct, frozen=True):
    """What the settings say about folding: `trust` ranks sources, `rules` read identifiers."""

    trust: tuple[str, ...] = ()
    rules: IdentityRules = msgspec.field(default_factory=IdentityRules)

    def rank(self, source: str) -> int:
        """How trusted a source is: greater is more; 0 when it is not named."""
        for place, entry in enumerate(self.trust):
            if source == entry or source.startswith(entry + "/"):
                return len(self.trust) - place
        return 0


class Reducer:
    """One figure. `adders` gives a function for each event type that changes it."""

    def zero(self) -> State:
        """The state of a part that has seen nothing."""
        raise NotImplementedError

    def adders(self, configuration: Configuration) -> Mapping[str, Add]:
        """Per wire type: `add(state, event) -> state`; the old state may be changed in place."""
        raise NotImplementedError

    def merge(self, a: State, b: State) -> State:
        """The state of both parts; neither is changed."""
        raise NotImplementedError


def wire_types(types: tuple[EventType, ...]) -> list[str]:
    """The wire types of event classes; all of the four domains when none is given."""
    if not types:
        return [name for name in EVENT_TYPES if not name.startswith("identity.")]
    return [cls.wire_type for cls in types]


def named(read: Read, name: str) -> Read:
    """The same function under a name that says what it reads, for whoever explains a figure."""
    read.__name__ = read.__qualname__ = name
    return read


def field(name: str) -> Read:
    """Reads a field of the event's data."""
    return named(lambda event: getattr(event.data, name), name)


def instant(name: str) -> Read:
    """Reads a time of the event's data, as microseconds."""

    def read(event: Event) -> int | None:
        at = getattr(event.data, name)
        return None if at is None else microseconds(at)

    return named(read, name)


def occurred_us(event: Event) -> int:
    """Reads when the event occurred."""
    return event.occurred_us


def constant(value: Any) -> Read:
    """What an event states by being of its type."""
    return named(lambda _: value, f"{value}")


def stamped(event: Event) -> list[Any]:
    """The event's key: what "latest" and "earliest" compare."""
    return [event.occurred_us, event.source, event.id]


def wins(a: list[Any], b: list[Any]) -> bool:
    """Whether the stamped value `a` = [time, source, id, *values] counts over `b`: by key, then by value."""
    if a[0] != b[0]:
        return bool(a[0] > b[0])
    if a[1:3] != b[1:3]:
        return bool(a[1:3] > b[1:3])
    # A lone value is compared as itself: in a list its text would end in a bracket, which beats any digit.
    return as_text(a[3]) > as_text(b[3]) if len(a) == 4 else as_text(a[3:]) > as_text(b[3:])


class Count(Reducer):
    """How many events of these types there were."""

    def __init__(self, *types: EventType, where: Callable[[Event], bool] | None = None) -> None:
        self.types, self.where = types, where

    def zero(self) -> State:
        return 0

    def adders(self, configuration: Configuration) -> Mapping[str, Add]:
        where = self.where
        plain: Add = lambda state, _: state + 1  # noqa: E731
        chosen: Add = lambda state, event: state + 1 if where and where(event) else state  # noqa: E731
        return dict.fromkeys(wire_types(self.types), chosen if where else plain)

    def merge(self, a: State, b: State) -> State:
        return a + b


class Total(Reducer):
    """The sum of an integer field; left out counts as 0."""

    def __init__(self, read: Read, *types: EventType) -> None:
        self.read, self.types = read, types

    def zero(self) -> State:
        return 0

    def adders(self, configuration: Configuration) -> Mapping[str, Add]:
        read = self.read
        add: Add = lambda state, event: state + (read(event) or 0)  # noqa: E731
        return dict.fromkeys(wire_types(self.types), add)

    def merge(self, a: State, b: State) -> State:
        return a + b


class Ledger(Reducer):
    """Money per currency in columns: `{column: {type: (field, sign)}}`. State: {currency: [totals]}."""

    def __init__(self, **columns: Mapping[EventType, tuple[Read, int]]) -> None:
        self.columns = columns

    def zero(self) -> State:
        return {}

    def adders(self, configuration: Configuration) -> Mapping[str, Add]:
        width = len(self.columns)
        moves: dict[str, list[tuple[int, Read, int]]] = {}
        for place, inputs in enumerate(self.columns.values()):
            for cls, (read, sign) in inputs.items():
                moves.setdefault(cls.wire_type, []).append((place, read, sign))

        def adder(steps: list[tuple[int, Read, int]]) -> Add:
            def add(state: State, event: Event) -> State:
                row = state.setdefault(event.data.currency, [0] * width)
                for place, read, sign in steps:
                    row[place] += sign * (read(event) or 0)
                return state

            return add

        return {name: adder(steps) for name, steps in moves.items()}

    def merge(self, a: State, b: State) -> State:
        merged = {currency: list(row) for currency, row in a.items()}
        for currency, row in b.items():
            mine = merged.get(currency)
            merged[currency] = list(row) if mine is None else [x + y for x, y in zip(mine, row, strict=True)]
        return merged


class Tally(Reducer):
    """Sums per name: `read(event)` gives the name and how much to add to each of its columns."""

    def __init__(self, read: Callable[[Event], tuple[str, list[int]]], *types: EventType) -> None:
        self.read, self.types = read, types

    def zero(self) -> State:
        return {}

    def adders(self, configuration: Configuration) -> Mapping[str, Add]:
        read = self.read

        def add(state: State, event: Event) -> State:
            name, amounts = read(event)
            row = state.get(name)
            state[name] = amounts if row is None else [x + y for x, y in zip(row, amounts, strict=True)]
            return state

        return dict.fromkeys(wire_types(self.types), add)

    def merge(self, a: State, b: State) -> State:
        merged = dict(a)
        for name, row in b.items():
            mine = merged.get(name)
            merged[name] = row if mine is None else [x + y for x, y in zip(mine, row, strict=True)]
        return merged


class Latest(Reducer):
    """Values of the latest event that `where` accepts. State: None or [time, source, id, *values]."""

    earliest = False

    def __init__(
        self, *types: EventType, reads: tuple[Read, ...], where: Callable[[Event], bool] | None = None
    ):
        self.types, self.reads, self.where = types, reads, where

    def zero(self) -> State:
        return None

    def adders(self, configuration: Configuration) -> Mapping[str, Add]:
        reads, where, earliest = self.reads, self.where, self.earliest

        def add(state: State, event: Event) -> State:
            if where is not None and not where(event):
                return state
            if (
                state is not None
                and event.occurred_us != state[0]
                and (event.occurred_us < state[0]) != earliest
            ):
                return state
            mine = [*stamped(event), *[read(event) for read in reads]]
            return mine if state is None or wins(mine, state) != earliest else state

        return dict.fromkeys(wire_types(self.types), add)

    def merge(self, a: State, b: State) -> State:
        if a is None or b is None:
            return b if a is None else a
        return a if wins(a, b) != self.earliest else b


class Earliest(Latest):
    """Values of the earliest event."""

    earliest = True


class MostTrusted(Reducer):
    """A value from the most trusted source, then the latest. State: None or [rank, time, source, id, value].

    `inputs` maps an event class, or None for every type, to what reads the value; the first given counts.
    """

    def __init__(self, inputs: Mapping[EventType | None, Read]) -> None:
        self.inputs = inputs

    def zero(self) -> State:
        return None

    def adders(self, configuration: Configuration) -> Mapping[str, Add]:
        reads: dict[str, list[Read]] = {}
        for cls, read in self.inputs.items():
            for name in wire_types(() if cls is None else (cls,)):
                reads.setdefault(name, []).append(read)
        rank = configuration.rank

        def adder(steps: list[Read]) -> Add:
            def add(state: State, event: Event) -> State:
                value = next((value for read in steps if (value := read(event)) is not None), None)
                if value is None:
                    return state
                return trusted_over([rank(event.source), *stamped(event), value], state)

            return add

        return {name: adder(steps) for name, steps in reads.items()}

    def merge(self, a: State, b: State) -> State:
        return b if a is None else trusted_over(a, b)


def trusted_over(a: list[Any], b: State) -> State:
    """Of two ranked values the one that counts; `b` may be None."""
    if b is None:
        return a
    if a[0] != b[0]:
        return a if a[0] > b[0] else b
    return a if wins(a[1:], b[1:]) else b
