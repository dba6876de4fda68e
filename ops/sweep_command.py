"""`scv sweep`: what readers see, held against the identity graph and the parts.

Invariants:
- Without --repair nothing is changed.
- A view that is as it must be has no finding, however busy its workers are.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from eventlog.topics import CHANGES, link_log
from models.settings import Settings
from ops.answers import say, say_json
from ops.configured import settings_with
from ops.failures import Exit, Failure
from ops.progress import Progress
from ops.rebuild_start import rebuilds_of
from ops.working import refuse_missing_topics, refuse_unbuilt, refuse_unfit_store

if TYPE_CHECKING:
    from streams.sweep import Finding, Sweep

# Findings of a kind that are named.
EXAMPLES = 5


def settings_of_active(kafka: str | None, redis: str | None, generation: str | None) -> Settings:
    """The settings of the generation named, or else of the active one. Failure when there is none."""
    settings = settings_with(kafka=kafka, redis=redis)
    refuse_unfit_store(settings)
    with rebuilds_of(settings) as rebuilds:
        name = generation or rebuilds.active()
        if name is None or rebuilds.shape(name) is None:
            raise Failure(Exit.NOT_FOUND, f"{settings.redis_shown}: no generation {name or 'is active yet'}")
        chosen = settings_with(kafka=kafka, redis=redis, generation=name)
        if rebuilds.shape(name) != chosen.shape:
            raise Failure(
                Exit.REFUSED,
                f"{name} was built with other projections or identity rules; set those of its workers",
            )
    refuse_unbuilt(chosen)
    refuse_missing_topics(chosen, (CHANGES, link_log(name)))
    return chosen


def run_sweep(
    *, kafka: str | None, redis: str | None, generation: str | None, repair: bool, as_json: bool
) -> int:
    """`scv sweep`; exit code 3 when something is wrong, 6 when not all of it could be repaired."""
    settings = settings_of_active(kafka, redis, generation)
    began = time.monotonic()
    with _sweep(settings) as sweep:
        counted, found, left = _swept(sweep, repair=repair, quiet=as_json)
    seconds = time.monotonic() - began
    kinds = Counter(one.kind for one in found)
    if as_json:
        say_json(
            {
                "generation": settings.generation,
                "names": counted,
                "findings": dict(kinds),
                "examples": _examples(found),
                "repaired": len(found) - len(left) if repair else 0,
                "left": len(left),
                "seconds": round(seconds, 1),
            }
        )
    else:
        _say(settings, counted, found, left, repair, seconds)
    if not found:
        return Exit.OK
    return (Exit.PARTLY if left else Exit.OK) if repair else Exit.DIFFERENCES


@contextmanager
def _sweep(settings: Settings) -> Iterator[Sweep]:
    from eventlog.producing import LogProducer
    from stores.connection import connect
    from streams.rebuild import assembler_of, store_of
    from streams.sweep import Sweep

    client, store = connect(settings.redis, 30.0), store_of(settings)
    try:
        store.prepare()
        with LogProducer(settings.kafka, client_id="scv-sweep", linger_ms=20) as outlet:
            yield Sweep(client, store, assembler_of(settings, store, outlet), settings.identity_rules)
    finally:
        store.close()
        client.close()


def _swept(sweep: Sweep, *, repair: bool, quiet: bool) -> tuple[int, list[Finding], list[Finding]]:
    """How many names were looked at, what was wrong, what still is."""
    found: list[Finding] = []
    left: list[Finding] = []
    looks: Sequence[tuple[Iterator[list[str]], Callable[[Sequence[Any]], list[Finding]]]] = (
        (sweep.names(), sweep.look_at_names),
        (sweep.keyed(), sweep.look_at_keyed),
        (sweep.profiles(), sweep.look_at_profiles),
    )
    count, known = 0, set[Any]()
    with Progress(f"sweeping {sweep.keys.generation}", 1, "names", quiet=quiet) as progress:
        for portions, look in looks:
            for names in portions:
                new = [one for one in sweep.lasting(look, names) if one not in known]
                known.update(new)
                found += new
                if new and repair:
                    sweep.repair(new)
                    left += sweep.lasting(look, [one.name for one in new])
                count += len(names)
                progress.grow(count + 1)
                progress.update(count)
    return count, found, left if repair else found


def _examples(found: Sequence[Finding]) -> dict[str, list[str]]:
    examples: dict[str, list[str]] = {}
    for one in found:
        named = examples.setdefault(one.kind, [])
        if len(named) < EXAMPLES:
            named.append(one.name)
    return examples


def _say(
    settings: Settings,
    counted: int,
    found: Sequence[Finding],
    left: Sequence[Finding],
    repair: bool,
    seconds: float,
) -> None:
    from ops.portrait import printable

    if not found:
        say(f"{settings.generation}: nothing is wrong ({counted:,} looked at, {seconds:.1f} s)")
        return
    kinds, examples = Counter(one.kind for one in found), _examples(found)
    say(f"{settings.generation}: {len(found):,} wrong ({counted:,} looked at, {seconds:.1f} s)")
    for kind, count in kinds.most_common():
        say(printable(f"  {kind}: {count:,}, as {', '.join(examples[kind])}"))
    if not repair:
        say("Nothing has been changed. `scv sweep --repair` writes it again.")
    elif left:
        say(f"Repaired all but {len(left):,}; `scv rebuild start` builds the view anew from the log.")
    else:
        say("All of it is repaired.")
