"""How the installation is doing: looked at again and again by one task, told to whoever asks.

Invariants:
- A question asks nobody: neither store nor Kafka is asked more often because more people look.
- Store and Kafka are asked apart: one that is away, or slow, takes nothing from what is known of the other.
- What was known stays known, with the time of it; what cannot be known now is null.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

from api.freshness import UNATTENDED_SECONDS, LagWatch, SeenEnds, topics_of
from api.history import EVERY_SECONDS, History, Sample
from api.letter_counts import Counted, LetterCounts
from api.letter_masking import masked_detail, masked_pointer
from api.ops_bodies import (
    HistoryState,
    LagState,
    LaneStanding,
    LaneState,
    LetterHead,
    LettersState,
    LetterTally,
    MemberState,
    OpsState,
    PublishingState,
    ServerState,
    TopicState,
)
from api.overall import NEAR_RECORDS, NEAR_SECONDS, Facts, overall
from eventlog.dead_letters import Entry
from eventlog.errors import LogError
from eventlog.observing import Group, LogObserver, Observed
from models.catalogue import CHANGES_TOPIC, COMMAND_TOPIC, DOMAIN_TOPICS
from models.record import Lane
from stores.store import Checkpoint

Lanes = Callable[[Sequence[str]], list[Lane]]

# A view that was seen later than this says what was, not what is.
FRESH_SECONDS = UNATTENDED_SECONDS
# A long round keeps a worker from its idle lanes for some seconds. After this a dead one has lost them.
SILENT_SECONDS = 15.0
EVENT_TOPICS = frozenset((*DOMAIN_TOPICS, COMMAND_TOPIC))


class Operations:
    """Looks while it `run`s; `state` tells what is known. `lanes` gives all lanes of topics, blocking."""

    def __init__(
        self,
        lags: LagWatch,
        lanes: Lanes,
        observer: LogObserver,
        letters: LetterCounts,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._lags, self._lanes, self._observer, self._clock = lags, lanes, observer, clock
        self.letters = letters
        self._history, self._ends = History(), SeenEnds()
        self._waits_since: dict[Lane, float | None] = {}
        # Of its own: a broker that is away takes no thread from look-ups.
        self._thread = ThreadPoolExecutor(1, "scv-operations")
        self._known_since = clock()
        self._looked_at: float | None = None
        self._observed: Observed | None = None
        self._log_answers: bool | None = None
        self._log_answered_at: float | None = None

    def observed(self) -> Observed | None:
        """What was seen of the log last."""
        return self._observed

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            began = time.monotonic()
            await self.look()
            await asyncio.sleep(max(0.0, EVERY_SECONDS - (time.monotonic() - began)))

    def close(self) -> None:
        """Wait for the look that is under way. `run` was cancelled before."""
        self._thread.shutdown()

    async def look(self) -> None:
        """Look once. The store was looked at by the lag's own watch."""
        seen = self._lags.seen
        try:
            asking = self._ask_log, seen.generation if seen else None
            self._observed = await asyncio.get_running_loop().run_in_executor(self._thread, *asking)
            self._log_answers, self._log_answered_at = True, self._clock()
        except LogError:
            self._log_answers = False
        now = self._looked_at = self._clock()
        seen = self._lags.seen
        if seen is not None:
            offsets = {lane: one.checkpoint.next_offset or 0 for lane, one in seen.lanes.items()}
            self._history.stand(seen.at, offsets)
            self._waits_since = {
                lane: self._ends.waits_since(
                    lane, self._end(lane, one.checkpoint), one.checkpoint.assembled_offset, now
                )
                for lane, one in seen.lanes.items()
            }
        lanes = self._standings(now)
        lag = self._lag(lanes, now)
        letters = self.letters.counted()
        counted = None if letters.held is None else letters.open
        rate = self._history.rate_now(_of_events, now) if self._fresh(now) else None
        self._history.add(
            Sample(now, lag.records, lag.seconds, None if rate is None else round(rate, 1), counted)
        )

    def state(self) -> OpsState:
        """What is known now. It is shown to whoever may see operations: faults of dead letters are masked."""
        now = self._clock()
        lanes, seen, observed = self._standings(now), self._lags.seen, self._observed
        letters, publishing = _letters(self.letters.counted()), _publishing(observed)
        facts = Facts(
            now, self._known_since, self._looked_at, self._lags.store_answers, self._lags.store_answered_at,
            self._log_answers, self._log_answered_at, seen.generation if seen else None,
            _sharing(observed), lanes, self._lag(lanes, now), self._history.rate(_of_events, now), letters,
            publishing,
        )  # fmt: skip
        return OpsState(
            at=None if self._looked_at is None else moment(self._looked_at),
            known_since=moment(self._known_since),
            generation=facts.generation,
            overall=overall(facts),
            store=ServerState(
                answers=facts.store_answers, answered_at=_moment_or_none(facts.store_answered_at)
            ),
            log=ServerState(answers=facts.log_answers, answered_at=_moment_or_none(facts.log_answered_at)),
            lag=facts.lag,
            events_per_second=_rounded(facts.events_per_second),
            topics=self._topics(lanes, now),
            lanes=lanes,
            workers=None if observed is None else _members(observed.workers),
            publishing=publishing,
            dead_letters=letters,
            history=self._told_history(),
        )

    def _ask_log(self, generation: str | None) -> Observed:
        if generation is None:
            # No lanes to look at; but whether it answers.
            return self._observer.look("none", (), ())
        return self._observer.look(
            generation, self._lanes(topics_of(generation)), self._lanes((CHANGES_TOPIC,))
        )

    def _fresh(self, now: float) -> bool:
        """Whether the store was seen a moment ago."""
        seen = self._lags.seen
        return seen is not None and now - seen.at < FRESH_SECONDS

    def _standings(self, now: float) -> list[LaneStanding]:
        seen, observed = self._lags.seen, self._observed
        if seen is None:
            return []
        fresh, owners, sharing = self._fresh(now), _owners(observed, seen.generation), _sharing(observed)
        found = []
        for lane, one in seen.lanes.items():
            at, end = one.checkpoint, self._end(lane, one.checkpoint)
            # Both have seen ends of it: the store those that a worker saw, Kafka all, but less often.
            since = [known for known in (one.waits_since, self._waits_since.get(lane)) if known is not None]
            waited = now - min(since) if since and end > at.assembled_offset else 0.0
            silent = max(0.0, now - at.at_ms / 1_000) if at.at_ms else None
            owned = None if owners is None else lane in owners
            behind = waited > NEAR_SECONDS or end - at.assembled_offset > NEAR_RECORDS
            found.append(
                LaneStanding(
                    topic=lane.topic,
                    partition=lane.partition,
                    state=_lane_state(behind, silent, owned, sharing) if fresh else "unknown",
                    next_offset=at.next_offset,
                    assembled_offset=at.assembled_offset,
                    end=end,
                    waiting=max(0, end - at.assembled_offset),
                    waited_seconds=round(max(0.0, waited), 1),
                    silent_seconds=None if silent is None else round(silent, 1),
                    worker=None if owners is None else owners.get(lane),
                )
            )
        return found

    def _end(self, lane: Lane, at: Checkpoint) -> int:
        """The later one of what the store and what Kafka know."""
        return max(at.end_offset, self._observed.ends.get(lane, 0) if self._observed else 0)

    def _lag(self, lanes: Sequence[LaneStanding], now: float) -> LagState:
        if not self._fresh(now):
            return LagState(
                records=None,
                events=None,
                link_facts=None,
                seconds=None,
                change_per_second=None,
                seconds_left=None,
            )
        records = sum(one.waiting for one in lanes)
        events = sum(one.waiting for one in lanes if one.topic in EVENT_TOPICS)
        seconds = max((one.waited_seconds for one in lanes), default=0.0)
        change = self._history.change_per_second(now)
        catching_up = change is not None and change < 0 and seconds > NEAR_SECONDS
        return LagState(
            records=records,
            events=events,
            link_facts=records - events,
            seconds=round(seconds, 1),
            change_per_second=None if change is None else round(change, 1),
            seconds_left=round(records / -change, 1) if catching_up and change else None,
        )

    def _topics(self, lanes: Sequence[LaneStanding], now: float) -> list[TopicState]:
        found = []
        for topic in dict.fromkeys(one.topic for one in lanes):
            rate = self._history.rate(lambda lane, topic=topic: lane.topic == topic, now)  # type: ignore[misc]
            held = [one for one in lanes if one.topic == topic]
            waiting = sum(one.waiting for one in held)
            found.append(
                TopicState(topic=topic, lanes=len(held), events_per_second=_rounded(rate), waiting=waiting)
            )
        return found

    def _told_history(self) -> HistoryState:
        samples = self._history.samples
        return HistoryState(
            every_seconds=EVERY_SECONDS,
            at=[moment(one.at) for one in samples],
            lag_records=[one.lag_records for one in samples],
            lag_seconds=[one.lag_seconds for one in samples],
            events_per_second=[one.events_per_second for one in samples],
            dead_letters=[one.dead_letters for one in samples],
        )


def moment(at: float) -> str:
    """Seconds since 1970 as RFC 3339, to the millisecond."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _moment_or_none(at: float | None) -> str | None:
    return None if at is None else moment(at)


def _rounded(rate: float | None) -> float | None:
    return None if rate is None else round(rate, 1)


def _of_events(lane: Lane) -> bool:
    return lane.topic in EVENT_TOPICS


def _owners(observed: Observed | None, generation: str) -> dict[Lane, str] | None:
    """Who has each lane; None where the broker does not tell, or was not asked of this generation."""
    if observed is None or observed.generation != generation or observed.workers.members is None:
        return None
    return {lane: one.name for one in observed.workers.members for lane in one.lanes}


def _sharing(observed: Observed | None) -> bool:
    return observed is not None and observed.workers.sharing


def _lane_state(behind: bool, silent: float | None, owned: bool | None, sharing: bool) -> LaneState:
    """How a lane is. `owned` is None where the broker does not tell who has lanes."""
    if owned is False:
        return "moving" if sharing else "no_worker"
    if silent is None:
        return "not_begun"
    if silent > SILENT_SECONDS:
        return "silent"
    return "behind" if behind else "up_to_date"


def _members(group: Group) -> list[MemberState] | None:
    if group.members is None:
        return None
    return [
        MemberState(name=one.name, host=one.host, lanes=[str(lane) for lane in one.lanes])
        for one in group.members
    ]


def _publishing(observed: Observed | None) -> PublishingState:
    if observed is None:
        return PublishingState(publishers=None, waiting=None)
    return PublishingState(publishers=_members(observed.publishers), waiting=observed.unpublished)


def _letters(counted: Counted) -> LettersState:
    tallies = [
        LetterTally(
            reason=one.reason,
            topic=one.topic,
            count=one.count,
            last_hour=one.last_hour,
            last_at=moment(one.last_ms / 1_000),
        )
        for one in counted.tallies
    ]
    return LettersState(
        held=counted.held,
        counted=counted.counted,
        open=counted.open,
        redriven=counted.redriven,
        discarded=counted.discarded,
        complete=counted.complete,
        older=counted.older,
        last_hour=sum(one.last_hour for one in tallies),
        tallies=tallies,
        latest=[head_of(one) for one in counted.latest],
    )


def head_of(entry: Entry) -> LetterHead:
    """A letter in a list, masked for everybody."""
    (topic, partition), offset = entry.position
    return LetterHead(
        place=entry.place,
        reason=entry.reason,
        pointer=masked_pointer(entry.pointer),
        detail=masked_detail(entry.reason, entry.detail),
        topic=topic,
        partition=partition,
        offset=offset,
        logged_at=moment(max(0, entry.at_ms) / 1_000),
        written_at=moment(max(0, entry.written_ms) / 1_000),
    )
