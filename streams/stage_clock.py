"""Where a worker's time goes: the seconds of each stage, told by the worker's own points and by its calls.

Invariants:
- Every second of a call to the lane worker is charged once: to the stage it was spent on, and there to the
  worker itself, to waiting for the store, or to waiting for the broker.
- It costs two looks at a clock for each call and point of a round, and nothing for an event or a customer.

One thread works with a clock: the projector thread. Whoever reads `seconds` may be another.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from time import perf_counter
from typing import Any, TypeVar

from stores.store import ProfileWrite, Store
from streams.assembler import Outlet

WORKER, STORE, BROKER = "worker", "store", "broker"
T = TypeVar("T")
# Stage, and whose time it is.
Charged = tuple[str, str]

# What the worker itself did up to a point is the work of this stage.
STAGE_OF_POINT = {
    "after load": "load",
    "after link acknowledgement": "fold",
    "after commit": "commit",
    "between membership and parts": "membership",
    "between parts and profile": "parts",
    "after profile": "assemble",
    "between indexes and notice": "index",
    "after side effects": "notify",
    "before marks close": "close",
    "between the two graph reads": "take",
    "after graph load": "load",
    "after merge acknowledgement": "graph",
    "after graph commit": "commit",
    "before memberships": "place",
    "after memberships": "place",
    "before graph marks close": "close",
}
# What waits for an acknowledgement after these is dead letters, link facts or merges; elsewhere, notices.
BEFORE_ACKNOWLEDGEMENT = ("after load", "after graph load")
STAGE_OF_CALL = {
    "prepare": "take",
    "load": "load",
    "commit": "commit",
    "checkpoints": "parts",
    "idle": "idle",
    "marks": "take",
    "close_marks": "close",
    "note_subjects": "note",
    "members": "membership",
    "lanes": "membership",
    "parts": "parts",
    "put_profiles": "put",
    "place": "place",
    "index": "index",
}
ACKNOWLEDGE, NOTIFY = ("acknowledge", BROKER), ("notify", BROKER)
# Calls that failed, and the waits before the next try; what no point tells of.
AWAY, OTHER = ("away", STORE), ("other", WORKER)


class StageClock:
    """The seconds of one lane worker, by stage and whose they are."""

    def __init__(self, now: Callable[[], float] = perf_counter) -> None:
        self.now = now
        self.seconds: dict[Charged, float] = dict.fromkeys(
            [
                *((stage, WORKER) for stage in STAGE_OF_POINT.values()),
                *((stage, STORE) for stage in STAGE_OF_CALL.values()),
                *(ACKNOWLEDGE, NOTIFY, AWAY, OTHER),
            ],
            0.0,
        )
        self._at = now()
        self._own = 0.0
        # Of the call in progress, what the worker did itself.
        self._lent = 0.0
        self._acknowledging = False

    def begin(self) -> None:
        """A call to the lane worker begins: what was before belongs to nobody."""
        self._at, self._own = self.now(), 0.0

    def end(self) -> None:
        """It ends."""
        self._charge_own(OTHER)

    def point(self, name: str) -> None:
        """A step has ended: charge it with what the worker did since the last one, calls left out."""
        stage = STAGE_OF_POINT.get(name)
        self._charge_own(OTHER if stage is None else (stage, WORKER))
        self._acknowledging = name in BEFORE_ACKNOWLEDGEMENT

    def timed(self, charged: Charged, call: Callable[..., Any]) -> Callable[..., Any]:
        """The call, charged to its stage; when it fails, to what is away."""

        def run(*arguments: Any) -> Any:
            began = self.now()
            self._own += began - self._at
            found = AWAY
            try:
                answer = call(*arguments)
                found = charged
                return answer
            finally:
                lent, self._lent = self._lent, 0.0
                self._at = self.now()
                self._own += lent
                self.seconds[found] += self._at - began - lent

        return run

    def lent(self, made: Iterable[T]) -> Iterator[T]:
        """What a call takes one by one: making it is the worker's own time, not the call's."""
        began = self.now()
        for one in made:
            self._lent += self.now() - began
            yield one
            began = self.now()
        self._lent += self.now() - began

    def flushing(self, flush: Callable[[], None]) -> Callable[[], None]:
        """Waiting for acknowledgements, charged to what waits for them."""
        early, late = self.timed(ACKNOWLEDGE, flush), self.timed(NOTIFY, flush)

        def run() -> None:
            if self._acknowledging:
                early()
            else:
                late()

        return run

    def _charge_own(self, charged: Charged) -> None:
        now = self.now()
        self.seconds[charged] += self._own + now - self._at
        self._at, self._own = now, 0.0


class TimedStore:
    """A `Store` whose calls are charged to stages, and which counts the profiles that were written."""

    def __init__(self, store: Store, clock: StageClock) -> None:
        self._store, self._clock = store, clock
        self.profiles_written = 0
        for name, stage in STAGE_OF_CALL.items():
            setattr(self, name, clock.timed((stage, STORE), getattr(store, name)))
        self._put = self.put_profiles
        self.put_profiles = self._counted

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def _counted(self, profiles: Iterable[ProfileWrite]) -> list[str]:
        answers: list[str] = self._put(self._clock.lent(profiles))
        self.profiles_written += answers.count("newer")
        return answers


class TimedOutlet:
    """An `Outlet` whose waiting for acknowledgements is charged to stages."""

    def __init__(self, outlet: Outlet, clock: StageClock) -> None:
        self.produce = outlet.produce
        self.flush = clock.flushing(outlet.flush)
