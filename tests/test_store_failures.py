"""What a server can do to a worker: each failure is `StoreAway`, nothing is half-written, and it heals.

Guarantees:
- Real servers: Valkey from its wheel, and the machine's redis-server where there is one.
- A test that waits for the store's patience to end has a store with little of it; others have a worker's, as
  a busy disk may take a second for one write.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from random import Random
from typing import Any

import pytest
import redis

from models.record import Lane
from stores import redis_store
from stores.embedded import DebianRedis, EmbeddedStore, StoreServer
from stores.redis_store import RedisStore
from stores.store import Commit, Loaded, PartWrite, ProfileWrite, StoreAway, StoreBroken
from tests import servers

LANE = Lane("sales.events", 5)
FIRST = Commit(LANE, None, 3, 3, 1, [PartWrite("crm:1", b"one", 1)])
SECOND = Commit(LANE, 3, 5, 5, 2, [PartWrite("crm:1", b"two", 2), PartWrite("crm:2", b"new", 1)])
PROFILE = ProfileWrite("cus_1", "0.1", "crm:1", "w.1", None, {"meta": b"{}"})


@pytest.fixture(params=[EmbeddedStore, DebianRedis])
def server(request: pytest.FixtureRequest) -> Iterator[StoreServer]:
    """A server of its own, which a test may break."""
    if request.param is DebianRedis:
        servers.need("redis")
    with request.param({"appendonly": "yes", "appendfsync": "always"}) as running:
        yield running


@pytest.fixture
def store(
    server: StoreServer, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[RedisStore]:
    """A worker's connection with a first batch committed; the parameter is its patience in seconds."""
    monkeypatch.setattr(redis_store, "ANSWER_SECONDS", getattr(request, "param", redis_store.ANSWER_SECONDS))
    connected = RedisStore(server.url, "g1", shared_above=5)
    connected.prepare()
    assert connected.commit([FIRST]) == [True]
    yield connected
    connected.close()


@pytest.fixture
def client(server: StoreServer) -> Iterator[Any]:
    """The test's own connection."""
    with redis.Redis.from_url(server.url) as own:
        yield own


def writes(store: RedisStore) -> dict[str, Any]:
    """Every call that writes."""
    return {
        "commit": lambda: store.commit([SECOND]),
        "note_subjects": lambda: store.note_subjects([("crm:1", LANE)], [("order:O-8", "crm:1")]),
        "put_profiles": lambda: store.put_profiles([PROFILE]),
        "index": lambda: store.index([("crm:1", "cus_1")]),
    }


def refused(store: RedisStore) -> None:
    """Nothing that writes happens, and each says that the store is away."""
    for name, call in writes(store).items():
        with pytest.raises(StoreAway) as away:
            call()
        assert "\n" not in str(away.value), name


def untouched(store: RedisStore, client: Any) -> None:
    """The store holds the first batch, and nothing else."""
    assert store.load({LANE: ["crm:1", "crm:2"]}) == {LANE: Loaded(3, [b"one", None])}
    assert store.marks(LANE) == {"crm:1": 1}
    assert sorted(client.keys()) == [
        b"scv:g1:{%b}:%b" % (str(LANE).encode(), end) for end in (b"cp", b"dirty", b"part:crm:1")
    ]


def works(store: RedisStore) -> None:
    """Everything can be written now."""
    store.prepare()
    assert store.commit([SECOND]) == [True]
    assert store.put_profiles([PROFILE]) == ["newer"]
    writes(store)["note_subjects"]()
    writes(store)["index"]()


def test_full_memory_writes_nothing_and_heals_when_there_is_room(store: RedisStore, client: Any) -> None:
    client.config_set("maxmemory", "1")
    refused(store)
    untouched(store, client)
    # Closing marks and noting the time need no room worth naming, but the server does not know that.
    for call in (lambda: store.close_marks({LANE: (3, {"crm:1": 1})}), lambda: store.idle([(LANE, 3, 9)], 1)):
        with pytest.raises(StoreAway):
            call()
    untouched(store, client)
    client.config_set("maxmemory", "0")
    works(store)


# What compressing does not make smaller.
NOISE = Random(1).randbytes(500_000)


def test_memory_that_fills_up_within_a_batch_leaves_whole_commits(store: RedisStore, client: Any) -> None:
    client.config_set("maxmemory", str(client.info("memory")["used_memory"] + 3_000_000))
    commits = [
        Commit(
            LANE,
            at,
            at + 1,
            50,
            2,
            [PartWrite("crm:1", NOISE, at), PartWrite("crm:2", NOISE, at)],
        )
        for at in range(3, 40)
    ]
    # Each has parts of its own, so that each needs room.
    commits = [
        one._replace(parts=[part._replace(subject=f"{part.subject}.{one.next_offset}") for part in one.parts])
        for one in commits
    ]
    with pytest.raises(StoreAway, match="OOM|memory"):
        store.commit(commits)
    [at] = [one.next_offset for one in store.checkpoints([LANE])]
    assert at is not None and 3 < at < 40
    kept = store.parts([(LANE, f"crm:{number}.{offset}") for offset in range(4, 41) for number in (1, 2)])
    assert [part is not None for part in kept] == [offset <= at for offset in range(4, 41) for _ in (1, 2)]
    assert len(store.marks(LANE)) == 1 + 2 * (at - 3)


def test_a_primary_without_the_replicas_it_needs_writes_nothing(store: RedisStore, client: Any) -> None:
    client.config_set("min-replicas-to-write", "1")
    refused(store)
    untouched(store, client)
    client.config_set("min-replicas-to-write", "0")
    works(store)


def test_a_replica_refuses_and_a_new_primary_goes_on(
    store: RedisStore, client: Any, server: StoreServer
) -> None:
    with type(server)() as primary:
        client.execute_command("REPLICAOF", "127.0.0.1", primary.port)
        refused(store)
        client.execute_command("REPLICAOF", "NO", "ONE")
    store.prepare()
    store.load({LANE: ["crm:1"]})


def test_lost_functions_are_away_until_they_are_prepared_again(store: RedisStore, client: Any) -> None:
    client.execute_command("FUNCTION", "FLUSH", "SYNC")
    for call in (
        lambda: store.load({LANE: ["crm:1"]}),
        lambda: store.commit([SECOND]),
        lambda: store.idle([(LANE, 3, 9)], 1),
        lambda: store.close_marks({LANE: (3, {"crm:1": 1})}),
        lambda: store.put_profiles([PROFILE]),
        lambda: store.index([("crm:1", "cus_1")]),
    ):
        with pytest.raises(StoreAway):
            call()
    store.prepare()
    untouched(store, client)
    works(store)


@pytest.mark.parametrize("store", [1.5], indirect=True)
def test_a_server_that_stands_still_is_away_and_what_was_asked_may_have_happened(
    store: RedisStore, server: StoreServer
) -> None:
    assert server.pid is not None
    os.kill(server.pid, signal.SIGSTOP)
    try:
        with pytest.raises(StoreAway):
            store.commit([SECOND])
        with pytest.raises(StoreAway):
            store.checkpoints([LANE])
    finally:
        os.kill(server.pid, signal.SIGCONT)
    prepare_when_it_answers(store)
    # Either way the answer is whole, and the same commit cannot count twice.
    at = store.checkpoints([LANE])[0].next_offset
    assert store.load({LANE: ["crm:1", "crm:2"]})[LANE].parts == (
        [b"one", None] if at == 3 else [b"two", b"new"]
    )
    assert store.commit([SECOND]) == [at == 3]
    assert store.load({LANE: ["crm:1", "crm:2"]}) == {LANE: Loaded(5, [b"two", b"new"])}


def test_a_killed_server_is_away_until_it_is_back(store: RedisStore, server: StoreServer) -> None:
    server.kill()
    for _ in range(3):
        with pytest.raises(StoreAway):
            store.commit([SECOND])
        with pytest.raises(StoreAway):
            store.prepare()
    server.restart()
    prepare_when_it_answers(store)
    assert store.load({LANE: ["crm:1"]}) == {LANE: Loaded(3, [b"one"])}
    assert store.commit([SECOND]) == [True]


def test_a_key_of_another_type_is_broken_not_away(store: RedisStore, client: Any) -> None:
    client.delete(store.keys.checkpoint(LANE))
    client.set(store.keys.checkpoint(LANE), "not ours")
    with pytest.raises(StoreBroken):
        store.commit([SECOND])
    with pytest.raises(StoreBroken):
        store.checkpoints([LANE])


def prepare_when_it_answers(store: RedisStore) -> None:
    """As a worker does: try until the store is there. A lost connection is told before a new one is made."""
    for _ in range(100):
        try:
            store.prepare()
        except StoreAway:
            continue
        return
    raise AssertionError("the store never came back")


def test_profiles_that_cannot_be_made_leave_one_connection_and_no_answers(
    store: RedisStore, client: Any
) -> None:
    def made() -> Iterator[ProfileWrite]:
        for number in range(200):
            yield PROFILE._replace(customer_id=f"cus_{number}")
        raise ZeroDivisionError

    before = len(client.client_list())
    for _ in range(3):
        with pytest.raises((ZeroDivisionError, StoreAway)):
            store.put_profiles(made())
    with contextlib.suppress(StoreAway):
        store.checkpoints([LANE])
    assert [one.next_offset for one in store.checkpoints([LANE])] == [3]
    assert len(client.client_list()) == before
