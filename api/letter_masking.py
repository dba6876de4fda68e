"""A dead letter without personal data: what an operator without `profile:read.pii` gets to see.

Invariants:
- Of an event's data only the names of fields are shown, if they have the form of one: what is broken may hold
  anything anywhere. Of its envelope, what says where it comes from, if it has the form of that.
- Of what a fault's detail quotes, only names of ours and of event types are shown.
- What is no JSON object is hidden whole.
"""

from __future__ import annotations

import re
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
    "type": re.compile(r"[a-z0-9_]{1,40}(\.[a-z0-9_]{1,40}){1,3}"),
    "time": re.compile(r"[0-9TZtz:. +-]{1,40}"),
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
_HEADER = re.compile(r"(?<=^header )(.+)(?= is not UTF-8$)", re.DOTALL)
# These quote what a source wrote; the others, words of ours: which there are to choose from.
_QUOTING = frozenset({Reason.UNKNOWN_TYPE, Reason.MALFORMED_SUBJECT})


def masked_detail(reason: str, detail: str) -> str:
    """What is wrong, without what it quotes of the record."""
    known = _SHOWN["type"] if reason in _QUOTING else _WORD
    text = _QUOTED.sub(lambda found: found[0] if known.fullmatch(found[0][1:-1]) else HIDDEN, detail)
    return _scrubbed(_HEADER.sub(lambda found: found[0] if _is_name(found[1]) else HIDDEN, text))


def masked_words(words: str) -> str:
    """What a person wrote about a letter, without what it quotes."""
    return _scrubbed(_QUOTED.sub(HIDDEN, words))


def masked_pointer(pointer: str) -> str:
    """Where it is wrong; a field whose name is no name is hidden."""
    return "/".join(
        part if not part or _is_name(part) or part.isdigit() else HIDDEN for part in pointer.split("/")
    )


def masked_key(key: str) -> str:
    """A key: a subject as everywhere; anything else is hidden."""
    return _scrubbed(mask_subject(key)) if SUBJECT.fullmatch(key) else HIDDEN


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
            shown[name if _is_name(name) else HIDDEN] = None if value is None else HIDDEN
    found: dict[str, Any] = msgspec.json.decode(scrubbed(msgspec.json.encode(shown)))
    return found


def _formed(attribute: str, value: str) -> str:
    return value if _SHOWN[attribute].fullmatch(value) else HIDDEN


def _names(value: Any) -> Any:
    if isinstance(value, dict):
        return {name if _is_name(name) else HIDDEN: _names(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_names(inner) for inner in value]
    return None if value is None else HIDDEN


def _is_name(text: str) -> bool:
    return _FIELD.fullmatch(text) is not None


def _scrubbed(text: str) -> str:
    return scrubbed(text.encode(errors="replace")).decode(errors="replace")
