"""What every store must do for a worker: one contract, for the simulator's store and each kind of server.

Guarantees:
- A kind of server that cannot run here is skipped with its reason (tests/servers.py).
- What only a server can do to a worker (full memory, a replica, lost functions) is in
  tests/test_store_failures.py.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import pytest

from models.record import Lane
from stores.store import (
    Checkpoint,
    Commit,
    Entry,
    Loaded,
    Membership,
    PartWrite,
    ProfileWrite,
    Store,
    StoreAway,
    StoreBroken,
)
from tests.kept_stores import SHARED_ABOVE, Kept, Served, Simulated

SALES, BILLING = Lane("sales.events", 5), Lane("billing.events", 0)
SERVERS = {"embedded": "embedded_store", "redis": "debian_redis", "containers": "container_store"}
ODD = ("crm:a:b", "web:{visitor}", "crm:}4711{", "loyalty:Ünï-7", 'web:"quoted"\\', "shop:x/y?z=%20")


@pytest.fixture(params=["simulated", *SERVERS])
def kept(request: pytest.FixtureRequest) -> Iterator[Kept]:
    """An empty store of the kind."""
    if request.param == "simulated":
        yield Simulated()
        return
    served = Served(request.getfixturevalue(SERVERS[request.param]).url)
    yield served
    served.close()


@pytest.fixture
def store(kept: Kept) -> Iterator[Store]:
    """A worker's connection, ready."""
    connected = kept.store()
    connected.prepare()
    yield connected
    connected.close()


def commit(lane: Lane, expected: int | None, following: int, *parts: PartWrite) -> Commit:
    return Commit(lane, expected, following, following + 3, 1_700_000_000_000 + following, parts)


def profile(
    version: str, writer: str, base: str | None = None, founder: str = "crm:1", **sections: bytes
) -> ProfileWrite:
    return ProfileWrite("cus_1", version, founder, writer, base, sections)


def leading(stamp: int, *customers: str, status: str = "linking") -> Entry:
    return Entry(stamp, tuple((customer, status) for customer in customers))


def test_a_lane_nobody_has_folded_has_no_checkpoint_no_parts_and_no_marks(store: Store) -> None:
    assert store.checkpoints([SALES, BILLING]) == [Checkpoint(None, 0, 0, 0)] * 2
    assert store.load({SALES: ["crm:1"], BILLING: []}) == {
        SALES: Loaded(None, [None]),
        BILLING: Loaded(None, []),
    }
    assert store.parts([(SALES, "crm:1")]) == [None]
    assert store.marks(SALES) == {}


def test_preparing_twice_changes_nothing(store: Store) -> None:
    store.commit([commit(SALES, None, 3, PartWrite("crm:1", b"one", 1))])
    store.prepare()
    assert store.load({SALES: ["crm:1"]})[SALES] == Loaded(3, [b"one"])


def test_a_commit_writes_parts_marks_and_checkpoint_together(store: Store) -> None:
    parts = (
        PartWrite("crm:1", b"one", 4),
        PartWrite("employee:E-1", b"two", None),
        PartWrite("crm:2", b"", 1),
    )
    assert store.commit([commit(SALES, None, 7, *parts)]) == [True]
    assert store.load({SALES: ["crm:2", "crm:1", "crm:9", "employee:E-1"]}) == {
        SALES: Loaded(7, [b"", b"one", None, b"two"])
    }
    assert store.marks(SALES) == {"crm:1": 4, "crm:2": 1}
    assert store.checkpoints([SALES]) == [Checkpoint(7, 10, 0, 1_700_000_000_007)]
    assert store.load({BILLING: ["crm:1"]}) == {BILLING: Loaded(None, [None])}


@pytest.mark.parametrize("expected", [None, 0, 6, 8, -1])
def test_a_refused_commit_writes_nothing(store: Store, expected: int | None) -> None:
    store.commit([commit(SALES, None, 7, PartWrite("crm:1", b"one", 4))])
    before = store.checkpoints([SALES])
    late = commit(SALES, expected, 20, PartWrite("crm:1", b"late", 5), PartWrite("crm:2", b"late", 1))
    assert store.commit([late]) == [False]
    assert store.load({SALES: ["crm:1", "crm:2"]}) == {SALES: Loaded(7, [b"one", None])}
    assert store.marks(SALES) == {"crm:1": 4}
    assert store.checkpoints([SALES]) == before


def test_a_first_commit_expects_no_checkpoint(store: Store) -> None:
    assert store.commit([commit(SALES, 0, 1, PartWrite("crm:1", b"one", 1))]) == [False]
    assert store.commit([commit(SALES, None, 0)]) == [True]
    # Offset 0 is a checkpoint, none is not.
    assert store.commit([commit(SALES, None, 1)]) == [False]
    assert store.commit([commit(SALES, 0, 1)]) == [True]


def test_prefixes_of_a_batch_commit_in_turn_and_lanes_apart(store: Store) -> None:
    answers = store.commit(
        [
            commit(SALES, None, 3, PartWrite("crm:1", b"one", 1)),
            commit(BILLING, 5, 9, PartWrite("crm:1", b"never", 1)),
            commit(SALES, 3, 5, PartWrite("crm:1", b"two", 2)),
            commit(BILLING, 9, 12, PartWrite("crm:2", b"never", 1)),
        ]
    )
    assert answers == [True, False, True, False]
    assert store.load({SALES: ["crm:1"], BILLING: ["crm:1", "crm:2"]}) == {
        SALES: Loaded(5, [b"two"]),
        BILLING: Loaded(None, [None, None]),
    }
    assert store.marks(SALES) == {"crm:1": 2}
    assert store.marks(BILLING) == {}


def test_a_mark_made_newer_meanwhile_stays(store: Store) -> None:
    parts = (PartWrite("crm:1", b"one", 1), PartWrite("crm:2", b"one", 1), PartWrite("crm:3", b"one", 1))
    store.commit([commit(SALES, None, 3, *parts)])
    store.commit([commit(SALES, 3, 4, PartWrite("crm:2", b"two", 2))])
    assert store.close_marks({SALES: (3, {"crm:1": 1, "crm:2": 1, "crm:9": 1})}) == {SALES: 2}
    assert store.marks(SALES) == {"crm:2": 2, "crm:3": 1}
    assert store.checkpoints([SALES])[0].assembled_offset == 0


def test_a_lane_is_assembled_up_to_where_its_last_mark_closed(store: Store) -> None:
    store.commit([commit(SALES, None, 3, PartWrite("crm:1", b"one", 1)), commit(BILLING, None, 8)])
    assert store.close_marks({SALES: (3, {"crm:1": 1}), BILLING: (8, {})}) == {SALES: 0, BILLING: 0}
    assert [one.assembled_offset for one in store.checkpoints([SALES, BILLING])] == [3, 8]
    assert store.marks(SALES) == {}


def test_a_worker_that_comes_late_does_not_put_the_assembled_offset_back(store: Store) -> None:
    store.commit([commit(SALES, None, 9)])
    store.close_marks({SALES: (9, {})})
    store.close_marks({SALES: (4, {})})
    assert store.checkpoints([SALES])[0].assembled_offset == 9


def test_a_lane_that_went_back_is_not_assembled_beyond_its_checkpoint(store: Store) -> None:
    store.commit([commit(SALES, None, 4)])
    store.close_marks({SALES: (4, {})})
    store.close_marks({SALES: (9, {})})
    assert store.checkpoints([SALES])[0].assembled_offset == 4
    store.close_marks({BILLING: (9, {"crm:1": 1})})
    assert store.checkpoints([BILLING]) == [Checkpoint(None, 0, 0, 0)]


def test_an_idle_lane_compares_and_notes_end_and_time(store: Store) -> None:
    store.commit([commit(SALES, None, 7)])
    assert store.idle([(SALES, 7, 12), (BILLING, None, None)], 1_700_000_009_000) == [True, True]
    assert store.checkpoints([SALES, BILLING]) == [
        Checkpoint(7, 12, 0, 1_700_000_009_000),
        Checkpoint(None, 0, 0, 0),
    ]
    # The broker did not answer: nothing is known about freshness.
    assert store.idle([(SALES, 7, None)], 1_700_000_010_000) == [True]
    assert store.idle([(SALES, 6, 20), (SALES, None, 20), (BILLING, 0, 20)], 1_700_000_011_000) == [False] * 3
    assert store.checkpoints([SALES]) == [Checkpoint(7, 12, 0, 1_700_000_009_000)]


def test_lanes_and_references_only_grow(store: Store, kept: Kept) -> None:
    store.note_subjects([("crm:1", SALES)], [("order:O-8", "crm:1")])
    store.note_subjects([("crm:1", BILLING), ("crm:1", SALES), ("crm:2", SALES)], [("order:O-8", "crm:2")])
    store.note_subjects([], [])
    assert store.members(["crm:2", "crm:3", "crm:1"]) == [
        (None, frozenset({SALES})),
        (None, frozenset()),
        (None, frozenset({SALES, BILLING})),
    ]
    assert kept.reference("order:O-8") == {"crm:1", "crm:2"}


def test_a_profile_is_replaced_by_a_newer_one_only(store: Store, kept: Kept) -> None:
    assert store.put_profiles([profile("0.9", "w.1", sales=b"9", meta=b"9")]) == ["newer"]
    assert store.put_profiles([profile("0.9", "w.2", sales=b"x")]) == ["equal"]
    assert store.put_profiles([profile("0.8", "w.3", sales=b"x")]) == ["older"]
    assert kept.profile("cus_1") == ("0.9", "crm:1", "w.1", {"sales": b"9", "meta": b"9"})
    # As numbers, not as text; and the position first.
    assert store.put_profiles([profile("0.10", "w.4", sales=b"10", meta=b"10")]) == ["newer"]
    assert store.put_profiles([profile("2.1", "w.5", sales=b"2.1", meta=b"2.1")]) == ["newer"]
    assert store.put_profiles([profile("1.99", "w.6", sales=b"x", meta=b"x")]) == ["older"]
    assert kept.profile("cus_1") == ("2.1", "crm:1", "w.5", {"sales": b"2.1", "meta": b"2.1"})


def test_changed_sections_go_upon_the_write_they_were_made_for_only(store: Store, kept: Kept) -> None:
    assert store.put_profiles([profile("0.1", "w.1", "w.0", sales=b"1")]) == ["base"]
    assert kept.profile("cus_1") is None
    store.put_profiles([profile("0.1", "w.1", sales=b"1", meta=b"1")])
    assert store.put_profiles([profile("0.2", "w.2", "v.1", sales=b"2")]) == ["base"]
    assert kept.profile("cus_1") == ("0.1", "crm:1", "w.1", {"sales": b"1", "meta": b"1"})
    assert store.put_profiles([profile("0.2", "w.2", "w.1", sales=b"2")]) == ["newer"]
    assert kept.profile("cus_1") == ("0.2", "crm:1", "w.2", {"sales": b"2", "meta": b"1"})
    # An order that is not newer says so, whatever its base.
    assert store.put_profiles([profile("0.2", "w.3", "v.1", sales=b"x")]) == ["equal"]
    assert store.put_profiles([profile("0.1", "w.4", "v.1", sales=b"x")]) == ["older"]


def test_profiles_are_made_while_others_are_taken_and_one_that_fails_spoils_no_later_answer(
    store: Store,
) -> None:
    def made(count: int, fails: bool) -> Iterator[ProfileWrite]:
        for number in range(count):
            yield profile("0.1", "w.1", meta=b"1")._replace(customer_id=f"cus_{number}")
        if fails:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        store.put_profiles(made(150, fails=True))
    # The answers to what was sent are lost with the connection, and whoever asks next hears of it, once.
    with contextlib.suppress(StoreAway):
        store.lanes(["crm:1"])
    assert [one.next_offset for one in store.checkpoints([SALES, BILLING])] == [None, None]
    assert set(store.put_profiles(made(200, fails=False))) <= {"newer", "equal"}
    assert store.put_profiles(made(200, fails=False)) == ["equal"] * 200
    assert store.put_profiles(iter(())) == []


def test_a_timeline_grows_upon_the_write_it_was_made_for_only(store: Store, kept: Kept) -> None:
    def grown(version: str, writer: str, base: str | None, entries: bytes, cut_bytes: int = 0) -> list[str]:
        return store.put_profiles(
            [profile(version, writer, base, sales=b"2")._replace(growth=(entries, cut_bytes))]
        )

    store.put_profiles([profile("0.1", "w.1", timeline=b'[{"a":1},{"b":22}]', sales=b"1")])
    assert grown("0.2", "w.2", "w.1", b'{"d":4},{"c":3}') == ["newer"]
    assert kept.profile("cus_1") == (
        "0.2", "crm:1", "w.2", {"timeline": b'[{"d":4},{"c":3},{"a":1},{"b":22}]', "sales": b"2"}
    )  # fmt: skip
    assert grown("0.3", "w.3", "w.1", b'{"x":0}') == ["base"]
    assert grown("0.2", "w.3", "w.2", b'{"x":0}') == ["equal"]
    assert grown("0.3", "w.3", "w.2", b'{"x":0}', 100) == ["base"], "more than there is"
    assert grown("0.3", "w.3", None, b'{"x":0}') == ["base"]
    assert grown("0.3", "w.3", "w.2", b'{"e":5}', len(b',{"a":1},{"b":22}')) == ["newer"]
    assert kept.profile("cus_1") == (
        "0.3", "crm:1", "w.3", {"timeline": b'[{"e":5},{"d":4},{"c":3}]', "sales": b"2"}
    )  # fmt: skip


def test_two_founders_under_one_id_are_refused_loudly(store: Store, kept: Kept) -> None:
    store.put_profiles([profile("0.1", "w.1", sales=b"1")])
    with pytest.raises(StoreBroken, match="belongs to crm:1, not to crm:2"):
        store.put_profiles([profile("0.5", "w.2", founder="crm:2", sales=b"x")])
    assert kept.profile("cus_1") == ("0.1", "crm:1", "w.1", {"sales": b"1"})


def test_an_index_entry_is_sorted_and_bounded(store: Store, kept: Kept) -> None:
    for number in (7, 3, 9, 3, 1):
        store.index([("phone:+4930901820", f"cus_{number}"), ("crm:1", "cus_1")])
    assert kept.index("phone:+4930901820") == leading(0, "cus_1", "cus_3", "cus_7", "cus_9")
    assert kept.index("crm:1") == leading(0, "cus_1")
    assert kept.index("crm:2") is None
    store.index([("phone:+4930901820", f"cus_{number}") for number in (8, 2, 6, 4, 5)])
    assert kept.index("phone:+4930901820") == leading(
        0, *(f"cus_{number}" for number in range(1, SHARED_ABOVE + 2))
    )


@pytest.mark.parametrize("subject", ODD)
def test_a_subject_may_have_any_letters(store: Store, kept: Kept, subject: str) -> None:
    store.note_subjects([(subject, SALES)], [(subject, subject)])
    store.commit([commit(SALES, None, 1, PartWrite(subject, b"\x00\xff", 1))])
    store.index([(subject, "cus_1")])
    assert store.load({SALES: [subject]}) == {SALES: Loaded(1, [b"\x00\xff"])}
    assert store.parts([(SALES, subject)]) == [b"\x00\xff"]
    assert store.members([subject]) == [(None, frozenset({SALES}))]
    assert kept.index(subject) == leading(0, "cus_1") and kept.reference(subject) == {subject}
    assert store.marks(SALES) == {subject: 1}
    assert store.close_marks({SALES: (1, {subject: 1})}) == {SALES: 0}
    placed = Membership(2, subject, (subject,), {subject: "rejected"})
    store.place({subject: placed}, {subject: leading(2, "cus_1")})
    store.place({subject: placed._replace(stamp=1)}, {subject: leading(1, "cus_2")})
    assert store.members([subject]) == [(placed, frozenset({SALES}))]
    assert kept.index(subject) == leading(2, "cus_1")


def test_answers_keep_their_order_over_many_keys(store: Store, kept: Kept) -> None:
    names = [f"crm:{number}" for number in range(600)]
    writes = [PartWrite(name, name.encode(), 1) for name in names]
    store.note_subjects([(name, SALES) for name in names], [("order:O-8", name) for name in names])
    chunks = [commit(SALES, at or None, at + 200, *writes[at : at + 200]) for at in (0, 200, 400)]
    assert store.commit(chunks) == [True] * 3
    asked = [*reversed(names), "crm:nobody", *names[:7]]
    held = [None if name == "crm:nobody" else name.encode() for name in asked]
    assert store.load({BILLING: names, SALES: asked}) == {
        BILLING: Loaded(None, [None] * 600),
        SALES: Loaded(600, held),
    }
    assert store.parts([(SALES, name) for name in asked]) == held
    assert store.marks(SALES) == dict.fromkeys(names, 1)
    assert [lanes for _, lanes in store.members(asked)] == [
        frozenset() if name == "crm:nobody" else frozenset({SALES}) for name in asked
    ]
    assert store.lanes(asked) == [lanes for _, lanes in store.members(asked)]
    put = [ProfileWrite(f"cus_{name}", f"0.{number}", name, f"w.{number}", None, {"meta": name.encode()})
           for number, name in enumerate(names, 1)]  # fmt: skip
    assert store.put_profiles(put) == ["newer"] * 600
    newer = [one._replace(version=f"0.{number}") for number, one in enumerate(put, 1)]
    newer[299] = newer[299]._replace(version="1.0", writer="w.other")
    assert store.put_profiles(newer) == ["equal"] * 299 + ["newer"] + ["equal"] * 300
    assert kept.profile("cus_crm:299") == ("1.0", "crm:299", "w.other", {"meta": b"crm:299"})
    store.index([(name, f"cus_{name}") for name in names])
    assert [kept.index(name) for name in names] == [leading(0, f"cus_{name}") for name in names]
    places = {name: Membership(number, name, (name,)) for number, name in enumerate(names, 1)}
    store.place(places, {name: leading(one.stamp, f"cus_{name}") for name, one in places.items()})
    assert [found for found, _ in store.members(names)] == list(places.values())
    assert [kept.index(name) for name in names] == [
        leading(number, f"cus_{name}") for number, name in enumerate(names, 1)
    ]
    assert store.close_marks({SALES: (600, dict.fromkeys(names, 1))}) == {SALES: 0}


CALLS: dict[str, Callable[[Store], object]] = {
    "prepare": lambda store: store.prepare(),
    "load": lambda store: store.load({SALES: ["crm:1"]}),
    "commit": lambda store: store.commit([commit(SALES, 7, 8)]),
    "checkpoints": lambda store: store.checkpoints([SALES]),
    "idle": lambda store: store.idle([(SALES, 7, 9)], 1),
    "marks": lambda store: store.marks(SALES),
    "close_marks": lambda store: store.close_marks({SALES: (7, {"crm:1": 1})}),
    "note_subjects": lambda store: store.note_subjects([("crm:1", SALES)], [("order:O-8", "crm:1")]),
    "members": lambda store: store.members(["crm:1"]),
    "lanes": lambda store: store.lanes(["crm:1"]),
    "parts": lambda store: store.parts([(SALES, "crm:1")]),
    "put_profiles": lambda store: store.put_profiles([profile("0.1", "w.1", meta=b"1")]),
    "place": lambda store: store.place({"crm:1": Membership(1, "crm:1", ("crm:1",))}, {"crm:1": leading(1)}),
    "index": lambda store: store.index([("crm:1", "cus_1")]),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_connection_lost_between_two_calls_is_told_by_the_next_and_nothing_happens(
    store: Store, kept: Kept, name: str
) -> None:
    store.commit([commit(SALES, None, 7, PartWrite("crm:1", b"one", 1))])
    kept.cut(store)
    with pytest.raises(StoreAway):
        CALLS[name](store)
    store.prepare()
    assert store.load({SALES: ["crm:1"]}) == {SALES: Loaded(7, [b"one"])}
    assert store.marks(SALES) == {"crm:1": 1}
    assert store.checkpoints([SALES]) == [Checkpoint(7, 10, 0, 1_700_000_000_007)]
    assert store.members(["crm:1"]) == [(None, frozenset())]
    assert (
        kept.profile("cus_1") is None and kept.index("crm:1") is None and kept.reference("order:O-8") == set()
    )


def test_two_workers_see_the_same(store: Store, kept: Kept) -> None:
    other = kept.store()
    other.prepare()
    assert other.commit([commit(SALES, None, 2, PartWrite("crm:1", b"one", 1))]) == [True]
    assert store.commit([commit(SALES, None, 2, PartWrite("crm:1", b"two", 1))]) == [False]
    assert store.load({SALES: ["crm:1"]}) == {SALES: Loaded(2, [b"one"])}
    other.close()
