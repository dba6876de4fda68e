"""A dead letter's record as it is shown: whole to a reader of personal data, else its shape.

Invariants:
- Without `profile:read.pii` no text, number or truth of the record is shown, and no name of a field that is
  not of the form that fields have: what is broken may hold anything anywhere.
- At most `SHOWN_CHARACTERS_MAX` are shown, and what is left out is said.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import msgspec

from api.masking import HIDDEN, mask_subject, scrubbed
from models.dead_letter import Reason
from models.letters import Letter

# A screen or two; the whole record lies in the log.
SHOWN_CHARACTERS_MAX = 16_000
# Deeper is no event: events have four levels.
DEPTH_MAX = 8
ENTRIES_MAX = 100
HEX_BYTES_MAX = 512

_FIELD = re.compile(r"[a-z][a-z_]{0,39}")
_WIRE_TYPE = re.compile(r"[a-z_]{1,40}(\.[a-z_]{1,40}){1,2}")
_WORD = re.compile(r"[a-z0-9_.:-]{1,40}")
_QUOTED = re.compile(r"'(?:\\.|[^'\\])*'|\"(?:\\.|[^\"\\])*\"")
_HEADER = re.compile(r"(?<=^header )(.+)(?= is not UTF-8$)")
# These quote what a source wrote; the others, words of ours: which there are to choose from.
_QUOTING = frozenset({Reason.UNKNOWN_TYPE, Reason.MALFORMED_SUBJECT})
_SUBJECT = re.compile(r"[a-z][a-z0-9_.-]{0,31}:[A-Za-z0-9_.-]{1,40}")


class ShownRecord(NamedTuple):
    """`key` and `value` as text (None: the record had none), `about` in words, whether they are `masked`."""

    key: str | None
    value: str | None
    about: str
    headers: tuple[tuple[str, str], ...]
    masked: bool


def shown_detail(reason: str, text: str, *, personal: bool) -> str:
    """The sentence that says what is wrong; of what it quotes only names of ours are shown."""
    if personal:
        return text
    known = _WIRE_TYPE if reason in _QUOTING else _WORD
    text = _QUOTED.sub(lambda found: found[0] if known.fullmatch(found[0][1:-1]) else HIDDEN, text)
    return _scrubbed(_HEADER.sub(lambda found: found[0] if _FIELD.fullmatch(found[1]) else HIDDEN, text))


def shown_pointer(text: str, *, personal: bool) -> str:
    """The place of the fault: names of fields and numbers of entries."""
    if personal or not text:
        return text
    parts = [one if _FIELD.fullmatch(one) or one.isdecimal() else HIDDEN for one in text.split("/")[1:]]
    return "".join("/" + part for part in parts)


def shown_record(letter: Letter, *, personal: bool) -> ShownRecord:
    """The record of this letter."""
    key, value = letter.key, letter.value
    about = "no value" if value is None else f"{len(value):,} bytes"
    if letter.omitted_bytes:
        about = f"{letter.omitted_bytes:,} bytes did not fit; the log has them at the record's place"
    headers = tuple(
        (name if personal or _FIELD.fullmatch(name) else HIDDEN, _told(raw) if personal else HIDDEN)
        for name, raw in letter.headers[:ENTRIES_MAX]
    )
    if personal:
        return ShownRecord(_told_or_none(key), _told_or_none(value), about, headers, False)
    return ShownRecord(_masked_key(key), _shape(value), about, headers, True)


def _told_or_none(raw: bytes | None) -> str | None:
    return None if raw is None else _told(raw)


def _told(raw: bytes | None) -> str:
    """As it came: JSON in lines, other text as it is, other bytes in hexadecimal."""
    raw = raw or b""
    try:
        text = msgspec.json.format(raw, indent=2).decode()
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        try:
            text = raw.decode()
        except UnicodeDecodeError:
            text = raw[:HEX_BYTES_MAX].hex(" ") + (" …" if len(raw) > HEX_BYTES_MAX else "")
    return _cut(text)


def _masked_key(raw: bytes | None) -> str | None:
    if raw is None:
        return None
    text = raw.decode(errors="replace")
    return _scrubbed(mask_subject(text)) if _SUBJECT.fullmatch(text) else HIDDEN


def _shape(raw: bytes | None) -> str | None:
    """Which fields there are, and of what kind and size each value is."""
    if raw is None:
        return None
    try:
        value = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return "no JSON"
    return _cut(msgspec.json.format(msgspec.json.encode(_kinds(value, 0)), indent=2).decode())


def _kinds(value: Any, depth: int) -> Any:
    match value:
        case None:
            return "null"
        case bool():
            return "true or false"
        case int():
            return "whole number"
        case float():
            return "number"
        case str():
            return f"text of {len(value)}"
    if depth >= DEPTH_MAX:
        return HIDDEN
    if isinstance(value, list):
        more = [f"and {len(value) - ENTRIES_MAX} more"] if len(value) > ENTRIES_MAX else []
        return [_kinds(one, depth + 1) for one in value[:ENTRIES_MAX]] + more
    shown: dict[str, Any] = {}
    for name, one in list(value.items())[:ENTRIES_MAX]:
        known = name if _FIELD.fullmatch(name) else f"{HIDDEN} ({len(shown) + 1})"
        shown[known] = _kinds(one, depth + 1)
    if len(value) > ENTRIES_MAX:
        shown[HIDDEN] = f"and {len(value) - ENTRIES_MAX} more"
    return shown


def _scrubbed(text: str) -> str:
    return scrubbed(text.encode(errors="replace")).decode(errors="replace")


def _cut(text: str) -> str:
    left = len(text) - SHOWN_CHARACTERS_MAX
    return text if left <= 0 else f"{text[:SHOWN_CHARACTERS_MAX]}\n… and {left:,} characters more"
