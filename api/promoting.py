"""Promote a generation, or roll back, for somebody who asks over HTTP: a program, or the operator's page.

Invariants:
- It is what `scv rebuild promote` and `rollback` do, with the same refusals (`stores.generations`,
  `eventlog.promotions`); there is no way round them here.
- Over what somebody has not seen nothing is promoted: they name the promotion that they saw last.
"""

from __future__ import annotations

import asyncio
import contextlib
from functools import partial
from typing import NamedTuple, TypeVar

from api.asking import Unanswered
from api.problems import Problem
from api.routing import Caller
from api.services import Services
from eventlog.ends import lane_ends
from eventlog.errors import ProduceFailed
from eventlog.promotions import PromotionsLost, heal, promote, promotions, roll_back
from models.catalogue import SOURCES, link_topic
from models.promotion import Active, Promotion, PromotionRefused
from models.record import Lane
from stores.connection import asking, connect
from stores.generations import refuse_unfinished, wait_until_level
from stores.promotion import open_pointer
from stores.rebuilding import Rebuilds

# Somebody waits for the answer; a generation that follows is level within a second.
LEVEL_SECONDS = 3.0
# It is promoted; who cannot wait for the state sees it with the next look.
STATE_SECONDS = 3.0


_Answer = TypeVar("_Answer")


class Wish(NamedTuple):
    """What is to be read instead, and since when the rest was seen.

    `generation` None: whichever was read before. `number` is the promotion that is seen now; None: any.
    """

    generation: str | None
    back: bool
    number: int | None


class Change(NamedTuple):
    """What would be so: readers see `generation` instead of `active`."""

    active: Active
    generation: str


async def planned(services: Services, wish: Wish) -> Change:
    """What would be so; nothing is changed. Problem `promotion_refused` with the reason."""
    return await _asked(services, partial(_planned, services.plan.kafka, services.plan.redis, wish))


async def carried_out(caller: Caller, wish: Wish, actor: str, reason: str) -> tuple[Change, Promotion]:
    """Do it, or refuse. Problem `promotion_refused`; `log_unavailable`: nobody knows whether it was done."""
    services = caller.services
    said = {"actor": actor, "reason": reason, "keyid": caller.key.id}
    done = await _asked(services, partial(_carried_out, services.plan.kafka, services.plan.redis, wish, said))
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(STATE_SECONDS):
            await services.generations.look()
    return done


async def _asked(services: Services, question: partial[_Answer]) -> _Answer:
    try:
        return await services.decisions_thread.ask(question)
    except (PromotionRefused, PromotionsLost) as refused:
        raise Problem("promotion_refused", str(refused)) from None
    except (ProduceFailed, Unanswered):
        raise Problem(
            "log_unavailable",
            "Kafka did not acknowledge it: whether it was promoted is not known, look again",
        ) from None


def _planned(kafka: str, redis: str, wish: Wish) -> Change:
    with open_pointer(redis) as pointer:
        active = heal(kafka, pointer)
    if active is None:
        raise PromotionRefused("no generation is active yet; the first `scv worker` builds g1")
    if wish.number is not None and wish.number != active.promotion:
        seen = f"{active.generation} is active by promotion {active.promotion}"
        raise PromotionRefused(f"{seen}, not {wish.number}: look again first")
    name = wish.generation
    if wish.back:
        history = promotions(kafka)
        before = history[-1].previous if history else None
        if before is None:
            raise PromotionRefused("nothing was promoted over another generation; there is no way back")
        if name not in (None, before):
            raise PromotionRefused(f"before {active.generation} readers saw {before}, not {name}")
        name = before
    if name is None:
        raise PromotionRefused("which generation? `scv rebuild status` lists them")
    client = connect(redis)
    try:
        with asking("generations"):
            refuse_unfinished(Rebuilds(client), name, active.generation)
    finally:
        client.close()
    links = Lane(link_topic(name), 0)
    wait_until_level(
        redis, name, active.generation,
        [Lane(*lane) for lane in lane_ends(kafka, SOURCES)],
        lambda: lane_ends(kafka, [links.topic])[links].end,
        LEVEL_SECONDS,
    )  # fmt: skip
    return Change(active, name)


def _carried_out(kafka: str, redis: str, wish: Wish, said: dict[str, str]) -> tuple[Change, Promotion]:
    change = _planned(kafka, redis, wish)
    number = change.active.promotion
    with open_pointer(redis) as pointer:
        if wish.back:
            done = roll_back(kafka, pointer, number, **said)
        else:
            done = promote(kafka, pointer, change.generation, number, **said)
    return change, done
