"""Stores for the contract test: how a worker connects to each kind, and what each holds.

Guarantees:
- A test sees what is stored without going through the store that it tests.
"""

from __future__ import annotations

import json
from typing import Any

import redis

from stores.keys import Keys
from stores.redis_store import RedisStore
from stores.store import Entry, Store
from tests import servers
from tests.simulation.store import INDEX, PROFILE, REFERENCE, Shelf, SimulatedStore

SHARED_ABOVE = 5
GENERATION = "g1"

Tombstone = tuple[str, str, str, str]


class Simulated:
    """The simulator's store, and what it holds."""

    def __init__(self) -> None:
        self.shelf = Shelf()

    def store(self) -> Store:
        """One more worker's connection."""
        return SimulatedStore(self.shelf, shared_above=SHARED_ABOVE)

    def profile(self, customer: str) -> tuple[str, str, str, dict[str, bytes]] | None:
        """Version, founder, writer and sections of a live one."""
        found = self.shelf.values.get((PROFILE, customer))
        if found is None or found.state != "live":
            return None
        return found.version, found.founder, found.writer, dict(found.sections)

    def tombstone(self, customer: str) -> Tombstone | None:
        """State, version, founder and writer of one that is not live; it must have no sections."""
        found = self.shelf.values.get((PROFILE, customer))
        if found is None or found.state == "live":
            return None
        assert not found.sections
        return found.state, found.version, found.founder, found.writer

    def index(self, name: str) -> Entry | None:
        """Whom a name leads to."""
        return self.shelf.values.get((INDEX, name))

    def reference(self, name: str) -> set[str]:
        """The subjects that named a reference."""
        return set(self.shelf.values.get((REFERENCE, name), ()))

    def cut(self, store: Any) -> None:
        """Break a connection while nobody uses it."""
        store.connected = False

    def close(self) -> None:
        """Nothing to let go of."""


class Served:
    """A server's store, and what the server holds."""

    def __init__(self, url: str) -> None:
        servers.empty_store(url)
        self.url, self.keys = url, Keys(GENERATION)
        self.client: Any = redis.Redis.from_url(url)

    def store(self) -> Store:
        """One more worker's connection."""
        return RedisStore(self.url, GENERATION, SHARED_ABOVE)

    def profile(self, customer: str) -> tuple[str, str, str, dict[str, bytes]] | None:
        """Version, founder, writer and sections of a live one."""
        state, version, founder, writer, sections = self._profile(customer)
        return (version, founder, writer, sections) if state == "live" else None

    def tombstone(self, customer: str) -> Tombstone | None:
        """State, version, founder and writer of one that is not live; it must have no sections."""
        state, version, founder, writer, sections = self._profile(customer)
        if state in ("", "live"):
            return None
        assert not sections
        return state, version, founder, writer

    def _profile(self, customer: str) -> tuple[str, str, str, str, dict[str, bytes]]:
        found = self.client.hgetall(self.keys.profile(customer))
        state, version, founder, writer = (
            found.pop(name, b"").decode() for name in (b"state", b"version", b"founder", b"writer")
        )
        return state, version, founder, writer, {name.decode(): section for name, section in found.items()}

    def index(self, name: str) -> Entry | None:
        """Whom a name leads to."""
        stored = self.client.get(self.keys.identifier(name))
        if stored is None:
            return None
        entry = json.loads(stored)
        assert all(set(one) == {"customer_id", "status"} for one in entry["customers"])
        return Entry(entry["stamp"], tuple((one["customer_id"], one["status"]) for one in entry["customers"]))

    def reference(self, name: str) -> set[str]:
        """The subjects that named a reference."""
        return {subject.decode() for subject in self.client.smembers(self.keys.reference(name))}

    def cut(self, store: Any) -> None:
        """Break a connection while nobody uses it."""
        self.client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")

    def close(self) -> None:
        """Let go of the test's own connection."""
        self.client.close()


Kept = Simulated | Served
