"""Garbage never stops a lane: each record of it is a dead letter for its own reason, all events are folded.

The records are appended as batches of bytes, compressed with every codec: also what producer libraries refuse
to write.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from eventlog.embedded import EmbeddedBroker
from models.record import Lane
from stores.embedded import EmbeddedStore
from tests import oracle
from tests.garbage_log import Item, batches, garbage_log
from tests.process_verdict import assert_all, read_log
from tests.process_world import World
from tests.raw_batches import append_batch

PARTITIONS = 2


def fold_among_garbage(directory: Path, items: Sequence[Item], seed: int, workers: int) -> dict[str, object]:
    """Append all of it while workers fold; then every lane is at its end, and nothing is missing."""
    began = time.monotonic()
    with (
        EmbeddedBroker() as broker,
        EmbeddedStore() as store,
        World(broker.bootstrap, store.url, directory, workers, PARTITIONS) as world,
    ):
        now_ms = time.time_ns() // 1_000_000
        for lane, codec, records in batches(items, seed):
            append_batch(broker.bootstrap, *lane, records, codec, now_ms)
        world.wait_for_all("garbage and events are behind us")
        world.stop()
        figures = assert_all(world.kafka, world.redis)
        letters = oracle.dead_letters(read_log(broker.bootstrap))
        assert {f"{Lane(*place)}@{at}": reason for *place, at, reason in letters} == reasons_meant(items)
    reasons = Counter(str(item.reason) for item in items if item.reason)
    return {**figures, "reasons": reasons, "seconds": round(time.monotonic() - began)}


def reasons_meant(items: Sequence[Item]) -> dict[str, str]:
    """By coordinates, as dead letters name them: a lane's records have offsets from 0 on."""
    ends: dict[Lane, int] = {}
    meant: dict[str, str] = {}
    for item in items:
        offset = ends[item.lane] = ends.get(item.lane, -1) + 1
        if item.reason is not None:
            meant[f"{item.lane}@{offset}"] = str(item.reason)
    return meant


def test_thousands_of_garbage_records_stop_no_lane(tmp_path: Path) -> None:
    items = garbage_log(1, garbage=5_000, good=1_000, partitions=PARTITIONS)
    figures = fold_among_garbage(tmp_path, items, 1, workers=1)
    assert figures["dead_letters"] == 5_026


@pytest.mark.campaign
def test_a_hundred_thousand_garbage_records_stop_no_lane(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    items = garbage_log(2, garbage=100_000, good=20_000, partitions=PARTITIONS)
    figures = fold_among_garbage(tmp_path, items, 2, workers=2)
    assert figures["dead_letters"] >= 100_000
    with capsys.disabled():
        print(f"\n{json.dumps(figures)}")
