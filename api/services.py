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
from api.freshness import LagWatch
from api.keys import KeyRing
from api.limits import RequestLimit, StreamLimit
from api.merges import MergeHistory
from api.metrics import Metrics
from api.replays import Origin, Replays
from eventlog.acknowledged import AcknowledgedProducer
from eventlog.admin import lane_ends
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
    """What a server is told: where log, store and keys are, the rules, requests a second and key.

    `trust`, `config` and `shape` are the settings' of that name: what replays need to fold as workers do.
    """

    kafka: str
    redis: str
    keys: Path
    rules: IdentityRules
    requests_per_second: float
    trust: tuple[str, ...]
    config: str
    shape: str


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
        rules = plan.rules.model_dump()
        self.replays = Replays(Origin(plan.kafka, plan.redis, rules, plan.trust, plan.config, plan.shape))
        self.metrics = Metrics(self)
        self._watching = asyncio.create_task(self.lags.run())

    async def close(self) -> None:
        """End it all; what was accepted is in the log, or told."""
        self._watching.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._watching
        for end in (
            self.replays.close,
            self.changes.close,
            self.audit.close,
            self.log.close,
            self.reader.close,
        ):
            await asyncio.to_thread(end)
        await self.store.close()

    def links_end(self, topic: str) -> int:
        """Where the link log ends now, asked of Kafka. LogError."""
        return lane_ends(self.plan.kafka, [topic])[Lane(topic, 0)].end
