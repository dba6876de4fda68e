"""A round fits into memory however large its records are when unpacked, and loses none to an error."""

from __future__ import annotations

from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from eventlog import admin, topics
from eventlog.apache import ApacheBroker
from eventlog.embedded import EmbeddedBroker
from eventlog.producing import LogProducer
from models.record import Lane
from streams.kafka_client import FetchLimits
from tests import servers
from tests.lane_recorder import Recorder, Running, wait_until

LANES = [Lane("facts", partition) for partition in range(2)]
LARGE = b"x" * 300_000


def create_facts(bootstrap: str) -> None:
    admin.create_topics(bootstrap, plan=[topics.Topic("facts", len(LANES), topics.topic_plan()[0].settings)])


def test_large_records_that_were_compressed_come_in_small_rounds() -> None:
    with EmbeddedBroker() as broker:
        create_facts(broker.bootstrap)
        with LogProducer(broker.bootstrap, compression="zstd") as producer:
            for number in range(200):
                producer.produce("facts", b"crm:1", LARGE, partition=number % 2)
        recorder = Recorder()
        limits = FetchLimits(round_bytes_max=2**20, portion_records_max=5)
        with Running(broker.bootstrap, "scv-g1", recorder, ["facts"], limits):
            wait_until(lambda: recorder.count() == 200, "all records arrive")
        # Four make a MiB, and the last portion is read whole.
        assert max(recorder.rounds) <= 4 + limits.portion_records_max
        assert all(recorder.offsets(lane) == list(range(100)) for lane in LANES)


def test_a_lane_that_fails_takes_no_records_of_another_with_it(apache_broker: ApacheBroker) -> None:
    servers.empty_broker(apache_broker.bootstrap)
    create_facts(apache_broker.bootstrap)
    with LogProducer(apache_broker.bootstrap, compression="none") as producer:
        for number in range(10_000):
            producer.produce("facts", b"crm:1", b"%350d" % number, partition=number % 2)
    recorder = Recorder()
    recorder.go.clear()
    limits = FetchLimits(round_records_max=200, lane_bytes_max=50_000, portion_records_max=20)
    with Running(apache_broker.bootstrap, "scv-g1", recorder, ["facts"], limits):
        wait_until(lambda: recorder.named("step"), "the first step begins")
        client = AdminClient({"bootstrap.servers": apache_broker.bootstrap})
        for removed in client.delete_records([TopicPartition(*LANES[0], 4_000)]).values():
            removed.result(timeout=30)
        recorder.go.set()
        wait_until(lambda: recorder.stops, "the lane stops")
        wait_until(lambda: len(recorder.offsets(LANES[1])) == 5_000, "the other goes on to its end")
    assert "before the earliest record 4000" in recorder.stops[LANES[0]]
    assert recorder.offsets(LANES[0]) == list(range(len(recorder.offsets(LANES[0]))))
    assert recorder.offsets(LANES[1]) == list(range(5_000))
