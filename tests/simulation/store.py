"""A store in memory, which can be set back: as a whole, or single shards of it.

Guarantees:
- Passes the contract test of stores (tests/test_store_contract.py), as Redis does.
- What Redis does as one step is one step here; between the calls of a pipeline anything may happen.
- A connection that was lost is `StoreAway` for whatever is called next; only then `prepare()` makes it anew.

All values are immutable, so that a snapshot is a copy of one dict.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from models.record import Lane
from stores.store import (
    Checkpoint,
    Commit,
    Entry,
    Loaded,
    Membership,
    ProfileWrite,
    StoreAway,
    StoreBroken,
)

# As RedisStore: keys of one function call.
KEYS_PER_CALL = 256

Call = Callable[[], Any]
Key = tuple[str, Any]
"""The kind of a value and its name. On a cluster each key is on some shard; keys of a lane are together."""

LANE, LANES, REFERENCE = "lane", "lanes", "reference"
MEMBERSHIP, PROFILE, INDEX = "membership", "profile", "index"


class LaneState(NamedTuple):
    """All that shares a lane's hash tag: checkpoint, parts and marks."""

    next_offset: int | None = None
    end_offset: int = 0
    assembled_offset: int = 0
    at_ms: int = 0
    parts: Mapping[str, bytes] = {}
    marks: Mapping[str, int] = {}


class ProfileState(NamedTuple):
    """A profile as stored."""

    version: str
    founder: str
    writer: str
    sections: Mapping[str, bytes]
    state: str = "live"

    @property
    def order(self) -> tuple[int, int]:
        """(position, revisions), by which versions are compared."""
        position, _, revisions = self.version.partition(".")
        return int(position), int(revisions)


NOTHING = LaneState()
Snapshot = dict[Key, Any]


class Shelf:
    """What the servers hold, shared by all stores. `committed` and `closed` watch what was accepted."""

    def __init__(self) -> None:
        self.values: Snapshot = {}
        self.committed: Callable[[Commit], None] = lambda _: None
        self.closed: Callable[[Lane, str, int], None] = lambda *_: None

    def lane(self, lane: Lane) -> LaneState:
        """The state of a lane."""
        return self.values.get((LANE, lane), NOTHING)

    def of_kind(self, kind: str) -> dict[Any, Any]:
        """All values of a kind, by name."""
        return {name: value for (held, name), value in self.values.items() if held == kind}

    def snapshot(self) -> Snapshot:
        """All that is held now."""
        return dict(self.values)

    def set_back(self, to: Snapshot, gone: Callable[[Key], bool]) -> None:
        """Let what is on some shards be as it was then."""
        for key in [key for key in self.values if gone(key)]:
            del self.values[key]
        self.values.update({key: value for key, value in to.items() if gone(key)})


class SimulatedStore:
    """A worker's connection to the shelf (`stores.store.Store`).

    `fate(name, rest)` is called before each call of a pipeline, with the calls not made yet, and once more
    when all are made, before they are answered (`rest` is empty). It may raise, and may keep `rest` to make
    it later.
    """

    def __init__(
        self,
        shelf: Shelf,
        *,
        shared_above: int = 5,
        keys_per_call: int = KEYS_PER_CALL,
        fate: Callable[[str, Sequence[Call]], None] = lambda *_: None,
    ) -> None:
        self.shelf, self.fate = shelf, fate
        self.shared_above, self.keys_per_call = shared_above, keys_per_call
        self.connected, self.loss_told = True, False

    def _pipe(self, name: str, calls: Sequence[Call]) -> list[Any]:
        """Make the calls in order; what else happens lies between them."""
        answers = []
        for number, call in enumerate(calls):
            self.fate(name, calls[number:])
            self._must_be_connected(name)
            answers.append(call())
        if calls:
            self.fate(name, ())
            self._must_be_connected(name)
        return answers

    def _must_be_connected(self, name: str) -> None:
        if not self.connected:
            self.loss_told = True
            raise StoreAway(f"the store did not answer ({name}): the connection was lost")

    def _chunks(self, items: Sequence[Any]) -> list[Sequence[Any]]:
        return [items[at : at + self.keys_per_call] for at in range(0, len(items), self.keys_per_call)]

    def prepare(self) -> None:
        """Connect, if whoever asks knows that the connection was lost; there is nothing to install."""
        if self.loss_told:
            self.connected, self.loss_told = True, False
        self._pipe("prepare", [lambda: None])

    def load(self, wanted: Mapping[Lane, Sequence[str]]) -> dict[Lane, Loaded]:
        """Per lane: the parts of these subjects with the checkpoint; none where it moved meanwhile."""

        def one(lane: Lane, subjects: Sequence[str]) -> tuple[Lane, Loaded]:
            state = self.shelf.lane(lane)
            return lane, Loaded(state.next_offset, [state.parts.get(subject) for subject in subjects])

        calls = [
            lambda lane=lane, chunk=chunk: one(lane, chunk)
            for lane, subjects in wanted.items()
            for chunk in self._chunks(subjects) or [()]
        ]
        loaded: dict[Lane, Loaded] = {}
        for lane, found in self._pipe("load", calls):
            before = loaded.setdefault(lane, found)
            if before.next_offset != found.next_offset:
                loaded[lane] = Loaded(-1, [])
            elif before is not found and before.next_offset != -1:
                loaded[lane] = Loaded(found.next_offset, [*before.parts, *found.parts])
        return loaded

    def commit(self, commits: Sequence[Commit]) -> list[bool]:
        """Each in turn; False where the stored checkpoint was another."""
        return self._pipe("commit", [lambda one=one: self._commit(one) for one in commits])

    def _commit(self, one: Commit) -> bool:
        state = self.shelf.lane(one.lane)
        if state.next_offset != one.expected:
            return False
        self.shelf.values[LANE, one.lane] = LaneState(
            one.next_offset,
            one.end_offset,
            state.assembled_offset,
            one.at_ms,
            {**state.parts, **{part.subject: part.packed for part in one.parts}},
            {
                **state.marks,
                **{part.subject: part.revision for part in one.parts if part.revision is not None},
            },
        )
        self.shelf.committed(one)
        return True

    def checkpoints(self, lanes: Sequence[Lane]) -> list[Checkpoint]:
        """Where each lane stands."""
        calls = [lambda lane=lane: Checkpoint(*self.shelf.lane(lane)[:4]) for lane in lanes]
        return self._pipe("checkpoints", calls)

    def idle(self, lanes: Sequence[tuple[Lane, int | None, int | None]], at_ms: int) -> list[bool]:
        """Per (lane, expected next offset, end offset): still there? Notes the end and the time."""

        def one(lane: Lane, expected: int | None, end: int | None) -> bool:
            state = self.shelf.lane(lane)
            if state.next_offset != expected:
                return False
            if end is not None:
                self.shelf.values[LANE, lane] = state._replace(end_offset=end, at_ms=at_ms)
            return True

        return self._pipe("idle", [lambda asked=asked: one(*asked) for asked in lanes])

    def marks(self, lane: Lane) -> dict[str, int]:
        """Subjects whose latest revision is not assembled yet."""
        [found] = self._pipe("marks", [lambda: dict(self.shelf.lane(lane).marks)])
        return found

    def close_marks(self, closed: Mapping[Lane, tuple[int, Mapping[str, int]]]) -> dict[Lane, int]:
        """Per lane (offset assembled up to, marks): close those not made newer; gives how many are left."""
        calls = [lambda lane=lane, found=found: self._close(lane, *found) for lane, found in closed.items()]
        return dict(zip(closed, self._pipe("close_marks", calls), strict=True))

    def _close(self, lane: Lane, offset: int, marks: Mapping[str, int]) -> int:
        state = self.shelf.lane(lane)
        left = {subject: number for subject, number in state.marks.items() if marks.get(subject) != number}
        for subject in state.marks.keys() - left.keys():
            self.shelf.closed(lane, subject, marks[subject])
        if state is not NOTHING:
            passed = left or state.next_offset is None or state.next_offset < offset
            assembled = state.assembled_offset if passed else max(offset, state.assembled_offset)
            self.shelf.values[LANE, lane] = state._replace(marks=left, assembled_offset=assembled)
        return len(left)

    def note_subjects(self, lanes: Sequence[tuple[str, Lane]], references: Sequence[tuple[str, str]]) -> None:
        """Add (subject, lane) and (reference, subject); both only ever grow."""

        def add(key: Key, member: Any) -> None:
            self.shelf.values[key] = self.shelf.values.get(key, frozenset()) | {member}

        calls = [lambda subject=subject, lane=lane: add((LANES, subject), lane) for subject, lane in lanes]
        calls += [
            lambda name=name, subject=subject: add((REFERENCE, name), subject) for name, subject in references
        ]
        self._pipe("note_subjects", calls)

    def members(self, subjects: Sequence[str]) -> list[tuple[Membership | None, frozenset[Lane]]]:
        """Per subject: its membership, None before the graph placed it, and the lanes that hold its parts."""
        values = self.shelf.values
        calls: list[Call] = []
        for name in subjects:
            calls.append(lambda name=name: values.get((MEMBERSHIP, name)))
            calls.append(lambda name=name: values.get((LANES, name), frozenset()))
        found = self._pipe("members", calls)
        return list(zip(found[::2], found[1::2], strict=True))

    def lanes(self, subjects: Sequence[str]) -> list[frozenset[Lane]]:
        """Per subject: the lanes that hold its parts."""
        values = self.shelf.values
        calls = [lambda name=name: values.get((LANES, name), frozenset()) for name in subjects]
        return self._pipe("lanes", calls)

    def parts(self, wanted: Sequence[tuple[Lane, str]]) -> list[bytes | None]:
        """The parts as they are now."""
        calls = [lambda lane=lane, name=name: self.shelf.lane(lane).parts.get(name) for lane, name in wanted]
        return self._pipe("parts", calls)

    def put_profiles(self, profiles: Iterable[ProfileWrite]) -> list[str]:
        """Compare-and-set: `newer` (written), `equal`, `older`, or `base` (send all sections)."""
        profiles = list(profiles)
        answers = self._pipe("put_profiles", [lambda one=one: self._put(one) for one in profiles])
        for one, answer in zip(profiles, answers, strict=True):
            if answer.startswith("founder"):
                raise StoreBroken(f"{one.customer_id} belongs to {answer[8:]}, not to {one.founder}")
        return answers

    def _put(self, one: ProfileWrite) -> str:
        key = (PROFILE, one.customer_id)
        stored: ProfileState | None = self.shelf.values.get(key)
        new = ProfileState(one.version, one.founder, one.writer, dict(one.sections), one.state)
        if stored is not None:
            if stored.founder != one.founder:
                return f"founder {stored.founder}"
            if stored.order == new.order:
                return "equal"
            if stored.order > new.order:
                return "older"
        if one.base is not None:
            if stored is None or stored.writer != one.base:
                return "base"
            new = new._replace(sections={**stored.sections, **new.sections})
        if one.growth is not None:
            entries, cut_bytes = one.growth
            kept = stored.sections["timeline"][1 : -1 - cut_bytes] if one.base else b""
            if not kept:
                return "base"
            new.sections["timeline"] = b"[%b,%b]" % (entries, kept)
        self.shelf.values[key] = new
        return "newer"

    def place(self, memberships: Mapping[str, Membership], entries: Mapping[str, Entry]) -> None:
        """Write where subjects are and whom names lead to, each unless a later stamp is there."""

        def put(key: Key, value: Membership | Entry) -> None:
            stored: Membership | Entry | None = self.shelf.values.get(key)
            if stored is None or stored.stamp <= value.stamp:
                self.shelf.values[key] = value

        calls = [lambda name=name, one=one: put((MEMBERSHIP, name), one) for name, one in memberships.items()]
        calls += [lambda name=name, one=one: put((INDEX, name), one) for name, one in entries.items()]
        self._pipe("place", calls)

    def index(self, entries: Sequence[tuple[str, str]]) -> None:
        """Add (identifier or subject, customer id) to the entries that the graph has not placed yet."""

        def add(name: str, customer: str) -> None:
            held: Entry = self.shelf.values.get((INDEX, name), Entry(0, ()))
            linking = (customer, "linking")
            if held.stamp == 0 and linking not in held.customers:
                known = tuple(sorted((*held.customers, linking))[: self.shared_above + 1])
                self.shelf.values[INDEX, name] = Entry(0, known)

        self._pipe("index", [lambda entry=entry: add(*entry) for entry in entries])

    def close(self) -> None:
        """Let go of the connection."""
        self.connected = False
