"""Events that come in over HTTP: examined as workers examine them, and written.

Invariants:
- The fast and the careful way of `models` decide, the same that decide in a worker: what is accepted here is
  folded there, and what is rejected here would be a dead letter there.
- An event is written as the bytes that came; its key is its subject.
- "Accepted" is said of an event that the log has acknowledged, and of no other.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from api.bodies import Rejection
from api.freshness import SyncToken
from api.masking import scrubbed
from api.problems import Problem
from api.services import Services
from eventlog.errors import ProduceFailed
from models.careful import read
from models.catalogue import COMMAND_TOPIC, DOMAIN_TOPICS, topic_of
from models.dead_letter import Fault, Reason
from models.decoding import Event, fast_decoder
from models.event import EVENT_TYPES
from models.record import Lane

# A request is answered as one: more belongs in `scv import`, or in a producer of Kafka.
EVENTS_MAX = 500
EVENTS_BYTES_MAX = 1024 * 1024

# The producer gives up by itself before that.
WAIT_SECONDS = 10.0

_COMMANDS = Fault(
    Reason.WRONG_DOMAIN,
    "/type",
    "decisions about who is who go to /v1/identity/links and /v1/identity/unlinks",
)


class Examined(NamedTuple):
    """One event of a request: its bytes, where it belongs, or what is wrong with it."""

    id: str | None
    topic: str
    key: bytes
    value: bytes
    fault: Fault | None


class Outcome(NamedTuple):
    """What became of one event: where it lies, or what is wrong, or neither: not acknowledged."""

    id: str | None
    place: tuple[Lane, int] | None
    fault: Fault | None


def split_batch(body: bytes, *, batch: bool | None) -> list[bytes]:
    """The events of a body, each as it is written there. `batch` None: a list or one event. Problem."""
    try:
        text = body.decode().lstrip()
        raw: list[msgspec.Raw] | msgspec.Raw
        if batch or (batch is None and text.startswith("[")):
            raw = msgspec.json.decode(body, type=list[msgspec.Raw])
        else:
            raw = msgspec.json.decode(body, type=msgspec.Raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Problem("not_json", "the body must be one CloudEvent, or a list of them, in UTF-8") from None
    events = [bytes(one) for one in raw] if isinstance(raw, list) else [bytes(raw)]
    if not 1 <= len(events) <= EVENTS_MAX:
        raise Problem("invalid_request", f"{len(events)} events; send between 1 and {EVENTS_MAX}", pointer="")
    return events


def examine(value: bytes, log_us: int) -> Examined:
    """What a worker would make of this event, were it written now."""
    seen = _peek(value)
    wire_type, subject, event_id = (seen.get(name) for name in ("type", "subject", "id"))
    shown_id = event_id[:200] if isinstance(event_id, str) else None
    known = isinstance(wire_type, str) and wire_type in EVENT_TYPES
    topic = topic_of(wire_type) if known else DOMAIN_TOPICS[0]
    key = subject.encode(errors="replace") if isinstance(subject, str) else b""
    if topic == COMMAND_TOPIC:
        return Examined(shown_id, topic, key, value, _COMMANDS)
    found: Event | Fault | None = fast_decoder(topic)(value, key, log_us)
    if found is None:
        found = read(topic, key, value, (), log_us)
    return Examined(shown_id, topic, key, value, found if isinstance(found, Fault) else None)


def _peek(value: bytes) -> dict[str, Any]:
    try:
        seen = msgspec.json.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}
    return seen if isinstance(seen, dict) else {}


async def write(services: Services, examined: Sequence[Examined]) -> list[Outcome]:
    """Write those that are events, and wait until they are acknowledged. LogUnavailable: none was written."""
    log = services.log
    topics = {one.topic for one in examined if one.fault is None}
    if topics:
        missing = [topic for topic in sorted(topics) if not await services.has_lanes([Lane(topic, 0)])]
        if missing:
            raise Problem("log_unavailable", f"no topic {', '.join(missing)}; run `scv topics create`")
    places = [None if one.fault else log.produce(one.topic, one.key, one.value) for one in examined]
    waiting = [asyncio.wrap_future(place) for place in places if place is not None]
    if waiting:
        await asyncio.wait(waiting, timeout=WAIT_SECONDS)
    outcomes = []
    for one, place in zip(examined, places, strict=True):
        lies = None
        if place is not None and place.done() and not isinstance(place.exception(), ProduceFailed):
            lies = place.result()
        outcomes.append(Outcome(one.id, lies, one.fault))
    for future in waiting:
        # Looked at, so that asyncio does not tell of it; what comes too late has nobody who waits.
        _ = future.exception() if future.done() else future.cancel()
    return outcomes


async def accept(services: Services, events: Sequence[bytes]) -> list[Outcome]:
    """Examine and write."""
    log_us = time.time_ns() // 1_000
    return await write(services, [examine(one, log_us) for one in events])


def shown(index: int, one: Outcome) -> dict[str, Any]:
    """What is answered about one event."""
    told: dict[str, Any] = {"index": index, "id": one.id}
    if one.fault is not None:
        return {**told, "status": "rejected", "problem": rejection(one.fault)}
    if one.place is None:
        return {**told, "status": "not_acknowledged"}
    return {**told, "status": "accepted", "sync_token": SyncToken.of([one.place]).text()}


def rejection(fault: Fault) -> dict[str, Any]:
    """What is wrong with an event."""
    detail = scrubbed(fault.detail.encode(errors="replace")).decode()
    return Rejection(code=str(fault.reason), pointer=fault.pointer, detail=detail).model_dump()
