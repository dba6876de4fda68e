"""Dead letters in a real log, made by the workers' own code; and what a worker would fold of it now.

Guarantees:
- Letters are those that `streams.folder` makes of the records that lie there.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from eventlog.admin import create_topics
from eventlog.dead_letters import SettledOffsets
from eventlog.producing import LogProducer
from eventlog.reading import read_topic
from eventlog.topics import DEAD_LETTERS, SALES, SETTLED
from models.dead_letter import wire_dead_letter
from models.letters import Settled, read_settled
from models.record import Lane, Record
from projections.folding import Projection
from projections.parts import Part
from projections.reducers import Configuration
from streams.folder import Folder, Prefix

Written = tuple[str, bytes | None, bytes | None]


def order(order_id: str, amount: Any = 4990, subject: str = "crm:4711", **envelope: Any) -> bytes:
    """An order's event."""
    data = {"order_id": order_id, "amount_minor": amount, "currency": "EUR"}
    event = {
        "specversion": "1.0", "id": f"evt-{order_id}", "source": "shop", "type": "sales.order_placed",
        "time": "2026-03-01T10:42:07Z", "subject": subject, "data": data,
    }  # fmt: skip
    return json.dumps({**event, **envelope}, separators=(",", ":")).encode()


class Consumed:
    """A record as a worker's client has it."""

    def __init__(self, record: Record) -> None:
        self.offset, self.key, self.value = record.offset, record.key, record.value
        self.headers, self.timestamp = record.headers, record.timestamp_ms


class LetterWorld:
    """A log in which letters lie."""

    def __init__(self, bootstrap: str, lanes: int = 2) -> None:
        self.bootstrap = bootstrap
        create_topics(bootstrap, lanes)

    def write(self, *records: Written) -> None:
        """Write these records."""
        with LogProducer(self.bootstrap) as producer:
            for topic, key, value in records:
                producer.produce(topic, key, value)

    def fold(self, topic: str = SALES, *, looking: bool = True) -> tuple[dict[str, Part], list[Any]]:
        """What a worker that reads this topic from the start folds of it: parts, and dead letters."""
        folder = Folder(Projection(Configuration()), SettledOffsets(self.bootstrap) if looking else None)
        changed: dict[str, Part] = {}
        letters: list[Any] = []
        by_lane: dict[Lane, list[Record]] = {}
        for record in read_topic(self.bootstrap, topic):
            by_lane.setdefault(record.lane, []).append(record)
        for lane, records in sorted(by_lane.items()):
            prefix = Prefix()
            for record in records:
                consumed: Any = Consumed(record)
                prefix.groups.setdefault(record.key, []).append(consumed)
            letters += folder.fold(lane, prefix, {}, changed).dead_letters
        return changed, letters

    def bury(self, *topics: str) -> list[str]:
        """Write the letters of what lies in these topics, as a worker does; gives their positions."""
        positions = []
        with LogProducer(self.bootstrap) as producer:
            for topic in topics or (SALES,):
                for letter in self.fold(topic)[1]:
                    lane = f"{letter.topic}-{letter.partition}"
                    producer.produce(
                        DEAD_LETTERS, lane.encode(), wire_dead_letter(letter, "2026-03-01T10:42:08Z")
                    )
                    positions.append(f"{lane}@{letter.offset}")
        return positions

    def records(self, topic: str = SALES) -> list[Record]:
        """The committed records of a topic."""
        return list(read_topic(self.bootstrap, topic))

    def marks(self) -> list[Settled]:
        """What became of letters."""
        return [read_settled(record.value) for record in self.records(SETTLED)]

    def folded(self, subject: str = "crm:4711", **how: Any) -> int:
        """How many records of a subject a worker would fold."""
        parts, _ = self.fold(**how)
        return 0 if subject not in parts else parts[subject].revision


def values(records: Iterable[Record]) -> Sequence[bytes | None]:
    """The values of records."""
    return [record.value for record in records]
