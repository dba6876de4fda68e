"""A record that could not be folded, with the reason, the field and where it lies.

Invariants:
- Every record that is not folded becomes exactly one dead letter; the record itself travels along unchanged.
- A reason is one of a fixed set of words, so that it can be counted.
"""

from __future__ import annotations

import base64
from enum import StrEnum
from typing import Any

import msgspec


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


def wire_dead_letter(letter: DeadLetter, at: str) -> bytes:
    """The CloudEvent for `scv.dead-letters`; its id is the record's coordinates, so a repeat is recognisable.

    `at` is the record's log time (RFC 3339). Key, value and headers are base64: nothing of them is lost.
    """
    lane = f"{letter.topic}-{letter.partition}"
    data: dict[str, Any] = {
        "reason": letter.fault.reason,
        "pointer": letter.fault.pointer,
        "detail": letter.fault.detail,
        "topic": letter.topic,
        "partition": letter.partition,
        "offset": letter.offset,
        "timestamp_ms": letter.timestamp_ms,
        "key_base64": _text(letter.key),
        "value_base64": _text(letter.value),
        "headers": [{"name": name, "value_base64": _text(raw)} for name, raw in letter.headers],
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
