"""A worker hears of every broken connection to its store: a server that came back may have gone back.

Guarantees:
- Real servers are restarted; each kind of call is tried as the first one after.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from models.record import Lane
from stores.embedded import EmbeddedStore
from stores.redis_store import RedisStore
from stores.store import Commit, StoreAway

LANE = Lane("sales.events", 0)
CALLS: dict[str, Callable[[RedisStore], object]] = {
    "load": lambda store: store.load({LANE: ["crm:1"]}),
    "commit": lambda store: store.commit([Commit(LANE, None, 1, 1, 0, [])]),
    "members": lambda store: store.members(["crm:1"]),
    "note": lambda store: store.note_subjects([("crm:1", LANE)], [("order:1", "crm:1")]),
    "idle": lambda store: store.idle([(LANE, None, 5)], 0),
    "marks": lambda store: store.marks(LANE),
}


@pytest.mark.parametrize("name", CALLS)
def test_the_first_call_after_a_restart_says_that_the_connection_was_lost(name: str) -> None:
    with EmbeddedStore() as server:
        store = RedisStore(server.url, "g1", shared_above=5)
        store.prepare()
        CALLS[name](store)
        server.kill()
        server.restart()
        with pytest.raises(StoreAway):
            CALLS[name](store)
        store.prepare()
        CALLS[name](store)
        store.close()
