"""Run a campaign: `python -m tests.simulation.run --seeds 0..100000`; seeds that fail are printed.

Guarantees:
- A seed is a case and the faults in it; fifty seeds in a row share a case, since making one takes longest.
- Ends with 1 if a seed failed.
"""

from __future__ import annotations

import argparse
import logging
import random
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager

from streams import assembler, folder, graph_cache, identity_writer, lane_worker
from tests.simulation.cases import Kinds, case
from tests.simulation.verdict import check
from tests.simulation.world import World

SEEDS_PER_CASE = 50
# A line of progress every few seconds, and little lost when stopped.
SEEDS_PER_TASK = 500
FAILURES_SHOWN_MAX = 20


def simulate(
    seed: int,
    *,
    kinds: Kinds = Kinds(),  # noqa: B008 - immutable
    graph: bool | None = None,
    trace: Callable[[str], None] | None = None,
) -> World:
    """One run; whatever is wrong with it is raised."""
    chosen = case(seed // SEEDS_PER_CASE)
    world = World(chosen, seed, kinds=kinds, graph=graph, trace=trace)
    with _bounds(world.rng):
        world.run(world.rng.choice((10, 25, 40)))
        world.settle()
    check(world)
    return world


# Bounds of the code, with values so low that a few records are several commits or rounds, and nothing stays.
BOUNDS = (
    (folder, "PARTS_PER_COMMIT", (1, 2)),
    (identity_writer, "NODES_PER_COMMIT", (1, 3)),
    (identity_writer, "FACTS_AT_ONCE", (1, 3)),
    (identity_writer, "ROUND_MS", (0, 100)),
    (graph_cache, "NODES_MAX", (0, 5)),
    (assembler, "CUSTOMERS_AT_ONCE", (1, 2)),
    (assembler, "VIEWS_MAX", (0, 1)),
    (lane_worker, "BEHIND_RECORDS", (0, 3)),
    (lane_worker, "BEHIND_MS", (5, 100)),
    (lane_worker, "BEHIND_MS_MAX", (100, 1_000)),
    (lane_worker, "POSTPONED_MAX", (0, 2)),
)


@contextmanager
def _bounds(rng: random.Random) -> Iterator[None]:
    """Each bound as it is, or low."""
    before = [getattr(module, name) for module, name, _ in BOUNDS]
    for (module, name, low), bound in zip(BOUNDS, before, strict=True):
        setattr(module, name, rng.choice((*low, bound)))
    try:
        yield
    finally:
        for (module, name, _), bound in zip(BOUNDS, before, strict=True):
            setattr(module, name, bound)


def failing(seeds: Iterable[int], run: Callable[[int], object] = simulate) -> list[tuple[int, str]]:
    """The seeds that fail, with the reason in one line."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    failed = []
    try:
        for seed in seeds:
            try:
                run(seed)
            except Exception as wrong:  # noqa: BLE001 - a campaign reports whatever went wrong, and goes on
                failed.append((seed, f"{type(wrong).__name__}: {wrong}"[:300]))
    finally:
        # Other tests of this process listen to what is logged.
        logging.disable(before)
    return failed


def first_failing(seeds: Iterable[int], run: Callable[[int], object]) -> int | None:
    """The first seed that fails; None if all pass."""
    return next((found[0][0] for seed in seeds if (found := failing([seed], run))), None)


def campaign(first: int, end: int, processes: int) -> list[tuple[int, str]]:
    """Run seeds from `first` up to `end`, telling how far it is."""
    tasks = [range(at, min(at + SEEDS_PER_TASK, end)) for at in range(first, end, SEEDS_PER_TASK)]
    failed: list[tuple[int, str]] = []
    began = time.monotonic()
    with ProcessPoolExecutor(processes) as pool:
        for number, found in enumerate(pool.map(failing, tasks), 1):
            failed += found
            for seed, reason in found[: max(0, FAILURES_SHOWN_MAX - len(failed) + len(found))]:
                print(f"\rseed {seed}: {reason}")
            done = min(number * SEEDS_PER_TASK, end - first)
            rate = done / (time.monotonic() - began)
            print(f"\r{done} of {end - first} seeds, {len(failed)} failed, {rate:.0f}/s ", end="", flush=True)
    print()
    return failed


def told(seed: int) -> int:
    """Tell the story of one seed; 1 if it fails."""
    logging.disable(logging.WARNING)
    try:
        simulate(seed, trace=print)
    except Exception:  # noqa: BLE001 - shown whole
        traceback.print_exc(file=sys.stdout)
        return 1
    print(f"seed {seed}: fine")
    return 0


def seeds_of(text: str) -> tuple[int, int]:
    """`0..100000` (the end is not among them) or `4711`."""
    first, dots, end = text.partition("..")
    return (int(first), int(end)) if dots else (int(first), int(first) + 1)


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.simulation.run", description=__doc__.split("\n")[0]
    )
    parser.add_argument("--seeds", type=seeds_of, default=(0, 10_000), help="0..100000, or one seed")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--trace", action="store_true", help="tell the story of the first seed")
    chosen = parser.parse_args()
    first, end = chosen.seeds
    if chosen.trace or end - first == 1:
        return told(first)
    failed = campaign(first, end, chosen.processes)
    if failed:
        print(f"failed: {' '.join(str(seed) for seed, _ in failed)}")
        print(f"`python -m tests.simulation.run --seeds {failed[0][0]} --trace` tells the first")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
