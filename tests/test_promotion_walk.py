"""After a promotion and after a rollback subscribers have exactly the profiles that readers see."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

import jsonschema
import pytest

from eventlog.apache import ApacheBroker
from eventlog.embedded import EmbeddedBroker
from eventlog.ends import lane_ends
from eventlog.promotions import PromotionsLost, heal, promote, promote_anew, roll_back
from eventlog.topics import CHANGES
from models.identifiers import customer_id
from models.promotion import PromotionRefused
from models.published import TombstoneHeaders
from models.rules import Blocked, IdentityRules
from models.schemas import snapshot_schema
from models.settings import Settings
from stores.embedded import DebianRedis, EmbeddedStore
from stores.keys import ACTIVE
from stores.promotion import ActivePointer
from streams import following, publishing
from streams.publishing import publish
from tests import servers
from tests.lane_recorder import SESSION_TIMEOUT_SECONDS, wait_until
from tests.lookup_world import LookupWorld
from tests.publishing_takeover import NOTICED, PUBLISHED, Takeover
from tests.publishing_world import PublishingWorld, Received, assert_in_order, held, subscribed

WHO = {"actor": "ada", "reason": "emails link nobody"}
ADA, VISITOR, GONE, NEW = "crm:1", "web:1", "crm:8", "crm:9"


class PromotingWorld:
    """Two generations of the same events: in g1 an email links, in g2 none does, and each knows one more."""

    def __init__(self, bootstrap: str, url: str) -> None:
        self.world = PublishingWorld(bootstrap, url)
        self.other = LookupWorld(url, IdentityRules(blocked=Blocked(values=("ada@example.com",))), "g2")
        self.pointer = ActivePointer(url)
        self.views = {"g1": self.world.view, "g2": self.other}
        self._sent = 0
        for number in range(12):
            self.order(f"crm:{number + 20}", number)
        self.order(ADA, 1, "email:ada@example.com")
        self.order(VISITOR, 1, "email:ada@example.com")
        self.order(GONE, 1, only="g1")
        self.order(NEW, 1, only="g2")
        self.settle()
        self.world.publish()

    def order(self, subject: str, number: int, *names: str, only: str = "") -> None:
        """An order, told to both generations."""
        for name, view in self.views.items():
            if name == only or not only:
                data = {"order_id": f"O-{number}", "amount_minor": 990, "currency": "EUR"}
                view.tell("sales.order_placed", subject, *names, **data)

    def settle(self) -> None:
        """Both generations are folded, and all their notices sent."""
        for view in self.views.values():
            view.settle()
        self.world.send()
        made = self.other.log.get(CHANGES, [])
        self.world.write(*[(notice.key or b"", notice.value) for notice in made[self._sent :]])
        self._sent = len(made)

    def promote(self, expected: int = 1, generation: str = "g2", **more: Callable[[str], None]) -> None:
        """Let readers see the other one."""
        promote(self.world.bootstrap, self.pointer, generation, expected, **WHO, **more)  # type: ignore[arg-type]

    def roll_back(self, expected: int = 2) -> None:
        """Let readers see the first one again."""
        roll_back(self.world.bootstrap, self.pointer, expected, **WHO)

    def told(self) -> list[Received]:
        """What subscribers have, in the order of each lane."""
        return subscribed(self.world.bootstrap)

    def assert_published(self, generation: str) -> list[Received]:
        """Whoever reads from the start has the profiles of this generation, and was told nothing twice."""
        records = self.told()
        assert held(records) == self.world.profiles(generation)
        assert_in_order(records)
        return records

    def close(self) -> None:
        """Let go of all connections."""
        self.pointer.close()
        self.other.close()
        self.world.close()


@pytest.fixture
def both(broker: Any, store: Any) -> Iterator[PromotingWorld]:
    """On each kind of servers."""
    world = PromotingWorld(broker.bootstrap, store.url)
    yield world
    world.close()


@pytest.fixture
def apache(apache_broker: ApacheBroker, debian_redis: DebianRedis) -> Iterator[PromotingWorld]:
    """On Apache Kafka alone, which keeps what was aborted from readers."""
    servers.empty_broker(apache_broker.bootstrap)
    world = PromotingWorld(apache_broker.bootstrap, debian_redis.url)
    yield world
    world.close()


@pytest.fixture
def quick(embedded_store: EmbeddedStore) -> Iterator[PromotingWorld]:
    """On the quick servers alone, for what depends on neither."""
    with EmbeddedBroker() as broker:
        world = PromotingWorld(broker.bootstrap, embedded_store.url)
        yield world
        world.close()


def test_what_was_derived_again_without_a_version_of_its_own_reaches_subscribers(
    quick: PromotingWorld,
) -> None:
    before = held(quick.assert_published("g1"))
    key = quick.world.view.store.keys.profile(customer_id(ADA))
    quick.world.view.client.hset(key, "traits", b'{"derived":"otherwise"}')
    quick.world.publish()
    assert held(quick.told()) == before, "a version that was published is not published again"
    promote_anew(quick.world.bootstrap, quick.pointer, "g1", **WHO)
    quick.world.follow()
    after = held(quick.assert_published("g1"))
    assert after != before
    # A rollback leads where it led before: from the first generation nowhere.
    with pytest.raises(PromotionRefused, match="none to roll back to"):
        quick.roll_back()
    quick.promote(2)
    promote_anew(quick.world.bootstrap, quick.pointer, "g2", **WHO)
    with pytest.raises(PromotionRefused, match="not active"):
        promote_anew(quick.world.bootstrap, quick.pointer, "g1", **WHO)
    quick.roll_back(4)
    quick.world.follow()
    quick.assert_published("g1")


def test_after_a_promotion_and_after_a_rollback_subscribers_have_what_readers_see(
    both: PromotingWorld,
) -> None:
    before = both.assert_published("g1")
    assert customer_id(GONE) in held(before)
    both.promote()
    both.world.follow()
    records = both.assert_published("g2")
    assert customer_id(NEW) in held(records)
    new = {one.customer_id: one for one in records if one.version.promotion == 2}
    assert {one.event["cause"] for one in new.values()} == {"promotion", "first"}
    # Nobody is told of a change where there is none but the generation.
    assert "changed" not in new[customer_id("crm:25")].event
    assert new[customer_id(ADA)].event["changed"] == "identity,sales,timeline"
    gone = new[customer_id(GONE)]
    assert (gone.removed, gone.event["type"], gone.event["cause"]) == (
        True,
        "customer.profile_removed",
        "promotion",
    )
    # Nor is a follower of the feed; who changed or is gone is there.
    followed = {one["customer"]: one["state"] for one in both.world.feed("g2")}
    assert customer_id("crm:25") not in followed
    assert followed[customer_id(GONE)] == "removed"
    assert both.world.follow() == 0
    both.order(ADA, 2)
    both.settle()
    both.world.publish()
    both.roll_back()
    both.world.follow()
    records = both.assert_published("g1")
    check = jsonschema.Draft202012Validator(snapshot_schema())
    for one in records:
        if one.removed:
            TombstoneHeaders.model_validate({f"ce_{name}": value for name, value in one.event.items()})
        else:
            check.validate(one.event)
    assert [one.event.get("mergedinto") for one in records if one.customer_id == customer_id(VISITOR)][
        -1:
    ] == [customer_id(ADA)]


@pytest.mark.parametrize(
    ("point", "time"),
    [("between write and note", 2), ("between portion and walk", 2)],
)
def test_a_publisher_killed_in_the_walk_is_followed_by_one_that_goes_on(
    apache: PromotingWorld, point: str, time: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    apache.promote()
    killed = apache.world.process(point, time=time, portion=3)
    assert killed.wait(60) == -signal.SIGKILL
    half = len([one for one in apache.told() if one.version.promotion == 2])
    assert 0 < half < 15
    apache.order(ADA, 2)
    apache.settle()
    monkeypatch.setattr(following, "PORTION_NOTICES_MAX", 3)
    notices = sum(found.end for found in lane_ends(apache.world.bootstrap, [CHANGES]).values())
    portions = apache.world.follow()
    assert 0 < portions < notices / 3
    apache.world.publish()
    apache.assert_published("g2")
    apache.roll_back()
    apache.world.follow()
    apache.assert_published("g1")


def test_who_changes_while_everybody_is_published_anew_is_published_as_changed(
    quick: PromotingWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "PORTION_NOTICES_MAX", 2)
    quick.promote()
    changes = list(range(12))

    def change(point: str) -> None:
        if point == "between portion and walk" and changes:
            number = changes.pop()
            quick.order(f"crm:{20 + number % 12}", 100 + number)
            quick.order(f"crm:{100 + number}", number)
            quick.settle()

    with Takeover(quick.world.bootstrap, quick.world.url, change) as publisher:
        assert publisher.follow() > 4
        publisher.publish()
    quick.assert_published("g2")


def test_a_publisher_that_was_paused_over_a_promotion_publishes_nothing_of_the_old_generation(
    apache: PromotingWorld,
) -> None:
    apache.order(ADA, 2)
    apache.settle()
    paused = apache.world.process("between read and write", "SIGSTOP")
    try:
        _, status = os.waitpid(paused.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status)
        before = len(apache.told())
        apache.promote()
        paused.send_signal(signal.SIGCONT)
        assert (paused.communicate(timeout=60)[0] or "").strip() == PUBLISHED
    finally:
        paused.kill()
        paused.wait()
    records = apache.assert_published("g2")
    assert {one.version.promotion for one in sorted(records, key=lambda one: one.version)[before:]} == {2}
    assert len(records) > before


def test_a_publisher_that_was_paused_in_the_walk_writes_nothing_after_whoever_rolled_back_meanwhile(
    apache: PromotingWorld,
) -> None:
    apache.promote()
    paused = apache.world.process("between read and write", "SIGSTOP", time=2, portion=3)
    try:
        _, status = os.waitpid(paused.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status)
        apache.roll_back()
        apache.world.follow()
        before = apache.assert_published("g1")
        paused.send_signal(signal.SIGCONT)
        assert (paused.communicate(timeout=60)[0] or "").strip() == NOTICED
    finally:
        paused.kill()
        paused.wait()
    assert apache.told() == before


def test_a_promotion_in_the_middle_of_the_walk_begins_it_anew(
    quick: PromotingWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "PORTION_NOTICES_MAX", 2)
    quick.promote()
    with Takeover(quick.world.bootstrap, quick.world.url) as publisher:
        lane, follower = publisher.lanes[0], publisher.followers[0]
        # To the last portion, but not to the end of it.
        while follower.step(publisher.store.active()):
            if lane.state.walk is not None and lane.state.walk.next_offset == lane.state.walk.end_offset:
                break
        quick.roll_back()
        publisher.follow()
        quick.assert_published("g1")


def test_a_store_that_lost_all_it_knew_of_publishing_walks_again_and_tells_nobody_twice(
    quick: PromotingWorld,
) -> None:
    quick.promote()
    quick.world.follow()
    told = quick.assert_published("g2")
    quick.world.forget_published()
    quick.world.view.client.delete(ACTIVE)
    assert heal(quick.world.bootstrap, quick.pointer) is not None
    quick.world.follow()
    assert quick.told() == told


def test_what_was_published_as_of_a_promotion_that_the_log_has_not_needs_a_person(
    quick: PromotingWorld,
) -> None:
    quick.promote()
    quick.world.follow()
    quick.world.let_go()
    quick.world.view.client.set(ACTIVE, "g1 1")
    with Takeover(quick.world.bootstrap, quick.world.url) as publisher:
        quick.order(ADA, 3)
        quick.settle()
        with pytest.raises(PromotionsLost, match="published as of promotion 2"):
            publisher.publish()
    # The same where what was published has to be read from the topic.
    quick.world.forget_published()
    with pytest.raises(PromotionsLost, match="was published as of promotion 2"):
        Takeover(quick.world.bootstrap, quick.world.url)


def test_a_running_publisher_follows_also_whom_a_killed_promoter_left_without_a_pointer(
    quick: PromotingWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publishing, "LOOK_SECONDS", 0.1)
    settings = Settings(
        kafka=quick.world.bootstrap, redis=quick.world.url, session_timeout_seconds=SESSION_TIMEOUT_SECONDS
    )
    stop = threading.Event()
    thread = threading.Thread(target=publish, args=(settings, stop), daemon=True)
    thread.start()

    class Killed(Exception):
        """The promoter gets no further."""

    def killed(point: str) -> None:
        if point == "between record and pointer":
            raise Killed

    try:
        with pytest.raises(Killed):
            quick.promote(point=killed)
        wait_until(
            lambda: held(quick.told()) == quick.world.profiles("g2"), "the new generation is published"
        )
        quick.roll_back()
        wait_until(lambda: held(quick.told()) == quick.world.profiles("g1"), "all have the old one")
        assert_in_order(quick.told())
    finally:
        stop.set()
        thread.join(60)
    assert not thread.is_alive()
