"""Every codec that a writer may choose is read by every client that scv reads with.

A missing codec shows only at the first compressed batch, as an error that stops a lane for good.
"""

import asyncio

import aiokafka
import pytest
from kafka import KafkaConsumer, TopicPartition

from eventlog import admin, topics
from eventlog.apache import ApacheBroker
from eventlog.embedded import EmbeddedBroker
from eventlog.producing import LogProducer
from eventlog.reading import read_lane
from tests.servers import ContainerBroker

CODECS = ("gzip", "snappy", "lz4", "zstd")
COUNT = 500
VALUES = [b'{"type": "sales.order_placed", "number": %d}' % number for number in range(COUNT)]


async def _aiokafka_values(bootstrap: str, topic: str) -> list[bytes]:
    """As Faust reads: aiokafka is what its worker consumes with."""
    consumer = aiokafka.AIOKafkaConsumer(bootstrap_servers=bootstrap, enable_auto_commit=False)
    await consumer.start()
    try:
        lane = aiokafka.TopicPartition(topic, 0)
        consumer.assign([lane])
        consumer.seek(lane, 0)
        values: list[bytes] = []
        while len(values) < COUNT:
            for records in (await consumer.getmany(timeout_ms=1000)).values():
                values += [record.value for record in records]
        return values
    finally:
        await consumer.stop()


def _kafka_python_values(bootstrap: str, topic: str) -> list[bytes]:
    consumer = KafkaConsumer(bootstrap_servers=bootstrap, enable_auto_commit=False)
    try:
        lane = TopicPartition(topic, 0)
        consumer.assign([lane])
        consumer.seek(lane, 0)
        values: list[bytes] = []
        while len(values) < COUNT:
            for records in consumer.poll(timeout_ms=1000).values():
                values += [record.value for record in records]
        return values
    finally:
        consumer.close()


@pytest.mark.parametrize("codec", CODECS)
def test_a_compressed_batch_is_read_by_every_client(
    broker: EmbeddedBroker | ApacheBroker | ContainerBroker, codec: str
) -> None:
    bootstrap = broker.bootstrap
    admin.create_topics(bootstrap, plan=[topics.Topic(codec, 1, topics.topic_plan()[0].settings)])
    with LogProducer(bootstrap, compression=codec, linger_ms=50) as producer:
        for value in VALUES:
            producer.produce(codec, b"crm:1", value)
    assert [record.value for record in read_lane(bootstrap, codec, 0, 0, COUNT)] == VALUES
    assert asyncio.run(_aiokafka_values(bootstrap, codec)) == VALUES
    assert _kafka_python_values(bootstrap, codec) == VALUES
