"""Identity writers and stores broken on purpose, each in one way that the laws of the graph rule out.

Guarantees:
- Each differs from the real one in what its name says and in nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from models.record import Lane
from projections.graph import Graph
from projections.graph_changes import Change
from projections.graph_nodes import Node
from stores.store import Commit, Entry, Membership, ProfileWrite
from streams.graph_cache import GraphCache
from streams.identity_writer import IdentityWriter
from streams.lane_worker import FoldingWorker
from tests.simulation.cases import LINK_LANE
from tests.simulation.store import INDEX, MEMBERSHIP, PROFILE, ProfileState, SimulatedStore


class CommitsAnywhere(SimulatedStore):
    """Takes the graph's nodes whatever its cursor is."""

    def _commit(self, one: Commit) -> bool:
        if one.lane == LINK_LANE:
            one = one._replace(expected=self.shelf.lane(LINK_LANE).next_offset)
        return super()._commit(one)


class _AnyNode(GraphCache):
    def get_many(self, names: Iterable[str]) -> Mapping[str, Node]:
        asked, at = list(names), self.next_offset
        if missing := [name for name in dict.fromkeys(asked) if name not in self]:
            self.next_offset = self.store.load({self.links: missing})[self.links].next_offset
        try:
            return super().get_many(asked)
        finally:
            self.next_offset = at


class ReadsAnyNode(IdentityWriter):
    """Takes nodes as they come, whatever cursor they belong to."""

    def __init__(self, *args, **named) -> None:  # type: ignore[no-untyped-def]
        super().__init__(*args, **named)
        self.nodes = _AnyNode(self.store, self.links)
        self.graph = Graph(self.rules, self.nodes)


class RemembersNodes(IdentityWriter):
    """Keeps what it remembers of the graph when another may have written it."""

    def _forget(self, next_offset: int | None) -> None:
        self.nodes.next_offset = next_offset
        self.marks = {}


class ForgetsItsMarks(IdentityWriter):
    """Does not look for the marks of the graph when it takes it."""

    def _take(self) -> dict[Lane, int | None]:
        self.store.prepare()
        [checkpoint] = self.store.checkpoints([self.links])
        self._forget(checkpoint.next_offset)
        return {self.links: self.nodes.next_offset}


class ClosesFirst(IdentityWriter):
    """Closes marks, and then makes readable what they mark."""

    def _settle(self, new: Mapping[str, int]) -> None:
        self.marks |= new
        if self.nodes.next_offset is not None:
            self.store.close_marks({self.links: (self.nodes.next_offset, self.marks)})
        if self.marks:
            self._made_readable(list(self.marks))
        self.marks = {}


class AssemblesFirst(IdentityWriter):
    """Assembles, and writes memberships and entries after it."""

    def _made_readable(self, names: list[str]) -> set[str]:
        real, late = self.store, _Later(self.store)
        self.store = late  # type: ignore[assignment]
        try:
            return super()._made_readable(names)
        finally:
            self.store = real
            for placed in late.placed:
                real.place(*placed)


class _Later:
    """Keeps placements for later."""

    def __init__(self, store: SimulatedStore) -> None:
        self.store = store
        self.placed: list[tuple[Mapping[str, Membership], Mapping[str, Entry]]] = []

    def place(self, memberships: Mapping[str, Membership], entries: Mapping[str, Entry]) -> None:
        self.placed.append((memberships, entries))

    def __getattr__(self, name: str) -> object:
        return getattr(self.store, name)


class BuriesNobody(IdentityWriter):
    """Leaves no tombstones."""

    def __init__(self, *args, **named) -> None:  # type: ignore[no-untyped-def]
        super().__init__(*args, **named)
        self.assembler.bury = set  # type: ignore[method-assign]


class PlacesOneByOne(IdentityWriter):
    """Assembles each customer as soon as the membership of one member is written."""

    def _made_readable(self, names: list[str]) -> set[str]:
        return {done for name in names for done in super(PlacesOneByOne, self)._made_readable([name])}


class PlacesAnything(SimulatedStore):
    """Writes memberships and entries whatever their stamps."""

    def place(self, memberships: Mapping[str, Membership], entries: Mapping[str, Entry]) -> None:
        placed = {(MEMBERSHIP, name): one for name, one in memberships.items()}
        placed |= {(INDEX, name): one for name, one in entries.items()}
        calls = [lambda key=key: self.shelf.values.update({key: placed[key]}) for key in placed]
        self._pipe("place", calls)


class IndexesAnything(SimulatedStore):
    """Lets assemblers add to entries that the graph has placed."""

    def index(self, entries: Sequence[tuple[str, str]]) -> None:
        def add(name: str, customer: str) -> None:
            held: Entry = self.shelf.values.get((INDEX, name), Entry(0, ()))
            if customer not in dict(held.customers):
                customers = (*held.customers, (customer, "linking"))
                self.shelf.values[INDEX, name] = held._replace(customers=customers)

        self._pipe("index", [lambda entry=entry: add(*entry) for entry in entries])


class MendsNothing(FoldingWorker):
    """Believes the memberships it reads, whatever the stored profile says."""

    def __init__(self, *args, **named) -> None:  # type: ignore[no-untyped-def]
        super().__init__(*args, **named)
        self.assembler.mend = lambda subjects: None


class ForgetsTheDead(SimulatedStore):
    """Compares a profile with the living only: a tombstone gives way to whatever comes."""

    def _put(self, one: ProfileWrite) -> str:
        stored: ProfileState | None = self.shelf.values.get((PROFILE, one.customer_id))
        if stored is not None and stored.state != "live" and one.state == "live":
            del self.shelf.values[PROFILE, one.customer_id]
        return super()._put(one)


class TellsAfterTheCommit(IdentityWriter):
    """Produces merges and splits when the commit is made."""

    def _tell(self, changes: Sequence[Change]) -> None:
        self._late = changes

    def _settle(self, new: Mapping[str, int]) -> None:
        super()._tell(self.__dict__.pop("_late", ()))
        self.outlet.flush()
        super()._settle(new)


class TellsWithoutWaiting(IdentityWriter):
    """Hands merges and splits over before the commit, and does not wait for the acknowledgement."""

    def _applied(self, *args):  # type: ignore[no-untyped-def]
        commits, changes, letters = super()._applied(*args)
        super()._tell(changes)
        return commits, [change._replace(turns=()) for change in changes], letters
