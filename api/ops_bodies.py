"""What an operator is told, as models: they are answered as JSON, and the page is made of them.

Invariants:
- What is not known is null, never 0: a figure that nobody could ask for says so.
- No figure is about a customer, and no text is a customer's: lanes, groups, reasons and counts only.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from api.letter_counts import LATEST_MAX
from models.event import Shape
from models.profile_sections import Moment

Count = Annotated[int, Field(ge=0)]
Rate = Annotated[float, Field(ge=0)]
Seconds = Annotated[float, Field(ge=0)]
Level = Literal["well", "behind", "attention", "away", "unknown"]
LaneState = Literal["up_to_date", "behind", "silent", "no_worker", "moving", "not_begun", "unknown"]
"""`up_to_date`: nothing has waited for 2 s; `silent`: no worker has looked for 15 s."""


class OverallState(Shape):
    """The whole in one sentence, and what else is worth knowing, a sentence each."""

    level: Level = Field(
        description="`well`: nothing waits for long; `behind`: workers have work; `attention`: somebody must "
        "do something; `away`: store or log do not answer; `unknown`: not looked yet."
    )
    sentence: str
    notes: list[str]


class ServerState(Shape):
    """Whether store or log answer: null before they were asked."""

    answers: bool | None
    answered_at: Moment | None = Field(description="When it answered last.")


class LagState(Shape):
    """What is in the log and not in the view, and how that is changing.

    `events` waits in topics of events and commands, `link_facts` in the link log.
    """

    records: Count | None
    events: Count | None
    link_facts: Count | None
    seconds: Seconds | None = Field(description="How long the oldest of them has waited.")
    change_per_second: float | None = Field(
        description="Records a second by which the lag changes, of the last 15 s; below 0 it shrinks."
    )
    seconds_left: Seconds | None = Field(
        description="Until nothing waits any more, if it goes on like this; null when none does or it grows."
    )


class TopicState(Shape):
    """A topic's lanes together."""

    topic: str
    lanes: Count
    events_per_second: Rate | None
    waiting: Count


class LaneStanding(Shape):
    """One lane: where it stands and who has it. Offsets are null before the lane was begun."""

    topic: str
    partition: Count
    state: LaneState
    next_offset: Count | None
    assembled_offset: Count
    end: Count
    waiting: Count
    waited_seconds: Seconds
    silent_seconds: Seconds | None = Field(description="Since a worker looked at it last.")
    worker: str | None


class MemberState(Shape):
    """A process: its short name, the address it came from, its lanes."""

    name: str
    host: str
    lanes: list[str]


class PublishingState(Shape):
    """The publishers, and how many change notices they have yet to publish (at most)."""

    publishers: list[MemberState] | None
    waiting: Count | None


class LetterTally(Shape):
    """Open dead letters of one reason and topic; `last_at` is when the last one was written, open or not."""

    reason: str
    topic: str
    count: Count
    last_hour: Count
    last_at: Moment


class LetterHead(Shape):
    """A dead letter without its record. `place` is its offset in `scv.dead-letters`."""

    place: Count
    reason: str
    pointer: str
    detail: str
    topic: str
    partition: Count
    offset: Count
    logged_at: Moment
    written_at: Moment


class LettersState(Shape):
    """Dead letters: records in their topic; letters, each once; and what became of them.

    `complete` is false before all were read, `older` true when there are older ones than were counted.
    `last_hour`, `tallies` and `latest` are of open ones; `latest` has the newest first.
    """

    held: Count | None
    counted: Count
    open: Count
    redriven: Count
    discarded: Count
    complete: bool
    older: bool
    last_hour: Count
    tallies: list[LetterTally]
    latest: Annotated[list[LetterHead], Field(max_length=LATEST_MAX)]


class HistoryState(Shape):
    """The last hour as this server saw it: equally long lists, oldest first; null where it could not see."""

    every_seconds: Seconds
    at: list[Moment]
    lag_records: list[Count | None]
    lag_seconds: list[Seconds | None]
    events_per_second: list[Rate | None]
    dead_letters: list[Count | None] = Field(description="How many were open.")


class OpsState(Shape):
    """How the installation is doing, as of the last look (`at`); `known_since` is when this server began."""

    at: Moment | None
    known_since: Moment
    generation: str | None
    overall: OverallState
    store: ServerState
    log: ServerState
    lag: LagState
    events_per_second: Rate | None = Field(description="Folded, on average of the last minute.")
    topics: list[TopicState]
    lanes: list[LaneStanding]
    workers: list[MemberState] | None = Field(
        description="Null where the broker does not tell the members of a group."
    )
    publishing: PublishingState
    dead_letters: LettersState
    history: HistoryState


ANSWERS = (OpsState,)
