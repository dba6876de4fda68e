"""Redrive and discard dead letters: the record that takes a letter's place and its mark are one transaction.

Guarantees:
- A letter is settled once, whoever tries, however often, and wherever they are killed or paused: its mark is
  looked for after everybody else was shut out, and written together with the record, or neither is.
- Readers of committed records (workers, rebuilds) see a redriven record only with its mark.
- When `settle` has returned, all in-sync copies have both. When it raises, it may have happened or not: a new
  `Settler` knows.

On the embedded broker, where readers see what was aborted, a kill between the first record and the commit may
leave the record without its mark.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from types import TracebackType
from typing import NamedTuple, Self

from eventlog.dead_letters import settled_in
from eventlog.reading import read_topic
from eventlog.topics import SETTLED
from eventlog.transactions import Outgoing, TransactionalProducer
from models.letters import Position, Settled, wire_settled

# One for the whole installation: whoever opens it shuts out whoever settles at this moment.
TRANSACTIONAL_ID = "scv-dead-letters"
# A transaction holds up readers of the lanes it writes to until it ends: some hundredths of a second.
BATCH_LETTERS_MAX = 200
BATCH_BYTES_MAX = 2 * 2**20


class Settling(NamedTuple):
    """A letter to settle: its position, what to say of it, and the record that takes its place, if any."""

    position: Position
    settled: Settled
    record: Outgoing | None = None

    @property
    def size_bytes(self) -> int:
        """About what it adds to a transaction."""
        return 500 + (len(self.record.value or b"") if self.record else 0)


class Settler:
    """Settles letters, alone: from `open` on whoever settled before cannot any more (Fenced). One thread.

    `point(name)` is called between the steps, so that a test can stop there.
    """

    def __init__(self, bootstrap: str, point: Callable[[str], None] = lambda _: None) -> None:
        self._bootstrap, self._point = bootstrap, point
        self._producer = TransactionalProducer(bootstrap, TRANSACTIONAL_ID)
        self._settled: dict[Position, Settled] = {}

    def open(self) -> None:
        """Shut out the others, and see what they settled. LogError."""
        # 1. What another has left unfinished ends here, and he can begin nothing any more.
        self._producer.open()
        self._point("after opening")
        # 2. So what is read now stays true until this settler writes.
        for record in read_topic(self._bootstrap, SETTLED):
            if (found := settled_in(record)) is not None:
                self._settled.setdefault(*found)
        self._point("after looking")

    def settled(self, position: Position) -> Settled | None:
        """What became of this letter; None while nothing did."""
        return self._settled.get(position)

    def settle(self, letters: Iterable[Settling]) -> Iterator[Sequence[Settling]]:
        """Settle letters that are not yet; gives them by transaction, so go through all.

        Fenced, or another LogError: then a new `Settler` knows what happened.
        """
        for batch in _batches(one for one in letters if one.position not in self._settled):
            records = [one.record for one in batch if one.record is not None]
            marks = [
                Outgoing(SETTLED, 0, str(one.position).encode(), wire_settled(one.settled)) for one in batch
            ]
            self._producer.write_all([*records, *marks], self._point)
            self._point("after the commit")
            self._settled.update((one.position, one.settled) for one in batch)
            yield batch

    def close(self) -> None:
        """Let go."""
        self._producer.close()

    def __enter__(self) -> Self:
        """Opened."""
        try:
            self.open()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let go."""
        self.close()


def _batches(letters: Iterable[Settling]) -> Iterator[list[Settling]]:
    """What is settled together: a position once."""
    batch: dict[Position, Settling] = {}
    size_bytes = 0
    for one in letters:
        if one.position in batch:
            continue
        if len(batch) == BATCH_LETTERS_MAX or (batch and size_bytes + one.size_bytes > BATCH_BYTES_MAX):
            yield list(batch.values())
            batch, size_bytes = {}, 0
        batch[one.position] = one
        size_bytes += one.size_bytes
    if batch:
        yield list(batch.values())
