"""Servers for tests: which kinds there are, and how tests stay apart.

Kinds. A test that takes `broker`, `store` or both runs once per kind: `embedded` (from wheels, always
there), `apache` (Apache Kafka from its jars with the machine's redis-server), `containers` (their images,
where a Docker engine runs). A kind that cannot run here is skipped with the reason; with
`SCV_REQUIRE=apache,redis,chromium` (CI) it is a failure. Chromium is what pages are tested in.
`pytest -k embedded` runs the quick kind alone.

Apart. `broker` and `store` are handed over empty: the names of topics and keys are scv's own, and no test
sees what another left. An embedded broker is a new process for each test, since that takes a hundredth of
a second; the others are started once per session and emptied before each test.

`embedded_broker`, `embedded_store`, `apache_broker` and `debian_redis` are one server each per session, as
earlier tests left them. Name topics after `unique`, or empty the server first. What a test
leaves there lasts until the next test that takes `broker` or `store`: nothing may count on it longer.

With pytest-xdist every worker process has servers of its own. All of them end with the process.
"""

import os
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import settings

from eventlog.apache import ApacheBroker
from eventlog.embedded import EmbeddedBroker
from stores.embedded import DebianRedis, EmbeddedStore
from tests import servers

# A broker of a test lives for seconds: what Java spends on making it fast would be half of its time.
os.environ.setdefault("JDK_JAVA_OPTIONS", "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC")

# How fast a machine is proves nothing.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

KINDS = ("embedded", "apache", "containers")


def pytest_configure() -> None:
    """Refuse a misspelt SCV_REQUIRE: it would let CI pass without what it demands."""
    try:
        servers.required_kinds()
    except ValueError as unknown:
        raise pytest.UsageError(str(unknown)) from unknown


@pytest.fixture(params=KINDS)
def server_kind(request: pytest.FixtureRequest) -> str:
    """The kind of servers of this run of the test."""
    return request.param


@pytest.fixture
def broker(
    server_kind: str, request: pytest.FixtureRequest
) -> Iterator[EmbeddedBroker | ApacheBroker | servers.ContainerBroker]:
    """An empty broker of the kind: `bootstrap` is its address, `kind` its kind."""
    if server_kind == "embedded":
        with EmbeddedBroker() as fresh:
            yield fresh
        return
    shared = request.getfixturevalue("apache_broker" if server_kind == "apache" else "container_broker")
    servers.empty_broker(shared.bootstrap)
    yield shared


@pytest.fixture
def store(
    server_kind: str, request: pytest.FixtureRequest
) -> EmbeddedStore | DebianRedis | servers.ContainerStore:
    """An empty store of the kind: `url` is its address, `kind` says embedded, redis or containers."""
    name = {"embedded": "embedded_store", "apache": "debian_redis", "containers": "container_store"}[
        server_kind
    ]
    shared = request.getfixturevalue(name)
    servers.empty_store(shared.url)
    return shared


@pytest.fixture(scope="session")
def embedded_broker() -> Iterator[EmbeddedBroker]:
    """One embedded broker for the session, as earlier tests left it."""
    with EmbeddedBroker() as running:
        yield running


@pytest.fixture(scope="session")
def embedded_store() -> Iterator[EmbeddedStore]:
    """One Valkey for the session, as earlier tests left it."""
    with EmbeddedStore() as running:
        yield running


@pytest.fixture(scope="session")
def apache_broker() -> Iterator[ApacheBroker]:
    """One Apache Kafka for the session, as earlier tests left it."""
    servers.need("apache")
    with ApacheBroker() as running:
        yield running


@pytest.fixture(scope="session")
def debian_redis() -> Iterator[DebianRedis]:
    """One redis-server for the session, as earlier tests left it."""
    servers.need("redis")
    with DebianRedis() as running:
        yield running


@pytest.fixture(scope="session")
def container_broker() -> Iterator[servers.ContainerBroker]:
    """One container of Apache Kafka for the session, as earlier tests left it."""
    servers.need("containers")
    running = servers.ContainerBroker()
    yield running
    running.stop()


@pytest.fixture(scope="session")
def container_store() -> Iterator[servers.ContainerStore]:
    """One container of Redis for the session, as earlier tests left it."""
    servers.need("containers")
    running = servers.ContainerStore()
    yield running
    running.stop()


@pytest.fixture
def unique() -> str:
    """A name no other test has: eight lower-case letters and digits, fit for a part of a topic's name."""
    return uuid.uuid4().hex[:8]


@pytest.fixture
def world(worlds: Any) -> Any:
    """The HTTP API of a module's `worlds`, as `tests.http_world.world_of` gives them."""
    return worlds[0]


@pytest.fixture
def folded(worlds: Any) -> Any:
    """The hand that writes and folds behind it."""
    return worlds[1]
