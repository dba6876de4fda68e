"""`scv rebuild promote` and `rollback`: let readers see another generation.

Invariants:
- Only a generation that is whole is promoted, forced or not.
- Without --force, only one that shows everything that readers see by now: nobody's view goes back.
- It is one record and one move of a pointer (`streams.promotions`): at no time do readers see a part of it.
"""

from __future__ import annotations

import getpass
import time
from collections.abc import Mapping
from typing import NamedTuple

from eventlog.topics import link_log
from models.record import Lane
from models.settings import Settings
from ops.answers import say, say_json
from ops.configured import settings_with
from ops.failures import Exit, Failure
from ops.rebuild_start import LANES_TOLD, SOURCES, generations_of, rebuilds_of
from ops.rebuild_status import unfinished
from ops.working import refuse_unfit_store
from stores.promotion import Active
from stores.rebuilding import READABLE, Rebuilds

LOOK_EVERY_SECONDS = 0.1


class Wish(NamedTuple):
    """What is to be promoted, over which, and why; `back`: it is a rollback."""

    settings: Settings
    active: Active
    generation: str
    back: bool
    actor: str
    reason: str


def run_rebuild_promote(
    *,
    back: bool,
    kafka: str | None,
    redis: str | None,
    generation: str | None,
    actor: str | None,
    reason: str | None,
    wait_seconds: float,
    force: bool,
    execute: bool,
    as_json: bool,
) -> int:
    """`scv rebuild promote`, and `rollback` where it goes back to the one before."""
    from streams.promotions import heal, open_pointer, promote, roll_back

    settings = settings_with(kafka=kafka, redis=redis)
    refuse_unfit_store(settings)
    with rebuilds_of(settings) as rebuilds, open_pointer(settings.redis) as pointer:
        active = heal(settings.kafka, pointer)
        if active is None:
            raise Failure(Exit.REFUSED, "no generation is active yet; the first `scv worker` builds g1")
        name = _before(settings) if back else unfinished(rebuilds, generations_of(settings), generation)
        verb = "rollback" if back else "promote"
        wish = Wish(settings, active, name, back, actor or _login(), reason or f"scv rebuild {verb}")
        _refuse_unfinished(rebuilds, wish)
        if not force:
            _wait_until_level(wish, wait_seconds if execute else 0.0)
        if not execute:
            _say_plan(wish, force, as_json)
            return Exit.OK
        said = {"actor": wish.actor, "reason": wish.reason}
        if back:
            done = roll_back(settings.kafka, pointer, active.promotion, **said)
        else:
            done = promote(settings.kafka, pointer, name, active.promotion, **said)
    if as_json:
        say_json(
            {"active": done.generation, "before": active.generation, "number": done.number, "executed": True}
        )
    else:
        say(f"Readers see {done.generation} (promotion {done.number}); {active.generation} stays as it is.")
        say(f"Keep workers of both:  scv worker --generation {done.generation}")
        say("Back again:  scv rebuild rollback --execute")
    return Exit.OK


def _login() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "unknown"


def _before(settings: Settings) -> str:
    """The generation that readers saw before the last promotion."""
    from streams.promotions import promotions

    history = promotions(settings.kafka)
    previous = history[-1].previous if history else None
    if previous is None:
        raise Failure(Exit.REFUSED, "nothing was promoted over another generation; there is no way back")
    return previous


def _refuse_unfinished(rebuilds: Rebuilds, wish: Wish) -> None:
    rebuild, name = rebuilds.get(wish.generation), wish.generation
    if name == wish.active.generation:
        raise Failure(Exit.REFUSED, f"{name} is active already")
    if rebuild is None and rebuilds.shape(name) is None:
        raise Failure(Exit.NOT_FOUND, f"{name} was dropped; `scv rebuild status` lists what there is")
    if rebuild is not None and rebuild.state not in READABLE:
        raise Failure(
            Exit.REFUSED,
            f"{name} is not whole yet ({rebuild.state}); `scv rebuild status` says how far it is",
        )


def _wait_until_level(wish: Wish, seconds: float) -> None:
    """Return when the generation shows all that readers see now; Failure when it does not in time."""
    from eventlog.admin import lane_ends
    from stores.progress import read_progress

    settings, deadline = wish.settings, time.monotonic() + seconds
    lanes = [Lane(*lane) for lane in lane_ends(settings.kafka, SOURCES)]
    shown = read_progress(settings.redis, wish.active.generation, lanes)
    wanted = {lane: assembled for lane, (_, _, assembled) in shown.items()}
    _wait_for(wish, wanted, deadline)
    # Who is who: all that the lanes have said by then.
    links = Lane(link_log(wish.generation), 0)
    _wait_for(wish, {links: lane_ends(settings.kafka, [links.topic])[links].end}, deadline)


def _wait_for(wish: Wish, wanted: Mapping[Lane, int], deadline: float) -> None:
    from stores.progress import read_progress

    while True:
        found = read_progress(wish.settings.redis, wish.generation, list(wanted))
        behind = {lane: wanted[lane] - at[2] for lane, at in found.items() if at[2] < wanted[lane]}
        if not behind:
            return
        if time.monotonic() >= deadline:
            break
        time.sleep(LOOK_EVERY_SECONDS)
    lanes = [f"{lane} by {count:,}" for lane, count in sorted(behind.items(), key=lambda one: -one[1])]
    more = f" and {len(lanes) - LANES_TOLD} more" if len(lanes) > LANES_TOLD else ""
    raise Failure(
        Exit.REFUSED,
        f"{wish.generation} is behind {wish.active.generation}: {', '.join(lanes[:LANES_TOLD])}{more}; does "
        f"`scv worker --no-publish --generation {wish.generation}` run? --force does it all the same",
    )


def _say_plan(wish: Wish, force: bool, as_json: bool) -> None:
    if as_json:
        say_json(
            {
                "active": wish.active.generation,
                "to": wish.generation,
                "number": wish.active.promotion + 1,
                "executed": False,
            }
        )
        return
    level = "whether it is behind does not count" if force else "it shows all that they see by now"
    say(f"Readers see {wish.active.generation}, and would see {wish.generation}: {level}.")
    say(f"It would be promotion {wish.active.promotion + 1}, by {wish.actor}: {wish.reason}")
    say("Nothing has been changed. With --execute it is.")
