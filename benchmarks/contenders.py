"""Who is measured: each a program of its own that folds the domain topics into profiles in the store.

What a contender promises the measurement:
- It starts at the earliest record, as a consumer group that nobody has used before.
- Its profiles are hashes with a field `version` (`0.N`, N records folded) and one JSON per section.
- It says how many records are folded and *visible in profiles*, at a cost that does not show in its figures.

A new contender is a subclass with a name in `CONTENDERS`; `Counted` suits every program that can map a file.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar, NamedTuple, Self

from benchmarks import counting, usage
from benchmarks.servers import Servers
from eventlog.processes import ServerProcess, make_directory, remove_directory
from models.identifiers import customer_id
from models.record import Lane
from stores.keys import Keys
from stores.progress import read_progress

# The embedded broker forms a group after half of this; shorter, and a busy machine loses its lanes.
SESSION_SECONDS = 6.0

ROOT = Path(__file__).resolve().parent.parent


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
    by_event: ClassVar[bool] = False
    """Whether it goes event by event, not in batches."""

    def missing(self) -> str | None:
        """Why it cannot run here, in one line; None if it can."""
        return None

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

    def start(self, attempt: Attempt, directory: Path) -> ServerProcess:
        """Start it once more, in this directory; ends with this process."""
        return ServerProcess(
            self.name, self.command(attempt), directory, ready=lambda: True, timeout_seconds=30.0
        )


class Scv(Contender):
    """The product: `scv worker` with its default settings, or another bound of its cache."""

    name = "scv"
    promises = "effectively once, profiles follow after a crash, identifiers indexed, change notices"

    def __init__(self, cache_mib: int | None = None) -> None:
        self.settings = [] if cache_mib is None else [f"SCV_CACHE_MIB={cache_mib}"]

    def prepare(self, attempt: Attempt) -> None:
        attempt.servers.create_topics(attempt.generation)

    def command(self, attempt: Attempt) -> list[str]:
        return [
            "env", *self.settings, sys.executable, "-m", "ops.cli", "worker", "--no-publish",
            "--kafka", attempt.servers.bootstrap, "--redis", attempt.servers.redis,
            "--generation", attempt.generation, "--session-timeout", str(SESSION_SECONDS),
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


class Module(Counted):
    """A module of `benchmarks` that is run from the repository, with the arguments that all of them take."""

    module: ClassVar[str]
    python: ClassVar[Path] = Path(sys.executable)
    joins_group: ClassVar[bool] = True

    def command(self, attempt: Attempt) -> list[str]:
        command = [
            "env", f"PYTHONPATH={ROOT}", str(self.python), "-m", f"benchmarks.{self.module}",
            "--kafka", attempt.servers.bootstrap, "--redis", attempt.servers.redis,
            "--group", self.group(attempt), "--counter", str(self.counter(attempt)),
        ]  # fmt: skip
        return [*command, "--session-timeout", str(SESSION_SECONDS)] if self.joins_group else command

    def group(self, attempt: Attempt) -> str:
        """The consumer group, and what its keys begin with."""
        return f"{self.name}-{attempt.generation}"

    def profile_key(self, attempt: Attempt, subject: str) -> str:
        return f"{self.group(attempt)}:{subject}:profile"


class PlainFaust(Module):
    """A Faust agent per topic that reads, folds and writes one customer per event."""

    name = "plain-faust"
    promises = "none: a crash loses or repeats events, two workers overwrite each other"
    module = "plain_faust"
    by_event = True


class QuixStreams(Module):
    """Quix Streams: a stateful apply over its own State, a sink that writes profiles at each checkpoint."""

    name = "quix"
    promises = "state at least once, with a changelog; a crash repeats events of a checkpoint"
    module = "quix"
    by_event = True
    python = usage.QUIX_ENVIRONMENT / "bin" / "python"

    def missing(self) -> str | None:
        return None if usage.quix_version() else "Quix Streams is not installed: run `make bench-setup`"


class Limit(Module):
    """A loop written by hand for speed alone: what these functions and this store can do at most."""

    name = "limit"
    promises = "none: one process, nothing compared, no checkpoint, customers of one subject only"
    module = "limit"
    joins_group = False


CONTENDERS: Mapping[str, Contender] = {one.name: one for one in (Scv(), Limit(), QuixStreams(), PlainFaust())}


class Running:
    """A contender at work; `with` ends it, at once: what it would still tidy up is no part of a figure.

    With `workers` more than one it is so many processes, which share the lanes as its consumer group does.
    """

    def __init__(
        self,
        contender: Contender,
        servers: Servers,
        ends: Mapping[Lane, int],
        number: int,
        workers: int = 1,
    ) -> None:
        self.contender = contender
        self.attempt = Attempt(servers, ends, number, make_directory(f"bench-{contender.name}"))
        self.processes: list[ServerProcess] = []
        try:
            contender.prepare(self.attempt)
            for worker in range(workers):
                own = self.attempt.directory / str(worker)
                own.mkdir()
                self.processes.append(contender.start(self.attempt, own))
        except BaseException:
            self.__exit__()
            raise

    @property
    def process(self) -> ServerProcess:
        """The first process, which is the only one unless more were asked for."""
        return self.processes[0]

    def visible(self) -> int:
        """How many records are in profiles; Ended when a process is not there any more."""
        for process in self.processes:
            if not process.running:
                said = process.log_path.read_text(errors="replace").strip().splitlines()
                raise Ended(
                    f"{self.contender.name} ended by itself: {said[-1] if said else 'it said nothing'}"
                )
        return self.contender.visible(self.attempt)

    def cpu_seconds(self) -> float:
        """Processor seconds of all its processes."""
        return sum(usage.cpu_seconds(process.pid) for process in self.processes)

    def rss_peak_mib(self) -> float:
        """The most memory that each had resident, together."""
        return sum(usage.rss_peak_mib(process.pid) for process in self.processes)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Inside the block its processes stand still. Shorter than a session, and they keep their lanes."""
        for process in self.processes:
            os.kill(process.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for process in self.processes:
                os.kill(process.pid, signal.SIGCONT)

    def __enter__(self) -> Self:
        """The contender, started."""
        return self

    def __exit__(self, *_: object) -> None:
        """Kill it and remove its directory."""
        for process in self.processes:
            process.kill()
        remove_directory(self.attempt.directory)


class Ended(Exception):
    """A contender ended while it was measured."""
