"""`scv identity dry-run`: what other rules would do to the customers there are, on the real link log.

Invariants:
- Reads the log and two files, changes nothing; both graphs are built in memory from the same facts.
- What the link log cannot tell under other rules is said, not guessed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from heapq import nsmallest
from pathlib import Path
from typing import Any

import msgspec

from models.link import LinkFact, read_link_fact
from models.rules import IdentityRules, RulesError, read_rules
from models.settings import Settings
from ops.answers import say, say_json
from ops.configured import settings_with
from ops.failures import Exit, Failure
from ops.identity_compare import Difference, EdgeTurn, Standing, customers, differences, explained, under
from ops.identity_view import active_generation
from ops.progress import Progress
from projections.graph import Graph, build

Facts = list[tuple[int, LinkFact]]
# With both graphs a fact takes about 2.4 kB: 24 GB.
FACTS_MAX = 10_000_000
KINDS = {
    "merged": "would merge with others",
    "split": "would split",
    "exchanged": "would exchange members",
    "renamed": "would keep their members and get another id",
}


def run_identity_dry_run(
    rules: Path,
    *,
    limit: int,
    kafka: str | None,
    redis: str | None,
    generation: str | None,
    as_json: bool,
) -> int:
    """Compare the customers of two rules; exit code 3 when they differ."""
    settings = settings_with(kafka=kafka, redis=redis, generation=generation)
    current = settings.identity_rules
    try:
        new = read_rules(rules)
    except RulesError as error:
        raise Failure(Exit.USAGE, *error.lines) from None
    active = generation or active_generation(settings)
    facts = _read(settings, active, quiet=as_json)
    before = _built(facts, current, "under the rules of now", quiet=as_json)
    then = [(at, heard) for at, fact in facts if (heard := under(fact, new)) is not None]
    after = _built(then, new, "under the new rules", quiet=as_json)
    told = _compared(before, after, limit)
    told = {"generation": active, "facts": len(facts), **told, "not_seen": not_seen(current, new)}
    if as_json:
        say_json(told)
    else:
        _tell(told)
    return Exit.DIFFERENCES if told["differences"] else Exit.OK


def _read(settings: Settings, generation: str, *, quiet: bool) -> Facts:
    from eventlog.admin import describe_topics
    from eventlog.reading import ranges_up_to, read_batches
    from eventlog.topics import link_log

    if link_log(generation) not in describe_topics(settings.kafka):
        raise Failure(
            Exit.NOT_FOUND,
            f"{settings.kafka}: no generation {generation} there (no topic {link_log(generation)})",
        )
    ranges = ranges_up_to(settings.kafka, [link_log(generation)])
    total = sum(end - start for start, end in ranges.values())
    if total > FACTS_MAX:
        raise Failure(
            Exit.REFUSED,
            f"{link_log(generation)} has {total:,} facts; more than {FACTS_MAX:,} do not fit here",
        )
    facts: Facts = []
    done = 0
    with Progress("reading the link log", total, "facts", quiet=quiet) as progress:
        for batch in read_batches(settings.kafka, ranges):
            for record in batch:
                fact = read_link_fact(record.value)
                if fact is not None:
                    facts.append((record.offset + 1, fact))
            done += len(batch)
            progress.update(done)
    return facts


def _built(facts: Facts, rules: IdentityRules, label: str, *, quiet: bool) -> Graph:
    with Progress(label, len(facts), "facts", quiet=quiet) as progress:

        def counted() -> Iterator[tuple[int, LinkFact]]:
            for done, fact in enumerate(facts):
                if done % 1_000 == 0:
                    progress.update(done)
                yield fact

        return build(counted(), rules)


def _compared(current: Graph, new: Graph, limit: int) -> dict[str, Any]:
    before, after = customers(current), customers(new)
    counts: Counter[str] = Counter()
    subjects = 0
    found = []
    for one in differences(before, after):
        kind, moved, overlap = one
        counts[kind] += len(overlap.before)
        subjects += moved
        found.append(one)
    worst = nsmallest(limit, found, key=lambda one: (-one[1], one[2].before))
    return {
        "customers_before": len(before),
        "customers_after": len(after),
        **{kind: counts[kind] for kind in KINDS},
        "differences": len(found),
        "subjects_moved": subjects,
        "worst": [explained(one, current, new, before, after) for one in worst],
    }


def not_seen(current: IdentityRules, new: IdentityRules) -> list[str]:
    """What a change of these rules does beyond what the link log holds: only a new generation shows it."""
    kinds = {*current.identifiers, *new.identifiers}
    forms = sorted(kind for kind in kinds if current.identifier(kind).form != new.identifier(kind).form)
    told = [
        f"{kind}: values are in the form {current.identifier(kind).form!r} already; what {kind} looked like "
        "before is not in the link log"
        for kind in forms
    ]
    namespaces = {*current.subjects, *new.subjects}
    if any(current.region_of(name) != new.region_of(name) for name in (*namespaces, "")):
        told.append("region: phones without a + were read in the region of now")
    blocked_now = {*current.blocked.values} - {*current.blocked.allowed}
    blocked_then = {*new.blocked.values} - {*new.blocked.allowed}
    if blocked_now - blocked_then or {*current.blocked.mailboxes} - {*new.blocked.mailboxes}:
        told.append("blocked: values that are blocked now never came into the link log")
    return told


def _tell(told: dict[str, Any]) -> None:
    from ops.portrait import printable

    say(
        f"generation {told['generation']}, {told['facts']:,} facts: "
        f"{told['customers_before']:,} customers now, {told['customers_after']:,} under the new rules"
    )
    for kind, words in KINDS.items():
        if told[kind]:
            say(f"  {told[kind]:>9,} {words}")
    for words in told["not_seen"]:
        say(f"Not in these figures: {words}.")
    if not told["differences"]:
        say("nothing would change")
        return
    say(f"{told['subjects_moved']:,} subjects would change company. The worst, by subjects moved:")
    for number, worst in enumerate(told["worst"], 1):
        one = msgspec.convert(printable(msgspec.json.decode(msgspec.json.encode(worst))), Difference)
        say(f"{number}. {one.kind}, {one.moved} moved")
        for label, side in (("now", one.before), ("then", one.after)):
            for standing in side[:5]:
                say(f"   {label:>4}  {_standing_told(standing)}")
            if len(side) > 5:
                say(f"   {label:>4}  … and {len(side) - 5} more customers")
        for edge in one.edges:
            say(f"         {_edge_told(edge)}")


def _standing_told(standing: Standing) -> str:
    named = ", ".join(standing.members[:8])
    more = f" and {standing.size - 8} more" if standing.size > 8 else ""
    return f"{standing.customer_id}  {named}{more}"


def _edge_told(edge: EdgeTurn) -> str:
    return f"{edge.subject} – {edge.other}: {edge.before} → {edge.after} ({edge.strength})"
