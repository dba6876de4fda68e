"""Where a part's records lie in its lane: the offsets of the last 1,000, packed as the gaps between them.

Invariants:
- A function of the records folded, in log order, whatever the batches were; repeats are records too.
- What is older than that is forgotten, oldest first: a reader knows by `Part.revision` that there was more.
"""

from __future__ import annotations

from collections.abc import Sequence

from models.bounds import OFFSETS_REMEMBERED
from projections.parts import Part

# A gap is a varint (LEB128): seven bits a byte, lowest first; a byte below this is a gap's last.
_MORE = 0x80


def offsets_of(part: Part) -> list[int]:
    """The offsets of the last records folded into a part, ascending; of all if as many as `part.revision`."""
    if not part.revision:
        return []
    found, at = [part.offset], part.offset
    for gap in reversed(_read(part.gaps)):
        at -= gap
        found.append(at)
    found.reverse()
    return found


def extended(part: Part, offsets: Sequence[int]) -> tuple[int, bytes]:
    """`offset` and `gaps` of a part after records at these offsets.

    ValueError when one lies below those before it: a lane has one order, and a part one lane.
    """
    last, revision = part.offset, part.revision + len(offsets)
    gaps = bytearray(part.gaps)
    if not part.revision:
        last, offsets = offsets[0], offsets[1:]
    for offset in offsets:
        gap, last = offset - last, offset
        if gap < 0:
            raise ValueError(f"a record at {offset} is folded after one at {offset - gap}")
        while gap >= _MORE:
            gaps.append(gap & ~_MORE & 0xFF | _MORE)
            gap >>= 7
        gaps.append(gap)
    if revision > OFFSETS_REMEMBERED:
        del gaps[: _end_of(gaps, revision - max(part.revision, OFFSETS_REMEMBERED))]
    return last, bytes(gaps)


def _end_of(gaps: bytearray, count: int) -> int:
    """Where the first `count` gaps end."""
    for place, byte in enumerate(gaps):
        if byte < _MORE:
            count -= 1
            if not count:
                return place + 1
    return len(gaps)


def _read(gaps: bytes) -> list[int]:
    found, gap, shift = [], 0, 0
    for byte in gaps:
        gap |= (byte & ~_MORE) << shift
        shift += 7
        if byte < _MORE:
            found.append(gap)
            gap = shift = 0
    return found
