"""Threads of the log, and answers that many share: what is promised of them."""

from __future__ import annotations

import asyncio
import threading

import pytest

from api.asking import Kept, LogThreads, Shared
from eventlog.errors import LogUnavailable


def test_a_question_too_many_is_refused_at_once_and_one_that_takes_too_long_then() -> None:
    async def scene() -> None:
        threads, answered = LogThreads("t", 1, 2, seconds=600), threading.Event()
        first, second = (asyncio.create_task(threads.ask(answered.wait)) for _ in range(2))
        await asyncio.sleep(0)
        with pytest.raises(LogUnavailable, match="2 questions wait"):
            await threads.ask(lambda: True)
        answered.set()
        assert await first and await second
        assert await threads.ask(lambda: 7) == 7, "there is room again"
        with pytest.raises(ZeroDivisionError):
            await threads.ask(lambda: 1 // 0)
        threads._seconds = 0.01
        answered.clear()
        with pytest.raises(LogUnavailable, match="not answered in"):
            await threads.ask(answered.wait)
        # Nobody waits any more, but the thread is busy still.
        assert len(threads._asked) == 1
        answered.set()
        threads.close()

    asyncio.run(scene())


class Well:
    """Answers with how often it was asked; each answer waits until it is let go."""

    def __init__(self) -> None:
        self.asked = 0
        self.let_go = asyncio.Event()

    async def ask(self) -> int:
        self.asked += 1
        number = self.asked
        await self.let_go.wait()
        if number == 3:
            raise LogUnavailable("away")
        return number


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


def test_who_comes_while_a_question_is_asked_shares_the_next_answer() -> None:
    async def scene() -> None:
        well = Well()
        shared = Shared(well.ask)
        early = [asyncio.create_task(shared.answer()) for _ in range(3)]
        await settle()
        late = [asyncio.create_task(shared.answer()) for _ in range(3)]
        await settle()
        assert well.asked == 1
        late[0].cancel()
        well.let_go.set()
        assert await asyncio.gather(*early) == [1, 1, 1]
        assert await asyncio.gather(*late[1:]) == [2, 2]
        with pytest.raises(LogUnavailable):
            await shared.answer()
        assert await shared.answer() == 4, "a failure is nobody's answer but of those who shared it"

    asyncio.run(scene())


def test_an_answer_is_kept_for_its_time_and_asked_once_by_all_who_wait() -> None:
    async def scene() -> None:
        now, well = [0.0], Well()
        kept = Kept(well.ask, 1.0, lambda: now[0])
        waiting = [asyncio.create_task(kept.answer()) for _ in range(3)]
        await settle()
        # It takes long: still asked once.
        now[0] = 5.0
        waiting.append(asyncio.create_task(kept.answer()))
        well.let_go.set()
        assert await asyncio.gather(*waiting) == [1, 1, 1, 1]
        now[0] = 0.9
        assert await kept.answer() == 1
        now[0] = 1.0
        assert await kept.answer() == 2

    asyncio.run(scene())
