"""Processes that do the parts of a large piece of work, side by side.

Invariants:
- Whoever does a part asks before it goes on: so pauses and limits are decided in one place.
- They end with the process that started them, however that ended: the pipe between them breaks.
- One that ends by itself, or fails, ends the work; what is stored says from where to go on.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from multiprocessing.connection import Connection, wait
from types import TracebackType
from typing import Any, NamedTuple, Self

from eventlog.errors import LogUnavailable, ProduceFailed, ReadFailed
from stores.store import StoreAway

_AWAY = (StoreAway, LogUnavailable, ProduceFailed, ReadFailed)
# How often the caller gets a word in while nobody says anything.
LOOK_EVERY_SECONDS = 0.2
END_SECONDS = 10.0
# Readers, and who follows live, come first where all want the same core.
NICENESS = 10

# Does one task; `told(n)` says that so much is done, and returns when it may go on.
Perform = Callable[[Any, Callable[[int], None]], Any]


class CrewFailed(Exception):
    """One of the processes could not go on; `away`: because a service was not there."""

    def __init__(self, text: str, *, away: bool) -> None:
        super().__init__(text)
        self.away = away


class Hand(NamedTuple):
    """One process of a crew."""

    process: Any
    connection: Connection


class Crew:
    """`count` processes; `prepare(*arguments)` gives, in each of them, what performs the tasks."""

    def __init__(
        self, count: int, prepare: Callable[..., AbstractContextManager[Perform]], *arguments: Any
    ) -> None:
        context = multiprocessing.get_context("spawn")
        self._hands: list[Hand] = []
        for _ in range(count):
            ours, theirs = context.Pipe()
            process = context.Process(target=_work, args=(theirs, prepare, arguments), daemon=True)
            process.start()
            theirs.close()
            self._hands.append(Hand(process, ours))

    def __enter__(self) -> Self:
        """The crew."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """All processes end: at once when something went wrong, since what is stored is whole at any time."""
        for hand in self._hands:
            hand.connection.close()
            if kind is not None:
                hand.process.kill()
        for hand in self._hands:
            hand.process.join(END_SECONDS)
            hand.process.kill()

    def perform(
        self, tasks: Iterable[Any], may_go_on: Callable[[], bool], told: Callable[[int], None]
    ) -> Iterator[Any]:
        """Have these tasks done; gives each task as it is done. CrewFailed.

        `told(n)` hears that so much more is done. Nobody goes on, or begins, while `may_go_on` says no.
        """
        waiting = iter(tasks)
        doing: dict[Connection, Any] = {}
        asking: list[Connection] = [hand.connection for hand in self._hands]
        while True:
            if asking and may_go_on():
                for connection in asking:
                    if connection in doing:
                        self._send(connection, True)
                    elif (task := next(waiting, None)) is not None:
                        doing[connection] = task
                        self._send(connection, task)
                asking = []
                if not doing:
                    return
            busy = [connection for connection in doing if connection not in asking]
            ready = wait(busy, LOOK_EVERY_SECONDS) if busy else []
            if not busy:
                time.sleep(LOOK_EVERY_SECONDS)
            may_go_on()
            for connection in ready:
                kind, value = self._heard(connection)
                if kind == "told":
                    told(value)
                else:
                    yield doing.pop(connection)
                asking.append(connection)

    def _send(self, connection: Connection, value: Any) -> None:
        try:
            connection.send(value)
        except OSError:
            self._heard(connection)

    def _heard(self, connection: Any) -> tuple[str, Any]:
        try:
            kind, value = connection.recv()
        except (EOFError, OSError):
            [process] = [hand.process for hand in self._hands if hand.connection is connection]
            process.join(END_SECONDS)
            raise CrewFailed(f"a process ended by itself ({process.exitcode})", away=False) from None
        if kind in ("away", "failed"):
            raise CrewFailed(value, away=kind == "away")
        return kind, value


def _work(
    connection: Connection,
    prepare: Callable[..., AbstractContextManager[Perform]],
    arguments: tuple[Any, ...],
) -> None:
    """What a process of a crew does, until there is nothing more, or nobody to do it for."""
    if hasattr(os, "nice"):
        os.nice(NICENESS)
    # Ctrl-C at the terminal reaches all of them; who started them decides.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # As for a worker: parts and views hold no cycles.
    gc.set_threshold(200_000, 50, 1_000)

    def told(count: int) -> None:
        connection.send(("told", count))
        connection.recv()

    try:
        with prepare(*arguments) as perform:
            while True:
                task = connection.recv()
                perform(task, told)
                connection.send(("done", None))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        # Whoever we worked for is gone, or has enough.
        os._exit(0)
    except Exception as error:  # noqa: BLE001 - told to whoever started us, who says it in one line
        kind = "away" if isinstance(error, _AWAY) else "failed"
        text = str(error) if kind == "away" else f"{type(error).__name__}: {error}"
        try:
            connection.send((kind, " ".join(text.split())))
        except OSError:
            os._exit(0)
