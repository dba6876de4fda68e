"""What `customer.profiles` tells: a customer's whole profile as a CloudEvent, or that there is none any more.

Invariants:
- The record's data is the document of profile.json, its sections byte for byte those of the store.
- The id is a hash of customer and published version: a repeat is recognisable.
- A customer that was merged away, or that a promoted generation has not, gets a record without value, which
  compaction understands; what it means stands in its headers, as a CloudEvent in binary mode.
- A record is always small enough for Kafka to take: a profile beyond that is named, not carried.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from models.bounds import SNAPSHOT_BYTES_MAX
from projections.assembling import DOCUMENT_ORDER, RESERVED, SCHEMA_VERSION

SOURCE = "scv"
CHANGED = "customer.profile_changed"
# By the state of a customer that is no more.
GONE = {"merged": "customer.profile_merged", "removed": "customer.profile_removed"}
REMOVED = "removed"
CONTENT_TYPE = b"application/cloudevents+json"
# Bookkeeping: it differs in every version, and would say nothing among the sections that changed.
UNTOLD = frozenset({"meta"})

_write = msgspec.json.Encoder().encode
_RESERVED = {name: _write(value) for name, value in RESERVED.items()}


class PublishedVersion(NamedTuple):
    """The version of a snapshot: compared number by number, the greater is the newer, whatever came between.

    `promotion` counts up whenever a generation becomes the active one; the others are the profile's version.
    """

    promotion: int
    position: int
    revisions: int

    def __str__(self) -> str:
        """`13.18231.42`."""
        return f"{self.promotion}.{self.position}.{self.revisions}"

    @classmethod
    def parse(cls, text: str) -> PublishedVersion:
        """The version that `13.18231.42` names; ValueError for anything else."""
        promotion, position, revisions = text.split(".")
        return cls(int(promotion), int(position), int(revisions))


class Snapshot(NamedTuple):
    """What is to be told of a customer. `sections` are JSON; `merged_into` is who holds its founder now."""

    customer_id: str
    version: PublishedVersion
    state: str
    founder: str
    sections: Mapping[str, bytes]
    changed: Sequence[str]
    cause: str
    merged_into: str | None = None


class Told(NamedTuple):
    """What a record of the topic says: enough to know what was published last.

    `sections` has a hash of each section; none for a tombstone, or for a profile that was too large.
    """

    version: PublishedVersion
    state: str
    sections: dict[str, str]
    changed: tuple[str, ...]


Wire = tuple[bytes | None, list[tuple[str, bytes]]]


class _Meta(msgspec.Struct):
    last_log_at: str | None = None


class _Envelope(msgspec.Struct):
    version: str
    changed: str = ""
    data: dict[str, msgspec.Raw] = {}


_read_meta = msgspec.json.Decoder(_Meta).decode
_read_envelope = msgspec.json.Decoder(_Envelope).decode


def snapshot_id(customer_id: str, version: PublishedVersion) -> str:
    """`prf_` and 64 bits of a hash of the customer and the published version."""
    return "prf_" + hashlib.sha256(f"{customer_id}:{version}".encode()).hexdigest()[:16]


def section_hashes(sections: Mapping[str, bytes]) -> dict[str, str]:
    """48 bits of a hash of each section but `meta`: whether it changed since it was published."""
    return {
        name: hashlib.blake2b(section, digest_size=6).hexdigest()
        for name, section in sections.items()
        if name not in UNTOLD
    }


def wire_snapshot(snapshot: Snapshot) -> Wire:
    """The value and headers of the record."""
    if snapshot.state != "live":
        return None, _tombstone_headers(snapshot)
    envelope = _attributes(snapshot, CHANGED)
    meta = _read_meta(snapshot.sections["meta"])
    if meta.last_log_at is not None:
        envelope["time"] = meta.last_log_at
    data = document_bytes(snapshot.customer_id, snapshot.founder, snapshot.sections)
    headers = [("content-type", CONTENT_TYPE)]
    if len(data) > SNAPSHOT_BYTES_MAX:
        return _write({**envelope, "dataref": f"/v1/profiles/{snapshot.customer_id}"}), headers
    head = _write({**envelope, "datacontenttype": "application/json"})
    return b'%b,"data":%b}' % (head[:-1], data), headers


def document_bytes(customer_id: str, founder: str, sections: Mapping[str, bytes]) -> bytes:
    """The document of profile.json as JSON, from its sections as they are stored."""
    head = {
        "schema_version": SCHEMA_VERSION, "customer_id": customer_id, "state": "live", "founder": founder,
    }  # fmt: skip
    parts = [
        b'"%b":%b' % (name.encode(), sections[name] if name in sections else _RESERVED.get(name, b"null"))
        for name in DOCUMENT_ORDER
    ]
    return b"%b,%b}" % (_write(head)[:-1], b",".join(parts))


def read_snapshot(value: bytes | None, headers: Sequence[tuple[str, bytes | None]]) -> Told:
    """What a record of `customer.profiles` says. ValueError (msgspec's, too) for one that is none of ours."""
    if value is None:
        told = {name: raw.decode() for name, raw in headers if raw is not None}
        version = told.get("ce_version")
        if version is None:
            raise ValueError("a record without value and without a version in its headers")
        states = [state for state, kind in GONE.items() if kind == told.get("ce_type")]
        return Told(PublishedVersion.parse(version), states[0] if states else "merged", {}, ())
    envelope = _read_envelope(value)
    sections = {name: bytes(raw) for name, raw in envelope.data.items() if name in DOCUMENT_ORDER}
    changed = tuple(name for name in envelope.changed.split(",") if name)
    return Told(PublishedVersion.parse(envelope.version), "live", section_hashes(sections), changed)


def _attributes(snapshot: Snapshot, kind: str) -> dict[str, Any]:
    attributes = {
        "specversion": "1.0",
        "id": snapshot_id(snapshot.customer_id, snapshot.version),
        "source": SOURCE,
        "type": kind,
        "subject": snapshot.customer_id,
        "version": str(snapshot.version),
        "cause": snapshot.cause,
    }
    if snapshot.changed:
        # CloudEvents attributes hold no lists; one may not be empty either.
        attributes["changed"] = ",".join(snapshot.changed)
    return attributes


def _tombstone_headers(snapshot: Snapshot) -> list[tuple[str, bytes]]:
    attributes = _attributes(snapshot, GONE[snapshot.state])
    if snapshot.merged_into is not None:
        attributes["mergedinto"] = snapshot.merged_into
    return [(f"ce_{name}", value.encode()) for name, value in attributes.items()]
