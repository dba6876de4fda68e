"""The dead letters there are, and what became of each: an index over two topics, kept up to date on demand.

Guarantees:
- A dead letter is there once, however often it was written: at its first place, with its latest fault.
- One that is settled is so for good, also when it is written again, after a restart or by a rebuild.
- It knows the newest `records_max` records, later up to twice as many; `complete` says if that is all. The
  records themselves are not kept; marks of letters are, the newest `MARKS_MAX` of them.
- Of a record that no letter can be read from, nothing is made; it is counted.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from itertools import islice
from typing import NamedTuple

import msgspec

from eventlog.ends import lane_ends
from eventlog.errors import LogUnavailable, NoSuchTopic, ReadFailed
from eventlog.fetching import fetch_records
from eventlog.reading import read_lane
from eventlog.topics import DEAD_LETTERS, SETTLED
from models.dead_letter import Reason
from models.letters import Letter, Position, Settled, read_letter, read_settled
from models.record import Lane, Record

LETTERS_LANE = Lane(DEAD_LETTERS, 0)
SETTLED_LANE = Lane(SETTLED, 0)
# Some seconds of reading at first, and 600 bytes of memory each.
RECORDS_MAX = 200_000
# About 400 bytes each. An older one is missed only by a letter that is written again although it is settled;
# whoever settles reads them all (`eventlog.settling`).
MARKS_MAX = 400_000
# A list shows the beginning; the letter itself has it all.
DETAIL_MAX = 200
# Of letters by reason and topic the last hour is told by the minute.
MINUTES = 60


class Entry(NamedTuple):
    """A dead letter in a list. Instants are milliseconds since 1970.

    `at_ms`: when the record was logged; `written_ms`: when it first became a letter, at offset `place` of
    `scv.dead-letters`; at `offset` lies its latest record.
    """

    position: Position
    reason: Reason
    pointer: str
    detail: str
    at_ms: int
    written_ms: int
    place: int
    offset: int
    settled: Settled | None


class Asked(NamedTuple):
    """Which letters a list has: None asks for all. Instants are milliseconds since 1970."""

    reason: Reason | None = None
    topic: str | None = None
    from_ms: int | None = None
    to_ms: int | None = None
    settled: bool = False

    def has(self, one: Entry) -> bool:
        """Whether this letter is asked for."""
        return (
            (self.settled or one.settled is None)
            and self.reason in (None, one.reason)
            and self.topic in (None, one.position.lane.topic)
            and (self.from_ms is None or one.at_ms >= self.from_ms)
            and (self.to_ms is None or one.at_ms < self.to_ms)
        )


class ReasonCount(NamedTuple):
    """How many letters have a reason, and the latest of their instants."""

    reason: Reason
    count: int
    latest_ms: int


class Tally:
    """How many open letters of one reason and topic there are, and when they were written.

    `last_ms` is when the last one was, also if that one is settled by now.
    """

    __slots__ = ("_minutes", "count", "last_ms")

    def __init__(self) -> None:
        self.count, self.last_ms = 0, 0
        self._minutes: dict[int, int] = {}

    def add(self, at_ms: int) -> None:
        """One more."""
        self.count, self.last_ms = self.count + 1, max(self.last_ms, at_ms)
        minute = at_ms // 60_000
        self._minutes[minute] = self._minutes.get(minute, 0) + 1
        if len(self._minutes) > MINUTES + 1:
            del self._minutes[min(self._minutes)]

    def remove(self, at_ms: int) -> None:
        """One of those that were added is open no more."""
        self.count -= 1
        if at_ms // 60_000 in self._minutes:
            self._minutes[at_ms // 60_000] -= 1

    def last_hour(self, now_ms: int) -> int:
        """How many in the last sixty minutes."""
        since = now_ms // 60_000 - MINUTES
        return sum(count for minute, count in self._minutes.items() if minute > since)

    def copy(self) -> Tally:
        """As it is now."""
        made = Tally()
        made.count, made.last_ms, made._minutes = self.count, self.last_ms, dict(self._minutes)
        return made


class Overview(NamedTuple):
    """All letters at a glance: records that the topic holds, letters that are known, what became of them.

    `tallies` are of open ones, by reason and topic; `latest`, too, the newest first.
    """

    held: int
    known: int
    redriven: int
    discarded: int
    complete: bool
    tallies: dict[tuple[Reason, str], Tally]
    latest: list[Entry]


class LetterIndex:
    """The dead letters of a log. Blocking, for any thread. LogError, also when the topics are not there."""

    def __init__(self, bootstrap: str, records_max: int = RECORDS_MAX) -> None:
        self.bootstrap = bootstrap
        self._most = records_max
        self._lock = threading.Lock()
        self._forget(0)

    def _forget(self, start: int) -> None:
        self._began = self._next = start
        self._held = self._next_settled = 0
        # In the order in which they were written first.
        self._entries: dict[Position, Entry] = {}
        self._settled: dict[Position, Settled] = {}
        self._last_mark: Settled | None = None
        self._became: Counter[str] = Counter()
        self._tallies: dict[tuple[Reason, str], Tally] = {}
        self.unreadable = 0

    @property
    def complete(self) -> bool:
        """Whether all records there ever were have been looked through."""
        return self._began == 0

    def catch_up(self, on_progress: Callable[[int, int], None] = lambda *_: None) -> None:
        """Read what is new; `on_progress` hears how many of how many records are read."""
        with self._lock:
            ends = lane_ends(self.bootstrap, [DEAD_LETTERS, SETTLED], committed=True)
            held, end = ends[LETTERS_LANE], ends[SETTLED_LANE].end
            start = max(held.earliest, held.end - self._most)
            anew = not start <= self._next <= held.end or end < self._next_settled
            if anew or held.end - self._began > 2 * self._most:
                # The first time; or so many since then that older ones must go; or topics made anew.
                self._forget(start)
            began = self._next
            for record in read_lane(self.bootstrap, *SETTLED_LANE, self._next_settled, end):
                self._settle(record)
            self._next_settled = end
            for record in read_lane(self.bootstrap, *LETTERS_LANE, self._next, held.end):
                self._add(record)
                on_progress(record.offset + 1 - began, held.end - began)
            self._next, self._held = held.end, held.end - held.earliest

    def _add(self, record: Record) -> None:
        # Should reading break off, the next question goes on from here.
        self._next = record.offset + 1
        try:
            letter = read_letter(record.value)
        except ValueError:
            self.unreadable += 1
            return
        fault, known = letter.fault, self._entries.get(letter.position)
        if known is not None:
            self._count(known, -1)
        made = self._entries[letter.position] = Entry(
            letter.position,
            fault.reason,
            fault.pointer[:DETAIL_MAX],
            fault.detail[:DETAIL_MAX],
            letter.timestamp_ms if known is None else known.at_ms,
            record.timestamp_ms if known is None else known.written_ms,
            record.offset if known is None else known.place,
            record.offset,
            self._settled.get(letter.position) or (known and known.settled),
        )
        self._count(made, 1)

    def _count(self, one: Entry, change: int) -> None:
        """Count this letter, or no longer."""
        if one.settled is not None:
            self._became[one.settled.action] += change
            return
        which = one.reason, one.position.lane.topic
        tally = self._tallies.setdefault(which, Tally())
        (tally.add if change > 0 else tally.remove)(one.written_ms)
        if not tally.count:
            del self._tallies[which]

    def _settle(self, record: Record) -> None:
        self._next_settled = record.offset + 1
        found = settled_in(record)
        if found is None or found[0] in self._settled:
            return
        position, settled = found
        self._settled[position] = self._last_mark = _sharing(settled, self._last_mark)
        if len(self._settled) > MARKS_MAX:
            del self._settled[next(iter(self._settled))]
        if (known := self._entries.get(position)) is not None:
            self._count(known, -1)
            self._entries[position] = known._replace(settled=self._last_mark)
            self._count(self._entries[position], 1)

    def overview(self, latest: int) -> Overview:
        """All letters at a glance, and so many of the newest open ones."""
        with self._lock:
            newest = (one for one in reversed(self._entries.values()) if one.settled is None)
            # Having found all that are open, nobody looks through the settled ones.
            most = min(latest, sum(tally.count for tally in self._tallies.values()))
            return Overview(
                self._held,
                len(self._entries),
                self._became["redriven"],
                self._became["discarded"],
                self.complete,
                {which: tally.copy() for which, tally in self._tallies.items()},
                list(islice(newest, most)),
            )

    def counts(self, asked: Asked) -> list[ReasonCount]:
        """How many letters each reason has, most first."""
        latest: dict[Reason, int] = {}
        counted: Counter[Reason] = Counter()
        for one in self._asked(asked):
            counted[one.reason] += 1
            latest[one.reason] = max(one.at_ms, latest.get(one.reason, 0))
        return [ReasonCount(reason, count, latest[reason]) for reason, count in counted.most_common()]

    def newest(self, asked: Asked, limit: int | None = None) -> list[Entry]:
        """The letters asked for, those written last first."""
        return self._asked(asked)[::-1][:limit]

    def _asked(self, asked: Asked) -> list[Entry]:
        with self._lock:
            return [one for one in self._entries.values() if asked.has(one)]

    def get(self, position: Position) -> Entry | None:
        """The letter of this position; None when there is none."""
        return self._entries.get(position)

    def letters(self, entries: Sequence[Entry]) -> Iterator[Letter]:
        """The letters themselves, with their records as received, in the order of the topic."""
        wanted = {LETTERS_LANE: [one.offset for one in entries]}
        for record in fetch_records(self.bootstrap, wanted):
            yield read_letter(record.value)


def _sharing(one: Settled, before: Settled | None) -> Settled:
    """The mark; what it says as the one before is kept once: many are settled together."""
    if before is None:
        return one
    same = {name: getattr(before, name) for name in ("actor", "reason", "at", "topic", "keyid")}
    return msgspec.structs.replace(
        one, **{name: value for name, value in same.items() if value == getattr(one, name)}
    )


def settled_in(record: Record) -> tuple[Position, Settled] | None:
    """What a record of `scv.dead-letters.settled` settles; None for one that is none of ours."""
    try:
        settled = read_settled(record.value)
        return Position.parse(settled.position), settled
    except ValueError:
        return None


class SettledOffsets:
    """The offsets that are settled, by lane: whoever folds a lane anew passes over them.

    A redriven record stands for them, or nothing does, whatever the models of today would make of them.
    Called again, it reads what is new. LogError; none where there is no topic of them yet.
    """

    def __init__(self, bootstrap: str) -> None:
        self._bootstrap = bootstrap
        self._next = 0
        self._found: dict[Lane, set[int]] = {}

    def __call__(self) -> Mapping[Lane, Collection[int]]:
        """All that are settled now."""
        try:
            end = lane_ends(self._bootstrap, [SETTLED], committed=True)[SETTLED_LANE].end
        except NoSuchTopic:
            # An installation whose topics are older than this one.
            return {}
        if end < self._next:
            self._next, self._found = 0, {}
        try:
            for record in read_lane(self._bootstrap, *SETTLED_LANE, self._next, end):
                self._next = record.offset + 1
                if (found := settled_in(record)) is not None:
                    self._found.setdefault(found[0].lane, set()).add(found[0].offset)
        except ReadFailed as failed:
            # A broker that went away in between comes back; asked again, it is read on from here.
            raise LogUnavailable(str(failed)) from failed
        self._next = end
        return self._found
