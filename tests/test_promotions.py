"""Promotions are numbered records, the pointer follows them, and no crash or race makes two of one."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from eventlog.admin import create_topics, delete_topics
from eventlog.errors import LogError
from eventlog.producing import LogProducer
from eventlog.promotions import (
    PromotionsLost,
    begin,
    heal,
    promote,
    promotions,
    roll_back,
)
from eventlog.reading import read_topic
from eventlog.topics import GENERATIONS, SALES, topic_plan
from models.promotion import PROMOTED, ROLLED_BACK, Active, PromotionRefused
from models.record import Lane
from models.schemas import promotion_schema
from models.settings import Settings
from stores.connection import claim_generation, connect
from stores.embedded import EmbeddedStore
from stores.promotion import ActivePointer
from streams.worker import lane_worker, prepare_store
from tests import servers

ROOT = Path(__file__).parent.parent
WHO = {"actor": "ada", "reason": "new sections"}

# Promotes, and is killed at the point that it is given.
KILLED = """
import os, signal, sys
from stores.promotion import ActivePointer
from eventlog.promotions import promote
kafka, redis, where = sys.argv[1:]
point = lambda name: os.kill(os.getpid(), signal.SIGKILL) if name == where else None
promote(kafka, ActivePointer(redis), "g2", 1, actor="ada", reason="new sections", point=point)
"""


class World:
    """A log and a store that has the generations g1, g2 and g3; g1 was the first."""

    def __init__(self, kafka: str, redis: str) -> None:
        self.kafka, self.redis = kafka, redis
        create_topics(kafka, plan=[one for one in topic_plan() if one.name == GENERATIONS])
        self.pointer = ActivePointer(redis)
        self.claim()
        begin(kafka, self.pointer, "g1")

    def claim(self) -> None:
        """The generations are there."""
        client = connect(self.redis)
        for generation in ("g1", "g2", "g3"):
            claim_generation(client, generation, Settings().shape)
        client.close()

    def promote(self, generation: str, expected: int, **more: Any) -> Any:
        """Promote it, as somebody who has looked."""
        return promote(self.kafka, self.pointer, generation, expected, **WHO, **more)

    def history(self) -> list[tuple[int, str]]:
        """Number and generation of what counts."""
        return [(one.number, one.generation) for one in promotions(self.kafka)]


@pytest.fixture
def world(broker: Any, store: Any) -> Iterator[World]:
    """On each kind of servers."""
    world = World(broker.bootstrap, store.url)
    yield world
    world.pointer.close()


@pytest.fixture
def quick(embedded_broker: Any, embedded_store: EmbeddedStore) -> Iterator[World]:
    """On the quick servers alone, for what depends on neither."""
    servers.empty_broker(embedded_broker.bootstrap)
    servers.empty_store(embedded_store.url)
    world = World(embedded_broker.bootstrap, embedded_store.url)
    yield world
    world.pointer.close()


def test_promotions_and_rollbacks_are_numbered_records_and_readers_see_the_last(world: World) -> None:
    assert world.pointer.read() == Active("g1", 1)
    done = world.promote("g2", 1)
    assert (done.number, done.kind, done.previous) == (2, PROMOTED, "g1")
    assert world.pointer.read() == Active("g2", 2)
    back = roll_back(world.kafka, world.pointer, 2, actor="bob", reason="sales are wrong")
    assert (back.number, back.kind, back.generation, back.previous) == (3, ROLLED_BACK, "g1", "g2")
    assert world.pointer.read() == Active("g1", 3)
    assert world.history() == [(1, "g1"), (2, "g2"), (3, "g1")]
    check = jsonschema.Draft202012Validator(promotion_schema())
    records = list(read_topic(world.kafka, GENERATIONS))
    for record in records:
        check.validate(json.loads(record.value or b""))
    assert [record.key for record in records] == [b"g1", b"g2", b"g1"]


def test_whoever_looks_next_finishes_what_a_killed_one_began(quick: World) -> None:
    command = [sys.executable, "-c", KILLED, quick.kafka, quick.redis, "between record and pointer"]
    assert subprocess.run(command, cwd=ROOT, check=False).returncode == -signal.SIGKILL
    assert quick.pointer.read() == Active("g1", 1)
    assert heal(quick.kafka, quick.pointer) == quick.pointer.read() == Active("g2", 2)
    assert quick.history() == [(1, "g1"), (2, "g2")]
    # Nothing has to be cleaned up before the next one.
    assert quick.promote("g3", 2).number == 3


def test_of_two_who_promote_at_once_the_later_is_refused_and_has_changed_nothing(quick: World) -> None:
    world, other = quick, ActivePointer(quick.redis)

    def meanwhile(point: str) -> None:
        if point == "before record":
            promote(world.kafka, other, "g3", 1, actor="bob", reason="quick")

    with pytest.raises(PromotionRefused, match="promotion 2 is g3, by bob"):
        world.promote("g2", 1, point=meanwhile)
    assert world.pointer.read() == Active("g3", 2)
    assert world.history() == [(1, "g1"), (2, "g3")]
    assert len(list(read_topic(world.kafka, GENERATIONS))) == 3
    # What was void stays so, also when the next number is given out.
    assert world.promote("g2", 2).number == 3
    assert world.history() == [(1, "g1"), (2, "g3"), (3, "g2")]
    other.close()


def test_whoever_was_overtaken_by_two_promotions_is_refused_and_the_pointer_stays(quick: World) -> None:
    other = ActivePointer(quick.redis)

    def meanwhile(point: str) -> None:
        if point == "between record and pointer":
            promote(quick.kafka, other, "g3", 2, actor="bob", reason="quick")

    assert quick.promote("g2", 1, point=meanwhile).number == 2
    assert quick.pointer.read() == Active("g3", 3)
    assert not quick.pointer.move(Active("g2", 2))
    assert quick.pointer.read() == Active("g3", 3)
    other.close()


def test_a_store_that_was_lost_gets_the_pointer_back_from_the_topic(quick: World) -> None:
    settings = Settings(kafka=quick.kafka, redis=quick.redis, generation="g1")
    create_topics(quick.kafka)
    quick.promote("g2", 1)
    servers.empty_store(quick.redis)
    # The first worker to come is one of the old generation: it claims nothing but its own keys.
    prepare_store(settings)
    assert quick.pointer.read() == Active("g2", 2)
    # The same for a worker that runs on while the store is lost.
    worker = lane_worker(settings)
    servers.empty_store(quick.redis)
    worker.take([Lane(SALES, 0)])
    assert quick.pointer.read() == Active("g2", 2)
    worker.close()


def test_only_the_very_first_generation_is_active_without_being_promoted(quick: World) -> None:
    delete_topics(quick.kafka, [GENERATIONS])
    create_topics(quick.kafka, plan=[one for one in topic_plan() if one.name == GENERATIONS])
    servers.empty_store(quick.redis)
    assert heal(quick.kafka, quick.pointer) is None
    with pytest.raises(PromotionRefused, match="no generation yet"):
        quick.promote("g2", 1)
    assert begin(quick.kafka, quick.pointer, "g5") == Active("g5", 1)
    assert begin(quick.kafka, quick.pointer, "g6") == Active("g5", 1)
    assert quick.history() == [(1, "g5")]


def test_a_view_from_before_promotions_were_records_goes_on_with_the_second(quick: World) -> None:
    delete_topics(quick.kafka, [GENERATIONS])
    create_topics(quick.kafka, plan=[one for one in topic_plan() if one.name == GENERATIONS])
    assert heal(quick.kafka, quick.pointer) == Active("g1", 1)
    assert quick.promote("g2", 1).previous == "g1"
    assert quick.history() == [(1, "g1"), (2, "g2")]


def test_a_pointer_ahead_of_the_topic_needs_a_person(quick: World) -> None:
    quick.pointer.move(Active("g3", 7))
    with pytest.raises(PromotionsLost, match="g3 7, but scv.generations ends with number 1"):
        heal(quick.kafka, quick.pointer)
    with pytest.raises(LogError, match="made anew"):
        quick.promote("g2", 7)


def test_what_is_not_so_or_not_said_is_refused_before_anything_is_written(quick: World) -> None:
    for generation, expected, said, why in (
        ("g2", 4, WHO, "g1 is active by promotion 1, not 4"),
        ("g1", 1, WHO, "g1 is active already"),
        ("g9", 1, WHO, "no generation g9"),
        ("g2", 1, {**WHO, "reason": " "}, "needs a reason"),
        ("g2", 1, {**WHO, "actor": ""}, "needs an actor"),
        ("g2", 1, {**WHO, "reason": "x" * 5_000}, "5000 characters; at most 4000"),
    ):
        with pytest.raises(PromotionRefused, match=why):
            promote(quick.kafka, quick.pointer, generation, expected, **said)
    with pytest.raises(PromotionRefused, match="none to roll back to"):
        roll_back(quick.kafka, quick.pointer, 1, **WHO)
    assert len(list(read_topic(quick.kafka, GENERATIONS))) == 1


def test_the_example_of_the_page_satisfies_the_schema() -> None:
    page = (ROOT / "docs" / "topics.md").read_text()
    (example,) = re.findall(r"^```json\n([^`]*scv\.generation_.*?)^```$", page, re.MULTILINE | re.DOTALL)
    jsonschema.Draft202012Validator(promotion_schema()).validate(json.loads(example))


def test_a_record_that_is_no_promotion_counts_for_nothing(quick: World) -> None:
    with LogProducer(quick.kafka) as producer:
        for value in (b"rubbish", None, b"{}", b'{"id":"x","type":"scv.generation_sold","data":{}}'):
            producer.produce(GENERATIONS, b"g2", value)
    assert quick.history() == [(1, "g1")]
    assert quick.promote("g2", 1).number == 2
