"""`scv identity build`: the identity graph of a whole link log at once, for a first load.

Invariants:
- Only upon a graph that nobody has begun; workers wait while it runs, and follow the log from where it ends.
- Stopped or killed, it can be begun again, and begins from nothing.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from typing import TYPE_CHECKING

from eventlog.topics import link_log
from models.link import LinkFact, read_link_fact
from models.record import Lane
from models.settings import Settings
from ops.answers import say, say_json
from ops.configured import settings_with
from ops.failures import Exit, Failure
from ops.progress import Progress
from ops.working import refuse_missing_topics, refuse_unfit_store

if TYPE_CHECKING:
    from eventlog.reading import Ranges
    from streams.graph_build import Built


class _Stages:
    """A progress bar for each stage of a build, one after the other."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._what, self._bar = "", Progress("", 1, "nodes", quiet=True)

    def __call__(self, what: str, done: int, total: int) -> None:
        """`what` is at `done` of `total`."""
        if what != self._what:
            self.close()
            self._what, self._bar = what, Progress(f"{what:<18}", total, "nodes", quiet=self._quiet)
            self._bar.__enter__()
        self._bar.update(done)

    def close(self) -> None:
        """Leave the last one on the screen."""
        self._bar.__exit__(None, None, None)


def run_identity_build(*, kafka: str | None, redis: str | None, generation: str | None, as_json: bool) -> int:
    """`scv identity build`."""
    from streams.worker import prepare_store

    settings = settings_with(kafka=kafka, redis=redis, generation=generation)
    refuse_unfit_store(settings)
    refuse_missing_topics(settings)
    prepare_store(settings)
    began = time.monotonic()
    count, built = _build(settings, quiet=as_json)
    seconds = time.monotonic() - began
    if as_json:
        say_json({"facts": count, **built._asdict(), "seconds": round(seconds, 3)})
    else:
        say(
            f"{count:,} link facts: {built.subjects:,} subjects are {built.customers:,} customers "
            f"({seconds:.1f} s, {count / max(seconds, 1e-9):,.0f} facts/s)"
        )
    return Exit.OK


def _build(settings: Settings, *, quiet: bool) -> tuple[int, Built]:
    """Build it; how many records the link log had, and what came of them. Failure when it has been begun."""
    from eventlog.producing import LogProducer
    from eventlog.reading import ranges_up_to
    from projections.assembling import Labels
    from stores.redis_store import RedisStore
    from streams.assembler import Assembler
    from streams.graph_build import GraphBegun, build_graph
    from streams.memberships import mending

    topic, rules = link_log(settings.generation), settings.identity_rules
    ranges, links = ranges_up_to(settings.kafka, (topic,)), Lane(topic, 0)
    start, end = ranges[topic, 0]
    if start > 0:
        raise Failure(Exit.REFUSED, f"{topic}: its first {start:,} facts are gone; build a new generation")
    stages = _Stages(quiet=quiet)
    store = RedisStore(settings.redis, settings.generation, rules.shared_above, settings.shape)
    try:
        store.prepare()
        with LogProducer(settings.kafka, client_id="scv-identity-build", linger_ms=20) as producer:
            labels, name = Labels(settings.generation, settings.config), f"build.{uuid.uuid4().hex[:12]}"
            assembler = Assembler(store, producer, labels, name, lambda _: None, mending(store, links))
            facts, now_ms = _facts(settings.kafka, ranges, end, quiet=quiet), time.time_ns() // 1_000_000
            return end, build_graph(store, assembler, links, rules, facts, end, now_ms, stages)
    except GraphBegun as begun:
        raise Failure(
            Exit.REFUSED, f"{begun}: workers follow it by themselves, there is nothing to build"
        ) from None
    finally:
        stages.close()
        store.close()


def _facts(kafka: str, ranges: Ranges, end: int, *, quiet: bool) -> Iterator[tuple[int, LinkFact]]:
    """All link facts in the order of the log, each with its position."""
    from eventlog.reading import read_ranges

    with Progress("reading link facts", end, "facts", quiet=quiet) as progress:
        for record in read_ranges(kafka, ranges):
            fact = read_link_fact(record.value)
            if fact is not None:
                yield record.offset + 1, fact
            if record.offset % 1_000 == 0:
                progress.update(record.offset)
