"""Histories for the simulator, each with what a run without faults gives.

Guarantees:
- A case is a function of its number.
- What a run without faults gives was compared with the oracle, which knows nothing of workers and stores.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import msgspec

from eventlog.topics import link_log
from models.catalogue import DEAD_LETTER_TOPIC
from models.record import Lane, Record
from projections.assembling import Labels, document
from projections.folding import Projection
from projections.reducers import Configuration
from streams.cache import PartCache
from streams.folder import Folder
from streams.lane_worker import FoldingWorker
from streams.lanes import Batch
from tests import oracle
from tests.histories import history
from tests.simulation.log import Consumed, SimulatedLog, SimulatedOutlet, consumed
from tests.simulation.store import PROFILE, Shelf, SimulatedStore, Snapshot

LABELS = Labels("g1", "c-simulated")
LINKS = link_log(LABELS.generation)
FOLDER = Folder(Projection(Configuration()))
# Low, so that a handful of customers with one phone shows how an index entry is bounded.
SHARED_ABOVE = 2
CACHE_BYTES_MAX = 1 << 20

Written = tuple[bytes | None, bytes | None]


@dataclass(frozen=True)
class Case:
    """The lanes of a history; what the store and the log hold in the end; what must be in the log by when."""

    lanes: Mapping[Lane, tuple[Consumed, ...]]
    values: Snapshot
    written: Mapping[str, frozenset[Written]]
    due: Mapping[Lane, list[tuple[int, str, Written]]]
    """Per lane (offset, topic, record): written before a commit covers the offset."""


def worker(
    store: SimulatedStore,
    outlet: SimulatedOutlet,
    name: str,
    *,
    kind: type[FoldingWorker] = FoldingWorker,
    cache_bytes: int = CACHE_BYTES_MAX,
    clock_ms: Callable[[], int] = lambda: 0,
    wait: Callable[[int], None] = lambda _: None,
    point: Callable[[str], None] = lambda _: None,
) -> FoldingWorker:
    """The real worker, upon these."""
    return kind(
        store,
        outlet,
        FOLDER,
        LABELS,
        name=name,
        link_topic=LINKS,
        cache=PartCache(cache_bytes),
        clock_ms=clock_ms,
        wait=wait,
        point=point,
    )


@lru_cache(maxsize=4)
def case(number: int) -> Case:
    """The case of this number: 10 to 60 records in 2 to 5 lanes."""
    rng = random.Random(number)
    lanes = history(
        number,
        subjects=rng.choice((1, 2, 3, 5, 9)),
        employees=rng.choice((0, 0, 1)),
        events=rng.choice((10, 20, 20, 40, 60)),
        partitions={topic: rng.choice((1, 1, 1, 2)) for topic in ("sales.events", "billing.events")},
        bursts=rng.choice((0, 0, 0, 1)),
        near=0.08,
        garbage=rng.choice((0.0, 0.05, 0.15)),
    )
    return made_of(rng.sample(lanes, min(len(lanes), rng.randrange(2, 6))))


def made_of(lanes: list[list[Record]]) -> Case:
    """The case of these lanes; AssertionError if the worker without faults and the oracle disagree."""
    read = {records[0].lane: consumed(records) for records in lanes}
    shelf, log = Shelf(), SimulatedLog(read)
    log.grow_to_the_end()
    store = SimulatedStore(shelf, shared_above=SHARED_ABOVE)
    plain = worker(store, SimulatedOutlet(log, random.Random(0)), "plain")
    plain.take(list(read))
    moved = plain.step(
        [Batch(lane, 0, records, len(records), len(records)) for lane, records in read.items()]
    )
    assert not moved, f"refused without a fault: {moved}"
    _compare_with_oracle(shelf, log, [record for records in lanes for record in records])
    written = {topic: frozenset(log.written(topic)) for topic in (LINKS, DEAD_LETTER_TOPIC)}
    return Case(read, shelf.snapshot(), written, _due(written, read))


def _due(
    written: Mapping[str, frozenset[Written]], lanes: Mapping[Lane, Any]
) -> dict[Lane, list[tuple[int, str, Written]]]:
    due: dict[Lane, list[tuple[int, str, Written]]] = {lane: [] for lane in lanes}
    for key, value in written[LINKS]:
        fact = msgspec.json.decode(value or b"")
        due[Lane.parse(fact["lane"])].append((fact["offset"], LINKS, (key, value)))
    for key, value in written[DEAD_LETTER_TOPIC]:
        data = msgspec.json.decode(value or b"")["data"]
        lane = Lane(data["topic"], data["partition"])
        due[lane].append((data["offset"], DEAD_LETTER_TOPIC, (key, value)))
    return due


def _compare_with_oracle(shelf: Shelf, log: SimulatedLog, records: list[Record]) -> None:
    expected = {document["customer_id"]: document for document in oracle.profiles(records).values()}
    found = {}
    for customer, stored in shelf.of_kind(PROFILE).items():
        sections = {name: msgspec.json.decode(section) for name, section in stored.sections.items()}
        found[customer] = document(customer, stored.founder, sections)
        meta = sections["meta"]
        assert meta.pop("generation") == LABELS.generation and meta.pop("config") == LABELS.config
        meta["revisions"] = int(meta.pop("version").partition(".")[2])
    assert found == expected, "the worker without faults and the oracle disagree"
    letters = [msgspec.json.decode(value or b"")["data"] for _, value in log.written(DEAD_LETTER_TOPIC)]
    told = sorted((one["topic"], one["partition"], one["offset"], one["reason"]) for one in letters)
    assert told == oracle.dead_letters(records), (
        "the worker without faults and the oracle disagree on garbage"
    )
