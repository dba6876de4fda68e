"""From names to an answer, for many at once: one round trip where a look-up is plain.

Invariants:
- A plain look-up (names that lead straight to one customer) is answered here; all others are `api.lookup`'s,
  in a thread. Both say the same: a test holds them together.
- An old customer id stands for the customer that holds its founder now.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple, TypeVar
from urllib.parse import quote

import redis

from api.lookup import Answer, lookup, spellings
from api.problems import Problem
from api.services import Services
from stores.reading import LIVE, StoredProfile
from stores.store import StoreAway

# Between finding and reading a customer may be merged away; then everything is asked again.
TRIES = 3
ERASED = "erased"
# RFC 3986: these stand for themselves in a query, and `%` begins what is escaped already.
_IN_QUERIES = "%/?:@!$&'()*+,;=-._~[]"

Found = TypeVar("Found")


class Resolved(NamedTuple):
    """A look-up's answer, with the profile as stored where it is `single`."""

    answer: Answer
    stored: StoredProfile | None
    generation: str | None


async def resolve(services: Services, names: Sequence[str], sections: Sequence[str]) -> Resolved:
    """What `api.lookup.lookup` answers. `NotAName`, StoreAway."""
    asked = tuple(dict.fromkeys(names))
    spelt = {name: spellings(name, services.rules) for name in asked}
    if not any(one.startswith("cus_") for ways in spelt.values() for one in ways):
        ways = [one for each in spelt.values() for one in each]
        found = await services.store.find(ways, sections)
        if found.stored is not None:
            named = dict(zip(ways, found.names, strict=True))
            unknown = [name for name in asked if all(named[one].entry is None for one in spelt[name])]
            return Resolved(Answer("single", None, [], {}, unknown), found.stored, found.generation)
    return await _resolve_slowly(services, asked, sections)


async def _resolve_slowly(services: Services, names: Sequence[str], sections: Sequence[str]) -> Resolved:
    for _ in range(TRIES):
        answer = await in_thread(services, lambda: lookup(services.reader, names, services.rules, ("meta",)))
        if answer.match != "single" or answer.profile is None:
            return Resolved(answer, None, await services.store.generation())
        generation, stored = await services.store.profile(answer.profile["customer_id"], sections)
        if stored is not None and stored.state == LIVE:
            return Resolved(answer, stored, generation)
    return Resolved(answer._replace(match="none", profile=None, candidates=[]), None, generation)


async def in_thread(services: Services, ask: Callable[[], Found]) -> Found:
    """What a blocking question to the store gives. StoreAway."""
    for attempt in range(2):
        try:
            return await asyncio.to_thread(ask)
        except (redis.ConnectionError, redis.TimeoutError) as error:
            # A connection that was lost says so once; a read may be asked again.
            if attempt:
                raise StoreAway(f"Redis did not answer: {error}") from None
        except redis.RedisError as error:
            raise StoreAway(f"Redis cannot serve now: {error}") from None
    raise AssertionError


async def live_profile(
    services: Services, customer_id: str, sections: Sequence[str], rest: str = "", query: bytes = b""
) -> tuple[str | None, StoredProfile]:
    """The profile of a customer id, these sections of it, with its generation.

    Problem `unknown_customer`, `merged` (with where to go on: `rest` is what follows the id in the path),
    `split`, `erased`.
    """
    for _ in range(TRIES):
        generation, stored = await services.store.profile(customer_id, sections)
        if stored is None:
            raise Problem(
                "unknown_customer", "this id was never given out, or its first profile is yet to come"
            )
        if stored.state == LIVE:
            return generation, stored
        if stored.state == ERASED:
            raise Problem("erased", "the customer was erased")
        view = await in_thread(services, services.reader.view)
        if view is None:
            continue
        followed = await in_thread(services, partial(view.follow, [customer_id]))
        now = followed.now.get(customer_id, ())
        if now == (customer_id,):
            continue
        if not now:
            raise Problem("erased", "nobody holds this id any more")
        if len(now) > 1:
            raise Problem("split", "ask for one of them", customer_ids=list(now))
        # As it came, but for what no header may hold.
        where = f"/v1/profiles/{now[0]}{rest}" + (f"?{quote(query, _IN_QUERIES)}" if query else "")
        raise Problem("merged", f"ask for {now[0]}", headers={"Location": where}, customer_id=now[0])
    raise Problem("unknown_customer", "its profile is about to be written; ask again")
