"""When store or log are away: the right problem, nothing lost, and a server that comes back by itself."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis
import requests

from api import audit, freshness, readiness
from api.services import MERGES_WAITING_MAX
from eventlog import acknowledged
from eventlog.admin import create_topics
from eventlog.embedded import EmbeddedBroker
from models.identifiers import customer_id
from stores import channel
from stores.connection import connect
from stores.embedded import EmbeddedStore
from tests.http_world import HttpWorld, records, wait_until, world_of
from tests.test_http_authorisation import EVENT, PAIR

ADA = customer_id("crm:4711")
PATH = f"/v1/profiles/{ADA}"


class Servers:
    """The world with its servers, to be stopped."""

    def __init__(self, world: HttpWorld, store: EmbeddedStore, broker: EmbeddedBroker) -> None:
        self.world, self.store, self.broker = world, store, broker

    def start_broker_again(self) -> None:
        """Another broker at the same address; the embedded one keeps nothing."""
        self.broker = EmbeddedBroker(int(self.world.kafka.rpartition(":")[2]))
        create_topics(self.world.kafka, 2)


@pytest.fixture
def servers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Servers]:
    """Ada; answers are waited for as long as a test can wait."""
    monkeypatch.setattr(acknowledged, "ACK_SECONDS", 0.6)
    monkeypatch.setattr("api.services.AUDIT_ACK_SECONDS", 1.0)
    monkeypatch.setattr(audit, "LATE_SECONDS", 0.5)
    monkeypatch.setattr(channel, "ANSWER_SECONDS", 0.5)
    monkeypatch.setattr(freshness, "UNATTENDED_SECONDS", 0.8)
    monkeypatch.setattr(readiness, "KEPT_SECONDS", 0.0)
    with EmbeddedStore() as store:
        broker = EmbeddedBroker()
        for world, folded in world_of(broker.bootstrap, store.url, tmp_path):
            folded.tell("marketing.form_submitted", "crm:4711", "phone:+4930901820", form="f")
            folded.settle()
            found = Servers(world, store, broker)
            yield found
        found.broker.stop()


def test_without_the_store_reads_are_problems_and_it_is_not_ready_until_it_is_back(servers: Servers) -> None:
    world = servers.world
    assert world.get("/readyz", None).status_code == 200
    servers.store.kill()
    for answer in (world.get(PATH), world.get(f"{PATH}/timeline"), world.get(f"/v1/stream?profile={ADA}"),
                   world.post("/v1/profiles:lookup", {"identifiers": [{"type": "crm", "value": "4711"}]}),
                   world.post("/v1/profiles:lookup", {"identifiers": [{"type": "order", "value": "O"}]}),
                   ):  # fmt: skip
        assert (answer.status_code, answer.json()["code"]) == (503, "store_unavailable")
        assert answer.headers["Retry-After"] == "2"
    ready = world.get("/readyz", None)
    assert (ready.status_code, ready.json()["code"]) == (503, "not_ready")
    assert ready.json()["checks"] == {"store": "away", "log": "ok", "keys": "ok"}
    assert world.get("/livez", None).status_code == 200
    # Writing needs no store.
    assert world.post("/v1/events", EVENT).status_code == 202
    servers.store.restart()
    assert world.get("/readyz", None).json()["checks"]["store"] == "away", "it came back empty: no view yet"


def test_a_store_that_hangs_holds_up_its_readers_no_longer_than_said_and_nobody_else(
    servers: Servers,
) -> None:
    world, pid = servers.world, servers.store.pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    try:
        began = time.monotonic()
        assert world.get(PATH).json()["code"] == "store_unavailable"
        assert world.get("/livez", None).status_code == 200
        assert world.post("/v1/events", EVENT).status_code == 202
        assert time.monotonic() - began < 10
    finally:
        os.kill(pid, signal.SIGCONT)
    assert world.get(PATH).status_code == 200


def test_a_store_that_is_full_is_read_as_before(servers: Servers) -> None:
    client = connect(servers.store.url)
    client.config_set("maxmemory", 1)
    with pytest.raises(redis.exceptions.OutOfMemoryError):
        client.set("more", "x")
    client.close()
    assert servers.world.get(PATH).status_code == 200
    assert servers.world.look("phone:+4930901820")["match"] == "single"
    assert servers.world.get("/readyz", None).status_code == 200


def test_a_stream_outlives_the_store(servers: Servers, monkeypatch: pytest.MonkeyPatch) -> None:
    from api import streaming

    monkeypatch.setattr(streaming, "HEARTBEAT_SECONDS", 0.05)
    with servers.world.stream(ADA) as stream:
        stream.next()
        pid = servers.store.pid
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        try:
            while "the store is away" not in stream.heard:
                stream.heard += stream.answer.readline().decode()
        finally:
            os.kill(pid, signal.SIGCONT)
        stream.heard = ""
        while "still here" not in stream.heard:
            stream.heard += stream.answer.readline().decode()


def test_without_the_log_writes_are_problems_and_masked_reads_go_on_to_be_audited_later(
    servers: Servers,
) -> None:
    world = servers.world
    assert world.get(PATH).status_code == 200
    assert len(world.audited()) == 1
    servers.broker.stop()
    for path, body in (("/v1/events", EVENT), ("/v1/identity/links", PAIR)):
        refused = world.post(path, body)
        assert (refused.status_code, refused.json()["code"]) == (503, "log_unavailable"), refused.text
    reveal = world.post(f"{PATH}/reveal", {"fields": ["phone"], "reason": "asked"})
    assert (reveal.status_code, "901820" in reveal.text) == (503, False)
    assert world.get("/readyz", None).json()["checks"]["log"] == "away"
    # The first read is on its way to the log; when that is late, personal data is shown no more.
    world.get(PATH, "profile:read.pii")
    wait_until(lambda: world.services.audit.late_seconds > 0.6)
    refused = world.get(PATH, "profile:read.pii")
    assert (refused.status_code, refused.json()["code"]) == (503, "audit_unavailable")
    masked = [world.get(PATH, "profile:read") for _ in range(3)]
    assert [one.status_code for one in masked] == [200, 200, 200]
    servers.start_broker_again()
    audited = world.audited()
    shown = {one["data"]["request_id"] for one in audited}
    assert {one.headers["X-Request-Id"] for one in masked} <= shown
    assert refused.headers["X-Request-Id"] not in shown
    assert world.get(PATH, "profile:read.pii").status_code == 200
    wait_until(lambda: world.post("/v1/events", EVENT).status_code == 202)
    assert records(world.kafka, "sales.events")


@pytest.mark.parametrize(
    ("path", "key", "most"),
    [(f"{PATH}/merges", "profile:read", MERGES_WAITING_MAX), ("/v1/dead-letters", "ops", 40)],
)
def test_a_broker_that_hangs_holds_up_no_look_up(servers: Servers, path: str, key: str, most: int) -> None:
    """More questions to the log than threads; a look-up that takes a thread is answered meanwhile."""
    world, pid = servers.world, servers.broker.pid
    assert world.look("order:O", key="profile:read")["match"] == "none"
    answers: list[requests.Response] = []

    def ask() -> None:
        sent = {"Authorization": f"Bearer {world.keys[key]}"}
        answers.append(requests.get(f"{world.url}{path}", headers=sent, timeout=60))

    asking = [threading.Thread(target=ask, daemon=True) for _ in range(40)]
    os.kill(pid, signal.SIGSTOP)
    try:
        for thread in asking:
            thread.start()
        # Time for all of them to reach the server: more than there are threads.
        time.sleep(1)
        wait_until(lambda: sum(thread.is_alive() for thread in asking) <= most)
        # Those beyond were refused, the others wait, or share one question; both for the log alone.
        assert {(one.status_code, one.json()["code"]) for one in answers} <= {(503, "log_unavailable")}
        assert world.look("order:O", key="profile:read")["match"] == "none"
        assert sum(thread.is_alive() for thread in asking) == most
    finally:
        os.kill(pid, signal.SIGCONT)
        for thread in asking:
            thread.join(60)
    assert world.get(f"{PATH}/merges", "profile:read").status_code == 200


def test_probes_ask_store_and_log_once_in_a_while_however_many_there_are(
    servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    world, asked = servers.world, []
    reachable = world.services.log.reachable
    monkeypatch.setattr(world.services.log, "reachable", lambda: asked.append(1) or reachable())
    world.services.readiness._checks._seconds = 600.0
    assert [world.get("/readyz", None).status_code for _ in range(5)] == [200] * 5
    assert len(asked) == 1
    world.services.readiness._checks._seconds = 0.0
    assert world.get("/readyz", None).status_code == 200 and len(asked) == 2


def test_when_the_audit_queue_is_full_nothing_is_shown(servers: Servers) -> None:
    world = servers.world
    servers.broker.stop()
    world.services.audit._most = 3
    assert [world.get(PATH, "profile:read").status_code for _ in range(4)] == [200, 200, 200, 503]
    assert world.look_status("crm:4711", "profile:read") == 503
    servers.start_broker_again()
    assert len(world.audited()) == 3
    assert world.get(PATH, "profile:read").status_code == 200


def test_what_is_accepted_and_audited_is_in_the_log_when_the_server_ends(servers: Servers) -> None:
    world = servers.world
    # The first one waits for the connection, which on a busy machine may take longer than a record may wait.
    world.get(PATH)
    wait_until(lambda: len(records(world.kafka, "scv.audit")) == 1)
    for _ in range(49):
        world.get(PATH)
    world.server.should_exit = True
    world._thread.join(20)
    assert len(records(world.kafka, "scv.audit")) == 50


@pytest.mark.parametrize("failing", [None, "watch", "end"])
def test_a_log_that_comes_back_while_the_server_ends_gets_what_is_audited(
    servers: Servers, monkeypatch: pytest.MonkeyPatch, failing: str | None
) -> None:
    world = servers.world

    def fail() -> None:
        raise ValueError("a fault of its own")

    if failing == "watch":
        monkeypatch.setattr(world.services.lags, "look", fail)
        wait_until(lambda: any(one.done() for one in world.services._watching))
    elif failing == "end":
        monkeypatch.setattr(world.services.operations, "close", fail)
    monkeypatch.setattr(audit, "CLOSE_SECONDS", 60.0)
    servers.broker.stop()
    for _ in range(3):
        assert world.get(PATH, "profile:read").status_code == 200
    world.server.should_exit = True
    wait_until(world.services.audit._ended.is_set)
    # At least one try that failed after it was told to end.
    tried = len(world.log.lines)
    wait_until(lambda: any(line.startswith("audit: ") for line in world.log.lines[tried:]))
    servers.start_broker_again()
    world._thread.join(60)
    assert len(records(world.kafka, "scv.audit")) == 3


@contextmanager
def unfinished(world: HttpWorld) -> Iterator[socket.socket]:
    """A request whose body does not come: it would be waited for."""
    with socket.create_connection(("127.0.0.1", world.port), timeout=30) as waiting:
        key = world.keys["all"].encode()
        waiting.sendall(
            b"POST /v1/events HTTP/1.1\r\nHost: scv\r\nAuthorization: Bearer " + key
            + b"\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n"
        )  # fmt: skip
        wait_until(lambda: world.server.server_state.tasks)
        yield waiting


def test_a_request_that_the_end_does_not_wait_for_gets_a_problem_document(servers: Servers) -> None:
    world = servers.world
    world.server.config.timeout_graceful_shutdown = 1
    with unfinished(world) as waiting:
        world.server.should_exit = True
        answer = b"".join(iter(lambda: waiting.recv(65_536), b""))
    world._thread.join(60)
    assert answer.startswith(b"HTTP/1.1 503 ") and b'"code":"not_ready"' in answer
    assert any(line.startswith("POST /v1/events 503 not_ready ") for line in world.log.lines)
    assert not any("Exception" in line or "without" in line for line in world.log.lines)


def test_whoever_asks_twice_to_end_cuts_off_requests_and_not_the_audit(servers: Servers) -> None:
    world = servers.world
    with unfinished(world):
        world.get(PATH)
        world.server.handle_exit(signal.SIGINT, None)
        world.server.handle_exit(signal.SIGINT, None)
        world._thread.join(60)
    assert not world.services.audit._thread.is_alive() and world.services.audit.waiting == 0
    assert len(records(world.kafka, "scv.audit")) == 1
    # In the course of ending, where another Ctrl-C is heeded still, and not as what is cancelled after it.
    assert "Application shutdown complete." in world.log.lines


def test_a_lag_is_told_with_the_records_and_seconds_that_are_behind(servers: Servers) -> None:
    """No worker looks at most lanes here: that is said, and how long the one that was looked at is silent."""

    # A server that has just started learns of one lane after the other; the world has stood since March.
    def told() -> bool:
        lag = servers.world.get(PATH).json()["as_of"]
        return (lag["status"], lag["lag_records"]) == ("unattended", 0) and lag["lag_seconds"] > 3_600

    wait_until(told)
