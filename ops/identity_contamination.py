"""`scv identity contamination`: after a wrong merge, who may have seen what of whom.

Invariants:
- Reads only: the merges and change notices from Kafka, the parts from Redis.
- What compaction may have taken away is said, not guessed: published versions are "at least".
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Annotated, Any

import msgspec

from models.catalogue import CHANGES_TOPIC, MERGES_TOPIC, link_topic
from models.link import read_link_fact
from models.record import Record
from models.settings import Settings
from ops.answers import say, say_json
from ops.configured import settings_with
from ops.failures import Exit, Failure
from ops.identity_holdings import SubjectHolding, holdings
from ops.identity_turns import Holding, TurnRecord, holding, read_turn, whole, with_late
from ops.identity_view import GraphView, graph_view
from ops.progress import Progress
from projections.instants import rfc3339

# Compaction leaves one notice of a customer; before it ran there may be many: those of a busy day.
NOTICES_MAX = 100_000
# A terminal is no place for more; --json has all.
NOTICES_TOLD = 20
SUBJECTS_TOLD = 20


class Notice(msgspec.Struct, frozen=True):
    """A profile version that was published, and when its change notice was logged."""

    customer_id: str
    version: str
    at: str


class Side(msgspec.Struct, frozen=True):
    """A customer from before the merge, and what its profile showed of the others while the merge held."""

    customer_id: str
    founder: str
    members: list[str]
    saw: list[SubjectHolding]


def run_identity_contamination(
    merge: str, *, kafka: str | None, redis: str | None, generation: str | None, as_json: bool
) -> int:
    """Tell what a merge did; exit code 4 when there is none of this id."""
    settings = settings_with(kafka=kafka, redis=redis, generation=generation)
    with graph_view(settings, generation) as view:
        turns = _turns(settings, view.keys.generation, quiet=as_json)
        record = _merge(merge, turns, settings, view.keys.generation)
        found = holding(record, turns.values())
        if not found.complete:
            turns |= _whole(settings, view, turns, record, quiet=as_json)
            record = turns[merge]
            found = holding(record, turns.values())
        if found.ended_by is None:
            found = _with_late(found, record, view)
        notices, more = _notices(settings, found, view.keys.generation, quiet=as_json)
        sides, joined = _sides(record, found, view)
    told = _as_told(record, found, notices, more)
    told |= {"sides": sides, "joined": joined}
    if as_json:
        say_json(told)
    else:
        _tell(msgspec.json.decode(msgspec.json.encode(told)))
    return Exit.OK


def _records(settings: Settings, topic: str, label: str, *, quiet: bool) -> Iterator[Record]:
    """A whole topic up to now, with progress."""
    from eventlog.reading import ranges_up_to, read_batches

    ranges = ranges_up_to(settings.kafka, [topic])
    total, done = sum(end - start for start, end in ranges.values()), 0
    with Progress(label, total, "records", quiet=quiet) as progress:
        for batch in read_batches(settings.kafka, ranges):
            yield from batch
            done += len(batch)
            progress.update(done)


def _turns(settings: Settings, generation: str, *, quiet: bool) -> dict[str, TurnRecord]:
    found = (read_turn(one.value) for one in _records(settings, MERGES_TOPIC, "reading merges", quiet=quiet))
    return {one.id: one for one in found if one is not None and one.data.generation == generation}


def _whole(
    settings: Settings, view: GraphView, turns: dict[str, TurnRecord], merge: TurnRecord, *, quiet: bool
) -> dict[str, TurnRecord]:
    """The turns from this merge on whose records leave members out, from the facts that made them."""
    cut = {
        name: one
        for name, one in turns.items()
        if one.data.truncated and one.data.position >= merge.data.position
    }
    records = _records(settings, link_topic(view.keys.generation), "reading link facts", quiet=quiet)
    facts = ((one.offset + 1, read_link_fact(one.value)) for one in records)
    return whole(((at, fact) for at, fact in facts if fact is not None), view.rules, cut)


def _merge(merge: str, turns: dict[str, TurnRecord], settings: Settings, generation: str) -> TurnRecord:
    record = turns.get(merge)
    if record is None:
        raise Failure(
            Exit.NOT_FOUND,
            f"{settings.kafka}: {MERGES_TOPIC} has no {merge!r} of generation {generation}; "
            "`scv identity contamination` wants the id of a record there, mrg_…",
        )
    if record.data.kind not in ("merged", "regrouped"):
        raise Failure(
            Exit.USAGE, f"{merge!r} has {record.data.kind} customers, nobody saw more by that; name a merge"
        )
    return record


def _with_late(found: Holding, merge: TurnRecord, view: GraphView) -> Holding:
    """Who has joined a merge that still holds: whoever came alone is in no record, only in the graph."""
    nodes = view.nodes()
    placements = [nodes[one.founder].placement for one in found.spans if one.until is None]
    return with_late(found, merge, (one.members for one in placements if one is not None))


def _notices(
    settings: Settings, found: Holding, generation: str, *, quiet: bool
) -> tuple[list[Notice], bool]:
    """The versions that were published of the merged customer while it was one, in the order of the log."""
    wanted = {one.customer_id.encode() for one in found.spans}
    notices: list[Notice] = []
    for record in _records(settings, CHANGES_TOPIC, "reading change notices", quiet=quiet):
        told = _notice(record) if record.key in wanted else None
        if told is None or told.generation != generation or told.state != "live":
            continue
        if found.held(told.customer_id, int(told.version.partition(".")[0])):
            if len(notices) == NOTICES_MAX:
                return notices, True
            at = rfc3339(max(record.timestamp_ms, 0) * 1_000)
            notices.append(Notice(told.customer_id, told.version, at))
    # All notices of a customer are in one lane, in order; a version may be told again after a crash.
    return list({(one.customer_id, one.version): one for one in notices}.values()), False


class _Told(msgspec.Struct):
    customer_id: str
    generation: str
    version: Annotated[str, msgspec.Meta(pattern=r"^[0-9]{1,16}\.[0-9]{1,16}\Z")]
    state: str


_told = msgspec.json.Decoder(_Told).decode


def _notice(record: Record) -> _Told | None:
    """What a record of the topic says; None for what only compaction or somebody else has left there."""
    try:
        return None if record.value is None else _told(record.value)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def _sides(merge: TurnRecord, found: Holding, view: GraphView) -> tuple[list[Side], list[dict[str, Any]]]:
    """Each customer from before with what it saw, and who joined without belonging to one side by now."""
    groups = merge.data.before
    members = [
        [*group.members, *(one for one, at in found.joined.items() if at == side)]
        for side, group in enumerate(groups)
    ]
    held = holdings(
        view.store, list(dict.fromkeys([*(one for mine in members for one in mine), *found.joined]))
    )
    sides = [
        Side(
            group.customer_id,
            group.founder,
            members[side],
            [held[one] for one in _seen_by(side, members[side], found)],
        )
        for side, group in enumerate(groups)
    ]
    return sides, [msgspec.to_builtins(held[one]) for one, side in found.joined.items() if side is None]


def _seen_by(side: int, own: Iterable[str], found: Holding) -> list[str]:
    """Whom a side saw of the others; those who belong to none are told once for all."""
    undecided = {one for one, at in found.joined.items() if at is None}
    return sorted(found.saw[side].difference(own, undecided))


def _as_told(merge: TurnRecord, found: Holding, notices: list[Notice], more: bool) -> dict[str, Any]:
    end = found.ended_by
    return {
        "merge": {
            "id": merge.id,
            "kind": merge.data.kind,
            "rule": merge.data.rule,
            "generation": merge.data.generation,
            "position": merge.data.position,
            "at": merge.time,
            "edges": merge.data.edges,
        },
        "until": None
        if end is None
        else {"id": end.id, "rule": end.data.rule, "position": end.data.position, "at": end.time},
        "customers": found.spans,
        "complete": found.complete,
        "published": {"at_least": len(notices), "more": more, "notices": notices},
    }


def _tell(told: dict[str, Any]) -> None:
    from ops.portrait import printable

    told = printable(told)
    merge, until = told["merge"], told["until"]
    say(f"{merge['id']}: {merge['kind']} at {merge['at']} (position {merge['position']:,}), {merge['rule']}")
    for edge in merge["edges"]:
        said = f", {edge['actor']}: “{edge['reason'] or ''}”" if edge["actor"] else ""
        say(f"   {edge['subject']} – {edge['other']}: {edge['status']}, {edge['strength']}{said}")
    if until is None:
        say("It still holds.")
    else:
        say(f"It held until {until['at']} (position {until['position']:,}), {until['rule']}: {until['id']}")
    for span in told["customers"]:
        last = "now" if span["until"] is None else f"position {span['until']:,}"
        say(f"   as {span['customer_id']}, from position {span['since']:,} to {last}")
    _tell_published(told["published"])
    for side in told["sides"]:
        say(f"{side['customer_id']}, first known as {side['founder']}, saw of the others:")
        _tell_holdings(side["saw"])
    if told["joined"]:
        say("Joined while it held, and belong to no side alone:")
        _tell_holdings(told["joined"])
    if not told["complete"]:
        say("Not all members are told: merges name the first of great many, and the rules are others by now.")
    say("Records and sections are those of now; what was folded since is among them.")


def _tell_published(published: dict[str, Any]) -> None:
    notices = published["notices"]
    if not notices:
        say("No notice of a version is left from that time; compaction keeps the latest of each customer.")
        return
    count = published["at_least"]
    least = "1 version" if count == 1 else f"{count:,}{' and more' if published['more'] else ''} versions"
    say(f"Published meanwhile, at least {least} (compaction keeps the latest of each customer):")
    for notice in notices[-NOTICES_TOLD:]:
        say(f"   {notice['at']}  {notice['customer_id']}  version {notice['version']}")
    if len(notices) > NOTICES_TOLD:
        say(f"   and {len(notices) - NOTICES_TOLD:,} before these; --json has them")


def _tell_holdings(held: list[dict[str, Any]]) -> None:
    for one in held[:SUBJECTS_TOLD]:
        known = ", ".join(one["identifiers"]) or "no identifiers"
        say(f"   {one['subject']}  {one['display_name'] or 'no name'}; {known}")
        for lane in one["lanes"]:
            records = "1 record" if lane["records"] == 1 else f"{lane['records']:,} records"
            say(f"      {lane['lane']}: {records}; {', '.join(lane['sections']) or 'nothing yet'}")
    if len(held) > SUBJECTS_TOLD:
        say(f"   and {len(held) - SUBJECTS_TOLD:,} more; --json has them")
