"""The histories are what they claim to be, and the reference holds its own claims on them."""

from __future__ import annotations

import pytest

from models.catalogue import DOMAIN_TOPICS, types_of
from models.dead_letter import Reason
from tests.histories import history, shuffles
from tests.oracle import dead_letters, parts, profiles


def test_the_same_seed_gives_the_same_history() -> None:
    assert history(7) == history(7)
    assert history(7) != history(8)


def test_lanes_count_from_zero_and_a_key_stays_in_its_partition() -> None:
    lanes = history(1, partitions={"sales.events": 5, "marketing.events": 1}, events=1_500)
    assert sum(len(lane) for lane in lanes) == 1_500
    seen: dict[tuple[str, bytes], int] = {}
    for lane in lanes:
        assert [record.offset for record in lane] == list(range(len(lane)))
        for record in lane:
            if record.key is not None:
                assert seen.setdefault((record.topic, record.key), record.partition) == record.partition


def test_a_history_has_every_type_and_every_reason() -> None:
    lanes = history(3, events=4_000, garbage=0.1, bursts=0)
    kinds = {
        told.type
        for part in parts(record for lane in lanes for record in lane).values()
        for told in part.events
    }
    assert kinds == {kind for topic in DOMAIN_TOPICS for kind in types_of(topic)}
    assert {reason for *_, reason in dead_letters(record for lane in lanes for record in lane)} == set(Reason)
    assert dead_letters(record for lane in history(3, garbage=0) for record in lane) == []


@pytest.mark.parametrize("seed", range(3))
def test_neither_interleaving_nor_redelivery_changes_a_profile(seed: int) -> None:
    lanes = history(seed, bursts=4)
    plain = [record for lane in lanes for record in lane]
    mixed = shuffles(lanes, seed)
    assert len(mixed) > len(plain)
    assert profiles(mixed) == profiles(plain)
    assert dead_letters(mixed) == dead_letters(plain)


def test_a_shuffle_shows_each_lane_in_its_order_once_repeats_are_dropped() -> None:
    lanes = history(5)
    position: dict[tuple[str, int], int] = {}
    for record in shuffles(lanes, 11, redelivered=0.3):
        expected = position.get((record.topic, record.partition), 0)
        assert record.offset <= expected
        position[record.topic, record.partition] = max(expected, record.offset + 1)
    assert sum(position.values()) == sum(len(lane) for lane in lanes)
