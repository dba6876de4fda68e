"""Entities: orders, cases, invoices… each told by several events, in any order.

Invariants:
- Each field holds the latest value stated for it (by key), so the order of events changes nothing.
- A part keeps a bounded number: what is closed and oldest is forgotten first. `merge` forgets nothing.
- An entity is [stamps, refs, values, totals]: `stamps[0]` is the greatest key that named it, `refs[i]` the
  stamp of field i (-1: never stated), `totals` money per currency.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from operator import attrgetter
from typing import Any, NamedTuple

import msgspec

from models.decoding import Event
from projections.reducers import Add, Configuration, EventType, Read, Reducer, State, stamped, wins

Entity = list[Any]
# What an event states of an entity: field name -> how to read it.
States = Mapping[str, Read]


class Naming:
    """How one event type speaks of an entity: its id, the fields it states, the money it moves."""

    def __init__(
        self, cls: EventType, id_field: str, total: tuple[str, int] | None = None, **states: Read
    ) -> None:
        self.cls, self.id_field, self.total, self.states = cls, id_field, total, states


class Shown(msgspec.Struct, gc=False):
    """Reads an entity: by field names, or its `values` in the order of the fields.

    `newness` is the greatest key that named it.
    """

    id: str
    entity: Entity
    places: Mapping[str, int]
    values: list[Any]
    newness: list[Any]

    def __getitem__(self, name: str) -> Any:
        return self.values[self.places[name]]

    def stamp(self, name: str) -> list[Any] | None:
        """The key of the event that stated a field last; None when none has."""
        ref = self.entity[1][self.places[name]]
        return None if ref < 0 else list(self.entity[0][ref])

    def total(self, currency: str | None) -> int | None:
        """The entity's money in a currency; None without one."""
        return None if currency is None else self.entity[3].get(currency, 0)


class Ordered(NamedTuple):
    """Entities, newest first on either side."""

    opened: list[Shown]
    closed: list[Shown]

    @property
    def all(self) -> list[Shown]:
        """Open before closed."""
        return [*self.opened, *self.closed]


_by_id, _by_newness = attrgetter("id"), attrgetter("newness")


class Keyed(Reducer):
    """Entities by id. State: [forgotten (0 or 1), {id: entity}]. Without `is_open` none ever closes."""

    def __init__(
        self,
        *namings: Naming,
        fields: tuple[str, ...],
        is_open: Callable[[Shown], bool] | None = None,
        kept: int,
    ) -> None:
        self.namings, self.fields, self.is_open, self.kept = namings, fields, is_open, kept
        self.places = {name: place for place, name in enumerate(fields)}

    def zero(self) -> State:
        return [0, {}]

    def adders(self, configuration: Configuration) -> Mapping[str, Add]:
        return {naming.cls.wire_type: self._adder(naming) for naming in self.namings}

    def _adder(self, naming: Naming) -> Add:
        steps = [(self.places[name], read) for name, read in naming.states.items()]
        id_field, total = naming.id_field, naming.total

        def add(state: State, event: Event) -> State:
            entity_id = getattr(event.data, id_field)
            if entity_id is None:
                return state
            stated = [(place, value) for place, read in steps if (value := read(event)) is not None]
            moved = [] if total is None else [(event.data.currency, total[1] * getattr(event.data, total[0]))]
            self.name(state, entity_id, stamped(event), stated, moved)
            return self.bounded(state)

        return add

    def name(
        self,
        state: State,
        entity_id: str,
        stamp: list[Any],
        stated: list[tuple[int, Any]],
        moved: list[tuple[str, int]],
    ) -> None:
        """An event of this key names the entity, states fields (by place) and moves money (by currency)."""
        entity = state[1].get(entity_id)
        if entity is None:
            width = len(self.fields)
            entity = [[stamp], [-1] * width, [None] * width, {}]
            for place, value in stated:
                entity[1][place], entity[2][place] = 0, value
        else:
            entity = _stated(entity, stamp, stated)
        for currency, amount in moved:
            entity[3][currency] = entity[3].get(currency, 0) + amount
        state[1][entity_id] = entity

    def bounded(self, state: State) -> State:
        """The state with what is more than a part keeps forgotten."""
        if len(state[1]) > self.kept:
            for shown in self.ordered(state).all[self.kept :]:
                del state[1][shown.id]
            state[0] = 1
        return state

    def ordered(self, state: State) -> Ordered:
        """All entities of a state: open before closed, then newest first, then by id."""
        shown = self.shown(state)
        if len(shown) > 1:
            shown.sort(key=_by_id)
            shown.sort(key=_by_newness, reverse=True)
        is_open = self.is_open
        if is_open is None or not shown:
            return Ordered(shown, [])
        opened, closed = list[Shown](), list[Shown]()
        for one in shown:
            (opened if is_open(one) else closed).append(one)
        return Ordered(opened, closed)

    def shown(self, state: State) -> list[Shown]:
        """All entities of a state, in no order."""
        places = self.places
        return [Shown(name, entity, places, entity[2], entity[0][0]) for name, entity in state[1].items()]

    def merge(self, a: State, b: State) -> State:
        merged = dict(a[1])
        for name, entity in b[1].items():
            mine = merged.get(name)
            merged[name] = entity if mine is None else _merged(mine, entity)
        return [a[0] | b[0], merged]


def _stated(entity: Entity, stamp: list[Any], stated: list[tuple[int, Any]]) -> Entity:
    """The entity after an event stated these fields."""
    stamps, refs, values, totals = entity
    by_field = [stamps[ref] if ref >= 0 else None for ref in refs]
    values = list(values)
    for place, value in stated:
        held = by_field[place]
        if held is None or wins([*stamp, value], [*held, values[place]]):
            by_field[place], values[place] = stamp, value
    newest = max(stamp, stamps[0])
    return _packed(newest, by_field, values, totals)


def _merged(a: Entity, b: Entity) -> Entity:
    by_field: list[list[Any] | None] = []
    values: list[Any] = []
    for mine, theirs in zip(_fields(a), _fields(b), strict=True):
        best = theirs if mine is None or (theirs is not None and wins(theirs, mine)) else mine
        by_field.append(None if best is None else best[:3])
        values.append(None if best is None else best[3])
    totals = dict(a[3])
    for currency, amount in b[3].items():
        totals[currency] = totals.get(currency, 0) + amount
    return _packed(max(a[0][0], b[0][0]), by_field, values, totals)


def _fields(entity: Entity) -> list[list[Any] | None]:
    stamps, refs, values, _ = entity
    return [[*stamps[ref], value] if ref >= 0 else None for ref, value in zip(refs, values, strict=True)]


def _packed(
    newest: list[Any], by_field: list[list[Any] | None], values: list[Any], totals: dict[str, int]
) -> Entity:
    """The one way to write an entity down: stamps from the newest on, each once."""
    stamps = [newest]
    for stamp in sorted((stamp for stamp in by_field if stamp is not None), reverse=True):
        if stamp != stamps[-1]:
            stamps.append(stamp)
    refs = [-1 if stamp is None else stamps.index(stamp) for stamp in by_field]
    return [stamps, refs, values, totals]
