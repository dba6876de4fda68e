"""The timeline's order, whatever texts and instants events bring."""

from __future__ import annotations

from itertools import pairwise

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from models.bounds import TIMELINE_MAX
from models.decoding import Event, fast_struct
from models.marketing import PageViewed
from projections.reducers import Configuration
from projections.timeline import Newest, Timeline

# What separates lines, keys and texts, and what JSON escapes.
HOSTILE = st.text(st.sampled_from('\x00\x01\n\x0b\x0c\t "\\aé\U0001f600'), min_size=1, max_size=4)
INSTANTS = st.sampled_from(
    [-62_135_596_800_000_000, -1, 0, 1, 1_780_000_000_000_000, 253_402_300_799_999_999]
)


def viewed(at_us: int, source: str, name: str, page: str = "/") -> Event:
    """A page view."""
    data = msgspec.convert({"page": page}, fast_struct(PageViewed))
    return Event(PageViewed.wire_type, source, name, "web:1", at_us, 0, False, 0, data)


def folded(events: list[Event]) -> list:
    """The state after these events, as it comes back from the store."""
    add = Newest().adders(Configuration())[PageViewed.wire_type]
    state = Newest().zero()
    for event in events:
        state = add(state, event)
    return Timeline.read(Timeline.pack([state]))[0]


def shown(state: list) -> list[tuple[str, str]]:
    """What the profile lists: occurred_at and event id."""
    listed = msgspec.json.decode(msgspec.json.encode(Timeline.rendered([state]).document))
    return [(one["occurred_at"], one["event_id"]) for one in listed]


@given(st.lists(st.tuples(INSTANTS, HOSTILE, HOSTILE), max_size=30, unique=True), st.randoms())
def test_the_newest_come_first_then_sources_and_ids_as_texts_sort(keys: list, shuffle: object) -> None:
    events = [viewed(*key) for key in keys]
    expected = [key[2] for key in sorted(keys, reverse=True)]
    assert [name for _, name in shown(folded(events))] == expected
    shuffle.shuffle(events)
    half = len(events) // 2
    merged = Newest().merge(folded(events[:half]), folded(events[half:]))
    assert [name for _, name in shown(merged)] == expected


def test_a_repeat_from_far_back_that_says_something_else_has_one_place_whoever_comes_first() -> None:
    one, other = viewed(0, "site", "1", "/a"), viewed(0, "site", "1", "/b")
    assert folded([one, other]) == folded([other, one])
    assert Newest().merge(folded([one]), folded([other])) == folded([one, other])


def test_the_oldest_are_forgotten_and_it_says_so() -> None:
    events = [viewed(number * 1_000_000, "site", str(number)) for number in range(TIMELINE_MAX + 1)]
    state = folded(events[:-1])
    assert state[0] == 0 and len(shown(state)) == TIMELINE_MAX
    late = folded([*events[1:], events[0]])
    assert late == folded(events) and late[0] == 1
    assert all(a > b for a, b in pairwise(shown(late))) and shown(late)[-1][1] == "1"
