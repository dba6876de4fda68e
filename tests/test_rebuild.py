"""A generation that was rebuilt is the one that followed live, and is handled with care."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import islice
from random import Random
from typing import Any

import pytest
import redis
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from eventlog.admin import describe_topics
from eventlog.apache import ApacheBroker
from eventlog.embedded import EmbeddedBroker
from eventlog.promotions import promotions
from eventlog.reading import read_topic
from eventlog.topics import CHANGES, DEAD_LETTERS, MERGES, link_log
from models.identifiers import customer_id
from ops import cli
from ops.failures import Exit
from stores.embedded import DebianRedis, EmbeddedStore
from stores.rebuilding import Rebuilds, State
from tests import servers
from tests.rebuild_world import Following, assert_same, fill, held, kinds, records_of, settings_for


def scv(
    capsys: pytest.CaptureFixture[str], kafka: str, url: str, *words: str
) -> tuple[int, dict[str, Any], str]:
    """A command's exit code, its JSON answer, and what it said on stderr."""
    capsys.readouterr()
    code = cli.run([*words, "--kafka", kafka, "--redis", url, "--json"])
    said = capsys.readouterr()
    return code, json.loads(said.out) if said.out else {}, said.err


class Log:
    """A small log and a generation that has followed it, on servers of its own."""

    capsys: pytest.CaptureFixture[str]

    def __init__(self, kafka: str, url: str) -> None:
        self.kafka, self.url = kafka, url
        self.client = redis.Redis.from_url(url, decode_responses=True)
        self.records = iter(records_of(3, 220))
        self.write(100)
        self.live = Following(settings_for(kafka, url), Random(3))
        self.live.catch_up()

    def write(self, count: int) -> None:
        """Some records more."""
        fill(self.kafka, islice(self.records, count))

    def scv(self, *words: str) -> tuple[int, dict[str, Any], str]:
        """A command of `scv rebuild`."""
        return scv(self.capsys, self.kafka, self.url, "rebuild", *words)

    def build(self) -> None:
        """Have g2."""
        code, answer, said = self.scv("start", "--execute", "--no-follow")
        assert (code, answer.get("state")) == (Exit.OK, "following"), said

    def keys(self, generation: str) -> dict[str, bytes]:
        """All that the store holds of a generation."""
        with redis.Redis.from_url(self.url) as client:
            return {key.decode(): client.dump(key) for key in client.scan_iter(f"scv:{generation}:*")}

    def active(self) -> str | None:
        """What readers are pointed to."""
        return self.client.get("scv:active")


@contextmanager
def logged(url: str) -> Iterator[Log]:
    """A log of its own in an empty store."""
    servers.empty_store(url)
    with EmbeddedBroker() as broker:
        one = Log(broker.bootstrap, url)
        yield one
        one.live.close()
        one.client.close()


@pytest.fixture
def log(embedded_store: EmbeddedStore, capsys: pytest.CaptureFixture[str]) -> Iterator[Log]:
    """A log of this test alone."""
    with logged(embedded_store.url) as one:
        one.capsys = capsys
        yield one


@pytest.fixture(scope="module")
def once() -> Iterator[_Once]:
    """A log with g2 built, made for the first who wants it; on a store of its own: others empty theirs."""
    with ExitStack() as stack:
        yield _Once(stack)


class _Once:
    """Makes a log once, and puts its store back for whoever comes next."""

    def __init__(self, stack: ExitStack) -> None:
        self.stack = stack
        self.log: Log | None = None
        self.dump: dict[bytes, bytes] = {}

    def given(self, capsys: pytest.CaptureFixture[str]) -> Log:
        """The log, as it was when g2 had been built."""
        if self.log is None:
            store = self.stack.enter_context(EmbeddedStore())
            self.log = self.stack.enter_context(logged(store.url))
            self.log.capsys = capsys
            self.log.build()
            with redis.Redis.from_url(store.url) as client:
                self.dump = {key: client.dump(key) for key in client.scan_iter("scv:*")}
        self.log.capsys = capsys
        with redis.Redis.from_url(self.log.url) as client:
            client.flushdb()
            for key, value in self.dump.items():
                client.restore(key, 0, value)
        return self.log


@pytest.fixture
def built(once: _Once, capsys: pytest.CaptureFixture[str]) -> Log:
    """A log with g2 built."""
    return once.given(capsys)


def rebuilt_equals_live(seed: int, events: int, kafka: str, url: str, capsys: Any) -> dict[str, Any]:
    """Follow half of a log, rebuild, follow the rest with both; they hold the same at both times."""
    records = records_of(seed, events)
    half = len(records) // 2
    fill(kafka, records[:half])
    live = Following(settings_for(kafka, url), Random(seed), replaced=0.05)
    live.catch_up()
    code, answer, said = scv(
        capsys, kafka, url, "rebuild", "start", "--execute", "--no-follow", "--workers", "2"
    )
    assert code == Exit.OK, said
    assert answer["state"] == "following"
    at_half = assert_same(url, "g1", "g2")
    fill(kafka, records[half:])
    rebuilt = Following(settings_for(kafka, url, "g2"), Random(seed + 1), replaced=0.05)
    for one in (live, rebuilt):
        one.catch_up()
        one.close()
    found = assert_same(url, "g1", "g2")
    assert kinds(list(found)) == {"part", "profile", "ids", "member", "lanes", "of"}
    assert found != at_half
    return found


def test_a_rebuilt_generation_is_the_live_one_before_and_after_it_follows(
    embedded_store: EmbeddedStore, capsys: pytest.CaptureFixture[str]
) -> None:
    servers.empty_store(embedded_store.url)
    with EmbeddedBroker() as broker:
        found = rebuilt_equals_live(1, 400, broker.bootstrap, embedded_store.url, capsys)
    members = [value[1] for name, value in found.items() if name.endswith(":member")]
    assert any(len(one) > 2 for one in members), "customers merged"


@pytest.mark.campaign
@pytest.mark.parametrize("seed", range(301, 309))
def test_larger_logs_are_rebuilt_as_they_were_followed(
    apache_broker: ApacheBroker, debian_redis: DebianRedis, capsys: pytest.CaptureFixture[str], seed: int
) -> None:
    servers.empty_broker(apache_broker.bootstrap)
    servers.empty_store(debian_redis.url)
    found = rebuilt_equals_live(seed, 6_000, apache_broker.bootstrap, debian_redis.url, capsys)
    with capsys.disabled():
        print(f"\nseed {seed}: {len(found)} keys of each generation are the same")


def test_a_log_that_lacks_what_the_view_is_made_of_is_not_rebuilt(
    apache_broker: ApacheBroker, embedded_store: EmbeddedStore, capsys: pytest.CaptureFixture[str]
) -> None:
    kafka, url = apache_broker.bootstrap, embedded_store.url
    servers.empty_broker(kafka)
    servers.empty_store(url)
    fill(kafka, records_of(6, 60))
    live = Following(settings_for(kafka, url), Random(6))
    live.catch_up()
    live.close()
    assert scv(capsys, kafka, url, "rebuild", "start")[0] == Exit.OK
    admin = AdminClient({"bootstrap.servers": kafka, "log_level": 0})
    for future in admin.delete_records([TopicPartition("sales.events", 1, 2)]).values():
        future.result(60)
    code, _, said = scv(capsys, kafka, url, "rebuild", "start", "--execute")
    assert code == Exit.REFUSED
    assert "retention has removed records that g1 is made of: sales.events-1 (its first 2)" in said
    assert link_log("g2") not in describe_topics(kafka)
    code, plan, _ = scv(capsys, kafka, url, "rebuild", "start", "--without-removed")
    assert (code, plan["lanes"]["sales.events-1"][0]) == (Exit.OK, 2)


def test_from_a_plan_to_a_promotion_and_back_and_to_the_end(log: Log) -> None:
    before, topics = log.keys("g1"), describe_topics(log.kafka)
    code, plan, _ = log.scv("start")
    assert (code, plan["generation"], plan["beside"], plan["executed"]) == (Exit.OK, "g2", "g1", False)
    assert (describe_topics(log.kafka), log.keys("g2")) == (topics, {}), "a plan changes nothing"
    assert log.scv("diff")[0] == Exit.NOT_FOUND

    letters, merges = (len(list(read_topic(log.kafka, name))) for name in (DEAD_LETTERS, MERGES))
    log.build()
    assert log.keys("g1") == before, "the generation that is read stays as it is"
    assert len(list(read_topic(log.kafka, DEAD_LETTERS))) == letters > 0
    assert len(list(read_topic(log.kafka, MERGES))) == merges > 0
    told = {json.loads(one.value or b"")["generation"] for one in read_topic(log.kafka, CHANGES)}
    assert told == {"g1", "g2"}, "by notices publishers find what to publish anew"
    code, found, _ = log.scv("diff")
    assert (code, found["differences"]) == (Exit.OK, 0)
    assert found["customers"] == len([key for key in held(log.url, "g1") if key.endswith(":profile")]) > 10
    [_, g2] = log.scv("status")[1]["generations"]
    assert (g2["generation"], g2["state"], g2["active"], g2["behind_records"]) == (
        "g2",
        "following",
        False,
        0,
    )

    assert log.scv("promote")[0] == Exit.OK
    assert log.active() == "g1 1", "a plan changes nothing"
    log.write(50)
    log.live.catch_up()
    code, _, said = log.scv("promote", "--execute", "--wait", "0")
    assert (code, log.active()) == (Exit.REFUSED, "g1 1")
    assert "g2 is behind g1" in said
    follow_on(log)
    code, done, _ = log.scv("promote", "--execute", "--actor", "E-7", "--reason", "new sections")
    assert (code, done["active"], log.active()) == (Exit.OK, "g2", "g2 2")
    last = promotions(log.kafka)[-1]
    assert (last.generation, last.actor, last.reason) == ("g2", "E-7", "new sections")
    assert log.scv("drop", "g2", "--execute")[0] == Exit.REFUSED
    assert log.scv("status", "--generation", "g2")[1]["generations"][0]["state"] == "promoted"

    log.write(20)
    follow_on(log)
    code, _, said = log.scv("rollback", "--execute", "--wait", "0")
    assert (code, log.active()) == (Exit.REFUSED, "g2 2"), "g1 has not followed"
    assert log.scv("rollback", "--execute", "--wait", "0", "--force")[0] == Exit.OK
    assert log.active() == "g1 3"
    assert log.scv("drop", "g2")[0] == Exit.OK
    assert log.keys("g2"), "a plan changes nothing"
    before = log.keys("g1")
    code, gone, said = log.scv("drop", "g2", "--execute")
    assert (code, log.keys("g2"), log.keys("g1")) == (Exit.OK, {}, before), said
    assert gone["keys"] > 100
    assert link_log("g2") not in describe_topics(log.kafka)
    assert log.scv("drop", "g2", "--execute")[0] == Exit.NOT_FOUND
    # A rollback goes by names: what readers once saw as g2 is not built anew under that name.
    assert log.scv("start")[1]["generation"] == "g3"
    # A drop of the first generation that was killed, which nobody ever rebuilt.
    with redis.Redis.from_url(log.url) as client:
        Rebuilds(client).update("g1", state=State.DROPPING)
    assert log.scv("status")[1]["generations"][0]["generation"] == "g1"


def follow_on(log: Log) -> None:
    """Let g2 fold what there is."""
    follower = Following(settings_for(log.kafka, log.url, "g2"), Random(4))
    follower.catch_up()
    follower.close()


def test_differences_are_counted_by_field_and_shown(built: Log) -> None:
    log = built
    profiles = sorted(key for key in log.keys("g2") if key.endswith(":profile"))
    live = [key for key in profiles if log.client.hget(key, "state") == "live"]
    changed, gone, new = live[:3]
    sales = json.loads(log.client.hget(changed, "sales"))
    log.client.hset(changed, "sales", json.dumps({**sales, "order_count": 77, "colour": "red"}))
    log.client.hset(changed, "meta", "{}")
    log.client.delete(gone)
    log.client.delete(new.replace("scv:g2:", "scv:g1:"))
    code, found, _ = log.scv("diff", "--examples", "1")
    assert code == Exit.DIFFERENCES
    assert found["kinds"] == {"changed": 1, "gone": 1, "new": 1}
    assert found["fields"] == {"sales.order_count": 1, "sales.colour": 1}
    [worst] = found["examples"]
    assert worst["after"] == {"sales.order_count": 77, "sales.colour": "red"}
    assert worst["before"] == {"sales.order_count": sales["order_count"], "sales.colour": None}
    log.capsys.readouterr()
    assert cli.run(["rebuild", "diff", "--kafka", log.kafka, "--redis", log.url]) == Exit.DIFFERENCES
    said = log.capsys.readouterr().out
    assert "3 of" in said and "sales.order_count" in said and "→ 77" in said


def test_what_is_not_whole_is_not_promoted_nor_followed_and_goes_on_where_it_was(
    built: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = built
    rebuilds = Rebuilds(redis.Redis.from_url(log.url))
    # Killed when six subjects, by their names, were done.
    rebuilds.update("g2", state=State.ASSEMBLING, assembled=6)
    monkeypatch.setattr("streams.rebuild.SUBJECTS_AT_ONCE", 3)
    whole = held(log.url, "g2")
    seen = sorted(key[1:].removesuffix("}:lanes") for key in whole if key.endswith(":lanes"))
    people = [name for name in seen if not name.startswith("employee:")]
    profiles = [f"{{{customer_id(name)}}}:profile" for name in people]
    done = {key: whole[key] for key in profiles[:6] if key in whole}
    for key in profiles:
        log.client.delete(f"scv:g2:{key}")
    code, _, said = log.scv("promote", "--execute", "--force")
    assert (code, log.active()) == (Exit.REFUSED, "g1 1")
    assert "not whole yet (assembling)" in said
    log.capsys.readouterr()
    assert cli.run(["worker", "--generation", "g2", "--kafka", log.kafka, "--redis", log.url]) == Exit.REFUSED
    assert "is not built yet" in log.capsys.readouterr().err
    log.build()
    assert done and len(profiles) > 12
    assert held(log.url, "g2") == {key: value for key, value in whole.items() if key not in done}
    # Of another shape it is another generation.
    rebuilds.update("g2", shape="another")
    code, _, said = log.scv("start", "--execute", "--no-follow")
    assert code == Exit.REFUSED
    assert "other projections or settings" in said
    # Somebody is at it, on another machine.
    rebuilds.update("g2", shape=settings_for(log.kafka, log.url).shape, state=State.FOLDING)
    log.client.set("scv:g2:rebuilder", "elsewhere 1")
    for words in (("start", "--execute", "--no-follow"), ("drop", "g2", "--execute")):
        code, _, said = log.scv(*words)
        assert code == Exit.REFUSED
        assert "elsewhere 1" in said
    rebuilds.client.close()
