"""Why a field has the value it has: the events that made it, in order, with what each one did.

Invariants:
- After each event the field is what the customer's profile would have shown then: the same fold, the same
  assembly. So each effect begins where the one before it ended, and the last ends at the value shown.
- The order is that of the log; between lanes, of the log times, and a lane's own order always holds.
- Events that changed nothing of the field are counted, not listed.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import msgspec

from models.record import Lane, Record
from projections.assembling import (
    ALONE,
    DOCUMENT_ORDER,
    RESERVED,
    Labels,
    Member,
    Placed,
    View,
    assemble,
    merged,
)
from projections.differing import MISSING, NoSuchField, value_at
from projections.folding import Fold
from projections.parts import PLACE, SECTIONS, Part, empty
from projections.replay import Heard, Replay
from projections.rule_text import Rule, rule_of
from projections.seen import copied

_NOWHERE = Labels("", "")
_read = msgspec.json.Decoder().decode

# From a section's name and its JSON to the JSON that may be told.
Mask = Callable[[str, bytes], bytes]


class Effect(NamedTuple):
    """What one event did to the field; `figures` are those of the section's declaration that it moved."""

    heard: Heard
    before: Any
    after: Any
    figures: tuple[str, ...]


class Explained(NamedTuple):
    """A field's value, the events that made it, and by which rules; `event_count` is of all folded."""

    value: Any
    effects: list[Effect]
    rules: list[Rule]
    event_count: int


def field_path(field: str) -> tuple[str, list[str]]:
    """`billing.balances.EUR` as the section and the names inside it. NoSuchField."""
    section, *path = field.split(".")
    known = [name for name in DOCUMENT_ORDER if name != "meta" and name not in RESERVED]
    if section not in known:
        raise NoSuchField(f"no section {section!r}; a field begins with one of: {', '.join(known)}")
    if section not in PLACE:
        raise NoSuchField(f"section {section!r} has no events of its own")
    value_at(_read(_BLANK[section]), path)
    return section, path


def in_log_order(records: Iterable[Record]) -> Iterator[Record]:
    """Records of several lanes, each in its order, as they were logged. All are held in memory."""
    lanes: dict[Lane, list[Record]] = {}
    for record in records:
        lanes.setdefault(record.lane, []).append(record)
    # A lane's order holds even where a producer's clock went back: only what comes next of each is compared.
    return heapq.merge(*lanes.values(), key=_logged)


def _logged(record: Record) -> tuple[int, str, int]:
    return record.timestamp_ms, record.topic, record.partition


def explain(
    records: Iterable[Record],
    replay: Replay,
    field: str,
    founder: str,
    placed: Placed = ALONE,
    mask: Mask = lambda _, section: section,
) -> Explained:
    """How these records, folded by a fresh `replay`, made a field. NoSuchField.

    `mask` is put on what is told of a section, as JSON; whether an event did something is asked without it.
    """
    section, path = field_path(field)
    shown = _Shown(section, founder, placed)
    value = _at(shown.document, path)
    told = _at(_read(mask(section, shown.written)), path)
    effects: list[Effect] = []
    count = 0
    for record in in_log_order(records):
        heard = replay.add(record)
        if heard is None:
            continue
        count += 1
        states = shown.states
        if not shown.take(replay.folds[heard.event.subject, heard.lane]):
            continue
        before, value = value, _at(shown.document, path)
        if before != value:
            figures = () if section == "summary" else _figures(shown, states, path)
            before, told = told, _at(_read(mask(section, shown.written)), path)
            effects.append(Effect(heard, before, told, figures))
    value_at(shown.document, path)
    named = dict.fromkeys(name for effect in effects for name in effect.figures)
    declared = SECTIONS[PLACE[section]]
    rules = [rule_of(name, declared.reducers[name], replay.projection.configuration) for name in named]
    return Explained(told, effects, rules, count)


def _at(document: Any, path: Sequence[str]) -> Any:
    """What lies there by now: what the path means may come later, as order `O-8.1` after `O-8`."""
    try:
        return value_at(document, path)
    except NoSuchField:
        return MISSING


class _Shown:
    """A section of the customer, kept up to date from its members' folds."""

    def __init__(self, section: str, founder: str, placed: Placed) -> None:
        self.section, self.founder, self.placed = section, founder, placed
        # The summary is made of what all sections have to say.
        self.places = set(range(len(SECTIONS))) if section == "summary" else {PLACE[section]}
        self.members: dict[tuple[str, str], Member] = {}
        self.view: View | None = None
        self.written = _BLANK[section]
        self.document: Any = _read(self.written)

    @property
    def states(self) -> list[Any]:
        """The section's figures, merged over all members."""
        return merged(list(self.members.values()), PLACE[self.section])

    def take(self, fold: Fold) -> bool:
        """Take what a fold's last event changed; whether the section may be another now."""
        key = (fold.subject, fold.lane)
        touched = [place for place in self.places if fold.changed[place] == fold.revision]
        if not touched and self.section != "identity":
            return False
        held = self.members.get(key)
        part = empty() if held is None else held.part
        sections, changed = list(part.sections), list(part.changed)
        for place in touched:
            sections[place] = SECTIONS[place].pack(fold.live[place])
            changed[place] = fold.revision
        part = Part(fold.revision, changed, b"", sections, copied(fold.seen))
        self.members[key] = Member(*key, part)
        made = assemble(list(self.members.values()), _NOWHERE, 0, self.founder, self.view, self.placed)
        self.view = made.view
        if self.section in made.sections:
            self.written = made.sections[self.section]
            self.document = _read(self.written)
        return True


def _figures(shown: _Shown, before: Sequence[Any], path: Sequence[str]) -> tuple[str, ...]:
    """The figures of the section that moved the field: each alone, else all that changed together."""
    section = SECTIONS[PLACE[shown.section]]
    names, after = list(section.reducers), shown.states
    changed = [at for at, (was, now) in enumerate(zip(before, after, strict=True)) if was != now]
    if len(changed) < 2:
        return tuple(names[at] for at in changed)
    was = _at(section.rendered(list(before)).document, path)
    alone = []
    for at in changed:
        mixed = [after[at] if place == at else state for place, state in enumerate(before)]
        if _at(section.rendered(mixed).document, path) != was:
            alone.append(names[at])
    return tuple(alone or [names[at] for at in changed])


_ABSENT = Member("crm:nobody", "none-0", empty())
_BLANK = assemble([_ABSENT], _NOWHERE, 0, "crm:nobody").sections
