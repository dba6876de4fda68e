"""Reads for a server that answers many at once: asynchronous, and what is stored leaves as it is stored.

Invariants:
- Reads only. An answer that does not come in time, or not at all, is `StoreAway`; the connection is closed.
- Sections are bytes of JSON as the assembler wrote them: nothing here reads them.
- All questions share one connection. When it has ended another is made, and what was asked of the one that
  was there is asked again, once: so a question takes three times `channel.ANSWER_SECONDS` at the most.

Commands are packed in C and go past the client's own layer of commands, whose pipelines cost eight times as
much.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, NamedTuple

import hiredis
import msgspec
import redis
from redis.asyncio.connection import ConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from models.record import Lane
from stores.channel import Channel
from stores.keys import ACTIVE, Keys
from stores.reading import LIVE, StoredProfile
from stores.store import Checkpoint, StoreAway

Command = tuple[str | bytes | int, ...]


class Named(NamedTuple):
    """What the store has of one name: its entry as JSON, and whether subjects named it as a reference."""

    entry: bytes | None
    referenced: bool


class Found(NamedTuple):
    """The active generation, what it has of each name, and the one customer's live profile."""

    generation: str | None
    names: list[Named]
    stored: StoredProfile | None


class _One(msgspec.Struct):
    customer_id: str


class _Entry(msgspec.Struct):
    customers: list[_One]


_entry = msgspec.json.Decoder(_Entry).decode


class ServingReader:
    """Look-ups and profiles of the active generation, for one event loop. Connects at the first question."""

    def __init__(self, url: str) -> None:
        self._pool = ConnectionPool.from_url(
            url,
            decode_responses=False,
            retry=Retry(NoBackoff(), 0),
            # `Channel` bounds the whole of it.
            socket_timeout=None,
            health_check_interval=0,
        )
        self._channel: Channel | None = None
        self._opening: asyncio.Task[Channel] | None = None
        self._closed = False
        self._keys = Keys("")

    async def ask(self, *commands: Command) -> list[Any]:
        """The answers to these commands, in one round trip. StoreAway."""
        answers = await self._ask(*commands)
        for answer in answers:
            if isinstance(answer, hiredis.ReplyError):
                raise StoreAway(f"Redis did not answer: {answer}")
        return answers

    async def _ask(self, *commands: Command) -> list[Any]:
        """As `ask`, with the errors that Redis answers among the answers."""
        sent = b"".join(map(hiredis.pack_command, commands))
        try:
            return await self._asked(sent, len(commands))
        except (TimeoutError, OSError, redis.RedisError) as error:
            raise StoreAway(f"Redis did not answer: {str(error) or 'no answer in time'}") from None

    async def _asked(self, sent: bytes, count: int) -> list[Any]:
        channel = self._channel
        if channel is not None and not channel.lost:
            try:
                return await channel.ask(sent, count)
            except redis.ConnectionError:
                # It may have ended with an earlier server: a read may be asked again.
                pass
        return await (await self._opened()).ask(sent, count)

    async def _opened(self) -> Channel:
        """A connection; who asks while one is made gets the same."""
        if self._channel is not None and not self._channel.lost:
            return self._channel
        if self._closed:
            raise redis.ConnectionError("the server ends")
        if self._opening is None:
            self._opening = asyncio.create_task(self._open())
            self._opening.add_done_callback(lambda opening: opening.cancelled() or opening.exception())
        return await asyncio.shield(self._opening)

    async def _open(self) -> Channel:
        try:
            before, self._channel = self._channel, None
            if before is not None:
                await before.close()
            self._channel = await Channel.open(self._pool.make_connection())
            return self._channel
        finally:
            self._opening = None

    async def generation(self) -> str | None:
        """The generation that readers see; None before the first worker has run."""
        (active,) = await self.ask(("GET", ACTIVE))
        return self._noted(active)

    async def find(self, names: Sequence[str], sections: Sequence[str]) -> Found:
        """What names (`type:value`) lead straight to: one customer, where no name is a reference.

        No profile where they lead to several, through subjects, to none, or to one that is not live.
        """
        fields = _fields(sections)
        command = ("FCALL_RO", "scv_find", 1, "scv", len(names), *names, *fields)
        [answer] = await self._ask(command)
        if isinstance(answer, hiredis.ReplyError):
            # An older worker's functions, or a user who may call none.
            return await self._found_by_keys(names, sections)
        if not answer:
            return Found(None, [Named(None, False) for _ in names], None)
        active, answers, only = answer[0], answer[1 : 2 * len(names) + 1], answer[2 * len(names) + 1 :]
        stored = _stored(only[0].decode(), fields, only[1]) if only else None
        return Found(self._noted(active), _named(answers), _live(stored))

    async def _found_by_keys(self, names: Sequence[str], sections: Sequence[str]) -> Found:
        while True:
            keys = self._keys
            commands: list[Command] = [("GET", ACTIVE)]
            for name in names:
                commands += (("GET", keys.identifier(name)), ("SMEMBERS", keys.reference(name)))
            active, *answers = await self.ask(*commands)
            generation, found = self._noted(active), _named(answers)
            if generation is None:
                return Found(None, found, None)
            if generation != keys.generation:
                continue
            only = _only(found)
            if only is None:
                return Found(generation, found, None)
            promoted, stored = await self.profile(only, sections)
            # In another generation the names may lead to somebody else.
            if promoted == generation:
                return Found(generation, found, _live(stored))

    async def profile(
        self, customer_id: str, sections: Sequence[str]
    ) -> tuple[str | None, StoredProfile | None]:
        """The active generation, and a customer's profile or tombstone: these sections of it, and `meta`.

        `sections` come in this order; those that are not stored are left out.
        """
        fields = _fields(sections)
        while True:
            keys = self._keys
            active, answer = await self.ask(("GET", ACTIVE), ("HMGET", keys.profile(customer_id), *fields))
            generation = self._noted(active)
            if generation is None:
                return None, None
            if generation == keys.generation:
                return generation, _stored(customer_id, fields, answer)

    async def checkpoints(self, generation: str, lanes: Sequence[Lane]) -> list[Checkpoint]:
        """Where each lane stands."""
        keys = Keys(generation)
        commands = [("HMGET", keys.checkpoint(lane), "next", "end", "assembled", "at_ms") for lane in lanes]
        if not commands:
            return []
        return [
            Checkpoint(
                None if answer[0] is None else int(answer[0]), *(int(number or 0) for number in answer[1:])
            )
            for answer in await self.ask(*commands)
        ]

    def _noted(self, active: bytes | None) -> str | None:
        if active is None:
            return None
        generation = active.decode().split()[0]
        if generation != self._keys.generation:
            self._keys = Keys(generation)
        return generation

    async def close(self) -> None:
        """Let go of the connection."""
        self._closed = True
        if self._opening is not None:
            self._opening.cancel()
        if self._channel is not None:
            await self._channel.close()


_LIVE = LIVE.encode()


def _fields(sections: Sequence[str]) -> tuple[str, ...]:
    return ("version", "state", "founder", *sections, *(() if "meta" in sections else ("meta",)))


def _stored(customer_id: str, fields: Sequence[str], answer: Sequence[bytes | None]) -> StoredProfile | None:
    """A profile's or tombstone's `fields` as they are stored; None where there is none."""
    version, state, founder, *stored = answer
    if version is None or state is None or founder is None:
        return None
    held = {name: value for name, value in zip(fields[3:], stored, strict=True) if value is not None}
    return StoredProfile(
        customer_id, version.decode(), state.decode(), founder.decode(), held if state == _LIVE else {}
    )


def _live(stored: StoredProfile | None) -> StoredProfile | None:
    return stored if stored is not None and stored.state == LIVE else None


def _named(answers: Sequence[Any]) -> list[Named]:
    # Of each name its entry and its subjects, or how many they are.
    return [Named(entry, bool(named)) for entry, named in zip(answers[::2], answers[1::2], strict=True)]


def _only(found: Sequence[Named]) -> str | None:
    """The one customer that all names lead straight to; None where that takes more than a look."""
    customers: set[str] = set()
    for name in found:
        if name.referenced:
            return None
        if name.entry is not None:
            customers.update(one.customer_id for one in _entry(name.entry).customers)
    return next(iter(customers)) if len(customers) == 1 else None
