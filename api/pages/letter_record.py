"""The record of a dead letter as text for a screen: as it came, or masked as the API masks it.

Invariants:
- At most `SHOWN_CHARACTERS_MAX` are shown, and what is left out is said.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from api.letter_masking import masked_event, masked_header, masked_key
from models.letters import Letter
from projections.redriving import event_in

# A screen or two; the whole record lies in the log.
SHOWN_CHARACTERS_MAX = 16_000
HEADERS_MAX = 100
HEX_BYTES_MAX = 512


class ShownRecord(NamedTuple):
    """`key` and `value` as text (None: the record had none), `about` in words, whether they are `masked`."""

    key: str | None
    value: str | None
    about: str
    headers: list[tuple[str, str | None]]
    masked: bool


def shown_record(letter: Letter, *, personal: bool) -> ShownRecord:
    """The record of this letter; whole only to a reader of personal data."""
    key, value = letter.key, letter.value
    about = "no value" if value is None else f"{len(value):,} bytes"
    if letter.omitted_bytes:
        about = f"{letter.omitted_bytes:,} bytes did not fit; the log has them at the record's place"
    headers = letter.headers[:HEADERS_MAX]
    if personal:
        told = [(name, _told(raw)) for name, raw in headers]
        return ShownRecord(_told(key), _told(value), about, told, False)
    masked = [masked_header(name, None if raw is None else _text(raw)) for name, raw in headers]
    return ShownRecord(
        None if key is None else masked_key(_text(key)),
        None if value is None else _masked(letter),
        about,
        [(one["name"], one["value"]) for one in masked],
        True,
    )


def _told(raw: bytes | None) -> str | None:
    """As it came: JSON in lines, other text as it is, other bytes in hexadecimal."""
    if raw is None:
        return None
    try:
        text = _lines(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        try:
            text = raw.decode()
        except UnicodeDecodeError:
            text = raw[:HEX_BYTES_MAX].hex(" ") + (" …" if len(raw) > HEX_BYTES_MAX else "")
    return _cut(text)


def _masked(letter: Letter) -> str:
    event = event_in(letter)
    if event is None:
        return "no JSON object"
    return _cut(_lines(msgspec.json.encode(masked_event(msgspec.json.decode(event)))))


def _lines(json: bytes) -> str:
    return msgspec.json.format(json, indent=2).decode()


def _text(raw: bytes) -> str:
    return raw.decode(errors="replace")


def _cut(text: str) -> str:
    left = len(text) - SHOWN_CHARACTERS_MAX
    return text if left <= 0 else f"{text[:SHOWN_CHARACTERS_MAX]}\n… and {left:,} characters more"
