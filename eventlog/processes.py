"""Server processes of ours: started when constructed, gone when stopped, gone with their parent.

Guarantees:
- A server ends with the process that started it, also when that process is killed with -9: a watchdog
  holds the other end of a pipe and kills the server, and removes its directory, when the pipe closes.
- Ports lie below the range from which the system takes ports for outgoing connections: nothing can take
  a server's port between a stop and a restart, and a client that knocks early cannot reach itself.
- Output goes to a log in the server's own temporary directory, which goes away with the server.

Death signals of Linux (PR_SET_PDEATHSIG) were not taken: they follow the thread that started the server,
not the process, and exist on Linux only. The stores start servers with the same few steps, in their own
room: rooms side by side do not import each other.
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
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from eventlog.errors import BrokerNotStarted

HOST = "127.0.0.1"

# Linux hands out 32768 and up, macOS 49152 and up, for outgoing connections; well-known servers sit lower.
PORTS = range(20_000, 32_000)

# Two brokers started at once may pick the same port; three in a row mean another cause.
START_TRIES = 3

# The last lines of a log that an error quotes: enough for a cause, short enough for a terminal.
LOG_TAIL_CHARACTERS = 400

# $1 is the server, leader of its own process group; $2 its directory. `read` returns when the parent's end
# of the pipe closes, however the parent ended.
WATCHDOG = 'read -r _; kill -s KILL -- "-$1" 2>/dev/null; rm -rf -- "$2"'


def free_port(taken: Sequence[int] = ()) -> int:
    """A port of this host that nothing listens on now, and that is not among `taken`."""
    for port in random.sample(PORTS, k=200):
        if port not in taken and is_free(port):
            return port
    raise BrokerNotStarted(
        f"no free port between {PORTS.start} and {PORTS.stop} on {HOST}: stop some servers"
    )


def is_free(port: int) -> bool:
    """Whether nothing listens on `port` of this host."""
    with socket.socket() as probe:
        # As servers do: a port whose last connections are still fading out is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def accepts(port: int) -> bool:
    """Whether something on this host accepts a connection on `port`."""
    try:
        socket.create_connection((HOST, port), timeout=1).close()
    except OSError:
        return False
    return True


def make_directory(purpose: str) -> Path:
    """A new temporary directory for a server of ours."""
    return Path(tempfile.mkdtemp(prefix=f"scv-{purpose}-"))


class ServerProcess:
    """One running server and its watchdog.

    `command` is started in `directory`, where `server.log` takes its output, unless it `speaks`: then it says
    what it says where we do; with an `environment`, that is all it has. Returns when `ready()` is
    true; raises BrokerNotStarted, with the end of the log, when the server ends before or takes longer
    than `timeout_seconds`.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        directory: Path,
        ready: Callable[[], bool],
        timeout_seconds: float,
        speaks: bool = False,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self.directory = directory
        self.log_path = directory / "server.log"
        with self.log_path.open("ab") as log:
            # A session of its own: Ctrl-C at the terminal reaches the parent only, which stops its servers
            # when it no longer needs them.
            self._server = subprocess.Popen(
                command,
                cwd=directory,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=None if speaks else log,
                stderr=None if speaks else log,
                start_new_session=True,
            )
        try:
            self._watchdog = subprocess.Popen(
                ["/bin/sh", "-c", WATCHDOG, "scv-watchdog", str(self._server.pid), str(directory)],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        except OSError:
            # Without a watchdog it would outlive us.
            self._server.kill()
            self._server.wait()
            raise
        try:
            self._wait(ready, timeout_seconds)
        except BaseException:
            self.kill()
            raise

    @property
    def pid(self) -> int:
        """The server's process id."""
        return self._server.pid

    @property
    def running(self) -> bool:
        """Whether the server's process is alive."""
        return self._server.poll() is None

    def stop(self, timeout_seconds: float = 20.0) -> None:
        """Ask the server to end, and kill it when it takes longer; its directory stays."""
        if self.running:
            self._server.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._server.wait(timeout_seconds)
        self.kill()

    def kill(self) -> None:
        """End the server at once (SIGKILL); its directory stays."""
        # The watchdog first: once the server is reaped, its number could belong to another process.
        self._watchdog.kill()
        self._watchdog.wait()
        if self._watchdog.stdin is not None:
            self._watchdog.stdin.close()
        if self.running:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._server.pid, signal.SIGKILL)
            self._server.wait()

    def _wait(self, ready: Callable[[], bool], timeout_seconds: float) -> None:
        deadline = time.monotonic() + timeout_seconds
        while not ready():
            if not self.running:
                raise BrokerNotStarted(
                    f"{self.name} ended with {self._server.returncode}: {self._log_tail()}"
                )
            if time.monotonic() > deadline:
                raise BrokerNotStarted(
                    f"{self.name} is not ready after {timeout_seconds:.0f} s: {self._log_tail()}"
                )
            time.sleep(0.01)
        if not self.running:
            # Something else answered on that port.
            raise BrokerNotStarted(f"{self.name} ended with {self._server.returncode}: {self._log_tail()}")

    def _log_tail(self) -> str:
        """The end of the log as one line."""
        text = self.log_path.read_text(errors="replace").strip() if self.log_path.exists() else ""
        return " | ".join(text[-LOG_TAIL_CHARACTERS:].split("\n")) or "it logged nothing"


def remove_directory(directory: Path) -> None:
    """Remove a stopped server's directory; what is already gone is fine."""
    shutil.rmtree(directory, ignore_errors=True)
