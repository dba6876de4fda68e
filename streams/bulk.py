"""Fold whole lanes at once, for a generation that nobody reads yet.

Invariants:
- The parts are, byte for byte, those that `FoldingWorker` makes of the same records.
- A lane is folded in windows, which depend on nothing but the log: whoever folds one writes the same bytes.
  Each subject of a window is folded and written once, in calls of at most 256 parts. Each call compares the
  stored checkpoint, and the last one moves it to the window's end.
- Killed within a window, some of its parts are written. A part knows the offset of its last record, and
  whoever goes on leaves such a part as it is.
- Until it is done, a lane's checkpoint is a number at which no ordinary worker takes a lane up.
- Dead letters are counted, not written: whoever folds the log live has written them. Nothing is marked:
  all customers are assembled afterwards.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from models.link import wire_link_fact
from models.record import Lane, Record
from projections.parts import Part, unpack
from stores.rebuilding import folded_to, folding_at
from stores.store import Commit, PartWrite, Store
from streams.assembler import Outlet
from streams.cache import PartCache
from streams.folder import PARTS_PER_COMMIT, Folded, Folder, Prefix, subject_of

# So many records are read before they are folded by subject: about 50 MB, and some seconds that a kill costs.
WINDOW_RECORDS = 65_536
# Of records that are larger than usual, fewer.
WINDOW_BYTES = 64 * 2**20
# Calls of one round trip: a few megabytes on the wire.
CALLS_AT_ONCE = 16

Read = Callable[[Lane, int, int], Iterable[list[Record]]]


class Moved(Exception):
    """Somebody else has moved the lane meanwhile."""


class LaneFold(NamedTuple):
    """What is to be folded of a lane: from `begin`, the earliest there is, up to `end`, in such windows."""

    lane: Lane
    begin: int
    end: int
    window_records: int = WINDOW_RECORDS


class BulkFolder:
    """Folds lanes for one generation, one after the other."""

    def __init__(
        self,
        store: Store,
        outlet: Outlet,
        folder: Folder,
        *,
        link_topic: str,
        cache: PartCache,
        read: Read,
        clock_ms: Callable[[], int],
        point: Callable[[str], None] = lambda _: None,
    ) -> None:
        """`read(lane, start, end)` gives the records; `point(name)` is called between steps, for tests."""
        self.store, self.outlet, self.folder, self.link_topic = store, outlet, folder, link_topic
        self.cache, self.read, self.clock_ms, self.point = cache, read, clock_ms, point

    def fold(self, task: LaneFold, told: Callable[[int], None]) -> None:
        """Fold a lane to its end, wherever it stands; `told` hears of records folded. StoreAway, LogError.

        A lane that an ordinary worker has by now is left to it.
        """
        lane = task.lane
        while True:
            [checkpoint] = self.store.checkpoints([lane])
            at = checkpoint.next_offset
            try:
                fresh = at is None
                if fresh:
                    self._move(task, None, at := folding_at(task.begin))
                if at >= 0:
                    return
                self._fold(task, folded_to(at, task.begin), told, fresh=fresh)
                self._move(task, folding_at(task.end), task.end)
                return
            except Moved:
                continue
            finally:
                self.cache.drop(lane)

    def _fold(self, task: LaneFold, start: int, told: Callable[[int], None], *, fresh: bool) -> None:
        """`fresh`: nothing is stored of the lane that is not remembered here."""
        if start >= task.end:
            return
        batches = self.read(task.lane, start, task.end)
        for records, next_offset in windows(batches, task.end, task.window_records):
            if next_offset > start:
                self._window(task, records, start, next_offset, fresh=fresh)
                fresh &= self.cache.bytes <= self.cache.limit_bytes
                self.cache.trim()
                told(len(records))
                start = next_offset

    def _window(
        self, task: LaneFold, records: Sequence[Record], start: int, next_offset: int, *, fresh: bool
    ) -> None:
        lane, prefix = task.lane, Prefix()
        prefix.next_offset = next_offset
        for record in records:
            group = prefix.groups.get(record.key)
            if group is None:
                prefix.groups[record.key] = [record]
            else:
                group.append(record)
        if not fresh:
            self._load(lane, prefix, start)
        changed: dict[str, Part] = {}
        folded = self.folder.fold(lane, prefix, self.cache.of(lane), changed)
        self._acknowledge(lane, folded)
        self.point("before commit")
        self._commit(task, folded.parts, start, next_offset)
        for part in folded.parts:
            self.cache.put(lane, part.subject, changed[part.subject], len(part.packed))

    def _load(self, lane: Lane, prefix: Prefix, start: int) -> None:
        """Read the parts that are not remembered; what is in them already is taken out of the window."""
        known = self.cache.of(lane)
        named = {subject: key for key in prefix.groups if (subject := subject_of(key)) is not None}
        missing = [subject for subject in named if subject not in known]
        loaded = self.store.load({lane: missing})[lane]
        if loaded.next_offset != folding_at(start):
            raise Moved
        for subject, packed in zip(missing, loaded.parts, strict=True):
            if packed is None:
                continue
            part = unpack(packed)
            if part.offset >= start:
                del prefix.groups[named[subject]]
            self.cache.put(lane, subject, part, len(packed))

    def _acknowledge(self, lane: Lane, folded: Folded) -> None:
        """Link facts in the log, lanes and references known, before anything is committed (L2)."""
        for fact in folded.facts:
            self.outlet.produce(self.link_topic, fact.subject.encode(), wire_link_fact(fact))
        if folded.new_subjects or folded.references:
            self.store.note_subjects([(one, lane) for one in folded.new_subjects], folded.references)
        if folded.facts:
            self.outlet.flush()

    def _commit(self, task: LaneFold, parts: Sequence[PartWrite], start: int, next_offset: int) -> None:
        here, now_ms = folding_at(start), self.clock_ms()
        calls = [
            Commit(task.lane, here, here, task.end, now_ms, [one._replace(revision=None) for one in some])
            for some in _portions(parts, PARTS_PER_COMMIT)
        ] or [Commit(task.lane, here, here, task.end, now_ms, ())]
        calls[-1] = calls[-1]._replace(next_offset=folding_at(next_offset))
        for some in _portions(calls, CALLS_AT_ONCE):
            if not all(self.store.commit(some)):
                raise Moved
            self.point("between commits")

    def _move(self, task: LaneFold, expected: int | None, to: int) -> None:
        [moved] = self.store.commit([Commit(task.lane, expected, to, task.end, self.clock_ms(), ())])
        if not moved:
            raise Moved


def windows(
    batches: Iterable[list[Record]], end: int, window_records: int
) -> Iterator[tuple[list[Record], int]]:
    """Records as windows, each with where it ends; the last one, perhaps an empty one, at `end`."""
    records: list[Record] = []
    size_bytes = 0
    for batch in batches:
        for record in batch:
            records.append(record)
            size_bytes += len(record.value or b"")
            if len(records) >= window_records or size_bytes >= WINDOW_BYTES:
                yield records, record.offset + 1
                records, size_bytes = [], 0
    yield records, end


def _portions(items: Sequence, size: int) -> Iterator[Sequence]:
    return (items[at : at + size] for at in range(0, len(items), size))
