"""Records reach the lane worker in order, from where it says, once, and only while the lane is its own."""

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from confluent_kafka import ConsumerGroupTopicPartitions, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from eventlog import admin, topics
from eventlog.apache import ApacheBroker
from eventlog.embedded import EmbeddedBroker
from eventlog.producing import LogProducer
from models.record import Lane
from streams import kafka_client
from streams.kafka_client import FetchLimits
from streams.lanes import Batch
from streams.runner import EpochBatch, Projector
from tests.lane_recorder import SESSION_TIMEOUT_SECONDS, Recorder, Running, SharedRecorder, wait_until
from tests.servers import ContainerBroker

Broker = EmbeddedBroker | ApacheBroker | ContainerBroker

LANES = [Lane("facts", partition) for partition in range(4)]
ROOT = Path(__file__).parent.parent


def create_facts(bootstrap: str) -> str:
    admin.create_topics(bootstrap, plan=[topics.Topic("facts", len(LANES), topics.topic_plan()[0].settings)])
    return bootstrap


@pytest.fixture
def bootstrap(broker: Broker) -> str:
    """An empty broker that holds one topic, `facts`, of four lanes."""
    return create_facts(broker.bootstrap)


@pytest.fixture
def apache(apache_broker: ApacheBroker) -> str:
    """The same on Apache Kafka, for what the embedded broker does not do."""
    admin.delete_topics(apache_broker.bootstrap, list(admin.describe_topics(apache_broker.bootstrap)))
    return create_facts(apache_broker.bootstrap)


@pytest.fixture
def embedded() -> Iterator[str]:
    """The same on the embedded broker, for what no broker has a part in."""
    with EmbeddedBroker() as broker:
        yield create_facts(broker.bootstrap)


def write(bootstrap: str, lane: Lane, count: int, compression: str = "lz4") -> None:
    """Append `count` records of 350 bytes to one lane, in few batches."""
    with LogProducer(bootstrap, linger_ms=50, compression=compression) as producer:
        for number in range(count):
            producer.produce(lane.topic, b"crm:%d" % number, b"%350d" % number, partition=lane.partition)


# -- The projector alone


def batch(lane: Lane, start: int, count: int) -> Batch:
    return Batch(lane, start, [SimpleNamespace(offset=start + n) for n in range(count)], start + count, None)


def started(recorder: Recorder, *lanes: Lane) -> tuple[Projector, dict[Lane, int]]:
    """A projector whose worker has taken these lanes, and their epochs."""
    projector = Projector(recorder)
    projector.start(lambda: None)
    projector.assign(lanes)
    return projector, epochs(projector, *lanes)


def epochs(projector: Projector, *lanes: Lane) -> dict[Lane, int]:
    placed: dict[Lane, int] = {}

    def all_placed() -> bool:
        placed.update({lane: placement.epoch for lane, placement in projector.placements().items()})
        return placed.keys() >= set(lanes)

    wait_until(all_placed, "the lanes are placed")
    return placed


def test_a_round_read_before_its_lane_moved_is_dropped() -> None:
    lane, other = LANES[:2]
    recorder = Recorder(refuse={lane: 3})
    projector, before = started(recorder, lane, other)
    recorder.go.clear()
    projector.offer([EpochBatch(before[lane], batch(lane, 0, 10)), EpochBatch(before[other], batch(other, 0, 10))])
    wait_until(projector.has_room, "the first round is being folded")
    projector.offer([EpochBatch(before[lane], batch(lane, 10, 10)), EpochBatch(before[other], batch(other, 10, 10))])
    assert not projector.has_room()
    recorder.go.set()
    after = epochs(projector, lane)
    projector_has_folded(projector, other, 20)
    projector.offer([EpochBatch(after[lane], batch(lane, 3, 5))])
    projector_has_folded(projector, lane, 8)
    assert recorder.offsets(lane) == [3, 4, 5, 6, 7]
    assert recorder.offsets(other) == list(range(20))
    assert projector.close(10.0)


def projector_has_folded(projector: Projector, lane: Lane, offset: int) -> None:
    wait_until(lambda: projector.folded().get(lane) == offset, f"{lane} is folded up to {offset}")


def test_a_lane_that_was_revoked_is_lost_before_it_is_taken_anew_and_its_rounds_are_dropped() -> None:
    lane, other = LANES[:2]
    recorder = Recorder()
    projector, before = started(recorder, lane, other)
    recorder.go.clear()
    projector.offer([EpochBatch(before[other], batch(other, 0, 1))])
    wait_until(projector.has_room, "a step runs")
    projector.offer([EpochBatch(before[lane], batch(lane, 0, 10))])
    projector.revoke([lane, other])
    projector.assign([lane])
    assert projector.holds([lane]), "its worker has not been told yet"
    recorder.go.set()
    after = epochs(projector, lane)
    assert not projector.holds([other])
    assert after[lane] != before[lane]
    assert recorder.calls == [
        ("take", [lane, other]), ("step", [other]), ("lose", [lane, other]), ("take", [lane]),
    ]
    assert projector.close(10.0)
    assert recorder.count() == 1


def test_a_new_assignment_leaves_no_lane_of_the_one_before() -> None:
    lane, other = LANES[:2]
    recorder = Recorder()
    projector, _ = started(recorder, lane)
    projector.assign([other])
    epochs(projector, other)
    assert recorder.calls == [("take", [lane]), ("lose", [lane]), ("take", [other])]
    assert projector.close(10.0)


def test_nothing_is_called_after_a_failure() -> None:
    recorder = Recorder()
    projector, before = started(recorder, LANES[0])
    projector.offer([EpochBatch(before[LANES[0]], batch(LANES[0], 0, 1))])
    projector_has_folded(projector, LANES[0], 1)
    projector.offer([EpochBatch(before[LANES[0]], batch(LANES[0], 7, 1))])
    wait_until(lambda: projector.failure, "the gap is noticed")
    projector.revoke(LANES)
    assert projector.close(10.0)
    assert isinstance(projector.failure, AssertionError)
    assert [name for name, _ in recorder.calls if name != "idle"] == ["take", "step", "step"]


def test_every_taken_lane_needs_an_offset() -> None:
    class Forgetful(Recorder):
        def take(self, lanes: object) -> dict[Lane, int | None]:
            return {}

    projector = Projector(Forgetful())
    projector.start(lambda: None)
    projector.assign([LANES[0]])
    wait_until(lambda: projector.failure, "the missing offset is noticed")
    assert "facts-0" in str(projector.failure)


# -- With a broker


def test_every_record_arrives_in_order_from_where_take_says(bootstrap: str) -> None:
    codecs = ["gzip", "snappy", "lz4", "zstd"]
    for lane, codec in zip(LANES, codecs, strict=True):
        write(bootstrap, lane, 700, codec)
    recorder = Recorder(resume={LANES[0]: 123, LANES[1]: 0})
    with Running(bootstrap, "scv-g1", recorder, ["facts"], FetchLimits(round_records_max=500)) as running:
        wait_until(lambda: recorder.count() == 4 * 700 - 123, "all records arrive")
        write(bootstrap, LANES[2], 10)
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


def test_lanes_that_are_refused_are_read_again_from_where_the_worker_says(bootstrap: str) -> None:
    for lane in LANES:
        write(bootstrap, lane, 300)
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
        write(bootstrap, lane, 5_000)
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
        write(bootstrap, lane, 100)
    # The second stands exactly at the end, as a worker does that has read everything.
    recorder = Recorder(resume={LANES[0]: 5_000, LANES[1]: 100, LANES[2]: 99})
    with Running(bootstrap, "scv-g1", recorder, ["facts"]):
        wait_until(lambda: recorder.stops, "the lane stops")
        write(bootstrap, LANES[0], 1)
        write(bootstrap, LANES[1], 1)
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
        write(apache, lane, 100)
        remove_before(apache, lane, 50)
    recorder = Recorder(resume={LANES[0]: 10})
    with Running(apache, "scv-g1", recorder, ["facts"]):
        wait_until(lambda: recorder.stops, "the lane stops")
        wait_until(lambda: recorder.count() == 50, "the other is read from its earliest record")
    assert "facts[0]: the checkpoint 10 lies before the earliest record 50" in recorder.stops[LANES[0]]
    assert recorder.offsets(LANES[1]) == list(range(50, 100))


def test_records_that_are_removed_while_a_step_lasts_are_never_skipped_in_silence(apache: str) -> None:
    write(apache, LANES[0], 5_000, compression="none")
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
        wait_until(lambda: recorder.stands.get(LANES[0]) == 12, "the checkpoint moves, although no record came")
        wait_until(lambda: recorder.ends.get(LANES[0]) == 12, "its end is told")
        transaction(b"kept", producer.commit_transaction)
        wait_until(lambda: recorder.count() == 6, "the last records arrive")
    assert [record.value for record in recorder.records[LANES[0]]] == [b"kept"] * 6


def test_kafka_learns_how_far_lanes_are_folded(apache: str) -> None:
    write(apache, LANES[0], 100)
    client = AdminClient({"bootstrap.servers": apache})
    request = ConsumerGroupTopicPartitions("scv-lag", [TopicPartition(*LANES[0])])

    def committed() -> int:
        answer = client.list_consumer_group_offsets([request])["scv-lag"].result(timeout=30)
        return answer.topic_partitions[0].offset

    with Running(apache, "scv-lag", Recorder(), ["facts"]):
        wait_until(lambda: committed() == 100, "the offset is committed")


# -- Processes


def spawn(tmp_path: Path, bootstrap: str, name: str, **more: object) -> subprocess.Popen:
    """A worker process with a SharedRecorder; its directory is empty, so that litter shows."""
    given = {"brokers": bootstrap, "group": "scv-g1", "topics": ["facts"], "path": str(tmp_path / "shared.db")}
    directory = tmp_path / f"cwd-{name}"
    directory.mkdir()
    return subprocess.Popen(
        [sys.executable, "-m", "tests.lane_recorder", json.dumps({**given, "name": name, **more})],
        cwd=directory, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture
def shared(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """What the processes of a test write down."""
    recorder = SharedRecorder(str(tmp_path / "shared.db"), "test")
    yield recorder._db
    recorder._db.close()


def told(db: sqlite3.Connection, event: str, worker: str | None = None) -> int:
    """How many events of this kind there are."""
    query = "select count(*) from events where event = ? and worker = ifnull(?, worker)"
    return db.execute(query, (event, worker)).fetchone()[0]


def test_a_signal_ends_a_worker_cleanly(embedded: str, tmp_path: Path, shared: sqlite3.Connection) -> None:
    write(embedded, LANES[0], 100)
    for name, number, code in (("A", signal.SIGTERM, 0), ("B", signal.SIGINT, 130)):
        worker = spawn(tmp_path, embedded, name)
        wait_until(lambda name=name: told(shared, "take", name), "it takes its lanes")
        worker.send_signal(number)
        out, errors = worker.communicate(timeout=60)
        assert (worker.returncode, out, errors) == (code, "", "")
        assert told(shared, "close", name) == 1
        assert list((tmp_path / f"cwd-{name}").iterdir()) == []


def test_a_step_that_does_not_end_is_abandoned(embedded: str, tmp_path: Path, shared: sqlite3.Connection) -> None:
    write(embedded, LANES[0], 100)
    worker = spawn(tmp_path, embedded, "A", step_seconds=3600.0, close_seconds_max=0.5)
    wait_until(lambda: told(shared, "step"), "a step begins")
    worker.terminate()
    _, errors = worker.communicate(timeout=60)
    assert worker.returncode == 0
    assert "abandoned" in errors
    assert told(shared, "record") == told(shared, "close") == 0


def test_a_broken_invariant_ends_the_process_with_one_line(embedded: str, tmp_path: Path) -> None:
    write(embedded, LANES[0], 100)
    worker = spawn(tmp_path, embedded, "A", fail_in_step=True)
    _, errors = worker.communicate(timeout=60)
    assert worker.returncode == 1
    assert errors == "scv worker: ValueError: a broken invariant\n"


def test_a_missing_topic_and_a_missing_broker_end_the_process_with_a_reason(embedded: str, tmp_path: Path) -> None:
    worker = spawn(tmp_path, embedded, "A", topics=["facts", "fiction"])
    _, errors = worker.communicate(timeout=60)
    assert (worker.returncode, errors) == (
        1, "scv worker: topics missing at the broker: fiction; run `scv topics create`\n"
    )
    worker = spawn(tmp_path, "127.0.0.1:9", "B")
    _, errors = worker.communicate(timeout=60)
    assert worker.returncode == 7
    assert "Traceback" not in errors
    assert errors.splitlines()[-1] == (
        "scv worker: no Kafka broker answers at 127.0.0.1:9; start it, or set SCV_KAFKA"
    )


class Writer(threading.Thread):
    """Appends to all lanes in turn, a little at a time, until told to end."""

    def __init__(self, bootstrap: str) -> None:
        super().__init__()
        self.bootstrap = bootstrap
        self.count = 0
        self.enough = threading.Event()

    def run(self) -> None:
        """Write rounds of ten records a lane."""
        with LogProducer(self.bootstrap) as producer:
            while not self.enough.wait(0.02):
                for lane in LANES:
                    for _ in range(10):
                        producer.produce(lane.topic, b"crm:1", b"fact", partition=lane.partition)
                producer.flush()
                self.count += 10


def test_two_processes_share_the_lanes_through_pauses_and_kills(
    apache: str, tmp_path: Path, shared: sqlite3.Connection
) -> None:
    workers: dict[str, subprocess.Popen] = {}
    writer = Writer(apache)
    writer.start()

    def owned(name: str) -> Callable[[], bool]:
        return lambda: owners(shared) == dict.fromkeys(map(str, LANES), name)

    try:
        workers["A"] = spawn(tmp_path, apache, "A", step_seconds=0.05)
        wait_until(owned("A"), "the first takes all lanes")
        workers["B"] = spawn(tmp_path, apache, "B", step_seconds=0.05)
        wait_until(lambda: sorted(owners(shared).values()) == ["A", "A", "B", "B"], "each has half of them")
        workers["A"].send_signal(signal.SIGSTOP)
        wait_until(owned("B"), "the second takes the lanes of the paused one")
        workers["A"].send_signal(signal.SIGCONT)
        wait_until(lambda: sorted(owners(shared).values()) == ["A", "A", "B", "B"], "the paused one is back")
        workers["B"].kill()
        wait_until(owned("A"), "the first takes the lanes of the killed one")
        writer.enough.set()
        writer.join()
        wait_until(lambda: told(shared, "record") >= 4 * writer.count, "all records are folded")
        workers["A"].terminate()
        assert workers["A"].wait(60) == 0
    finally:
        writer.enough.set()
        for worker in workers.values():
            worker.kill()
            worker.communicate()
    for lane in LANES:
        query = "select offset from events where event = 'record' and lane = ? order by seq"
        rows = shared.execute(query, (str(lane),))
        assert [offset for (offset,) in rows] == list(range(writer.count)), "each once, in order"
    held_when_recorded(shared)


def owners(db: sqlite3.Connection) -> dict[str, str]:
    """Whoever took each lane last."""
    rows = db.execute("select lane, worker, max(seq) from events where event = 'take' group by lane")
    return {lane: worker for lane, worker, _ in rows}


def held_when_recorded(db: sqlite3.Connection) -> None:
    """Every record was folded by a process that had taken its lane and not lost it."""
    held: set[tuple[str, str]] = set()
    for event, worker, lane in db.execute("select event, worker, lane from events order by seq"):
        if event == "take":
            held.add((worker, lane))
        elif event == "lose":
            held.remove((worker, lane))
        elif event == "record":
            assert (worker, lane) in held
