"""The timeline's order, whatever texts and instants events bring."""

from __future__ import annotations

from itertools import pairwise

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.bounds import TIMELINE_MAX
from models.decoding import Event, fast_struct
from models.marketing import PageViewed
from projections.reducers import Configuration
from projections.timeline import Newest, Timeline, grown, listed, together

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


def lanes_of(numbers: list[int], lanes: int = 2) -> list[list]:
    """The states of lanes that take turns at events of these seconds."""
    events = [viewed(number * 1_000_000, "site", str(number)) for number in numbers]
    return [folded(events[lane::lanes]) for lane in range(lanes)]


def written(states: list[list]) -> bytes:
    """The section of these states together."""
    return msgspec.json.encode(Timeline.rendered([together(states)]).document)


def after_growth(before: list[list], after: list[list], records: list[int]) -> bytes | None:
    """What growth makes of the section shown before, by so many records of each lane; None: it is none."""
    packed = [(Timeline.pack([state]), count) for state, count in zip(after, records, strict=True) if count]
    found = grown(listed(together(before)), packed)
    if found is None:
        return None
    (entries, cut_bytes), then = found
    assert then == listed(together(after))
    return b"[%b,%b]" % (entries, written(before)[1 : -1 - cut_bytes])


@pytest.mark.parametrize(
    "shown_before", [2, 51, TIMELINE_MAX - 1, TIMELINE_MAX, TIMELINE_MAX + 1, 3 * TIMELINE_MAX]
)
@pytest.mark.parametrize("more", [2, 3, 10, TIMELINE_MAX - 1])
def test_entries_newer_than_all_are_put_in_front_and_the_oldest_go(shown_before: int, more: int) -> None:
    numbers = list(range(shown_before + more))
    before, after = lanes_of(numbers[:shown_before]), lanes_of(numbers)
    records = [len(numbers[lane::2]) - len(numbers[:shown_before][lane::2]) for lane in (0, 1)]
    assert after_growth(before, after, records) == written(after)


def test_what_is_not_newer_than_all_is_not_put_in_front() -> None:
    before = lanes_of([1, 2, 5])
    for numbers, records in (([1, 2, 5, 4], [0, 1]), ([1, 2, 5, 6, 3], [1, 1]), ([1, 2, 5, 5], [0, 1])):
        assert after_growth(before, lanes_of(numbers), records) is None
    everything = list(range(3, 3 + TIMELINE_MAX))
    assert after_growth(lanes_of([1, 2]), lanes_of([1, 2, *everything]), [50, 50]) is None, "nothing is left"
    # A record that added nothing leaves it open which entries the others added.
    assert after_growth(before, lanes_of([1, 2, 5, 6]), [0, 2]) is None
    # One event in two lanes: they are ordered by what they say.
    assert after_growth(before, lanes_of([1, 2, 5, 7, 7]), [1, 1]) is None
    assert after_growth(lanes_of([]), lanes_of([1]), [1, 0]) is None


@given(st.lists(st.integers(0, 40), max_size=40), st.lists(st.integers(20, 80), min_size=1, max_size=30))
def test_growth_is_what_writing_it_whole_would_be_or_is_not_told(first: list[int], then: list[int]) -> None:
    first, then = list(dict.fromkeys(first)), [one for one in dict.fromkeys(then) if one not in first]
    before, after = lanes_of(first), lanes_of([*first, *then])
    records = [len([*first, *then][lane::2]) - len(first[lane::2]) for lane in (0, 1)]
    if any(records):
        assert after_growth(before, after, records) in (written(after), None)
