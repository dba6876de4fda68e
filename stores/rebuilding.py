"""What the store remembers of rebuilds: how far each generation is, which process is at it; and its removal.

Invariants:
- A generation that was never rebuilt (the first one) has no record.
- Of two processes at one rebuild the second is told of the first; what keeps them apart are checkpoints.
- Keys of a generation are removed in portions, without blocking the server; the record goes last.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from enum import StrEnum
from typing import Any

import msgspec
import redis

from models.record import Lane
from stores.keys import ACTIVE, Keys

# A process that is at a rebuild says so every second; one that has not for so long is gone.
HELD_SECONDS = 15
# UNLINK hands the memory to another thread; so many keys cost the server about a tenth of a millisecond.
KEYS_AT_ONCE = 500
# -1 and -2 mean something else as checkpoints.
_FOLDING = -3


class State(StrEnum):
    """How far a rebuild is. Whether its generation is active, `scv:active` says."""

    FOLDING = "folding"
    GRAPH = "graph"
    ASSEMBLING = "assembling"
    FOLLOWING = "following"
    DROPPING = "dropping"


# Profiles are whole from here on.
READABLE = (State.FOLLOWING,)


def folding_at(offset: int) -> int:
    """The checkpoint of a lane that is folded in bulk, and is up to this offset."""
    return _FOLDING - offset


def folded_to(next_offset: int | None, begin: int) -> int:
    """Up to where a lane with this checkpoint is folded, in bulk or not."""
    if next_offset is None:
        return begin
    return next_offset if next_offset >= 0 else max(begin, _FOLDING - next_offset)


class Rebuild(msgspec.Struct):
    """One rebuild. `ranges`: per lane, from where up to where it is folded in bulk.

    `links_end`: where the link log ended when all was folded, -1 before. `assembled` of `subjects` are done.
    `done`, `per_second`, `seen_ms`: records or subjects of this stage when the process was last heard of.
    One that was never rebuilt and is being dropped has a state alone.
    """

    state: State
    begun_ms: int = 0
    ranges: dict[str, tuple[int, int]] = {}
    window_records: int = 0
    shape: str = ""
    config: str = ""
    links_end: int = -1
    assembled: int = 0
    subjects: int = 0
    done: int = 0
    total: int = 0
    per_second: float = 0.0
    seen_ms: int = 0
    paused: bool = False

    @property
    def lanes(self) -> dict[Lane, tuple[int, int]]:
        """`ranges` by lane."""
        return {Lane.parse(name): ends for name, ends in self.ranges.items()}


class Rebuilds:
    """The records of all rebuilds of one store. Its errors are the client's."""

    def __init__(self, client: redis.Redis) -> None:
        self.client = client

    def active(self) -> str | None:
        """The generation that readers see."""
        active: Any = self.client.get(ACTIVE)
        return None if active is None else active.decode().split()[0]

    def shape(self, generation: str) -> str | None:
        """The shape of a generation's parts; None for one that the store knows nothing of."""
        found: Any = self.client.get(Keys(generation).shape)
        return None if found is None else found.decode()

    def get(self, generation: str) -> Rebuild | None:
        """The record of a generation."""
        stored: Any = self.client.hgetall(Keys(generation).rebuild)
        if not stored:
            return None
        fields = {name.decode(): msgspec.json.decode(value) for name, value in stored.items()}
        return msgspec.convert(fields, Rebuild)

    def begin(self, generation: str, rebuild: Rebuild) -> None:
        """Remember a new rebuild; the shape first, so that no other one can claim the generation."""
        keys = Keys(generation)
        self.client.set(keys.shape, rebuild.shape)
        self.update(generation, **msgspec.structs.asdict(rebuild))

    def update(self, generation: str, **fields: Any) -> None:
        """Change some fields."""
        packed = {name: msgspec.json.encode(value) for name, value in fields.items()}
        self.client.hset(Keys(generation).rebuild, mapping=packed)

    def hold(self, generation: str) -> str | None:
        """Say that this process is at it; gives who else is, as `host pid`."""
        key, mine = Keys(generation).rebuilder, _me()
        if not self.client.set(key, mine, nx=True, ex=HELD_SECONDS):
            holder: Any = self.client.get(key)
            if holder is not None and holder.decode() != mine and _lives(holder.decode()):
                return holder.decode()
            self.client.set(key, mine, ex=HELD_SECONDS)
        return None

    def holder(self, generation: str) -> str | None:
        """Which process is at it, as `host pid`; None when none is."""
        found: Any = self.client.get(Keys(generation).rebuilder)
        return found.decode() if found is not None and _lives(found.decode()) else None

    def let_go(self, generation: str) -> None:
        """This process is not at it any more."""
        holder: Any = self.client.get(Keys(generation).rebuilder)
        if holder is not None and holder.decode() == _me():
            self.client.delete(Keys(generation).rebuilder)

    def drop(self, generation: str) -> Iterator[int]:
        """Remove all keys of a generation; yields how many are gone so far. Killed, it can be begun again."""
        keys = Keys(generation)
        last = {keys.rebuild.encode(), keys.shape.encode()}
        count, waiting = 0, list[bytes]()
        for key in self.client.scan_iter(f"{keys.prefix}*", count=KEYS_AT_ONCE):
            if key not in last:
                waiting.append(key)
            if len(waiting) >= KEYS_AT_ONCE:
                count += self._unlink(waiting)
                yield count
                waiting = []
        count += self._unlink([*waiting, *last])
        yield count

    def _unlink(self, keys: list[bytes]) -> int:
        removed: Any = self.client.unlink(*keys) if keys else 0
        return int(removed)


def _me() -> str:
    return f"{socket.gethostname()} {os.getpid()}"


def _lives(holder: str) -> bool:
    """Whether this process may be alive; one on another host is, until what it said expires."""
    host, _, pid = holder.rpartition(" ")
    if host != socket.gethostname() or not pid.isdigit():
        return True
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
