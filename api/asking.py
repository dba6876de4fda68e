"""Questions that block, in threads that a server counts; and answers that many share.

Invariants:
- What waits for Kafka holds up nobody who waits for the store: each has threads of its own.
- A question to the log is answered within a time, or refused; how many wait is bounded.
- A `Shared` answer was asked for after everybody who gets it had begun to wait; a `Kept` one may be older.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Generic, TypeVar

from eventlog.errors import LogUnavailable

Found = TypeVar("Found")


class Unanswered(LogUnavailable):
    """Nobody knows what became of the question: it may have been carried out."""


class LogThreads:
    """At most `threads` questions to the log at once; of `most`, the others wait. One more is refused."""

    def __init__(self, name: str, threads: int, most: int, seconds: float) -> None:
        self._pool = ThreadPoolExecutor(threads, name)
        self._most, self._seconds = most, seconds
        self._asked: set[Future[Any]] = set()

    async def ask(self, question: Callable[[], Found]) -> Found:
        """What the question gives. LogUnavailable when it is refused, Unanswered when it takes too long."""
        if len(self._asked) >= self._most:
            raise LogUnavailable(f"{len(self._asked)} questions wait for the log already")
        future = self._pool.submit(question)
        # Counted until it ends: a thread is busy with it even when nobody waits any more.
        self._asked.add(future)
        future.add_done_callback(self._asked.discard)
        try:
            async with asyncio.timeout(self._seconds):
                return await asyncio.wrap_future(future)
        except TimeoutError:
            raise Unanswered(f"the log has not answered in {self._seconds:g} s") from None

    def close(self) -> None:
        """Take no more; what runs ends by itself, in the time that its client takes at most."""
        self._pool.shutdown(wait=False, cancel_futures=True)


class Shared(Generic[Found]):
    """A question that is asked once at a time: who comes while it is asked shares the next answer."""

    def __init__(self, ask: Callable[[], Awaitable[Found]]) -> None:
        self._ask = ask
        self._running: asyncio.Task[Found] | None = None
        self._next: asyncio.Task[Found] | None = None

    async def answer(self) -> Found:
        """What is so after this call began; or what the question raises."""
        if self._next is None:
            self._next = _told(asyncio.create_task(self._after(self._running)))
        # One who goes away takes the answer from nobody.
        return await asyncio.shield(self._next)

    async def _after(self, running: asyncio.Task[Found] | None) -> Found:
        if running is not None:
            await asyncio.wait({running})
            # Else, one after another failing, each would keep the one before with all that it had raised.
            running = None
        self._running, self._next = self._next, None
        return await self._ask()


class Kept(Generic[Found]):
    """A question that is asked at most once in `seconds`: until then, all get the last answer."""

    def __init__(
        self,
        ask: Callable[[], Awaitable[Found]],
        seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ask, self._seconds, self._clock = ask, seconds, clock
        self._asked: asyncio.Task[Found] | None = None
        self._at = 0.0

    async def answer(self) -> Found:
        """What was so at most `seconds` ago; or what the question raises."""
        if self._asked is None or (self._asked.done() and self._clock() - self._at >= self._seconds):
            self._asked = _told(asyncio.create_task(self._timed()))
        return await asyncio.shield(self._asked)

    async def _timed(self) -> Found:
        self._at = self._clock()
        return await self._ask()


def _told(task: asyncio.Task[Found]) -> asyncio.Task[Found]:
    """The task, whose failure is looked at even when all who waited are gone."""
    task.add_done_callback(lambda done: done.cancelled() or done.exception())
    return task
