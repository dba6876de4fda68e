"""Fold events into a part.

Invariants:
- Records are folded in log order; a repeat of one of the last 64 events changes the revision only.
- Whether the records came in one batch or in many, the part's bytes are the same.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from models.decoding import Event
from models.event import EVENT_TYPES
from models.link import LinkFact
from models.marketing import ProfileUpdated, RelationshipStated
from projections.identity import IDENTIFIERS, Identity
from projections.lists import stated_identifiers
from projections.offsets import extended
from projections.parts import (
    PLACE,
    SECTIONS,
    Part,
    digest,
    is_repeat,
    remember,
    states_of,
)
from projections.reducers import Add, Configuration
from projections.seen import copied, first_seen

_IDENTITY = PLACE["identity"]
# Which of an event's own ids other systems ask by; `references[]` of the event come on top.
REFERENCE_FIELDS = {"order_id": "order", "case_id": "case", "invoice_id": "invoice"}

# Types that touch the section even when they state no identifiers.
_OF_IDENTITY = (ProfileUpdated.wire_type, RelationshipStated.wire_type)

# A section by place, its figures that hear the event, and whether it says anything there (None: always).
Step = tuple[int, list[tuple[int, Add]], Callable[[Event], bool] | None]


class Projection:
    """The table of reducers, made ready for a configuration."""

    def __init__(self, configuration: Configuration) -> None:
        self.configuration = configuration
        self.steps: dict[str, list[Step]] = {name: [] for name in EVENT_TYPES}
        for place, section in enumerate(SECTIONS):
            for wire_type, adders in section.adders(configuration).items():
                # Most events say nothing of who the subject is; those with identifiers take the longer way.
                if place != _IDENTITY or wire_type in _OF_IDENTITY:
                    self.steps[wire_type].append((place, adders, None if section.by_type else section.speaks))
        self.identity_steps = Identity.adders(configuration)
        self.references = {
            name: [(own, kind) for own, kind in REFERENCE_FIELDS.items() if own in cls.model_fields]
            for name, cls in EVENT_TYPES.items()
        }


class Fold:
    """One subject's events of one batch, folded upon its part; `finish` gives the part after them."""

    def __init__(self, projection: Projection, part: Part, subject: str, lane: str) -> None:
        self.projection, self.part, self.subject, self.lane = projection, part, subject, lane
        self.revision, self.changed, self.recent = part.revision, list(part.changed), part.recent
        self.seen = copied(part.seen)
        self.offsets: list[int] = []
        self.live: dict[int, list[Any]] = {}
        self.facts: list[LinkFact] = []
        self.references: set[str] = set()

    def add(self, event: Event, offset: int) -> None:
        """Fold one more event, read at this offset of the lane."""
        if self.revision == 0:
            self.facts.append(LinkFact(self.subject, self.lane, offset, event.log_us))
        self.revision += 1
        self.offsets.append(offset)
        mine = digest(event.source, event.id)
        if is_repeat(self.recent, mine):
            return
        self.recent = remember(self.recent, mine)
        if event.data.identifiers:
            self._state_identifiers(event, offset)
            steps = self._steps_with_identity(event)
        else:
            steps = self.projection.steps[event.type]
        if self.seen is None:
            self.seen = first_seen(event)
        else:
            self.seen.note(event)
        live, changed = self.live, self.changed
        for place, adders, speaks in steps:
            if speaks is not None and not speaks(event):
                continue
            changed[place] = self.revision
            states = live.get(place)
            if states is None:
                states = live[place] = states_of(self.part, place)
            for figure, add in adders:
                states[figure] = add(states[figure], event)
        data = event.data
        if data.references:
            self.references.update(data.references)
        for own, kind in self.projection.references[event.type]:
            value = getattr(data, own)
            if value is not None:
                self.references.add(f"{kind}:{value}")

    def _steps_with_identity(self, event: Event) -> list[Step]:
        steps = self.projection.steps[event.type]
        others = [step for step in steps if step[0] != _IDENTITY]
        return [(_IDENTITY, self.projection.identity_steps[event.type], None), *others]

    def _state_identifiers(self, event: Event, offset: int) -> None:
        """Note what the identity graph must hear of: identifiers new to the part, or first verified here."""
        states = self.live.get(_IDENTITY)
        if states is None:
            states = self.live[_IDENTITY] = states_of(self.part, _IDENTITY)
        known = states[IDENTIFIERS][1]
        stated = stated_identifiers(event, self.projection.configuration.rules)
        event.ignored_fields += len(event.data.identifiers) - len(stated)
        for name, verified in stated:
            held = known.get(name)
            if held is None or (verified and held[1] is None):
                self.facts.append(LinkFact(self.subject, self.lane, offset, event.log_us, name, verified))

    def finish(self) -> Part:
        """The part after all events added; at least one was."""
        sections = list(self.part.sections)
        for place, states in self.live.items():
            sections[place] = SECTIONS[place].pack(states)
        offset, gaps = extended(self.part, self.offsets)
        return Part(self.revision, self.changed, self.recent, sections, self.seen, offset, gaps)
