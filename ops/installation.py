"""A whole scv on this machine: embedded broker and store, topics, worker processes.

Invariants:
- Everything started here ends with this process, also when it is killed with -9 (`eventlog.processes`).
- Workers are processes of their own, started with the command that anybody would type.
- Nothing is kept: broker and store hold what they hold in memory.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Self

from eventlog.admin import create_topics
from eventlog.embedded import EmbeddedBroker
from eventlog.ends import lane_ends
from eventlog.processes import HOST, ServerProcess, accepts, free_port, make_directory, remove_directory
from models.record import Lane
from models.settings import Settings
from ops.configured import settings_with
from ops.failures import Exit, Failure
from stores.embedded import EmbeddedStore
from stores.progress import read_progress

# The embedded broker forms a group after half of this; less, and a busy laptop loses its lanes.
SESSION_SECONDS = 6.0
DESK_SCOPES = ("profile:read", "timeline:read", "profile:reveal", "events:write")
# Two seconds on an idle machine; a busy CI runner may need ten times that.
WORKER_START_SECONDS = 60.0
# A worker that was asked to end has its own grace for the step in progress.
WORKER_STOP_SECONDS = 20.0


class Installation:
    """Embedded servers with the topics of scv; `with` stops everything. Workers are started one by one.

    The first one serves its metrics at `metrics_port` (None: what the settings say; 0: nobody does), each
    other one at the next port.
    """

    def __init__(self, metrics_port: int | None = None) -> None:
        self._workers: list[ServerProcess] = []
        self.metrics_ports: list[int] = []
        self._http: ServerProcess | None = None
        self.http: str | None = None
        """Where the HTTP API listens, once it was started; `api_key` may do everything there."""
        self.api_key: str | None = None
        self.desk_key: str | None = None
        """For agents: personal data is masked, single facts are revealed for a reason, events are written."""
        self._broker = EmbeddedBroker()
        try:
            self._store = EmbeddedStore()
        except BaseException:
            self._broker.stop()
            raise
        try:
            # Set here what another installation's settings must not change.
            self.settings: Settings = settings_with(
                kafka=self._broker.bootstrap,
                redis=self._store.url,
                generation="g1",
                replication=1,
                session_timeout_seconds=SESSION_SECONDS,
                metrics_port=metrics_port,
            )
            create_topics(self.settings.kafka, self.settings.partitions, self.settings.generation)
        except BaseException:
            self.stop()
            raise

    @property
    def addresses(self) -> dict[str, str]:
        """What another terminal sets to reach it."""
        return {"SCV_KAFKA": self.settings.kafka, "SCV_REDIS": self.settings.redis}

    def start_worker(self) -> None:
        """Start one more worker; it joins the others by itself. It publishes nothing."""
        settings, port = self.settings, 0
        if settings.metrics_port:
            port = settings.metrics_port + len(self.metrics_ports)
            self.metrics_ports.append(port)
        command = [
            sys.executable, "-m", "ops.cli", "worker", "--no-publish",
            "--kafka", settings.kafka, "--redis", settings.redis,
            "--generation", settings.generation, "--session-timeout", str(settings.session_timeout_seconds),
            "--metrics-port", str(port),
        ]  # fmt: skip
        directory = make_directory("worker")
        self._workers.append(
            ServerProcess(
                "scv worker", command, directory, ready=lambda: True, timeout_seconds=WORKER_START_SECONDS
            )
        )

    def start_http(self) -> None:
        """Serve the HTTP API and the pages, with keys that end with this installation."""
        from api.keys import SCOPES, create_key

        settings, directory, port = self.settings, make_directory("http"), free_port()
        keys = directory / "keys.json"
        _, self.api_key = create_key(keys, list(SCOPES), "this installation")
        _, self.desk_key = create_key(keys, DESK_SCOPES, "agents of this installation")
        command = [
            sys.executable, "-m", "ops.cli", "serve", "--kafka", settings.kafka, "--redis", settings.redis,
            "--host", HOST, "--port", str(port), "--keys", str(keys),
        ]  # fmt: skip
        self._http = ServerProcess(
            "scv serve", command, directory, ready=lambda: accepts(port), timeout_seconds=WORKER_START_SECONDS
        )
        self.http = f"http://{HOST}:{port}"

    def start_publisher(self) -> None:
        """Start a publisher: it publishes what workers have written, and what they write from now on."""
        settings, directory = self.settings, make_directory("publisher")
        command = [
            sys.executable, "-m", "ops.cli", "publisher", "--kafka", settings.kafka,
            "--redis", settings.redis, "--session-timeout", str(settings.session_timeout_seconds),
        ]  # fmt: skip
        self._workers.append(
            ServerProcess(
                "scv publisher", command, directory, ready=lambda: True, timeout_seconds=WORKER_START_SECONDS
            )
        )

    def check(self) -> None:
        """Failure when a worker or a server has ended."""
        for worker in self._workers:
            if not worker.running:
                said = worker.log_path.read_text(errors="replace").strip().splitlines() or ["it was killed"]
                reason = said[-1].removeprefix(f"{worker.name}: ")
                raise Failure(
                    Exit.FAILED,
                    f"{worker.name} {worker.pid} ended by itself: {reason}; "
                    "what runs here ends with it, start again",
                )
        if self._http is not None and not self._http.running:
            raise Failure(Exit.FAILED, f"the HTTP server at {self.http} has ended by itself; start again")
        if not self._broker.running:
            raise Failure(Exit.AWAY, f"the embedded broker at {self.settings.kafka} has ended; start again")
        if not self._store.running:
            where = self.settings.redis_shown
            raise Failure(Exit.AWAY, f"the embedded store at {where} has ended; start again")

    def ends(self, topics: tuple[str, ...]) -> dict[Lane, int]:
        """The end offset of every lane of these topics."""
        return {Lane(*lane): ends.end for lane, ends in lane_ends(self.settings.kafka, topics).items()}

    def assembled(self, ends: Mapping[Lane, int]) -> int:
        """How many of the records up to these ends are in profiles."""
        progress = read_progress(self.settings.redis, self.settings.generation, list(ends))
        return sum(min(progress[lane][2], end) for lane, end in ends.items())

    def wait_for_lanes(self, topics: tuple[str, ...], seconds: float = WORKER_START_SECONDS) -> None:
        """Return when the workers have taken every lane of these topics: each has written its checkpoint."""
        lanes, deadline = list(self.ends(topics)), time.monotonic() + seconds
        while True:
            self.check()
            taken = self.lanes_taken(lanes)
            if taken == len(lanes):
                return
            if time.monotonic() > deadline:
                raise Failure(
                    Exit.FAILED,
                    f"after {seconds:.0f} s the workers have taken {taken} of {len(lanes)} lanes; "
                    "is the machine overloaded? Start again",
                )
            time.sleep(0.05)

    def lanes_taken(self, lanes: list[Lane]) -> int:
        """How many of these lanes have a checkpoint."""
        from stores.redis_store import RedisStore

        store = RedisStore(
            self.settings.redis, self.settings.generation, self.settings.identity_rules.shared_above
        )
        try:
            return sum(one.next_offset is not None or one.at_ms > 0 for one in store.checkpoints(lanes))
        finally:
            store.close()

    def stop(self) -> None:
        """End workers, store and broker; a second call does nothing."""
        workers, self._workers = self._workers, []
        # First, so that what it has accepted and audited still finds the log.
        http, self._http = self._http, None
        if http is not None:
            workers.insert(0, http)
        for worker in workers:
            worker.stop(WORKER_STOP_SECONDS)
            remove_directory(worker.directory)
        self._store.stop()
        self._broker.stop()

    def __enter__(self) -> Self:
        """The running installation."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop it."""
        self.stop()
