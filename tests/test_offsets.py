"""What a part remembers of where its records lie: as a list of their offsets would."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from models.bounds import OFFSETS_REMEMBERED
from models.decoding import Event, fast_struct
from models.marketing import PageViewed
from projections.folding import Fold, Projection
from projections.offsets import offsets_of
from projections.parts import Part, empty, pack, unpack
from projections.reducers import Configuration

PROJECTION = Projection(Configuration())
DATA = msgspec.convert({"page": "/"}, fast_struct(PageViewed))


def after(part: Part, offsets: list[int], *, repeats: bool = False) -> Part:
    """The part after one batch with an event at each of these offsets, back from its bytes."""
    fold = Fold(PROJECTION, part, "web:1", "marketing.events-0")
    for offset in offsets:
        name = "the same" if repeats else str(offset)
        fold.add(Event(PageViewed.wire_type, "site", name, "web:1", 0, 0, False, 0, DATA), offset)
    return unpack(pack(fold.finish()))


# From neighbours to what a topic of years holds.
GAPS = st.lists(st.sampled_from([1, 2, 127, 128, 129, 16_383, 16_384, 2**40]), min_size=1, max_size=40)


@given(st.integers(0, 2**40), st.lists(GAPS, min_size=1, max_size=4), st.booleans())
def test_every_record_is_found_again_whatever_the_batches_were(
    first: int, batches: list[list[int]], repeats: bool
) -> None:
    part, at, all_offsets = empty(), first, []
    for gaps in batches:
        offsets = [at := at + gap for gap in gaps]
        all_offsets += offsets
        part = after(part, offsets, repeats=repeats)
    assert offsets_of(part) == all_offsets
    assert part == after(empty(), all_offsets, repeats=repeats)


def test_of_many_records_the_last_are_remembered_whatever_the_batches_were() -> None:
    offsets = [number * number for number in range(1, OFFSETS_REMEMBERED + 500)]
    singly = empty()
    for offset in offsets:
        singly = after(singly, [offset])
    at_once = after(empty(), offsets)
    middle = after(after(empty(), offsets[: OFFSETS_REMEMBERED - 3]), offsets[OFFSETS_REMEMBERED - 3 :])
    assert offsets_of(at_once) == offsets[-OFFSETS_REMEMBERED:]
    assert singly == at_once == middle
    assert singly.revision == len(offsets), "so a reader knows that there was more"


def test_a_part_that_saw_nothing_remembers_nothing() -> None:
    assert offsets_of(empty()) == []
