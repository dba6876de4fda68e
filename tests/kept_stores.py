"""Stores for the contract test: how a worker connects to each kind, and what each holds.

Guarantees:
- A test sees what is stored without going through the store that it tests.
"""

from __future__ import annotations

import json
from typing import Any

import msgspec
import redis

from stores.keys import Keys
from stores.redis_store import RedisStore
from stores.store import Membership, Store
from tests import servers
from tests.simulation.store import INDEX, MEMBERSHIP, PROFILE, REFERENCE, Shelf, SimulatedStore

SHARED_ABOVE = 5
GENERATION = "g1"


class Simulated:
    """The simulator's store, and what it holds."""

    def __init__(self) -> None:
        self.shelf = Shelf()

    def store(self) -> Store:
        """One more worker's connection."""
        return SimulatedStore(self.shelf, shared_above=SHARED_ABOVE)

    def profile(self, customer: str) -> tuple[str, str, str, dict[str, bytes]] | None:
        """Version, founder, writer and sections."""
        found = self.shelf.values.get((PROFILE, customer))
        return None if found is None else (found.version, found.founder, found.writer, dict(found.sections))

    def index(self, name: str) -> list[str]:
        """The customers that a name leads to."""
        return list(self.shelf.values.get((INDEX, name), ()))

    def reference(self, name: str) -> set[str]:
        """The subjects that named a reference."""
        return set(self.shelf.values.get((REFERENCE, name), ()))

    def place(self, subject: str, membership: Membership) -> None:
        """What the identity writer does."""
        self.shelf.values[MEMBERSHIP, subject] = membership

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
        """Version, founder, writer and sections."""
        found = self.client.hgetall(self.keys.profile(customer))
        if not found:
            return None
        version, founder, writer = (found.pop(name).decode() for name in (b"version", b"founder", b"writer"))
        assert found.pop(b"state") == b"live"
        return version, founder, writer, {name.decode(): section for name, section in found.items()}

    def index(self, name: str) -> list[str]:
        """The customers that a name leads to."""
        stored = self.client.get(self.keys.identifier(name))
        entry = {"stamp": 0, "customers": []} if stored is None else json.loads(stored)
        assert entry["stamp"] == 0
        assert all(one["status"] == "linking" for one in entry["customers"])
        return [one["customer_id"] for one in entry["customers"]]

    def reference(self, name: str) -> set[str]:
        """The subjects that named a reference."""
        return {subject.decode() for subject in self.client.smembers(self.keys.reference(name))}

    def place(self, subject: str, membership: Membership) -> None:
        """What the identity writer does."""
        self.client.set(self.keys.membership(subject), msgspec.json.encode(membership))

    def cut(self, store: Any) -> None:
        """Break a connection while nobody uses it."""
        self.client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")

    def close(self) -> None:
        """Let go of the test's own connection."""
        self.client.close()


Kept = Simulated | Served
