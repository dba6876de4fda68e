"""What every store must do for the identity graph: the second half of tests/test_store_contract.py.

Guarantees:
- Memberships, entries and tombstones are compared by position, and what is later stays.
- The graph's nodes are read and committed as the parts of a lane are.
"""

from __future__ import annotations

import pytest

from models.catalogue import link_topic
from models.record import Lane
from stores.store import Commit, Loaded, Membership, PartWrite, ProfileWrite, Store, StoreBroken
from tests.kept_stores import GENERATION, Kept
from tests.test_store_contract import SALES, commit, kept, leading, profile, store

# Fixtures, which tests ask for by name.
__all__ = ["kept", "store"]

LINKS = Lane(link_topic(GENERATION), 0)


def tombstone(version: str, writer: str, base: str | None = None) -> ProfileWrite:
    return ProfileWrite("cus_1", version, "crm:1", writer, base, {}, "merged")


def test_members_are_as_the_graph_placed_them(store: Store) -> None:
    whole = Membership(12, "crm:1", ("crm:1", "web:7"), {"phone:1": "shared"}, (("crm:2", "person"),))
    nowhere = Membership(13, "", ())
    store.place({"web:7": whole, "crm:9": nowhere}, {})
    store.note_subjects([("web:7", SALES)], [])
    assert store.members(["web:7", "crm:1", "crm:9"]) == [
        (whole, frozenset({SALES})),
        (None, frozenset()),
        (nowhere, frozenset()),
    ]


def test_what_is_placed_gives_way_to_what_is_later_or_as_late_only(store: Store, kept: Kept) -> None:
    # As numbers, not as text.
    for stamp, held in (
        (9, 9),
        (10, 10),
        (9, 10),
        (10, 10),
        (2**53 - 1, 2**53 - 1),
        (11, 2**53 - 1),
        (0, 2**53 - 1),
    ):
        founder = f"crm:{stamp}"
        store.place(
            {"web:7": Membership(stamp, founder, (founder, "web:7"))}, {"phone:1": leading(stamp, founder)}
        )
        assert store.members(["web:7"])[0][0] == Membership(held, f"crm:{held}", (f"crm:{held}", "web:7"))
        assert kept.index("phone:1") == leading(held, f"crm:{held}")
    store.place({"web:7": Membership(2**53 - 1, "", ())}, {"phone:1": leading(2**53 - 1, status="shared")})
    assert store.members(["web:7"]) == [(Membership(2**53 - 1, "", ()), frozenset())]
    assert kept.index("phone:1") == leading(2**53 - 1)


def test_what_the_graph_has_placed_assemblers_leave_alone(store: Store, kept: Kept) -> None:
    store.index([("phone:1", "cus_2"), ("phone:2", "cus_2")])
    assert kept.index("phone:1") == leading(0, "cus_2")
    # An entry of before replaces, and is replaced, whatever it holds.
    store.place({}, {"phone:1": leading(1, "cus_9", "cus_1", status="rejected"), "phone:2": leading(1)})
    store.index([("phone:1", "cus_3"), ("phone:2", "cus_3"), ("phone:3", "cus_3")])
    assert kept.index("phone:1") == leading(1, "cus_9", "cus_1", status="rejected")
    assert (kept.index("phone:2"), kept.index("phone:3")) == (leading(1), leading(0, "cus_3"))


def test_nodes_of_the_graph_are_the_parts_of_a_lane_of_its_own(store: Store) -> None:
    nodes = (PartWrite("crm:1", b"node", 3), PartWrite("phone:+4930901820", b"other", None))
    assert store.commit([commit(LINKS, None, 3, *nodes), commit(SALES, None, 1)]) == [True, True]
    assert store.commit([commit(LINKS, None, 4, PartWrite("crm:1", b"late", 4))]) == [False]
    assert store.load({LINKS: ["phone:+4930901820", "crm:1", "crm:2"], SALES: ["crm:1"]}) == {
        LINKS: Loaded(3, [b"other", b"node", None]),
        SALES: Loaded(1, [None]),
    }
    assert (store.marks(LINKS), store.marks(SALES)) == ({"crm:1": 3}, {})
    assert store.close_marks({LINKS: (3, {"crm:1": 3})}) == {LINKS: 0}
    assert store.checkpoints([LINKS])[0].assembled_offset == 3


def test_a_tombstone_takes_the_sections_and_part_in_the_comparison(store: Store, kept: Kept) -> None:
    store.put_profiles([profile("4.9", "w.1", sales=b"1", meta=b"1")])
    assert store.put_profiles([tombstone("4.0", "g.1")]) == ["older"]
    assert store.put_profiles([tombstone("5.0", "g.2")]) == ["newer"]
    assert kept.tombstone("cus_1") == ("merged", "5.0", "crm:1", "g.2")
    assert store.put_profiles([tombstone("5.0", "g.3")]) == ["equal"]
    # A late assembler does not bring it back, with all sections or with some.
    assert store.put_profiles([profile("4.10", "w.2", sales=b"2")]) == ["older"]
    assert store.put_profiles([profile("4.10", "w.2", "w.1", sales=b"2")]) == ["older"]
    assert kept.tombstone("cus_1") == ("merged", "5.0", "crm:1", "g.2")
    with pytest.raises(StoreBroken, match="belongs to crm:1, not to crm:2"):
        store.put_profiles([profile("9.1", "w.3", founder="crm:2", sales=b"x")])


def test_who_lives_again_comes_with_all_sections(store: Store, kept: Kept) -> None:
    store.put_profiles([profile("4.9", "w.1", sales=b"1", meta=b"1"), tombstone("5.0", "g.1")])
    assert store.put_profiles([profile("6.2", "w.2", "w.1", sales=b"2")]) == ["base"]
    assert kept.tombstone("cus_1") == ("merged", "5.0", "crm:1", "g.1")
    assert store.put_profiles([profile("6.2", "w.2", sales=b"2")]) == ["newer"]
    assert kept.profile("cus_1") == ("6.2", "crm:1", "w.2", {"sales": b"2"})
    assert store.put_profiles([tombstone("6.2", "g.2"), tombstone("7.0", "g.3")]) == ["equal", "newer"]
    assert kept.profile("cus_1") is None
    # One who was never seen alive may be buried, too.
    assert store.put_profiles([ProfileWrite("cus_2", "3.0", "web:7", "g.4", None, {}, "merged")]) == ["newer"]
    assert kept.tombstone("cus_2") == ("merged", "3.0", "web:7", "g.4")


def test_one_commit_may_change_more_than_a_stack_of_lua_holds(store: Store) -> None:
    """A sixth person states an email of thousands of browsers, and all of them come apart by one fact."""
    names = [f"web:hub{number}" for number in range(9_000)]
    parts = [PartWrite(name, name.encode(), 7) for name in names]
    assert store.commit([Commit(LINKS, None, 7, 7, 0, parts)]) == [True]
    assert len(store.marks(LINKS)) == len(names)
    assert store.load({LINKS: names})[LINKS] == Loaded(7, [name.encode() for name in names])
    assert store.close_marks({LINKS: (7, dict.fromkeys(names, 7))}) == {LINKS: 0}
