"""The publisher as a process: beside a worker, or by itself.

Invariants:
- A process of its own: publishing takes nothing from folding but what the machine has left, and what ends it
  leaves the worker as it is.
- It ends with its worker, however that ended; while the worker runs, it is started again.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
from pathlib import Path
from time import monotonic
from types import TracebackType
from typing import Self

from eventlog.errors import BrokerNotStarted
from eventlog.processes import ServerProcess, make_directory, remove_directory
from models.settings import CONFIG_VARIABLE, Settings

# Folding goes first where both want the same core: the view comes before what is told of it.
NICENESS = 10
# It finishes the transaction in progress.
STOP_SECONDS = 10.0
LOOK_EVERY_SECONDS = 0.5
AGAIN_SECONDS_MAX = 60.0


class PublisherBeside:
    """Runs `scv publisher` while the block lasts, and starts it again when it ends by itself."""

    def __init__(self, settings: Settings) -> None:
        self._command = [sys.executable, "-m", "ops.cli", "publisher"]
        self._environment = _environment(settings)
        self._directory: Path | None = None
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="publisher", daemon=True)

    def _run(self) -> None:
        again_seconds = 1.0
        while not self._ending.is_set():
            began, process = monotonic(), self._start()
            while process is not None and process.running and not self._ending.wait(LOOK_EVERY_SECONDS):
                pass
            if process is not None:
                process.stop(STOP_SECONDS)
            if monotonic() - began > AGAIN_SECONDS_MAX:
                again_seconds = 1.0
            if not self._ending.is_set():
                print(f"scv worker: its publisher ended; again in {again_seconds:.0f} s", file=sys.stderr)
            self._ending.wait(again_seconds)
            again_seconds = min(2 * again_seconds, AGAIN_SECONDS_MAX)
        if self._directory is not None:
            remove_directory(self._directory)

    def _start(self) -> ServerProcess | None:
        try:
            # Somebody may have cleaned up since the last time.
            if self._directory is None or not self._directory.is_dir():
                self._directory = make_directory("publisher")
            return ServerProcess(
                "scv publisher", self._command, self._directory, ready=lambda: True, timeout_seconds=1.0,
                speaks=True, environment=self._environment,
            )  # fmt: skip
        except BrokerNotStarted:
            return None
        except OSError as failed:
            print(f"scv worker: its publisher cannot be started: {failed}", file=sys.stderr)
            return None

    def __enter__(self) -> Self:
        """Started; it is not waited for."""
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Asked to end, and waited for."""
        self._ending.set()
        self._thread.join(2 * STOP_SECONDS)


def _environment(settings: Settings) -> dict[str, str]:
    """What the publisher is told: the worker's settings, whose files it finds from a directory of its own.

    Not by its command line, which everybody on the machine may read: the store's address has a password.
    """
    told = {
        **os.environ,
        "SCV_KAFKA": settings.kafka,
        "SCV_REDIS": settings.redis,
        "SCV_SESSION_TIMEOUT_SECONDS": str(settings.session_timeout_seconds),
        "SCV_RULES": "" if settings.rules is None else str(Path(settings.rules).resolve()),
    }
    if path := os.environ.get(CONFIG_VARIABLE):
        told[CONFIG_VARIABLE] = str(Path(path).resolve())
    return told


def yield_to_folding() -> None:
    """Let other processes go first."""
    if hasattr(os, "nice"):
        os.nice(NICENESS)


def log_in_lines() -> None:
    """Warnings and errors on stderr, a line each."""
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s", level=logging.WARNING)
