"""Bounds in time with one timer: what is late ends, what is not is left alone, and others may cancel too."""

from __future__ import annotations

import asyncio

import pytest

from api import deadlines
from api.deadlines import Deadlines


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deadlines, "LOOK_EVERY_SECONDS", 0.01)


async def forever() -> None:
    await asyncio.Event().wait()


def test_what_is_late_ends_with_a_timeout_and_what_is_not_goes_on() -> None:
    async def scene() -> None:
        bounds = Deadlines()

        async def one(seconds: float) -> str:
            try:
                with bounds.within(seconds):
                    await forever()
            except TimeoutError:
                # It may wait again: nothing of the cancelling is left.
                await asyncio.sleep(0.02)
                return "late"
            return "never"

        patient = asyncio.create_task(one(600.0))
        assert await asyncio.gather(*(one(0.01) for _ in range(5))) == ["late"] * 5
        assert not patient.done()
        patient.cancel()
        with pytest.raises(asyncio.CancelledError):
            await patient
        with bounds.within(600.0):
            await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert not bounds._open
        bounds._look()
        assert bounds._timer is None, "nothing waits"

    asyncio.run(scene())


def test_who_is_cancelled_by_somebody_else_is_cancelled_and_failures_are_themselves() -> None:
    async def scene() -> None:
        bounds = Deadlines()

        async def one(seconds: float) -> None:
            with bounds.within(seconds):
                await forever()

        other = asyncio.create_task(one(600.0))
        await asyncio.sleep(0)
        other.cancel()
        with pytest.raises(asyncio.CancelledError):
            await other
        # Both at once: whoever cancelled it is obeyed.
        both = asyncio.create_task(one(0.0))
        await asyncio.sleep(0)
        bounds._look()
        both.cancel()
        with pytest.raises(asyncio.CancelledError):
            await both
        with pytest.raises(ZeroDivisionError), bounds.within(600.0):
            _ = 1 // 0

    asyncio.run(scene())


def test_what_is_late_is_told_once_and_may_clear_up_in_peace() -> None:
    async def scene() -> None:
        bounds, cleared = Deadlines(), []

        async def clearing_up() -> None:
            try:
                await forever()
            finally:
                # Longer than until the next looks.
                await asyncio.sleep(0.1)
                cleared.append(True)

        with pytest.raises(TimeoutError), bounds.within(0.0):
            await clearing_up()
        assert cleared

    asyncio.run(scene())


def test_of_two_bounds_the_nearer_one_ends_the_wait() -> None:
    async def scene() -> None:
        bounds = Deadlines()
        with bounds.within(600.0):
            with pytest.raises(TimeoutError), bounds.within(0.01):
                await forever()
            await asyncio.sleep(0.02)
        with pytest.raises(TimeoutError), bounds.within(0.01), bounds.within(600.0):
            await forever()

    asyncio.run(scene())
