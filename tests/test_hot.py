"""A hot subject, customer or lane keeps nobody waiting: work is counted here, not timed."""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from types import SimpleNamespace

import msgspec
import pytest
import redis

from eventlog import admin
from eventlog.embedded import EmbeddedBroker
from eventlog.producing import LogProducer
from models.catalogue import DOMAIN_TOPICS
from models.decoding import fast_decoder
from models.identifiers import customer_id
from models.record import Lane
from projections import timeline
from projections.assembling import Labels, Member, assemble
from projections.folding import Fold, Projection
from projections.parts import empty
from projections.reducers import Configuration, State
from stores.embedded import EmbeddedStore
from stores.keys import Keys
from stores.store import Membership
from streams.kafka_client import FetchLimits
from tests.lane_recorder import LANES, Recorder, Running, create_facts, wait_until
from tests.process_hand import WorkerByHand
from tests.process_world import GENERATION, SOURCES

VIEWS = DOMAIN_TOPICS[0]
KEYS = Keys(GENERATION)
OTHERS = [f"crm:{number}" for number in range(90)]
LOG_US = 1_800_000_000_000_000


def view(number: int, subject: str, *, email: str | None = None, time: str | None = None) -> bytes:
    """A page view; one that states an address says who somebody is."""
    told = {} if email is None else {"identifiers": [{"type": "email", "value": email}]}
    event = {
        "specversion": "1.0", "id": f"{subject}/{number}", "source": "shop", "type": "marketing.page_viewed",
        "subject": subject, "data": {"page": f"/{number}", **told},
    }  # fmt: skip
    return json.dumps(event | ({} if time is None else {"time": time})).encode()


class Installed:
    """A worker by hand upon embedded servers, of which the store counts what it sends."""

    def __init__(self, broker: EmbeddedBroker, store: EmbeddedStore) -> None:
        admin.create_topics(broker.bootstrap, 2, GENERATION)
        self.client = redis.Redis.from_url(store.url)
        self.producer = LogProducer(broker.bootstrap)
        self.hand = WorkerByHand(broker.bootstrap, store.url)
        self.hand.take()
        self.told = 0

    def write(self, subjects: Iterable[str], email: str | None = None) -> None:
        """An event of each."""
        for subject in subjects:
            self.told += 1
            self.producer.produce(VIEWS, subject.encode(), view(self.told, subject, email=email))
        self.producer.flush()

    def shown(self, subjects: Iterable[str]) -> list[int]:
        """How many events the profile of each counts."""
        pipe = self.client.pipeline(transaction=False)
        for subject in subjects:
            pipe.hget(KEYS.profile(customer_id(subject)), "version")
        return [int((version or b"0.0").partition(b".")[2]) for version in pipe.execute()]

    def sent_bytes(self, work: Callable[[], object]) -> int:
        """What the store sends while this is done."""
        before = self.client.info("stats")["total_net_output_bytes"]
        work()
        return self.client.info("stats")["total_net_output_bytes"] - before


@pytest.fixture
def installed() -> Iterator[Installed]:
    with EmbeddedBroker() as broker, EmbeddedStore() as store:
        found = Installed(broker, store)
        yield found
        found.hand.close()
        found.producer.close()
        found.client.close()


def test_in_a_round_with_a_hot_subject_all_others_become_visible(installed: Installed) -> None:
    installed.write(OTHERS)
    installed.hand.settle()
    store = installed.hand.worker.folding.worker.store
    before = store.profiles_written
    installed.write([*OTHERS, *["crm:hot"] * 1_000])
    assert installed.hand.step(SOURCES)
    assert installed.shown(OTHERS) == [2] * len(OTHERS)
    assert installed.shown(["crm:hot"]) == [1_000]
    assert store.profiles_written - before == len(OTHERS) + 1, "the hot one is written once a round"


def test_an_event_of_a_hot_customer_reads_no_membership_but_its_own(installed: Installed) -> None:
    browsers = [f"web:{number}" for number in range(400)]
    installed.write(browsers, "hot@example.com")
    installed.write(OTHERS)
    installed.hand.settle()
    stored = installed.client.mget(map(KEYS.membership, browsers))
    [founder] = {msgspec.json.decode(one, type=Membership).founder for one in stored}
    membership_bytes = installed.client.strlen(KEYS.membership(browsers[0]))
    assert membership_bytes > 3_500, "it lists all members"
    installed.write([*OTHERS, browsers[7]])
    sent_bytes = installed.sent_bytes(lambda: installed.hand.step(SOURCES))
    assert installed.shown(OTHERS) == [2] * len(OTHERS)
    assert installed.shown([founder]) == [len(browsers) + 1]
    assert sent_bytes < 20 * membership_bytes


def test_what_a_customer_of_many_did_is_not_gone_over_for_each_member(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """512 members with an event each, all of one time and source: only their ids order them."""
    real, work = timeline.together, SimpleNamespace(entries=0)

    def together(states: list[State]) -> State:
        work.entries += sum(state[1].count(b"\n") + 1 for state in states)
        return real(states)

    def unread(_: bytes) -> None:
        raise AssertionError("an entry was read, though its key says where it belongs")

    monkeypatch.setattr(timeline, "together", together)
    monkeypatch.setattr(timeline, "_read", unread)
    members, projection = [], Projection(Configuration())
    for number in range(512):
        subject = f"web:{number}"
        event = fast_decoder(VIEWS)(view(1, subject, time="2026-03-01T10:00:00Z"), subject.encode(), LOG_US)
        assert event is not None
        fold = Fold(projection, empty(), subject, f"{VIEWS}-0")
        fold.add(event, number)
        members.append(Member(subject, f"{VIEWS}-0", fold.finish()))
    profile = assemble(members, Labels(GENERATION, "c"), 1, "web:0")
    ids = [one["event_id"] for one in json.loads(profile.sections["timeline"])]
    assert len(ids) == 100
    assert all(a > b for a, b in pairwise(ids)), "the greatest first"
    assert 512 <= work.entries <= 512 * math.log2(512)


def test_a_lane_with_a_backlog_leaves_room_for_the_others_in_the_next_rounds() -> None:
    """As by default, a fetch brings of one lane about what a round holds."""
    limits = FetchLimits(round_records_max=1_000, lane_bytes_max=400_000)
    hot, others = LANES[0], LANES[1:]
    recorder = Recorder()
    rounds: list[dict[Lane, int]] = []
    real = recorder.step

    may_go_on = threading.Event()
    may_go_on.set()

    def step(batches: list) -> dict[Lane, int]:
        may_go_on.wait()
        rounds.append({batch.lane: len(batch.records) for batch in batches})
        return real(batches)

    recorder.step = step  # type: ignore[method-assign, assignment]
    with EmbeddedBroker() as broker:
        create_facts(broker.bootstrap)

        def write(counts: dict[Lane, int]) -> None:
            with LogProducer(broker.bootstrap, compression="none") as producer:
                for lane, count in counts.items():
                    for number in range(count):
                        producer.produce(lane.topic, b"crm:1", b"%350d" % number, partition=lane.partition)

        write(dict.fromkeys(LANES, 1))
        with Running(broker.bootstrap, "scv-g1", recorder, [hot.topic], limits):
            # Lanes are placed one after the other: from here on all are read.
            wait_until(lambda: recorder.count() == 4, "all lanes are read")
            rounds.clear()
            may_go_on.clear()
            write({hot: 20_000, **dict.fromkeys(others, 10)})
            may_go_on.set()
            wait_until(lambda: recorder.count() == 20_034, "all records arrive")
    needed = 1 + max(number for number, one in enumerate(rounds) if any(lane in one for lane in others))
    assert sum(one.get(hot, 0) for one in rounds[:needed]) <= 4 * limits.round_records_max
    assert max(sum(one.values()) for one in rounds) <= limits.round_records_max
