"""`scv rebuild status`, `pause`, `resume` and `drop`: where generations stand, and how one goes.

Invariants:
- `status` changes nothing. What it says of a stage in progress is a second old at most, or it says that
  nobody is at it.
- The active generation is never dropped, and none that somebody is at.
"""

from __future__ import annotations

import time
from typing import Any

from eventlog.generations import generations_of, number_of
from eventlog.topics import link_log
from models.catalogue import SOURCES
from models.record import Lane
from models.settings import Settings
from ops.answers import say, say_json, show
from ops.configured import settings_with
from ops.failures import Exit, Failure
from ops.progress import Progress
from ops.rebuild_start import rebuilds_of, resume_command
from ops.working import refuse_unfit_store
from stores.generations import WORKING, Stand, stands_of
from stores.rebuilding import Rebuilds, State


def survey(settings: Settings, rebuilds: Rebuilds) -> list[Stand]:
    """Where all generations stand, in order."""
    from eventlog.ends import lane_ends

    held, active = generations_of(settings.kafka), rebuilds.active()
    names = sorted({*held, *([active] if active else [])}, key=number_of)
    topics = [*SOURCES, *(link_log(one) for one in held)]
    ends = {Lane(*lane): found.end for lane, found in lane_ends(settings.kafka, topics).items()}
    return stands_of(settings.redis, rebuilds, names, active, ends)


def run_rebuild_status(*, kafka: str | None, redis: str | None, generation: str | None, as_json: bool) -> int:
    """`scv rebuild status`."""
    settings = settings_with(kafka=kafka, redis=redis)
    refuse_unfit_store(settings)
    with rebuilds_of(settings) as rebuilds:
        stands = survey(settings, rebuilds)
        active = rebuilds.active()
    if generation is not None:
        stands = [one for one in stands if one.generation == generation]
        if not stands:
            raise Failure(Exit.NOT_FOUND, f"{settings.redis_shown}: no generation {generation}")
    if as_json:
        say_json({"active": active, "generations": [_json(one, active) for one in stands]})
        return Exit.OK
    for one in stands:
        _say(settings, one, active)
    if generation is not None:
        _show_lanes(stands[0])
    return Exit.OK


def _json(stand: Stand, active: str | None) -> dict[str, Any]:
    rebuild = stand.rebuild
    told: dict[str, Any] = {
        "generation": stand.generation,
        "active": stand.generation == active,
        "state": stand.state,
        "behind_records": stand.behind,
        "process": stand.holder,
    }
    if rebuild is not None:
        told |= {
            "done": rebuild.done,
            "total": rebuild.total,
            "per_second": rebuild.per_second,
            "eta_seconds": None if stand.eta_seconds is None else round(stand.eta_seconds, 1),
            "paused": rebuild.paused,
            "subjects": rebuild.subjects,
        }
    told["lanes"] = [{**one._asdict(), "lane": str(one.lane)} for one in stand.lanes]
    return told


def _say(settings: Settings, stand: Stand, active: str | None) -> None:
    mark, rebuild = " (active)" if stand.generation == active else "", stand.rebuild
    line = f"{stand.generation}{mark}: {stand.state}"
    if rebuild is not None and rebuild.state in WORKING:
        share = 100 * rebuild.done // max(rebuild.total, 1)
        line += f", {rebuild.done:,} of {rebuild.total:,} ({share} %)"
        if rebuild.paused:
            line += ", paused: `scv rebuild resume`"
        elif stand.holder is None:
            line += f"; nobody is at it: {resume_command(_named(settings, stand.generation))}"
        else:
            line += (
                f", {rebuild.per_second:,.0f}/s, about {stand.eta_seconds or 0:,.0f} s left ({stand.holder})"
            )
    else:
        line += f", {stand.behind:,} records behind the log"
    say(line)


def _named(settings: Settings, generation: str) -> Settings:
    return settings.model_copy(update={"generation": generation})


def _show_lanes(stand: Stand) -> None:
    from rich.table import Table

    table = Table("lane", box=None)
    for name in ("folded", "assembled", "ends at"):
        table.add_column(name, justify="right")
    for one in stand.lanes:
        table.add_row(str(one.lane), f"{one.folded:,}", f"{one.assembled:,}", f"{one.end:,}")
    show(table)


def unfinished(rebuilds: Rebuilds, held: list[str], generation: str | None) -> str:
    """The generation meant: the one named, else the only one that is being rebuilt. Failure."""
    active = rebuilds.active()
    found = [one for one in held if one != active and rebuilds.get(one) is not None]
    if generation is not None:
        if generation not in held and rebuilds.shape(generation) is None:
            raise Failure(Exit.NOT_FOUND, f"no generation {generation}; `scv rebuild status` lists them")
        return generation
    if len(found) != 1:
        raise Failure(
            Exit.NOT_FOUND if not found else Exit.USAGE,
            "no rebuild; `scv rebuild start` begins one"
            if not found
            else f"{', '.join(found)}: say which by --generation",
        )
    return found[0]


def run_rebuild_pause(
    *, paused: bool, kafka: str | None, redis: str | None, generation: str | None, as_json: bool
) -> int:
    """`scv rebuild pause` and `resume`."""
    settings = settings_with(kafka=kafka, redis=redis)
    refuse_unfit_store(settings)
    with rebuilds_of(settings) as rebuilds:
        name = unfinished(rebuilds, generations_of(settings.kafka), generation)
        rebuild = rebuilds.get(name)
        if rebuild is None or rebuild.state not in WORKING:
            raise Failure(Exit.REFUSED, f"{name} is not being built; there is nothing to pause")
        rebuilds.update(name, paused=paused)
        holder = rebuilds.holder(name)
    if as_json:
        say_json({"generation": name, "paused": paused, "process": holder})
        return Exit.OK
    if paused:
        say(f"{name} pauses within seconds; `scv rebuild resume` lets it go on")
    elif holder is None:
        say(f"{name} is not paused; nobody is at it: {resume_command(_named(settings, name))}")
    else:
        say(f"{name} goes on ({holder})")
    return Exit.OK


def run_rebuild_drop(
    generation: str, *, kafka: str | None, redis: str | None, execute: bool, as_json: bool
) -> int:
    """`scv rebuild drop`."""
    from eventlog.admin import delete_topics, group_members

    settings = settings_with(kafka=kafka, redis=redis, generation=generation)
    refuse_unfit_store(settings)
    topic = link_log(generation)
    with rebuilds_of(settings) as rebuilds:
        _refuse_drop(settings, rebuilds, generation)
        if (members := group_members(settings.kafka, f"scv-{generation}")) and execute:
            raise Failure(
                Exit.REFUSED, f"{generation}: {members} workers still follow the log with it; stop them first"
            )
        if not execute:
            if as_json:
                say_json({"generation": generation, "topic": topic, "workers": members, "executed": False})
            else:
                say(f"All keys of {generation} would be removed from {settings.redis_shown},")
                say(f"and the topic {topic} from {settings.kafka}, for good.")
                say("Nothing has been changed. With --execute they are.")
            return Exit.OK
        # From now on nobody can promote it or go on with it, and a drop that is killed can be begun again.
        rebuilds.update(generation, state=State.DROPPING)
        delete_topics(settings.kafka, [topic])
        began, count = time.monotonic(), 0
        with Progress(f"removing {generation}", 1, "keys", quiet=as_json) as progress:
            for count in rebuilds.drop(generation):
                progress.grow(count + 1)
                progress.update(count)
    if as_json:
        say_json({"generation": generation, "topic": topic, "keys": count, "executed": True})
    else:
        say(f"{generation} is gone: {count:,} keys, {topic} ({time.monotonic() - began:.1f} s)")
    return Exit.OK


def _refuse_drop(settings: Settings, rebuilds: Rebuilds, generation: str) -> None:
    if rebuilds.active() == generation:
        raise Failure(Exit.REFUSED, f"{generation} is active; promote another generation first")
    if (holder := rebuilds.holder(generation)) is not None:
        raise Failure(Exit.REFUSED, f"{generation}: a process is at it ({holder}); stop it first")
    if rebuilds.shape(generation) is None and rebuilds.get(generation) is None:
        if generation in generations_of(settings.kafka):
            return
        raise Failure(Exit.NOT_FOUND, f"no generation {generation}; `scv rebuild status` lists them")
