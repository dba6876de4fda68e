"""Parts in Redis: what comes back is what was written, in a fraction of the bytes.

Guarantees:
- The parts are folded from histories, not made up.
"""

from __future__ import annotations

import redis
from hypothesis import given
from hypothesis import strategies as st

from models.record import Lane
from projections.parts import pack
from stores.embedded import EmbeddedStore
from stores.packing import PLAIN_BYTES_MAX, Packing
from stores.redis_store import RedisStore
from stores.store import Commit, PartWrite
from tests.folding import fold_whole
from tests.histories import history

LANE = Lane("sales.events", 0)


def parts() -> list[bytes]:
    """Parts of a busy history."""
    lanes = history(5, subjects=6, employees=0, events=400, partitions=1)
    return [pack(part) for part in fold_whole(lanes).parts.values()]


@given(st.binary(max_size=3 * PLAIN_BYTES_MAX))
def test_whatever_is_packed_comes_back(rest: bytes) -> None:
    packing, part = Packing(), b"\x94" + rest
    assert packing.unpack(packing.pack(part)) == part


def test_parts_lie_compressed_and_tiny_ones_as_they_are() -> None:
    written = {f"crm:{number}": part for number, part in enumerate([*parts(), b"\x94tiny"])}
    with EmbeddedStore() as server, redis.Redis.from_url(server.url) as client:
        store = RedisStore(server.url, "g1", 5)
        store.prepare()
        writes = [PartWrite(subject, part, 1) for subject, part in written.items()]
        assert store.commit([Commit(LANE, None, 1, 1, 0, writes)]) == [True]
        lain = {subject: client.get(store.keys.part(LANE, subject)) for subject in written}
        assert store.load({LANE: list(written)})[LANE].parts == list(written.values())
        assert store.parts([(LANE, subject) for subject in written]) == list(written.values())
        store.close()
    assert lain.popitem()[1] == b"\x94tiny"
    assert sum(map(len, lain.values())) < sum(map(len, written.values())) / 3
