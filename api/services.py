"""What the endpoints stand on, in one place: opened when the server starts, closed when it ends.

Invariants:
- Nothing connects before `open`; a server that is away then does not keep the others from serving.
- Of the audit trail and the log nothing is lost in silence when the server ends.
- Questions to the log have threads of their own: a broker that is away holds up no look-up.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple

from api.asking import LogThreads, Shared
from api.audit import AuditTrail
from api.changes import ChangeFeed
from api.deadlines import Deadlines
from api.freshness import LagWatch
from api.generations import GenerationWatch
from api.keys import KeyRing
from api.letter_counts import COUNTED_MAX, LetterCounts
from api.limits import RequestLimit, stream_limit, waiting_limit
from api.merges import MergeHistory
from api.metrics import Metrics
from api.operations import Operations
from api.readiness import Readiness
from api.replays import Origin, Replays
from eventlog.acknowledged import AcknowledgedProducer
from eventlog.dead_letters import LetterIndex
from eventlog.ends import lane_ends
from eventlog.observing import LogObserver
from eventlog.producing import LogProducer
from models.catalogue import COMMAND_TOPIC, DOMAIN_TOPICS
from models.record import Lane
from models.rules import IdentityRules
from stores.reading import ProfileReader
from stores.serving import ServingReader

# As long as a client waits anyway.
AUDIT_ACK_SECONDS = 5.0
# For what blocks on the store: look-ups that take several questions.
THREADS_MAX = 32
# For what is asked of Kafka: where lanes end, which there are. Most of it is shared or known already.
LOG_THREADS_MAX = 4
LOG_WAITING_MAX = 64
LOG_SECONDS = 6.0
# The history of merges is read by one thread; a first question of a large one takes some seconds.
MERGES_WAITING_MAX = 20
MERGES_SECONDS = 15.0
# So is the index of dead letters. What operators decide (letters, promotions) is carried out by another one.
LETTERS_WAITING_MAX = 20
LETTERS_SECONDS = 15.0
DECISION_SECONDS = 30.0

_log = logging.getLogger("scv.http")


class Plan(NamedTuple):
    """What a server is told: where log, store and keys are, the rules, requests a second and key.

    `trust`, `config` and `shape` are the settings' of that name: what replays need to fold as workers do.
    `replays_ready`: their process (a second, some 60 MB) starts with the server, not when first needed.
    """

    kafka: str
    redis: str
    keys: Path
    rules: IdentityRules
    requests_per_second: float
    trust: tuple[str, ...]
    config: str
    shape: str
    replays_ready: bool = False


class Services:
    """Everything that an endpoint may use."""

    def __init__(self, plan: Plan) -> None:
        self.plan, self.rules = plan, plan.rules
        self.keys = KeyRing(plan.keys)
        self.requests = RequestLimit(plan.requests_per_second)
        self.streams = stream_limit()
        self.waiting = waiting_limit()
        self.deadlines = Deadlines()

    async def open(self) -> None:
        """Start what runs in the background."""
        plan = self.plan
        self._threads = ThreadPoolExecutor(THREADS_MAX, "scv-http")
        asyncio.get_running_loop().set_default_executor(self._threads)
        self.log_threads = LogThreads("scv-log", LOG_THREADS_MAX, LOG_WAITING_MAX, LOG_SECONDS)
        self.merges_thread = LogThreads("scv-merges", 1, MERGES_WAITING_MAX, MERGES_SECONDS)
        self.letters_thread = LogThreads("scv-letters", 1, LETTERS_WAITING_MAX, LETTERS_SECONDS)
        self.decisions_thread = LogThreads("scv-decisions", 1, LETTERS_WAITING_MAX, DECISION_SECONDS)
        self.store = ServingReader(plan.redis)
        self.reader = ProfileReader(plan.redis)
        self.log = AcknowledgedProducer(plan.kafka)
        self.audit = AuditTrail(
            lambda: LogProducer(plan.kafka, client_id="scv-audit", ack_seconds=AUDIT_ACK_SECONDS)
        )
        self.lags = LagWatch(self.store, self.lanes)
        self.readiness = Readiness(self.store, self.log, self.log_threads)
        self._known_again = Shared(self._ask_lanes)
        self._links_end: dict[str, Shared[int]] = {}
        self.changes = ChangeFeed(plan.kafka)
        self.merges = MergeHistory(plan.kafka)
        self.letters = LetterIndex(plan.kafka, COUNTED_MAX)
        self.letters_read = Shared(lambda: self.letters_thread.ask(self.letters.catch_up))
        self.letter_counts = LetterCounts(self.letters)
        rules = plan.rules.model_dump()
        self.replays = Replays(Origin(plan.kafka, plan.redis, rules, plan.trust, plan.config, plan.shape))
        if plan.replays_ready:
            self.replays.begin()
        self.metrics = Metrics(self)
        self.operations = Operations(self.lags, self.log.lanes, LogObserver(plan.kafka), self.letter_counts)
        self.generations = GenerationWatch(plan.kafka, plan.redis, self.operations.observed)
        watching = (self.lags, self.letter_counts, self.operations, self.generations)
        self._watching = [asyncio.create_task(one.run()) for one in watching]

    async def close(self) -> None:
        """End it all; what was accepted is in the log, or told."""
        for watching in self._watching:
            watching.cancel()
        # One that ended by a fault of its own keeps nothing else from ending well.
        await asyncio.gather(*self._watching, return_exceptions=True)
        # A thread that nobody else can keep busy.
        with ThreadPoolExecutor(1, "scv-closing") as closing:
            loop = asyncio.get_running_loop()
            for end in (
                self.replays.close,
                self.changes.close,
                self.operations.close,
                self.letter_counts.close,
                self.generations.close,
                self.audit.close,
                self.log.close,
                self.reader.close,
            ):
                try:
                    await loop.run_in_executor(closing, end)
                except Exception as failed:  # noqa: BLE001 - the others are to end well all the same
                    _log.error("%s did not end well: %s", end.__qualname__, type(failed).__name__)
        await self.store.close()
        self.log_threads.close()
        for threads in (self.merges_thread, self.letters_thread, self.decisions_thread):
            threads.close()
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def lanes(self, topics: Collection[str]) -> list[Lane]:
        """The lanes of these topics. LogUnavailable."""
        return await self.log_threads.ask(partial(self.log.lanes, topics))

    async def has_lanes(self, lanes: Collection[Lane]) -> bool:
        """Whether the log has all of these; one that it did not have is asked for anew. LogUnavailable."""
        if not all(map(self.log.knows, lanes)):
            await self._known_again.answer()
        return all(map(self.log.knows, lanes))

    async def _ask_lanes(self) -> list[Lane]:
        topics = (*DOMAIN_TOPICS, COMMAND_TOPIC)
        return await self.log_threads.ask(partial(self.log.lanes, topics, anew=True))

    async def links_end(self, topic: str) -> int:
        """Where the link log ends now, asked of Kafka for all who ask at once. LogError."""
        shared = self._links_end.get(topic)
        if shared is None:
            # Another generation's: nobody asks for the one before any more.
            shared = Shared(partial(self._ask_end, topic))
            self._links_end = {topic: shared}
        return await shared.answer()

    async def _ask_end(self, topic: str) -> int:
        ends = await self.log_threads.ask(partial(lane_ends, self.plan.kafka, [topic]))
        return ends[Lane(topic, 0)].end
