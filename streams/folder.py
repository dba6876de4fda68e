"""Decode and fold a lane's batch: one pass per subject, in prefixes that commit whole.

Invariants:
- Per subject, records are folded in log order; a prefix holds every record up to its end, of all subjects.
- A record that is no event becomes a dead letter; nothing else happens to it, and nothing stops.
- A dead letter that was settled (redriven, discarded) is passed over, also where newer models could read it:
  the record that took its place is folded, and nothing is folded twice.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from operator import attrgetter
from typing import Any

from models.catalogue import COMMAND_TOPIC
from models.dead_letter import DeadLetter, Fault
from models.decoding import Event
from models.identifiers import is_employee
from models.link import LinkFact
from models.reading import event_of
from models.record import Lane
from projections.folding import Fold, Projection
from projections.forwarding import fact_of
from projections.parts import Part, empty, pack
from stores.store import PartWrite

# One function call blocks the store for about 5 µs a part; between two calls others get their turn.
PARTS_PER_COMMIT = 256


class Prefix:
    """Records of a batch up to `next_offset`, grouped by key, of at most 256 keys."""

    __slots__ = ("groups", "next_offset")

    def __init__(self) -> None:
        self.groups: dict[bytes | None, list[Any]] = {}
        self.next_offset = 0


def prefixes(records: Sequence[Any], start: int | None, next_offset: int) -> Iterator[Prefix]:
    """The records from `start` on as prefixes; the last one ends at `next_offset`. There is always one.

    A record that comes a second time within the batch is left out, like one from below `start`.
    """
    prefix = Prefix()
    groups = prefix.groups
    at = -1 if start is None else start
    for record in records:
        if record.offset < at:
            continue
        at = record.offset + 1
        group = groups.get(record.key)
        if group is None:
            if len(groups) == PARTS_PER_COMMIT:
                prefix.next_offset = record.offset
                yield prefix
                prefix = Prefix()
                groups = prefix.groups
            group = groups[record.key] = []
        group.append(record)
    prefix.next_offset = next_offset
    yield prefix


def subject_of(key: bytes | None) -> str | None:
    """The subject that a key names; None when the bytes are no text."""
    if key is None:
        return None
    try:
        return key.decode()
    except UnicodeDecodeError:
        return None


class Folded:
    """What folding a prefix gives: parts to write, and what must be acknowledged before they are."""

    def __init__(self) -> None:
        self.parts: list[PartWrite] = []
        self.marks: dict[str, int] = {}
        self.dead_letters: list[DeadLetter] = []
        self.facts: list[LinkFact] = []
        self.new_subjects: list[str] = []
        self.references: list[tuple[str, str]] = []
        self.event_count = 0


class Folder:
    """Folds prefixes of any lane. `settled`, when called, gives the offsets of settled dead letters."""

    def __init__(
        self, projection: Projection, settled: Callable[[], Mapping[Lane, Collection[int]]] | None = None
    ) -> None:
        self.projection = projection
        self._ask_settled = settled
        self._settled: Mapping[Lane, Collection[int]] | None = None if settled else {}

    def look(self) -> None:
        """See what is settled, before lanes are folded from where they stand. LogError."""
        if self._ask_settled is not None:
            self._settled = self._ask_settled()

    def fold(self, lane: Lane, prefix: Prefix, cache: Mapping[str, Part], changed: dict[str, Part]) -> Folded:
        """Fold a prefix upon the parts in `changed`, else in `cache`; those after it go into `changed`."""
        folded = Folded()
        if self._settled is None:
            # Whoever owns no lanes (a rebuild) has not looked before.
            self.look()
        settled = (self._settled or {}).get(lane, ())
        if lane.topic == COMMAND_TOPIC:
            self._forward(lane, prefix, folded, settled)
            return folded
        for key, records in prefix.groups.items():
            subject = subject_of(key)
            before = None if subject is None else changed.get(subject) or cache.get(subject)
            fold: Fold | None = None
            for record in records:
                if settled and record.offset in settled:
                    continue
                event = decode(lane.topic, record)
                if isinstance(event, Fault):
                    folded.dead_letters.append(_dead_letter(lane, record, event))
                    continue
                if fold is None:
                    # An event's subject is its record's key, so there is one.
                    fold = Fold(self.projection, before or empty(), event.subject, str(lane))
                fold.add(event, record.offset)
                folded.event_count += 1
            if fold is not None:
                changed[fold.subject] = self._finish(fold, folded)
        return folded

    def _forward(self, lane: Lane, prefix: Prefix, folded: Folded, settled: Collection[int]) -> None:
        """Commands make no parts: the graph hears of them, in the order of their offsets."""
        for record in sorted((one for group in prefix.groups.values() for one in group), key=_offset):
            if record.offset in settled:
                continue
            event = decode(lane.topic, record)
            if isinstance(event, Fault):
                folded.dead_letters.append(_dead_letter(lane, record, event))
                continue
            fact = fact_of(event, str(lane), record.offset, self.projection.configuration.rules)
            if isinstance(fact, Fault):
                folded.dead_letters.append(_dead_letter(lane, record, fact))
                continue
            if fact is not None:
                folded.facts.append(fact)
            folded.event_count += 1

    @staticmethod
    def _finish(fold: Fold, folded: Folded) -> Part:
        part, subject = fold.finish(), fold.subject
        revision = None if is_employee(subject) else part.revision
        folded.parts.append(PartWrite(subject, pack(part), revision))
        if revision is not None:
            folded.marks[subject] = revision
            # Employees never become customers, so the identity graph hears nothing of them.
            folded.facts += fold.facts
        if fold.part.revision == 0:
            folded.new_subjects.append(subject)
        folded.references += [(reference, subject) for reference in sorted(fold.references)]
        return part


_offset = attrgetter("offset")


def decode(topic: str, record: Any) -> Event | Fault:
    """The event of a consumed record."""
    return event_of(topic, record.key, record.value, record.headers, record.timestamp)


def _dead_letter(lane: Lane, record: Any, fault: Fault) -> DeadLetter:
    return DeadLetter(
        fault,
        lane.topic,
        lane.partition,
        record.offset,
        record.timestamp or 0,
        record.key,
        record.value,
        tuple(record.headers or ()),
    )
