"""Fold a customer's own records again, up to a point in time.

Invariants:
- The folding is the workers' own (`projections.folding`): up to the end it gives their parts, byte for byte.
- By event time, what occurred later is as if it had never been logged; by log time, what was logged later.
- Records come in their lane's order; how lanes are interleaved changes nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import NamedTuple

from models.dead_letter import Fault
from models.decoding import Event
from models.identifiers import is_employee
from models.link import LinkFact
from models.reading import event_of
from models.record import Lane, Record
from projections.assembling import Member
from projections.folding import Fold, Projection
from projections.parts import Part, empty


class Point(NamedTuple):
    """Up to when: `as_of_us` by when events occurred, `known_us` by when they were logged. None: to the end.

    Microseconds since 1970 (UTC); the instant itself is included.
    """

    as_of_us: int | None = None
    known_us: int | None = None

    def covers(self, event: Event) -> bool:
        """Whether the event counts."""
        return (self.as_of_us is None or event.occurred_us <= self.as_of_us) and (
            self.known_us is None or event.log_us <= self.known_us
        )


NOW = Point()


class Heard(NamedTuple):
    """An event that was folded, and where its record lies."""

    event: Event
    lane: Lane
    offset: int


class Replay:
    """Folds records one by one; `members` are the parts that they make.

    `settled` are offsets of dead letters that were redriven or discarded: passed over, as workers do.
    """

    def __init__(
        self,
        projection: Projection,
        point: Point = NOW,
        settled: Mapping[Lane, Collection[int]] | None = None,
    ) -> None:
        self.projection, self.point = projection, point
        self.settled = settled or {}
        self.folds: dict[tuple[str, Lane], Fold] = {}
        self.parts: dict[tuple[str, Lane], Part] = {}
        self.facts: dict[str, list[LinkFact]] = {}

    def add(self, record: Record) -> Heard | None:
        """Fold one record; None when it is no event, or is not covered."""
        if record.offset in self.settled.get(record.lane, ()):
            return None
        event = event_of(record.topic, record.key, record.value, record.headers, record.timestamp_ms)
        if isinstance(event, Fault) or not self.point.covers(event):
            return None
        place = (event.subject, record.lane)
        fold = self.folds.get(place)
        if fold is None:
            part = self.parts.get(place) or empty()
            fold = self.folds[place] = Fold(self.projection, part, event.subject, str(record.lane))
        fold.add(event, record.offset)
        return Heard(event, record.lane, record.offset)

    def settle(self) -> None:
        """Pack what has been folded: where there are many customers, parts take a tenth of the memory."""
        for (subject, lane), fold in self.folds.items():
            self.parts[subject, lane] = fold.finish()
            self.facts.setdefault(subject, []).extend(fold.facts)
        self.folds.clear()

    @property
    def members(self) -> list[Member]:
        """The parts as an assembly takes them; employees have none of a customer's."""
        self.settle()
        return [
            Member(subject, str(lane), part)
            for (subject, lane), part in self.parts.items()
            if not is_employee(subject)
        ]
