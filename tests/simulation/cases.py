"""Histories for the simulator, each with what must be readable in the end.

Guarantees:
- A case is a function of its number.
- Parts of a run without faults were compared with the oracle, which knows nothing of workers and stores; who
  is who comes from the oracle of the graph, and the run without faults ended there, too.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import msgspec

from eventlog.topics import link_log
from models.catalogue import DEAD_LETTER_TOPIC, DOMAIN_TOPICS
from models.identifiers import customer_id, is_employee
from models.link import LinkFact, read_link_fact
from models.record import Lane, Record
from models.rules import IdentityRules
from projections.assembling import Labels, Member, assemble, document
from projections.folding import Projection
from projections.parts import unpack
from projections.reducers import Configuration
from streams.cache import PartCache
from streams.folder import Folder
from streams.identity_writer import IdentityWriter
from streams.lane_worker import FoldingWorker
from streams.lanes import Batch
from streams.routing import RoutingWorker
from tests import oracle
from tests.histories import history
from tests.simulation import people
from tests.simulation.expected import Readable, expected, readable, together
from tests.simulation.log import Consumed, SimulatedLog, SimulatedOutlet, consumed
from tests.simulation.store import LANE, LaneState, Shelf, SimulatedStore, Snapshot

LABELS = Labels("g1", "c-simulated")
LINKS = link_log(LABELS.generation)
LINK_LANE = Lane(LINKS, 0)
CACHE_BYTES_MAX = 1 << 20

Written = tuple[bytes | None, bytes | None]


class Reading(NamedTuple):
    """How this installation reads: the rules of who is who, and the folder made for them."""

    rules: IdentityRules
    folder: Folder


@dataclass(frozen=True)
class Case:
    """The lanes of a history; what the store and the log hold in the end; what must be in the log by when."""

    lanes: Mapping[Lane, tuple[Consumed, ...]]
    reading: Reading
    values: Snapshot
    readable: Readable
    alone: Readable
    """What is readable while no graph has placed anybody: each subject by itself."""
    written: Mapping[str, frozenset[Written]]
    due: Mapping[Lane, list[tuple[int, str, Written]]]
    """Per lane (offset, topic, record): written before a commit covers the offset."""


class Kinds(NamedTuple):
    """What a worker is made of: the real ones, but for tests of the simulator."""

    folding: type[FoldingWorker] = FoldingWorker
    identity: type[IdentityWriter] = IdentityWriter
    store: type[SimulatedStore] = SimulatedStore


def reading(rules: IdentityRules) -> Reading:
    """All that follows from the rules."""
    return Reading(rules, Folder(Projection(Configuration(rules=rules))))


def worker(
    stores: tuple[SimulatedStore, SimulatedStore],
    outlet: SimulatedOutlet,
    name: str,
    read: Reading,
    *,
    kinds: Kinds = Kinds(),  # noqa: B008 - immutable
    cache_bytes: int = CACHE_BYTES_MAX,
    clock_ms: Callable[[], int] = lambda: 0,
    wait: Callable[[int], None] = lambda _: None,
    points: tuple[Callable[[str], None], Callable[[str], None]] = (lambda _: None, lambda _: None),
) -> RoutingWorker:
    """The real worker as `streams.worker` makes it, upon these; of each pair the second is the graph's."""
    folding = kinds.folding(
        stores[0],
        outlet,
        read.folder,
        LABELS,
        name=name,
        link_topic=LINKS,
        cache=PartCache(cache_bytes),
        clock_ms=clock_ms,
        wait=wait,
        point=points[0],
    )
    identity = kinds.identity(
        stores[1],
        outlet,
        read.rules,
        LABELS,
        name=f"{name}.identity",
        links=LINK_LANE,
        clock_ms=clock_ms,
        wait=wait,
        point=points[1],
    )
    return RoutingWorker(folding, identity, LINK_LANE)


@lru_cache(maxsize=4)
def case(number: int) -> Case:
    """The case of this number: 10 to 80 records in 2 to 6 lanes."""
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
    # Garbage may be in the commands' lane; the one here has commands.
    lanes = [records for records in lanes if records[0].topic in DOMAIN_TOPICS]
    chosen = rng.sample(lanes, min(len(lanes), rng.randrange(2, 6)))
    named = {record.key.decode(errors="replace") for lane in chosen for record in lane if record.key}
    subjects = sorted(name for name in named if people.is_subject(name))[:9] or ["crm:1"]
    for records in chosen:
        if rng.random() < 0.6:
            count = rng.choice((2, 4, 8))
            records.extend(people.meeting(rng, subjects, records[0].lane, len(records), count))
    if rng.random() < 0.7:
        chosen.append(people.commands(rng, subjects, rng.choice((1, 3, 6, 10))))
    return made_of(chosen, people.rules(rng))


def made_of(lanes: list[list[Record]], rules: IdentityRules) -> Case:
    """The case of these lanes; AssertionError if the worker without faults and the oracles disagree."""
    read = {records[0].lane: consumed(records) for records in lanes}
    how = reading(rules)
    shelf, log = Shelf(), SimulatedLog(read, LINK_LANE)
    alone = _run_plainly(shelf, log, how)
    parts = {lane: shelf.lane(lane) for lane in read}
    told = [record for records in lanes for record in records]
    _compare_with_oracle(parts, log, told)
    facts = [fact for _, value in log.written(LINKS) if (fact := read_link_fact(value))]
    wanted = expected(facts, rules, LABELS, parts)
    found = readable(shelf)
    assert together(found) == together(wanted), "a worker without faults errs in memberships"
    for kind in ("entries", "living"):
        assert getattr(found, kind) == getattr(wanted, kind), f"a worker without faults errs in {kind}"
    assert found.merged.items() >= wanted.merged.items(), "a worker without faults errs in who was merged"
    written = {topic: frozenset(log.written(topic)) for topic in (LINKS, DEAD_LETTER_TOPIC)}
    values = {key: value for key, value in shelf.values.items() if key != (LANE, LINK_LANE)}
    return Case(read, how, values, wanted, alone, written, _due(facts, written))


def _run_plainly(shelf: Shelf, log: SimulatedLog, how: Reading) -> Readable:
    """All lanes in one batch each, then all that they told in one; gives what was readable in between."""
    above = how.rules.shared_above
    stores = SimulatedStore(shelf, shared_above=above), SimulatedStore(shelf, shared_above=above)
    plain = worker(stores, SimulatedOutlet(log, random.Random(0)), "plain", how)
    plain.take(list(log.lanes))
    alone: list[Readable] = []
    for lanes in ([lane for lane in log.lanes if lane != LINK_LANE], [LINK_LANE]):
        log.grow_to_the_end()
        ends = {lane: log.ends[lane] for lane in lanes}
        moved = plain.step([Batch(lane, 0, log.lanes[lane], end, end) for lane, end in ends.items()])
        assert not moved, f"refused without a fault: {moved}"
        alone.append(readable(shelf))
    return alone[0]


def _due(
    facts: list[LinkFact], written: Mapping[str, frozenset[Written]]
) -> dict[Lane, list[tuple[int, str, Written]]]:
    due: dict[Lane, list[tuple[int, str, Written]]] = {}
    for key, value in written[LINKS]:
        fact = msgspec.json.decode(value or b"")
        due.setdefault(Lane.parse(fact["lane"]), []).append((fact["offset"], LINKS, (key, value)))
    for key, value in written[DEAD_LETTER_TOPIC]:
        data = msgspec.json.decode(value or b"")["data"]
        lane = Lane(data["topic"], data["partition"])
        due.setdefault(lane, []).append((data["offset"], DEAD_LETTER_TOPIC, (key, value)))
    return {lane: sorted(some, key=lambda one: one[0]) for lane, some in due.items()}


def _compare_with_oracle(lanes: Mapping[Lane, LaneState], log: SimulatedLog, records: list[Record]) -> None:
    """Each subject's parts, assembled as if it were alone, and the dead letters."""
    wanted = {document["customer_id"]: document for document in oracle.profiles(records).values()}
    parts: dict[str, list[Member]] = {}
    for lane, state in lanes.items():
        for subject, packed in state.parts.items():
            if not is_employee(subject):
                parts.setdefault(subject, []).append(Member(subject, str(lane), unpack(packed)))
    found: dict[str, Any] = {}
    for subject, members in parts.items():
        profile = assemble(members, LABELS, 0, subject)
        sections = {name: msgspec.json.decode(section) for name, section in profile.sections.items()}
        meta = sections["meta"]
        assert meta.pop("generation") == LABELS.generation and meta.pop("config") == LABELS.config
        meta["revisions"] = int(meta.pop("version").partition(".")[2])
        found[customer_id(subject)] = document(customer_id(subject), subject, sections)
    assert found == wanted, "a worker without faults and the oracle disagree"
    letters = [msgspec.json.decode(value or b"")["data"] for _, value in log.written(DEAD_LETTER_TOPIC)]
    told = sorted((one["topic"], one["partition"], one["offset"], one["reason"]) for one in letters)
    assert [one for one in told if one[0] in DOMAIN_TOPICS] == oracle.dead_letters(
        record for record in records if record.topic in DOMAIN_TOPICS
    ), "the worker without faults and the oracle disagree on garbage"
