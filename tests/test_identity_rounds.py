"""A backlog of link facts does not shut out events: a round of the identity writer ends in time."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from types import SimpleNamespace

import pytest

from models.link import LinkFact, wire_link_fact
from models.record import Lane
from models.rules import IdentityRules
from projections.assembling import Labels
from streams import identity_writer
from streams.identity_writer import ROUND_MS, IdentityWriter
from streams.lanes import Batch
from tests.simulation.store import LANE, Shelf, SimulatedStore

LINKS = Lane("scv.g1.links", 0)
RECORDS = [
    SimpleNamespace(
        offset=number,
        timestamp=0,
        key=b"",
        value=wire_link_fact(LinkFact(f"web:{number}", "x-0", number, number, f"email:{number // 2}")),
        headers=(),
    )
    for number in range(100)
]


class Outlet:
    """Takes everything."""

    def produce(self, topic: str, key: bytes | None, value: bytes | None) -> None:
        """Take one record."""

    def flush(self) -> None:
        """Nothing waits."""


def heard_all(shelf: Shelf, clock_ms: Callable[[], int]) -> list[int]:
    """All facts as one fetch brings them; where each round ended."""
    writer = IdentityWriter(
        SimulatedStore(shelf),
        Outlet(),
        IdentityRules(),
        Labels("g1", "c"),
        name="w",
        links=LINKS,
        clock_ms=clock_ms,
        wait=lambda _: None,
    )
    at, ends = writer.take([LINKS])[LINKS] or 0, []
    while at < len(RECORDS):
        moved = writer.step([Batch(LINKS, at, RECORDS[at:], len(RECORDS), len(RECORDS))])
        at = moved.get(LINKS, len(RECORDS))
        ends.append(at)
    assert writer.counters.refused == 0
    return ends


@pytest.mark.parametrize("tick_ms", [ROUND_MS, -1], ids=["slow", "set back"])
def test_a_round_ends_after_a_while_and_goes_on_where_it_was(
    monkeypatch: pytest.MonkeyPatch, tick_ms: int
) -> None:
    monkeypatch.setattr(identity_writer, "FACTS_AT_ONCE", 30)
    quick, slow = Shelf(), Shelf()
    assert heard_all(quick, lambda: 0) == [100]
    clock = count(10**6, tick_ms)
    assert heard_all(slow, lambda: next(clock)) == [30, 60, 90, 100]
    graph = [{key: value for key, value in one.values.items() if key[0] != LANE} for one in (quick, slow)]
    assert graph[0] == graph[1]
