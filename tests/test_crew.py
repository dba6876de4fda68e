"""Processes that work for a rebuild do what they are given, wait when told to, and are missed when gone."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from stores.store import StoreAway
from streams.crew import Crew, CrewFailed, Perform

FAILURES = {"away": StoreAway("no answer"), "failed": ValueError("a broken invariant")}


@contextmanager
def counting(unit: int) -> Iterator[Perform]:
    """Performs numbers, told a unit at a time; some words fail."""

    def perform(task: Any, told: Callable[[int], None]) -> None:
        if task == "end":
            os.kill(os.getpid(), signal.SIGKILL)
        if task in FAILURES:
            raise FAILURES[task]
        for _ in range(task):
            told(unit)

    yield perform


def test_all_tasks_are_done_and_nobody_goes_on_while_it_may_not() -> None:
    told: list[int] = []
    waited = 0

    def may_go_on() -> bool:
        nonlocal waited
        # After five units there is a pause.
        if len(told) == 5 and waited < 3:
            waited += 1
            return False
        return True

    with Crew(1, counting, 10) as crew:
        assert list(crew.perform([2, 0, 4], may_go_on, told.append)) == [2, 0, 4]
        assert (told, waited) == ([10] * 6, 3)
        assert list(crew.perform([1], lambda: True, told.append)) == [1], "it is there for more"


def test_failures_and_ends_are_told_and_nobody_is_left() -> None:
    for task, text, away in (
        ("away", "no answer", True),
        ("failed", "ValueError: a broken invariant", False),
        ("end", "a process ended by itself (-9)", False),
    ):
        crew = Crew(1, counting, 1)
        [hand] = crew._hands
        with pytest.raises(CrewFailed, match=re.escape(text)) as failed, crew:
            list(crew.perform([1, task], lambda: True, lambda _: None))
        assert failed.value.away == away
        assert not hand.process.is_alive()
