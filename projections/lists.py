"""Bounded lists: the latest value per name, identifiers, threads, payment failures, order days.

Invariants:
- A bound cuts inside a part, in log order; `merge` only joins.
- A list that has forgotten something says so, in a flag of its state.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from models.bounds import FAILURES_REMEMBERED, IDENTIFIERS_MAX
from models.decoding import Event
from models.identifiers import namespace_of
from models.rules import IdentityRules
from projections.instants import DAY_US
from projections.reducers import (
    Add,
    Configuration,
    EventType,
    Reducer,
    State,
    stamped,
    trusted_over,
    wins,
    wire_types,
)

# The first 90 days of a customer, as cohorts are compared.
FIRST_DAYS = 90
REPLY_IN_TIME_SECONDS = 1_800


class LatestBy(Reducer):
    """The latest values per name, the newest `kept` names.

    State: [forgotten, {name: [time, source, id, *values]}]. `read(event)` gives (name, values)
    pairs; values None states nothing.
    """

    def __init__(
        self, read: Callable[[Event], Iterable[tuple[str, list[Any]]]], *types: EventType, kept: int
    ) -> None:
        self.read, self.types, self.kept = read, types, kept

    def zero(self) -> State:
        return [0, {}]

    def adders(self, configuration: Configuration) -> Mapping[str, Add]:
        read, kept, beats = self.read, self.kept, self.beats

        def add(state: State, event: Event) -> State:
            names = state[1]
            for name, values in read(event):
                mine = [*stamped(event), *values]
                held = names.get(name)
                if held is None or beats(mine, held):
                    names[name] = mine
            if len(names) > kept:
                for name, _ in newest_first(state)[kept:]:
                    del names[name]
                state[0] = 1
            return state

        return dict.fromkeys(wire_types(self.types), add)

    def merge(self, a: State, b: State) -> State:
        merged = dict(a[1])
        for name, theirs in b[1].items():
            mine = merged.get(name)
            merged[name] = theirs if mine is None or self.beats(theirs, mine) else mine
        return [a[0] | b[0], merged]

    @staticmethod
    def beats(a: list[Any], b: list[Any]) -> bool:
        """Whether the stamped values `a` count over `b`."""
        return wins(a, b)


def newest_first(state: State) -> list[tuple[str, list[Any]]]:
    """The names of a `LatestBy` state with their stamped values, newest first, equal keys by name."""
    named = sorted(state[1].items())
    named.sort(key=lambda item: item[1][:3], reverse=True)
    return named


class MostTrustedBy(Reducer):
    """The most trusted, then latest value per name; names are few and fixed. State: {name: ranked value}."""

    def __init__(self, read: Callable[[Event], tuple[str, list[Any]] | None], *types: EventType) -> None:
        self.read, self.types = read, types

    def zero(self) -> State:
        return {}

    def adders(self, configuration: Configuration) -> Mapping[str, Add]:
        read, rank = self.read, configuration.rank

        def add(state: State, event: Event) -> State:
            stated = read(event)
            if stated is not None:
                name, values = stated
                state[name] = trusted_over([rank(event.source), *stamped(event), *values], state.get(name))
            return state

        return dict.fromkeys(wire_types(self.types), add)

    def merge(self, a: State, b: State) -> State:
        return {**a, **{name: trusted_over(theirs, a.get(name)) for name, theirs in b.items()}}


class Identifiers(Reducer):
    """What the subject is known by.

    State: [forgotten, {"type:value": [first log time, verified log time or None]}]. The dict
    keeps the order in which identifiers entered the part; the one that entered first is forgotten first.
    """

    def zero(self) -> State:
        return [0, {}]

    def adders(self, configuration: Configuration) -> Mapping[str, Add]:
        rules = configuration.rules

        def add(state: State, event: Event) -> State:
            known = state[1]
            for name, verified in stated_identifiers(event, rules):
                held = known.get(name)
                seen = event.log_us if held is None else min(held[0], event.log_us)
                proved = None if held is None else held[1]
                if verified:
                    proved = event.log_us if proved is None else min(proved, event.log_us)
                known[name] = [seen, proved]
            while len(known) > IDENTIFIERS_MAX:
                del known[next(iter(known))]
                state[0] = 1
            return state

        return dict.fromkeys(wire_types(()), add)

    def merge(self, a: State, b: State) -> State:
        merged = dict(a[1])
        for name, theirs in b[1].items():
            mine = merged.get(name)
            merged[name] = theirs if mine is None else _both(mine, theirs)
        return [a[0] | b[0], merged]

    @staticmethod
    def attributed(state: State, subject: str) -> State:
        """The same with the subject that stated each, so that those of several subjects can be merged."""
        return [state[0], {name: [*held, [subject]] for name, held in state[1].items()}]


def _both(a: list[Any], b: list[Any]) -> list[Any]:
    times = [min(a[0], b[0]), _least(a[1], b[1])]
    return times if len(a) == 2 else [*times, sorted({*a[2], *b[2]})]


def _least(a: int | None, b: int | None) -> int | None:
    return a if b is None else b if a is None else min(a, b)


def stated_identifiers(event: Event, rules: IdentityRules) -> list[tuple[str, bool]]:
    """The identifiers an event states, as ("type:value" normalised, verified); none without a value."""
    if event.stated is None:
        namespace = namespace_of(event.subject)
        event.stated = [
            (f"{stated.type}:{value}", stated.verified)
            for stated in event.data.identifiers
            if (value := rules.normalise(stated.type, stated.value, namespace)) is not None
        ]
    return event.stated


class Threads(Reducer):
    """Mentions and the replies to them.

    State: [forgotten, replied, in time, seconds, {thread: [time, source, id, platform]}].
    Folded in log order: a reply closes the mention that is open when it is read.
    """

    def __init__(self, mentioned: EventType, replied: EventType, kept: int) -> None:
        self.mentioned, self.replied, self.kept = mentioned, replied, kept

    def zero(self) -> State:
        return [0, 0, 0, 0, {}]

    def adders(self, configuration: Configuration) -> Mapping[str, Add]:
        return {self.mentioned.wire_type: self._mention, self.replied.wire_type: self._reply}

    def _mention(self, state: State, event: Event) -> State:
        data, threads = event.data, state[4]
        if data.needs_reply is not False and data.thread_id not in threads:
            threads[data.thread_id] = [*stamped(event), data.platform]
            if len(threads) > self.kept:
                del threads[min(threads, key=lambda name: (threads[name][:3], name))]
                state[0] = 1
        return state

    @staticmethod
    def _reply(state: State, event: Event) -> State:
        mention = state[4].pop(event.data.thread_id, None)
        if mention is not None:
            seconds = max(0, (event.occurred_us - mention[0]) // 1_000_000)
            state[1] += 1
            state[2] += seconds <= REPLY_IN_TIME_SECONDS
            state[3] += seconds
        return state

    def merge(self, a: State, b: State) -> State:
        threads = dict(a[4])
        for name, theirs in b[4].items():
            mine = threads.get(name)
            threads[name] = theirs if mine is None or wins(theirs, mine) else mine
        return [a[0] | b[0], a[1] + b[1], a[2] + b[2], a[3] + b[3], threads]


class FailuresInARow(Reducer):
    """Failures after the latest success. State: [its key or None, [keys of failures after it]]."""

    def __init__(self, failed: EventType, succeeded: EventType) -> None:
        self.failed, self.succeeded = failed, succeeded

    def zero(self) -> State:
        return [None, []]

    def adders(self, configuration: Configuration) -> Mapping[str, Add]:
        def fail(state: State, event: Event) -> State:
            state[1] = sorted([*state[1], stamped(event)])[-FAILURES_REMEMBERED:]
            return state

        def succeed(state: State, event: Event) -> State:
            mine = stamped(event)
            if state[0] is None or mine > state[0]:
                state[0] = mine
            return state

        return {self.failed.wire_type: fail, self.succeeded.wire_type: succeed}

    def merge(self, a: State, b: State) -> State:
        success = a[0] if b[0] is None else b[0] if a[0] is None else max(a[0], b[0])
        return [success, sorted([*a[1], *b[1]])]


def failures_in_a_row(state: State) -> int:
    """How many failures came after the latest success, counted up to the bound."""
    success, failures = state
    count: int = sum(success is None or failure > success for failure in failures)
    return min(FAILURES_REMEMBERED, count)


class FirstDays(Reducer):
    """Events per UTC day, over the first 90 days from the first one. State: {day: count}, days as text."""

    def __init__(self, cls: EventType) -> None:
        self.cls = cls

    def zero(self) -> State:
        return {}

    def adders(self, configuration: Configuration) -> Mapping[str, Add]:
        def add(state: State, event: Event) -> State:
            day = str(event.occurred_us // DAY_US)
            state[day] = state.get(day, 0) + 1
            last = min(map(int, state)) + FIRST_DAYS
            return {name: count for name, count in state.items() if int(name) < last}

        return {self.cls.wire_type: add}

    def merge(self, a: State, b: State) -> State:
        return {name: a.get(name, 0) + b.get(name, 0) for name in {**a, **b}}


def in_first_days(state: State) -> int:
    """Events of the first day and the 89 days after it."""
    if not state:
        return 0
    last = min(map(int, state)) + FIRST_DAYS
    return sum(count for name, count in state.items() if int(name) < last)
