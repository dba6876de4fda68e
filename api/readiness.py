"""Whether store and log answer, asked at most once a second however many probes there are.

Invariants:
- What is away is named; no address or secret leaves.
"""

from __future__ import annotations

import asyncio

from api.asking import Kept, LogThreads
from eventlog.acknowledged import AcknowledgedProducer
from eventlog.errors import LogError
from stores.serving import ServingReader
from stores.store import StoreAway

# Probes are open to all. A load balancer that learns of it a second later has lost nothing.
KEPT_SECONDS = 1.0


class Readiness:
    """Asks both, and keeps what they said for a moment."""

    def __init__(self, store: ServingReader, log: AcknowledgedProducer, threads: LogThreads) -> None:
        self._store, self._log, self._threads = store, log, threads
        self._checks = Kept(self._look, KEPT_SECONDS)

    async def checks(self) -> dict[str, bool]:
        """Of `store` and `log`, whether it answers."""
        return dict(await self._checks.answer())

    async def _look(self) -> dict[str, bool]:
        store, log = await asyncio.gather(self._store_answers(), self._log_answers())
        return {"store": store, "log": log}

    async def _store_answers(self) -> bool:
        """Whether it has a generation: before there is one, nobody can be found."""
        try:
            return await self._store.generation() is not None
        except StoreAway:
            return False

    async def _log_answers(self) -> bool:
        try:
            return await self._threads.ask(self._log.reachable) is None
        except LogError:
            return False
