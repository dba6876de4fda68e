"""What every broker must give scv, and where the embedded one differs: one contract, each kind of broker."""

import itertools
import time
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

import confluent_kafka
import pytest
from confluent_kafka import Consumer, Producer
from kafka import KafkaAdminClient, TopicPartition
from kafka.errors import KafkaError
from kafka.partitioner.default import murmur2

from eventlog import admin, ends, topics
from eventlog.apache import ApacheBroker
from eventlog.embedded import EmbeddedBroker
from eventlog.errors import LogError, LogUnavailable, ProduceFailed, ReadFailed
from eventlog.observing import LogObserver, Observed
from eventlog.producing import BUFFER_RECORDS_MAX, LogProducer
from eventlog.reading import read_batches, read_lane, read_ranges, read_topic
from models.record import Lane, Record
from tests.group_member import GroupMember
from tests.servers import ContainerBroker, empty_broker

Broker = EmbeddedBroker | ApacheBroker | ContainerBroker

FACTS = topics.Topic("facts", 4, topics.topic_plan()[0].settings)


@pytest.fixture
def bootstrap(broker: Broker) -> str:
    """A broker that holds one topic, `facts`, of four lanes."""
    admin.create_topics(broker.bootstrap, plan=[FACTS])
    return broker.bootstrap


def write(bootstrap: str, count: int, partition: int = 0, first: int = 0) -> None:
    """Append `count` numbered records to one lane as one batch."""
    # Not LogProducer: the idempotence of each new client would cost these tests half a second a time.
    producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 50})
    for number in range(first, first + count):
        producer.produce("facts", b"value %d" % number, b"crm:%d" % number, partition=partition)
    producer.flush()


def test_topics_are_created_once_and_then_left_alone(broker: Broker) -> None:
    created = admin.create_topics(broker.bootstrap, partitions=4, generation="g7")
    assert created == [topic.name for topic in topics.topic_plan(4, "g7")]
    assert admin.create_topics(broker.bootstrap, partitions=9, generation="g7") == []
    assert admin.create_topics(broker.bootstrap, partitions=9, generation="g8") == ["scv.g8.links"]
    lanes = admin.describe_topics(broker.bootstrap)
    assert lanes["sales.events"] == lanes["scv.changes"] == lanes["customer.profiles"] == 4
    assert lanes["identity.commands"] == lanes["scv.g7.links"] == lanes["scv.g8.links"] == 1


def test_the_log_is_kept_for_ever_and_every_topic_has_append_time(broker: Broker) -> None:
    admin.create_topics(broker.bootstrap)
    names = [topic.name for topic in topics.topic_plan()]
    settings = admin.topic_settings(broker.bootstrap, names)
    assert {settings[name]["message.timestamp.type"] for name in names} == {"LogAppendTime"}
    for name in (*topics.DOMAIN_TOPICS, topics.COMMANDS, topics.link_log("g1")):
        assert (settings[name]["cleanup.policy"], settings[name]["retention.ms"]) == ("delete", "-1")
    assert settings[topics.PROFILES]["cleanup.policy"] == "compact"


def test_a_generation_must_be_fit_for_topic_names_and_keys() -> None:
    for name in ("", "G7", "g 7", "g7}", "-g", "g" * 33):
        with pytest.raises(ValueError, match="generation"):
            topics.link_log(name)


def test_records_come_back_in_order_with_keys_and_headers(bootstrap: str) -> None:
    headers = [("ce_type", b"sales.order_placed"), ("trace", b"1"), ("trace", b"2")]
    with LogProducer(bootstrap) as producer:
        producer.produce("facts", b"crm:1", b"first", headers, partition=2)
        producer.produce("facts", b"crm:1", None, partition=2)
        producer.produce("facts", None, b"no key", partition=2)
    records = list(read_lane(bootstrap, "facts", 2, 0, 3))
    assert [record[:3] for record in records] == [("facts", 2, 0), ("facts", 2, 1), ("facts", 2, 2)]
    assert [(record.key, record.value) for record in records] == [
        (b"crm:1", b"first"),
        (b"crm:1", None),
        (None, b"no key"),
    ]
    assert [record.headers for record in records] == [headers, [], []]


def test_a_key_goes_to_the_lane_that_javas_partitioner_chooses(bootstrap: str) -> None:
    keys = [b"crm:%d" % number for number in range(200)] + ["shop:größe".encode(), b"x"]
    with LogProducer(bootstrap) as producer:
        for key in keys:
            producer.produce("facts", key, b"")
    lanes = {record.key: record.partition for record in read_topic(bootstrap, "facts")}
    assert lanes == {key: (murmur2(key) & 0x7FFFFFFF) % FACTS.partitions for key in keys}


@pytest.mark.parametrize("start,end", [(0, 100), (0, 1), (49, 51), (50, 51), (75, 99), (99, 100), (60, 60)])
def test_a_range_is_read_exactly_also_from_the_middle_of_a_batch(
    bootstrap: str, start: int, end: int
) -> None:
    write(bootstrap, 50)
    write(bootstrap, 50, first=50)
    records = list(read_lane(bootstrap, "facts", 0, start, end))
    assert [record.offset for record in records] == list(range(start, end))
    assert [record.value for record in records] == [b"value %d" % number for number in range(start, end)]


def test_a_topic_is_read_lane_by_lane_up_to_its_fixed_ends(bootstrap: str) -> None:
    for partition in range(FACTS.partitions):
        write(bootstrap, 10 * partition, partition=partition)
    reading = read_topic(bootstrap, "facts", ends={1: 10, 3: 25}, starts={3: 5})
    write(bootstrap, 5, partition=3, first=30)
    records = list(reading)
    for partition, offsets in ((1, range(10)), (3, range(5, 25))):
        assert [record.offset for record in records if record.partition == partition] == list(offsets)
    assert {record.partition for record in records} == {1, 3}
    assert len(list(read_topic(bootstrap, "facts"))) == 65


def test_batches_are_bounded_and_never_empty(bootstrap: str) -> None:
    write(bootstrap, 100)
    batches = list(read_batches(bootstrap, {Lane("facts", 0): (0, 100)}, records_max=30))
    assert list(itertools.chain(*batches)) == list(read_lane(bootstrap, "facts", 0, 0, 100))
    assert 1 <= min(map(len, batches)) <= max(map(len, batches)) <= 30


def test_the_end_of_a_lane_is_the_offset_of_its_next_record(bootstrap: str) -> None:
    write(bootstrap, 7, partition=1)
    write(bootstrap, 50, partition=2)
    write(bootstrap, 50, partition=2)
    held = ends.lane_ends(bootstrap, ["facts"])
    assert held == {("facts", 0): (0, 0), ("facts", 1): (0, 7), ("facts", 2): (0, 100), ("facts", 3): (0, 0)}
    assert held[Lane("facts", 2)].end == 100


def test_the_ends_of_lanes_that_were_just_created_are_waited_for(bootstrap: str) -> None:
    for lanes in range(10, 40, 3):
        admin.create_topics(bootstrap, plan=[topics.Topic("anew", lanes, {})])
        held = ends.lane_ends(bootstrap, ["anew"])
        assert held == {("anew", lane): (0, 0) for lane in range(lanes)}
        admin.delete_topics(bootstrap, ["anew"])


def test_a_question_that_failed_leaves_no_client_behind() -> None:
    tasks = Path("/proc/self/task")
    if not tasks.is_dir():
        pytest.skip("threads of a client are counted in /proc")
    kept, before = [], len(list(tasks.iterdir()))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(ends, "CONNECT_SECONDS_MAX", 0.2)
        for _ in range(5):
            with pytest.raises(LogUnavailable) as failed:
                ends.lane_ends("127.0.0.1:1", ["facts"])
            kept.append(failed)
    assert len(list(tasks.iterdir())) <= before + 2, "whoever keeps what was raised keeps no threads"


def test_a_topic_that_does_not_exist_is_refused_and_not_created(bootstrap: str) -> None:
    with pytest.raises(LogError, match="no topic sales.evnets"):
        ends.lane_ends(bootstrap, ["facts", "sales.evnets"])
    with pytest.raises(LogError, match="no topic sales.evnets"):
        admin.topic_settings(bootstrap, ["sales.evnets"])
    with pytest.raises(ReadFailed, match=r"no lane sales.evnets\[0\]"):
        list(read_lane(bootstrap, "sales.evnets", 0, 0, 1))
    with pytest.raises(ReadFailed, match=r"no lane facts\[4\]"):
        list(read_lane(bootstrap, "facts", 4, 0, 1))
    producer = LogProducer(bootstrap)
    with pytest.raises(ProduceFailed, match="no topic sales.evnets"):
        producer.produce("sales.evnets", b"crm:1", b"")
    assert list(admin.describe_topics(bootstrap)) == ["facts"]


def test_a_range_past_the_end_raises_instead_of_ending_early(bootstrap: str) -> None:
    write(bootstrap, 3)
    with pytest.raises(ReadFailed, match=r"facts\[0\] from 3 to 5"):
        list(read_batches(bootstrap, {("facts", 0): (0, 5)}, silence_seconds=0.3))


def test_a_record_that_is_too_large_is_refused_and_the_producer_goes_on(bootstrap: str) -> None:
    with LogProducer(bootstrap) as producer:
        with pytest.raises(ProduceFailed, match="too large"):
            producer.produce("facts", b"crm:1", bytes(2_000_000), partition=0)
        producer.produce("facts", b"crm:1", b"small", partition=0)
        producer.flush()
    assert [record.value for record in read_lane(bootstrap, "facts", 0, 0, 1)] == [b"small"]


def test_more_records_than_the_buffer_holds_are_all_written(bootstrap: str) -> None:
    count = BUFFER_RECORDS_MAX + 50_000
    with LogProducer(bootstrap) as producer:
        for number in range(count):
            producer.produce("facts", b"crm:%d" % (number % 1000), b"")
    assert sum(held.end for held in ends.lane_ends(bootstrap, ["facts"]).values()) == count


def test_what_a_failed_block_left_unflushed_is_not_written_behind_its_back(bootstrap: str) -> None:
    def write_and_fail() -> None:
        with LogProducer(bootstrap, linger_ms=20_000) as producer:
            producer.produce("facts", b"crm:1", b"", partition=0)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write_and_fail()
    assert ends.lane_ends(bootstrap, ["facts"])["facts", 0].end == 0


def test_append_time_is_the_brokers_except_on_the_embedded_one(broker: Broker, bootstrap: str) -> None:
    long_ago_ms = 1_000_000_000_000
    producer = Producer({"bootstrap.servers": bootstrap})
    producer.produce("facts", b"", b"crm:1", partition=0, timestamp=long_ago_ms)
    producer.flush()
    (record,) = read_lane(bootstrap, "facts", 0, 0, 1)
    assert (record.timestamp_ms == long_ago_ms) == (broker.kind == "embedded")


def test_removed_records_are_an_error_not_a_gap(broker: Broker, bootstrap: str) -> None:
    write(bootstrap, 10)
    with closing(KafkaAdminClient(bootstrap_servers=bootstrap)) as client:
        if broker.kind == "embedded":
            # It cannot remove anything, so nobody can miss it.
            with pytest.raises(KafkaError):
                client.delete_records({TopicPartition("facts", 0): 6})
            assert ends.lane_ends(bootstrap, ["facts"])["facts", 0] == (0, 10)
            return
        client.delete_records({TopicPartition("facts", 0): 6})
    assert ends.lane_ends(bootstrap, ["facts"])["facts", 0] == (6, 10)
    assert [record.offset for record in read_topic(bootstrap, "facts")] == [6, 7, 8, 9]
    with pytest.raises(ReadFailed, match="out of range"):
        list(read_lane(bootstrap, "facts", 0, 0, 10))


def test_a_range_that_ends_in_a_transactions_marker_ends_there(bootstrap: str, unique: str) -> None:
    producer = Producer({"bootstrap.servers": bootstrap, "transactional.id": unique})
    producer.init_transactions()
    producer.begin_transaction()
    producer.produce("facts", b"", b"crm:1", partition=0)
    producer.commit_transaction()
    # The marker follows a moment after the commit is acknowledged.
    while ends.lane_ends(bootstrap, ["facts"])["facts", 0] != (0, 2):
        time.sleep(0.02)
    assert [record.offset for record in read_lane(bootstrap, "facts", 0, 0, 2)] == [0]


def test_flush_raises_when_the_embedded_broker_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admin, "CONNECT_SECONDS_MAX", 0.5)
    with EmbeddedBroker() as broker:
        admin.create_topics(broker.bootstrap, plan=[FACTS])
        producer = LogProducer(broker.bootstrap, ack_seconds=5.0)
        producer.produce("facts", b"crm:1", b"")
        producer.flush()
    producer.produce("facts", b"crm:2", b"")
    with pytest.raises(ProduceFailed, match="produce again all since the last flush") as failed:
        producer.flush()
    assert "\n" not in str(failed.value)
    with pytest.raises(ProduceFailed):
        producer.produce("facts", b"crm:2", b"")
    with pytest.raises(LogUnavailable, match="is it running there"):
        admin.describe_topics(broker.bootstrap)


def test_after_a_kill_flush_raises_and_after_a_restart_all_that_was_acknowledged_is_there(
    apache_broker: ApacheBroker, unique: str
) -> None:
    bootstrap, topic = apache_broker.bootstrap, f"{unique}.facts"
    admin.create_topics(bootstrap, plan=[topics.Topic(topic, 1, FACTS.settings)])
    producer = LogProducer(bootstrap, ack_seconds=5.0)
    producer.produce(topic, b"crm:1", b"acknowledged")
    producer.flush()
    apache_broker.kill()
    try:
        producer.produce(topic, b"crm:1", b"lost")
        with pytest.raises(ProduceFailed):
            producer.flush()
    finally:
        apache_broker.restart()
    with LogProducer(bootstrap) as again:
        again.produce(topic, b"crm:1", b"after")
    values = [record.value for record in read_topic(bootstrap, topic)]
    assert values == [b"acknowledged", b"after"]


def test_several_ranges_can_be_read_at_once(bootstrap: str) -> None:
    write(bootstrap, 20, partition=0)
    write(bootstrap, 20, partition=1)
    records = list(
        read_ranges(bootstrap, {("facts", 0): (3, 9), ("facts", 1): (0, 20), ("facts", 2): (0, 0)})
    )
    assert sorted((record.partition, record.offset) for record in records) == [
        *((0, offset) for offset in range(3, 9)),
        *((1, offset) for offset in range(20)),
    ]


def test_a_lane_is_named_as_in_the_stores_hash_tags() -> None:
    lane = Lane("sales.events", 5)
    assert str(lane) == "sales.events-5"
    assert Lane.parse("sales.events-5") == lane
    record = Record("sales.events", 5, 7, 0, None, None, [])
    assert (record.lane, record.place) == (lane, "sales.events[5]@7")
    for name in ("sales.events", "-5", "sales.events-", "sales.events-x", "sales.events-²"):
        with pytest.raises(ValueError, match="lane"):
            Lane.parse(name)


def test_the_client_library_is_recent_enough_to_report_errors_only() -> None:
    # delivery.report.only.error is what makes LogProducer fast; without on_delivery it would hide losses.
    assert confluent_kafka.libversion()[1] >= 0x02000000


def test_who_has_which_lanes_where_they_end_and_what_waits_to_be_published(
    apache_broker: ApacheBroker,
) -> None:
    kafka = apache_broker.bootstrap
    empty_broker(kafka)
    admin.create_topics(kafka, 2)
    observer, lanes = LogObserver(kafka), [Lane("sales.events", 0), Lane("sales.events", 1)]
    notices = [Lane(topics.CHANGES, 0), Lane(topics.CHANGES, 1)]

    def look(true: Callable[[Observed], object]) -> Observed:
        """The first look of which this is true."""
        for _ in range(400):
            with suppress(LogUnavailable):
                if true(seen := observer.look("g1", lanes, notices)):
                    return seen
            time.sleep(0.05)
        raise AssertionError("it did not become true")

    def lanes_of(seen: Observed) -> list[list[Lane]]:
        return sorted(list(one.lanes) for one in seen.workers.members or ())

    # A broker that never had a group needs a moment for the first question.
    links = Lane(topics.link_log("g1"), 0)
    seen = look(lambda seen: len(seen.ends) == 3 and seen.workers.members == ())
    assert seen.generations == ("g1",)
    assert {*seen.ends} == {*lanes, links}, "the link log of each generation is looked at, too"
    with LogProducer(kafka, client_id="test") as producer:
        for _ in range(7):
            producer.produce("sales.events", b"crm:1", b"{}")
            producer.produce(topics.CHANGES, b"cus_1", b"{}")
    first, second = (GroupMember(kafka, "scv-g1", ["sales.events"]) for _ in range(2))
    publisher = Consumer(
        {"bootstrap.servers": kafka, "group.id": topics.PUBLISHER_GROUP, "enable.auto.commit": False}
    )
    try:
        found = look(lambda seen: lanes_of(seen) == [[lane] for lane in lanes])
        assert sum(found.ends.values()) == found.unpublished == 7
        assert found.workers.members is not None and not found.workers.sharing
        assert {(one.host, one.name[:4], len(one.name)) for one in found.workers.members} == {
            ("127.0.0.1", "scv-", 12)
        }
        (used,) = [lane for lane, held in ends.lane_ends(kafka, [topics.CHANGES]).items() if held.end]
        publisher.commit(offsets=[confluent_kafka.TopicPartition(*used, 5)], asynchronous=False)
        assert look(lambda seen: seen.unpublished != 7).unpublished == 2
        second.leave()
        look(lambda seen: lanes_of(seen) == [lanes])
    finally:
        first.leave()
        publisher.close()
    with pytest.raises(LogUnavailable, match=r"127\.0\.0\.1:1: "):
        LogObserver("127.0.0.1:1").look("g1", lanes, notices)
