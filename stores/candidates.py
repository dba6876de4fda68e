"""Customers one after the other, and the pairs of them that a program takes for one person.

Guarantees:
- Every customer that lives throughout a scan is read once; one that comes or goes meanwhile may be missed.
- Candidates are replaced as a whole: a reader sees those of the run before, or those of this one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import msgspec
import redis

from stores.keys import Keys

# What one round trip reads: a section `identity` has about 1 kB.
CUSTOMERS_PER_READ = 500
PAIRS_PER_WRITE = 1_000


class StoredIdentity(NamedTuple):
    """What a customer is known by: `identity` is that section of the profile, as JSON."""

    customer_id: str
    founder: str
    identity: bytes


class CandidatePair(msgspec.Struct, frozen=True, omit_defaults=True):
    """Two customers by their founders, the lesser first, and what `actor` makes of them.

    `subject` and `other` are their two members that are most alike, the ends of a `link`. `weight` in bits:
    at +10 one person is 1,024 times likelier than two. `seen_at`: when the pair was found first; `linked_at`:
    when a `link` command was written. RFC 3339, UTC.
    """

    a: str
    b: str
    subject: str
    other: str
    weight: float
    probability: float
    actor: str
    seen_at: str
    linked_at: str | None = None

    @property
    def field(self) -> str:
        """Its name in the hash."""
        return f"{self.a}|{self.b}"


_decode = msgspec.json.Decoder(CandidatePair).decode


def identities(client: redis.Redis, keys: Keys) -> Iterator[StoredIdentity]:
    """Every living customer of a generation, in no order."""
    known: set[bytes] = set()
    waiting: list[bytes] = []
    # A generation's name and a customer id have no sign that a pattern would read as something else.
    for key in client.scan_iter(match=keys.profile("cus_*"), count=CUSTOMERS_PER_READ):
        # A scan may name a key twice.
        if key not in known:
            known.add(key)
            waiting.append(key)
        if len(waiting) == CUSTOMERS_PER_READ:
            yield from _read(client, waiting)
            waiting = []
    yield from _read(client, waiting)


def _read(client: redis.Redis, profiles: list[bytes]) -> Iterator[StoredIdentity]:
    pipeline = client.pipeline(transaction=False)
    for key in profiles:
        pipeline.hmget(key, "state", "founder", "identity")
    stored: list[Any] = pipeline.execute() if profiles else []
    for key, (state, founder, identity) in zip(profiles, stored, strict=True):
        if state == b"live" and founder is not None and identity is not None:
            customer_id = key.rpartition(b"{")[2].partition(b"}")[0].decode()
            yield StoredIdentity(customer_id, founder.decode(), identity)


def read_candidates(client: redis.Redis, keys: Keys) -> dict[str, CandidatePair]:
    """All pairs of the last run, by their field."""
    return {
        field.decode(): _decode(value)
        for field, value in client.hscan_iter(keys.candidates, count=PAIRS_PER_WRITE)
    }


def replace_candidates(client: redis.Redis, keys: Keys, candidates: Iterable[CandidatePair]) -> None:
    """Keep these and no others."""
    new = keys.candidates + ":new"
    client.delete(new)
    batch: dict[str, bytes] = {}
    written = False
    for one in candidates:
        batch[one.field] = msgspec.json.encode(one)
        if len(batch) == PAIRS_PER_WRITE:
            client.hset(new, mapping=batch)  # type: ignore[arg-type]
            batch, written = {}, True
    if batch:
        client.hset(new, mapping=batch)  # type: ignore[arg-type]
        written = True
    # Both names have one hash tag, so that this is one step on a cluster as well.
    if written:
        client.rename(new, keys.candidates)
    else:
        client.delete(keys.candidates)
