"""`scv events show` and `tail`: the log as it is, filtered.

Invariants:
- Records are shown as written, read as workers read them: what is no event is shown with its fault.
- Personal data is not masked, as with `scv inspect`.
- Memory is bounded by what is shown: of a range, the newest `--limit` are kept.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from heapq import heappush, heappushpop
from typing import TYPE_CHECKING, Any

from ops.answers import say, say_json
from ops.configured import settings_with
from ops.failures import Exit, Failure
from ops.progress import Progress
from ops.when import from_to, shown_ms

if TYPE_CHECKING:
    from models.record import Lane, Record
    from models.settings import Settings

# What a record's timestamp can mean: 1970 to 9999.
GREATEST_MS = 253_402_300_799_999


class Wanted:
    """Which records are asked for."""

    def __init__(
        self,
        topics: Sequence[str],
        types: str | None,
        keys: frozenset[bytes] | None = None,
        lanes: frozenset[Lane] | None = None,
        from_ms: int | None = None,
        to_ms: int | None = None,
    ) -> None:
        self.topics, self.types, self.keys, self.lanes = topics, types, keys, lanes
        self.from_ms, self.to_ms = from_ms, to_ms

    @property
    def all(self) -> bool:
        """Whether every record of the ranges is wanted."""
        return self.types is None and self.keys is None and self.from_ms is None and self.to_ms is None

    def has(self, record: Record) -> bool:
        """Whether this one is, as far as can be said without reading it."""
        at_ms = record.timestamp_ms
        return (
            (self.keys is None or record.key in self.keys)
            and (self.from_ms is None or at_ms >= self.from_ms)
            and (self.to_ms is None or at_ms < self.to_ms)
        )

    def shown(self, record: Record) -> dict[str, Any] | None:
        """The record as JSON has it; None when it is not asked for."""
        if not self.has(record):
            return None
        told = described(record)
        return told if self.types is None or fnmatchcase(told["type"] or "", self.types) else None


def run_show(
    *,
    customer: str | None,
    types: str | None,
    topics: Sequence[str] | None,
    from_: str | None,
    to: str | None,
    limit: int,
    kafka: str | None,
    redis: str | None,
    generation: str | None,
    as_json: bool,
) -> int:
    """The newest events of a range; exit code 4 when there are none."""
    from eventlog.ends import time_ranges
    from eventlog.reading import read_batches

    settings = settings_with(kafka=kafka, redis=redis, generation=generation)
    from_ms, to_ms = from_to(from_, to, datetime.now(UTC))
    wanted = wanted_of(settings, customer, types, topics, generation, from_ms, to_ms)
    ranges = {
        lane: span
        for lane, span in time_ranges(settings.kafka, wanted.topics, from_ms, to_ms).items()
        if wanted.lanes is None or lane in wanted.lanes
    }
    if wanted.all:
        # Markers of transactions take offsets, so this may be fewer than there are: the lane's order holds.
        ranges = {lane: (max(start, end - 2 * limit), end) for lane, (start, end) in ranges.items()}
    kept: list[tuple[int, str, int, int, dict[str, Any]]] = []
    with Progress("reading", sum(end - start for start, end in ranges.values()), "records") as progress:
        done = 0
        for batch in read_batches(settings.kafka, ranges):
            for record in batch:
                if (told := wanted.shown(record)) is None:
                    continue
                entry = (record.timestamp_ms, record.topic, record.partition, record.offset, told)
                if len(kept) < limit:
                    heappush(kept, entry)
                else:
                    heappushpop(kept, entry)
            done += len(batch)
            progress.update(done)
    if not kept and not as_json:
        raise Failure(Exit.NOT_FOUND, f"{settings.kafka}: no such events in {', '.join(wanted.topics)}")
    for *_, told in sorted(kept, key=lambda one: one[:4]):
        tell(told, as_json=as_json)
    return Exit.OK if kept else Exit.NOT_FOUND


def run_tail(
    *,
    customer: str | None,
    types: str | None,
    topics: Sequence[str] | None,
    limit: int | None,
    kafka: str | None,
    redis: str | None,
    generation: str | None,
    as_json: bool,
) -> int:
    """Events as they come; ends by Ctrl-C, or after `limit`."""
    from eventlog.live import follow

    settings = settings_with(kafka=kafka, redis=redis, generation=generation)
    wanted = wanted_of(settings, customer, types, topics, generation)
    told_count, follows = 0, False
    for batch in follow(settings.kafka, wanted.topics, wanted.lanes if customer is None else None):
        if not follows:
            follows = True
            print(f"following {', '.join(wanted.topics)}; Ctrl-C ends it", file=sys.stderr, flush=True)
        for record in batch:
            if (told := wanted.shown(record)) is None:
                continue
            tell(told, as_json=as_json)
            told_count += 1
            if told_count == limit:
                return Exit.OK
    return Exit.OK


def wanted_of(
    settings: Settings,
    customer: str | None,
    types: str | None,
    topics: Sequence[str] | None,
    generation: str | None,
    from_ms: int | None = None,
    to_ms: int | None = None,
) -> Wanted:
    """What the options ask for. Failure for a topic without events, a customer that is nobody or several."""
    from models.catalogue import COMMAND_TOPIC, DOMAIN_TOPICS

    known = (*DOMAIN_TOPICS, COMMAND_TOPIC)
    if unknown := [topic for topic in topics or () if topic not in known]:
        raise Failure(Exit.USAGE, f"--topic {unknown[0]}: no topic of events; there are: {', '.join(known)}")
    chosen = tuple(dict.fromkeys(topics or ())) or _topics_of(types, known)
    if customer is None:
        return Wanted(chosen, types, None, None, from_ms, to_ms)
    subjects, lanes = subjects_of(settings, customer, generation)
    keys = frozenset(subject.encode() for subject in subjects)
    return Wanted(chosen, types, keys, lanes, from_ms, to_ms)


def _topics_of(types: str | None, known: Sequence[str]) -> tuple[str, ...]:
    """The topics that carry types of this pattern; all where no model has such a type."""
    from models.catalogue import types_of

    if types is None:
        return tuple(known)
    found = tuple(topic for topic in known if any(fnmatchcase(name, types) for name in types_of(topic)))
    return found or tuple(known)


def subjects_of(
    settings: Settings, name: str, generation: str | None
) -> tuple[tuple[str, ...], frozenset[Lane] | None]:
    """The subjects of the customer that a name means, and the lanes that may hold records of them.

    None for the lanes: any may. A subject that the view does not know yet stands for itself.
    """
    from api.lookup import lookup
    from models.catalogue import COMMAND_TOPIC
    from models.identifiers import split_name
    from models.record import Lane
    from stores.reading import ProfileReader
    from stores.redis_store import RedisStore

    rules = settings.identity_rules
    reader = ProfileReader(settings.redis, generation)
    try:
        answer = lookup(reader, [name], rules, ())
        active = reader.active_generation()
    finally:
        reader.close()
    if answer.match == "ambiguous":
        ids = ", ".join(one["customer_id"] for one in answer.candidates)
        raise Failure(Exit.NOT_FOUND, f"{name!r} is known of several customers: choose one of {ids}")
    if answer.profile is None or active is None:
        named = split_name(name)
        if named is not None and named[0] not in rules.identifiers:
            return (name,), None
        raise Failure(Exit.NOT_FOUND, f"{settings.redis_shown}: nobody is known as {name!r}")
    founder = answer.profile["founder"]
    store = RedisStore(settings.redis, active, rules.shared_above)
    try:
        ((membership, _),) = store.members([founder])
        members = membership.members if membership is not None and membership.members else (founder,)
        lanes = frozenset(lane for found in store.lanes(members) for lane in found)
    finally:
        store.close()
    # Commands make no parts, so no subject's lanes name theirs.
    return tuple(members), lanes | {Lane(COMMAND_TOPIC, 0)}


def described(record: Record) -> dict[str, Any]:
    """A record as JSON has it: where and when, the event, what is wrong with it if anything is."""
    from models.careful import envelope_of, read
    from models.dead_letter import Fault
    from models.letters import REDRIVEN_HEADER
    from models.titles import title_of
    from projections.instants import rfc3339

    envelope = envelope_of(record.value, record.headers)
    log_us = min(max(record.timestamp_ms, 0), GREATEST_MS) * 1_000
    found = read(record.topic, record.key, record.value, record.headers, log_us)
    event = None if isinstance(envelope, Fault) else envelope
    fault = found if isinstance(found, Fault) else None
    wire_type = event.get("type") if event else None
    redriven = dict(record.headers).get(REDRIVEN_HEADER)
    return {
        "position": f"{record.lane}@{record.offset}",
        "logged_at": rfc3339(log_us),
        "occurred_at": None if isinstance(found, Fault) else rfc3339(found.occurred_us),
        "key": None if record.key is None else record.key.decode(errors="replace"),
        "type": wire_type if isinstance(wire_type, str) else None,
        "title": None if isinstance(found, Fault) else title_of(found.type)(found.data),
        "redriven": redriven and redriven.decode(errors="replace"),
        "fault": fault and {"reason": fault.reason, "pointer": fault.pointer, "detail": fault.detail},
        "event": event,
    }


def tell(told: dict[str, Any], *, as_json: bool) -> None:
    """One line for a record."""
    from ops.portrait import printable

    if as_json:
        say_json(told)
        return
    at = shown_ms(int(datetime.fromisoformat(told["logged_at"]).timestamp() * 1_000))
    fault = told["fault"]
    what = (
        told["title"]
        if fault is None
        else f"no event: {fault['reason']} {fault['pointer']} {fault['detail']}"
    )
    line = f"{at}  {told['position']:<24} {told['key'] or '-':<20} {told['type'] or '-':<28} {what}"
    say(printable(line))
