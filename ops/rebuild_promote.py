"""`scv rebuild promote` and `rollback`: let readers see another generation.

Invariants:
- Only a generation that is whole is promoted, forced or not.
- Without --force, only one that shows everything that readers see by now: nobody's view goes back.
- It is one record and one move of a pointer (`eventlog.promotions`): at no time do readers see a part of it.
"""

from __future__ import annotations

from typing import NamedTuple

from eventlog.generations import generations_of
from eventlog.topics import link_log
from models.catalogue import SOURCES
from models.promotion import Active, PromotionRefused
from models.record import Lane
from models.settings import Settings
from ops.answers import say, say_json
from ops.configured import login, settings_with
from ops.failures import Exit, Failure
from ops.rebuild_start import rebuilds_of
from ops.rebuild_status import unfinished
from ops.working import refuse_unfit_store
from stores.generations import refuse_unfinished, wait_until_level
from stores.promotion import open_pointer


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
    from eventlog.promotions import heal, promote, roll_back

    settings = settings_with(kafka=kafka, redis=redis)
    refuse_unfit_store(settings)
    with rebuilds_of(settings) as rebuilds, open_pointer(settings.redis) as pointer:
        active = heal(settings.kafka, pointer)
        if active is None:
            raise Failure(Exit.REFUSED, "no generation is active yet; the first `scv worker` builds g1")
        name = _before(settings) if back else unfinished(rebuilds, generations_of(settings.kafka), generation)
        verb = "rollback" if back else "promote"
        wish = Wish(
            settings, active, name, back, actor or login() or "unknown", reason or f"scv rebuild {verb}"
        )
        refuse_unfinished(rebuilds, name, active.generation)
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


def _before(settings: Settings) -> str:
    """The generation that readers saw before the last promotion."""
    from eventlog.promotions import promotions

    history = promotions(settings.kafka)
    previous = history[-1].previous if history else None
    if previous is None:
        raise Failure(Exit.REFUSED, "nothing was promoted over another generation; there is no way back")
    return previous


def _wait_until_level(wish: Wish, seconds: float) -> None:
    """Return when the generation shows all that readers see now; Failure when it does not in time."""
    from eventlog.ends import lane_ends

    kafka, links = wish.settings.kafka, Lane(link_log(wish.generation), 0)
    lanes = [Lane(*lane) for lane in lane_ends(kafka, SOURCES)]
    try:
        wait_until_level(
            wish.settings.redis,
            wish.generation,
            wish.active.generation,
            lanes,
            lambda: lane_ends(kafka, [links.topic])[links].end,
            seconds,
        )
    except PromotionRefused as refused:
        raise Failure(Exit.REFUSED, f"{refused} --force does it all the same") from None


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
