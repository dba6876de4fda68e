"""Which generation readers see: numbered promotions in `scv.generations`, and the pointer that follows them.

Invariants:
- The topic is the truth; `scv:active` (`g7 13`) is its last promotion, also after a store was lost.
- A promotion is one record, acknowledged, and then one move of the pointer, which never goes back. Between
  the two it holds already: whoever looks next moves the pointer.
- Of several who promote at once, one does: whose record came second is void by its number
  (`models.promotion`), and he is refused. So nobody needs a lock, and whoever was paused does no harm.

How to use it, as `scv rebuild` does:

    with open_pointer(settings.redis) as pointer:
        active = heal(settings.kafka, pointer)                      # what is so now; None before the first
        promote(settings.kafka, pointer, "g8", active.promotion, actor="ada", reason="new sections")
        roll_back(settings.kafka, pointer, active.promotion + 1, actor="ada", reason="sales are wrong")

A generation must be complete before it is promoted, and whoever built it must have sent a change notice of
each of its profiles, as every assembler does: by the notices publishers find whom to publish anew.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from typing import NamedTuple, Protocol

from eventlog.errors import LogError, LogUnavailable, ProduceFailed, ReadFailed
from eventlog.producing import LogProducer
from eventlog.reading import read_topic
from models.catalogue import GENERATIONS_TOPIC
from models.promotion import (
    ACTOR_MAX,
    FIRST_NUMBER,
    PROMOTED,
    REASON_MAX,
    ROLLED_BACK,
    Active,
    Kind,
    Promotion,
    PromotionRefused,
    those_that_count,
    wire_promotion,
)

BEGUN_BY = "scv worker"
BEGUN_WHY = "the first generation"


class Pointer(Protocol):
    """What says in the store which generation readers see: `stores.promotion.ActivePointer`."""

    def read(self) -> Active | None:
        """What it says; None where nothing is stored."""

    def move(self, to: Active) -> bool:
        """Make it say this, unless it says a later promotion already."""

    def holds(self, generation: str) -> bool:
        """Whether the store has such a generation."""


class _Said(NamedTuple):
    """Who promotes, why, and through which API key."""

    actor: str
    reason: str
    keyid: str | None = None


class PromotionsLost(LogError):
    """The store knows of a promotion that the topic has not: it was made anew, and a person must decide."""


def promotions(bootstrap: str) -> list[Promotion]:
    """All promotions that count, the first first. LogUnavailable; LogError when there is no such topic."""
    try:
        return those_that_count(read_topic(bootstrap, GENERATIONS_TOPIC))
    except ReadFailed as failed:
        raise LogUnavailable(str(failed)) from None


def heal(bootstrap: str, pointer: Pointer) -> Active | None:
    """Make the pointer say what the topic says, and give it; None when nothing was ever promoted.

    StoreAway, LogUnavailable. PromotionsLost when the pointer is ahead of the topic.
    """
    return _healed(bootstrap, pointer)[1]


def _healed(bootstrap: str, pointer: Pointer) -> tuple[list[Promotion], Active | None]:
    # The pointer first: it can only be behind what the topic says afterwards.
    stored = pointer.read()
    history = promotions(bootstrap)
    last = Active(history[-1].generation, history[-1].number) if history else None
    if last is None and (stored is None or stored.promotion == FIRST_NUMBER):
        # From before the first promotion was a record.
        return history, stored
    if stored is not None and (last is None or stored.promotion > last.promotion):
        raise PromotionsLost(
            f"scv:active says {stored.generation} {stored.promotion}, but {GENERATIONS_TOPIC} ends with "
            f"number {last.promotion if last else 0}: the topic was made anew, or Redis is another "
            "installation's; docs/topics.md says what to do"
        )
    if last is not None and stored != last:
        pointer.move(last)
    return history, last


def begin(bootstrap: str, pointer: Pointer, generation: str) -> Active:
    """What readers see: as the topic says, or, if nothing was ever promoted, from now on this generation."""
    history, active = _healed(bootstrap, pointer)
    if not history:
        first = (active or Active(generation, FIRST_NUMBER)).generation
        _append(bootstrap, _attempt(FIRST_NUMBER, first, None, PROMOTED, _Said(BEGUN_BY, BEGUN_WHY)))
        active = heal(bootstrap, pointer)
    if active is None:
        raise LogUnavailable(f"{bootstrap}: {GENERATIONS_TOPIC}: the record just written cannot be read yet")
    return active


def promote(
    bootstrap: str,
    pointer: Pointer,
    generation: str,
    expected_number: int,
    *,
    actor: str,
    reason: str,
    keyid: str | None = None,
    point: Callable[[str], None] = lambda _: None,
) -> Promotion:
    """Let readers see this generation, if the last promotion is still number `expected_number`.

    PromotionRefused when it is not, when the generation is active already or not in the store, and for a
    blank actor or reason. ProduceFailed says that nobody knows whether it was written: look again. `keyid` is
    the API key that it came through, if any; `point` is told where a test may interfere.
    """
    return _promote(
        bootstrap, pointer, generation, expected_number, PROMOTED, _Said(actor, reason, keyid), point
    )


def roll_back(
    bootstrap: str,
    pointer: Pointer,
    expected_number: int,
    *,
    actor: str,
    reason: str,
    keyid: str | None = None,
    point: Callable[[str], None] = lambda _: None,
) -> Promotion:
    """Let readers see the generation again that they saw before the last promotion; else as `promote`."""
    return _promote(
        bootstrap, pointer, None, expected_number, ROLLED_BACK, _Said(actor, reason, keyid), point
    )


def promote_anew(bootstrap: str, pointer: Pointer, generation: str, *, actor: str, reason: str) -> Promotion:
    """Publish everybody of the active generation again, under a new number: its profiles say something else.

    A rollback leads where it led before. PromotionRefused when another one is active; else as `promote`.
    """
    active = heal(bootstrap, pointer)
    if active is None or active.generation != generation:
        raise PromotionRefused(f"{generation} is not active, so nobody was told of it")
    said = _Said(actor, reason)
    return _promote(
        bootstrap, pointer, generation, active.promotion, PROMOTED, said, lambda _: None, anew=True
    )


def _promote(
    bootstrap: str,
    pointer: Pointer,
    generation: str | None,
    expected: int,
    kind: Kind,
    said: _Said,
    point: Callable[[str], None],
    *,
    anew: bool = False,
) -> Promotion:
    _refuse_unsaid(said)
    history, active = _healed(bootstrap, pointer)
    if active is None:
        raise PromotionRefused("there is no generation yet; start `scv worker`")
    if active.promotion != expected:
        raise PromotionRefused(
            f"{active.generation} is active by promotion {active.promotion}, not {expected}: look again first"
        )
    if not history:
        begin(bootstrap, pointer, active.generation)
        history = promotions(bootstrap)
    target = generation if generation is not None else history[-1].previous
    if target is None:
        raise PromotionRefused(f"{active.generation} is the first generation: there is none to roll back to")
    if target == active.generation and not anew:
        raise PromotionRefused(f"{target} is active already")
    if not pointer.holds(target):
        raise PromotionRefused(f"there is no generation {target} in Redis; build it first")
    before = history[-1].previous if anew else active.generation
    wanted = _attempt(expected + 1, target, before, kind, said)
    point("before record")
    _append(bootstrap, wanted)
    point("between record and pointer")
    history, _ = _healed(bootstrap, pointer)
    for one in history[expected:]:
        if one.record_id == wanted.record_id:
            return one
    by = history[expected] if len(history) > expected else None
    raise PromotionRefused(
        f"somebody else was quicker: promotion {expected + 1} is {by.generation}, by {by.actor}"
        if by is not None
        else f"{bootstrap}: the record just written to {GENERATIONS_TOPIC} is not there; look again"
    )


def _refuse_unsaid(said: _Said) -> None:
    for what, text, most in (("actor", said.actor, ACTOR_MAX), ("reason", said.reason, REASON_MAX)):
        if not text.strip():
            raise PromotionRefused(f"a promotion needs {'an' if what == 'actor' else 'a'} {what}")
        if len(text) > most:
            raise PromotionRefused(f"the {what} has {len(text)} characters; at most {most}")


def _attempt(number: int, generation: str, previous: str | None, kind: Kind, said: _Said) -> Promotion:
    record_id = f"gen_{uuid.uuid4().hex[:16]}"
    return Promotion(number, generation, previous, kind, said.actor, said.reason, 0, record_id, said.keyid)


def _append(bootstrap: str, wanted: Promotion) -> None:
    """Write the record and wait for its acknowledgement."""
    at = datetime.fromtimestamp(time.time(), UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    try:
        with LogProducer(bootstrap, client_id="scv-promotions") as producer:
            producer.produce(GENERATIONS_TOPIC, wanted.generation.encode(), wire_promotion(wanted, at))
    except ProduceFailed as failed:
        raise ProduceFailed(
            f"{failed}: promotion {wanted.number} of {wanted.generation} may be written or not; look again"
        ) from None
