"""A section of the profile: its figures, declared once, each with its reducer.

Invariants:
- The state of a section is the list of its reducers' states, in the order of declaration.
- Rendering reads merged states only; it never folds.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import msgspec

from models.decoding import Event
from projections.entities import Ordered, Shown
from projections.instants import rfc3339
from projections.lists import newest_first
from projections.reducers import Add, Configuration, Reducer, State

_states = msgspec.json.Decoder().decode
_write = msgspec.json.Encoder().encode


class Rendered:
    """A section as the profile shows it, and what it has to say to the summary and to `meta`."""

    __slots__ = ("document", "facts", "truncated")

    def __init__(self, document: Any, truncated: list[str], facts: dict[str, Any]) -> None:
        self.document, self.truncated, self.facts = document, truncated, facts


class Page:
    """What a section renders onto: cuts lists to their bounds, and remembers which were cut."""

    def __init__(self, section: str) -> None:
        self.section = section
        self.truncated: list[str] = []

    def cut(self, name: str, items: list[Any], bound: int, forgotten: int = 0) -> list[Any]:
        """The first `bound` items; the list is named as truncated when any are missing."""
        if forgotten or len(items) > bound:
            self.truncated.append(f"{self.section}.{name}" if name else self.section)
        return items[:bound]

    def entities(
        self,
        name: str,
        ordered: Ordered,
        state: State,
        bound: int,
        show: Callable[[Shown], dict[str, Any]],
    ) -> list[dict[str, Any]]:
        """A list of entities, in their order, cut to its bound; `state` is what they come from."""
        return [show(entity) for entity in self.cut(name, ordered.all, bound, state[0])]

    def newest(self, name: str, state: State, bound: int, show: Callable[[str, list[Any]], Any]) -> list[Any]:
        """A `LatestBy` list, newest first, cut to its bound."""
        return [show(key, held) for key, held in self.cut(name, newest_first(state), bound, state[0])]


class Section:
    """A section is a class whose attributes are reducers; `render` turns their merged states into JSON."""

    name: ClassVar[str]
    reducers: ClassVar[dict[str, Reducer]]
    _merges: ClassVar[list[Callable[[State, State], State]]]
    by_type: ClassVar[bool] = True
    """Whether the type of an event alone says that it changes something; else `speaks` is asked."""

    def __init_subclass__(cls) -> None:
        cls.reducers = {name: value for name, value in vars(cls).items() if isinstance(value, Reducer)}
        cls._merges = [reducer.merge for reducer in cls.reducers.values()]

    @classmethod
    def speaks(cls, event: Event) -> bool:
        """Whether an event of a type that the section hears changes anything."""
        raise NotImplementedError

    @classmethod
    def read(cls, packed: bytes) -> list[State]:
        """The states of a part, from their JSON."""
        states: list[State] = _states(packed)
        return states

    @classmethod
    def pack(cls, states: list[State]) -> bytes:
        """The bytes that `read` reads."""
        return _write(states)

    @classmethod
    def zero(cls) -> list[State]:
        """The states of a part that has seen nothing."""
        return [reducer.zero() for reducer in cls.reducers.values()]

    @classmethod
    def adders(cls, configuration: Configuration) -> dict[str, list[tuple[int, Add]]]:
        """Per wire type: which figures change (by place), and how."""
        table: dict[str, list[tuple[int, Add]]] = {}
        for place, reducer in enumerate(cls.reducers.values()):
            for wire_type, add in reducer.adders(configuration).items():
                table.setdefault(wire_type, []).append((place, add))
        return table

    @classmethod
    def merge(cls, a: list[State], b: list[State]) -> list[State]:
        """The states of two parts together."""
        # None is what nobody has stated yet: most figures of most customers.
        return [
            y if x is None else x if y is None else merge(x, y)
            for merge, x, y in zip(cls._merges, a, b, strict=True)
        ]

    @classmethod
    def merged(cls, states: list[list[State]]) -> list[State]:
        """The states of any number of parts together."""
        # In pairs, and pairs of pairs: one after the other, what has been merged would be gone over again for
        # each part, and a customer of a thousand subjects would hold up everybody else.
        while len(states) > 1:
            pairs = [cls.merge(a, b) for a, b in zip(states[::2], states[1::2], strict=False)]
            states = [*pairs, states[-1]] if len(states) % 2 else pairs
        return states[0] if states else cls.zero()

    @classmethod
    def attributed(cls, states: list[State], subject: str) -> list[State]:
        """The states with the subject noted where the profile shows it; done before subjects are merged."""
        del subject
        return states

    @classmethod
    def render(cls, states: dict[str, State], page: Page) -> Rendered:
        """The section as JSON, from its figures' merged states by name."""
        raise NotImplementedError

    @classmethod
    def rendered(cls, states: list[State]) -> Rendered:
        """`render` of states in the order of declaration."""
        return cls.render(dict(zip(cls.reducers, states, strict=True)), Page(cls.name))


def occurred_at(stamp: list[Any] | None) -> str | None:
    """When a stamped value occurred."""
    return None if stamp is None else rfc3339(stamp[0])


def by_currency(ledger: State) -> list[tuple[str, list[int]]]:
    """The rows of a ledger, by currency."""
    return sorted(ledger.items())
