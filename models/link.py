"""Link facts, what a lane tells the identity graph: a subject exists; it states an identifier.

Invariants:
- A fact names the lane and offset that it was read at, so that duplicates and order change nothing.
"""

from __future__ import annotations

import msgspec


class LinkFact(msgspec.Struct, frozen=True, omit_defaults=True):
    """`identifier` is `type:value`, normalised; None: the lane saw the subject for the first time."""

    subject: str
    lane: str
    offset: int
    log_us: int
    identifier: str | None = None
    verified: bool = False


def wire_link_fact(fact: LinkFact) -> bytes:
    """The value for the generation's link log; its key is the subject."""
    return msgspec.json.encode(fact)
