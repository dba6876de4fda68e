"""What a worker remembers of the parts of its lanes.

Invariants:
- A lane's memory is dropped as a whole; what is forgotten is read again with its checkpoint.
- The bytes remembered stay under a limit; the parts used longest ago go first, of the lane that grows.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping

from models.record import Lane
from projections.parts import Part

# What an entry costs beside its sections: the part, its list, the key and the dict's slot, measured.
ENTRY_BYTES = 700


class PartCache:
    """Parts by lane and subject, up to `limit_bytes`."""

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.bytes = 0
        self._lanes: dict[Lane, OrderedDict[str, Part]] = {}
        self._sizes: dict[Lane, dict[str, int]] = {}

    def of(self, lane: Lane) -> Mapping[str, Part]:
        """What is remembered of a lane."""
        return self._lanes.setdefault(lane, OrderedDict())

    @property
    def parts(self) -> int:
        """How many parts are remembered. Any thread may ask."""
        return sum(map(len, list(self._lanes.values())))

    def put(self, lane: Lane, subject: str, part: Part, size_bytes: int) -> None:
        """Remember a part as the newest of its lane."""
        parts = self._lanes.setdefault(lane, OrderedDict())
        sizes = self._sizes.setdefault(lane, {})
        self.bytes += size_bytes + ENTRY_BYTES - sizes.get(subject, 0)
        sizes[subject] = size_bytes + ENTRY_BYTES
        parts[subject] = part
        parts.move_to_end(subject)

    def trim(self) -> None:
        """Forget the oldest parts while there are too many bytes; between rounds: a round keeps its own."""
        while self.bytes > self.limit_bytes:
            lane = max(self._sizes, key=lambda one: len(self._sizes[one]))
            subject, _ = self._lanes[lane].popitem(last=False)
            self.bytes -= self._sizes[lane].pop(subject)

    def drop(self, lane: Lane) -> None:
        """Forget a lane."""
        self._lanes.pop(lane, None)
        self.bytes -= sum(self._sizes.pop(lane, {}).values())
