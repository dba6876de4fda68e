"""Assemble the customers of dirty subjects, repeat the side effects, say which marks are done.

Invariants (L4):
- Membership and parts are read after the commit that made the assembly necessary. A part may come from memory
  where the store says, after that, that its lane still stands where the worker that remembers it does.
- A profile is written by compare-and-set on its version; `older` mends memberships from the graph and reads
  everything anew, three times at most.
- Indexes are written and the change notice is acknowledged before a mark may close, and it closes only at a
  revision that the profile shows.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

import msgspec

from models.catalogue import CHANGES_TOPIC
from models.identifiers import customer_id
from models.record import Lane
from projections.assembling import ALONE, Labels, Member, Placed, Profile, View, assemble
from projections.parts import Part, unpack
from stores.store import Membership, ProfileWrite, Store

TRIES = 3
# So many customers are read, merged and written at a time: what a worker holds of them is bounded.
CUSTOMERS_AT_ONCE = 512
# About 2 kB each: the customers that are busy now. One that is not remembered is assembled whole.
VIEWS_MAX = 50_000

_write = msgspec.json.Encoder().encode


class Outlet(Protocol):
    """Where a worker produces to."""

    def produce(self, topic: str, key: bytes | None, value: bytes | None) -> None:
        """Hand over one record."""

    def flush(self) -> None:
        """Wait until everything handed over is acknowledged."""


class Customer(NamedTuple):
    """Whom to assemble: the founder, its position in the graph, its members, and what else the graph says."""

    founder: str
    position: int
    members: tuple[str, ...]
    placed: Placed


class Seen(NamedTuple):
    """The profile as this worker wrote it last: the mark it left, and what it need not do again."""

    writer: str
    view: View
    subjects: tuple[str, ...]
    identifiers: list[str]


Remembered = Mapping[Lane, Mapping[str, Part]]


class Assembler:
    """Assembles for one generation. `name` tells this worker's writes from all others'."""

    def __init__(
        self,
        store: Store,
        outlet: Outlet,
        labels: Labels,
        name: str,
        point: Callable[[str], None],
        mend: Callable[[Sequence[str]], None],
        remembered: Callable[[Iterable[Lane]], Remembered] = lambda _: {},
    ) -> None:
        """`mend` writes the memberships of subjects again, from the graph itself.

        `remembered` gives the parts known of those of these lanes that, as the store says, have not moved.
        """
        self.store, self.outlet, self.labels, self.name, self.point = store, outlet, labels, name, point
        self.mend, self.remembered = mend, remembered
        self._seen: OrderedDict[str, Seen] = OrderedDict()
        self._writes = 0

    @property
    def views(self) -> int:
        """How many customers' profiles are remembered."""
        return len(self._seen)

    def forget(self) -> None:
        """The store may have gone back: whoever is assembled next is so as by a new worker."""
        self._seen.clear()

    def assemble(self, marked: Mapping[str, Mapping[Lane, int]]) -> set[str]:
        """Bring the profiles of these subjects' customers up to date; gives the subjects for which it worked.

        `marked` has the marks of each subject: the lanes that hold a part of it, with its revision there.
        """
        done: set[str] = set()
        subjects = list(marked)
        for at in range(0, len(subjects), CUSTOMERS_AT_ONCE):
            left = subjects[at : at + CUSTOMERS_AT_ONCE]
            for attempt in range(TRIES):
                if attempt:
                    # Somebody knows a later position: the membership that was read may have gone back.
                    self.mend(left)
                assembled = self._try({subject: marked[subject] for subject in left}, fresh=not attempt)
                done |= assembled
                left = [subject for subject in left if subject not in assembled]
                if not left:
                    break
        # Once for all of them: an acknowledgement takes as long as assembling some dozens.
        self.outlet.flush()
        while len(self._seen) > VIEWS_MAX:
            self._seen.popitem(last=False)
        return done

    def _try(self, marked: Mapping[str, Mapping[Lane, int]], *, fresh: bool) -> set[str]:
        customers, lanes = self._customers(marked)
        self.point("between membership and parts")
        parts = self._parts(customers, lanes, fresh=fresh)
        self.point("between parts and profile")
        members: dict[str, list[Member]] = {}
        for customer in customers:
            if len(customer.members) == 1:
                members[customer.founder] = parts[customer.members[0]]
            else:
                members[customer.founder] = [one for member in customer.members for one in parts[member]]
        profiles = self._put([customer for customer in customers if members[customer.founder]], members)
        self.point("after side effects")
        settled = {profile.founder for profile in profiles}
        settled |= {customer.founder for customer in customers if not members[customer.founder]}
        of = {member: customer.founder for customer in customers for member in customer.members}
        return {
            subject
            for subject, marks in marked.items()
            if of.get(subject) in settled and _shows(members[of[subject]], subject, marks)
        }

    def _put(self, customers: Sequence[Customer], members: Mapping[str, Sequence[Member]]) -> list[Profile]:
        """Write the profiles; gives those that are in place. A stale view costs a second, whole write."""
        settled: list[Profile] = []
        unindexed: list[tuple[str, str]] = []
        # An assembly brings the view up to date, so it is gone until the profile is written.
        waiting = [(customer, self._seen.pop(customer.founder, None)) for customer in customers]
        while waiting:
            made: list[tuple[Profile, ProfileWrite]] = []
            answers = self.store.put_profiles(self._made(waiting, members, made))
            again = []
            for (customer, seen), (profile, write), answer in zip(waiting, made, answers, strict=True):
                if answer == "base":
                    again.append((customer, None))
                elif answer != "older":
                    settled.append(profile)
                    new = _seen(write, profile, members[customer.founder])
                    if seen is None or seen[2:] != new[2:]:
                        unindexed += _names(new, profile)
                    if answer == "newer":
                        self._seen[customer.founder] = new
            waiting = again
        self.point("after profile")
        self._side_effects(settled, unindexed)
        return settled

    def _made(
        self,
        waiting: Sequence[tuple[Customer, Seen | None]],
        members: Mapping[str, Sequence[Member]],
        made: list[tuple[Profile, ProfileWrite]],
    ) -> Iterator[ProfileWrite]:
        """Assemble one after the other, while the store works at those before; each goes to `made`, too."""
        for one, seen in waiting:
            view = seen.view if seen else None
            mine = members[one.founder]
            profile = assemble(mine, self.labels, one.position, one.founder, view, one.placed, growing=True)
            write = self._write(profile, seen)
            made.append((profile, write))
            yield write

    def _write(self, profile: Profile, seen: Seen | None) -> ProfileWrite:
        self._writes += 1
        # Only upon this worker's own last write are the sections left out what the store still holds.
        base = None if seen is None else seen.writer
        return ProfileWrite(
            profile.customer_id,
            profile.version,
            profile.founder,
            f"{self.name}.{self._writes}",
            base,
            profile.sections,
            growth=profile.growth,
        )

    def _customers(
        self, marked: Mapping[str, Mapping[Lane, int]]
    ) -> tuple[list[Customer], dict[str, frozenset[Lane]]]:
        """The customers that these subjects belong to, and the lanes of all their members."""
        found = dict(zip(marked, self.store.members(list(marked)), strict=True))
        customers: dict[str, Customer] = {}
        for subject, (membership, _) in found.items():
            customer = _customer(subject, membership)
            known = customers.get(customer.founder)
            if known is None or known.position < customer.position:
                customers[customer.founder] = customer
        lanes = {subject: known for subject, (_, known) in found.items()}
        others = [name for one in customers.values() for name in one.members if name not in found]
        if others:
            # Not their memberships: each lists all members again.
            lanes.update(zip(others, self.store.lanes(others), strict=True))
        self._note_again(marked, lanes)
        return list(customers.values()), lanes

    def _note_again(
        self, marked: Mapping[str, Mapping[Lane, int]], lanes: dict[str, frozenset[Lane]]
    ) -> None:
        """What was noted before a commit is gone if the store went back in between; the mark came after."""
        lost = [
            (subject, lane) for subject in marked for lane in marked[subject] if lane not in lanes[subject]
        ]
        if lost:
            self.store.note_subjects(lost, ())
            for subject, lane in lost:
                lanes[subject] |= {lane}

    def _parts(
        self, customers: Sequence[Customer], lanes: Mapping[str, frozenset[Lane]], *, fresh: bool
    ) -> dict[str, list[Member]]:
        remembered: Remembered = {}
        if fresh:
            remembered = self.remembered(
                {lane for one in customers for member in one.members for lane in lanes[member]}
            )
        parts: dict[str, list[Member]] = {}
        wanted: list[tuple[Lane, str]] = []
        for customer in customers:
            for member in customer.members:
                # Two customers list one subject when a merge or split came between two memberships read.
                if member in parts:
                    continue
                found = parts[member] = []
                for lane in lanes[member]:
                    part = known.get(member) if (known := remembered.get(lane)) is not None else None
                    if part is None:
                        wanted.append((lane, member))
                    elif part.revision:
                        found.append(Member(member, str(lane), part))
        if wanted:
            wanted.sort()
            for (lane, member), packed in zip(wanted, self.store.parts(wanted), strict=True):
                if packed is not None:
                    parts[member].append(Member(member, str(lane), unpack(packed)))
        return parts

    def bury(self, stamped: Mapping[str, int]) -> set[str]:
        """Leave a tombstone, as of these positions, for each id that the hash of such a subject was.

        Gives the subjects for which one is in place, or something later is.
        """
        writes = []
        for subject, stamp in stamped.items():
            self._writes += 1
            self._seen.pop(subject, None)
            writes.append(
                ProfileWrite(
                    customer_id(subject),
                    f"{stamp}.0",
                    subject,
                    f"{self.name}.{self._writes}",
                    None,
                    {},
                    "merged",
                )
            )
        answers = self.store.put_profiles(writes)
        for write, answer in zip(writes, answers, strict=True):
            if answer in ("newer", "equal"):
                self._notify(write.customer_id, write.version, write.state)
        self.outlet.flush()
        return set(stamped)

    def _notify(self, customer: str, version: str, state: str = "live") -> None:
        notice = {
            "customer_id": customer,
            "generation": self.labels.generation,
            "version": version,
            "state": state,
        }
        self.outlet.produce(CHANGES_TOPIC, customer.encode(), _write(notice))

    def _side_effects(self, profiles: Sequence[Profile], unindexed: list[tuple[str, str]]) -> None:
        if not profiles:
            return
        if unindexed:
            self.store.index(sorted(unindexed))
        self.point("between indexes and notice")
        for one in profiles:
            self._notify(one.customer_id, one.version)


def _shows(members: Sequence[Member], subject: str, marks: Mapping[Lane, int]) -> bool:
    """Whether a profile of these shows the subject's marks: a part below its mark will be folded anew."""
    for lane, revision in marks.items():
        name = str(lane)
        for one in members:
            if one.subject == subject and one.lane == name:
                if one.part.revision < revision:
                    return False
                break
        else:
            return False
    return True


def _seen(write: ProfileWrite, profile: Profile, members: Sequence[Member]) -> Seen:
    subjects = tuple(dict.fromkeys(one.subject for one in members))
    return Seen(write.writer, profile.view, subjects, profile.view.identifiers)


def _names(seen: Seen, profile: Profile) -> list[tuple[str, str]]:
    """All names that lead to a customer by what its members say."""
    return [(name, profile.customer_id) for name in {*seen.subjects, *seen.identifiers}]


def _customer(subject: str, membership: Membership | None) -> Customer:
    """Whom a subject belongs to. Where the graph has placed it nowhere, it stands for itself."""
    if membership is None:
        return Customer(subject, 0, (subject,), ALONE)
    if not membership.members:
        return Customer(subject, membership.stamp, (subject,), ALONE)
    placed = Placed(membership.statuses, membership.related)
    return Customer(membership.founder, membership.stamp, membership.members, placed)
