"""`scv:active`: the generation that readers see, and the number of its promotion.

Invariants:
- It never goes back: a move to a smaller number writes nothing.
- It is a copy of the last promotion in `scv.generations`; `eventlog.promotions` moves it, and nobody else.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from typing import Any

from models.promotion import Active, parse_active
from stores.connection import asking, connect
from stores.keys import ACTIVE, Keys


class ActivePointer:
    """The pointer of the store at `url`; one thread uses it. StoreAway when the store does not answer."""

    def __init__(self, url: str) -> None:
        self._client: Any = connect(url)

    def read(self) -> Active | None:
        """What it says; None in a store that is new, or has lost it."""
        with asking("scv:active"):
            stored = self._client.get(ACTIVE)
        return None if stored is None else parse_active(stored)

    def move(self, to: Active) -> bool:
        """Make it say this; False, and nothing is written, where it says a later promotion already."""
        with asking("scv_activate"):
            code = files("stores").joinpath("promotion.lua").read_bytes()
            self._client.execute_command("FUNCTION", "LOAD", "REPLACE", code)
            return self._client.execute_command("FCALL", "scv_activate", 1, ACTIVE, *to) == 1

    def holds(self, generation: str) -> bool:
        """Whether the store has such a generation: a worker or a rebuild has claimed it."""
        with asking("a generation"):
            return bool(self._client.exists(Keys(generation).shape))

    def close(self) -> None:
        """Let go of the connection."""
        self._client.close()


@contextmanager
def open_pointer(url: str) -> Iterator[ActivePointer]:
    """The pointer of a store, while the block lasts."""
    pointer = ActivePointer(url)
    try:
        yield pointer
    finally:
        pointer.close()
