"""The steps of a worker: take a lane, fold and commit its batches, assemble, look after idle lanes.

Invariants (L2):
- A lane's parts, marks and checkpoint change in one call, if the stored checkpoint is the one folded upon.
- Parts are loaded together with the checkpoint they belong to.
- Dead letters and link facts are acknowledged before the commit; marks close after the side effects.
- Refused, or an answer lost: the lane's memory is dropped and the lane resumes at its stored checkpoint.
  After a lost answer every lane does: the store may have gone back, to a checkpoint that looks the same and
  has open marks.
- Whoever takes a lane drops its memory and assembles the marks it finds first.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec

from eventlog.errors import LogUnavailable, ProduceFailed
from models.catalogue import DEAD_LETTER_TOPIC
from models.dead_letter import DeadLetter, wire_dead_letter
from models.link import LinkFact, wire_link_fact
from models.record import Lane
from projections.assembling import Labels
from projections.instants import rfc3339
from projections.parts import Part, unpack
from stores.store import Commit, Store, StoreAway
from streams.assembler import Assembler, Outlet
from streams.cache import PartCache
from streams.folder import Folded, Folder, Prefix, prefixes, subject_of
from streams.lanes import Batch
from streams.memberships import mending

_log = logging.getLogger("scv.worker")

# What may be away for a while: nothing is lost by waiting for it.
AWAY = (StoreAway, ProduceFailed, LogUnavailable)
# So many records are seconds of work, and a view is told to be that old: meanwhile customers are assembled
# when a tenth of what is left has been folded, not more often and not more seldom than this, and when so many
# marks are open.
BEHIND_RECORDS = 20_000
BEHIND_SHARE = 10
BEHIND_MS = 1_000
BEHIND_MS_MAX = 10_000
POSTPONED_MAX = 100_000
# Where no lane can stand: whatever is compared with it is refused, and the lane is taken anew.
NOWHERE = -1


class Counters(msgspec.Struct):
    """What this worker has done since it started."""

    events: int = 0
    dead_letters: int = 0
    reasons: dict[str, int] = {}
    link_facts: int = 0
    commits: int = 0
    refused: int = 0
    profiles: int = 0

    def count_letters(self, letters: Sequence[DeadLetter]) -> None:
        """Dead letters that are acknowledged."""
        self.dead_letters += len(letters)
        for letter in letters:
            reason = letter.fault.reason
            self.reasons[reason] = self.reasons.get(reason, 0) + 1


class Held:
    """A lane of this worker: where it stands, what it remembers, which marks it could not assemble yet."""

    def __init__(self, next_offset: int | None) -> None:
        self.next_offset = next_offset
        self.marks: dict[str, int] = {}


class Round:
    """One lane's share of a round, on its way through the steps."""

    def __init__(self, batch: Batch, held: Held) -> None:
        self.lane, self.batch, self.held = batch.lane, batch, held
        self.prefixes: list[Prefix] = list(prefixes(batch.records, held.next_offset, batch.next_offset))
        self.changed: dict[str, Part] = {}
        self.folded: list[Folded] = []

    @property
    def follows(self) -> bool:
        """Whether the batch reaches from where the lane stands onwards, with no gap before it."""
        at = self.held.next_offset
        return at is None or self.batch.start <= at <= self.batch.next_offset

    def subjects(self) -> list[str]:
        """All subjects that the keys of this share name."""
        named = dict.fromkeys(subject_of(key) for prefix in self.prefixes for key in prefix.groups)
        return [subject for subject in named if subject is not None]


class FoldingWorker:
    """The `LaneWorker` that builds profiles.

    `name` is unique to this worker's run. `clock_ms` says what time it is (for freshness, never for folding);
    `wait(n)` waits before the n-th try to reach a service that is away; `point(name)` is called between
    steps, so that a simulator can stop there.
    """

    def __init__(
        self,
        store: Store,
        outlet: Outlet,
        folder: Folder,
        labels: Labels,
        *,
        name: str,
        link_topic: str,
        cache: PartCache,
        clock_ms: Callable[[], int],
        wait: Callable[[int], None],
        point: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.store, self.outlet, self.link_topic = store, outlet, link_topic
        self.cache, self.clock_ms, self.wait, self.point = cache, clock_ms, wait, point
        self.folder = folder
        self.held: dict[Lane, Held] = {}
        self.assembler = Assembler(
            store, outlet, labels, name, point, mending(store, Lane(link_topic, 0)), self._remembered
        )
        # Lanes with marks that are not assembled at once, and when something was assembled last.
        self.postponed: set[Lane] = set()
        self.assembled_ms = 0
        self.folded_since = 0
        self.counters = Counters()

    def marks(self, lane: Lane) -> Mapping[str, int]:
        """The open marks of a lane of this worker, with their revisions."""
        held = self.held.get(lane)
        return {} if held is None else held.marks

    def take(self, lanes: Sequence[Lane]) -> dict[Lane, int | None]:
        """Own these lanes: forget what is remembered of them, read their checkpoints, assemble marks."""
        attempt = 0
        while True:
            try:
                return self._take(lanes)
            except AWAY as away:
                self._lose_footing(away)
                attempt += 1
                _log.warning("%s; trying again", away)
                self.wait(attempt)

    def _take(self, lanes: Sequence[Lane]) -> dict[Lane, int | None]:
        self.store.prepare()
        self.folder.look()
        self.assembler.forget()
        for lane, checkpoint in zip(lanes, self.store.checkpoints(lanes), strict=True):
            self.cache.drop(lane)
            self.held[lane] = Held(checkpoint.next_offset)
        for lane in lanes:
            self.held[lane].marks = self.store.marks(lane)
        self._assemble(lanes)
        return {lane: self.held[lane].next_offset for lane in lanes}

    def lose(self, lanes: Sequence[Lane]) -> None:
        """These lanes may be another worker's now: forget what is remembered of them."""
        for lane in lanes:
            self.cache.drop(lane)
            self.held.pop(lane, None)
            self.postponed.discard(lane)

    def _remembered(self, lanes: Iterable[Lane]) -> Mapping[Lane, Mapping[str, Part]]:
        """The parts remembered of these lanes, as far as the store still stands where this worker does.

        A part is a function of the lane's records up to the checkpoint: at the same one it is the same.
        """
        mine = sorted(lane for lane in lanes if lane in self.held)
        found = self.store.checkpoints(mine)
        return {
            lane: self.cache.of(lane)
            for lane, checkpoint in zip(mine, found, strict=True)
            if checkpoint.next_offset == self.held[lane].next_offset
        }

    def step(self, batches: Sequence[Batch]) -> dict[Lane, int | None]:
        """Fold and commit one round; gives the lanes that must resume elsewhere."""
        shares = [Round(batch, self.held[batch.lane]) for batch in batches]
        try:
            refused = self._step(shares)
        except AWAY as away:
            self._lose_footing(away)
            _log.warning("%s; the lanes resume at their checkpoints", away)
            refused = [share.lane for share in shares]
        return self._resume(refused)

    def _lose_footing(self, away: Exception) -> None:
        """Stand nowhere, so that each lane is refused, and taken anew, when it comes up next."""
        if isinstance(away, StoreAway):
            self.assembler.forget()
            for held in self.held.values():
                held.next_offset = NOWHERE

    def _resume(self, refused: Sequence[Lane]) -> dict[Lane, int | None]:
        if not refused:
            return {}
        self.counters.refused += len(refused)
        return self.take(refused)

    def _step(self, shares: list[Round]) -> list[Lane]:
        refused = [share.lane for share in shares if not share.follows]
        refused += self._load([share for share in shares if share.follows])
        self.point("after load")
        shares = [share for share in shares if share.lane not in refused]
        for share in shares:
            for prefix in share.prefixes:
                known = self.cache.of(share.lane)
                share.folded.append(self.folder.fold(share.lane, prefix, known, share.changed))
                # On its way to the log while the next one is folded.
                self._tell(share.folded[-1])
        self._acknowledge(shares)
        self.point("after link acknowledgement")
        committed = self._commit(shares)
        self.point("after commit")
        for share in committed:
            for folded in share.folded:
                share.held.marks.update(folded.marks)
            self.folded_since += len(share.batch.records)
            self.postponed.add(share.lane)
        if self._due(committed):
            self._assemble(sorted(self.postponed))
        self.cache.trim()
        kept = {share.lane for share in committed}
        return [*refused, *[share.lane for share in shares if share.lane not in kept]]

    def _load(self, shares: Sequence[Round]) -> list[Lane]:
        """Read the parts that are not remembered; gives the lanes whose checkpoint is not where we stand."""
        wanted: dict[Lane, list[str]] = {}
        for share in shares:
            known = self.cache.of(share.lane)
            if missing := [subject for subject in share.subjects() if subject not in known]:
                wanted[share.lane] = missing
        if not wanted:
            return []
        refused: list[Lane] = []
        for lane, loaded in self.store.load(wanted).items():
            if loaded.next_offset != self.held[lane].next_offset:
                refused.append(lane)
                continue
            for subject, packed in zip(wanted[lane], loaded.parts, strict=True):
                self.cache.put(lane, subject, unpack(packed), len(packed or b""))
        return refused

    def _acknowledge(self, shares: Sequence[Round]) -> None:
        """Step 3: dead letters and link facts in the log, lanes and references known, before the commit."""
        folded = [(share.lane, one) for share in shares for one in share.folded]
        letters = [letter for _, one in folded for letter in one.dead_letters]
        facts = sum(len(one.facts) for _, one in folded)
        subjects = [(subject, lane) for lane, one in folded for subject in one.new_subjects]
        references = [pair for _, one in folded for pair in one.references]
        if subjects or references:
            self.store.note_subjects(subjects, references)
        if letters or facts:
            self.outlet.flush()
        self.counters.count_letters(letters)
        self.counters.link_facts += facts

    def _tell(self, folded: Folded) -> None:
        for letter in folded.dead_letters:
            self._bury(letter)
        for fact in folded.facts:
            self._state(fact)

    def _bury(self, letter: DeadLetter) -> None:
        at = rfc3339(max(letter.timestamp_ms, 0) * 1_000)
        lane = f"{letter.topic}-{letter.partition}"
        self.outlet.produce(DEAD_LETTER_TOPIC, lane.encode(), wire_dead_letter(letter, at))

    def _state(self, fact: LinkFact) -> None:
        self.outlet.produce(self.link_topic, fact.subject.encode(), wire_link_fact(fact))

    def _commit(self, shares: Sequence[Round]) -> list[Round]:
        """Step 4; gives the shares of which every prefix was accepted."""
        commits: list[Commit] = []
        now_ms = self.clock_ms()
        for share in shares:
            expected = share.held.next_offset
            for prefix, folded in zip(share.prefixes, share.folded, strict=True):
                end = max(share.batch.end or 0, share.batch.next_offset)
                commits.append(Commit(share.lane, expected, prefix.next_offset, end, now_ms, folded.parts))
                expected = prefix.next_offset
        answers = self.store.commit(commits)
        refused = {one.lane for one, accepted in zip(commits, answers, strict=True) if not accepted}
        accepted = [share for share in shares if share.lane not in refused]
        for share in accepted:
            share.held.next_offset = share.batch.next_offset
            for folded in share.folded:
                for part in folded.parts:
                    self.cache.put(share.lane, part.subject, share.changed[part.subject], len(part.packed))
            self.counters.events += sum(one.event_count for one in share.folded)
        self.counters.commits += len(commits)
        return accepted

    def _due(self, shares: Sequence[Round]) -> bool:
        """Whether to assemble now: far behind, the same customers would be assembled again and again."""
        behind = sum(max(0, (share.batch.end or 0) - share.batch.next_offset) for share in shares)
        if behind <= BEHIND_RECORDS:
            return True
        if self._waits_too_long() or (
            self.clock_ms() - self.assembled_ms >= BEHIND_MS and self.folded_since * BEHIND_SHARE >= behind
        ):
            return True
        return sum(len(self.held[lane].marks) for lane in self.postponed) > POSTPONED_MAX

    def _waits_too_long(self) -> bool:
        """Whether what waits is due whatever is left to do; also when the clock was set back."""
        return not 0 <= self.clock_ms() - self.assembled_ms < BEHIND_MS_MAX

    def _assemble(self, lanes: Sequence[Lane]) -> None:
        """Step 5: assemble what is dirty in these lanes, close the marks that are done, keep the others."""
        marked: dict[str, dict[Lane, int]] = {}
        for lane in lanes:
            for subject, revision in self.held[lane].marks.items():
                found = marked.get(subject)
                if found is None:
                    marked[subject] = {lane: revision}
                else:
                    found[lane] = revision
        done = self.assembler.assemble(marked)
        self.counters.profiles += len(done)
        self.point("before marks close")
        closed: dict[Lane, tuple[int, Mapping[str, int]]] = {}
        left: dict[Lane, dict[str, int]] = {}
        for lane in lanes:
            held = self.held[lane]
            left[lane] = {name: revision for name, revision in held.marks.items() if name not in done}
            if held.next_offset is not None:
                marks = held.marks
                if left[lane]:
                    marks = {name: revision for name, revision in marks.items() if name in done}
                closed[lane] = held.next_offset, marks
        if closed:
            self.store.close_marks(closed)
        for lane, marks in left.items():
            self.held[lane].marks = marks
        self.postponed.difference_update(lanes)
        if not self.postponed:
            self.assembled_ms, self.folded_since = self.clock_ms(), 0

    def idle(self, ends: Mapping[Lane, int | None]) -> dict[Lane, int | None]:
        """Every second, for lanes without records: do they stand where the store does? Tries open marks."""
        lanes = [lane for lane in ends if lane in self.held]
        try:
            asked = [(lane, self.held[lane].next_offset, ends[lane]) for lane in lanes]
            stand = self.store.idle(asked, self.clock_ms())
            refused = [lane for lane, stands in zip(lanes, stand, strict=True) if not stands]
            marked = {lane for lane in lanes if self.held[lane].marks or lane in self.postponed}
            # A lane that was stopped is not asked after any more; others wait for what they have left to do.
            waited = self.postponed if self._waits_too_long() else set()
            self._assemble(sorted((marked | waited).difference(refused)))
        except AWAY as away:
            self._lose_footing(away)
            _log.warning("%s; the lanes resume at their checkpoints", away)
            refused = lanes
        return self._resume(refused)

    def stopped(self, lane: Lane, reason: str) -> None:
        """This lane cannot be read on; the others go on."""
        _log.error("%s", reason)

    def close(self) -> None:
        """Let go of the store."""
        self.store.close()
