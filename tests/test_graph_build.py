"""A graph built at once is the graph that the identity writer makes fact by fact."""

from __future__ import annotations

import random
from types import SimpleNamespace
from typing import Any

import pytest

from models.identifiers import customer_id
from models.link import LinkFact, wire_link_fact
from models.record import Lane
from models.rules import IdentityRules
from projections.assembling import Labels
from stores.store import Entry, Membership
from streams.assembler import Assembler
from streams.graph_build import Built, GraphBegun, build_graph
from streams.identity_writer import BUILDING, IdentityWriter
from streams.lanes import Batch
from streams.memberships import mending
from tests.graph_oracle import Reference
from tests.simulation.store import INDEX, LANE, MEMBERSHIP, PROFILE, Shelf, SimulatedStore

LINKS = Lane("scv.g1.links", 0)
LABELS = Labels("g1", "c-test")
RULES = IdentityRules(shared_above=2)


class Outlet:
    """Takes everything."""

    def produce(self, topic: str, key: bytes | None, value: bytes | None) -> None:
        """Take one record."""

    def flush(self) -> None:
        """Nothing waits."""


def facts(seed: int) -> list[LinkFact]:
    """People with a customer number, a browser and an account, who share some phones."""
    rng, told = random.Random(seed), []
    for person in range(60):
        for subject in (f"crm:{person}", f"web:v{person}", f"billing:A{person}"):
            stated = [None, f"email:e{person}", f"phone:p{rng.randrange(25)}"]
            told += [(subject, identifier) for identifier in stated if rng.random() < 0.8]
    rng.shuffle(told)
    return [
        LinkFact(subject, "sales.events-0", offset, 1_000 + offset, identifier)
        for offset, (subject, identifier) in enumerate(told)
    ]


def followed(store: SimulatedStore, told: list[LinkFact]) -> IdentityWriter:
    """The identity writer after these facts, in batches of ten."""
    writer = IdentityWriter(
        store, Outlet(), RULES, LABELS, name="w", links=LINKS, clock_ms=lambda: 0, wait=lambda _: None
    )
    [(_, at)] = writer.take([LINKS]).items()
    records: list[Any] = [
        SimpleNamespace(offset=n, timestamp=0, key=b"", value=wire_link_fact(one), headers=())
        for n, one in enumerate(told)
    ]
    for start in range(at or 0, len(records), 10):
        some = records[start : start + 10]
        assert not writer.step([Batch(LINKS, start, some, start + len(some), len(records))])
    return writer


def built(store: SimulatedStore, told: list[LinkFact]) -> Built:
    """The same at once."""
    assembler = Assembler(store, Outlet(), LABELS, "b", lambda _: None, mending(store, LINKS))
    return build_graph(store, assembler, LINKS, RULES, enumerate(told, 1), len(told), 0, lambda *_: None)


def alone(entry: Entry) -> bool:
    """Whether lanes would have written it."""
    return len(entry.customers) == 1 and entry.customers[0][1] == "linking"


def seen(shelf: Shelf) -> dict[str, Any]:
    """What readers see of who is who, but for the stamps.

    Who is alone has a membership only after having been with others; without one readers assume just that.
    """
    of = shelf.of_kind
    # No lane has parts here: a founder that was merged for a while keeps its tombstone until there are some.
    founders = {customer_id(one.founder) for one in of(MEMBERSHIP).values()}
    return {
        "members": {
            name: one._replace(stamp=0)
            for name, one in of(MEMBERSHIP).items()
            if one[1:] != Membership(0, name, (name,))[1:]
        },
        "entries": {name: one._replace(stamp=0) for name, one in of(INDEX).items() if not alone(one)},
        "states": {
            name: (one.state, one.founder) for name, one in of(PROFILE).items() if name not in founders
        },
    }


@pytest.mark.parametrize("seed", range(5))
def test_at_once_and_fact_by_fact_are_the_same(seed: int) -> None:
    told, one, other = facts(seed), Shelf(), Shelf()
    followed(SimulatedStore(one), told)
    result = built(SimulatedStore(other), told)
    assert seen(one) == seen(other)
    reference = Reference(told, RULES)
    placed = {name: found for name in reference.names if (found := reference.placement_of(name))}
    founders = {found.founder for found in placed.values()}
    assert (result.subjects, result.customers) == (len(placed), len(founders))
    assert set(seen(other)["states"]) == {customer_id(name) for name in placed if name not in founders}


def test_workers_follow_a_build_from_where_it_ended() -> None:
    told, whole, half = facts(7), Shelf(), Shelf()
    followed(SimulatedStore(whole), told)
    built(SimulatedStore(half), told[:90])
    followed(SimulatedStore(half), told)
    assert seen(whole) == seen(half)


def test_a_graph_that_somebody_has_begun_is_not_built() -> None:
    shelf = Shelf()
    followed(SimulatedStore(shelf), facts(1)[:10])
    before = dict(shelf.values)
    with pytest.raises(GraphBegun, match="stands at 10"):
        built(SimulatedStore(shelf), facts(1))
    assert shelf.values == before


def test_a_build_that_was_killed_begins_again_and_workers_wait_for_it() -> None:
    told, shelf, whole = facts(3), Shelf(), Shelf()

    class Killed(BaseException):
        """The process ended here."""

    calls = 0

    def fate(name: str, rest: Any) -> None:
        nonlocal calls
        calls += name == "place"
        if calls == 3:
            raise Killed

    with pytest.raises(Killed):
        built(SimulatedStore(shelf, fate=fate), told)
    assert shelf.values[LANE, LINKS].next_offset == BUILDING
    waited: list[int] = []
    writer = IdentityWriter(
        SimulatedStore(shelf),
        Outlet(),
        RULES,
        LABELS,
        name="w",
        links=LINKS,
        clock_ms=lambda: 0,
        wait=waited.append,
    )
    nodes = dict(shelf.values)
    assert writer.take([LINKS]) == {LINKS: 0} and waited
    assert writer.idle({LINKS: 5}) == {LINKS: 0}
    assert shelf.values[LANE, LINKS].parts == nodes[LANE, LINKS].parts
    built(SimulatedStore(shelf), told)
    followed(SimulatedStore(whole), told)
    assert seen(shelf) == seen(whole)
    assert writer.idle({LINKS: 5}) == {LINKS: len(told)}
