"""Dead letters, counted by reason as they are written, and the latest of them.

Invariants:
- The topic is read once, from `COUNTED_MAX` before its end when the server starts, and from then on only
  what is new: a question reads nothing but the one letter that it asks for.
- A repeat (the same coordinates among the last `IDS_MAX` letters) is counted once.
- Of a letter the record itself is not kept: only its coordinates, reason, field and fault.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, Protocol

import msgspec

from eventlog.following import Follower
from eventlog.reading import read_batches
from models.catalogue import DEAD_LETTER_TOPIC
from models.dead_letter import DETAIL_MAX, Reason
from models.record import Lane

LANE = Lane(DEAD_LETTER_TOPIC, 0)
# Some seconds of reading when the server starts. Who has more has one cause for most of them.
COUNTED_MAX = 100_000
# A worker that was killed writes its last batch's letters again; no batch has more.
IDS_MAX = 10_000
# One screen; `scv dead-letters list` has the others.
LATEST_MAX = 50
MINUTES = 60
# Fifteen reasons times the topics of an installation; beyond it somebody else writes here.
TALLIES_MAX = 500
OTHER = "other"
# Kafka's own limit.
TOPIC_CHARACTERS_MAX = 249
# Somebody waits for it.
READ_SECONDS = 3.0
# Letters that are read at once; who opens another one waits.
READING_MAX = 2


class Written(Protocol):
    """A record as the client has it."""

    def offset(self) -> int | None:
        """Where it lies."""

    def timestamp(self) -> tuple[int, int]:
        """The kind of its time, and milliseconds since 1970."""

    def value(self) -> Any:
        """Its bytes."""


class LetterData(msgspec.Struct):
    """What a letter says beside the record."""

    reason: str
    topic: str
    partition: int
    offset: int
    pointer: str = ""
    detail: str = ""
    timestamp_ms: int = 0


class _Wire(msgspec.Struct):
    id: str
    data: LetterData


class WholeHeader(msgspec.Struct):
    """A header of the record."""

    name: str
    value_base64: str | None = None


class WholeLetter(LetterData):
    """A dead letter with its record: key, value and headers in base64, and the bytes that did not fit."""

    key_base64: str | None = None
    value_base64: str | None = None
    headers: list[WholeHeader] = []
    omitted_bytes: int = 0


class _WholeWire(msgspec.Struct):
    data: WholeLetter


_read_whole = msgspec.json.Decoder(_WholeWire).decode
_REASONS = frozenset(Reason)
_read = msgspec.json.Decoder(_Wire).decode


class Letter(NamedTuple):
    """A dead letter without its record. `place` is its offset in `scv.dead-letters`; times in ms since 1970.

    `logged_ms` is when the record was logged, `written_ms` when it was found to be no event.
    """

    place: int
    reason: str
    pointer: str
    detail: str
    topic: str
    partition: int
    offset: int
    logged_ms: int
    written_ms: int


class Tally:
    """How many letters of one reason and topic there are, and when."""

    __slots__ = ("_minutes", "count", "last_ms")

    def __init__(self) -> None:
        self.count, self.last_ms = 0, 0
        self._minutes: deque[list[int]] = deque(maxlen=MINUTES + 1)

    def add(self, at_ms: int) -> None:
        """One more."""
        self.count, self.last_ms = self.count + 1, max(self.last_ms, at_ms)
        minute = at_ms // 60_000
        if not self._minutes or self._minutes[-1][0] < minute:
            self._minutes.append([minute, 0])
        self._minutes[-1][1] += 1

    def last_hour(self, now_ms: int) -> int:
        """How many in the last sixty minutes."""
        since = now_ms // 60_000 - MINUTES
        return sum(count for minute, count in self._minutes if minute > since)


class Tallied(NamedTuple):
    """Letters of one reason and topic: all that were counted, those of the last hour, the last one's time."""

    reason: str
    topic: str
    count: int
    last_hour: int
    last_ms: int


class Counted(NamedTuple):
    """What is known of dead letters now.

    `held` is how many records the topic has (None while it cannot be asked), `counted` how many of the newest
    were counted, repeats left out; `complete` is False while older ones are still being read.
    """

    held: int | None
    counted: int
    complete: bool
    trouble: str | None
    tallies: tuple[Tallied, ...]
    latest: tuple[Letter, ...]


class DeadLetters:
    """Follows `scv.dead-letters`; may be asked from any thread."""

    def __init__(self, bootstrap: str, clock: Callable[[], float] = time.time) -> None:
        self._bootstrap, self._clock = bootstrap, clock
        self._lock = threading.Lock()
        self._forget()
        # Of its own: a broker that is away takes no thread from look-ups.
        self._reading = ThreadPoolExecutor(READING_MAX, "scv-letters")
        self._follower = Follower(bootstrap, LANE, self._begin, self._hear)

    def close(self) -> None:
        """Stop following."""
        self._follower.close()
        self._reading.shutdown(cancel_futures=True)

    def counted(self) -> Counted:
        """What is known now; asks nobody."""
        now_ms = int(self._clock() * 1_000)
        with self._lock:
            tallies = sorted(
                (
                    Tallied(*which, one.count, one.last_hour(now_ms), one.last_ms)
                    for which, one in self._tallies.items()
                ),
                key=lambda one: (-one.last_hour, -one.count, one.reason, one.topic),
            )
            held = None if self._next is None else self._next - self._earliest
            return Counted(
                held,
                sum(one.count for one in tallies),
                self._follower.at_end,
                self._follower.trouble,
                tuple(tallies),
                tuple(reversed(self._latest)),
            )

    async def read(self, place: int) -> WholeLetter | None:
        """The letter at this offset, read from the log; None when there is none. LogError."""
        with self._lock:
            if self._next is None or not self._earliest <= place < self._next:
                return None
        return await asyncio.get_running_loop().run_in_executor(self._reading, self._read, place)

    def _read(self, place: int) -> WholeLetter | None:
        for batch in read_batches(self._bootstrap, {LANE: (place, place + 1)}, silence_seconds=READ_SECONDS):
            with contextlib.suppress(msgspec.DecodeError, UnicodeDecodeError):
                return _read_whole(batch[0].value or b"").data
        return None

    def _forget(self) -> None:
        self._earliest, self._next = 0, None
        self._tallies: dict[tuple[str, str], Tally] = {}
        self._ids: dict[str, None] = {}
        self._latest: deque[Letter] = deque(maxlen=LATEST_MAX)

    def _begin(self, earliest: int, end: int) -> int:
        """Where to read on; from the start when this is another topic than before."""
        with self._lock:
            if self._next is None or not earliest <= self._next <= end:
                self._forget()
                self._next = max(earliest, end - COUNTED_MAX)
            self._earliest = earliest
            return self._next

    def _hear(self, records: Sequence[Written]) -> None:
        with self._lock:
            for record in records:
                self._next = (record.offset() or 0) + 1
                try:
                    wire = _read(record.value() or b"")
                except (msgspec.DecodeError, UnicodeDecodeError):
                    # No letter of ours: anybody may write to a topic.
                    continue
                if wire.id not in self._ids:
                    self._note(wire, self._next - 1, record.timestamp()[1])

    def _note(self, wire: _Wire, place: int, at_ms: int) -> None:
        self._ids[wire.id] = None
        if len(self._ids) > IDS_MAX:
            del self._ids[next(iter(self._ids))]
        data = wire.data
        which = data.reason if data.reason in _REASONS else OTHER, data.topic[:TOPIC_CHARACTERS_MAX]
        if which not in self._tallies and len(self._tallies) >= TALLIES_MAX:
            which = OTHER, OTHER
        self._tallies.setdefault(which, Tally()).add(at_ms)
        self._latest.append(
            Letter(
                place, data.reason, data.pointer[:DETAIL_MAX], data.detail[:DETAIL_MAX],
                data.topic[:TOPIC_CHARACTERS_MAX], data.partition, data.offset, data.timestamp_ms, at_ms,
            )
        )  # fmt: skip
