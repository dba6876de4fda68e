"""How a command ends: its exit code, and one line for a person when it did not work.

Invariants:
- A line says what happened, where, and what to do next.
- Whatever another room raises becomes one of these; a stack trace is shown only when SCV_TRACE is set.
"""

from __future__ import annotations

import os
from enum import IntEnum

# Set to anything to see the stack trace of an unexpected error.
TRACE_VARIABLE = "SCV_TRACE"
# A line that wraps more than a few times is no longer read.
LINE_MAX = 600


class Exit(IntEnum):
    """The exit codes of every command."""

    OK = 0
    FAILED = 1
    USAGE = 2
    DIFFERENCES = 3
    NOT_FOUND = 4
    REFUSED = 5
    PARTLY = 6
    AWAY = 7
    INTERRUPTED = 130


class Failure(Exception):
    """A command could not do what it was asked: `code` is how the process ends, `lines` are shown.

    One line, but for a file that a person wrote: of its mistakes each has a line after the first.
    """

    def __init__(self, code: Exit, *lines: str) -> None:
        super().__init__("\n".join(lines))
        self.code, self.lines = code, lines


def one_line(text: str) -> str:
    """The text without line breaks, at most `LINE_MAX` characters."""
    joined = " ".join(text.split())
    return joined if len(joined) <= LINE_MAX else joined[: LINE_MAX - 1] + "…"


def failure_of(error: BaseException) -> Failure:
    """The failure that an exception of any room stands for."""
    if isinstance(error, Failure):
        return error
    # Only here, because most commands end without an error and need not wait for these imports.
    from redis import exceptions as redis_client

    from api.lookup import NotAName
    from eventlog import errors as log
    from models.promotion import NoGeneration, PromotionRefused
    from stores.connection import StoreUnfit
    from stores.embedded import StoreNotStarted
    from stores.store import StoreAway, StoreBroken

    if isinstance(error, NotAName):
        return Failure(Exit.USAGE, str(error))
    if isinstance(error, NoGeneration):
        return Failure(Exit.NOT_FOUND, str(error))
    if isinstance(error, StoreUnfit | PromotionRefused):
        return Failure(Exit.REFUSED, str(error))
    if isinstance(error, StoreAway | redis_client.ConnectionError | redis_client.TimeoutError):
        return Failure(Exit.AWAY, f"{error}; is Redis running there? `scv doctor` says what is reachable")
    if isinstance(error, log.LogUnavailable):
        return Failure(Exit.AWAY, str(error))
    if isinstance(error, log.LogError | redis_client.RedisError | StoreBroken | StoreNotStarted):
        return Failure(Exit.FAILED, str(error))
    if isinstance(error, OSError):
        place = f"{error.filename}: " if error.filename else ""
        return Failure(Exit.FAILED, f"{place}{error.strerror or error}; check the path and the permissions")
    name = type(error).__name__
    return Failure(
        Exit.FAILED, f"unexpected {name}: {error}; run again with {TRACE_VARIABLE}=1 and report what it shows"
    )


def traced() -> bool:
    """Whether a person asked for stack traces."""
    return bool(os.environ.get(TRACE_VARIABLE))
