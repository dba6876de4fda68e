"""A record and the lane it lies in, whichever client read it.

Guarantees:
- A record says where it lies (topic, partition, offset) and when it was logged; nothing is decoded.
- A lane's name is the same everywhere: in keys of the store, in metrics, in errors.
"""

from typing import NamedTuple


class Lane(NamedTuple):
    """One partition of one topic: the unit of order, of work and of commit."""

    topic: str
    partition: int

    def __str__(self) -> str:
        """`sales.events-5`, as it stands in the store's hash tags."""
        return f"{self.topic}-{self.partition}"

    @classmethod
    def parse(cls, name: str) -> "Lane":
        """The lane of a name such as `sales.events-5`; ValueError if the name has no partition."""
        topic, dash, partition = name.rpartition("-")
        # isdigit() alone accepts digits of other scripts and superscripts, which int() may refuse.
        if not (topic and dash and partition.isascii() and partition.isdigit()):
            raise ValueError(f"lane {name!r}: expected topic-partition, such as sales.events-5")
        return cls(topic, int(partition))


class Record(NamedTuple):
    """What Kafka holds at one offset of a lane.

    `timestamp_ms` is milliseconds since 1970 (UTC): the append time where the broker keeps one, else the
    producer's; -1 if the record has none. A `value` of None is a tombstone. `headers` keep their order,
    and a name may repeat; one may have no value.
    """

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes | None]]

    @property
    def lane(self) -> Lane:
        """The lane this record lies in."""
        return Lane(self.topic, self.partition)

    @property
    def timestamp(self) -> int:
        """`timestamp_ms`, as the records of a worker's client call it."""
        return self.timestamp_ms

    @property
    def place(self) -> str:
        """`sales.events[5]@1042`, as errors and dead letters name a record."""
        return f"{self.topic}[{self.partition}]@{self.offset}"
