"""Assemble the customers of dirty subjects, repeat the side effects, say which marks are done.

Invariants (L4):
- Membership and parts are read after the commit that made the assembly necessary; only a subject's own part of a
  lane just committed may come from memory, when no other lane holds one.
- A profile is written by compare-and-set on its version; `older` reads everything anew, three times at most.
- Indexes are written and the change notice is acknowledged before a mark may close.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

import msgspec

from models.catalogue import CHANGES_TOPIC
from models.record import Lane
from projections.assembling import Labels, Profile, assemble
from projections.parts import Part, unpack
from stores.store import Membership, ProfileWrite, Store

TRIES = 3
# So many customers are read, merged and written at a time: what a worker holds of them is bounded.
CUSTOMERS_AT_ONCE = 512

_write = msgspec.json.Encoder().encode


class Outlet(Protocol):
    """Where a worker produces to."""

    def produce(self, topic: str, key: bytes | None, value: bytes | None) -> None:
        """Hand over one record."""

    def flush(self) -> None:
        """Wait until everything handed over is acknowledged."""


class Customer(NamedTuple):
    """Whom to assemble: the founder, its position in the graph, and its members with their lanes."""

    founder: str
    position: int
    members: tuple[str, ...]


class Assembler:
    """Assembles for one generation."""

    def __init__(self, store: Store, outlet: Outlet, labels: Labels, point: Callable[[str], None]) -> None:
        self.store, self.outlet, self.labels, self.point = store, outlet, labels, point

    def assemble(self, subjects: Sequence[str], fresh: Mapping[str, tuple[Lane, Part]]) -> set[str]:
        """Bring the profiles of these subjects' customers up to date; gives the subjects for which that worked.

        `fresh` has the parts that this worker has just committed, with their lane.
        """
        done: set[str] = set()
        for at in range(0, len(subjects), CUSTOMERS_AT_ONCE):
            left = list(subjects[at : at + CUSTOMERS_AT_ONCE])
            for attempt in range(TRIES):
                if not left:
                    break
                assembled = self._try(left, {} if attempt else fresh)
                done |= assembled
                left = [subject for subject in left if subject not in assembled]
        return done

    def _try(self, subjects: Sequence[str], fresh: Mapping[str, tuple[Lane, Part]]) -> set[str]:
        customers, lanes = self._customers(subjects)
        self.point("between membership and parts")
        parts = self._parts(customers, lanes, fresh)
        self.point("between parts and profile")
        profiles = [
            assemble(
                {member: parts[member] for member in customer.members if parts[member]},
                self.labels,
                customer.position,
                customer.founder,
            )
            for customer in customers
            if any(parts[member] for member in customer.members)
        ]
        answers = self.store.put_profiles(
            [ProfileWrite(one.customer_id, one.version, one.founder, None, one.sections) for one in profiles]
        )
        self.point("after profile")
        settled = [one for one, answer in zip(profiles, answers, strict=True) if answer in ("newer", "equal")]
        self._side_effects(settled)
        self.point("after side effects")
        founders = {one.founder for one in settled}
        held = {member for one in customers if one.founder in founders for member in one.members}
        # A subject without any part (the store went back) has nothing to show; its lane folds it anew.
        empty = {member for one in customers if not any(parts[m] for m in one.members) for member in one.members}
        return {subject for subject in subjects if subject in held or subject in empty}

    def _customers(self, subjects: Sequence[str]) -> tuple[list[Customer], dict[str, frozenset[Lane]]]:
        """The customers that these subjects belong to, and the lanes of all their members."""
        found = dict(zip(subjects, self.store.members(subjects), strict=True))
        customers: dict[str, Customer] = {}
        for subject, (membership, _) in found.items():
            placed = membership or Membership(0, subject, (subject,))
            customers[placed.founder] = Customer(placed.founder, placed.stamp, placed.members)
        others = [name for one in customers.values() for name in one.members if name not in found]
        if others:
            found.update(zip(others, self.store.members(others), strict=True))
        return list(customers.values()), {subject: lanes for subject, (_, lanes) in found.items()}

    def _parts(
        self,
        customers: Sequence[Customer],
        lanes: Mapping[str, frozenset[Lane]],
        fresh: Mapping[str, tuple[Lane, Part]],
    ) -> dict[str, list[Part]]:
        parts: dict[str, list[Part]] = {}
        wanted: list[tuple[Lane, str]] = []
        for customer in customers:
            for member in customer.members:
                own = fresh.get(member)
                if own is not None and len(customer.members) == 1 and lanes[member] == {own[0]}:
                    parts[member] = [own[1]]
                else:
                    parts[member] = []
                    wanted += [(lane, member) for lane in sorted(lanes[member])]
        if wanted:
            for (_, member), packed in zip(wanted, self.store.parts(wanted), strict=True):
                if packed is not None:
                    parts[member].append(unpack(packed))
        return parts

    def _side_effects(self, profiles: Sequence[Profile]) -> None:
        if not profiles:
            return
        self.store.index([(name, one.customer_id) for one in profiles for name in one.identifiers])
        self.point("between indexes and notice")
        for one in profiles:
            notice = {
                "customer_id": one.customer_id,
                "generation": self.labels.generation,
                "version": one.version,
            }
            self.outlet.produce(CHANGES_TOPIC, one.customer_id.encode(), _write(notice))
        self.outlet.flush()
