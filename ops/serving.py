"""`scv serve`: the HTTP API in this process.

Invariants:
- Starts safe: without a key nobody could use it, so it refuses, with the command that makes one.
- Store and log may be away: it starts, `/readyz` says what is missing, and it goes on when they are back.
"""

from __future__ import annotations

import gc
import logging
import resource
import sys
import time
from functools import partial
from pathlib import Path

from ops.answers import say
from ops.configured import settings_with
from ops.failures import Exit, Failure
from ops.up import Stopped, heed_sigterm

SWITCH_SECONDS = 0.001
# Beside connections of clients: to brokers and store, libraries, the file of keys.
FILES_BESIDE = 200

_log = logging.getLogger("scv.http")


def run_serve(
    *, host: str | None, port: int | None, keys: Path | None, kafka: str | None, redis: str | None
) -> int:
    """Serve until SIGTERM or Ctrl-C."""
    from api.app import create_app
    from api.keys import KeysUnreadable, read_keys
    from api.protocol import CONNECTIONS_MAX
    from api.server import Server
    from api.services import Plan

    settings = settings_with(http_host=host, http_port=port, http_keys=keys, kafka=kafka, redis=redis)
    try:
        held = read_keys(settings.http_keys)
    except KeysUnreadable as unreadable:
        raise Failure(Exit.REFUSED, str(unreadable)) from None
    if not held:
        raise Failure(
            Exit.REFUSED,
            f"{settings.http_keys}: no API keys, so nobody could ask: `scv keys create --scope profile:read`",
        )
    log_to_stderr()
    _allow_files(CONNECTIONS_MAX + FILES_BESIDE)
    plan = Plan(
        settings.kafka,
        settings.redis,
        settings.http_keys,
        settings.identity_rules,
        settings.http_requests_per_second,
        settings.trust,
        settings.config,
        settings.shape,
        replays_ready=True,
    )
    address = f"http://{_shown(settings.http_host)}:{settings.http_port}"
    server = Server(
        create_app(plan),
        settings.http_host,
        settings.http_port,
        started=partial(_started, address),
    )
    heed_sigterm()
    # A thread that audits or listens may keep the interpreter so long from an answer; 5 ms without it.
    sys.setswitchinterval(SWITCH_SECONDS)
    try:
        server.run()
    except Stopped:
        return Exit.OK
    except SystemExit:
        # Uvicorn exits by itself when it cannot begin.
        raise Failure(
            Exit.FAILED,
            f"{settings.http_host}:{settings.http_port} cannot be listened on; does something there already?",
        ) from None
    return Exit.OK


def _allow_files(wanted: int) -> None:
    """Let this process have so many files open: shells give 1,024, and may give more to whoever asks."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    most = wanted if hard == resource.RLIM_INFINITY else min(hard, wanted)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    if most < wanted:
        _log.warning("only %d files may be open here, %d are wanted: raise `ulimit -n`", most, wanted)


def _started(address: str) -> None:
    # What is there now stays: looking through it for garbage would hold up answers for tens of milliseconds.
    gc.collect()
    gc.freeze()
    say(f"ready: {address}, what it offers at {address}/docs")


def _shown(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def log_to_stderr() -> None:
    """One line for each request and for what goes wrong, without personal data."""
    # What the lines do not say need not be found out for each; the manual of `logging` names these switches.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging._srcfile = None  # type: ignore[attr-defined]
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Formatter("%(asctime)s %(levelname)s %(message)s"))
    for name, level in (("scv.http", logging.INFO), ("scv.eventlog", logging.WARNING)):
        logger = logging.getLogger(name)
        logger.addHandler(handler)
        logger.setLevel(level)
        logger.propagate = False


class _Formatter(logging.Formatter):
    """As the library's, with the date and time of a second made once and not for each of its lines."""

    _second, _text = 0, ""

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: N802 - theirs
        second = int(record.created)
        if second != self._second:
            self._second = second
            self._text = time.strftime(self.default_time_format, time.localtime(second))
        return f"{self._text},{int(record.msecs):03d}"
