"""Single records by their offsets: all that are asked for, in order, or an error that says what is missing.

Guarantees:
- On every kind of broker; offsets close together, far apart, of several lanes, across batches and seeks.
"""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from eventlog.admin import create_topics
from eventlog.errors import ReadFailed
from eventlog.fetching import READ_THROUGH, fetch_records, runs
from eventlog.producing import LogProducer

TOPIC = "sales.events"
LANES, RECORDS = 3, 1_200


@pytest.fixture
def filled(broker: Any) -> str:
    """A broker with so many records in each lane of a topic; each says where it lies."""
    create_topics(broker.bootstrap, LANES)
    with LogProducer(broker.bootstrap) as producer:
        for offset in range(RECORDS):
            for lane in range(LANES):
                producer.produce(TOPIC, b"crm:1", b"%d@%d" % (lane, offset) + b" " * 300, (), lane)
    return str(broker.bootstrap)


def fetched(bootstrap: str, wanted: dict[tuple[str, int], list[int]]) -> dict[tuple[str, int], list[int]]:
    """The offsets that came, by lane, in the order in which they came."""
    found: dict[tuple[str, int], list[int]] = {}
    for record in fetch_records(bootstrap, wanted):
        assert record.value is not None and record.value.strip() == b"%d@%d" % (
            record.partition,
            record.offset,
        )
        assert record.key == b"crm:1" and record.timestamp_ms > 0
        found.setdefault((record.topic, record.partition), []).append(record.offset)
    return found


def test_every_record_asked_for_comes_once_and_in_order_or_is_missed(filled: str) -> None:
    rng = Random(3)
    scattered = sorted(rng.sample(range(RECORDS), 12))
    for wanted in (
        {(TOPIC, 0): [0]},
        {(TOPIC, 1): [RECORDS - 1]},
        {(TOPIC, 0): [0, RECORDS - 1], (TOPIC, 2): [1, 2, 3]},
        {(TOPIC, 0): scattered, (TOPIC, 1): list(range(400, 900)), (TOPIC, 2): [5, 5 + READ_THROUGH + 1]},
        {},
        {(TOPIC, 0): []},
    ):
        assert fetched(filled, wanted) == {lane: offsets for lane, offsets in wanted.items() if offsets}
    for offsets in ([RECORDS], [3, RECORDS + 1_000]):
        with pytest.raises(ReadFailed, match=r"sales\.events"):
            list(fetch_records(filled, {(TOPIC, 0): offsets, (TOPIC, 1): [1]}, silence_seconds=1))
    with pytest.raises(ReadFailed, match=r"no lane sales\.events\[9\]"):
        list(fetch_records(filled, {(TOPIC, 9): [0]}))


def test_neighbours_are_read_in_one_go() -> None:
    assert [list(run) for run in runs([1, 2, 2 + READ_THROUGH, 9_000])] == [[1, 2, 2 + READ_THROUGH], [9_000]]
