"""Which generations there are: each has a link log.

Guarantees:
- They come in order of their numbers; a topic that only looks like a link log is none.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from eventlog.admin import describe_topics

_LINK_TOPIC = re.compile(r"scv\.g([1-9][0-9]{0,8})\.links")


def number_of(generation: str) -> int:
    """7 of `g7`."""
    return int(generation[1:])


def generations_in(topics: Iterable[str]) -> list[str]:
    """The generations whose link logs are among these topics."""
    matches = (_LINK_TOPIC.fullmatch(name) for name in topics)
    return [f"g{number}" for number in sorted(int(match[1]) for match in matches if match)]


def generations_of(bootstrap: str) -> list[str]:
    """All generations that have a link log. LogError."""
    return generations_in(describe_topics(bootstrap))
