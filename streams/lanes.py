"""What a worker is asked to do with its lanes: the protocol between reading and folding.

Guarantees to a `LaneWorker`:
- One thread calls it, the projector thread; never two calls at once, so it needs no locks and may block.
- A lane is taken before its first batch, and a lane that is lost is named by `lose` before it is taken anew.
- The batches of a lane follow each other without a gap: each starts where the one before ended, or where
  `take`, `step` or `idle` last said to resume.
- A batch read before a lane was lost, taken or moved is dropped before it gets here. What still gets here
  although another worker owns the lane by now (a paused process) is refused by the store, not by us.

No call is limited in time. While one runs, reading stops after one more round, membership of the consumer
group goes on, and memory stays bounded.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from models.record import Lane


class Batch(NamedTuple):
    """What was read of one lane, by one fetch or by several that follow each other.

    `records` are the client's own objects (`offset`, `timestamp` in milliseconds, `key`, `value`, `headers`),
    untouched: there is no work per record on the way here. It is empty when the lane moved over what no
    reader sees: transaction markers, aborted or compacted records.
    """

    lane: Lane
    start: int  # where reading began; at most the first record's offset
    records: Sequence[Any]
    next_offset: int  # where the next batch begins; above the last record's offset
    end: int | None  # the lane's end when last fetched; open transactions lie beyond it; None: not known


class LaneWorker(Protocol):
    """Folds the batches of its lanes and says where each lane stands.

    What `take`, `step` and `idle` return are offsets to resume at; None means the earliest there is.
    Services that are away are waited for inside, with backoff. An exception is a broken invariant: the
    worker's process ends with one line and a non-zero exit code, and nothing else of this worker is called.
    """

    def take(self, lanes: Sequence[Lane]) -> Mapping[Lane, int | None]:
        """Own these lanes from now on: drop what is cached of them, read their checkpoints.

        Returns where to resume, for every lane asked for. An offset outside of what the topic holds stops
        that lane (`stopped`), never the others.
        """
        ...

    def lose(self, lanes: Sequence[Lane]) -> None:
        """Drop what is cached of these lanes and write nothing more to them: they may be another worker's."""
        ...

    def step(self, batches: Sequence[Batch]) -> Mapping[Lane, int | None]:
        """Fold and commit one round, at most one batch a lane; returns the lanes that must resume elsewhere.

        Every other lane of the round counts as committed up to its batch's `next_offset`.
        """
        ...

    def idle(self, ends: Mapping[Lane, int | None]) -> Mapping[Lane, int | None]:
        """Compare lanes that had no batch for a second, and note their ends as the broker told them lately.

        None: the broker did not answer lately, so nothing is known about freshness. Returns the lanes that
        must resume elsewhere.
        """
        ...

    def stopped(self, lane: Lane, reason: str) -> None:
        """Learn that this lane gets no more batches; `reason` is one line: what, where, what to do.

        It stays taken until it is lost, so that the reason can be shown. The other lanes go on.
        """
        ...

    def close(self) -> None:
        """Let go of connections: the last call, not made after an exception or an abandoned step."""
        ...
