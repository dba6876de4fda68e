"""Records reach the lane worker in order, from where it says, and nothing is skipped in silence."""

import asyncio
import contextlib
import inspect
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from aiokafka import TopicPartition as AioPartition
from aiokafka.errors import OffsetOutOfRangeError
from confluent_kafka import ConsumerGroupTopicPartitions, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from eventlog import admin, topics
from eventlog.apache import ApacheBroker
from eventlog.embedded import EmbeddedBroker
from models.record import Lane
from streams import batch_lane, kafka_client
from streams.kafka_client import FetchLimits
from tests import servers
from tests.lane_recorder import (
    LANES,
    SESSION_TIMEOUT_SECONDS,
    Recorder,
    Running,
    create_facts,
    wait_until,
    write_facts,
)


@pytest.fixture
def bootstrap(broker: EmbeddedBroker | ApacheBroker | servers.ContainerBroker) -> str:
    """An empty broker that holds one topic, `facts`, of four lanes."""
    return create_facts(broker.bootstrap)


@pytest.fixture
def apache(apache_broker: ApacheBroker) -> str:
    """The same on Apache Kafka, for what the embedded broker does not do."""
    servers.empty_broker(apache_broker.bootstrap)
    return create_facts(apache_broker.bootstrap)


def test_every_record_arrives_in_order_from_where_take_says(bootstrap: str) -> None:
    codecs = ["gzip", "snappy", "lz4", "zstd"]
    for lane, codec in zip(LANES, codecs, strict=True):
        write_facts(bootstrap, lane, 700, codec)
    recorder = Recorder(resume={LANES[0]: 123, LANES[1]: 0})
    with Running(bootstrap, "scv-g1", recorder, ["facts"], FetchLimits(round_records_max=500)) as running:
        wait_until(lambda: recorder.count() == 4 * 700 - 123, "all records arrive")
        write_facts(bootstrap, LANES[2], 10)
        wait_until(lambda: len(recorder.offsets(LANES[2])) == 710, "what is written meanwhile arrives")
    assert running.code == 0
    assert recorder.offsets(LANES[0]) == list(range(123, 700))
    assert recorder.offsets(LANES[1]) == recorder.offsets(LANES[3]) == list(range(700))
    assert recorder.offsets(LANES[2]) == list(range(710))
    first = recorder.records[LANES[3]][0]
    assert (first.key, first.value, first.timestamp > 0, first.headers) == (b"crm:0", b"%350d" % 0, True, ())
    assert max(recorder.rounds) <= 500
    assert len(recorder.threads) == 1
    assert recorder.calls[-1] == ("close", None)


def test_what_the_client_thread_is_handed_too_late_is_dropped_without_a_word(bootstrap: str) -> None:
    async def work() -> None:
        raise AssertionError("the thread had ended")

    recorder = Recorder()
    with Running(bootstrap, "scv-g1", recorder, ["facts"]) as running:
        wait_until(lambda: ("close", None) not in recorder.calls and recorder.calls, "it takes its lanes")
        thread, late = running.app.consumer._thread, work()

        async def hand_over() -> None:
            # A thread whose loop runs no more, as in the moments before Faust closes it.
            alive, thread.thread_loop = thread.thread_loop, asyncio.new_event_loop()
            handing = asyncio.ensure_future(thread.run_there(late))
            await asyncio.sleep(0)
            thread.thread_loop.close()
            thread.thread_loop = alive
            handing.cancel()
            await asyncio.gather(handing, return_exceptions=True)

        asyncio.run_coroutine_threadsafe(hand_over(), running._loop).result(10)
        assert inspect.getcoroutinestate(late) is inspect.CORO_CREATED
    # Else Python says so on stderr, where a worker that ends cleanly says nothing.
    assert inspect.getcoroutinestate(late) is inspect.CORO_CLOSED


def test_lanes_that_are_refused_are_read_again_from_where_the_worker_says(bootstrap: str) -> None:
    for lane in LANES:
        write_facts(bootstrap, lane, 300)
    recorder = Recorder(refuse={LANES[0]: 5, LANES[1]: 0})
    with Running(bootstrap, "scv-g1", recorder, ["facts"], FetchLimits(round_records_max=100)):
        wait_until(lambda: recorder.count() == 4 * 300 - 5, "all records arrive")
        wait_until(lambda: recorder.ends == dict.fromkeys(LANES, 300), "idle lanes learn their ends")
        recorder.refuse_idle[LANES[2]] = 290
        wait_until(lambda: len(recorder.offsets(LANES[2])) == 310, "the records after 290 arrive again")
    assert recorder.offsets(LANES[0]) == list(range(5, 300))
    assert recorder.offsets(LANES[1]) == list(range(300))
    assert recorder.offsets(LANES[2]) == [*range(300), *range(290, 300)]
    assert recorder.named("lose") == []


def test_a_step_longer_than_the_session_stops_reading_and_loses_no_lane(
    bootstrap: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kafka_client, "POLL_INTERVAL_MS_MAX", 2_000)
    for lane in LANES:
        write_facts(bootstrap, lane, 5_000)
    recorder = Recorder()
    recorder.go.clear()
    limits = FetchLimits(round_records_max=500)
    with Running(bootstrap, "scv-g1", recorder, ["facts"], limits) as running:
        wait_until(lambda: recorder.named("step"), "the first step begins")
        time.sleep(SESSION_TIMEOUT_SECONDS + 2)
        read = sum(reading.position for reading in running.app.consumer._reading.values())
        assert read <= 2 * limits.round_records_max
        assert running.app.transport.projector.busy_seconds > SESSION_TIMEOUT_SECONDS
        recorder.go.set()
        wait_until(lambda: recorder.count() == 20_000, "all records arrive")
    assert all(recorder.offsets(lane) == list(range(5_000)) for lane in LANES)
    assert [name for name, _ in recorder.calls if name in ("take", "lose")] == ["take"]


def test_what_comes_while_a_step_runs_is_one_round_however_it_came(bootstrap: str) -> None:
    recorder = Recorder()
    with Running(bootstrap, "scv-g1", recorder, ["facts"]) as running:
        write_facts(bootstrap, LANES[0], 1)
        wait_until(lambda: recorder.count() == 1, "the first record arrives")
        recorder.go.clear()
        write_facts(bootstrap, LANES[0], 1)
        wait_until(lambda: len(recorder.named("step")) == 2, "a step begins")
        for number in range(12):
            write_facts(bootstrap, LANES[number % 4], 1)
            time.sleep(0.05)
        projector = running.app.transport.projector
        wait_until(lambda: projector.waiting.records == 12, "all of them wait")
        recorder.go.set()
        wait_until(lambda: recorder.count() == 14, "all records arrive")
    assert recorder.rounds == [1, 1, 12]


def test_what_waits_is_folded_before_its_lane_stops(apache: str, monkeypatch: pytest.MonkeyPatch) -> None:
    recorder, removed = Recorder(), threading.Event()

    async def as_if_nothing_was_fetched_ahead(*_: object) -> Any:
        if removed.is_set():
            raise OffsetOutOfRangeError({AioPartition(*LANES[0]): 5})
        return {}, 0

    with Running(apache, "scv-g1", recorder, ["facts"]) as running:
        recorder.go.clear()
        write_facts(apache, LANES[1], 1)
        wait_until(lambda: recorder.named("step"), "a step begins")
        write_facts(apache, LANES[0], 5)
        wait_until(lambda: running.app.transport.projector.waiting.records == 5, "five records wait")
        monkeypatch.setattr(batch_lane.BatchConsumer, "_on_client_fetch", as_if_nothing_was_fetched_ahead)
        # A read that had begun before ends.
        time.sleep(2 * batch_lane.READ_WAIT_MS / 1_000)
        write_facts(apache, LANES[0], 95)
        remove_before(apache, LANES[0], 50)
        removed.set()
        time.sleep(1)
        recorder.go.set()
        wait_until(lambda: recorder.stops, "the lane stops")
    assert "before the earliest record 50" in recorder.stops[LANES[0]]
    assert recorder.offsets(LANES[0]) == list(range(5))


def test_a_worker_without_lanes_stays_until_it_gets_one(apache: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kafka_client, "POLL_INTERVAL_MS_MAX", 2_000)
    admin.create_topics(apache, plan=[topics.Topic("single", 1, {})])
    lane = Lane("single", 0)
    first, second = Recorder(), Recorder()
    with contextlib.ExitStack() as ends:
        running = {id(one): Running(apache, "scv-g1", one, ["single"]) for one in (first, second)}
        for worker in running.values():
            ends.enter_context(worker)
        wait_until(lambda: first.stands or second.stands, "the lane is taken")
        # Long enough for the rebalance, and then longer than the client's poll interval.
        time.sleep(6)
        owner, spare = (first, second) if first.stands else (second, first)
        assert spare.stands == {}
        running[id(owner)].end()
        wait_until(lambda: lane in spare.stands, "the other takes the lane")


def test_a_checkpoint_beyond_the_end_stops_its_lane_and_no_other(bootstrap: str) -> None:
    for lane in LANES:
        write_facts(bootstrap, lane, 100)
    # The second stands exactly at the end, as a worker does that has read everything.
    recorder = Recorder(resume={LANES[0]: 5_000, LANES[1]: 100, LANES[2]: 99})
    with Running(bootstrap, "scv-g1", recorder, ["facts"]):
        wait_until(lambda: recorder.stops, "the lane stops")
        write_facts(bootstrap, LANES[0], 1)
        write_facts(bootstrap, LANES[1], 1)
        wait_until(lambda: recorder.count() == 0 + 1 + 1 + 100, "the other lanes are read")
    assert list(recorder.stops) == [LANES[0]]
    assert "facts[0]: the checkpoint 5000 lies beyond the end 100" in recorder.stops[LANES[0]]
    assert "scv rebuild" in recorder.stops[LANES[0]]
    assert recorder.offsets(LANES[0]) == []
    assert recorder.offsets(LANES[1]) == [100]


def remove_before(bootstrap: str, lane: Lane, offset: int) -> None:
    """Remove the records before `offset`, as retention does."""
    client = AdminClient({"bootstrap.servers": bootstrap})
    for removed in client.delete_records([TopicPartition(*lane, offset)]).values():
        removed.result(timeout=30)


def test_a_checkpoint_that_retention_has_passed_stops_its_lane(apache: str) -> None:
    for lane in LANES[:2]:
        write_facts(apache, lane, 100)
        remove_before(apache, lane, 50)
    recorder = Recorder(resume={LANES[0]: 10})
    with Running(apache, "scv-g1", recorder, ["facts"]):
        wait_until(lambda: recorder.stops, "the lane stops")
        wait_until(lambda: recorder.count() == 50, "the other is read from its earliest record")
    assert "facts[0]: the checkpoint 10 lies before the earliest record 50" in recorder.stops[LANES[0]]
    assert recorder.offsets(LANES[1]) == list(range(50, 100))


def test_records_that_are_removed_while_a_step_lasts_are_never_skipped_in_silence(apache: str) -> None:
    write_facts(apache, LANES[0], 5_000, compression="none")
    recorder = Recorder()
    recorder.go.clear()
    limits = FetchLimits(round_records_max=50, lane_bytes_max=20_000)
    with Running(apache, "scv-g1", recorder, ["facts"], limits):
        wait_until(lambda: recorder.named("step"), "the first step begins")
        remove_before(apache, LANES[0], 4_000)
        recorder.go.set()
        wait_until(lambda: recorder.stops, "the lane stops")
    assert "before the earliest record 4000" in recorder.stops[LANES[0]]
    assert recorder.offsets(LANES[0]) == list(range(recorder.count()))
    assert recorder.count() < 4_000


def test_what_a_transaction_rolled_back_is_never_seen(apache: str) -> None:
    producer = Producer({"bootstrap.servers": apache, "transactional.id": "source", "log_level": 0})
    producer.init_transactions()

    def transaction(value: bytes, end: Callable[[], None]) -> None:
        producer.begin_transaction()
        for _ in range(3):
            producer.produce("facts", value, b"crm:1", partition=0)
        producer.flush()  # aborting drops what was not sent yet
        end()

    transaction(b"not", producer.abort_transaction)
    transaction(b"kept", producer.commit_transaction)
    recorder = Recorder()
    with Running(apache, "scv-g1", recorder, ["facts"]):
        # Each transaction ends with a marker, which has an offset.
        wait_until(lambda: recorder.stands.get(LANES[0]) == 8, "the lane stands at its end")
        transaction(b"not", producer.abort_transaction)
        wait_until(lambda: recorder.stands.get(LANES[0]) == 12, "the checkpoint moves without a record")
        wait_until(lambda: recorder.ends.get(LANES[0]) == 12, "its end is told")
        transaction(b"kept", producer.commit_transaction)
        wait_until(lambda: recorder.count() == 6, "the last records arrive")
    assert [record.value for record in recorder.records[LANES[0]]] == [b"kept"] * 6


def test_kafka_learns_how_far_lanes_are_folded(apache: str) -> None:
    write_facts(apache, LANES[0], 100)
    client = AdminClient({"bootstrap.servers": apache})
    request = ConsumerGroupTopicPartitions("scv-lag", [TopicPartition(*LANES[0])])

    def committed() -> int:
        answer = client.list_consumer_group_offsets([request])["scv-lag"].result(timeout=30)
        return answer.topic_partitions[0].offset

    with Running(apache, "scv-lag", Recorder(), ["facts"]):
        wait_until(lambda: committed() == 100, "the offset is committed")
