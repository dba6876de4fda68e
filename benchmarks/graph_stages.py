"""Where the identity writer's time goes: its real steps on a link log in memory, timed stage by stage.

Guarantees:
- As in `benchmarks.stages`: only seams are wrapped, a stage is charged for its own time, and what is under
  no timer is "steps". The store is embedded, and notices go to memory.
- The whole is measured apart, without timers; what the timers themselves cost stays in the stages.
"""

from __future__ import annotations

import contextlib
import gc
import time
from collections.abc import Iterator, Sequence
from typing import Any

import streams.assembler
import streams.graph_cache
import streams.identity_writer
from benchmarks.graph_cost import collected_seldom
from benchmarks.graph_population import Told, facts
from benchmarks.graph_throughput import LINKS, fill
from benchmarks.stages import LOG_MS, SHARED_ABOVE, Clock, Memory, Record, Wrapped
from models.link import wire_link_fact
from models.rules import IdentityRules
from projections.assembling import Labels
from stores.embedded import EmbeddedStore
from stores.redis_store import RedisStore
from streams.identity_writer import IdentityWriter
from streams.lanes import Batch

# As many facts as one fetch of a backlog brings.
ROUND_FACTS = 10_000
FUNCTION_SEAMS: tuple[tuple[str, Any, str], ...] = (
    ("read facts", streams.identity_writer, "read_link_fact"),
    ("pack nodes", streams.identity_writer, "pack_node"),
    ("load nodes", streams.graph_cache, "unpack_node"),
    ("read parts", streams.assembler, "unpack"),
    ("assemble", streams.assembler, "assemble"),
)
STORE_SEAMS = {
    "load": "load nodes",
    "commit": "commit",
    "place": "place",
    "members": "read parts",
    "lanes": "read parts",
    "parts": "read parts",
    "put_profiles": "put",
    "index": "index",
    "close_marks": "close marks",
}
OUTLET_SEAMS = {"produce": "produce", "flush": "produce"}
STAGES = (
    "read facts", "load nodes", "graph", "pack nodes", "commit", "place", "read parts", "assemble", "put",
    "index", "produce", "close marks", "garbage", "steps",
)  # fmt: skip


class _GraphClock(Clock):
    """Charges the writer's stages."""

    def __init__(self) -> None:
        super().__init__()
        self.cpu, self.wall = dict.fromkeys(STAGES, 0.0), dict.fromkeys(STAGES, 0.0)
        self.calls = dict.fromkeys(STAGES, 0)


def measure(told: Sequence[Told]) -> dict[str, Any]:
    """Without and with parts: CPU µs per fact of the whole and of each stage."""
    found = {}
    for name, parts in (("graph_only", ()), ("with_parts", told)):
        whole, _ = _run(told, parts, None)
        _, clock = _run(told, parts, _GraphClock())
        count = sum(1 for _ in facts(told))
        found[name] = {
            "writer_us": whole / count * 1e6,
            "stages_us": {stage: seconds / count * 1e6 for stage, seconds in clock.cpu.items()},
        }
    return found


def _run(told: Sequence[Told], parts: Sequence[Told], clock: _GraphClock | None) -> tuple[float, Clock]:
    """Hear all facts, upon a store that holds these parts; processor seconds, and what was charged."""
    records = [
        Record(offset, LOG_MS + offset, fact.subject.encode(), wire_link_fact(fact))
        for offset, fact in enumerate(facts(told))
    ]
    with EmbeddedStore() as server, contextlib.ExitStack() as stack:
        fill(server.url, parts)
        store: Any = RedisStore(server.url, "g1", SHARED_ABOVE)
        outlet: Any = Memory()
        if clock is not None:
            store, outlet = Wrapped(store, clock, STORE_SEAMS), Wrapped(outlet, clock, OUTLET_SEAMS)
            stack.enter_context(_function_seams(clock))
        writer = IdentityWriter(
            store, outlet, IdentityRules(), Labels("g1", "c-0000"), name="bench", links=LINKS,
            clock_ms=lambda: LOG_MS, wait=_never,
        )  # fmt: skip
        writer.take([LINKS])
        if clock is not None:
            setattr(writer.graph, "apply", clock.timed("graph", writer.graph.apply))  # noqa: B010
        gc.collect()
        charged = clock or Clock()
        with collected_seldom(), charged.whole(timed=clock is not None):
            cpu = time.process_time()
            for at in range(0, len(records), ROUND_FACTS):
                some = records[at : at + ROUND_FACTS]
                moved = writer.step([Batch(LINKS, at, some, at + len(some), len(records))])
                assert not moved, moved
            cpu = time.process_time() - cpu
        writer.close()
    return cpu, charged


def _never(attempt: int) -> None:
    raise RuntimeError("the store went away while it was measured")


@contextlib.contextmanager
def _function_seams(clock: Clock) -> Iterator[None]:
    before = [(module, name, getattr(module, name)) for _, module, name in FUNCTION_SEAMS]
    for stage, module, name in FUNCTION_SEAMS:
        setattr(module, name, clock.timed(stage, getattr(module, name)))
    try:
        yield
    finally:
        for module, name, function in before:
            setattr(module, name, function)
