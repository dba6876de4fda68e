"""The laws of every reducer: zero is neutral, merging commutes and associates, and nothing holds a float.

Guarantees:
- Every figure of every section is tested, in the form in which parts are merged (with their subjects noted).
- States come from folding generated events, not from guesses of what a state may look like.
"""

from __future__ import annotations

import random
from functools import cache
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.dead_letter import Fault
from models.decoding import Event
from projections.parts import SECTIONS
from projections.reducers import Configuration
from projections.section import Section
from projections.seen import Seen, first_seen, joined
from streams.folder import decode
from tests.folding import as_consumed
from tests.histories import history

FIGURES = [(section, name) for section in SECTIONS for name in section.reducers]


@cache
def events_of(seed: int) -> list[Event]:
    """Events of one subject's busy life: bursts overflow the bounded lists."""
    lanes = history(seed, subjects=1, employees=0, events=400, bursts=4, garbage=0.0, partitions=1)
    read = [decode(record.topic, as_consumed(record)) for lane in lanes for record in lane]
    return [event for event in read if not isinstance(event, Fault)]


def folded(section: type[Section], events: list[Event], subject: str, only: int | None = None) -> list[Any]:
    """The section's states after these events, as they come back from the store, with the subject noted.

    With `only`, the place of a figure, the others stay at zero: none reads another's state.
    """
    table = {
        wire_type: [one for one in adders if only in (None, one[0])]
        for wire_type, adders in section.adders(Configuration(trust=("crm",))).items()
    }
    states = section.zero()
    for event in events:
        for place, add in table.get(event.type, []):
            states[place] = add(states[place], event)
    return section.attributed(section.read(section.pack(states)), subject)


def three_states(section: type[Section], name: str, seed: int, cuts: tuple[int, int]) -> tuple[Any, Any, Any]:
    """One figure's state in three parts that share a history."""
    events = events_of(seed)
    low, high = sorted(cut % (len(events) + 1) for cut in cuts)
    mixed = random.Random(seed).sample(events, len(events) // 3)
    place = list(section.reducers).index(name)
    # Two parts of one subject and one of another; some events are in two of them, as equal keys.
    parts = ((events[:low] + mixed, "crm:1"), (events[low:high], "crm:1"), (events[high:] + mixed, "crm:2"))
    a, b, c = (folded(section, chosen, subject, place)[place] for chosen, subject in parts)
    return a, b, c


def seen(section: type[Section], name: str, state: Any) -> str:
    """What a state says, whatever the order in which its dicts were filled."""
    del section, name
    return msgspec.json.encode(state, order="deterministic").decode()


@pytest.mark.parametrize(
    ("section", "name"), FIGURES, ids=[f"{section.name}.{name}" for section, name in FIGURES]
)
@given(seed=st.integers(0, 15), cuts=st.tuples(st.integers(0, 2_000), st.integers(0, 2_000)))
def test_merging_obeys_its_laws(section: type[Section], name: str, seed: int, cuts: tuple[int, int]) -> None:
    reducer = section.reducers[name]
    a, b, c = three_states(section, name, seed, cuts)
    before = seen(section, name, [a, b, c])
    ab, ba = reducer.merge(a, b), reducer.merge(b, a)
    assert seen(section, name, ab) == seen(section, name, ba)
    left, right = reducer.merge(ab, c), reducer.merge(a, reducer.merge(b, c))
    assert seen(section, name, left) == seen(section, name, right)
    assert seen(section, name, reducer.merge(a, reducer.zero())) == seen(section, name, a)
    assert seen(section, name, reducer.merge(reducer.zero(), a)) == seen(section, name, a)
    assert seen(section, name, [a, b, c]) == before, "merging changed what it was given"


def holds_float(value: Any) -> bool:
    """Whether there is a float anywhere inside."""
    if isinstance(value, dict):
        return any(holds_float(inner) for inner in value.values())
    return isinstance(value, float) or (isinstance(value, list) and any(map(holds_float, value)))


@pytest.mark.parametrize("section", SECTIONS, ids=[section.name for section in SECTIONS])
@given(seed=st.integers(0, 15))
def test_parts_hold_no_floats(section: type[Section], seed: int) -> None:
    states = msgspec.json.decode(msgspec.json.encode(folded(section, events_of(seed), "crm:1")))
    assert not holds_float(states)


@given(seed=st.integers(0, 15), cuts=st.tuples(st.integers(1, 2_000), st.integers(1, 2_000)))
def test_what_parts_have_seen_joins_by_the_same_laws(seed: int, cuts: tuple[int, int]) -> None:
    def seen_after(events: list[Event]) -> Seen:
        found = first_seen(events[0])
        for event in events[1:]:
            found.note(event)
        return found

    events = events_of(seed)
    low, high = sorted(1 + cut % (len(events) - 1) for cut in cuts)
    a, b, c = seen_after(events[:low]), seen_after(events[low - 1 : high]), seen_after(events[high - 1 :])
    assert joined([a, b]) == joined([b, a])
    assert joined([joined([a, b]), c]) == joined([a, joined([b, c])]) == joined([a, b, c])
    assert a.last_event_us == max(event.occurred_us for event in events[:low])
    assert (a.first_log_us, a.last_log_us) == (
        min(event.log_us for event in events[:low]),
        max(event.log_us for event in events[:low]),
    )
    assert joined([seen_after(events[:low]), seen_after(events[low:])]) == seen_after(events)
