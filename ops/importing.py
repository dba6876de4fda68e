"""Import a file: rows become CloudEvents, and go to the topic of their type.

Invariants:
- Nothing is produced that the workers would not fold: every event is read the way they read it first.
- A row that cannot be imported is named with its number and the reason; the others go through.
- The same file and map give the same ids. Importing again sends the same events again.
- A run that ends early says from which row it can go on; what it sent before is acknowledged.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TextIO

import msgspec

from eventlog.errors import LogError
from models.careful import read as read_carefully
from models.dead_letter import Fault
from models.decoding import fast_decoder
from ops.failures import Exit, Failure
from ops.import_map import ImportMap, RowRejected
from ops.rows import Row, Rows

# What a person reads before correcting the map; all are counted, `--rejects` writes all.
REJECTIONS_SHOWN = 20
# Enough to see whether the map does what was meant.
EVENTS_SHOWN = 3
# An id template that does not tell rows apart shows it early; so many ids take about 20 MB.
IDS_REMEMBERED = 250_000
# Rows between two acknowledgements: what a run that breaks off sends again at most.
ROWS_PER_FLUSH = 20_000


class Target(Protocol):
    """Where events go: `eventlog.producing.LogProducer`."""

    def produce(self, topic: str, key: bytes | None, value: bytes | None) -> None:
        """Hand over one record."""

    def flush(self) -> None:
        """Return when all of them are acknowledged."""


class Rejection(NamedTuple):
    """A row that cannot be imported, and why."""

    row: int
    place: str
    reason: str


@dataclass
class Outcome:
    """What an import did; `next_row` is the first row that was not read, or not acknowledged."""

    rows: int = 0
    sent: int = 0
    rejected: int = 0
    filtered: int = 0
    clamped: int = 0
    ignored_fields: int = 0
    seconds: float = 0.0
    next_row: int = 1
    rejections: list[Rejection] = field(default_factory=list)
    first_events: list[bytes] = field(default_factory=list)


class Made(NamedTuple):
    """The record that a row becomes."""

    key: bytes
    value: bytes
    clamped: bool
    ignored_fields: int


class EventMaker:
    """Makes and checks the event of each row; `now_us` is when the log will take it, in microseconds."""

    def __init__(self, plan: ImportMap, now_us: int) -> None:
        self._plan, self._now_us = plan, now_us
        self._fast = fast_decoder(plan.topic)
        self._ids: dict[tuple[str, str], int] = {}

    def make(self, row: Row) -> Made:
        """The record of a row; RowRejected when the workers would refuse it, or its id is another row's."""
        if row.fault is not None:
            raise RowRejected(row.fault)
        event = self._plan.event(row)
        try:
            key, value = event["subject"].encode(), msgspec.json.encode(event)
        except UnicodeEncodeError:
            raise RowRejected(
                "not text in the file's encoding; name it in the map: [file] encoding"
            ) from None
        except (TypeError, ValueError, OverflowError) as error:
            raise RowRejected(f"cannot be written as JSON: {error}") from None
        read: Any = self._fast(value, key, self._now_us)
        if read is None:
            read = read_carefully(self._plan.topic, key, value, (), self._now_us)
            if isinstance(read, Fault):
                raise RowRejected(f"{read.reason} at {read.pointer or '/'}: {read.detail}")
        self._refuse_reused(event, row.number)
        return Made(key, value, read.clamped, read.ignored_fields)

    def _refuse_reused(self, event: dict[str, Any], number: int) -> None:
        identity = (event["source"], event["id"])
        first = self._ids.get(identity)
        if first is not None:
            raise RowRejected(f"id {event['id']!r} is already row {first}'s; an id must tell rows apart")
        if len(self._ids) < IDS_REMEMBERED:
            self._ids[identity] = number


def run_import(
    rows: Rows,
    plan: ImportMap,
    target: Target | None,
    *,
    from_row: int = 1,
    rejects: Path | None = None,
    on_progress: Callable[[int, int], None] = lambda done, count: None,
    now_us: int | None = None,
) -> Outcome:
    """Import all rows from `from_row` on; without a target nothing is sent (a dry run).

    BrokenOff when a person stops it (what was handed over is acknowledged first), or the log takes no more.
    """
    refuse_unknown_columns(rows, plan)
    outcome = Outcome(next_row=from_row)
    began = time.monotonic()
    maker = EventMaker(plan, time.time_ns() // 1_000 if now_us is None else now_us)
    with ExitStack() as stack:
        rejected_to = (
            stack.enter_context(rejects.open("w", encoding="utf-8")) if rejects is not None else None
        )
        try:
            for row in _from(rows, from_row):
                _take(row, plan, maker, target, outcome, rejected_to)
                if outcome.rows % 500 == 0:
                    on_progress(rows.done, outcome.rows)
                if target is not None and outcome.rows % ROWS_PER_FLUSH == 0:
                    target.flush()
                    outcome.next_row = row.number + 1
            if target is not None:
                target.flush()
        except KeyboardInterrupt as stopped:
            if target is not None:
                target.flush()
            outcome.next_row = from_row + outcome.rows
            raise BrokenOff(outcome) from stopped
        except LogError as failed:
            raise BrokenOff(outcome) from failed
    outcome.next_row = from_row + outcome.rows
    outcome.seconds = time.monotonic() - began
    return outcome


class BrokenOff(Exception):
    """An import ended early; its cause says why. Everything before `outcome.next_row` is in the log."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(f"broken off before row {outcome.next_row}")
        self.outcome = outcome


def _take(
    row: Row,
    plan: ImportMap,
    maker: EventMaker,
    target: Target | None,
    outcome: Outcome,
    rejected_to: TextIO | None,
) -> None:
    try:
        if row.fault is None and not plan.wanted(row):
            outcome.filtered += 1
        else:
            made = maker.make(row)
            if target is not None:
                target.produce(plan.topic, made.key, made.value)
                outcome.sent += 1
            elif len(outcome.first_events) < EVENTS_SHOWN:
                outcome.first_events.append(made.value)
            outcome.clamped += made.clamped
            outcome.ignored_fields += made.ignored_fields
    except RowRejected as rejected:
        outcome.rejected += 1
        if len(outcome.rejections) < REJECTIONS_SHOWN:
            outcome.rejections.append(Rejection(row.number, row.place, str(rejected)))
        if rejected_to is not None:
            rejected_to.write(_reject_line(row, str(rejected)))
    # Counted last: an interrupt in between repeats this row rather than skipping it.
    outcome.rows += 1


def _from(rows: Rows, first: int) -> Iterator[Row]:
    return (row for row in rows if row.number >= first)


def _reject_line(row: Row, reason: str) -> str:
    document = {"row": row.number, "line": row.line, "reason": reason, "values": row.values}
    return msgspec.json.encode(document, enc_hook=str).decode(errors="replace") + "\n"


def refuse_unknown_columns(rows: Rows, plan: ImportMap) -> None:
    """Failure when the map reads a column that the file, where its columns are known, does not have."""
    if rows.columns is None:
        return
    missing = sorted(column for column in plan.columns if column not in rows.columns and "." not in column)
    if missing:
        raise Failure(
            Exit.USAGE,
            f"{rows.path}: no column {', '.join(missing)}, which {plan.name} reads; "
            f"the file has: {', '.join(rows.columns[:40])}",
        )
