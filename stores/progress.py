"""How far the lanes are, for people and probes.

Invariants:
- Reads only.
"""

from __future__ import annotations

from collections.abc import Sequence

from models.record import Lane
from stores.redis_store import RedisStore


def read_progress(url: str, generation: str, lanes: Sequence[Lane]) -> dict[Lane, tuple[int, int, int]]:
    """Per lane: next offset to fold, its end when last looked, offset assembled up to (0: not begun)."""
    store = RedisStore(url, generation, shared_above=1)
    try:
        found = store.checkpoints(lanes)
    finally:
        store.close()
    return {
        lane: (one.next_offset or 0, one.end_offset, one.assembled_offset)
        for lane, one in zip(lanes, found, strict=True)
    }
