"""A real Apache Kafka broker from the published jars, one node, its own controller (KRaft).

Guarantees:
- The server is the released one, unchanged; scv only writes its `server.properties`.
- Jars are fetched by Maven at first use, into `$SCV_KAFKA_JARS` or the user's cache, and appear there
  complete or not at all, also when several processes fetch at once.
- `kill()` gives it no time to tidy up, `restart()` comes back with the same data and the same ports.

Needs Java 17 and, for the first use, Maven: `available()` says what is missing.
"""

import base64
import fcntl
import functools
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from eventlog import processes
from eventlog.errors import BrokerNotStarted

KAFKA_VERSION = "4.3.0"
JAVA_MIN = 17
POM = Path(__file__).with_name("kafka-pom.xml")

# 325 MB resident with this heap; tests and benchmarks on two cores need no more.
HEAP_MB = 512

# Format 1 to 2 s, start 2 to 4 s on an idle machine; a busy CI runner may need ten times that.
START_SECONDS_MAX = 90.0
FETCH_SECONDS_MAX = 900.0

# Nothing else: compiling less would start it a second sooner, and make benchmarks against it untrue.
JAVA_OPTIONS = ("-Dlog4j2.level=WARN",)


def jars_directory() -> Path:
    """Where the jars are, or will be once fetched."""
    chosen = os.environ.get("SCV_KAFKA_JARS")
    if chosen:
        return Path(chosen)
    cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(cache) / "scv" / f"kafka-{KAFKA_VERSION}"


@functools.cache
def java_version() -> int | None:
    """The major version of the `java` on the path, None without one."""
    if shutil.which("java") is None:
        return None
    told = subprocess.run(["java", "-version"], capture_output=True, text=True, check=False).stderr
    version = re.search(r'version "(\d+)', told)
    return int(version.group(1)) if version else None


def available() -> str | None:
    """Why Apache Kafka cannot run here, in one line; None if it can."""
    version = java_version()
    if version is None:
        return f"Apache Kafka needs Java {JAVA_MIN}: install openjdk-{JAVA_MIN}-jre-headless"
    if version < JAVA_MIN:
        return f"Apache Kafka {KAFKA_VERSION} needs Java {JAVA_MIN}, `java` is {version}"
    if not jars_directory().is_dir() and shutil.which("mvn") is None:
        return f"no Kafka jars in {jars_directory()}, no `mvn` to fetch them: install maven"
    return None


def fetch_jars() -> Path:
    """The directory of the jars, after Maven fetched them if it had to (44 MB)."""
    directory = jars_directory()
    if directory.is_dir():
        return directory
    directory.parent.mkdir(parents=True, exist_ok=True)
    with (directory.parent / f".{directory.name}.lock").open("w") as lock:
        # Maven's own store is not made for several of them at once.
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not directory.is_dir():
            _fetch_jars(directory)
    return directory


def _fetch_jars(directory: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="kafka-jars-", dir=directory.parent) as working:
        # A copy of its own: Maven may write beside the pom, and installed packages are read-only.
        pom = shutil.copy(POM, Path(working) / "pom.xml")
        jars = Path(working) / "jars"
        command = ["mvn", "-q", "-B", "-f", str(pom), "dependency:copy-dependencies"]
        command += [f"-DoutputDirectory={jars}", "-DincludeScope=runtime"]
        try:
            fetched = subprocess.run(
                command, capture_output=True, text=True, check=False, timeout=FETCH_SECONDS_MAX
            )
        except (OSError, subprocess.TimeoutExpired) as failed:
            raise BrokerNotStarted(f"fetching Kafka's jars with mvn: {failed}") from failed
        if fetched.returncode != 0 or not any(jars.glob("kafka_*.jar")):
            reason = " | ".join((fetched.stdout + fetched.stderr).strip().splitlines()[:3])
            raise BrokerNotStarted(f"fetching Kafka's jars with mvn: {reason or 'it fetched none'}")
        jars.rename(directory)


class ApacheBroker:
    """One broker of Apache Kafka; constructing it starts it, `stop()` or `with` ends it.

    `settings` add to or replace lines of its server.properties. Raises BrokerNotStarted.
    """

    kind = "apache"

    def __init__(self, settings: Mapping[str, str] | None = None) -> None:
        missing = available()
        if missing:
            raise BrokerNotStarted(missing)
        self._jars = fetch_jars()
        self._settings = dict(settings or {})
        self._directory = processes.make_directory("apache-broker")
        self._process: processes.ServerProcess | None = None
        try:
            self._format_and_start()
        except BaseException:
            processes.remove_directory(self._directory)
            raise

    @property
    def bootstrap(self) -> str:
        """Where clients connect: `127.0.0.1:PORT`."""
        return f"{processes.HOST}:{self.port}"

    @property
    def pid(self) -> int | None:
        """The broker's process id, None while it is down."""
        return self._process.pid if self._process else None

    @property
    def running(self) -> bool:
        """Whether the broker's process is alive."""
        return self._process is not None and self._process.running

    def stop(self) -> None:
        """End the broker and remove its data; a second call does nothing."""
        if self._process:
            # Its data goes with it: an orderly end would only take longer.
            self._process.kill()
            self._process = None
        processes.remove_directory(self._directory)

    def kill(self) -> None:
        """End the broker at once (SIGKILL); data and ports stay for `restart()`."""
        if self._process:
            self._process.kill()
            self._process = None

    def restart(self) -> None:
        """Start again with the same data and ports, after an orderly stop if it runs."""
        if self._process:
            self._process.stop()
            self._process = None
        self._start()

    def _format_and_start(self) -> None:
        for attempt in range(1, processes.START_TRIES + 1):
            self.port = processes.free_port()
            self._controller_port = processes.free_port(taken=[self.port])
            self._write_properties()
            self._format()
            try:
                self._start()
                return
            except BrokerNotStarted:
                if attempt == processes.START_TRIES:
                    raise
                shutil.rmtree(self._directory / "data", ignore_errors=True)

    def _java(self, main: str, *arguments: str, heap_mb: int) -> list[str]:
        return ["java", f"-Xmx{heap_mb}m", *JAVA_OPTIONS, "-cp", f"{self._jars}/*", main, *arguments]

    def _format(self) -> None:
        cluster_id = base64.urlsafe_b64encode(os.urandom(16)).decode().rstrip("=")
        # A leading dash would be read as an option.
        cluster_id = "s" + cluster_id[1:] if cluster_id.startswith("-") else cluster_id
        formatted = subprocess.run(
            self._java(
                "kafka.tools.StorageTool", "format", "-t", cluster_id, "-c", "server.properties", heap_mb=128
            ),
            cwd=self._directory,
            capture_output=True,
            text=True,
            check=False,
            timeout=START_SECONDS_MAX,
        )
        if formatted.returncode != 0:
            reason = " | ".join((formatted.stdout + formatted.stderr).strip().splitlines()[-3:])
            raise BrokerNotStarted(f"Apache Kafka: formatting its storage failed: {reason}")

    def _start(self) -> None:
        self._process = processes.ServerProcess(
            f"Apache Kafka at {self.bootstrap}",
            self._java("kafka.Kafka", "server.properties", heap_mb=HEAP_MB),
            self._directory,
            ready=self._answers,
            timeout_seconds=START_SECONDS_MAX,
        )

    def _answers(self) -> bool:
        """Whether the broker serves metadata; its port opens a little earlier."""
        if not processes.accepts(self.port):
            return False
        try:
            return bool(
                AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 0})
                .list_topics(timeout=2)
                .brokers
            )
        except KafkaException:
            return False

    def _write_properties(self) -> None:
        controller = f"{processes.HOST}:{self._controller_port}"
        properties = {
            "process.roles": "broker,controller",
            "node.id": "1",
            "controller.quorum.voters": f"1@{controller}",
            "controller.listener.names": "CONTROLLER",
            "listeners": f"PLAINTEXT://{self.bootstrap},CONTROLLER://{controller}",
            "log.dirs": str(self._directory / "data"),
            # One node: everything Kafka keeps for itself has one copy.
            "offsets.topic.replication.factor": "1",
            "offsets.topic.num.partitions": "4",
            "transaction.state.log.replication.factor": "1",
            "transaction.state.log.num.partitions": "4",
            "transaction.state.log.min.isr": "1",
            "share.coordinator.state.topic.replication.factor": "1",
            "share.coordinator.state.topic.min.isr": "1",
            "share.coordinator.state.topic.num.partitions": "1",
            # A worker that starts alone need not wait for others.
            "group.initial.rebalance.delay.ms": "0",
            # After a kill the controller admits the broker again when its last heartbeat is this old.
            "broker.session.timeout.ms": "3000",
            "broker.heartbeat.interval.ms": "500",
            # A topic with a misspelt name must fail, not appear.
            "auto.create.topics.enable": "false",
        } | self._settings
        text = "".join(f"{name}={value}\n" for name, value in properties.items())
        (self._directory / "server.properties").write_text(text)

    def __enter__(self) -> Self:
        """The running broker."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop it."""
        self.stop()
