"""What a worker asks of the store: the shape that Redis and the simulator's store both have.

Invariants:
- `commit` is all or nothing, and refuses when the stored checkpoint is not the expected one.
- `load` gives parts together with the checkpoint they belong to.
- Nothing retries by itself: a broken connection is `StoreAway`, and the worker decides.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol

from models.record import Lane


class StoreAway(Exception):
    """The store did not answer, or its answer was lost: what was asked may or may not have happened."""


class StoreBroken(Exception):
    """The store answered with something that cannot go on: out of memory, read-only, another founder."""


class PartWrite(NamedTuple):
    """A part after a batch. `revision` None leaves no dirty mark (employees have no profile)."""

    subject: str
    packed: bytes
    revision: int | None


class Commit(NamedTuple):
    """A prefix of a lane's batch. `expected` is the next offset it was folded upon, None before the first."""

    lane: Lane
    expected: int | None
    next_offset: int
    end_offset: int
    at_ms: int
    parts: Sequence[PartWrite]


class Loaded(NamedTuple):
    """Parts and the checkpoint they belong to."""

    next_offset: int | None
    parts: Sequence[bytes | None]


class Membership(NamedTuple):
    """Where the identity graph has placed a subject, at the position `stamp`: no `members`, in no customer.

    `statuses` has the identifiers of members that do not link, `related` the founders of possible matches
    with what leads there (`projections.graph_nodes.Placement`).
    """

    stamp: int
    founder: str
    members: tuple[str, ...]
    statuses: dict[str, str] = {}  # noqa: RUF012 - nobody changes it
    related: tuple[tuple[str, str], ...] = ()


class Entry(NamedTuple):
    """Whom a name leads to, as of a position: (customer id, status) of each."""

    stamp: int
    customers: tuple[tuple[str, str], ...]


class ProfileWrite(NamedTuple):
    """A profile for compare-and-set.

    `writer` names this one write; with a `base`, `sections` are those that differ from the write so named,
    and `growth` is what its timeline differs in: JSON to put in front, and how many bytes at its end go.
    In another `state` than `live` it is a tombstone: no sections, and what was there before goes.
    """

    customer_id: str
    version: str
    founder: str
    writer: str
    base: str | None
    sections: Mapping[str, bytes]
    state: str = "live"
    growth: tuple[bytes, int] | None = None


class Checkpoint(NamedTuple):
    """How far a lane is: next offset to fold, end of the topic when last looked, assembled up to, at."""

    next_offset: int | None
    end_offset: int
    assembled_offset: int
    at_ms: int


class Store(Protocol):
    """The store as the worker sees it; every method is one round trip."""

    def prepare(self) -> None:
        """Install what the other calls need; harmless when it is there."""

    def load(self, wanted: Mapping[Lane, Sequence[str]]) -> dict[Lane, Loaded]:
        """Per lane: the parts of these subjects with the checkpoint."""

    def commit(self, commits: Sequence[Commit]) -> list[bool]:
        """Each in turn; False where the stored checkpoint was another."""

    def checkpoints(self, lanes: Sequence[Lane]) -> list[Checkpoint]:
        """Where each lane stands."""

    def idle(self, lanes: Sequence[tuple[Lane, int | None, int | None]], at_ms: int) -> list[bool]:
        """Per (lane, expected next offset, end offset): still there? Notes the end and the time."""

    def marks(self, lane: Lane) -> dict[str, int]:
        """Subjects whose latest revision is not assembled yet."""

    def close_marks(self, closed: Mapping[Lane, tuple[int, Mapping[str, int]]]) -> dict[Lane, int]:
        """Per lane (offset assembled up to, marks): close those not made newer; gives how many are left."""

    def note_subjects(self, lanes: Sequence[tuple[str, Lane]], references: Sequence[tuple[str, str]]) -> None:
        """Add (subject, lane) and (reference, subject); both only ever grow."""

    def members(self, subjects: Sequence[str]) -> list[tuple[Membership | None, frozenset[Lane]]]:
        """Per subject: its membership, None before the graph placed it, and the lanes that hold its parts."""

    def lanes(self, subjects: Sequence[str]) -> list[frozenset[Lane]]:
        """Per subject: the lanes that hold its parts."""

    def parts(self, wanted: Sequence[tuple[Lane, str]]) -> list[bytes | None]:
        """The parts as they are now."""

    def put_profiles(self, profiles: Iterable[ProfileWrite]) -> list[str]:
        """Compare-and-set: `newer` (written), `equal`, `older`, or `base` (send all sections).

        Some are sent while the next ones are made: what makes them asks the store nothing.
        """

    def place(self, memberships: Mapping[str, Membership], entries: Mapping[str, Entry]) -> None:
        """Write where subjects are and whom names lead to, each unless a later stamp is there."""

    def index(self, entries: Sequence[tuple[str, str]]) -> None:
        """Add (identifier or subject, customer id) to the entries that the graph has not placed yet."""

    def close(self) -> None:
        """Let go of the connection."""
