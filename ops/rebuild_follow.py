"""Follow the log with a generation that has been built: ordinary workers of it, until somebody stops them.

Invariants:
- A worker that ends by itself ends all of them, and the command with it: whoever runs it starts it again.
- They end with this process, however that ended.
"""

from __future__ import annotations

import os
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Self

from eventlog.processes import ServerProcess, make_directory, remove_directory
from models.settings import CONFIG_VARIABLE, Settings
from ops.failures import Exit, Failure

LOOK_EVERY_SECONDS = 0.5


def follow_live(settings: Settings, workers: int) -> int:
    """Run so many workers of the settings' generation until SIGTERM (0) or Ctrl-C (130)."""
    from ops.up import Stopped, heed_sigterm

    go_on = f"to go on following: scv worker --no-publish --generation {settings.generation}"
    heed_sigterm()
    try:
        with ExitStack() as running:
            started = [running.enter_context(_Following(settings)) for _ in range(workers)]
            while all(one.process.running for one in started):
                time.sleep(LOOK_EVERY_SECONDS)
        raise Failure(Exit.FAILED, f"a worker of {settings.generation} ended by itself; {go_on}")
    except KeyboardInterrupt:
        raise Failure(Exit.INTERRUPTED, f"stopped; {go_on}") from None
    except Stopped:
        return Exit.OK


class _Following:
    """One worker, while the block lasts."""

    def __init__(self, settings: Settings) -> None:
        self._directory = make_directory("rebuild")
        # By variables, not on the command line: the store's address may have a password.
        told = {
            **os.environ,
            "SCV_KAFKA": settings.kafka,
            "SCV_REDIS": settings.redis,
            "SCV_GENERATION": settings.generation,
            "SCV_RULES": "" if settings.rules is None else str(Path(settings.rules).resolve()),
            "SCV_METRICS_PORT": "0",
        }
        if path := os.environ.get(CONFIG_VARIABLE):
            told[CONFIG_VARIABLE] = str(Path(path).resolve())
        self.process = ServerProcess(
            "scv worker", [sys.executable, "-m", "ops.cli", "worker", "--no-publish"], self._directory,
            ready=lambda: True, timeout_seconds=1.0, speaks=True, environment=told,
        )  # fmt: skip

    def __enter__(self) -> Self:
        """It runs."""
        return self

    def __exit__(self, *_: object) -> None:
        """Asked to end, and waited for."""
        self.process.stop()
        remove_directory(self._directory)
