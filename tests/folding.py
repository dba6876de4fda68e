"""Fold records without any store: what the worker's pure steps give for a log.

Guarantees:
- Uses the worker's own decoding, folding and assembling; nothing is computed another way.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from types import SimpleNamespace
from typing import Any

import msgspec

from models.dead_letter import DeadLetter
from models.record import Lane, Record
from projections.assembling import Labels, Member, assemble, document
from projections.folding import Projection
from projections.parts import Part
from projections.reducers import Configuration
from streams.folder import Folder, prefixes

LABELS = Labels("g1", "c-test")
PLAIN = Configuration()


def as_consumed(record: Record) -> SimpleNamespace:
    """The record with the names that the worker's Kafka client gives its fields."""
    return SimpleNamespace(
        offset=record.offset,
        timestamp=record.timestamp_ms,
        key=record.key,
        value=record.value,
        headers=record.headers,
    )


class LogFold:
    """The parts and dead letters of the records folded so far."""

    def __init__(self, configuration: Configuration = PLAIN) -> None:
        self.folder = Folder(Projection(configuration))
        self.parts: dict[tuple[str, Lane], Part] = {}
        self.dead_letters: list[DeadLetter] = []
        self.next_offsets: dict[Lane, int] = {}

    def batch(self, lane: Lane, records: Sequence[Record]) -> None:
        """Fold one batch of a lane; records below where the lane stands are skipped, as the worker does."""
        start = self.next_offsets.get(lane, 0)
        known = {subject: part for (subject, held), part in self.parts.items() if held == lane}
        consumed = [as_consumed(record) for record in records]
        changed: dict[str, Part] = {}
        for prefix in prefixes(consumed, start, max(start, *(record.offset + 1 for record in records))):
            self.dead_letters += self.folder.fold(lane, prefix, known, changed).dead_letters
        self.parts |= {(subject, lane): part for subject, part in changed.items()}
        self.next_offsets[lane] = max(start, *(record.offset + 1 for record in records))

    def documents(self) -> dict[str, dict[str, Any]]:
        """The profile of every subject that may have one, each assembled whole."""
        members: dict[str, list[Member]] = {}
        for (subject, lane), part in self.parts.items():
            if not subject.startswith("employee:"):
                members.setdefault(subject, []).append(Member(subject, str(lane), part))
        return {subject: profile_document(found) for subject, found in members.items()}


def profile_document(members: Sequence[Member], founder: str | None = None) -> dict[str, Any]:
    """The document of one customer."""
    profile = assemble(members, LABELS, 0, founder or members[0].subject)
    sections = {name: msgspec.json.decode(section) for name, section in profile.sections.items()}
    return document(profile.customer_id, profile.founder, sections)


def fold_whole(lanes: Iterable[Sequence[Record]], configuration: Configuration = PLAIN) -> LogFold:
    """Every lane in one batch."""
    fold = LogFold(configuration)
    for records in lanes:
        if records:
            fold.batch(records[0].lane, records)
    return fold


def fold_in_batches(records: Sequence[Record], rng: random.Random) -> LogFold:
    """The records as they come, interleaved and with redeliveries, in batches of random size per lane."""
    fold = LogFold()
    waiting: dict[Lane, list[Record]] = {}
    for record in records:
        waiting.setdefault(record.lane, []).append(record)
        if rng.random() < 0.3:
            for lane, batch in waiting.items():
                fold.batch(lane, batch)
            waiting = {}
    for lane, batch in waiting.items():
        fold.batch(lane, batch)
    return fold
