"""Replays for HTTP: bounded, and in a process of their own.

Invariants:
- Look-ups go on at full speed: nothing of a replay runs in the server's process, and its process is nicer.
- At most `RECORDS_MAX` records a replay and `WAITING_MAX` replays at a time; nobody waits longer than
  `ANSWER_SECONDS` for an answer.
- The process starts with `begin`, else with the first replay, and anew when it died.
"""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any, NamedTuple

from api.explained import explained_document
from api.masking import masked
from api.problems import Problem
from api.replaying import Installation, Replayer, TooManyRecords
from eventlog.errors import LogError
from models.rules import IdentityRules
from models.titles import title_of
from projections.differing import NoSuchField
from projections.past import TooManyStating
from projections.replay import Point
from stores.connection import connect
from stores.keys import Keys
from stores.reading import LIVE, StoredProfile
from stores.store import StoreAway

# What a part remembers the offsets of: half a second of reading.
RECORDS_MAX = 1_000
# Decisions of persons and programs on who is who, read where an earlier time asks for them.
COMMANDS_MAX = 50_000
# Behind each other, since they share one process.
WAITING_MAX = 8
ANSWER_SECONDS = 15.0
# The first one also waits for the process to start: a second, much more on a machine that is overloaded.
START_SECONDS = 60.0
# What one answer shows; the command line shows all.
EFFECTS_MAX = 200
# Whoever asks about a customer on the phone comes first.
NICENESS = 5


class Origin(NamedTuple):
    """Where log and store are, and what shapes parts and profiles: of `Plan`, and sent to the process.

    `rules` are those of `IdentityRules`, as plain values: what they have cached does not travel.
    """

    kafka: str
    redis: str
    rules: dict[str, Any]
    trust: tuple[str, ...]
    config: str
    shape: str


class Asked(NamedTuple):
    """One replay: of this subject's customer, up to a point; with a `field`, how that came about."""

    generation: str
    subject: str
    point: Point
    field: str | None = None
    personal: bool = True


class Past(NamedTuple):
    """A profile as it was: like one that is stored. `record_count`: what it was folded from."""

    stored: StoredProfile
    record_count: int


class Moment(NamedTuple):
    """An event of a customer's own: when it occurred and was logged, in microseconds, and what it is."""

    occurred_us: int
    log_us: int
    type: str
    title: str


class Failed(NamedTuple):
    """Why there is no answer: the code of a problem, and what to say."""

    code: str
    detail: str
    members: dict[str, Any]


class Replays:
    """Asks the process of replays."""

    def __init__(self, origin: Origin) -> None:
        self._origin = origin
        self._pool: ProcessPoolExecutor | None = None
        self._ready: asyncio.Future[None] | None = None
        self._waiting = 0

    def begin(self) -> asyncio.Future[None]:
        """Start the process if there is none; done when it is there, and no replay need wait for that."""
        if self._pool is None or self._ready is None:
            loop = asyncio.get_running_loop()
            pool = self._started()
            # Ctrl-C in a terminal goes to all; this process, which inherits what is blocked, ends by itself.
            blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
            try:
                self._ready = loop.run_in_executor(pool, _started)
            finally:
                signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
            # Whoever asks next is told; nobody may.
            self._ready.add_done_callback(lambda ready: ready.cancelled() or ready.exception())
        return self._ready

    async def profile(self, asked: Asked) -> Past:
        """A customer as it was. Problem."""
        found = await self._ask(_profile, asked)
        assert isinstance(found, Past)
        return found

    async def explanation(self, asked: Asked) -> dict[str, Any]:
        """How a field came about. Problem."""
        found = await self._ask(_explanation, asked)
        assert isinstance(found, dict)
        return found

    async def moments(self, asked: Asked) -> list[Moment]:
        """The customer's own events, in the order of the log: where a view of it changes. Problem."""
        found = await self._ask(_moments, asked)
        assert isinstance(found, list)
        return found

    async def _ask(self, answer: Callable[[Asked], Any], asked: Asked) -> Any:
        if self._waiting >= WAITING_MAX:
            raise Problem("replay_busy", "try again soon")
        self._waiting += 1
        ready, pool = self.begin(), self._started()
        try:
            async with asyncio.timeout(START_SECONDS):
                await asyncio.shield(ready)
            async with asyncio.timeout(ANSWER_SECONDS):
                found = await asyncio.get_running_loop().run_in_executor(pool, answer, asked)
        except TimeoutError:
            raise Problem("replay_busy", "no answer in time; try again") from None
        except BrokenProcessPool:
            # Another may have begun anew meanwhile.
            if self._pool is pool:
                self._pool = None
            raise Problem("replay_busy", "the process of replays ended and starts anew; try again") from None
        finally:
            self._waiting -= 1
        if isinstance(found, Failed):
            raise Problem(found.code, found.detail, **found.members)
        return found

    def _started(self) -> ProcessPoolExecutor:
        if self._pool is None:
            # Not forked: the server's threads and connections are nothing for it.
            context = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(1, context, _begin, (self._origin,))
        return self._pool

    def close(self) -> None:
        """End the process; what it is at is not waited for."""
        if self._pool is not None:
            processes = list((getattr(self._pool, "_processes", None) or {}).values())
            self._pool.shutdown(wait=False, cancel_futures=True)
            for process in processes:
                process.terminate()


class _Process:
    """What the process knows."""

    origin: Origin
    replayer: Replayer | None = None


def _started() -> None:
    """Nothing: whoever gets this answer knows that the process is there."""


def _end_with_the_server() -> None:
    """Whatever ends the server, kill -9 too, ends this process."""
    server = multiprocessing.parent_process()
    if server is not None:
        server.join()
        os._exit(0)


def _begin(origin: Origin) -> None:
    threading.Thread(target=_end_with_the_server, daemon=True).start()
    with contextlib.suppress(OSError):
        os.nice(NICENESS)
    _Process.origin = origin


def _replayer(generation: str) -> Replayer | Failed:
    """The replayer of a generation, kept from one question to the next."""
    held = _Process.replayer
    if held is not None and held.installation.generation == generation:
        return held
    origin = _Process.origin
    client: Any = connect(origin.redis)
    try:
        shape = client.get(Keys(generation).shape)
    finally:
        client.close()
    if shape is not None and shape.decode() != origin.shape:
        return Failed("replay_unfit", "serve with the SCV_RULES and SCV_TRUST of the workers", {})
    installation = Installation(
        origin.kafka,
        origin.redis,
        generation,
        IdentityRules.model_validate(origin.rules),
        origin.trust,
        origin.config,
    )
    _Process.replayer = Replayer(installation, COMMANDS_MAX)
    return _Process.replayer


def _answered(asked: Asked, answer: Callable[[Replayer], Any]) -> Any:
    """The answer, or why there is none: exceptions of clients do not travel between processes."""
    for attempt in range(2):
        try:
            replayer = _replayer(asked.generation)
            return replayer if isinstance(replayer, Failed) else answer(replayer)
        except TooManyRecords as many:
            return _too_large(many)
        except TooManyStating:
            return Failed("replay_too_large", "too many share an identifier of the customer", {})
        except NoSuchField:
            return Failed(
                "invalid_request", "no such field; docs/profile.md has them all", {"parameter": "field"}
            )
        except LogError:
            return Failed("log_unavailable", "the event log does not answer; try again soon", {})
        except Exception as error:
            if _Process.replayer is not None:
                _Process.replayer.close()
                _Process.replayer = None
            # A connection that was lost says so once.
            if attempt:
                away = isinstance(error, StoreAway) or type(error).__module__.startswith("redis")
                if not away:
                    raise
                return Failed("store_unavailable", "the profile store does not answer; try again soon", {})
    raise AssertionError


def _too_large(many: TooManyRecords) -> Failed:
    detail = (
        "older records are found by reading whole lanes only"
        if many.scanned
        else f"it takes {many.count} records"
    )
    members = {"record_count": many.count, "limit": RECORDS_MAX}
    return Failed("replay_too_large", f"{detail}; ask with `scv inspect` on the command line", members)


def _profile(asked: Asked) -> Past | Failed:
    def answer(replayer: Replayer) -> Past | Failed:
        replayed = replayer.replay(asked.subject, asked.point, RECORDS_MAX)
        made = replayed.profile
        if made is None:
            return Failed("nothing_by_then", "ask for a later time", {})
        stored = StoredProfile(made.customer_id, made.version, LIVE, made.founder, made.sections)
        return Past(stored, replayed.record_count)

    return _answered(asked, answer)  # type: ignore[no-any-return]


def _explanation(asked: Asked) -> dict[str, Any] | Failed:
    def answer(replayer: Replayer) -> dict[str, Any] | Failed:
        field = asked.field or ""
        mask = (lambda _, section: section) if asked.personal else masked
        whom, explained = replayer.explain(asked.subject, field, asked.point, RECORDS_MAX, mask=mask)
        if not explained.event_count:
            return Failed("nothing_by_then", "ask for a later time", {})
        return explained_document(whom, field, explained, EFFECTS_MAX)

    return _answered(asked, answer)  # type: ignore[no-any-return]


def _moments(asked: Asked) -> list[Moment] | Failed:
    def answer(replayer: Replayer) -> list[Moment]:
        events = [one.event for one in replayer.heard(asked.subject, RECORDS_MAX)]
        return [Moment(one.occurred_us, one.log_us, one.type, title_of(one.type)(one.data)) for one in events]

    return _answered(asked, answer)  # type: ignore[no-any-return]


def past_id(document: dict[str, Any] | Past) -> str:
    """The customer that was shown."""
    return document.stored.customer_id if isinstance(document, Past) else str(document["customer_id"])
