"""The job that every contender does to an event, in scv's own functions: decode, fold, assemble, pack.

Guarantees:
- Contenders differ in how records get in and results get out, in nothing else: what lies between is imported
  from here or from where this imports it.
- One state holds all that a subject did, whatever the topic: nobody here merges lanes, as scv does.
- Nothing of Kafka and nothing of Redis is imported, so that a contender with an environment of its own can
  use it.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import NamedTuple

from models.decoding import Event, fast_decoder
from projections.assembling import Labels, Member, View, assemble
from projections.folding import Fold, Projection
from projections.parts import Part, empty, pack, unpack
from projections.reducers import Configuration

# What a state is said to be folded in, since it is that of no single lane.
LANE = "all"


def arguments(purpose: str | None) -> argparse.Namespace:
    """What every contender is told on its command line."""
    parser = argparse.ArgumentParser(description=purpose)
    for name in ("--kafka", "--redis", "--group"):
        parser.add_argument(name, required=True)
    parser.add_argument("--counter", required=True, type=Path, help="the file of `benchmarks.counting`")
    parser.add_argument("--session-timeout", type=float, help="seconds, of whoever joins a group")
    return parser.parse_args()


class Folded(NamedTuple):
    """What is written after an event: the state, packed, and the fields of the profile's hash."""

    state: bytes
    profile: dict[str, bytes | str]


class Job:
    """The functions, with what they need to know; `generation` is what `meta` of a profile says."""

    def __init__(self, generation: str) -> None:
        self.projection = Projection(Configuration())
        self.labels = Labels(generation, "c-0")

    def decode(self, topic: str, key: bytes, value: bytes, timestamp_ms: int) -> Event:
        """The event of a record. ValueError: it is none, which no record of the loads here should be."""
        event = fast_decoder(topic)(value, key, timestamp_ms * 1_000)
        if event is None:
            raise ValueError(f"{topic}: a record of {key!r} is no event: {value!r:.200}")
        return event

    def fold_one(self, stored: bytes | None, event: Event) -> Folded:
        """One event upon the stored state, and the whole profile after it."""
        part = self.fold(unpack(stored), event.subject, [event])
        sections, version, _ = self.assemble(event.subject, part, None)
        return Folded(pack(part), {"version": version, **sections})

    def fold(self, part: Part, subject: str, events: list[Event]) -> Part:
        """The part of a subject after these events. Of all topics, so it remembers numbers for offsets."""
        fold = Fold(self.projection, part, subject, LANE)
        for number, event in enumerate(events, part.revision):
            fold.add(event, number)
        return fold.finish()

    def assemble(self, subject: str, part: Part, view: View | None) -> tuple[dict[str, bytes], str, View]:
        """The profile's sections, its version, and what makes the next one cheaper.

        With the `view` of the subject's last profile the sections are those alone that differ from it.
        """
        profile = assemble([Member(subject, LANE, part)], self.labels, 0, subject, view)
        return profile.sections, profile.version, profile.view


__all__ = ["Event", "Folded", "Job", "Part", "View", "arguments", "empty", "pack", "unpack"]
