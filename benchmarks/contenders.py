"""Who is measured: each a program of its own that folds the domain topics into profiles in the store.

What a contender promises the measurement:
- It starts at the earliest record, as a consumer group that nobody has used before.
- Its profiles are hashes with a field `version` (`0.N`, N records folded) and one JSON per section.
- It says how many records are folded and *visible in profiles*, at a cost that does not show in its figures.

A new contender is a subclass with a name in `CONTENDERS`; `Counted` suits every program that can map a file.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, NamedTuple, Self

from benchmarks import counting
from benchmarks.servers import Servers
from eventlog.processes import ServerProcess, make_directory, remove_directory
from models.identifiers import customer_id
from models.record import Lane
from stores.keys import Keys
from stores.progress import read_progress

# The embedded broker forms a group after half of this; shorter, and a busy machine loses its lanes.
SESSION_SECONDS = 6.0

ROOT = Path(__file__).parent.parent


class Attempt(NamedTuple):
    """One run of a contender: on these servers, over lanes that end there, with a number of its own."""

    servers: Servers
    ends: Mapping[Lane, int]
    number: int
    directory: Path

    @property
    def generation(self) -> str:
        """A name that no other attempt on these servers has: of the group and of what is written."""
        return f"g{self.number}"


class Contender:
    """One way to do the job."""

    name: ClassVar[str]
    promises: ClassVar[str]
    """What it guarantees, in a line: speed without guarantees is another thing than speed with them."""

    def prepare(self, attempt: Attempt) -> None:
        """Make what it needs before it starts; not measured."""

    def command(self, attempt: Attempt) -> list[str]:
        """The program and its arguments."""
        raise NotImplementedError

    def visible(self, attempt: Attempt) -> int:
        """How many records are in profiles."""
        raise NotImplementedError

    def profile_key(self, attempt: Attempt, subject: str) -> str:
        """The Redis key of a subject's profile."""
        raise NotImplementedError

    def start(self, attempt: Attempt) -> ServerProcess:
        """Prepare and start it; ends with this process."""
        self.prepare(attempt)
        return ServerProcess(
            self.name, self.command(attempt), attempt.directory, ready=lambda: True, timeout_seconds=30.0
        )


class Scv(Contender):
    """The product: `scv worker` with its default settings."""

    name = "scv"
    promises = "effectively once, profiles follow after a crash, identifiers indexed, change notices"

    def prepare(self, attempt: Attempt) -> None:
        attempt.servers.create_topics(attempt.generation)

    def command(self, attempt: Attempt) -> list[str]:
        return [
            sys.executable, "-m", "ops.cli", "worker", "--kafka", attempt.servers.bootstrap,
            "--redis", attempt.servers.redis, "--generation", attempt.generation,
            "--session-timeout", str(SESSION_SECONDS),
        ]  # fmt: skip

    def visible(self, attempt: Attempt) -> int:
        progress = read_progress(attempt.servers.redis, attempt.generation, list(attempt.ends))
        return sum(assembled for _, _, assembled in progress.values())

    def profile_key(self, attempt: Attempt, subject: str) -> str:
        return Keys(attempt.generation).profile(customer_id(subject))


class Counted(Contender):
    """A program that tells its progress through `benchmarks.counting`, in the file it is given."""

    def counter(self, attempt: Attempt) -> Path:
        """The file."""
        return attempt.directory / "events.count"

    def prepare(self, attempt: Attempt) -> None:
        counting.create(self.counter(attempt))

    def visible(self, attempt: Attempt) -> int:
        return counting.read(self.counter(attempt))


class PlainFaust(Counted):
    """A Faust agent per topic that reads, folds and writes one customer per event."""

    name = "plain-faust"
    promises = "none: a crash loses or repeats events, two workers overwrite each other"

    def command(self, attempt: Attempt) -> list[str]:
        # From the repository, wherever the process runs.
        return [
            "env", f"PYTHONPATH={ROOT}", sys.executable, "-m", "benchmarks.plain_faust",
            "--kafka", attempt.servers.bootstrap, "--redis", attempt.servers.redis,
            "--group", f"plain-{attempt.generation}", "--counter", str(self.counter(attempt)),
            "--session-timeout", str(SESSION_SECONDS),
        ]  # fmt: skip

    def profile_key(self, attempt: Attempt, subject: str) -> str:
        return f"plain-{attempt.generation}:{subject}:profile"


CONTENDERS: Mapping[str, Contender] = {one.name: one for one in (Scv(), PlainFaust())}


class Running:
    """A contender at work; `with` ends it, at once: what it would still tidy up is no part of a figure."""

    def __init__(self, contender: Contender, servers: Servers, ends: Mapping[Lane, int], number: int) -> None:
        self.contender = contender
        self.attempt = Attempt(servers, ends, number, make_directory(f"bench-{contender.name}"))
        try:
            self.process = contender.start(self.attempt)
        except BaseException:
            remove_directory(self.attempt.directory)
            raise

    def visible(self) -> int:
        """How many records are in profiles; Ended when the program is not there any more."""
        if not self.process.running:
            said = self.process.log_path.read_text(errors="replace").strip().splitlines() or [
                "it said nothing"
            ]
            raise Ended(f"{self.contender.name} ended by itself: {said[-1]}")
        return self.contender.visible(self.attempt)

    def __enter__(self) -> Self:
        """The contender, started."""
        return self

    def __exit__(self, *_: object) -> None:
        """Kill it and remove its directory."""
        self.process.kill()
        remove_directory(self.attempt.directory)


class Ended(Exception):
    """A contender ended while it was measured."""
