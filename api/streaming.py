"""Live: server-sent events of one customer, and of the signals that a client names.

Invariants:
- An event's id is the profile's version: whoever comes back with Last-Event-ID is told at once if there is a
  newer one, by whichever server. What was skipped in between is in the profile that is read then.
- A stream holds no queue: a slow client gets the newest state when it is ready, and is cut off when it takes
  nothing for `WRITE_SECONDS`.
- The store says what is told; the change feed only says when to look. Without it a stream looks at each
  heartbeat.
- No section's content is sent, only which sections changed; but of `signals`, those that were asked for.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncGenerator, Mapping
from typing import Any

import msgspec
from fastapi import APIRouter, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from api import signals
from api.examples import STREAM
from api.problems import Problem, wrong_parameter
from api.profiles import CUSTOMER_ID, HEADERS, audit
from api.resolving import live_profile
from api.routing import Answers, Caller, DirectRoute, endpoint, header_of
from api.shown import SECTIONS, TIMELINE, section_of
from stores.reading import LIVE, StoredProfile
from stores.store import StoreAway

router = APIRouter(route_class=DirectRoute)

# Proxies close what is silent for half a minute.
HEARTBEAT_SECONDS = 15.0
WRITE_SECONDS = 30.0
# Of many changes within this the client hears once: nobody reads faster.
SETTLE_SECONDS = 0.02
RETRY_MS = 2_000


@endpoint(
    router, "GET", "/v1/stream",
    scope="profile:read", summary="Hear of changes as they happen", tag="profiles",
    parameters=(
        {"name": "profile", "in": "query", "required": True, "description": "The customer's id.",
         "schema": {"type": "string", "pattern": f"^{CUSTOMER_ID.pattern}$"},
         "example": "cus_7Q2M4X9K3BTD5HWE"},
        {"name": "signals", "in": "query", "example": "payment_failing",
         "description": "Also tell when signals of these rules are raised and cleared, comma-separated. "
         "Profiles have no signals yet.",
         "schema": {"type": "string", "pattern": signals.PATTERN, "maxLength": 1_300}},
        {"name": "Last-Event-ID", "in": "header", "schema": {"type": "string"},
         "description": "The id of the last event that was heard: a version."},
        *HEADERS[2:],
    ),
    problems=("invalid_request", "unknown_customer", "merged", "erased", "split", "too_many_streams",
              "audit_unavailable"),
    answers=[Answers(200, "Events `profile`, `signal`, `merged`, `gone`; a comment every 15 s.",
                     {"type": "string"}, STREAM, "text/event-stream")],
)  # fmt: skip
async def stream_profile(request: Request, caller: Caller) -> Response:
    """Server-sent events of one customer.

    `profile`: there is a new version, and which sections differ (all of them, to a client that is new here).
    `signal`: one of the rules asked for was raised or cleared; told before the version that brings it, and
    again after a reconnect. `merged`: go on with the id named. `gone`: nobody holds the id. Both end it.
    """
    customer_id = request.query_params.get("profile", "")
    if not CUSTOMER_ID.fullmatch(customer_id):
        raise wrong_parameter("profile", "a customer id: cus_ and 16 characters")
    rules = signals.rules_of(request.query_params.get("signals"))
    # Answered as a profile is: a stream that cannot begin says why.
    _, stored = await live_profile(caller.services, customer_id, _visible(caller))
    audit(caller, request, "stream", [customer_id], ())
    watch = signals.SignalWatch(rules)
    return CustomerStream(caller, stored, header_of(request, "last-event-id") or "", watch)


def _visible(caller: Caller) -> tuple[str, ...]:
    """The sections whose changes this key may know of."""
    timeline = caller.key.allows("timeline:read")
    return tuple(name for name in SECTIONS if name != "meta" and (timeline or name != TIMELINE))


class CustomerStream(Response):
    """The answer that does not end by itself."""

    media_type = "text/event-stream"

    def __init__(self, caller: Caller, stored: StoredProfile, heard: str, watch: signals.SignalWatch) -> None:
        super().__init__(
            headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"}, media_type=self.media_type
        )
        del self.headers["content-length"]
        self._caller, self._stored, self._heard, self._signals = caller, stored, heard, watch

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send until the client goes, the customer is gone, or the client takes nothing."""
        with self._caller.services.streams.one(self._caller.key.id):
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            leaving = asyncio.create_task(_left(receive))
            sending = asyncio.create_task(self._send(send))
            try:
                await asyncio.wait({leaving, sending}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                leaving.cancel()
                sending.cancel()
                await asyncio.gather(leaving, sending, return_exceptions=True)

    async def _send(self, send: Send) -> None:
        async for piece in self.pieces():
            async with asyncio.timeout(WRITE_SECONDS):
                await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        """What is sent, piece by piece."""
        services, customer_id = self._caller.services, self._stored.customer_id
        told, marks = self._heard, marks_of(self._stored) if self._heard == self._stored.version else {}
        yield b"retry: %d\n\n" % RETRY_MS
        with services.changes.listen(customer_id) as woken:
            while not services.changes.ended and services.keys.holds(self._caller.key):
                try:
                    found = await self._look(customer_id)
                except StoreAway:
                    found = None
                if isinstance(found, bytes):
                    yield found
                    return
                if found is not None:
                    for one in self._news(found):
                        yield event_text("signal", "", one)
                if found is not None and found.version != told:
                    new = marks_of(found)
                    changed = [name for name in new.keys() | marks.keys() if new.get(name) != marks.get(name)]
                    told, marks = found.version, new
                    ordered = [name for name in SECTIONS if name in changed]
                    yield event_text(
                        "profile", told, {"customer_id": customer_id, "version": told, "changed": ordered}
                    )
                patience_seconds = HEARTBEAT_SECONDS
                if found is not None:
                    patience_seconds = self._signals.seconds_until_next(HEARTBEAT_SECONDS)
                try:
                    async with asyncio.timeout(patience_seconds):
                        await woken.wait()
                    await asyncio.sleep(SETTLE_SECONDS)
                except TimeoutError:
                    yield b": still here\n\n" if found is not None else b": the store is away\n\n"
                woken.clear()

    def _news(self, found: StoredProfile) -> list[dict[str, Any]]:
        section = section_of(found, "signals", personal=self._caller.personal)
        who = {"customer_id": found.customer_id, "version": found.version}
        return [{**who, **one} for one in self._signals.news(section)]

    async def _look(self, customer_id: str) -> StoredProfile | bytes | None:
        """The profile now; or the last event, when there is none any more."""
        services, sections = self._caller.services, _visible(self._caller)
        _, stored = await services.store.profile(customer_id, sections)
        if stored is not None and stored.state == LIVE:
            return stored
        try:
            return (await live_profile(services, customer_id, sections))[1]
        except Problem as problem:
            if problem.code == "merged":
                return event_text(
                    "merged", "", {"customer_id": customer_id, "into": problem.members["customer_id"]}
                )
            if problem.code == "unknown_customer":
                # A store that came back with less: the workers heal it.
                return None
            return event_text("gone", "", {"customer_id": customer_id, "code": problem.code})


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def marks_of(stored: StoredProfile) -> dict[str, int]:
    """Of each section what tells it from another content."""
    return {name: zlib.crc32(section) for name, section in stored.sections.items() if name != "meta"}


def event_text(kind: str, event_id: str, data: Mapping[str, Any]) -> bytes:
    """An event as it is sent."""
    named = f"id: {event_id}\n" if event_id else ""
    return f"{named}event: {kind}\ndata: {msgspec.json.encode(data).decode()}\n\n".encode()
