"""Derive profiles again from the parts they have: after settings were changed that shape no parts (L5).

Invariants:
- A profile's version stays: nothing was folded. It is rewritten only where that version is the one stored;
  whoever wrote a newer one has derived it already.
- `meta.config` says by which settings a profile was derived. So there is nothing to remember of how far this
  is: what shows the settings of now is done.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec
import redis

from stores.redis_store import RedisStore
from stores.store import ProfileWrite
from streams.assembler import Assembler

CUSTOMERS_AT_ONCE = 256


class _Meta(msgspec.Struct):
    config: str


_read = msgspec.json.Decoder(_Meta).decode


class RewritingStore(RedisStore):
    """A store in which a profile of an equal version is written all the same."""

    def put_profiles(self, profiles: Iterable[ProfileWrite]) -> list[str]:
        """Compare-and-set, as ever; where the version is equal, the whole profile again."""
        profiles = list(profiles)
        answers = super().put_profiles(profiles)
        equal = [one for one, answer in zip(profiles, answers, strict=True) if answer == "equal"]
        # One that has moved on meanwhile is `older` now, and is read and assembled anew.
        again = iter(["newer" if written else "older" for written in self.rewrite(equal)])
        return [next(again) if answer == "equal" else answer for answer in answers]


def derived_otherwise(client: redis.Redis, store: RedisStore, config: str) -> Iterator[tuple[int, list[str]]]:
    """The founders of profiles that other settings made, in portions, each with how many were looked at."""
    seen, founders = 0, list[str]()
    pattern = f"{store.keys.prefix}{{cus_*}}:profile"
    waiting: list[bytes] = []
    for key in client.scan_iter(pattern, count=4 * CUSTOMERS_AT_ONCE):
        waiting.append(key)
        if len(waiting) >= CUSTOMERS_AT_ONCE:
            seen, waiting, founders = seen + len(waiting), [], _otherwise(client, waiting, config)
            yield seen, founders
    yield seen + len(waiting), _otherwise(client, waiting, config)


def _otherwise(client: redis.Redis, keys: Sequence[bytes], config: str) -> list[str]:
    pipe = client.pipeline(transaction=False)
    for key in keys:
        pipe.hmget(key, "state", "founder", "meta")
    found: Any = pipe.execute()
    return [
        founder.decode()
        for state, founder, meta in found
        if state == b"live" and (meta is None or _read(meta).config != config)
    ]


def reassemble(assembler: Assembler, founders: Sequence[str]) -> int:
    """Assemble these customers; gives how many of them are done, by us or by whoever was quicker."""
    done = assembler.assemble({name: {} for name in founders})
    assembler.forget()
    return len(done)
