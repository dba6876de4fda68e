"""A part: what one subject has done in one lane, packed for the store.

Invariants:
- The packed bytes are a function of the records folded, in log order, whatever the batches were.
- Sections stay packed until an event touches them.
"""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec

from models.bounds import REPEATS_REMEMBERED
from projections.billing import Billing
from projections.consent import Consent
from projections.history import Highlights, Traits
from projections.identity import Identity
from projections.marketing import Marketing
from projections.sales import Sales
from projections.section import Section
from projections.seen import Seen
from projections.service import Service
from projections.timeline import Timeline

SECTIONS: tuple[type[Section], ...] = (
    Identity,
    Consent,
    Marketing,
    Sales,
    Service,
    Billing,
    Traits,
    Timeline,
    Highlights,
)
# What a section's bytes are before the first event that touches it: quicker to read than to make.
_ZEROS = [section.pack(section.zero()) for section in SECTIONS]
PLACE: dict[str, int] = {section.name: place for place, section in enumerate(SECTIONS)}

_DIGEST_BYTES = 8
_RECENT_BYTES = REPEATS_REMEMBERED * _DIGEST_BYTES


class Part(msgspec.Struct, array_like=True, gc=False):
    """What is packed: sections by place, as each packs its states; None before the first event of one.

    `revision`: records ever folded. `changed`: per section, the revision of the record that touched it last,
    so that equal numbers mean equal bytes. `recent`: digests of the last 64 events.
    `seen`: what every event adds to. `offset`: of the last record; `gaps`: back to those before it, as
    `projections.offsets` reads them.
    """

    revision: int
    changed: list[int]
    recent: bytes
    sections: list[bytes | None]
    seen: Seen | None = None
    offset: int = -1
    gaps: bytes = b""


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Part)


def empty() -> Part:
    """The part of a subject that the lane has not seen."""
    return Part(0, [0] * len(SECTIONS), b"", [None] * len(SECTIONS))


def pack(part: Part) -> bytes:
    """The bytes for the store."""
    return _encoder.encode(part)


def unpack(packed: bytes | None) -> Part:
    """The part of stored bytes; an empty one for None."""
    return empty() if packed is None else _decoder.decode(packed)


def states_of(part: Part, place: int) -> list[Any]:
    """The states of one section of a part, fresh to be changed."""
    return SECTIONS[place].read(part.sections[place] or _ZEROS[place])


def digest(source: str, event_id: str) -> bytes:
    """Eight bytes that stand for an event's identity among the last 64."""
    return hashlib.blake2b(f"{len(source)}:{source}{event_id}".encode(), digest_size=_DIGEST_BYTES).digest()


def is_repeat(recent: bytes, event: bytes) -> bool:
    """Whether this digest is among the remembered ones."""
    at = recent.find(event)
    while at >= 0 and at % _DIGEST_BYTES:
        at = recent.find(event, at + 1)
    return at >= 0


def remember(recent: bytes, event: bytes) -> bytes:
    """The remembered digests with one more, the oldest forgotten."""
    return (recent + event)[-_RECENT_BYTES:]
