"""Read what other systems read: who an identifier belongs to, and profiles. For one Redis or a cluster.

Invariants:
- Never a silent pick: all customers of a name are given, the caller decides what several mean.
- Reads only, and only the active generation unless another is named.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from stores.connection import connect
from stores.keys import ACTIVE, Keys

_HEAD = ("version", "state", "founder")


class Candidate(NamedTuple):
    """A customer that a name leads to. `status`: linking, rejected or shared; `via`: what led there."""

    customer_id: str
    status: str
    via: str


class StoredProfile(NamedTuple):
    """A profile as stored: sections are JSON."""

    customer_id: str
    version: str
    state: str
    founder: str
    sections: dict[str, bytes]


class ProfileReader:
    """Look-ups of one generation: the active one, or `generation`."""

    def __init__(self, url: str, generation: str | None = None) -> None:
        self._client = connect(url)
        self._generation = generation

    def active_generation(self) -> str | None:
        """The generation that readers see; None before the first worker has run."""
        if self._generation is not None:
            return self._generation
        active: Any = self._client.get(ACTIVE)
        return None if active is None else active.decode().split()[0]

    def candidates(self, kind: str, value: str) -> list[Candidate]:
        """All customers that an identifier, subject or reference (`order:O-8`) belongs to, by customer id."""
        generation = self.active_generation()
        if generation is None:
            return []
        keys, name = Keys(generation), f"{kind}:{value}"
        found = {one.customer_id: one for one in self._entry(keys, name)}
        subjects: Any = self._client.smembers(keys.reference(name))
        for subject in sorted(subjects):
            for one in self._entry(keys, subject.decode()):
                found.setdefault(one.customer_id, one._replace(via=f"{name} of {one.via}"))
        return [found[customer_id] for customer_id in sorted(found)]

    def _entry(self, keys: Keys, name: str) -> list[Candidate]:
        stored: Any = self._client.get(keys.identifier(name))
        if stored is None:
            return []
        return [
            Candidate(one["customer_id"], one["status"], name)
            for one in msgspec.json.decode(stored)["customers"]
        ]

    def profile(self, customer_id: str, sections: Sequence[str] | None = None) -> StoredProfile | None:
        """A customer's profile, whole or some sections of it; None when there is none."""
        generation = self.active_generation()
        if generation is None:
            return None
        key = Keys(generation).profile(customer_id)
        if sections is None:
            stored: Any = self._client.hgetall(key)
        else:
            names = (*_HEAD, *sections)
            values: Any = self._client.hmget(key, *names)
            stored = {
                name.encode(): value for name, value in zip(names, values, strict=True) if value is not None
            }
        if b"version" not in stored:
            return None
        stored.pop(b"writer", None)
        version, state, founder = (stored.pop(name.encode()).decode() for name in _HEAD)
        return StoredProfile(
            customer_id, version, state, founder, {name.decode(): value for name, value in stored.items()}
        )

    def close(self) -> None:
        """Let go of the connection."""
        self._client.close()
