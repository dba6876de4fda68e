"""A record that could not be folded, with the reason, the field and where it lies.

Invariants:
- Every record that is not folded becomes exactly one dead letter; the record itself travels along unchanged.
- A dead letter is always small enough for Kafka to take: else one record would hold up its lane for good.
  What of a record does not fit stays behind; its coordinates say where all of it lies.
- A reason is one of a fixed set of words, so that it can be counted.
"""

from __future__ import annotations

import base64
from enum import StrEnum
from typing import Any

import msgspec

# Kafka takes a batch of 1 MiB unless told otherwise, its clients a message of 1 MB; the rest is for the
# envelope, which is under 20 kB.
CARRIED_BYTES_MAX = 900_000
# What JSON makes of a character in the worst case, and what surrounds one header.
ESCAPED_BYTES_MAX = 6
HEADER_BYTES = 40
# More says no more to a person.
DETAIL_MAX = 1_000


class Reason(StrEnum):
    """Why a record could not be folded, about in the order in which it is examined."""

    TOO_LARGE = "too_large"
    NO_VALUE = "no_value"
    NOT_UTF8 = "not_utf8"
    NOT_JSON = "not_json"
    TOO_DEEP = "too_deep"
    NOT_A_CLOUD_EVENT = "not_a_cloud_event"
    UNKNOWN_TYPE = "unknown_type"
    WRONG_DOMAIN = "wrong_domain"
    MISSING_SUBJECT = "missing_subject"
    MALFORMED_SUBJECT = "malformed_subject"
    NO_KEY = "no_key"
    KEY_IS_NOT_SUBJECT = "key_is_not_subject"
    UNKNOWN_VERSION = "unknown_version"
    LIMIT_EXCEEDED = "limit_exceeded"
    WRONG_SHAPE = "wrong_shape"


class Fault(msgspec.Struct, frozen=True):
    """What is wrong with a record: the reason, the field as a JSON pointer, and a sentence for people."""

    reason: Reason
    pointer: str
    detail: str


class DeadLetter(msgspec.Struct, frozen=True):
    """A fault with the record's coordinates and the record as it was received."""

    fault: Fault
    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]


def _text(raw: bytes | None) -> str | None:
    return None if raw is None else base64.b64encode(raw).decode()


def _wire_bytes(raw: bytes | None) -> int:
    return 0 if raw is None else (len(raw) + 2) // 3 * 4


def _header_bytes(name: str, raw: bytes | None) -> int:
    return HEADER_BYTES + ESCAPED_BYTES_MAX * len(name) + _wire_bytes(raw)


def _carried(letter: DeadLetter) -> DeadLetter:
    """The letter with what fits into a message: first the key, then the headers, then the value."""
    left = CARRIED_BYTES_MAX - _wire_bytes(letter.key)
    key, headers, value = letter.key, letter.headers, letter.value
    if left < 0:
        key, left = None, CARRIED_BYTES_MAX
    wanted = sum(_header_bytes(name, raw) for name, raw in headers)
    if wanted > left:
        headers = ()
    else:
        left -= wanted
    if _wire_bytes(value) > left:
        value = None
    return msgspec.structs.replace(letter, key=key, headers=headers, value=value)


def _raw_bytes(letter: DeadLetter) -> int:
    """The bytes of a record: key, value, headers."""
    headers = sum(len(name.encode()) + len(raw or b"") for name, raw in letter.headers)
    return len(letter.key or b"") + len(letter.value or b"") + headers


def wire_dead_letter(letter: DeadLetter, at: str) -> bytes:
    """The CloudEvent for `scv.dead-letters`; its id is the record's coordinates, so a repeat is recognisable.

    `at` is the record's log time (RFC 3339). Key, value and headers are base64: nothing of them is lost, but
    what is too large for a message of Kafka is left out, and counted.
    """
    omitted_bytes = _raw_bytes(letter)
    letter = _carried(letter)
    omitted_bytes -= _raw_bytes(letter)
    lane = f"{letter.topic}-{letter.partition}"
    data: dict[str, Any] = {
        "reason": letter.fault.reason,
        "pointer": letter.fault.pointer[:DETAIL_MAX],
        "detail": letter.fault.detail[:DETAIL_MAX],
        "topic": letter.topic,
        "partition": letter.partition,
        "offset": letter.offset,
        "timestamp_ms": letter.timestamp_ms,
        "key_base64": _text(letter.key),
        "value_base64": _text(letter.value),
        "headers": [{"name": name, "value_base64": _text(raw)} for name, raw in letter.headers],
        "omitted_bytes": omitted_bytes,
    }
    return msgspec.json.encode(
        {
            "specversion": "1.0",
            "id": f"{lane}@{letter.offset}",
            "source": "scv",
            "type": "scv.dead_letter",
            "time": at,
            "subject": lane,
            "datacontenttype": "application/json",
            "data": data,
        }
    )
