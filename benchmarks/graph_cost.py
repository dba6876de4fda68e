"""What a link costs the identity graph itself: in this process, without a store.

Guarantees:
- The code that runs is `Graph.apply`, as the identity writer calls it; times are this thread's CPU time.
- Times and counts are taken in separate passes over the same facts: counting does not show in the times.
- A node counts as touched when the graph asked for it, once per fact.
"""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import msgspec

from benchmarks.graph_population import BEGIN_US, customers, facts, households
from benchmarks.latency import percentile
from benchmarks.report import spread
from models.link import LinkFact
from models.rules import IdentityRules
from projections.graph import Graph, build
from projections.graph_nodes import MemoryNodes, Node, Nodes, pack_node, unpack_node
from streams.memberships import membership

# What a worker sets (streams/worker.py); without it the collector would be most of what is measured here.
COLLECT = (200_000, 50, 1_000)
SIZES = (2, 10, 100, 300, 1_000, 1_001, 1_500)
LANE = "marketing.events-0"

_write = msgspec.json.Encoder().encode


class _Counted(MemoryNodes):
    """Nodes in memory that note which of them were asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.touched: set[str] = set()

    def get_many(self, names: Iterable[str]) -> Mapping[str, Node]:
        asked = list(names)
        self.touched.update(asked)
        return super().get_many(asked)


class _Stored(dict[str, Node]):
    """Nodes that are unpacked when they are asked for, as from the store: how many, in how many reads."""

    def __init__(self, packed: Mapping[str, bytes]) -> None:
        super().__init__()
        self.packed, self.loaded, self.reads = packed, 0, 0

    def __missing__(self, name: str) -> Node:
        return self.get_many((name,))[name]

    def get_many(self, names: Iterable[str]) -> Mapping[str, Node]:
        missing = [name for name in dict.fromkeys(names) if name not in self]
        for name in missing:
            self[name] = unpack_node(self.packed.get(name))
        self.loaded += len(missing)
        self.reads += bool(missing)
        return self


class SizeCost(NamedTuple):
    """One more link into a component that has `size` nodes then; medians.

    `kind`: the link brings a new `subject`, of whom all members hear, or a new `identifier` of a member.
    `remembered_us`: all nodes in memory; `stored_us`: each unpacked first, without the time of asking for it.
    """

    kind: str
    size: int
    remembered_us: float
    stored_us: float
    nodes_read: int
    reads: int
    nodes_written: int
    bytes_written: int
    memberships: int
    membership_bytes: int
    entries: int


def by_size(sizes: Sequence[int], repeat: int) -> list[SizeCost]:
    """Cost against component size: browsers of one customer, all known by the same email."""
    return [_at_size(kind, size, repeat) for kind in ("subject", "identifier") for size in sizes]


def _at_size(kind: str, size: int, repeat: int) -> SizeCost:
    rules, nodes = IdentityRules(), MemoryNodes()
    graph = Graph(rules, nodes)
    email, new = "email:ada@mail.example", "web:new"
    last = LinkFact(new, LANE, size, BEGIN_US + size, email)
    if kind == "identifier":
        last = LinkFact("web:0", LANE, size, BEGIN_US + size, "push_token:new")
    # The new node is the last one; of an empty component there is not even the email yet.
    before = [LinkFact(f"web:{number}", LANE, number, BEGIN_US + number, email) for number in range(size - 2)]
    before.append(LinkFact(last.subject, LANE, size - 1, BEGIN_US + size - 1))
    for position, fact in enumerate(before, 1):
        graph.apply(fact, position)
    packed = {name: pack_node(node) for name, node in nodes.items()}
    times: list[float] = []
    for _ in range(repeat):
        kept = MemoryNodes({name: unpack_node(value) for name, value in packed.items()})
        times.append(_timed(rules, kept, last, len(before) + 1))
    stored_times: list[float] = []
    for _ in range(repeat):
        stored_times.append(_timed(rules, _Stored(packed), last, len(before) + 1))
    stored = _Stored(packed)
    told = Graph(rules, stored)
    change = told.apply(last, len(before) + 1)
    written, stamped = told.drain(), change.stamped if change else frozenset()
    return SizeCost(
        kind, size, statistics.median(times), statistics.median(stored_times), stored.loaded, stored.reads,
        len(written), sum(len(pack_node(node)) for node in written.values()),
        len(stamped), sum(len(_write(membership(0, told.placement_of(name)))) for name in stamped),
        len(change.reindex) if change else 0,
    )  # fmt: skip


def _timed(rules: IdentityRules, nodes: Nodes, fact: LinkFact, position: int) -> float:
    graph = Graph(rules, nodes)
    began = time.thread_time_ns()
    graph.apply(fact, position)
    return (time.thread_time_ns() - began) / 1_000


def in_memory(count: int, repeat: int) -> dict[str, dict[str, float]]:
    """Facts per processor second of so many customers: one by one, and all at once."""
    told = list(enumerate(facts(customers(count)), 1))
    ways: dict[str, Callable[[], object]] = {
        "one_by_one": lambda: _applied(told),
        "at_once": lambda: build(told, IdentityRules()),
    }
    found: dict[str, list[float]] = {name: [] for name in ways}
    with collected_seldom():
        for _ in range(repeat):
            for name, way in ways.items():
                began = time.thread_time()
                way()
                found[name].append(len(told) / (time.thread_time() - began))
    return {name: spread(values) for name, values in found.items()}


def _applied(told: Iterable[tuple[int, LinkFact]]) -> Graph:
    graph = Graph(IdentityRules(), MemoryNodes())
    for position, fact in told:
        graph.apply(fact, position)
    return graph


@contextmanager
def collected_seldom() -> Iterator[None]:
    """Python's collector as a worker has it; what is there already is kept out of its sight."""
    before = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECT)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()


class HouseholdCost(NamedTuple):
    """A population in which two of five people state a second household's phone, link by link.

    `raw_max` is what would hang together without a cap; `component_…` what the graph works with; the largest
    of the `customers` has `members_max` subjects; `whole`: people whose two subjects are in one customer.
    """

    people: int
    component_max: int
    links: int
    stated_max: int
    raw_max: int
    component_largest: int
    component_mean: float
    customers: int
    members_max: int
    whole: float
    us_mean: float
    us_p50: float
    us_p99: float
    us_max: float
    touched_mean: float
    touched_p99: int
    touched_max: int


def percolating(people: int, component_max: int) -> HouseholdCost:
    """Hear all of this population, link by link."""
    rules = IdentityRules(component_max=component_max)
    told = list(facts(households(people)))
    with collected_seldom():
        nodes = MemoryNodes()
        graph = Graph(rules, nodes)
        times = sorted(_each(graph, told, time.thread_time_ns))
    us = [one / 1_000 for one in times]
    counted = _Counted()
    touched = list(_each(Graph(rules, counted), told, lambda: len(counted.touched), counted.touched.clear))
    sizes, members = _components(graph), [one.placement.members for one in nodes.values() if one.placement]
    phones = [len(node.by) for name, node in nodes.items() if name.startswith("phone:")]
    whole = sum(nodes[f"crm:{one}"].founder == nodes[f"web:{one}"].founder for one in range(people))
    return HouseholdCost(
        people, component_max, len(times), max(phones), _raw_max(nodes), max(sizes),
        statistics.fmean(sizes), len(members), max(map(len, members)), whole / people,
        statistics.fmean(us), percentile(us, 0.5), percentile(us, 0.99), us[-1],
        statistics.fmean(touched), int(percentile(touched, 0.99)), max(touched),
    )  # fmt: skip


def _each(
    graph: Graph,
    told: Iterable[LinkFact],
    reading: Callable[[], int],
    reset: Callable[[], None] = lambda: None,
) -> Iterable[int]:
    """By how much each new link moves a reading; that a subject was seen is no link."""
    for position, fact in enumerate(told, 1):
        reset()
        before = reading()
        graph.apply(fact, position)
        moved = reading() - before
        graph.changed.clear()
        if fact.identifier is not None:
            yield moved


def _components(graph: Graph) -> list[int]:
    """The size of each component as the graph uses it."""
    sizes: list[int] = []
    done: set[str] = set()
    graph.reach.too_large.clear()
    for name in list(graph.nodes):  # type: ignore[call-overload]  # held in memory
        if name not in done:
            names, _ = graph.reach.component(name, graph.nodes[name].floor)
            done.update(names)
            sizes.append(len(names))
    return sizes


def _raw_max(nodes: MemoryNodes) -> int:
    """How many nodes hang together at most, by all edges of identifiers that are not shared."""
    largest, done = 0, set[str]()
    for start in nodes:
        if start in done:
            continue
        found, waiting = {start}, [start]
        while waiting:
            node = nodes[waiting.pop()]
            beside = [other for other in node.out if not nodes[other].shared]
            for other in beside if node.shared else [*beside, *node.by]:
                if other not in found:
                    found.add(other)
                    waiting.append(other)
        done |= found
        largest = max(largest, len(found))
    return largest
