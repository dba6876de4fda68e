"""Every codec that a writer may choose is read by every client that scv reads with.

A missing codec shows only at the first compressed batch, as an error that stops a lane for good.
"""

import asyncio
import gzip
import random
from concurrent.futures import ThreadPoolExecutor

import aiokafka
import aiokafka.codec
import cramjam
import pytest
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords
from kafka import KafkaConsumer, TopicPartition

from eventlog import admin, topics
from eventlog.apache import ApacheBroker
from eventlog.embedded import EmbeddedBroker
from eventlog.producing import LogProducer
from eventlog.reading import read_lane
from streams import codecs
from tests import raw_batches
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


def put_back_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a worker installs is there for all of a process."""
    for module in codecs.modules():
        for name in codecs.QUICK:
            monkeypatch.setattr(module, name, getattr(aiokafka.codec, name))


@pytest.mark.parametrize("codec", CODECS)
def test_a_compressed_batch_is_read_by_every_client(
    broker: EmbeddedBroker | ApacheBroker | ContainerBroker, codec: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    bootstrap = broker.bootstrap
    admin.create_topics(bootstrap, plan=[topics.Topic(codec, 1, topics.topic_plan()[0].settings)])
    with LogProducer(bootstrap, compression=codec, linger_ms=50) as producer:
        for value in VALUES:
            producer.produce(codec, b"crm:1", value)
    assert [record.value for record in read_lane(bootstrap, codec, 0, 0, COUNT)] == VALUES
    assert asyncio.run(_aiokafka_values(bootstrap, codec)) == VALUES
    assert _kafka_python_values(bootstrap, codec) == VALUES
    put_back_afterwards(monkeypatch)
    codecs.install()
    assert asyncio.run(_aiokafka_values(bootstrap, codec)) == VALUES


@pytest.mark.parametrize("codec", ["gzip", "lz4", "zstd"])
@pytest.mark.parametrize("content", [b"v", b"v" * 100_000, random.Random(1).randbytes(3_000_000)], ids=len)
def test_a_workers_codecs_unpack_what_aiokafkas_do(codec: str, content: bytes) -> None:
    packed = getattr(aiokafka.codec, f"{codec}_encode")(content)
    unpack, theirs = codecs.QUICK[f"{codec}_decode"], getattr(aiokafka.codec, f"{codec}_decode")
    assert unpack(packed) == content
    assert unpack(packed * 2) == theirs(packed * 2) == content * 2
    for spoilt in (packed[:-3], packed[: len(packed) // 2], packed + b"xyz12345", b"xyz"):
        with pytest.raises((cramjam.DecompressionError, gzip.BadGzipFile, EOFError)) as said:
            theirs(spoilt)
        with pytest.raises(said.type):
            unpack(spoilt)


def test_two_threads_unpack_at_once() -> None:
    contents = [random.Random(seed).randbytes(400_000) * 4 for seed in range(2)]
    packed = [aiokafka.codec.zstd_encode(content) for content in contents]

    def unpack(number: int) -> bool:
        return all(codecs.zstd_frame(packed[number]) == contents[number] for _ in range(60))

    with ThreadPoolExecutor(2) as threads:
        assert list(threads.map(unpack, range(2))) == [True, True]


@pytest.mark.parametrize("codec", ["gzip", "lz4", "zstd"])
def test_they_are_where_batches_look_for_them(monkeypatch: pytest.MonkeyPatch, codec: str) -> None:
    """Where aiokafka keeps them elsewhere one day, a worker would be slow again and say nothing."""
    name, real, calls = f"{codec}_decode", codecs.QUICK[f"{codec}_decode"], list[int]()
    put_back_afterwards(monkeypatch)

    def counted(payload: bytes) -> bytes:
        calls.append(len(payload))
        return real(payload)

    monkeypatch.setitem(codecs.QUICK, name, counted)
    codecs.install()
    builder = DefaultRecordBatchBuilder(2, raw_batches.CODECS[codec], False, 7, 0, 0, 2**20)
    builder.append(0, 1_000, b"k", b"v" * 500, [])
    batch = MemoryRecords(bytes(builder.build())).next_batch()
    assert [record.value for record in batch] == [b"v" * 500]
    assert len(calls) == 1
