"""What the sources hold of all customers, one record a source: what a second opinion is made of.

Guarantees:
- Every subject of every living customer once, with what its own parts say of the person: what one source has
  mistyped does not hide behind what another has right, as it does in the merged profile.
- Reads Redis only, in batches; a customer that comes or goes meanwhile may be missed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

import msgspec

from models.record import Lane
from ops.suggesting import Traits, traits_of
from projections.assembling import Labels, Member, assemble
from projections.parts import Part, unpack
from stores.candidates import CUSTOMERS_PER_READ, StoredIdentity, identities
from stores.redis_store import RedisStore

_NOWHERE = Labels("", "")


def records(client: Any, store: RedisStore) -> Iterator[Traits]:
    """The records of all customers of the store's generation, in no order."""
    customers = identities(client, store.keys)
    while batch := list(islice(customers, CUSTOMERS_PER_READ)):
        yield from _records(batch, store)


def _records(batch: Sequence[StoredIdentity], store: RedisStore) -> Iterator[Traits]:
    several: list[str] = []
    for one in batch:
        identity = msgspec.json.decode(one.identity)
        match identity["subjects"]:
            case [alone]:
                # Its profile says what it says.
                yield traits_of(alone["subject"], identity, one.founder)
            case _:
                several.append(one.founder)
    owners = {
        subject: founder
        for founder, (membership, _) in zip(several, store.members(several), strict=True)
        for subject in (membership.members if membership is not None else (founder,))
    }
    held = [
        (subject, lane)
        for subject, (_, lanes) in zip(owners, store.members(list(owners)), strict=True)
        for lane in sorted(lanes)
    ]
    parts: dict[str, list[tuple[Lane, Part]]] = {}
    for (subject, lane), packed in zip(held, store.parts([(lane, one) for one, lane in held]), strict=True):
        if packed is not None:
            parts.setdefault(subject, []).append((lane, unpack(packed)))
    for subject, mine in parts.items():
        yield record_of(subject, mine, owners[subject])


def record_of(subject: str, parts: Sequence[tuple[Lane, Part]], customer: str) -> Traits:
    """What the parts of one subject say of the person."""
    members = [Member(subject, str(lane), part) for lane, part in parts]
    identity = assemble(members, _NOWHERE, 0, subject).sections["identity"]
    return traits_of(subject, msgspec.json.decode(identity), customer)
