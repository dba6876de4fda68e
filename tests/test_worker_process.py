"""A worker's process ends as it should, and several share the lanes through pauses, kills and outages."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from aiokafka.errors import KafkaConnectionError, KafkaError

from eventlog.apache import ApacheBroker
from eventlog.embedded import EmbeddedBroker
from eventlog.producing import LogProducer
from streams.app import broker_away
from tests import servers
from tests.lane_recorder import (
    LANES,
    Recorder,
    Running,
    SharedRecorder,
    create_facts,
    wait_until,
    write_facts,
)

ROOT = Path(__file__).parent.parent


@pytest.fixture
def embedded() -> Iterator[str]:
    """An embedded broker that holds one topic, `facts`, of four lanes."""
    with EmbeddedBroker() as broker:
        yield create_facts(broker.bootstrap)


@pytest.fixture
def apache(apache_broker: ApacheBroker) -> str:
    """The same on Apache Kafka: the embedded broker proves nothing about rebalances."""
    servers.empty_broker(apache_broker.bootstrap)
    return create_facts(apache_broker.bootstrap)


def spawn(tmp_path: Path, bootstrap: str, name: str, **more: object) -> subprocess.Popen:
    """A worker process with a SharedRecorder; its directory is empty, so that litter shows."""
    given = {
        "brokers": bootstrap,
        "group": "scv-g1",
        "topics": ["facts"],
        "path": str(tmp_path / "shared.db"),
        "name": name,
        **more,
    }
    directory = tmp_path / f"cwd-{name}"
    directory.mkdir()
    return subprocess.Popen(
        [sys.executable, "-m", "tests.lane_recorder", json.dumps(given)],
        cwd=directory,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
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


def test_a_broker_that_goes_as_a_worker_starts_is_away() -> None:
    # What aiokafka says, word for word, when nobody answers any more after the first answer.
    assert broker_away(KafkaError("Unable to get cluster metadata over all known brokers"))
    assert broker_away(KafkaConnectionError())
    assert not broker_away(KafkaError("Unexpected error during batch delivery"))
    assert not broker_away(ValueError("cluster metadata"))


def test_a_signal_ends_a_worker_cleanly(embedded: str, tmp_path: Path, shared: sqlite3.Connection) -> None:
    write_facts(embedded, LANES[0], 100)
    for name, number, code in (("A", signal.SIGTERM, 0), ("B", signal.SIGINT, 130)):
        worker = spawn(tmp_path, embedded, name, group=f"scv-{name}")
        wait_until(lambda name=name: told(shared, "take", name), "it takes its lanes")
        worker.send_signal(number)
        out, errors = worker.communicate(timeout=60)
        assert (worker.returncode, out, errors) == (code, "", "")
        assert told(shared, "close", name) == 1
        assert list((tmp_path / f"cwd-{name}").iterdir()) == []


def test_a_step_that_does_not_end_is_abandoned(
    embedded: str, tmp_path: Path, shared: sqlite3.Connection
) -> None:
    write_facts(embedded, LANES[0], 100)
    worker = spawn(tmp_path, embedded, "A", step_seconds=3600.0, close_seconds_max=0.5)
    wait_until(lambda: told(shared, "step"), "a step begins")
    worker.terminate()
    _, errors = worker.communicate(timeout=60)
    assert worker.returncode == 0
    assert "abandoned" in errors
    assert told(shared, "record") == told(shared, "close") == 0


def test_a_broken_invariant_ends_the_process_with_one_line(embedded: str, tmp_path: Path) -> None:
    write_facts(embedded, LANES[0], 100)
    worker = spawn(tmp_path, embedded, "A", fail_in_step=True)
    _, errors = worker.communicate(timeout=60)
    assert worker.returncode == 1
    assert errors == "scv worker: ValueError: a broken invariant\n"


def test_a_missing_topic_and_a_missing_broker_end_it_with_a_reason(embedded: str, tmp_path: Path) -> None:
    worker = spawn(tmp_path, embedded, "A", topics=["facts", "fiction"])
    _, errors = worker.communicate(timeout=60)
    assert (worker.returncode, errors) == (
        1,
        "scv worker: topics missing at the broker: fiction; run `scv topics create`\n",
    )
    worker = spawn(tmp_path, "127.0.0.1:9", "B")
    _, errors = worker.communicate(timeout=60)
    assert worker.returncode == 7
    assert "Traceback" not in errors
    assert errors.splitlines()[-1] == (
        "scv worker: no Kafka broker answers at 127.0.0.1:9; start it, or set SCV_KAFKA"
    )


def test_reading_goes_on_when_a_broker_is_back() -> None:
    servers.need("apache")
    recorder = Recorder()
    with ApacheBroker() as broker:
        create_facts(broker.bootstrap)
        with Running(broker.bootstrap, "scv-g1", recorder, ["facts"]) as running:
            write_facts(broker.bootstrap, LANES[0], 100)
            wait_until(lambda: recorder.count() == 100, "the first records arrive")
            broker.kill()
            wait_until(lambda: recorder.ends.get(LANES[0], 0) is None, "the lane's end is not known any more")
            broker.restart()
            write_facts(broker.bootstrap, LANES[0], 100)
            wait_until(lambda: recorder.count() == 200, "the next records arrive")
    assert running.code == 0
    assert recorder.offsets(LANES[0]) == list(range(200))


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
        pause(workers["A"], shared)
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


def pause(worker: subprocess.Popen, db: sqlite3.Connection) -> None:
    """Stop a process, but not while it holds the file's lock: that would stop the others, too."""
    with db:
        db.execute("begin immediate")
        worker.send_signal(signal.SIGSTOP)
        os.waitpid(worker.pid, os.WUNTRACED)


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
