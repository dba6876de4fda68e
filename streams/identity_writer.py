"""The one writer of the identity graph: facts from the link log, customers into the store.

Invariants (L3):
- One input, read and committed like a lane: nodes, marks and cursor change in one call, if the stored cursor
  is the one stood upon.
- Merges and splits are acknowledged before the commit that makes them.
- After a commit all memberships and index entries it touched are written, each unless a later one is there;
  only then are parts read, and customers assembled or buried; only then a mark closes.
- Refused, or an answer lost: everything remembered is dropped, and the log is read on from the stored cursor.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from eventlog.errors import LogUnavailable, ProduceFailed
from models.catalogue import DEAD_LETTER_TOPIC, MERGES_TOPIC
from models.dead_letter import DeadLetter, Fault, Reason, wire_dead_letter
from models.identifiers import customer_id
from models.link import read_link_fact
from models.merge import wire_turn
from models.record import Lane
from models.rules import IdentityRules
from projections.assembling import Labels
from projections.graph import Graph
from projections.graph_changes import Change
from projections.graph_nodes import pack_node
from projections.instants import rfc3339
from stores.store import Commit, Entry, PartWrite, Store, StoreAway
from streams.assembler import Assembler, Outlet
from streams.graph_cache import GraphCache, Moved
from streams.lanes import Batch
from streams.memberships import membership, mending

_log = logging.getLogger("scv.identity")

AWAY = (StoreAway, ProduceFailed, LogUnavailable)
# Nodes of one commit: like parts, so that a call blocks the store for about a millisecond.
NODES_PER_COMMIT = 256
# Facts heard before anybody sees what follows from them: a backlog shows as it is worked through.
FACTS_AT_ONCE = 512
# And for so long at a time: one fetch brings tens of thousands, and meanwhile the events of this worker wait.
ROUND_MS = 1_000
# Where no cursor can stand.
NOWHERE = -1
# The cursor while `scv identity build` places everything at once: nobody else touches the graph.
BUILDING = -2


class IdentityCounters(msgspec.Struct):
    """What this writer has done since it started."""

    facts: int = 0
    dead_letters: int = 0
    changes: int = 0
    turns: int = 0
    kinds: dict[str, int] = {}
    commits: int = 0
    refused: int = 0
    settled: int = 0


class IdentityWriter:
    """The `LaneWorker` of the link log. The arguments are those of `FoldingWorker`."""

    def __init__(
        self,
        store: Store,
        outlet: Outlet,
        rules: IdentityRules,
        labels: Labels,
        *,
        name: str,
        links: Lane,
        clock_ms: Callable[[], int],
        wait: Callable[[int], None],
        point: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.store, self.outlet, self.rules, self.labels, self.links = store, outlet, rules, labels, links
        self.clock_ms, self.wait, self.point = clock_ms, wait, point
        self.assembler = Assembler(store, outlet, labels, name, point, mending(store, links))
        self.nodes = GraphCache(store, links)
        self.graph = Graph(rules, self.nodes)
        self.marks: dict[str, int] = {}
        self.counters = IdentityCounters()

    def take(self, lanes: Sequence[Lane]) -> dict[Lane, int | None]:
        """Own the graph: forget what is remembered, read the cursor, settle what is marked."""
        attempt = 0
        while True:
            try:
                return self._take()
            except (*AWAY, Moved) as away:
                self._forget(NOWHERE)
                attempt += 1
                _log.warning("%s; trying again", away or "the graph moved meanwhile")
                self.wait(attempt)

    def _take(self) -> dict[Lane, int | None]:
        self.store.prepare()
        [checkpoint] = self.store.checkpoints([self.links])
        self._forget(checkpoint.next_offset)
        if self.nodes.next_offset == BUILDING:
            _log.warning(
                "the identity graph is being built (`scv identity build`); it is followed from then on"
            )
            self.wait(1)
            return {self.links: 0}
        self.point("between the two graph reads")
        self.marks = self.store.marks(self.links)
        self._settle({})
        return {self.links: self.nodes.next_offset}

    def _forget(self, next_offset: int | None) -> None:
        self.nodes.clear()
        self.assembler.forget()
        self.nodes.next_offset = next_offset
        self.graph = Graph(self.rules, self.nodes)
        self.marks = {}

    def lose(self, lanes: Sequence[Lane]) -> None:
        """The graph may be another worker's now."""
        self._forget(NOWHERE)

    def step(self, batches: Sequence[Batch]) -> dict[Lane, int | None]:
        """Hear the facts of one batch, commit, and settle what they changed."""
        [batch] = batches
        try:
            accepted = self._step(batch)
        except Moved:
            accepted = False
        except AWAY as away:
            _log.warning("%s; the graph resumes at its cursor", away)
            self._forget(NOWHERE)
            accepted = False
        at = self.nodes.next_offset
        if accepted:
            # What was left for the next round is read again.
            return {} if at == batch.next_offset else {self.links: at}
        self.counters.refused += 1
        return self.take([self.links])

    def _step(self, batch: Batch) -> bool:
        at = self.nodes.next_offset
        # A build stands where no batch can begin.
        if at is not None and not batch.start <= at <= batch.next_offset:
            return False
        records = [record for record in batch.records if at is None or record.offset >= at]
        end = max(batch.end or 0, batch.next_offset)
        began_ms = self.clock_ms()
        for first in range(0, len(records), FACTS_AT_ONCE):
            some = records[first : first + FACTS_AT_ONCE]
            last = first + FACTS_AT_ONCE >= len(records)
            if not self._hear(some, batch.next_offset if last else some[-1].offset + 1, end):
                return False
            # A clock that was set back ends the round, too.
            if not 0 <= self.clock_ms() - began_ms < ROUND_MS:
                break
        if not records and not self._hear([], batch.next_offset, end):
            return False
        self.nodes.trim()
        return True

    def _hear(self, records: Sequence[Any], next_offset: int, end: int) -> bool:
        """Hear these facts, up to `next_offset`: tell, commit, make readable; whether it was accepted."""
        commits, changes, letters = self._applied(records, next_offset, end)
        for letter in letters:
            when = rfc3339(max(letter.timestamp_ms, 0) * 1_000)
            self.outlet.produce(DEAD_LETTER_TOPIC, str(self.links).encode(), wire_dead_letter(letter, when))
        self._tell(changes)
        if letters or any(change.turns for change in changes):
            self.outlet.flush()
        self.point("after merge acknowledgement")
        if not all(self.store.commit(commits)):
            return False
        self.nodes.next_offset = next_offset
        self.counters.commits += len(commits)
        self.counters.dead_letters += len(letters)
        self.point("after graph commit")
        marks: dict[str, int] = {}
        for change in changes:
            marks.update(dict.fromkeys(change.stamped | change.reindex, change.position))
        self._settle(marks)
        return True

    def _applied(
        self, records: Sequence[Any], next_offset: int, end: int
    ) -> tuple[list[Commit], list[Change], list[DeadLetter]]:
        """Apply each fact in order; gives what to commit, in prefixes, and what has changed."""
        commits: list[Commit] = []
        changes: list[Change] = []
        letters: list[DeadLetter] = []
        facts = [(record, read_link_fact(record.value)) for record in records]
        named = (name for _, fact in facts if fact for name in (fact.subject, fact.identifier) if name)
        self.nodes.get_many(named)
        self.point("after graph load")
        now_ms, expected, marks = self.clock_ms(), self.nodes.next_offset, dict[str, int]()
        for record, fact in facts:
            if fact is None:
                letters.append(_letter(self.links, record))
                continue
            self.counters.facts += 1
            change = self.graph.apply(fact, record.offset + 1)
            if change is not None:
                changes.append(change)
                marks.update(dict.fromkeys(change.stamped | change.reindex, change.position))
            if len(self.graph.changed) >= NODES_PER_COMMIT:
                parts = self._drained(marks)
                commits.append(Commit(self.links, expected, record.offset + 1, end, now_ms, parts))
                expected, marks = record.offset + 1, {}
        commits.append(Commit(self.links, expected, next_offset, end, now_ms, self._drained(marks)))
        return commits, changes, letters

    def _drained(self, marks: Mapping[str, int]) -> list[PartWrite]:
        """The changed nodes, and those whose readers must hear of it, with their marks."""
        changed = self.graph.drain()
        names = sorted({*changed, *marks})
        return [PartWrite(name, pack_node(self.nodes[name]), marks.get(name)) for name in names]

    def _tell(self, changes: Sequence[Change]) -> None:
        """Merges and splits, for whoever follows them; produced again after a crash, with the same ids."""
        for change in changes:
            self.counters.changes += 1
            for turn in change.turns:
                self.counters.turns += 1
                self.counters.kinds[turn.kind] = self.counters.kinds.get(turn.kind, 0) + 1
                first = customer_id((turn.after or turn.before)[0].founder)
                at = rfc3339(change.log_us)
                instants = {edge.seen_us: rfc3339(edge.seen_us) for edge in turn.edges}
                generation = self.labels.generation
                value = wire_turn(turn, change.position, change.cause, generation, at, instants)
                self.outlet.produce(MERGES_TOPIC, first.encode(), value)

    def _settle(self, new: Mapping[str, int]) -> None:
        """Make readers see what is marked: memberships and entries, profiles and tombstones; then close."""
        self.marks |= new
        done = self._made_readable(list(self.marks)) if self.marks else set()
        self.point("before graph marks close")
        offset = self.nodes.next_offset
        if offset is not None:
            closed = {name: stamp for name, stamp in self.marks.items() if name in done}
            self.store.close_marks({self.links: (offset, closed)})
        self.marks = {name: stamp for name, stamp in self.marks.items() if name not in done}

    def _made_readable(self, names: list[str]) -> set[str]:
        """Place these nodes, then assemble or bury; gives those for which all of it worked."""
        held = self.nodes.get_many(names)
        founders = [founder for name in names if (founder := held[name].founder) is not None]
        self.nodes.get_many(founders)
        subjects = [name for name in names if held[name].stamp]
        memberships = {name: membership(held[name].stamp, self.graph.placement_of(name)) for name in subjects}
        entries = {name: Entry(self.marks[name], tuple(self.graph.entry_of(name))) for name in names}
        self.point("before memberships")
        self.store.place(memberships, entries)
        self.point("after memberships")
        done = {name for name in names if name not in memberships and held[name].founder != name}
        buried = {
            name: one.stamp for name, one in memberships.items() if not one.members or one.founder != name
        }
        if buried:
            self.assembler.bury(buried)
            done |= {name for name in buried if not memberships[name].members}
        placed = {name: {} for name, one in memberships.items() if one.members}
        # Who is alone and was never placed is seldom here: after a sweep, or with a name just verified.
        placed |= {name: {} for name in names if not held[name].stamp and held[name].founder == name}
        done |= self.assembler.assemble(placed)
        self.counters.settled += len(done)
        return done

    def idle(self, ends: Mapping[Lane, int | None]) -> dict[Lane, int | None]:
        """Every second without facts: does the graph stand where the store's does? Tries open marks."""
        try:
            asked = [(self.links, self.nodes.next_offset, ends.get(self.links))]
            [stands] = self.store.idle(asked, self.clock_ms())
            if stands and self.nodes.next_offset != BUILDING:
                if self.marks:
                    self._settle({})
                return {}
        except Moved:
            pass
        except AWAY as away:
            _log.warning("%s; the graph resumes at its cursor", away)
            self._forget(NOWHERE)
        self.counters.refused += 1
        return self.take([self.links])

    def stopped(self, lane: Lane, reason: str) -> None:
        """The link log cannot be read on."""
        _log.error("%s", reason)

    def close(self) -> None:
        """Let go of the store."""
        self.store.close()


def _letter(links: Lane, record: Any) -> DeadLetter:
    fault = Fault(
        Reason.WRONG_SHAPE, "", "no link fact: something else writes to this topic; only workers may"
    )
    return DeadLetter(
        fault, links.topic, links.partition, record.offset, record.timestamp or 0, record.key, record.value,
        tuple(record.headers or ()),
    )  # fmt: skip
