"""What `customer.profiles` tells is what Redis holds, in order, whatever happens to publishers and stores."""

from __future__ import annotations

import os
import signal
from typing import Any

import jsonschema
import msgspec
import pytest

from eventlog.admin import create_topics, delete_topics
from eventlog.apache import ApacheBroker
from eventlog.embedded import EmbeddedBroker
from eventlog.ends import lane_ends
from eventlog.errors import LogError
from eventlog.topics import CHANGES, GENERATIONS, PROFILES, topic_plan
from eventlog.transactions import Fenced
from models.identifiers import customer_id
from models.published import TombstoneHeaders
from models.schemas import snapshot_schema
from stores import publishing
from stores.embedded import DebianRedis, EmbeddedStore
from stores.keys import ACTIVE
from stores.redis_store import RedisStore
from stores.store import ProfileWrite, StoreAway
from streams.publisher import lanes_by_partition
from tests import servers
from tests.publishing_takeover import LANES, SHUT_OUT, Takeover
from tests.publishing_world import PublishingWorld, assert_in_order, held, subscribed

EMAIL = "email:ada@example.com"
ADA, VISITOR = "crm:1", "web:1"


@pytest.fixture
def world(broker: Any, store: Any) -> Any:
    """A view and its log, on each kind of servers."""
    world = PublishingWorld(broker.bootstrap, store.url)
    yield world
    world.close()


@pytest.fixture
def embedded_world(embedded_store: EmbeddedStore) -> Any:
    """The same on the quick servers alone, for what depends on neither."""
    with EmbeddedBroker() as broker:
        world = PublishingWorld(broker.bootstrap, embedded_store.url)
        yield world
        world.close()


@pytest.fixture
def apache_world(apache_broker: ApacheBroker, debian_redis: DebianRedis) -> Any:
    """The same on Apache Kafka alone, which keeps what was aborted from readers."""
    servers.empty_broker(apache_broker.bootstrap)
    world = PublishingWorld(apache_broker.bootstrap, debian_redis.url)
    yield world
    world.close()


def viewed(world: PublishingWorld, subject: str, *names: str, times: int = 1) -> None:
    for _ in range(times):
        world.view.tell("marketing.page_viewed", subject, *names, page="/")


def ordered(world: PublishingWorld, subject: str, order: str, *names: str) -> None:
    world.view.tell("sales.order_placed", subject, *names, order_id=order, amount_minor=990, currency="EUR")


def told_of(world: PublishingWorld, subject: str) -> list[Any]:
    return [one for one in subscribed(world.bootstrap) if one.customer_id == customer_id(subject)]


def test_a_subscriber_that_reads_from_the_start_has_exactly_the_profiles_in_redis(
    world: PublishingWorld,
) -> None:
    for number in range(12):
        viewed(world, f"web:{number}", f"email:{number}@example.com")
    assert world.publish() == 12
    for number in range(0, 12, 2):
        ordered(world, f"crm:{number}", f"O-{number}", f"email:{number}@example.com")
    viewed(world, "web:1")
    world.publish()
    world.view.command("unlink", "web:4", "email:4@example.com")
    world.publish()
    records = subscribed(world.bootstrap)
    assert held(records) == world.profiles()
    assert len(world.profiles()) == 13
    assert_in_order(records)
    check = jsonschema.Draft202012Validator(snapshot_schema())
    for one in records:
        if one.removed:
            TombstoneHeaders.model_validate({f"ce_{name}": value for name, value in one.event.items()})
        else:
            check.validate(one.event)


def test_a_customer_that_was_merged_away_is_removed_and_a_split_brings_it_back(
    world: PublishingWorld,
) -> None:
    viewed(world, VISITOR, EMAIL)
    world.publish()
    ordered(world, ADA, "O-1", EMAIL)
    world.publish()
    (first, gone) = told_of(world, VISITOR)
    assert (first.removed, gone.removed) == (False, True)
    assert gone.event["type"] == "customer.profile_merged"
    assert gone.event["mergedinto"] == customer_id(ADA)
    assert gone.event["subject"] == customer_id(VISITOR)
    assert held(subscribed(world.bootstrap)).keys() == {customer_id(ADA)}
    world.view.command("unlink", VISITOR, EMAIL)
    world.publish()
    assert [one.removed for one in told_of(world, VISITOR)] == [False, True, False]
    assert held(subscribed(world.bootstrap)) == world.profiles()
    assert_in_order(subscribed(world.bootstrap))


def test_nobody_is_told_of_an_id_that_was_merged_away_before_it_was_published(
    embedded_world: PublishingWorld,
) -> None:
    world = embedded_world
    viewed(world, VISITOR, EMAIL)
    ordered(world, ADA, "O-1", EMAIL)
    assert world.publish() == 1
    assert told_of(world, VISITOR) == []
    # Whoever has the old id open does hear of it.
    assert {"merged", "live"} == {one["state"] for one in world.feed()}


def test_notices_that_come_twice_late_or_many_at_once_are_told_once(world: PublishingWorld) -> None:
    viewed(world, ADA, times=3)
    world.view.settle()
    viewed(world, ADA)
    world.view.settle()
    assert world.send() > 1
    assert world.publish() == 1
    world.send(again=True)
    assert world.publish() == 0
    viewed(world, ADA)
    world.view.settle()
    world.send(again=True)
    assert world.publish() == 1
    records = told_of(world, ADA)
    assert [one.version.revisions for one in records] == [4, 5]
    assert_in_order(records)


def test_a_snapshot_says_what_changed_and_why(embedded_world: PublishingWorld) -> None:
    world = embedded_world
    ordered(world, ADA, "O-1", EMAIL)
    world.publish()
    ordered(world, ADA, "O-2")
    world.publish()
    viewed(world, VISITOR, EMAIL)
    world.publish()
    first, second, third = told_of(world, ADA)
    assert (first.event["cause"], second.event["cause"], third.event["cause"]) == (
        "first",
        "events",
        "identity",
    )
    assert set(first.event["changed"].split(",")) >= {"identity", "sales", "summary", "timeline"}
    assert second.event["changed"] == "summary,identity,sales,timeline"
    assert third.event["changed"] == "identity,marketing,timeline"
    assert [one["sections"] for one in world.feed() if one["customer"] == customer_id(ADA)] == [
        one.event["changed"] for one in (first, second, third)
    ]
    assert first.event["data"]["meta"]["last_log_at"] == first.event["time"]


@pytest.mark.parametrize(
    "point", ["between read and write", "between write and note", "between note and cursor"]
)
def test_a_publisher_killed_at_any_point_leaves_nothing_undone_and_nothing_twice(
    apache_world: PublishingWorld, point: str
) -> None:
    world = apache_world
    for number in range(6):
        viewed(world, f"web:{number}", f"email:{number}@example.com")
    world.publish()
    for number in range(0, 6, 2):
        ordered(world, f"crm:{number}", f"O-{number}", f"email:{number}@example.com")
    viewed(world, "web:1")
    world.view.settle()
    world.send()
    killed = world.process(point)
    assert killed.wait(60) == -signal.SIGKILL
    world.publish(anew=True)
    records = subscribed(world.bootstrap)
    assert held(records) == world.profiles()
    assert_in_order(records)
    ends = {lane: found.end for (_, lane), found in lane_ends(world.bootstrap, [CHANGES]).items()}
    assert world.resume_at() == ends
    # What the killed one had no time for is known all the same, and followers have heard of every version.
    world.send(again=True)
    assert world.publish() == 0
    heard = {(one["customer"], one["version"]) for one in world.feed()}
    assert heard >= {(one.customer_id, str(one.version).partition(".")[2]) for one in records}


@pytest.mark.parametrize("point", ["between read and write", "between write and note"])
def test_a_paused_publisher_that_wakes_after_another_took_its_lanes_changes_nothing(
    apache_world: PublishingWorld, point: str
) -> None:
    world = apache_world
    ordered(world, ADA, "O-1")
    ordered(world, "crm:2", "O-2")
    world.view.settle()
    world.send()
    paused = world.process(point, "SIGSTOP")
    try:
        _, status = os.waitpid(paused.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status)
        ordered(world, ADA, "O-3")
        world.publish(anew=True)
        before = subscribed(world.bootstrap)
        known = world.known(ADA)
        paused.send_signal(signal.SIGCONT)
        said = (paused.communicate(timeout=60)[0] or "").strip()
    finally:
        paused.kill()
        paused.wait()
    # Only one that was about to write had something that could be refused.
    assert (said == SHUT_OUT) == (point == "between read and write")
    assert subscribed(world.bootstrap) == before
    assert world.known(ADA) == known
    assert held(before) == world.profiles()
    ordered(world, ADA, "O-4")
    world.publish(anew=True)
    assert held(subscribed(world.bootstrap)) == world.profiles()
    assert_in_order(subscribed(world.bootstrap))


def test_what_a_store_lost_of_publishing_is_read_from_the_topic(world: PublishingWorld) -> None:
    viewed(world, VISITOR, EMAIL)
    ordered(world, "crm:2", "O-2")
    world.publish()
    ordered(world, ADA, "O-1", EMAIL)
    world.publish()
    told = len(subscribed(world.bootstrap))
    fed = len(world.feed())
    world.forget_published()
    world.send(again=True)
    assert world.publish(anew=True) == 0
    assert (len(subscribed(world.bootstrap)), len(world.feed())) == (told, fed)
    # Of what was published before, it knows the sections again.
    ordered(world, "crm:2", "O-3")
    world.publish()
    assert told_of(world, "crm:2")[-1].event["changed"] == "summary,identity,sales,timeline"
    # And the tombstone: the merged id does not come back, and is not removed twice.
    assert [one.removed for one in told_of(world, VISITOR)] == [False, True]


def test_a_store_that_lost_everything_publishes_nothing_older_while_it_is_folded_anew(
    world: PublishingWorld, store: Any
) -> None:
    ordered(world, ADA, "O-1")
    ordered(world, ADA, "O-2")
    world.publish()
    again = PublishingWorld(world.bootstrap, store.url)  # which empties the store
    ordered(again, ADA, "O-1")
    assert again.publish() == 0
    ordered(again, ADA, "O-2")
    assert again.publish() == 0
    ordered(again, ADA, "O-3")
    assert again.publish() == 1
    assert [one.version.revisions for one in told_of(again, ADA)] == [2, 3]
    again.close()


def test_a_store_that_goes_back_under_a_publisher_is_noticed_before_anything_is_written(
    world: PublishingWorld,
) -> None:
    ordered(world, ADA, "O-1")
    world.publish()
    with Takeover(world.bootstrap, world.url) as publisher:
        world.forget_published()
        ordered(world, ADA, "O-2")
        world.view.settle()
        world.send()
        with pytest.raises(StoreAway, match="another state of what was published"):
            publisher.publish()
        assert len(told_of(world, ADA)) == 1
    assert world.publish(anew=True) == 1
    assert told_of(world, ADA)[-1].event["cause"] == "events"


def test_whoever_has_had_a_lane_taken_from_him_is_shut_out(embedded_world: PublishingWorld) -> None:
    world = embedded_world
    ordered(world, ADA, "O-1")
    world.view.settle()
    world.send()
    with Takeover(world.bootstrap, world.url) as first, Takeover(world.bootstrap, world.url) as second:
        with pytest.raises(Fenced):
            first.publish()
        assert second.publish() == 1
    assert len(told_of(world, ADA)) == 1


def test_only_the_active_generation_is_published_and_the_later_promotion_wins(
    embedded_world: PublishingWorld,
) -> None:
    world = embedded_world
    for number in range(3):
        ordered(world, ADA, f"O-{number}")
    world.publish()
    other = RedisStore(world.url, "g2", 5)
    old = world.profiles()[customer_id(ADA)]
    sections = {name: msgspec.json.encode(old[name]) for name in ("summary", "sales", "meta")}
    other.put_profiles([ProfileWrite(customer_id(ADA), "0.1", ADA, "w.1", None, sections)])
    notice = msgspec.json.encode(
        {"customer_id": customer_id(ADA), "generation": "g2", "version": "0.1", "state": "live"}
    )
    for active, expected in ((b"g1 1", 0), (b"g2 2", 1)):
        world.view.client.set(ACTIVE, active)
        world.write((customer_id(ADA).encode(), notice))
        assert world.publish() == expected
    last = told_of(world, ADA)[-1]
    assert (str(last.version), last.event["cause"]) == ("2.0.1", "promotion")
    other.close()


def test_a_notice_of_another_generation_that_compaction_left_alone_is_a_hint_as_good(
    embedded_world: PublishingWorld,
) -> None:
    world = embedded_world
    ordered(world, ADA, "O-1")
    world.view.settle()
    notice = {"customer_id": customer_id(ADA), "generation": "g2", "version": "0.1", "state": "live"}
    world.write((customer_id(ADA).encode(), msgspec.json.encode(notice)))
    # The notice of the active generation is never sent.
    world.view.log[CHANGES].clear()
    assert world.publish() == 1
    assert held(subscribed(world.bootstrap)) == world.profiles()


def test_without_an_active_generation_nothing_is_passed_over(embedded_world: PublishingWorld) -> None:
    world = embedded_world
    ordered(world, ADA, "O-1")
    world.view.settle()
    world.send()
    with Takeover(world.bootstrap, world.url) as publisher:
        world.view.client.delete(ACTIVE)
        with pytest.raises(StoreAway, match="no generation yet"):
            publisher.publish()
    world.view.client.set(ACTIVE, "g1 1")
    assert world.publish() == 1


def test_a_record_that_is_no_notice_holds_up_nobody(embedded_world: PublishingWorld) -> None:
    world = embedded_world
    for value in (b"rubbish", b"[]", b"{}", None, b'{"customer_id":7}'):
        world.write((customer_id(ADA).encode(), value))
    ordered(world, ADA, "O-1")
    assert world.publish() == 1


def test_a_topic_that_was_made_anew_needs_a_person(world: PublishingWorld) -> None:
    ordered(world, ADA, "O-1")
    world.publish()
    delete_topics(world.bootstrap, [PROFILES])
    create_topics(world.bootstrap, plan=[one for one in topic_plan(2) if one.name == PROFILES])
    with Takeover(world.bootstrap, world.url) as stopped:
        # The other lane was empty, and still is.
        (reason,) = stopped.stopped.values()
        assert "made anew" in reason
        assert len(stopped.lanes) == LANES - 1
    # What docs/topics.md says to do then: forget what was published; the notices are all still there.
    world.forget_published()
    world.send(again=True)
    assert world.publish(anew=True) == 1
    assert held(subscribed(world.bootstrap)) == world.profiles()


def test_topics_that_do_not_fit_each_other_are_refused() -> None:
    assert lanes_by_partition({CHANGES: 4, PROFILES: 4, GENERATIONS: 1}) == 4
    with pytest.raises(LogError, match="same number"):
        lanes_by_partition({CHANGES: 4, PROFILES: 8, GENERATIONS: 1})
    with pytest.raises(LogError, match="scv topics create"):
        lanes_by_partition({CHANGES: 4})


def test_the_feed_keeps_the_latest_entries_only(
    embedded_world: PublishingWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = embedded_world
    monkeypatch.setattr(publishing, "FEED_ENTRIES_MAX", 3)
    for number in range(5):
        viewed(world, f"web:{number}")
    world.publish()
    assert len(world.feed()) == 3
