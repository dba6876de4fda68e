"""What of a stored profile goes out, as bytes: whole or masked, with how fresh it is.

Invariants:
- With `profile:read.pii` stored sections are sent as they are stored: nothing reads or writes their JSON.
- Without it every section goes through `api.masking`; founders too.
- Sections come in the order of the profile's document; one that nothing fills yet has its reserved value.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence

import msgspec

from api.freshness import Lag
from api.masking import cut, joined, mask_subject, scrubbed
from projections.assembling import DOCUMENT_ORDER, RESERVED, SCHEMA_VERSION
from stores.reading import StoredProfile

SECTIONS = DOCUMENT_ORDER
# What needs a scope of its own.
TIMELINE = "timeline"

_RESERVED = {name: msgspec.json.encode(value) for name, value in RESERVED.items()}
_NULL = b"null"
_LAST_EVENT = re.compile(rb'"last_event_at":"([^"\\]{1,40})"')
_write = msgspec.json.Encoder().encode


def document_of(stored: StoredProfile, sections: Sequence[str], *, personal: bool) -> bytes:
    """The profile as JSON: its head, and these sections."""
    founder = stored.founder if personal else mask_subject(stored.founder)
    pieces = [
        b'{"schema_version":%d,"customer_id":"%s","state":"live","founder":%s'
        % (SCHEMA_VERSION, stored.customer_id.encode(), _write(founder))
    ]
    for name in sections:
        pieces.append(b',"%b":%b' % (name.encode(), _unscrubbed(stored, name, personal=personal)))
    pieces.append(b"}")
    return b"".join(pieces) if personal else joined(pieces)


def section_of(stored: StoredProfile, name: str, *, personal: bool) -> bytes:
    """One section as JSON."""
    section = _unscrubbed(stored, name, personal=personal)
    return section if personal else scrubbed(section)


def _unscrubbed(stored: StoredProfile, name: str, *, personal: bool) -> bytes:
    held = stored.sections.get(name)
    if held is None:
        return _RESERVED.get(name, _NULL)
    return held if personal else cut(name, held)


def as_of(stored: StoredProfile | None, generation: str | None, lag: Lag) -> bytes:
    """How fresh an answer is, as JSON."""
    found = _LAST_EVENT.search(stored.sections.get("meta", b"")) if stored is not None else None
    return (
        b'{"last_event_at":%s,"version":%s,"generation":%s,"status":"%s","lag_records":%s,"lag_seconds":%s}'
        % (
            _NULL if found is None else b'"%s"' % found[1],
            _NULL if stored is None else b'"%s"' % stored.version.encode(),
            _NULL if generation is None else b'"%s"' % generation.encode(),
            lag.status.encode(),
            _write(lag.lag_records),
            _write(lag.lag_seconds),
        )
    )


def etag_of(document: bytes) -> str:
    """The tag of a document. Weak, since how fresh the answer is goes beside it and changes by itself."""
    return f'W/"{hashlib.blake2b(document, digest_size=12).hexdigest()}"'
