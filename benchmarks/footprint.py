"""Memory of the store: what a customer of 20 events with two identifiers takes in Redis.

Guarantees:
- Every key of the generation is asked (`MEMORY USAGE`, all elements), and counted under what it holds.
- Beside it stands what the server's own `used_memory` grew by, which includes the key table.
"""

from __future__ import annotations

import time
from collections import Counter
from typing import NamedTuple

from benchmarks.contenders import CONTENDERS, Ended, Running
from benchmarks.draining import FIRST_SECONDS_MAX, LOOK_EVERY_SECONDS
from benchmarks.load import equal_customers
from benchmarks.servers import Servers
from stores.connection import install_functions
from stores.keys import Keys

EVENTS_EACH = 20
# Keys asked in one round trip.
KEYS_AT_ONCE = 1_000
# One for all customers, however many there are.
SHARED = ("cp", "dirty", "shape")


class Footprint(NamedTuple):
    """Bytes per customer: of its keys by what they hold, and by the growth of the server's memory."""

    customers: int
    events_each: int
    keys_per_customer: float
    bytes_by_kind: dict[str, float]
    bytes_of_keys: float
    bytes_of_server: float


def measure(servers: Servers, customers: int) -> Footprint:
    """Let `scv worker` fold so many equal customers into an empty store, and weigh what is there."""
    servers.empty()
    servers.create_topics()
    records = EVENTS_EACH * customers
    ends = servers.produce(equal_customers(customers, EVENTS_EACH))
    with servers.client() as client:
        # The functions take the same memory for one customer as for a million.
        install_functions(client)
    before = _used_memory(servers)
    with Running(CONTENDERS["scv"], servers, ends, 1) as running:
        _wait(running, records)
        generation = running.attempt.generation
    after = _used_memory(servers)
    sizes, keys = _weigh(servers, Keys(generation).prefix)
    by_kind = {kind: sizes[kind] / customers for kind in sorted(sizes) if kind not in SHARED}
    return Footprint(
        customers,
        EVENTS_EACH,
        keys / customers,
        by_kind,
        sum(by_kind.values()),
        (after - before) / customers,
    )


def _wait(running: Running, records: int) -> None:
    deadline = time.monotonic() + FIRST_SECONDS_MAX
    while (visible := running.visible()) < records:
        if time.monotonic() > deadline:
            raise Ended(f"{running.contender.name}: {visible} of {records} records in time")
        time.sleep(LOOK_EVERY_SECONDS)


def _used_memory(servers: Servers) -> int:
    with servers.client() as client:
        return int(client.info("memory")["used_memory"])


def _weigh(servers: Servers, prefix: str) -> tuple[Counter[str], int]:
    """Bytes by what a key holds, and how many keys belong to customers."""
    sizes: Counter[str] = Counter()
    count = 0
    with servers.client() as client:
        keys = list(client.scan_iter(f"{prefix}*", count=KEYS_AT_ONCE))
        for at in range(0, len(keys), KEYS_AT_ONCE):
            chunk = keys[at : at + KEYS_AT_ONCE]
            pipe = client.pipeline(transaction=False)
            for key in chunk:
                pipe.memory_usage(key, samples=0)
            for key, size in zip(chunk, pipe.execute(), strict=True):
                kind = _kind(key.decode()[len(prefix) :])
                sizes[kind] += size
                count += kind not in SHARED
    return sizes, count


def _kind(name: str) -> str:
    """What a key holds, from the word after its tag; a key without a tag is its own kind."""
    _, _, rest = name.partition("}:")
    word = rest.partition(":")[0] or name
    return {"part": "parts", "ids": "identifiers", "of": "references"}.get(word, word)
