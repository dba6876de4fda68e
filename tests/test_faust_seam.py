"""What scv changes in Faust is still there in Faust, still called, and all that there is to change.

These fail when a new version of Faust, mode or aiokafka moves the seam. Then read the release's changes to
faust/transport, faust/tables/recovery.py and aiokafka/consumer, repair streams/, and raise the versions here.
"""

import functools
import importlib.metadata
import inspect
import logging
import threading
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer
from faust.app import App, BootStrategy
from faust.transport.drivers.aiokafka import AIOKafkaConsumerThread, Consumer, Transport
from mode.threads import WorkerThread

from eventlog import admin, topics
from eventlog.embedded import EmbeddedBroker
from streams import app as worker_app
from streams.batch_lane import BatchConsumer, BatchTransport
from streams.kafka_client import ClientThread
from streams.runner import Projector
from tests.lane_recorder import Recorder, Running, wait_until

VERSIONS = {"faust-streaming": "0.15.3", "mode-streaming": "0.7.1", "aiokafka": "0.14.0"}

# Every method of Faust that is overridden, with the parameters that Faust calls it with.
OVERRIDDEN = {
    (BatchConsumer, Consumer): {
        "_new_consumer_thread": ["self"],
        "on_start": ["self"],
        "on_stop": ["self"],
        "on_shutdown": ["self"],
        "subscribe": ["self", "topics"],
        "on_partitions_revoked": ["self", "revoked"],
        "seek_to_committed": ["self"],
        "force_commit": ["self", "topics", "start_new_transaction"],
        "verify_all_partitions_active": ["self"],
        "_drain_messages": ["self", "fetcher"],
    },
    (ClientThread, AIOKafkaConsumerThread): {
        "on_crash": ["self", "msg", "fmt", "kwargs"],
        "_stopped_set": ["self"],
        "_create_worker_consumer": ["self", "transport"],
    },
    (ClientThread.Worker, WorkerThread): {"run": ["self"]},
    (worker_app.WorkerApp, App): {"on_first_start": ["self"]},
}

# Attributes of Faust's classes that are replaced by others, or set.
REPLACED = {
    (BatchTransport, Transport): {"Consumer"},
    (ClientThread, AIOKafkaConsumerThread): {"Worker"},
    (worker_app.WorkerApp, App): {"BootStrategy"},
    (worker_app._Boot, BootStrategy): {"enable_kafka_producer", "enable_web", "enable_sensors"},
}

# What is called of the client, all of it public.
CLIENT = {
    "topics": [],
    "assignment": [],
    "pause": ["partitions"],
    "resume": ["partitions"],
    "seek": ["partition", "offset"],
    "position": ["partition"],
    "commit": ["offsets"],
    "getmany": ["partitions", "timeout_ms", "max_records"],
    "beginning_offsets": ["partitions"],
    "end_offsets": ["partitions"],
    "highwater": ["partition"],
    "last_stable_offset": ["partition"],
    "last_poll_timestamp": ["partition"],
}


# What Python and mode write into every class by themselves, and constructors, which pass everything on.
BY_THEMSELVES = {
    "__init__",
    "__module__",
    "__doc__",
    "__annotations__",
    "__abstractmethods__",
    "_abc_impl",
    "abstract",
    "logger",
}


def overridden(ours: type, theirs: type) -> set[str]:
    """The names that `ours` defines although `theirs` has them."""
    known = {name for base in theirs.__mro__ if base is not object for name in vars(base)}
    return (set(vars(ours)) & known) - BY_THEMSELVES


def test_the_versions_are_those_that_the_seam_was_read_in() -> None:
    assert {name: importlib.metadata.version(name) for name in VERSIONS} == VERSIONS
    pinned = (Path(__file__).parent.parent / "constraints.txt").read_text().splitlines()
    assert {f"{name}=={version}" for name, version in VERSIONS.items()} <= set(pinned)


@pytest.mark.parametrize("pair", {**OVERRIDDEN, **REPLACED}, ids=lambda pair: pair[0].__name__)
def test_this_is_all_that_is_changed(pair: tuple[type, type]) -> None:
    expected = set(OVERRIDDEN.get(pair, {})) | REPLACED.get(pair, set())
    assert overridden(*pair) == expected


@pytest.mark.parametrize("pair", OVERRIDDEN, ids=lambda pair: pair[0].__name__)
def test_faust_has_every_overridden_method_with_the_same_parameters(pair: tuple[type, type]) -> None:
    ours, theirs = pair
    for name, parameters in OVERRIDDEN[pair].items():
        method, original = getattr(ours, name), getattr(theirs, name)
        assert list(inspect.signature(original).parameters) == parameters, name
        assert list(inspect.signature(method).parameters) == parameters, name
        assert inspect.iscoroutinefunction(original) == inspect.iscoroutinefunction(method), name


def test_the_client_has_what_is_called_of_it() -> None:
    for name, parameters in CLIENT.items():
        found = list(inspect.signature(getattr(AIOKafkaConsumer, name)).parameters)
        assert found[1 : len(parameters) + 1] == parameters, name


def test_building_an_app_connects_to_nothing() -> None:
    settings = worker_app.StreamSettings("127.0.0.1:1, 127.0.0.1:2", "scv-g1")
    app = worker_app.build_app(settings, Recorder(), ["facts"])
    assert isinstance(app.transport, BatchTransport)
    assert isinstance(app.transport.projector, Projector)
    assert [str(url) for url in app.conf.broker_consumer] == ["kafka://127.0.0.1:1", "kafka://127.0.0.1:2"]
    with pytest.raises(ValueError, match="topic"):
        worker_app.build_app(settings, Recorder(), [])


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The calls that Faust makes to overridden methods, in order."""
    made: list[str] = []

    def noted(cls: type, name: str) -> None:
        method = getattr(cls, name)

        @functools.wraps(method)
        def note(*args: object, **kwargs: object) -> object:
            made.append(name)
            return method(*args, **kwargs)

        monkeypatch.setattr(cls, name, note)

    for (ours, _), names in OVERRIDDEN.items():
        for name in names:
            noted(ours, name)
    return made


def test_faust_calls_every_overridden_method(calls: list[str]) -> None:
    with EmbeddedBroker() as broker:
        admin.create_topics(broker.bootstrap, plan=[topics.Topic("facts", 2, {})])
        recorder = Recorder()
        with Running(broker.bootstrap, "scv-g1", recorder, ["facts"]):
            wait_until(lambda: "verify_all_partitions_active" in calls, "Faust looks for stuck lanes")
    with Running("127.0.0.1:9", "scv-g1", Recorder(), ["facts"]) as running:
        wait_until(lambda: running.code == worker_app.EXIT_AWAY, "a broker that is away ends the worker")
    assert set(calls) == {name for names in OVERRIDDEN.values() for name in names}
    in_order = [
        "on_first_start",
        "on_start",
        "run",
        "_create_worker_consumer",
        "subscribe",
        "on_partitions_revoked",
        "seek_to_committed",
        "_drain_messages",
        "on_stop",
    ]
    assert sorted(in_order, key=calls.index) == in_order


def test_nothing_is_left_behind_and_nothing_is_complained_about(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    caplog.set_level(logging.WARNING)
    threads = set(threading.enumerate())
    with EmbeddedBroker() as broker:
        plan = [topics.Topic(name, 2, {}) for name in ("facts", "other")]
        admin.create_topics(broker.bootstrap, plan=plan)
        recorder = Recorder()
        with Running(broker.bootstrap, "scv-g1", recorder, ["facts"]) as running:
            wait_until(lambda: len(recorder.ends) == 2, "both lanes are read to their ends")
            assert running.app.consumer._thread._ensure_consumer().subscription() == {"facts"}
        assert set(admin.describe_topics(broker.bootstrap)) == {"facts", "other"}
    assert running.code == 0
    assert "web" not in vars(running.app), "no web server is made"
    assert list(tmp_path.iterdir()) == []
    assert set(threading.enumerate()) <= threads
    assert [record.getMessage() for record in caplog.records] == []
