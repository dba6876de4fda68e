"""Reads for a server that answers many at once: asynchronous, and what is stored leaves as it is stored.

Invariants:
- Reads only. An answer that does not come in time, or not at all, is `StoreAway`; its connection is closed.
- Sections are bytes of JSON as the assembler wrote them: nothing here reads them.
- At most `CONNECTIONS_MAX` connections; who finds none waits for one, no longer than for an answer.

Commands are packed and sent on the client's own connections, since its pipelines cost five times as much.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, NamedTuple

import hiredis
import redis
from redis.asyncio.connection import AbstractConnection, ConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from models.record import Lane
from stores.deadlines import Deadlines
from stores.keys import ACTIVE, Keys
from stores.reading import LIVE, StoredProfile
from stores.store import Checkpoint, StoreAway

# One event loop asks; more would wait in the server instead of here.
CONNECTIONS_MAX = 16
# A reader that waited longer has hung up.
ANSWER_SECONDS = 2.0

Command = tuple[str | bytes | int, ...]


class Named(NamedTuple):
    """What the store has of one name: its entry as JSON, and the subjects of it as a reference."""

    entry: bytes | None
    subjects: list[bytes]


class ServingReader:
    """Look-ups and profiles of the active generation, for one event loop. Connects at the first question."""

    def __init__(self, url: str) -> None:
        self._pool = ConnectionPool.from_url(
            url,
            decode_responses=False,
            retry=Retry(NoBackoff(), 0),
            # `ask` bounds the whole of it.
            socket_timeout=None,
            socket_connect_timeout=ANSWER_SECONDS,
            health_check_interval=0,
        )
        self._free: list[AbstractConnection] = []
        self._slots = asyncio.Semaphore(CONNECTIONS_MAX)
        self._deadlines = Deadlines()
        self._keys = Keys("")

    async def ask(self, *commands: Command) -> list[Any]:
        """The answers to these commands, in one round trip. StoreAway."""
        sent = b"".join(map(hiredis.pack_command, commands))
        try:
            with self._deadlines.within(ANSWER_SECONDS):
                async with self._slots:
                    return await self._asked(sent, len(commands))
        except (TimeoutError, OSError, redis.RedisError) as error:
            raise StoreAway(f"Redis did not answer: {error or 'no answer in time'}") from None

    async def _asked(self, sent: bytes, count: int) -> list[Any]:
        while True:
            known = bool(self._free)
            connection = self._free.pop() if known else self._pool.make_connection()
            answered = False
            try:
                if not known:
                    await connection.connect()
                await connection.send_packed_command([sent], check_health=False)
                answers = [await connection.read_response() for _ in range(count)]
                answered = True
                return answers
            except (redis.ConnectionError, OSError):
                # A connection that was idle may have ended with an earlier server: a read may be asked again.
                if not known:
                    raise
            finally:
                if answered:
                    self._free.append(connection)
                else:
                    await connection.disconnect(nowait=True)

    async def generation(self) -> str | None:
        """The generation that readers see; None before the first worker has run."""
        (active,) = await self.ask(("GET", ACTIVE))
        return self._noted(active)

    async def names(self, names: Sequence[str]) -> tuple[str | None, list[Named]]:
        """The active generation, and what it has of each name (`type:value`)."""
        while True:
            keys = self._keys
            commands: list[Command] = [("GET", ACTIVE)]
            for name in names:
                commands += (("GET", keys.identifier(name)), ("SMEMBERS", keys.reference(name)))
            active, *answers = await self.ask(*commands)
            generation = self._noted(active)
            if generation is None:
                return None, [Named(None, []) for _ in names]
            if generation == keys.generation:
                pairs = zip(answers[::2], answers[1::2], strict=True)
                return generation, [Named(entry, list(subjects)) for entry, subjects in pairs]

    async def profile(
        self, customer_id: str, sections: Sequence[str]
    ) -> tuple[str | None, StoredProfile | None]:
        """The active generation, and a customer's profile or tombstone: these sections of it, and `meta`.

        `sections` come in this order; those that are not stored are left out.
        """
        wanted = ("version", "state", "founder", *sections, *(() if "meta" in sections else ("meta",)))
        while True:
            keys = self._keys
            active, answer = await self.ask(("GET", ACTIVE), ("HMGET", keys.profile(customer_id), *wanted))
            generation = self._noted(active)
            if generation is None:
                return None, None
            if generation == keys.generation:
                break
        version, state, founder, *stored = answer
        if version is None:
            return generation, None
        held = {name: value for name, value in zip(wanted[3:], stored, strict=True) if value is not None}
        return generation, StoredProfile(
            customer_id,
            version.decode(),
            state.decode(),
            founder.decode(),
            held if state == LIVE_BYTES else {},
        )

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
        """Let go of all connections."""
        free, self._free = self._free, []
        for connection in free:
            await connection.disconnect(nowait=True)


LIVE_BYTES = LIVE.encode()
