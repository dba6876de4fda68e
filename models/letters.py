"""A dead letter as it is read again, and what became of it.

Invariants:
- What a worker wrote comes back as it was received: key, value and headers byte for byte.
- A dead letter is named by the position of its record, `sales.events-5@1042`: the same however often it was
  written.
- What became of it (redriven, discarded) is a record of its own, written once; the letter never changes.
"""

from __future__ import annotations

import re
from base64 import b64decode
from typing import Annotated, Any, Literal, NamedTuple

import msgspec

from models.dead_letter import Fault, Reason
from models.fields import NAME_MAX, TEXT_MAX
from models.record import Lane

POSITION = re.compile(r"([A-Za-z0-9._-]{1,249})(?:-(\d{1,10})|\[(\d{1,10})\])@(\d{1,19})", re.ASCII)

# What a redriven record says of where it comes from: a header with the position of the dead letter.
REDRIVEN_HEADER = "scv_redriven"

HINTS: dict[Reason, str] = {
    Reason.TOO_LARGE: "send a smaller event: what is long belongs elsewhere, with a link to it",
    Reason.NO_VALUE: "nothing to redrive: discard it, and have the source write events, no tombstones",
    Reason.NOT_UTF8: "correct it with --file: text in UTF-8; have the source encode as UTF-8",
    Reason.NOT_JSON: "correct it with --file: one JSON object, without NaN and lone surrogates",
    Reason.TOO_DEEP: "correct it with --file: at most 16 levels",
    Reason.NOT_A_CLOUD_EVENT: "correct it with --file: specversion 1.0, attributes that CloudEvents allows",
    Reason.UNKNOWN_TYPE: "correct the type with --file; or add the type to models/, then redrive it",
    Reason.WRONG_DOMAIN: "redrive it as it is: it goes to the topic of its type",
    Reason.MISSING_SUBJECT: "correct it with --file: name the subject, as crm:4711; the key is made from it",
    Reason.MALFORMED_SUBJECT: "correct it with --file: a subject is namespace:value, as crm:4711",
    Reason.NO_KEY: "redrive it with --file, the event as it is: the key is made from its subject",
    Reason.KEY_IS_NOT_SUBJECT: "find out who it is about; redrive it with --file: the subject is the key",
    Reason.UNKNOWN_VERSION: "correct `dataschema` with --file, or teach scv the version, then redrive it",
    Reason.LIMIT_EXCEEDED: "correct it with --file: shorten what the pointer names",
    Reason.WRONG_SHAPE: "correct what the pointer names with --file",
}
"""What would make it right, by reason."""


class Position(NamedTuple):
    """Where the record of a dead letter lies; `str` is the letter's name, and the id of its CloudEvent."""

    lane: Lane
    offset: int

    def __str__(self) -> str:
        """`sales.events-5@1042`."""
        return f"{self.lane}@{self.offset}"

    @classmethod
    def parse(cls, text: str) -> Position:
        """The position that `sales.events-5@1042` or `sales.events[5]@1042` names; ValueError."""
        found = POSITION.fullmatch(text)
        if found is None:
            raise ValueError(f"{text[:80]!r} is no position; name one as sales.events-5@1042")
        topic, dashed, bracketed, offset = found.groups()
        return cls(Lane(topic, int(dashed or bracketed)), int(offset))


class Letter(msgspec.Struct, frozen=True):
    """A dead letter. `omitted_bytes` of its record were too large to travel along."""

    position: Position
    fault: Fault
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]
    omitted_bytes: int

    @property
    def hint(self) -> str:
        """What would make it right, in a line."""
        return HINTS[self.fault.reason]


class _Header(msgspec.Struct):
    name: str
    value_base64: str | None


class _Data(msgspec.Struct):
    reason: Reason
    pointer: str
    detail: str
    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key_base64: str | None
    value_base64: str | None
    headers: list[_Header]
    omitted_bytes: int = 0


class _Envelope(msgspec.Struct):
    type: Literal["scv.dead_letter"]
    data: _Data


_read_letter = msgspec.json.Decoder(_Envelope).decode


def _raw(text: str | None) -> bytes | None:
    return None if text is None else b64decode(text)


def read_letter(value: bytes | None) -> Letter:
    """The dead letter of a record of `scv.dead-letters`. ValueError (msgspec's, too) for anything else."""
    data = _read_letter(value or b"").data
    return Letter(
        Position(Lane(data.topic, data.partition), data.offset),
        Fault(data.reason, data.pointer, data.detail),
        data.timestamp_ms,
        _raw(data.key_base64),
        _raw(data.value_base64),
        tuple((header.name, _raw(header.value_base64)) for header in data.headers),
        data.omitted_bytes,
    )


class Settled(msgspec.Struct, frozen=True):
    """What became of a dead letter: who decided it, when (RFC 3339), and why; where a redriven one went."""

    position: str
    action: Literal["redriven", "discarded"]
    actor: Annotated[str, msgspec.Meta(max_length=NAME_MAX)]
    reason: Annotated[str, msgspec.Meta(max_length=TEXT_MAX)] | None
    at: str
    topic: str | None = None
    corrected: bool = False
    keyid: str | None = None


class _SettledEnvelope(msgspec.Struct):
    type: Literal["scv.dead_letter_redriven", "scv.dead_letter_discarded"]
    time: str
    subject: str
    data: dict[str, Any]


_read_settled = msgspec.json.Decoder(_SettledEnvelope).decode


def wire_settled(settled: Settled) -> bytes:
    """The CloudEvent for `scv.dead-letters.settled`; its key is the position."""
    kind = f"scv.dead_letter_{settled.action}"
    return msgspec.json.encode(
        {
            "specversion": "1.0",
            "id": f"{settled.position}/{settled.action}",
            "source": "scv",
            "type": kind,
            "time": settled.at,
            "subject": settled.position,
            "datacontenttype": "application/json",
            "data": {
                "actor": settled.actor,
                "reason": settled.reason,
                "topic": settled.topic,
                "corrected": settled.corrected,
                "keyid": settled.keyid,
            },
        }
    )


def read_settled(value: bytes | None) -> Settled:
    """What a record of `scv.dead-letters.settled` says. ValueError (msgspec's, too) for anything else."""
    envelope = _read_settled(value or b"")
    data = {**envelope.data, "position": envelope.subject, "at": envelope.time}
    return msgspec.convert({**data, "action": envelope.type.rpartition("_")[2]}, Settled)
