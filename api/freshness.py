"""How far the view is behind the log; and reads that wait until a write is in it.

Invariants:
- A read never asks Kafka: lanes say in the store how far they are, workers keep that current.
- Lag is never understated for want of an answer: where nobody has looked at a lane for a while, that time
  counts, and what is not known is null.
- A read with a Sync-Token is answered from a view that has the token's records, the merges they cause
  included, or with `projection_behind`. A token of lanes that the log does not have is refused; how many
  reads wait is bounded.
"""

from __future__ import annotations

import asyncio
import base64
import re
import time
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Literal, NamedTuple, Protocol

import msgspec

from api.problems import Problem, wrong_parameter
from models.catalogue import COMMAND_TOPIC, DOMAIN_TOPICS, link_topic
from models.record import Lane
from stores.serving import ServingReader
from stores.store import Checkpoint, StoreAway

# Twice a second is current enough for people, and costs the store nothing.
LOOK_EVERY_SECONDS = 0.5
# An idle lane is looked at every second by the worker that has it; after this nobody has it.
UNATTENDED_SECONDS = 5.0
# A write is in the view within some hundredths of a second.
WAIT_LOOK_SECONDS = 0.01
WAIT_LOOK_SECONDS_MAX = 0.25
WAIT_SECONDS_MAX = 10.0
# A batch of 500 events may touch every lane of a large installation.
TOKEN_LANES_MAX = 1_000
TOKEN_CHARACTERS_MAX = 20_000
# Eight minutes of a lane that grows at every look; of a longer time every second end is remembered.
ENDS_SEEN_MAX = 1_000

Lanes = Callable[[Sequence[str]], Awaitable[list[Lane]]]


class LogPlaces(Protocol):
    """What a read that waits has to ask of Kafka: `api.services.Services`."""

    async def has_lanes(self, lanes: Collection[Lane]) -> bool:
        """Whether the log has all of them. LogError."""

    async def links_end(self, topic: str) -> int:
        """Where this topic of one lane ends. LogError."""


class Lag(msgspec.Struct, frozen=True):
    """How far the view is behind the log; None where it is not known.

    `live`: nothing waits. `behind`: records wait. `unattended`: no worker has looked at some lane for 5 s.
    `unknown`: the store or the log did not say.
    """

    status: Literal["live", "behind", "unattended", "unknown"]
    lag_records: int | None
    lag_seconds: float | None


UNKNOWN = Lag("unknown", None, None)


class LaneSeen(NamedTuple):
    """A lane as the store had it, and since when (seconds since 1970) a record waits, if one does."""

    checkpoint: Checkpoint
    waits_since: float | None


class Seen(NamedTuple):
    """What a look at all lanes saw; `at` is in seconds since 1970."""

    at: float
    generation: str
    lanes: dict[Lane, LaneSeen]


def topics_of(generation: str) -> tuple[str, ...]:
    """The topics whose lanes make a generation's view."""
    return (*DOMAIN_TOPICS, COMMAND_TOPIC, link_topic(generation))


class SeenEnds:
    """Since when the records of lanes wait, from their ends as they were seen, look by look."""

    def __init__(self) -> None:
        self.seen: dict[Lane, list[tuple[int, float]]] = {}

    def waits_since(self, lane: Lane, end: int, reached: int, now: float) -> float | None:
        """When the oldest end that is not reached yet was seen first; None when nothing waits."""
        seen = self.seen.setdefault(lane, [])
        if end > reached and (not seen or end > seen[-1][0]):
            seen.append((end, now))
        # Since the oldest end that is not reached yet its first record has waited.
        while seen and seen[0][0] <= reached:
            seen.pop(0)
        if len(seen) > ENDS_SEEN_MAX:
            del seen[1:-1:2]
        return seen[0][1] if seen else None


class LagWatch:
    """Looks at all lanes, again and again; `lag` is what it saw last."""

    def __init__(self, store: ServingReader, lanes: Lanes, clock: Callable[[], float] = time.time) -> None:
        self._store, self._lanes, self._clock = store, lanes, clock
        self._ends = SeenEnds()
        self._looked_at = 0.0
        self._lag = UNKNOWN
        self.seen: Seen | None = None
        """The last look that was answered; None before one was, or while there is no generation."""
        self.store_answers: bool | None = None
        """Whether the store answered the last look; None before the first."""
        self.store_answered_at: float | None = None
        """When it last did, in seconds since 1970."""

    @property
    def lag(self) -> Lag:
        """The lag as of the last look; unknown when that was long ago."""
        return self._lag if self._clock() - self._looked_at < UNATTENDED_SECONDS else UNKNOWN

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(LOOK_EVERY_SECONDS)

    async def look(self) -> Lag:
        """Look once."""
        try:
            generation = await self._store.generation()
            self.store_answers, self.store_answered_at = True, self._clock()
            if generation is None:
                self.seen = None
                return self.lag
            lanes = await self._lanes(topics_of(generation))
            found = dict(zip(lanes, await self._store.checkpoints(generation, lanes), strict=True))
            self._lag, self._looked_at = self._reckon(found, generation), self._clock()
        # What is away leaves the last look to age.
        except StoreAway:
            self.store_answers = False
        except (OSError, RuntimeError):
            return self.lag
        return self.lag

    def _reckon(self, found: Mapping[Lane, Checkpoint], generation: str = "") -> Lag:
        now, records, seconds, attended = self._clock(), 0, 0.0, bool(found)
        lanes: dict[Lane, LaneSeen] = {}
        for lane, at in found.items():
            waiting = max(0, at.end_offset - at.assembled_offset)
            records += waiting
            since = self._ends.waits_since(lane, at.end_offset, at.assembled_offset, now)
            silent = now - at.at_ms / 1_000 if at.at_ms else None
            if silent is None or silent > UNATTENDED_SECONDS:
                attended = False
            waited = 0.0 if since is None else now - since
            lanes[lane] = LaneSeen(at, since)
            seconds = max(seconds, waited)
            if silent is not None and silent > UNATTENDED_SECONDS:
                seconds = max(seconds, silent)
        self.seen = Seen(now, generation, lanes)
        status: Literal["live", "behind", "unattended"] = "behind" if records else "live"
        return Lag(status if attended else "unattended", records, round(seconds, 3))


class SyncToken(msgspec.Struct, frozen=True):
    """Up to which offset (not included) lanes must be in the view."""

    lanes: dict[str, int]

    @classmethod
    def of(cls, places: Sequence[tuple[Lane, int]]) -> SyncToken:
        """The token of records at these places."""
        ends: dict[str, int] = {}
        for lane, offset in places:
            ends[str(lane)] = max(ends.get(str(lane), 0), offset + 1)
        return cls(ends)

    def text(self) -> str:
        """As it travels: opaque."""
        return base64.urlsafe_b64encode(msgspec.json.encode(self.lanes)).decode().rstrip("=")

    @classmethod
    def parse(cls, text: str) -> dict[Lane, int]:
        """The lanes of a token that a client gave back. Problem."""
        wrong = _no_token()
        if len(text) > TOKEN_CHARACTERS_MAX or not text.isascii():
            raise wrong
        try:
            packed = base64.urlsafe_b64decode(text.strip() + "=" * (-len(text.strip()) % 4))
            held = msgspec.json.decode(packed, type=dict[str, int])
            lanes = {Lane.parse(name): end for name, end in held.items()}
        except (ValueError, msgspec.DecodeError):
            raise wrong from None
        known = all(lane.topic in (*DOMAIN_TOPICS, COMMAND_TOPIC) and end > 0 for lane, end in lanes.items())
        if not lanes or len(lanes) > TOKEN_LANES_MAX or not known:
            raise wrong
        return lanes


def _no_token() -> Problem:
    return wrong_parameter("Sync-Token", "no token that POST /v1/events has given")


def wait_of(prefer: str | None) -> float:
    """Seconds that `Prefer: wait=2` (RFC 7240) asks for; 0 without it, at most 10."""
    found = re.search(r"(?:^|[,;\s])wait\s*=\s*\"?(\d{1,6})", prefer or "")
    return min(float(found[1]), WAIT_SECONDS_MAX) if found else 0.0


async def wait_for(
    store: ServingReader,
    token: str,
    prefer: str | None,
    *,
    log: LogPlaces,
    slot: Callable[[], AbstractContextManager[None]],
) -> None:
    """Return when the token's records, and the link facts that they made, are in the view. Problem, LogError.

    `slot` is held by a read that must wait; it may refuse with a Problem.
    """
    wanted, seconds = SyncToken.parse(token), wait_of(prefer)
    if not await log.has_lanes(wanted):
        raise _no_token()
    generation = await store.generation()
    if generation is None:
        raise _behind(seconds)
    wait = _Wait(store, generation, seconds, slot)
    await wait.reach(wanted)
    # Their link facts are in the link log by now: they were acknowledged before the lane went on.
    topic = link_topic(generation)
    end = await log.links_end(topic)
    if end:
        await wait.reach({Lane(topic, 0): end})


class _Wait:
    """One read that waits until lanes are in the view, together at most so many seconds."""

    def __init__(
        self,
        store: ServingReader,
        generation: str,
        seconds: float,
        slot: Callable[[], AbstractContextManager[None]],
    ) -> None:
        self._store, self._generation, self._seconds, self._slot = store, generation, seconds, slot
        self._deadline = time.monotonic() + seconds

    async def reach(self, wanted: Mapping[Lane, int]) -> None:
        """Come back when the view has these lanes up to there. Problem."""
        lanes = await self._left(wanted, list(wanted))
        if not lanes:
            return
        if not self._seconds:
            raise _behind(0)
        with self._slot():
            pause_seconds = WAIT_LOOK_SECONDS
            while lanes:
                left_seconds = self._deadline - time.monotonic()
                if left_seconds <= 0:
                    raise _behind(self._seconds)
                await asyncio.sleep(min(pause_seconds, left_seconds))
                lanes = await self._left(wanted, lanes)
                # Who waits for long looks more seldom: many do when workers need the store to catch up.
                pause_seconds = min(1.5 * pause_seconds, WAIT_LOOK_SECONDS_MAX)

    async def _left(self, wanted: Mapping[Lane, int], lanes: Sequence[Lane]) -> list[Lane]:
        found = await self._store.checkpoints(self._generation, lanes)
        return [lane for lane, at in zip(lanes, found, strict=True) if at.assembled_offset < wanted[lane]]


def _behind(seconds: float) -> Problem:
    waited = f"in {seconds:g} s" if seconds else "yet; `Prefer: wait=2` waits for it"
    return Problem(
        "projection_behind", f"the view does not have the token's records {waited}", retry_seconds=1
    )
