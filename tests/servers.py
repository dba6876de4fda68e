"""The servers that tests run against, by kind, and why a kind cannot run here.

Guarantees:
- A kind that cannot run is a skip with its reason, and a failure where `SCV_REQUIRE` names it.
- The browser that pages are tested in is one more kind, found on the path like a server.
- Containers run the images that docker-compose.yml runs, started through testcontainers.
"""

import os
import shutil
import subprocess
import time

import pytest
import redis
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from testcontainers.community.redis import RedisContainer
from testcontainers.core.container import DockerContainer

from eventlog import admin, apache
from stores.embedded import DebianRedis

KAFKA_IMAGE = f"apache/kafka:{apache.KAFKA_VERSION}"
REDIS_IMAGE = "redis:7"

# What SCV_REQUIRE may name: a kind of server, or a program, that must not be skipped.
REQUIRABLE = ("apache", "redis", "containers", "chromium", "kcat")

CONTAINER_SECONDS_MAX = 120.0


def required_kinds() -> set[str]:
    """The kinds that `SCV_REQUIRE` names, as in `SCV_REQUIRE=apache,redis`; ValueError for an unknown one."""
    named = {name.strip() for name in os.environ.get("SCV_REQUIRE", "").split(",") if name.strip()}
    unknown = named - set(REQUIRABLE)
    if unknown:
        raise ValueError(
            f"SCV_REQUIRE names {', '.join(sorted(unknown))}; it may name {', '.join(REQUIRABLE)}"
        )
    return named


def need(kind: str) -> None:
    """Skip the test if servers of this kind cannot run here; fail it if SCV_REQUIRE names the kind."""
    reason = {
        "apache": apache.available,
        "redis": DebianRedis.available,
        "containers": containers_available,
        "chromium": chromium_available,
        "kcat": kcat_available,
    }[kind]()
    if reason is None:
        return
    if kind in required_kinds():
        pytest.fail(f"SCV_REQUIRE names {kind}, but: {reason}", pytrace=False)
    pytest.skip(reason)


def chromium_available() -> str | None:
    """Why pages cannot be tested here, in one line; None if they can."""
    return None if shutil.which("chromium") else "pages need Chromium: no `chromium` on the path"


def kcat_available() -> str | None:
    """Why topics cannot be read from a shell here, in one line; None if they can."""
    return None if shutil.which("kcat") else "no `kcat` on the path: apt install kcat"


def containers_available() -> str | None:
    """Why containers cannot run here, in one line; None if they can."""
    if shutil.which("docker") is None:
        return "containers need Docker: no `docker` on the path"
    asked = subprocess.run(
        ["docker", "version", "--format", "{{.Server.Version}}"],
        capture_output=True,
        text=True,
        check=False,
        timeout=20,
    )
    if asked.returncode != 0:
        reason = (asked.stderr.strip().splitlines() or ["it does not answer"])[-1]
        return f"containers need a Docker engine: {reason}"
    return None


def empty_broker(bootstrap: str) -> None:
    """Delete every topic of a broker that several tests share."""
    admin.delete_topics(bootstrap, list(admin.describe_topics(bootstrap)))


def empty_store(url: str) -> None:
    """Delete every key, function and script of a store that several tests share."""
    with redis.Redis.from_url(url) as client:
        client.flushall()
        client.execute_command("FUNCTION FLUSH SYNC")
        client.script_flush()


class ContainerBroker:
    """Apache Kafka's own image, one node.

    testcontainers' KafkaContainer drives the scripts of Confluent's image; this one has others. As there,
    the server waits for a script that tells it the port which Docker chose for it.
    """

    kind = "containers"
    script = "/opt/kafka/scv-start.sh"

    def __init__(self) -> None:
        self._container = (
            DockerContainer(KAFKA_IMAGE)
            .with_exposed_ports(9092)
            .with_envs(
                CLUSTER_ID="scvContainerTests00000",
                KAFKA_NODE_ID="1",
                KAFKA_PROCESS_ROLES="broker,controller",
                KAFKA_CONTROLLER_QUORUM_VOTERS="1@localhost:9094",
                KAFKA_CONTROLLER_LISTENER_NAMES="CONTROLLER",
                KAFKA_LISTENERS="HOST://:9092,BROKER://:9093,CONTROLLER://:9094",
                KAFKA_INTER_BROKER_LISTENER_NAME="BROKER",
                KAFKA_LISTENER_SECURITY_PROTOCOL_MAP="HOST:PLAINTEXT,BROKER:PLAINTEXT,CONTROLLER:PLAINTEXT",
                KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR="1",
                KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR="1",
                KAFKA_TRANSACTION_STATE_LOG_MIN_ISR="1",
                KAFKA_SHARE_COORDINATOR_STATE_TOPIC_REPLICATION_FACTOR="1",
                KAFKA_SHARE_COORDINATOR_STATE_TOPIC_MIN_ISR="1",
                KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS="0",
                KAFKA_AUTO_CREATE_TOPICS_ENABLE="false",
            )
            .with_command(
                ["sh", "-c", f"while [ ! -f {self.script} ]; do sleep 0.1; done; exec bash {self.script}"]
            )
        )
        self._container.start()
        try:
            host, port = self._container.get_container_host_ip(), self._container.get_exposed_port(9092)
            self.bootstrap = f"{host}:{port}"
            start = (
                f"export KAFKA_ADVERTISED_LISTENERS=HOST://{self.bootstrap},BROKER://localhost:9093\n"
                "exec /etc/kafka/docker/run\n"
            )
            self._container.copy_into_container(start.encode(), self.script, mode=0o755)
            self._wait()
        except BaseException:
            self._container.stop()
            raise

    def _wait(self) -> None:
        deadline = time.monotonic() + CONTAINER_SECONDS_MAX
        while True:
            try:
                if (
                    AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 0})
                    .list_topics(timeout=2)
                    .brokers
                ):
                    return
            except KafkaException as not_yet:
                if time.monotonic() > deadline:
                    out, errors = self._container.get_logs()
                    raise TimeoutError(f"{KAFKA_IMAGE} is not ready: {(out + errors)[-400:]!r}") from not_yet
            time.sleep(0.2)

    def stop(self) -> None:
        """Remove the container and its data."""
        self._container.stop()


class ContainerStore:
    """Redis' own image."""

    kind = "containers"

    def __init__(self) -> None:
        self._container = RedisContainer(REDIS_IMAGE).with_command(
            "redis-server --maxmemory-policy noeviction"
        )
        # Waits for PING by itself.
        self._container.start()
        self.url = (
            f"redis://{self._container.get_container_host_ip()}:{self._container.get_exposed_port(6379)}/0"
        )

    def stop(self) -> None:
        """Remove the container and its data."""
        self._container.stop()
