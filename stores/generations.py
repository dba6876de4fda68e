"""Where generations stand, and whether one may be promoted: for commands, and for the operator's page.

Invariants:
- Reads only.
- Only a generation that is whole may be promoted, and, unless somebody insists, only one that shows all that
  readers see by now: nobody's view goes back.
- What the log holds comes in as arguments: which generations there are, and where lanes end.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from models.catalogue import SOURCES, link_topic
from models.promotion import NoGeneration, PromotionRefused
from models.record import Lane
from stores.progress import read_progress
from stores.rebuilding import READABLE, Rebuild, Rebuilds, State, folded_to

# Lanes that one line names.
LANES_TOLD = 3
LOOK_EVERY_SECONDS = 0.1
# The stages of a rebuild that somebody must be at.
WORKING = (State.FOLDING, State.GRAPH, State.ASSEMBLING)


class LaneStand(NamedTuple):
    """Where a lane stands: folded up to, assembled up to, and where it ends now."""

    lane: Lane
    folded: int
    assembled: int
    end: int


class Stand(NamedTuple):
    """Where a generation stands. `state`: that of its rebuild, else `live`; `promoted` for the active one."""

    generation: str
    state: str
    rebuild: Rebuild | None
    holder: str | None
    lanes: list[LaneStand]

    @property
    def behind(self) -> int:
        """Records of the log that its profiles do not show yet."""
        return sum(max(0, one.end - one.assembled) for one in self.lanes)

    @property
    def ends_known(self) -> bool:
        """Whether it is known where the lanes of its events end: else `behind` says nothing."""
        return any(one.lane.topic in SOURCES for one in self.lanes)

    @property
    def eta_seconds(self) -> float | None:
        """How long the stage in progress still takes at its rate; None when nobody is at it."""
        rebuild = self.rebuild
        if rebuild is None or self.holder is None or rebuild.state not in WORKING or not rebuild.per_second:
            return None
        return max(0, rebuild.total - rebuild.done) / rebuild.per_second

    @property
    def percent(self) -> int | None:
        """How far the stage in progress is; None when none is."""
        if self.rebuild is None or self.state not in WORKING:
            return None
        return min(100, 100 * self.rebuild.done // max(self.rebuild.total, 1))

    @property
    def whole(self) -> bool:
        """Whether readers could see it: not one that is being built, dropped, or was never begun."""
        return self.state in ("promoted", "live", *READABLE)


def stands_of(
    url: str, rebuilds: Rebuilds, generations: Iterable[str], active: str | None, ends: Mapping[Lane, int]
) -> list[Stand]:
    """Where these generations stand, of lanes that end there; an end that a worker has seen counts, too."""
    return [_stand(url, rebuilds, one, active, ends) for one in generations]


def _stand(url: str, rebuilds: Rebuilds, name: str, active: str | None, ends: Mapping[Lane, int]) -> Stand:
    rebuild = rebuilds.get(name)
    lanes = [lane for lane in ends if lane.topic in SOURCES or lane.topic == link_topic(name)]
    found = read_progress(url, name, lanes)
    stands = [
        LaneStand(
            lane,
            folded_to(at, 0) if lane.topic in SOURCES else max(at, 0),
            assembled,
            max(ends[lane], seen),
        )
        for lane, (at, seen, assembled) in sorted(found.items())
    ]
    if name == active:
        state = "promoted" if rebuild is not None else "live"
    else:
        state = str(rebuild.state) if rebuild is not None else "live"
        if rebuild is None and rebuilds.shape(name) is None:
            state = "empty"
    return Stand(name, state, rebuild, rebuilds.holder(name), stands)


def refuse_unfinished(rebuilds: Rebuilds, generation: str, active: str) -> None:
    """PromotionRefused unless this generation could be read instead of the active one."""
    rebuild = rebuilds.get(generation)
    if generation == active:
        raise PromotionRefused(f"{generation} is active already")
    if rebuild is None and rebuilds.shape(generation) is None:
        raise NoGeneration(f"there is no generation {generation}; `scv rebuild status` lists them")
    if rebuild is not None and rebuild.state not in READABLE:
        raise PromotionRefused(
            f"{generation} is not whole yet ({rebuild.state}); `scv rebuild status` says how far it is"
        )


def wait_until_level(
    url: str,
    generation: str,
    active: str,
    lanes: Sequence[Lane],
    links_end: Callable[[], int],
    seconds: float,
) -> None:
    """Return when a generation shows all that readers see now; PromotionRefused when it does not in time.

    `lanes` are those of events and commands; `links_end` asks where the generation's link log ends.
    """
    deadline = time.monotonic() + seconds
    shown = read_progress(url, active, lanes)
    wanted = {lane: assembled for lane, (_, _, assembled) in shown.items()}
    _wait_for(url, generation, active, wanted, deadline)
    # Who is who: all that the lanes have said by then.
    _wait_for(url, generation, active, {Lane(link_topic(generation), 0): links_end()}, deadline)


def _wait_for(url: str, generation: str, active: str, wanted: Mapping[Lane, int], deadline: float) -> None:
    while True:
        found = read_progress(url, generation, list(wanted))
        behind = {lane: wanted[lane] - at[2] for lane, at in found.items() if at[2] < wanted[lane]}
        if not behind:
            return
        if time.monotonic() >= deadline:
            break
        time.sleep(LOOK_EVERY_SECONDS)
    lanes = [f"{lane} by {count:,}" for lane, count in sorted(behind.items(), key=lambda one: -one[1])]
    more = f" and {len(lanes) - LANES_TOLD} more" if len(lanes) > LANES_TOLD else ""
    raise PromotionRefused(
        f"{generation} is behind {active}: {', '.join(lanes[:LANES_TOLD])}{more}; does "
        f"`scv worker --no-publish --generation {generation}` run?"
    )
