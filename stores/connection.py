"""Connect to Redis or Valkey, check that it may hold a view, install the functions.

Invariants:
- No client retries by itself: the caller knows what a lost answer means, the client does not.
- Nothing connects at import.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from stores.keys import Keys
from stores.store import StoreAway

LEAST_VERSION = (7, 0)


class StoreUnfit(Exception):
    """The server must not hold a view as it is configured; the message says what to change."""


class _TellsWhenLost:
    """A connection that says once that it was lost, where the client would connect anew in silence.

    A server that was restarted may have gone back; whoever was in the middle of something must hear of it.
    """

    _was_connected = False

    def connect(self) -> None:
        """Connect; when this connection was lost, say so instead, and connect the next time."""
        if self._was_connected and not self.is_connected:  # type: ignore[attr-defined]
            self._was_connected = False
            raise redis.ConnectionError("the connection was lost")
        super().connect()  # type: ignore[misc]
        self._was_connected = True


def connect(url: str, answer_seconds: float = 5.0) -> redis.Redis:
    """A client that never retries, never reconnects in silence, and answers in bytes. Nothing is sent yet."""
    pool = redis.ConnectionPool.from_url(
        url,
        decode_responses=False,
        retry=Retry(NoBackoff(), 0),
        socket_timeout=answer_seconds,
        socket_connect_timeout=min(answer_seconds, 5.0),
        health_check_interval=0,
    )
    # `rediss://` and `unix://` bring connections of their own kind.
    kind = pool.connection_class
    pool.connection_class = type(f"{kind.__name__}TellingWhenLost", (_TellsWhenLost, kind), {})
    return redis.Redis(connection_pool=pool)


@contextmanager
def asking(what: str) -> Iterator[None]:
    """Turns whatever the client raises into `StoreAway`: for those who begin anew after any failure."""
    try:
        yield
    except redis.RedisError as error:
        raise StoreAway(f"Redis did not answer ({what}): {error}") from None


def install_functions(client: redis.Redis) -> None:
    """Load the server-side functions of this version of scv, in place of any other."""
    client.execute_command(
        "FUNCTION", "LOAD", "REPLACE", files("stores").joinpath("functions.lua").read_bytes()
    )


def check_server(client: redis.Redis) -> None:
    """Raise StoreUnfit unless the server is new enough and never evicts."""
    info: Any = client.info("server")
    text = str(info.get("valkey_version") or info["redis_version"])
    version = tuple(int(number) for number in text.split(".")[:2])
    if version < LEAST_VERSION:
        raise StoreUnfit(f"Redis is {text}; functions need 7.0 or newer: upgrade the server")
    policy: Any = client.info("memory").get("maxmemory_policy", "noeviction")
    if policy != "noeviction":
        raise StoreUnfit(
            f"maxmemory-policy is {policy}: evicted keys would be lost facts; "
            "run `CONFIG SET maxmemory-policy noeviction`"
        )


def claim_generation(client: redis.Redis, generation: str, shape: str) -> None:
    """Make the generation known; StoreUnfit when its parts have another shape.

    Readers do not see it by that: `eventlog.promotions` makes it the active one.
    """
    keys = Keys(generation)
    client.set(keys.shape, shape, nx=True)
    stored: Any = client.get(keys.shape)
    if stored.decode() != shape:
        raise StoreUnfit(
            f"generation {generation} was built with other settings or projections "
            f"(shape {stored.decode()}, now {shape}); "
            "set SCV_GENERATION to a new one, or put the settings back"
        )
