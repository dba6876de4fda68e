"""The servers that scv starts itself: they end with their parent, come back as they should, say why not."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import redis

from eventlog import apache
from eventlog.embedded import EmbeddedBroker
from eventlog.errors import BrokerNotStarted
from stores.embedded import DebianRedis, EmbeddedStore, StoreNotStarted, StoreServer
from tests import servers

ROOT = Path(__file__).parent.parent
APPENDING = {"appendonly": "yes", "appendfsync": "always"}

# Started in a thread that is over when the process dies: a server belongs to the process, not to a thread.
PARENT = """
import sys, threading, time
from eventlog.embedded import EmbeddedBroker
from stores.embedded import EmbeddedStore
running = []
starting = threading.Thread(target=lambda: running.extend([EmbeddedBroker(), EmbeddedStore()]))
starting.start()
starting.join()
print(*(f"{server.pid} {server._directory}" for server in running), flush=True)
time.sleep(600)
"""


def alive(pid: int) -> bool:
    """Whether a process runs; one that ended and that nobody asked about yet does not."""
    state = subprocess.run(
        ["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False
    ).stdout
    return bool(state.strip()) and not state.startswith("Z")


def test_servers_end_with_their_parent_even_when_it_is_killed() -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    told = parent.stdout.readline().split()
    pids, directories = [int(pid) for pid in told[::2]], [Path(name) for name in told[1::2]]
    assert [alive(pid) for pid in pids] == [True, True]
    os.kill(parent.pid, signal.SIGKILL)
    parent.communicate()
    while any(alive(pid) for pid in pids) or any(directory.exists() for directory in directories):
        time.sleep(0.02)


def test_a_stopped_server_leaves_nothing_behind() -> None:
    for start in (EmbeddedBroker, EmbeddedStore):
        server = start()
        directory, pid = server._directory, server.pid
        assert server.running and directory.exists()
        server.stop()
        server.stop()
        assert not server.running and not directory.exists() and pid is not None and not alive(pid)


@pytest.fixture(params=[EmbeddedStore, DebianRedis])
def store_class(request: pytest.FixtureRequest) -> type[StoreServer]:
    """Each store that scv can start."""
    if request.param is DebianRedis:
        servers.need("redis")
    return request.param


@pytest.mark.parametrize("options", [{}, APPENDING])
def test_a_store_is_set_back_to_an_older_dump(
    store_class: type[StoreServer], options: dict, tmp_path: Path
) -> None:
    with store_class(options) as store:
        url, client = store.url, redis.Redis.from_url(store.url)
        client.set("before", 1)
        store.save_dump(tmp_path / "older.rdb")
        client.set("before", 2)
        client.set("after", 1)
        store.restore_dump(tmp_path / "older.rdb")
        assert store.url == url
        assert {key: client.get(key) for key in client.scan_iter()} == {b"before": b"1"}
        client.set("later", 1)
        store.restart()
        # What comes back after a kill is what was appended to the file, and nothing of the dump besides.
        assert set(client.keys()) == ({b"before", b"later"} if options else set())


def test_a_store_refuses_to_evict(store_class: type[StoreServer]) -> None:
    with store_class() as store:
        assert redis.Redis.from_url(store.url).config_get("maxmemory-policy") == {
            "maxmemory-policy": "noeviction"
        }


def test_a_server_that_does_not_start_says_why_in_one_line() -> None:
    with EmbeddedStore() as store:
        with pytest.raises(StoreNotStarted, match="in use|Could not create server TCP") as store_failed:
            EmbeddedStore(port=store.port)
        with pytest.raises(BrokerNotStarted, match="in use") as broker_failed:
            EmbeddedBroker(port=store.port)
    for failed in (store_failed, broker_failed):
        assert "\n" not in str(failed.value)


def test_without_java_or_jars_apache_kafka_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SCV_KAFKA_JARS", str(tmp_path / "none"))
    monkeypatch.setenv("PATH", str(tmp_path))
    apache.java_version.cache_clear()
    try:
        reason = apache.available()
        assert reason is not None and "install openjdk-17-jre-headless" in reason
        with pytest.raises(BrokerNotStarted, match="install openjdk-17-jre-headless"):
            apache.ApacheBroker()
    finally:
        apache.java_version.cache_clear()


def test_a_kind_that_ci_demands_is_a_failure_when_it_is_missing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("SCV_REQUIRE", "apache")
    with pytest.raises(pytest.skip.Exception, match="redis-server"):
        servers.need("redis")
    monkeypatch.setenv("SCV_REQUIRE", "apache,redis")
    with pytest.raises(pytest.fail.Exception, match="redis-server"):
        servers.need("redis")
    monkeypatch.setenv("SCV_REQUIRE", "redsi")
    with pytest.raises(ValueError, match="redsi"):
        servers.required_kinds()
