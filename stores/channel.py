"""One connection to Redis that many questions share, for one event loop.

Invariants:
- Answers come in the order of the questions. Who has stopped waiting takes nobody else's.
- Questions of one round of the event loop leave in one write.
- All who wait are told when the connection ends: redis.ConnectionError. It is ended when the first of them
  has waited for `ANSWER_SECONDS`: redis.TimeoutError.

The library connects: addresses, passwords, TLS and Unix sockets are its own. From then on its streams would
take more of a look-up's time than Redis does, so what arrives goes straight to the parser in C.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from typing import Any

import hiredis
import redis
from redis.asyncio.connection import AbstractConnection

# A reader that waited longer has hung up.
ANSWER_SECONDS = 2.0
LOOK_EVERY_SECONDS = 0.05

_MORE = object()


class _Question:
    __slots__ = ("answers", "at", "count", "future")

    def __init__(self, count: int, future: asyncio.Future[list[Any]]) -> None:
        self.count, self.future = count, future
        self.answers: list[Any] = []
        # When it was sent; until then nobody owes an answer.
        self.at = math.inf


class Channel(asyncio.Protocol):
    """A connection that the library has made, from now on ours."""

    def __init__(self, connection: AbstractConnection) -> None:
        self._connection = connection
        self._loop = asyncio.get_running_loop()
        self._parser = hiredis.Reader(notEnoughData=_MORE)
        self._waiting: deque[_Question] = deque()
        self._held: list[tuple[_Question, bytes]] = []
        self._timer: asyncio.TimerHandle | None = None
        self.lost = False
        # The library has no public name for its writer; the transport is asyncio's.
        writer: asyncio.StreamWriter = connection._writer  # type: ignore[assignment]
        self._transport: Any = writer.transport
        self._transport.set_protocol(self)

    @classmethod
    async def open(cls, connection: AbstractConnection) -> Channel:
        """Connect, in `ANSWER_SECONDS` at most. redis.RedisError, OSError, TimeoutError."""
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                await connection.connect()
            return cls(connection)
        except BaseException:
            await connection.disconnect(nowait=True)
            raise

    def ask(self, packed: bytes, count: int) -> asyncio.Future[list[Any]]:
        """The answers to `count` commands, errors among them. ConnectionError and TimeoutError of redis."""
        future: asyncio.Future[list[Any]] = self._loop.create_future()
        if self.lost:
            future.set_exception(redis.ConnectionError("the connection has ended"))
            return future
        question = _Question(count, future)
        self._waiting.append(question)
        if self._timer is None:
            self._timer = self._loop.call_later(LOOK_EVERY_SECONDS, self._look)
        if not self._held:
            self._loop.call_soon(self._send)
        self._held.append((question, packed))
        return future

    def _send(self) -> None:
        held, self._held = self._held, []
        if held and not self.lost:
            now = self._loop.time()
            for question, _ in held:
                question.at = now
            self._transport.write(b"".join([packed for _, packed in held]))

    def data_received(self, data: bytes) -> None:
        """Some answers, or pieces of them."""
        self._parser.feed(data)
        try:
            while (answer := self._parser.gets()) is not _MORE:
                if type(answer) is hiredis.PushNotification:
                    continue
                question = self._waiting[0]
                question.answers.append(answer)
                if len(question.answers) == question.count:
                    self._waiting.popleft()
                    if not question.future.done():
                        question.future.set_result(question.answers)
        except (hiredis.ProtocolError, IndexError):
            self._end(redis.ConnectionError("what came was no answer"))

    def _look(self) -> None:
        """One timer for all: who waits longest was asked first."""
        self._timer = None
        if not self._waiting:
            return
        if self._loop.time() - self._waiting[0].at < ANSWER_SECONDS:
            self._timer = self._loop.call_later(LOOK_EVERY_SECONDS, self._look)
        else:
            self._end(redis.TimeoutError("no answer in time"))

    def connection_lost(self, error: Exception | None) -> None:
        """It has ended."""
        self._end(redis.ConnectionError(f"the connection has ended: {error or 'by the other side'}"))

    def _end(self, why: redis.RedisError) -> None:
        if self.lost:
            return
        self.lost = True
        self._transport.abort()
        waiting, self._waiting = self._waiting, deque()
        for question in waiting:
            if not question.future.done():
                question.future.set_exception(why)

    async def close(self) -> None:
        """End it, and let go of what the library keeps of it."""
        self._end(redis.ConnectionError("the connection was closed"))
        await self._connection.disconnect(nowait=True)
