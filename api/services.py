"""What the endpoints stand on, in one place: opened when the server starts, closed when it ends.

Invariants:
- Nothing connects before `open`; a server that is away then does not keep the others from serving.
- Of the audit trail and the log nothing is lost in silence when the server ends.
"""

from __future__ import annotations

import asyncio
import contextlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from api.audit import AuditTrail
from api.changes import ChangeFeed
from api.dead_letters import DeadLetters
from api.freshness import LagWatch
from api.keys import KeyRing
from api.limits import RequestLimit, StreamLimit
from api.merges import MergeHistory
from api.metrics import Metrics
from api.operations import Operations
from eventlog.acknowledged import AcknowledgedProducer
from eventlog.admin import lane_ends
from eventlog.observing import LogObserver
from eventlog.producing import LogProducer
from models.record import Lane
from models.rules import IdentityRules
from stores.reading import ProfileReader
from stores.serving import ServingReader

# As long as a client waits anyway.
AUDIT_ACK_SECONDS = 5.0
# For what blocks: look-ups that take several questions, and the few things that are asked of Kafka.
THREADS_MAX = 32


class Plan(NamedTuple):
    """What a server is told: where log, store and keys are, the rules, requests a second and key."""

    kafka: str
    redis: str
    keys: Path
    rules: IdentityRules
    requests_per_second: float


class Services:
    """Everything that an endpoint may use."""

    def __init__(self, plan: Plan) -> None:
        self.plan, self.rules = plan, plan.rules
        self.keys = KeyRing(plan.keys)
        self.requests = RequestLimit(plan.requests_per_second)
        self.streams = StreamLimit()

    async def open(self) -> None:
        """Start what runs in the background."""
        plan = self.plan
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(THREADS_MAX, "scv-http"))
        self.store = ServingReader(plan.redis)
        self.reader = ProfileReader(plan.redis)
        self.log = AcknowledgedProducer(plan.kafka)
        self.audit = AuditTrail(
            lambda: LogProducer(plan.kafka, client_id="scv-audit", ack_seconds=AUDIT_ACK_SECONDS)
        )
        self.lags = LagWatch(self.store, self.log.lanes)
        self.changes = ChangeFeed(plan.kafka)
        self.merges = MergeHistory(plan.kafka)
        self.metrics = Metrics(self)
        self.dead_letters = DeadLetters(plan.kafka)
        self.operations = Operations(self.lags, self.log.lanes, LogObserver(plan.kafka), self.dead_letters)
        self._watching = [asyncio.create_task(one.run()) for one in (self.lags, self.operations)]

    async def close(self) -> None:
        """End it all; what was accepted is in the log, or told."""
        for watching in self._watching:
            watching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watching
        for end in (
            self.changes.close,
            self.operations.close,
            self.dead_letters.close,
            self.audit.close,
            self.log.close,
            self.reader.close,
        ):
            await asyncio.to_thread(end)
        await self.store.close()

    def links_end(self, topic: str) -> int:
        """Where the link log ends now, asked of Kafka. LogError."""
        return lane_ends(self.plan.kafka, [topic])[Lane(topic, 0)].end
