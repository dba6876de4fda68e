"""Redrive and discard a dead letter for somebody who asks over HTTP: by the API, or from the operator's page.

Invariants:
- When a function returns, record and decision are in the log, together; a letter that is settled is refused,
  whoever settled it. It is the code that the commands use (`eventlog.settling`).
- With `ops` alone nothing can be written that was not written before: a corrected event needs `events:write`,
  and a command about who is who `identity:write`.
- What is written is counted as settled at once, in lists, too.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from datetime import UTC, datetime
from functools import partial
from typing import Any

from api.asking import Unanswered
from api.letter_bodies import DiscardRequest
from api.letter_masking import masked_detail, masked_pointer, masked_words
from api.problems import Problem, wrong_parameter
from api.routing import Caller
from eventlog.dead_letters import Entry
from eventlog.settling import Settler, Settling
from eventlog.transactions import Fenced, Outgoing
from models.catalogue import COMMAND_TOPIC
from models.dead_letter import Fault
from models.letters import Letter, Position, Settled
from projections.redriving import redriven

# It is written; who cannot wait for the count sees it with the next look.
COUNT_SECONDS = 3.0


async def entry_of(caller: Caller, named: str) -> Entry:
    """The letter of this position. Problem `unknown_dead_letter`."""
    try:
        position = Position.parse(named)
    except ValueError:
        raise wrong_parameter("position", "name one as sales.events-5@1042") from None
    index = caller.services.letters
    await caller.services.letters_read.answer()
    entry = index.get(position)
    if entry is None:
        raise Problem("unknown_dead_letter", "GET /v1/dead-letters lists those there are")
    return entry


async def letter_of(caller: Caller, entry: Entry) -> Letter:
    """The letter with its record. Problem."""
    services = caller.services
    letters = await services.letters_thread.ask(lambda: list(services.letters.letters([entry])))
    if not letters:
        raise Problem("unknown_dead_letter", "retention has removed its record")
    return letters[0]


async def redrive(
    caller: Caller, named: str, asked: DiscardRequest, corrected: bytes | None, *, dry_run: bool
) -> Settled:
    """Write this letter again, as received or corrected; or only say what would happen. Problem."""
    if corrected is not None:
        caller.require("events:write")
    entry = await entry_of(caller, named)
    _refuse_settled(entry.settled)
    letter = await letter_of(caller, entry)
    made = redriven(letter, corrected, caller.services.rules, time.time_ns() // 1_000)
    if isinstance(made, Fault):
        where = "" if corrected is None else f"/event{made.pointer}"
        raise Problem(
            "invalid_event", masked_detail(made.reason, made.detail),
            pointer=masked_pointer(where), reason=made.reason,
        )  # fmt: skip
    if made.topic == COMMAND_TOPIC:
        caller.require("identity:write")
    mark = _mark(caller, asked, entry, "redriven", topic=made.topic, corrected=made.corrected)
    if not dry_run:
        record = Outgoing(made.topic, made.partition, made.key, made.value, made.headers)
        await _settle(caller, Settling(entry.position, mark, record))
    return mark


async def discard(caller: Caller, named: str, asked: DiscardRequest) -> Settled:
    """Say that nothing is to become of this letter. Problem."""
    entry = await entry_of(caller, named)
    _refuse_settled(entry.settled)
    mark = _mark(caller, asked, entry, "discarded")
    await _settle(caller, Settling(entry.position, mark))
    return mark


def _mark(caller: Caller, asked: DiscardRequest, entry: Entry, action: Any, **more: Any) -> Settled:
    at = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return Settled(
        str(entry.position), action, asked.actor.strip(), asked.reason, at, keyid=caller.key.id, **more
    )


def _refuse_settled(settled: Settled | None) -> None:
    if settled is not None:
        raise Problem(
            "settled",
            f"it was {settled.action} at {settled.at}; nothing was written",
            settled=settlement(settled),
        )


async def _settle(caller: Caller, one: Settling) -> None:
    """Write it, unless somebody was quicker. By one thread: two at once would shut each other out."""
    try:
        settled = partial(_settled_now, caller.services.plan.kafka, one)
        quicker = await caller.services.decisions_thread.ask(settled)
    except Unanswered:
        raise Problem(
            "log_unavailable", "Kafka did not answer: whether it was written is not known, look again"
        ) from None
    except Fenced:
        raise Problem(
            "log_unavailable", "somebody else settles dead letters at this moment; ask again"
        ) from None
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(COUNT_SECONDS):
            await caller.services.letter_counts.look()
    _refuse_settled(quicker)


def _settled_now(bootstrap: str, one: Settling) -> Settled | None:
    with Settler(bootstrap) as settler:
        quicker = settler.settled(one.position)
        for _ in settler.settle([one]):
            pass
        return quicker


def settlement(settled: Settled | None) -> dict[str, Any] | None:
    """What became of a letter, as everybody may see it."""
    if settled is None:
        return None
    names = ("action", "actor", "reason", "at", "topic", "corrected")
    told = {name: getattr(settled, name) for name in names}
    # What people say of others; an actor is whatever somebody called themselves.
    return {
        **told,
        "actor": masked_words(settled.actor),
        "reason": None if settled.reason is None else masked_words(settled.reason),
    }
