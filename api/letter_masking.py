"""A dead letter without personal data: what an operator without `profile:read.pii` gets to see.

Invariants:
- Of an event's data only the names of fields are shown, if they have the form of one: what is broken may hold
  anything anywhere. Of its envelope, what says where it comes from, if it has the form of that.
- Of what a fault's detail quotes, only words of ours and what has the form of an event type are shown.
- What is no JSON object is hidden whole.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from api.masking import HIDDEN, mask_subject, scrubbed
from models.dead_letter import Reason
from models.decoding import SUBJECT

# Attributes of the envelope that name systems, types and instants; in the form that these have.
_SHOWN = {
    "specversion": re.compile(r"\d\.\d"),
    "id": re.compile(r"[A-Za-z0-9_.:@/-]{1,100}"),
    "source": re.compile(r"[a-z0-9_.:/-]{1,100}"),
    "type": re.compile(r"[a-z_]{1,40}(\.[a-z_]{1,40}){1,2}"),
    "time": re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d[0-9TZtz:.+-]{0,20}"),
    "datacontenttype": re.compile(r"[a-z0-9.+/-]{1,100}"),
    "dataschema": re.compile(r"[a-z0-9_.:/-]{1,200}"),
}
_HEADERS_SHOWN = {
    "content-type": "datacontenttype", "scv_redriven": "id", **{f"ce_{name}": name for name in _SHOWN},
}  # fmt: skip
_FIELD = re.compile(r"[a-z][a-z_]{0,39}")
_WORD = re.compile(r"[a-z0-9_.:-]{1,40}")
# An apostrophe inside a word quotes nothing; what was cut before its quote ended does.
_QUOTED = re.compile(r"""(?<!\w)(?:'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*"|`[^`]*`|['"`].*$)""", re.DOTALL)
_HEADER, _NOT_UTF8 = "header ", " is not UTF-8"
_KEY = re.compile(r"[a-z][a-z0-9_.-]{0,31}:[A-Za-z0-9_.-]{1,40}")
# Longer lists have other faults; longer numbers are somebody's.
_PLACE = re.compile(r"\d{1,3}")


def masked_detail(reason: str, detail: str) -> str:
    """What is wrong, without what it quotes of the record."""
    if reason == Reason.NOT_UTF8 and detail.startswith(_HEADER):
        name = detail.removeprefix(_HEADER).removesuffix(_NOT_UTF8)
        return _HEADER + (name if _is_name(name) else HIDDEN) + _NOT_UTF8
    if reason == Reason.MALFORMED_SUBJECT:
        return masked_words(detail)
    # Whoever made it up has the type's name quoted; in all others stands which words there are.
    known = _SHOWN["type"] if reason == Reason.UNKNOWN_TYPE else _WORD
    return _scrubbed(
        _QUOTED.sub(lambda found: found[0] if known.fullmatch(found[0][1:-1]) else HIDDEN, detail)
    )


def masked_words(words: str) -> str:
    """What a person wrote about a letter, without what it quotes."""
    return _scrubbed(_QUOTED.sub(HIDDEN, words))


def masked_pointer(pointer: str) -> str:
    """Where it is wrong; a field whose name is no name is hidden."""
    return "/".join(
        part if not part or _is_name(part) or _PLACE.fullmatch(part) else HIDDEN
        for part in pointer.split("/")
    )


def masked_key(key: str) -> str:
    """A key: a subject as everywhere, if it has the form of most; anything else is hidden."""
    masked = mask_subject(key)
    shown = _KEY.fullmatch(key) or (SUBJECT.fullmatch(key) and masked != key)
    return _scrubbed(masked) if shown else HIDDEN


def masked_header(name: str, value: str | None) -> dict[str, Any]:
    """A header of the record."""
    lower = name.lower()
    if value is None or lower in _HEADERS_SHOWN:
        shown = None if value is None else _scrubbed(_formed(_HEADERS_SHOWN[lower], value))
    else:
        shown = masked_key(value) if lower == "ce_subject" else HIDDEN
    return {"name": name if lower in _HEADERS_SHOWN or _is_name(name) else HIDDEN, "value": shown}


def masked_event(event: dict[str, Any]) -> dict[str, Any]:
    """An event: where it comes from, and the names of its fields."""
    shown: dict[str, Any] = {}
    for name, value in event.items():
        if name == "data":
            shown[name] = _names(value)
        elif name == "subject" and isinstance(value, str):
            shown[name] = masked_key(value)
        elif name in _SHOWN and isinstance(value, str):
            shown[name] = _formed(name, value)
        else:
            shown[_told_name(name, shown)] = None if value is None else HIDDEN
    found: dict[str, Any] = msgspec.json.decode(scrubbed(msgspec.json.encode(shown)))
    return found


def _formed(attribute: str, value: str) -> str:
    return value if _SHOWN[attribute].fullmatch(value) else HIDDEN


def _names(value: Any) -> Any:
    if isinstance(value, dict):
        shown: dict[str, Any] = {}
        for name, inner in value.items():
            shown[_told_name(name, shown)] = _names(inner)
        return shown
    if isinstance(value, list):
        return [_names(inner) for inner in value]
    return None if value is None else HIDDEN


def _told_name(name: str, beside: Mapping[str, Any]) -> str:
    """The name of a field; hidden ones are told apart by how many there are before."""
    if _is_name(name):
        return name
    return HIDDEN if HIDDEN not in beside else f"{HIDDEN} ({len(beside) + 1})"


def _is_name(text: str) -> bool:
    return _FIELD.fullmatch(text) is not None


def _scrubbed(text: str) -> str:
    return scrubbed(text.encode(errors="replace")).decode(errors="replace")
