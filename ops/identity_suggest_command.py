"""`scv identity suggest`: who may be the same person; candidates for people to look at, or commands at once.

Guarantees:
- Speaks only through `identity.link` commands of the actor `matcher/splink`, the weakest voice there is: it
  obeys every rule, loses against any word of a person, and one `unlink` takes back what one of them did.
- A pair is commanded once, not every night. Candidates are kept after the commands are acknowledged, so that
  a run that breaks off repeats commands, which changes nothing, and forgets none.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from hashlib import sha256
from itertools import islice
from typing import Any, NamedTuple, Protocol

import msgspec

from eventlog.producing import LogProducer
from ops.answers import say, say_json, show
from ops.configured import settings_with
from ops.customer_records import records
from ops.failures import Exit, Failure
from ops.progress import Progress
from ops.suggesting import RECORDS_MAX, RECORDS_MIN, Pair, forest, require_splink, suggest
from stores.candidates import CandidatePair, read_candidates, replace_candidates
from stores.redis_store import RedisStore

ACTOR = "matcher/splink"
SOURCE = "scv/identity-suggest"
# What fits on a screen below the counts; `scv identity candidates` shows all.
PAIRS_SHOWN = 10


class Target(Protocol):
    """Where commands go: `eventlog.producing.LogProducer`."""

    def produce(self, topic: str, key: bytes | None, value: bytes | None) -> None:
        """Hand over one record."""

    def flush(self) -> None:
        """Return when all of them are acknowledged."""


class Suggested(NamedTuple):
    """What a run found: records compared, pairs of customers by weight, and how many were commanded."""

    records: int
    customers: int
    candidates: list[CandidatePair]
    commanded: int


def run_identity_suggest(
    *,
    link_above: float | None,
    redis: str | None,
    kafka: str | None,
    generation: str | None,
    as_json: bool,
) -> int:
    """Compare all customers of a generation, keep the pairs, and command those that are sure enough."""
    from stores.connection import connect
    from stores.reading import ProfileReader

    require_splink()
    settings = settings_with(redis=redis, kafka=kafka, generation=generation)
    if link_above is not None and not 0.5 <= link_above <= 1:
        raise Failure(Exit.USAGE, f"--link-above {link_above}: a probability from 0.5 to 1, such as 0.99")
    began = time.monotonic()
    reader = ProfileReader(settings.redis, generation)
    client = connect(settings.redis)
    # Before the work: a broker that is away should not be found out after it.
    target = None if link_above is None else _connected(settings.kafka)
    try:
        active = reader.active_generation()
        if active is None:
            raise Failure(
                Exit.NOT_FOUND,
                f"{settings.redis_shown}: no view yet; the first `scv worker` makes it",
            )
        store = RedisStore(settings.redis, active, settings.identity_rules.shared_above)
        found = suggest_all(client, store, target, link_above, datetime.now(UTC), quiet=as_json)
        store.close()
        if target is not None:
            target.close()
    finally:
        reader.close()
        client.close()
    seconds = round(time.monotonic() - began, 3)
    if as_json:
        say_json(_as_json(found, seconds))
    else:
        _tell(found, seconds, link_above)
    return Exit.OK


def _connected(bootstrap: str) -> LogProducer:
    from eventlog.admin import describe_topics
    from eventlog.topics import COMMANDS

    if COMMANDS not in describe_topics(bootstrap):
        raise Failure(Exit.NOT_FOUND, f"{bootstrap}: no topic {COMMANDS}; run `scv topics create`")
    return LogProducer(bootstrap, client_id="scv-suggest")


def suggest_all(
    client: Any,
    store: RedisStore,
    target: Target | None,
    link_above: float | None,
    now: datetime,
    *,
    quiet: bool = True,
) -> Suggested:
    """Compare all customers of a generation; command what is sure enough, then keep the candidates."""
    # One more than `suggest` takes, for it to say so.
    people = list(islice(records(client, store), RECORDS_MAX + 1))
    customers = {one.id: one.customer or one.id for one in people}
    with Progress("comparing", 1, "steps", quiet=quiet) as progress:

        def told(done: int, total: int) -> None:
            progress.grow(total)
            progress.update(done)

        pairs = suggest(people, told)
    at = now.isoformat(timespec="seconds").replace("+00:00", "Z")
    candidates = _candidates(pairs, customers, read_candidates(client, store.keys), at)
    commanded = 0
    if target is not None and link_above is not None:
        for pair in forest(pairs, link_above, customers):
            between = _between(pair, customers)
            if candidates[between].linked_at is None:
                target.produce(*link_command(pair, at))
                candidates[between] = msgspec.structs.replace(candidates[between], linked_at=at)
                commanded += 1
        target.flush()
    replace_candidates(client, store.keys, candidates.values())
    return Suggested(len(people), len(set(customers.values())), list(candidates.values()), commanded)


def _between(pair: Pair, customers: Mapping[str, str]) -> tuple[str, str]:
    one, other = sorted((customers[pair.a], customers[pair.b]))
    return one, other


def _candidates(
    pairs: Iterable[Pair], customers: Mapping[str, str], earlier: Mapping[str, CandidatePair], at: str
) -> dict[tuple[str, str], CandidatePair]:
    """Per two customers what is most alike of them, in the order of the pairs: the likeliest come first."""
    found: dict[tuple[str, str], CandidatePair] = {}
    for pair in pairs:
        between = _between(pair, customers)
        if between not in found:
            one = CandidatePair(
                *between, pair.a, pair.b, round(pair.weight, 2), round(pair.probability, 6), ACTOR, at
            )
            if (before := earlier.get(one.field)) is not None:
                one = msgspec.structs.replace(one, seen_at=before.seen_at, linked_at=before.linked_at)
            found[between] = one
    return found


def link_command(pair: Pair, at: str) -> tuple[str, bytes, bytes]:
    """Topic, key and value of the command that two subjects belong together; `at` in RFC 3339."""
    from eventlog.topics import COMMANDS

    event = {
        "specversion": "1.0",
        "id": sha256(f"{pair.a}|{pair.b}|{at}".encode()).hexdigest()[:32],
        "source": SOURCE,
        "type": "identity.link",
        "time": at,
        "subject": pair.a,
        "data": {
            "subject": pair.a,
            "other": pair.b,
            "actor": ACTOR,
            "reason": f"match weight {pair.weight:+.1f}, probability {pair.probability:.4f}",
        },
    }
    return COMMANDS, pair.a.encode(), msgspec.json.encode(event)


def _as_json(found: Suggested, seconds: float) -> dict[str, Any]:
    return {
        "records": found.records,
        "customers": found.customers,
        "candidates": len(found.candidates),
        "commanded": found.commanded,
        "seconds": seconds,
        "best": [msgspec.to_builtins(one) for one in found.candidates[:PAIRS_SHOWN]],
    }


def _tell(found: Suggested, seconds: float, link_above: float | None) -> None:
    from rich.table import Table

    if found.candidates:
        table = Table("one", "other", "weight", "probability", "linked", title_justify="left")
        for one in found.candidates[:PAIRS_SHOWN]:
            table.add_row(one.a, one.b, f"{one.weight:+.1f}", f"{one.probability:.4f}", one.linked_at or "")
        show(table)
    if found.records < RECORDS_MIN:
        say(f"{found.records} records are too few to learn from how people differ; {RECORDS_MIN} would do")
    done = (
        "none linked: see `scv identity candidates`, or run again with --link-above 0.99"
        if link_above is None
        else f"{found.commanded:,} links commanded"
    )
    compared = f"{found.records:,} records of {found.customers:,} customers compared in {seconds:.1f} s"
    say(f"{compared}, {len(found.candidates):,} candidates, {done}")
