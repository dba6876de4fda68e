"""Workers and stores broken on purpose, each in one way that the laws rule out.

Guarantees:
- Each differs from the real one in what its name says and in nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from models.record import Lane
from projections.assembling import Member
from stores.store import Commit, Loaded, ProfileWrite
from streams.assembler import Assembler, Customer
from streams.lane_worker import FoldingWorker, Held, Round
from tests.simulation.store import LANE, PROFILE, ProfileState, SimulatedStore


class CheckpointApart(SimulatedStore):
    """Writes parts and marks in one call and the checkpoint in the next."""

    def commit(self, commits: Sequence[Commit]) -> list[bool]:
        calls = [
            lambda one=one, step=step: step(one) for one in commits for step in (self._write, self._move)
        ]
        return self._pipe("commit", calls)[1::2]

    def _write(self, one: Commit) -> None:
        before = self.shelf.lane(one.lane)
        committed, self.shelf.committed = self.shelf.committed, lambda _: None
        if self._commit(one):
            written = self.shelf.lane(one.lane)
            self.shelf.values[LANE, one.lane] = before._replace(parts=written.parts, marks=written.marks)
        self.shelf.committed = committed

    def _move(self, one: Commit) -> bool:
        return self._commit(one._replace(parts=()))


class LoadsAnything(FoldingWorker):
    """Takes parts as they come, whatever checkpoint they belong to."""

    def _load(self, shares: Sequence[Round]) -> list[Lane]:
        store = self.store
        self.store = _Standing(self, store)  # type: ignore[assignment]
        try:
            return super()._load(shares)
        finally:
            self.store = store


class _Standing:
    """Says of every checkpoint that it is where the worker stands."""

    def __init__(self, worker: FoldingWorker, store: SimulatedStore) -> None:
        self.worker, self.store = worker, store

    def load(self, wanted: Mapping[Lane, Sequence[str]]) -> dict[Lane, Loaded]:
        """The parts, with our own checkpoint."""
        found = {lane: self.store.load({lane: subjects})[lane] for lane, subjects in wanted.items()}
        return {
            lane: loaded
            if loaded.next_offset == -1
            else Loaded(self.worker.held[lane].next_offset, loaded.parts)
            for lane, loaded in found.items()
        }


class KeepsItsCache(FoldingWorker):
    """Remembers the parts of a lane over its loss and return."""

    def _take(self, lanes: Sequence[Lane]) -> dict[Lane, int | None]:
        return self._without_dropping(lambda: super(KeepsItsCache, self)._take(lanes))

    def lose(self, lanes: Sequence[Lane]) -> None:
        self._without_dropping(lambda: super(KeepsItsCache, self).lose(lanes))

    def _without_dropping(self, call):  # type: ignore[no-untyped-def]
        drop = self.cache.drop
        self.cache.drop = lambda lane: None  # type: ignore[method-assign]
        try:
            return call()
        finally:
            self.cache.drop = drop  # type: ignore[method-assign]


class StatesAfterTheCommit(FoldingWorker):
    """Produces dead letters and link facts when the commit is made."""

    def _step(self, shares: list[Round]) -> list[Lane]:
        self._later: list[Sequence[Round]] = []
        return super()._step(shares)

    def _acknowledge(self, shares: Sequence[Round]) -> None:
        self._later.append(shares)

    def _commit(self, shares: Sequence[Round]) -> list[Round]:
        committed = super()._commit(shares)
        for later in self._later:
            super()._acknowledge(later)
        return committed


class StatesWithoutWaiting(FoldingWorker):
    """Hands link facts over before the commit, and does not wait for the acknowledgement."""

    def _acknowledge(self, shares: Sequence[Round]) -> None:
        flush = self.outlet.flush
        self.outlet.flush = lambda: None  # type: ignore[method-assign]
        try:
            super()._acknowledge(shares)
        finally:
            self.outlet.flush = flush  # type: ignore[method-assign]


class ClosesMarksEarly(FoldingWorker):
    """Closes marks as soon as the profile is written, before indexes and notice."""

    def _step(self, shares: list[Round]) -> list[Lane]:
        assembler, effects = self.assembler, self.assembler._side_effects
        late = []
        assembler._side_effects = lambda *found: late.append(found)  # type: ignore[method-assign]
        try:
            refused = super()._step(shares)
        finally:
            assembler._side_effects = effects  # type: ignore[method-assign]
        for found in late:
            effects(*found)
        return refused


class LastWriteWins(SimulatedStore):
    """Takes the profile that was written last for the newest."""

    def _put(self, one: ProfileWrite) -> str:
        stored: ProfileState | None = self.shelf.values.get((PROFILE, one.customer_id))
        if stored is not None and stored.version != one.version:
            self.shelf.values[PROFILE, one.customer_id] = stored._replace(version="0.-1")
        return super()._put(one)


class _FromMemory(Assembler):
    worker: FoldingWorker

    def _parts(
        self, customers: Sequence[Customer], lanes: Mapping[str, frozenset[Lane]], *, fresh: bool
    ) -> dict[str, list[Member]]:
        found = super()._parts(customers, lanes, fresh=fresh)
        for subject, members in found.items():
            for number, one in enumerate(members):
                lane = Lane.parse(one.lane)
                if lane in self.worker.held and subject in self.worker.cache.of(lane):
                    members[number] = one._replace(part=self.worker.cache.of(lane)[subject])
        return found


class AssemblesFromMemory(FoldingWorker):
    """Takes the parts of all lanes it believes to own from memory, where it has them."""

    def __init__(self, *args, **named) -> None:  # type: ignore[no-untyped-def]
        super().__init__(*args, **named)
        real = self.assembler
        self.assembler = _FromMemory(real.store, real.outlet, real.labels, real.name, real.point, real.mend)
        self.assembler.worker = self


class ForgetsMarks(FoldingWorker):
    """Does not look for the marks of a lane it takes."""

    def _take(self, lanes: Sequence[Lane]) -> dict[Lane, int | None]:
        self.store.prepare()
        for lane, checkpoint in zip(lanes, self.store.checkpoints(lanes), strict=True):
            self.cache.drop(lane)
            self.held[lane] = Held(checkpoint.next_offset)
        return {lane: self.held[lane].next_offset for lane in lanes}


class KeepsItsFooting(FoldingWorker):
    """After a lost answer only the lanes of that call are taken anew."""

    def _lose_footing(self, away: Exception) -> None:
        pass


class NotesOnlyOnce(FoldingWorker):
    """Believes that the lanes it noted before a commit are there after it, although the store went back."""

    def __init__(self, *args, **named) -> None:  # type: ignore[no-untyped-def]
        super().__init__(*args, **named)
        self.assembler._note_again = lambda *_: None  # type: ignore[method-assign]


class _ShowsAnything(Assembler):
    def assemble(self, marked: Mapping[str, Mapping[Lane, int]]) -> set[str]:
        return super().assemble({subject: dict.fromkeys(lanes, -1) for subject, lanes in marked.items()})


class ClosesWhatItDoesNotShow(FoldingWorker):
    """Closes a mark when its customer is assembled, of whatever parts."""

    def __init__(self, *args, **named) -> None:  # type: ignore[no-untyped-def]
        super().__init__(*args, **named)
        real = self.assembler
        self.assembler = _ShowsAnything(
            real.store, real.outlet, real.labels, real.name, real.point, real.mend
        )


class FoldsAnyRange(FoldingWorker):
    """Folds whatever range it is given."""

    def _step(self, shares: list[Round]) -> list[Lane]:
        for share in shares:
            share.__class__ = _Follows
        return super()._step(shares)


class _Follows(Round):
    follows = True  # type: ignore[assignment]


class AnyProfileIsABase(SimulatedStore):
    """Takes changed sections upon whatever is stored, if the version is that of the base."""

    def _put(self, one: ProfileWrite) -> str:
        stored: ProfileState | None = self.shelf.values.get((PROFILE, one.customer_id))
        if one.base is not None and stored is not None:
            one = one._replace(base=stored.writer)
        return super()._put(one)


class Reconnects(SimulatedStore):
    """Makes a lost connection anew without a word, as a client's pool does."""

    def _must_be_connected(self, name: str) -> None:
        self.connected = True


class GoesBackInOffsets(SimulatedStore):
    """Lets a worker that comes late put the assembled offset back."""

    def _close(self, lane: Lane, offset: int, marks: Mapping[str, int]) -> int:
        left = super()._close(lane, offset, marks)
        state = self.shelf.lane(lane)
        if not left and state.next_offset is not None and state.next_offset >= offset:
            self.shelf.values[LANE, lane] = state._replace(assembled_offset=offset)
        return left
