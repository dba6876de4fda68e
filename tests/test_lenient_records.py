"""A header whose name is no UTF-8 costs its record the headers, and nothing else anything.

Without this, one such record ends every worker that reads it, at each start anew.
"""

from __future__ import annotations

import asyncio

import aiokafka
import pytest
from aiokafka.record.memory_records import MemoryRecords
from kafka.record.default_records import DefaultRecordBatchBuilder

from eventlog import admin
from eventlog.apache import ApacheBroker
from eventlog.embedded import EmbeddedBroker
from eventlog.reading import read_lane
from streams import lenient_records
from tests.raw_batches import CODECS, RawRecord, append_batch
from tests.servers import ContainerBroker

LATIN_1 = b"stra\xdfe"
RECORDS: list[RawRecord] = [
    (b"crm:1", b"one", [(b"trace", b"\xff"), (b"", None)]),
    (b"crm:2", b"two", [(b"trace", b"1"), (LATIN_1, b"2"), (b"trace", b"3")]),
    (None, None, []),
    (b"crm:3", b"three" * 500, [("straße".encode(), b"4")]),
    (b"crm:4", b"four", [(LATIN_1, None)] * 3),
    (b"\xff", b"", ()),
]
READ = [
    (b"crm:1", b"one", [("trace", b"\xff"), ("", None)]),
    (b"crm:2", b"two", []),
    (None, None, []),
    (b"crm:3", b"three" * 500, [("straße", b"4")]),
    (b"crm:4", b"four", []),
    (b"\xff", b"", []),
]


async def as_a_worker_reads(bootstrap: str, count: int) -> list[tuple]:
    consumer = aiokafka.AIOKafkaConsumer(
        bootstrap_servers=bootstrap, enable_auto_commit=False, isolation_level="read_committed"
    )
    await consumer.start()
    try:
        lane = aiokafka.TopicPartition("sales.events", 0)
        consumer.assign([lane])
        consumer.seek(lane, 0)
        found: list[tuple] = []
        while len(found) < count:
            for records in (await consumer.getmany(timeout_ms=1_000, max_records=4)).values():
                found += [
                    (record.offset, record.key, record.value, list(record.headers)) for record in records
                ]
        return found
    finally:
        await consumer.stop()


def test_worker_and_reader_see_the_same_of_any_header(
    broker: EmbeddedBroker | ApacheBroker | ContainerBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aiokafka.consumer.fetcher.MemoryRecords", lenient_records.LenientRecords)
    admin.create_topics(broker.bootstrap, 1)
    for codec in CODECS:
        append_batch(broker.bootstrap, "sales.events", 0, RECORDS, codec)
    expected = [(offset, *content) for offset, content in enumerate(READ * len(CODECS))]
    assert asyncio.run(as_a_worker_reads(broker.bootstrap, len(expected))) == expected
    records = read_lane(broker.bootstrap, "sales.events", 0, 0, len(expected))
    assert [(one.offset, one.key, one.value, one.headers) for one in records] == expected


def test_a_worker_installs_it_where_the_fetcher_looks() -> None:
    import aiokafka.consumer.fetcher as fetcher

    before = fetcher.MemoryRecords
    assert before in (MemoryRecords, lenient_records.LenientRecords)
    try:
        lenient_records.install()
        assert fetcher.MemoryRecords is lenient_records.LenientRecords
    finally:
        fetcher.MemoryRecords = before


def test_batches_that_aiokafka_can_read_are_read_by_aiokafka() -> None:
    data = b""
    for start in range(3):
        builder = DefaultRecordBatchBuilder(2, CODECS["lz4"], False, 7, 0, start, 2**20)
        for number in range(4):
            builder.append(number, 1_000 + number, b"k", b"v" * number, [("trace", b"1")])
        data += bytes(builder.build())
    theirs, ours = MemoryRecords(data), lenient_records.LenientRecords(data)
    assert theirs.size_in_bytes() == ours.size_in_bytes()
    while theirs.has_next():
        assert ours.has_next()
        one, other = theirs.next_batch(), ours.next_batch()
        assert other is not None and other.validate_crc()
        for name in ("producer_id", "base_offset", "next_offset", "is_control_batch", "is_transactional"):
            assert getattr(one, name) == getattr(other, name)
        assert [(a.offset, a.timestamp, a.value, a.headers) for a in one] == [
            (b.offset, b.timestamp, b.value, b.headers) for b in other
        ]
    assert not ours.has_next() and ours.next_batch() is None
