"""Lanes folded in bulk give the parts that a worker gives, whoever was killed or paused in the middle."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import count
from random import Random

import pytest
import redis

from models.catalogue import DOMAIN_TOPICS
from models.link import LinkFact, read_link_fact
from models.record import Lane, Record
from models.rules import IdentityRules
from projections.folding import Projection
from projections.parts import Part
from projections.reducers import Configuration
from stores.embedded import EmbeddedStore
from stores.keys import Keys
from stores.rebuilding import folded_to, folding_at
from stores.redis_store import RedisStore
from stores.store import Loaded
from streams import bulk
from streams.bulk import BulkFolder, LaneFold, windows
from streams.cache import PartCache
from streams.folder import Folder, prefixes
from tests import servers
from tests.histories import history

RULES = IdentityRules()
WINDOW = 40


class Killed(BaseException):
    """The process ended here."""


class Outlet:
    """Keeps what it is given."""

    def __init__(self) -> None:
        self.values: list[bytes | None] = []

    def produce(self, topic: str, key: bytes | None, value: bytes | None) -> None:
        """Take one record."""
        self.values.append(value)

    def flush(self) -> None:
        """Nothing waits."""

    @property
    def facts(self) -> set[LinkFact]:
        """The link facts, once each."""
        return {fact for value in self.values if (fact := read_link_fact(value))}


class World:
    """A store and the lanes of a history; `folder` makes who folds them."""

    def __init__(self, store: EmbeddedStore, seed: int) -> None:
        servers.empty_store(store.url)
        lanes = history(seed, subjects=30, events=600, bursts=1, partitions=dict.fromkeys(DOMAIN_TOPICS, 1))
        self.lanes = {Lane(*lane[0][:2]): lane for lane in lanes}
        self.store = RedisStore(store.url, "g2", RULES.shared_above)
        self.store.prepare()
        self.outlet, self.keys = Outlet(), Keys("g2")
        self.configuration = Configuration(rules=RULES)

    def read(self, lane: Lane, start: int, end: int) -> Iterator[list[Record]]:
        """A lane's records, some at a time."""
        records = [one for one in self.lanes[lane] if start <= one.offset < end]
        for at in range(0, len(records), 17):
            yield records[at : at + 17]

    def folder(self, point: Callable[[str], None] = lambda _: None, cache_bytes: int = 2**24) -> BulkFolder:
        """A process's folder."""
        return BulkFolder(
            self.store,
            self.outlet,
            Folder(Projection(self.configuration)),
            link_topic="scv.g2.links",
            cache=PartCache(cache_bytes),
            read=self.read,
            clock_ms=lambda: 0,
            point=point,
        )

    def tasks(self) -> list[LaneFold]:
        """All lanes, whole."""
        return [LaneFold(lane, 0, records[-1].offset + 1, WINDOW) for lane, records in self.lanes.items()]

    def expected(self) -> tuple[dict[tuple[Lane, str], bytes], set[LinkFact]]:
        """Parts and link facts as the live path folds them, record by record."""
        folder, parts, facts = Folder(Projection(self.configuration)), {}, set[LinkFact]()
        for lane, records in self.lanes.items():
            known: dict[str, Part] = {}
            for record in records:
                for prefix in prefixes([record], record.offset, record.offset + 1):
                    folded = folder.fold(lane, prefix, known, known)
                    parts |= {(lane, one.subject): one.packed for one in folded.parts}
                    facts |= set(folded.facts)
        return parts, facts

    def assert_whole(self) -> None:
        """Parts, link facts and checkpoints are what they must be, and nothing is marked."""
        parts, facts = self.expected()
        wanted = sorted(parts)
        assert dict(zip(wanted, self.store.parts(wanted), strict=True)) == parts
        assert self.outlet.facts == facts
        for task in self.tasks():
            [checkpoint] = self.store.checkpoints([task.lane])
            assert checkpoint.next_offset == task.end
            assert self.store.marks(task.lane) == {}
        names = sorted({one for _, one in wanted})
        held = dict(zip(names, self.store.lanes(names), strict=True))
        assert {(lane, name) for name, lanes in held.items() for lane in lanes} == set(parts)


@pytest.fixture(autouse=True)
def many_small_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    """A window is several calls, each a round trip of its own."""
    monkeypatch.setattr(bulk, "PARTS_PER_COMMIT", 3)
    monkeypatch.setattr(bulk, "CALLS_AT_ONCE", 1)


@pytest.mark.parametrize("cache_bytes", [2**24, 1])
def test_bulk_folds_what_a_worker_folds(embedded_store: EmbeddedStore, cache_bytes: int) -> None:
    world, told = World(embedded_store, 5), []
    for task in world.tasks():
        world.folder(cache_bytes=cache_bytes).fold(task, told.append)
    world.assert_whole()
    assert sum(told) == sum(map(len, world.lanes.values()))


@pytest.mark.parametrize("seed", range(3))
def test_killed_anywhere_it_goes_on_and_nothing_is_folded_twice(
    embedded_store: EmbeddedStore, seed: int
) -> None:
    world, rng, kills = World(embedded_store, seed), Random(seed), 0

    def fate(_: str) -> None:
        if rng.random() < 0.15:
            raise Killed

    for task in world.tasks():
        for _ in count():
            try:
                world.folder(fate, cache_bytes=rng.choice((1, 2**24))).fold(task, lambda _: None)
                break
            except Killed:
                kills += 1
    world.assert_whole()
    assert kills > 10


def test_one_that_was_paused_within_a_window_changes_nothing_when_it_goes_on(
    embedded_store: EmbeddedStore,
) -> None:
    world = World(embedded_store, 8)
    steps = 0

    def paused(name: str) -> None:
        nonlocal steps
        steps += 1
        # Within the second window: some of its parts are written, others are not.
        if steps == 9:
            world.folder().fold(task, lambda _: None)

    for task in world.tasks():
        steps = 0
        world.folder(paused).fold(task, lambda _: None)
        assert steps >= 9
    world.assert_whole()


def test_parts_from_the_future_of_a_store_that_goes_back_are_not_used(
    embedded_store: EmbeddedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(embedded_store, 9)
    [task, *_] = world.tasks()
    client = redis.Redis.from_url(embedded_store.url)

    def keys() -> dict[bytes, bytes]:
        return {key: client.dump(key) for key in client.scan_iter("scv:g2:*")}

    real, older = world.store.load, dict[bytes, bytes]()

    def load(wanted: dict[Lane, list[str]]) -> dict[Lane, Loaded]:
        if older:
            return real(wanted)
        older.update(keys())
        other = world.folder()
        other.store = RedisStore(embedded_store.url, "g2", RULES.shared_above)
        other.fold(task, lambda _: None)
        found = real(wanted)
        client.flushdb()
        for key, value in older.items():
            client.restore(key, 0, value)
        return found

    monkeypatch.setattr(world.store, "load", load)
    # The first windows are folded; then another process folds all of it, and the store goes back.
    first = task._replace(end=2 * WINDOW)
    folder = world.folder()
    folder._move(first, None, folding_at(0))
    folder._fold(first, 0, lambda _: None, fresh=True)
    folder.fold(task, lambda _: None)
    for one in world.tasks():
        world.folder().fold(one, lambda _: None)
    client.close()
    world.assert_whole()


def test_a_lane_that_a_worker_has_is_left_to_it(embedded_store: EmbeddedStore) -> None:
    world = World(embedded_store, 5)
    [task, *_] = world.tasks()
    world.folder()._move(task, None, 7)
    told: list[int] = []
    world.folder().fold(task, told.append)
    assert told == []
    assert world.store.checkpoints([task.lane])[0].next_offset == 7


def test_windows_depend_on_the_log_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    records = [Record("t", 0, offset, 0, None, b"x" * (offset % 5), []) for offset in range(0, 200, 2)]

    def cut(sizes: Sequence[int], start: int) -> list[int]:
        left, batches = [one for one in records if one.offset >= start], []
        for size in sizes:
            batches.append(left[:size])
            left = left[size:]
        return [end for _, end in windows([*batches, left], 250, 12)]

    monkeypatch.setattr(bulk, "WINDOW_BYTES", 20)
    whole = cut([], 0)
    assert whole == cut([1, 30, 2], 0)
    assert cut([5], whole[2]) == whole[3:]
    assert whole[-1] == 250 and len(whole) > 5


def test_a_checkpoint_says_how_far_a_lane_is_folded_in_bulk() -> None:
    assert [folded_to(one, 5) for one in (None, 9, folding_at(5), folding_at(12))] == [5, 9, 5, 12]
    assert folding_at(0) < -2, "-1 and -2 mean something else"
