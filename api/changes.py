"""Which customers have a new version, as it happens: what live streams wait for.

Invariants:
- A listener is woken after its customer has changed; it may be woken without need. It holds no queue: a slow
  listener finds the newest version, not a heap of old ones.
- One consumer for the whole server, however many listen.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from eventlog.tailing import Tail
from models.catalogue import CHANGES_TOPIC


class ChangeFeed:
    """Wakes those who listen to a customer. Belongs to the event loop that makes it."""

    def __init__(self, bootstrap: str) -> None:
        self._loop = asyncio.get_running_loop()
        self._listening: dict[bytes, set[asyncio.Event]] = {}
        self.ended = False
        """Set when the server ends: whoever listens should end too."""
        self._tail = Tail(bootstrap, CHANGES_TOPIC, self._heard, self._lost)

    @property
    def following(self) -> bool:
        """Whether changes are heard at once; else listeners look for themselves at each heartbeat."""
        return self._tail.following.is_set()

    @contextmanager
    def listen(self, customer_id: str) -> Iterator[asyncio.Event]:
        """An event that is set whenever the customer may have changed; who waits clears it."""
        key, woken = customer_id.encode(), asyncio.Event()
        self._listening.setdefault(key, set()).add(woken)
        try:
            yield woken
        finally:
            self._listening[key].discard(woken)
            if not self._listening[key]:
                del self._listening[key]

    def end(self) -> None:
        """Tell all who listen that the server ends."""
        self.ended = True
        self._wake(None)

    def close(self) -> None:
        """Stop listening to the log."""
        self._tail.close()

    def _heard(self, keys: list[bytes]) -> None:
        # Called in the tail's thread; at a thousand changes a second nobody may be listening to any.
        if any(key in self._listening for key in keys):
            self._loop.call_soon_threadsafe(self._wake, set(keys))

    def _lost(self) -> None:
        self._loop.call_soon_threadsafe(self._wake, None)

    def _wake(self, keys: set[bytes] | None) -> None:
        for key in list(self._listening) if keys is None else keys & self._listening.keys():
            for woken in self._listening[key]:
                woken.set()
