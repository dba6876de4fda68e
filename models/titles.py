"""One line of text for an event, as the timeline shows it: the templates of `shown_as`.

Invariants:
- The same event always gives the same title; no locale, no clock.
- A title has at most 120 characters.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from typing import Any

from models.event import EVENT_TYPES

# One line of the agent's timeline.
TITLE_MAX = 120

_PIECE = re.compile(r"\[([^\]]*)\]|\{(\w+)(?::(\w+))?\}|([^\[{]+)")
_TALK = {"chat": "Chat", "phone": "Call", "email": "Email"}


def words(text: str) -> str:
    """`card_expired` as `card expired`."""
    return text.replace("_", " ")


_FILTERS: dict[str | None, Callable[[Any], str]] = {
    None: str,
    "words": words,
    "upper": str.upper,
    "granted": lambda granted: "given" if granted else "withdrawn",
    "minutes": lambda seconds: f"{-(-seconds // 60)} min",
    "talk": lambda channel: _TALK.get(channel, "Conversation"),
    "who": lambda automated: "assistant" if automated else "agent",
}


def _piece(field: str, name: str | None) -> Callable[[Any], str]:
    shown = _FILTERS[name]
    return lambda data: shown(getattr(data, field))


def _fixed(text: str) -> Callable[[Any], str]:
    return lambda _: text


def _optional(template: str) -> Callable[[Any], str]:
    inner, fields = _compiled(template), re.findall(r"\{(\w+)", template)
    return lambda data: inner(data) if all(getattr(data, field) is not None for field in fields) else ""


def _compiled(template: str) -> Callable[[Any], str]:
    pieces: list[Callable[[Any], str]] = []
    for optional, field, name, text in _PIECE.findall(template):
        if optional:
            pieces.append(_optional(optional))
        elif field:
            pieces.append(_piece(field, name or None))
        else:
            pieces.append(_fixed(text))
    if len(pieces) == 1:
        return pieces[0]
    return lambda data: "".join([piece(data) for piece in pieces])


@cache
def title_of(wire_type: str) -> Callable[[Any], str]:
    """The function that makes the title from an event's data."""
    make = _compiled(EVENT_TYPES[wire_type].shown_as)
    return lambda data: cut(make(data), TITLE_MAX)


def cut(text: str, limit: int) -> str:
    """At most `limit` characters; the last one is an ellipsis when something was cut."""
    return text if len(text) <= limit else text[: limit - 1] + "…"
