"""The live stream of a page: what happens to the customer, and how fresh the whole view is.

Invariants:
- Of the customer it says what `/v1/stream` says; beside that, `freshness` whenever its words change, and at
  least every `BEAT_SECONDS`, so that a page notices a line that went dead.
- A customer that is merged or gone is an event, not an answer that ends the page.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from typing import Any

from starlette.responses import Response

from api.freshness import Lag
from api.generations import Rebuilding
from api.problems import Problem
from api.routing import Caller
from api.services import Services
from api.signals import SignalWatch
from api.streaming import CustomerStream, event_text
from stores.reading import StoredProfile

LOOK_SECONDS = 1.0
BEAT_SECONDS = 15.0
LATE_SECONDS = 2
NOBODY = StoredProfile("", "", "", "", {})


def freshness_now(services: Services) -> dict[str, str]:
    """How fresh the view is at this moment."""
    return freshness(services.lags.lag, services.generations.rebuilding())


def freshness(lag: Lag, rebuilding: Rebuilding | None = None) -> dict[str, str]:
    """How fresh the view is: a badge, a sentence for when it is not, and `fresh` or `stale`.

    The sentence holds no figures: it is read aloud whenever it changes. A rebuild goes on beside what is
    seen: a live view is live all the same, and of a late one it matters more that it is late.
    """
    seconds = round(lag.lag_seconds or 0)
    # A moment behind is how live looks while events flow.
    if lag.status == "live" or (lag.status == "behind" and seconds < LATE_SECONDS):
        beside = f" · Rebuilding {rebuilding.percent} %" if rebuilding else ""
        return {"state": "fresh", "word": f"Live{beside}", "said": ""}
    if lag.status == "behind":
        count = lag.lag_records or 0
        events = "1 event" if count == 1 else f"{count:,} events"
        said = "Updates are late. What just happened may be missing here."
        return {"state": "stale", "word": f"Behind by {events}", "said": said}
    if lag.status == "unattended":
        said = "Updates have stopped. What has happened since is missing here."
        return {"state": "stale", "word": f"{_age(seconds)} ago", "said": said}
    said = "How old this is cannot be said: the store or the log does not answer."
    return {"state": "stale", "word": "Age not known", "said": said}


def _age(seconds: int) -> str:
    return f"{seconds} s" if seconds < 120 else f"{seconds // 60} min"


class PageStream(CustomerStream):
    """How fresh the view is; with a customer (`stored`), what happens there too."""

    def __init__(self, caller: Caller, stored: StoredProfile | None, heard: str) -> None:
        super().__init__(caller, stored or NOBODY, heard, SignalWatch(frozenset()))
        self._open = stored is not None

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        """Both, as they come."""
        services, changes = self._caller.services, super().pieces()
        # Where nobody is open, nothing is waited for.
        waiting = asyncio.ensure_future(anext(changes, None) if self._open else asyncio.Event().wait())
        told, silent_seconds = {}, BEAT_SECONDS
        try:
            while not services.changes.ended and services.keys.holds(self._caller.key):
                words = freshness_now(services)
                if words != told or silent_seconds >= BEAT_SECONDS:
                    told, silent_seconds = words, 0.0
                    yield event_text("freshness", "", words)
                done, _ = await asyncio.wait({waiting}, timeout=LOOK_SECONDS)
                silent_seconds += LOOK_SECONDS
                if done:
                    piece = waiting.result()
                    if piece is None:
                        return
                    yield piece
                    waiting = asyncio.ensure_future(anext(changes, None))
        finally:
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
            await changes.aclose()


def ended(problem: Problem, customer_id: str) -> Response:
    """A stream of one event: the customer is not there any more."""
    data: Mapping[str, Any] = {"customer_id": customer_id, "code": problem.code}
    kind = "gone"
    if problem.code == "merged":
        kind, data = "merged", {"customer_id": customer_id, "into": problem.members["customer_id"]}
    return Response(
        event_text(kind, "", data), headers={"Cache-Control": "no-store"}, media_type="text/event-stream"
    )
