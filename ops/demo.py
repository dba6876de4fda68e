"""`scv demo`: a history of two years written to the log, folded by a worker, and looked at.

Invariants:
- Nothing of it is special: clients, worker and code are those of production, only the servers are embedded.
- The counts are asked of the log and the store, not computed from what was meant.
- The seven broken records are part of the history: dead letters are shown, not hidden.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from api.lookup import Answer, lookup
from eventlog.producing import LogProducer
from eventlog.topics import DEAD_LETTERS, link_log
from models.catalogue import DOMAIN_TOPICS
from ops.ada import SUBJECT as ADA
from ops.answers import say, say_json, show, width
from ops.demo_identity import OFFICE, tell_identity
from ops.demo_tries import suggest
from ops.failures import Exit, Failure
from ops.import_map import load_map
from ops.importing import run_import
from ops.installation import Installation
from ops.life import Happening
from ops.population import broken_events, events
from ops.progress import Progress
from ops.rows import Rows
from ops.up import Stopped, heed_sigterm, stay

CDNOW = Path(__file__).resolve().parent.parent / "data" / "cdnow" / "CDNOW_master.txt"
# A worker that folds nothing for so long is stuck.
STALL_SECONDS_MAX = 60.0
LOOK_EVERY_SECONDS = 0.1


class Done(NamedTuple):
    """What the demo did."""

    events: int
    customers: int
    dead_letters: int
    seconds: float


def run_demo(*, customers: int, seed: int, headless: bool, as_json: bool) -> int:
    """Run the demo. It ends by itself when headless, else by Ctrl-C."""
    heed_sigterm()
    try:
        with Installation() as installation:
            done = _work(installation, customers, seed, quiet=as_json)
            if as_json:
                say_json(done._replace(seconds=round(done.seconds, 3))._asdict())
            else:
                _tell(installation, done)
            if headless:
                return Exit.OK
            installation.start_http()
            if not as_json:
                suggest(installation, shared=bool(looked_up(installation, OFFICE).candidates))
            # Only now: on two cores it would take from the folding what somebody is waiting for.
            installation.start_publisher()
            stay(installation)
    except Stopped:
        return Exit.OK


def _work(installation: Installation, customers: int, seed: int, *, quiet: bool) -> Done:
    began = time.monotonic()
    # It joins its group while the history is being written.
    installation.start_worker()
    end = datetime.now(UTC).replace(second=0, microsecond=0)
    with LogProducer(installation.settings.kafka, client_id="scv-demo", linger_ms=20) as producer:
        if CDNOW.is_file():
            _produce_cdnow(producer, quiet=quiet)
        elif not quiet:
            say(f"{CDNOW} is not part of this installation: the demo goes on with the population alone")
        _produce_population(producer, [*events(seed, customers, end), *broken_events(end)], quiet=quiet)
    folded = _wait(installation, DOMAIN_TOPICS, "folding                     ", "events", quiet=quiet)
    # What the workers have told the graph by now is all that it will hear.
    _wait(
        installation,
        (link_log(installation.settings.generation),),
        "placing who is who          ",
        "facts",
        quiet=quiet,
    )
    return Done(
        events=folded,
        customers=count_profiles(installation.settings.redis, installation.settings.generation),
        dead_letters=sum(installation.ends((DEAD_LETTERS,)).values()),
        seconds=time.monotonic() - began,
    )


def _produce_cdnow(producer: LogProducer, *, quiet: bool) -> None:
    plan = load_map("cdnow")
    rows = Rows(CDNOW, plan.layout)
    with Progress("writing CDNOW, 1997 to 1998", rows.total, "events", quiet=quiet) as progress:
        run_import(rows, plan, producer, on_progress=progress.update)


def _produce_population(producer: LogProducer, history: Sequence[Happening], *, quiet: bool) -> None:
    with Progress("writing two years of people ", len(history), "events", quiet=quiet) as progress:
        for number, happening in enumerate(history):
            producer.produce(happening.topic, happening.key, happening.value)
            if number % 500 == 0:
                progress.update(number)
        producer.flush()


def _wait(installation: Installation, topics: tuple[str, ...], label: str, unit: str, *, quiet: bool) -> int:
    """Return when every record of these topics is worked in, or a dead letter; how many there are."""
    ends = installation.ends(topics)
    total, before, moved_at = sum(ends.values()), 0, time.monotonic()
    with Progress(label, total, unit, quiet=quiet) as progress:
        while (assembled := installation.assembled(ends)) < total:
            installation.check()
            progress.update(assembled)
            if assembled > before:
                before, moved_at = assembled, time.monotonic()
            elif time.monotonic() - moved_at > STALL_SECONDS_MAX:
                raise Failure(
                    Exit.FAILED,
                    f"the worker stands at {assembled:,} of {total:,} {unit} for {STALL_SECONDS_MAX:.0f} s; "
                    "start again, and report it if it happens twice",
                )
            time.sleep(LOOK_EVERY_SECONDS)
    return total


def count_profiles(url: str, generation: str) -> int:
    """How many customers have a profile in this generation."""
    from stores.connection import connect
    from stores.keys import Keys

    client = connect(url)
    try:
        keys = client.scan_iter(match=Keys(generation).profile("cus_*"), count=5_000)
        live = 0
        # Customers that were merged away have left a tombstone.
        for some in iter(lambda: list(islice(keys, 5_000)), []):
            pipe = client.pipeline(transaction=False)
            for key in some:
                pipe.hget(key, "state")
            live += pipe.execute().count(b"live")
        return live
    finally:
        client.close()


def looked_up(installation: Installation, name: str) -> Answer:
    """What a look-up of this name answers."""
    from stores.reading import ProfileReader

    reader = ProfileReader(installation.settings.redis)
    try:
        return lookup(reader, name, installation.settings.identity_rules)
    finally:
        reader.close()


def _tell(installation: Installation, done: Done) -> None:
    from ops.portrait import portrait

    say()
    say(
        f"{done.events:,} events folded into {done.customers:,} profiles in {done.seconds:.1f} s "
        f"({done.events / done.seconds:,.0f} events/s, with starting the servers and writing the history)."
    )
    say(f"{done.dead_letters} records were broken: they are in {DEAD_LETTERS}, each with its reason.")
    say()
    if profile := looked_up(installation, ADA).profile:
        show(portrait(profile, datetime.now(UTC).astimezone(), width()))
    say()
    tell_identity(installation, partial(looked_up, installation))
