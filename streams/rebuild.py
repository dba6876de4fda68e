"""Build a generation from the whole log, beside the one that readers see.

Invariants:
- It goes folding, graph, assembling, following; the store remembers how far it is after each step, and
  whoever begins anew goes on from there.
- The log is folded up to ends fixed when it began; workers follow from there.
- Of this generation nothing is read before it is promoted. Change notices are sent all the same: by them
  publishers find whom to publish anew when it is.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from typing import NamedTuple

from eventlog.dead_letters import SettledOffsets
from eventlog.ends import lane_ends
from eventlog.producing import LogProducer
from eventlog.reading import read_batches, read_lane
from eventlog.topics import link_log
from models.identifiers import is_employee
from models.link import LinkFact, read_link_fact
from models.record import Lane
from models.settings import Settings
from projections.assembling import Labels
from projections.folding import Projection
from projections.reducers import Configuration
from stores.rebuilding import Rebuild, Rebuilds, State, folded_to
from stores.redis_store import RedisStore
from streams.assembler import Assembler, Outlet
from streams.bulk import BulkFolder, LaneFold
from streams.cache import PartCache
from streams.crew import Crew, Perform
from streams.folder import Folder
from streams.graph_build import build_graph
from streams.identity_writer import BUILDING
from streams.memberships import mending

# Subjects that one process is given at a time.
SUBJECTS_AT_ONCE = 1_024
# How often the store hears how far it is; also how long a pause takes to be noticed.
TELL_SECONDS = 1.0
# A limit is kept over windows of a second or so.
LEAST_WINDOW_RECORDS = 1_000

# How far it is: the stage, done, total, records or subjects.
Show = Callable[[State, int, int, str], None]


class Subjects(NamedTuple):
    """Subjects whose customers are to be assembled; the first of them is the `start`-th of all."""

    start: int
    names: Sequence[str]


class Unassembled(Exception):
    """Customers whose profile could not be written."""


def store_of(settings: Settings) -> RedisStore:
    """The generation's store. Its shape is claimed by the rebuild's record."""
    return RedisStore(settings.redis, settings.generation, settings.identity_rules.shared_above)


def assembler_of(settings: Settings, store: RedisStore, outlet: Outlet) -> Assembler:
    """Who assembles for the generation."""
    links, labels = Lane(link_log(settings.generation), 0), Labels(settings.generation, settings.config)
    name = f"rebuild.{uuid.uuid4().hex[:12]}"
    return Assembler(store, outlet, labels, name, lambda _: None, mending(store, links))


@contextmanager
def working(settings: Settings, share: int) -> Iterator[Perform]:
    """What a process of the crew folds lanes and assembles customers with.

    `share` of them use the memory for parts together.
    """
    store = store_of(settings)
    configuration = Configuration(trust=settings.trust, rules=settings.identity_rules)
    with LogProducer(settings.kafka, client_id="scv-rebuild", linger_ms=20) as outlet:
        folder = BulkFolder(
            store,
            outlet,
            Folder(Projection(configuration), SettledOffsets(settings.kafka)),
            link_topic=link_log(settings.generation),
            cache=PartCache(settings.cache_mib * 1024 * 1024 // share),
            read=lambda lane, start, end: read_batches(settings.kafka, {lane: (start, end)}),
            clock_ms=now_ms,
        )
        assembler = assembler_of(settings, store, outlet)

        def perform(task: LaneFold | Subjects, told: Callable[[int], None]) -> None:
            if isinstance(task, LaneFold):
                folder.fold(task, told)
            else:
                assemble_founders(store, assembler, task.names)
                told(len(task.names))

        yield perform
    store.close()


def assemble_founders(store: RedisStore, assembler: Assembler, subjects: Sequence[str]) -> int:
    """Assemble the customers that these found; gives how many. Unassembled."""
    placed = zip(subjects, store.members(subjects), strict=True)
    founders = [name for name, (found, _) in placed if found is None or found.founder == name]
    done = assembler.assemble({name: {} for name in founders})
    assembler.forget()
    if left := [name for name in founders if name not in done]:
        raise Unassembled(f"{len(left)} customers could not be assembled, {left[0]} among them")
    return len(founders)


def window_for(throttle: int | None) -> int:
    """How many records a window has, under a limit of so many a second."""
    from streams.bulk import WINDOW_RECORDS

    return WINDOW_RECORDS if throttle is None else max(LEAST_WINDOW_RECORDS, min(throttle, WINDOW_RECORDS))


def now_ms() -> int:
    """What time it is."""
    return time.time_ns() // 1_000_000


class Rebuilder:
    """One process's work at a rebuild that has begun; `settings` name its generation."""

    def __init__(
        self, settings: Settings, rebuilds: Rebuilds, workers: int, throttle: int | None, show: Show
    ) -> None:
        self.settings, self.rebuilds, self.workers, self.throttle = settings, rebuilds, workers, throttle
        self.generation, self.links = settings.generation, Lane(link_log(settings.generation), 0)
        self.show = show
        self.store = store_of(settings)
        self._stage, self._done, self._total, self._unit = State.FOLDING, 0, 0, "records"
        self._new, self._began, self._told_at, self._paused = 0, 0.0, 0.0, False

    def run(self) -> Rebuild:
        """Do what is left. StoreAway, LogError, CrewFailed, Unassembled, GraphBegun, the client's errors."""
        self.store.prepare()
        try:
            with Crew(self.workers, working, self.settings, self.workers) as crew:
                while (rebuild := self._rebuild()).state != State.FOLLOWING:
                    if rebuild.state == State.FOLDING:
                        self._fold(rebuild, crew)
                    elif rebuild.state == State.GRAPH:
                        self._place(rebuild)
                    else:
                        self._assemble(rebuild, crew)
            return rebuild
        finally:
            self.rebuilds.let_go(self.generation)
            self.store.close()

    def _rebuild(self) -> Rebuild:
        rebuild = self.rebuilds.get(self.generation)
        if rebuild is None or rebuild.state == State.DROPPING:
            raise Unassembled(f"{self.generation} was dropped meanwhile")
        return rebuild

    def _enter(self, stage: State, done: int, total: int, unit: str) -> None:
        self._stage, self._done, self._total, self._unit = stage, done, total, unit
        self._new, self._began, self._told_at = 0, time.monotonic(), 0.0
        self._tell()

    def _more(self, done: int) -> None:
        self._done += done
        self._new += done
        self._tell()

    def _tell(self) -> None:
        """Let people, and the store, know how far it is; hear of pauses."""
        self.show(self._stage, self._done, self._total, self._unit)
        now = time.monotonic()
        if now - self._told_at < TELL_SECONDS:
            return
        self._told_at = now
        rate = round(self._new / max(now - self._began, 1e-3), 1)
        self.rebuilds.hold(self.generation)
        self.rebuilds.update(
            self.generation, done=self._done, total=self._total, per_second=rate, seen_ms=now_ms()
        )
        self._paused = self._rebuild().paused

    def _may_go_on(self) -> bool:
        """Whether nobody has paused it, and the limit is kept."""
        self._tell()
        if self._paused:
            # What was done before the pause says nothing of the rate after it.
            self._new, self._began = 0, time.monotonic()
            return False
        limit = self.throttle
        return limit is None or self._new <= limit * (time.monotonic() - self._began)

    def _fold(self, rebuild: Rebuild, crew: Crew) -> None:
        ranges = rebuild.lanes
        at = {
            lane: folded_to(one.next_offset, ranges[lane][0])
            for lane, one in zip(ranges, self.store.checkpoints(list(ranges)), strict=True)
        }
        left = {lane: end - min(at[lane], end) for lane, (_, end) in ranges.items()}
        total = sum(end - begin for begin, end in ranges.values())
        self._enter(State.FOLDING, total - sum(left.values()), total, "records")
        # The longest first, so that no single one is left for last.
        lanes = sorted(
            (lane for lane in ranges if ranges[lane][0] < ranges[lane][1]), key=lambda one: -left[one]
        )
        tasks = [LaneFold(lane, *ranges[lane], rebuild.window_records) for lane in lanes]
        for _ in crew.perform(tasks, self._may_go_on, self._more):
            pass
        end = lane_ends(self.settings.kafka, [self.links.topic])[self.links].end
        self.rebuilds.update(self.generation, links_end=end, state=State.GRAPH)

    def _place(self, rebuild: Rebuild) -> None:
        [cursor] = self.store.checkpoints([self.links])
        # Killed after the cursor had moved, but before the state.
        if cursor.next_offset in (None, BUILDING):
            self._enter(State.GRAPH, 0, rebuild.links_end, "link facts")
            with LogProducer(self.settings.kafka, client_id="scv-rebuild", linger_ms=20) as outlet:
                assembler = assembler_of(self.settings, self.store, outlet)
                build_graph(
                    self.store,
                    assembler,
                    self.links,
                    self.settings.identity_rules,
                    self._counted(self._facts(rebuild.links_end)),
                    rebuild.links_end,
                    now_ms(),
                    self._placing,
                    assembling=False,
                )
        self.rebuilds.update(self.generation, assembled=0, state=State.ASSEMBLING)

    def _placing(self, _: str, done: int, total: int) -> None:
        if self._unit != "nodes":
            self._enter(State.GRAPH, 0, total, "nodes")
        self._more(done - self._done)

    def _counted(self, facts: Iterator[tuple[int, LinkFact]]) -> Iterator[tuple[int, LinkFact]]:
        for seen, fact in zip(count(1), facts, strict=False):
            if seen % 1_000 == 0:
                self._more(1_000)
            yield fact

    def _facts(self, end: int) -> Iterator[tuple[int, LinkFact]]:
        """All link facts, each with its position."""
        for record in read_lane(self.settings.kafka, *self.links, 0, end):
            fact = read_link_fact(record.value)
            if fact is not None:
                yield record.offset + 1, fact

    def _assemble(self, rebuild: Rebuild, crew: Crew) -> None:
        subjects = seen_subjects(fact for _, fact in self._facts(rebuild.links_end))
        self.rebuilds.update(self.generation, subjects=len(subjects))
        begun = min(rebuild.assembled, len(subjects))
        self._enter(State.ASSEMBLING, begun, len(subjects), "subjects")
        tasks = [
            Subjects(start, subjects[start : start + SUBJECTS_AT_ONCE])
            for start in range(begun, len(subjects), SUBJECTS_AT_ONCE)
        ]
        waiting = {one.start for one in tasks}
        for start, _ in crew.perform(tasks, self._may_go_on, self._more):
            # All before the first one that is not done are: that is where to go on from.
            waiting.discard(start)
            self.rebuilds.update(self.generation, assembled=min(waiting, default=len(subjects)))
        lanes = {lane: (end, {}) for lane, (_, end) in rebuild.lanes.items()}
        self.store.close_marks(lanes)
        self.rebuilds.update(self.generation, state=State.FOLLOWING)


def seen_subjects(facts: Iterator[LinkFact]) -> list[str]:
    """Everybody whom a lane has seen, in order of names: who may be a customer."""
    return sorted(
        {
            fact.subject
            for fact in facts
            if fact.command is None and fact.identifier is None and not is_employee(fact.subject)
        }
    )


def ranges_of(kafka: str, topics: Sequence[str]) -> dict[Lane, tuple[int, int]]:
    """What a rebuild folds: each lane from the earliest record there is to where it ends now. LogError."""
    return {Lane(*lane): (held.earliest, held.end) for lane, held in lane_ends(kafka, topics).items()}
