"""Link facts, all that the identity graph ever hears: what lanes saw, and what persons and programs decided.

Invariants:
- A fact names the lane and offset that it was read at, so that duplicates and order change nothing.
- Commands are facts of the commands' lane, with their own offsets: the graph has one input.
- What is read back names nodes as the graph does, `type:value`, and is bounded: anything else is no fact.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from models.fields import ID_MAX, NAME_MAX, TEXT_MAX

# An actor under this is a program: the weakest voice there is.
PROGRAM_PREFIX = "matcher/"

# A value may hold any sign: identifiers are what sources state.
_NAME = r"\A[a-z][a-z0-9_.-]{0,31}:[\s\S]"
# A type, a colon and 200 characters, as events have them; of an identifier, capitals may be three times that.
SubjectNode = Annotated[str, msgspec.Meta(pattern=_NAME, max_length=32 + 1 + ID_MAX)]
NodeName = Annotated[str, msgspec.Meta(pattern=_NAME, max_length=32 + 1 + 3 * ID_MAX)]


def actor_name(text: str) -> str:
    """Who speaks: trimmed, and `matcher/` in small letters, so that no spelling makes a program a person."""
    name = text.strip()
    if not name.lower().startswith(PROGRAM_PREFIX):
        return name
    return PROGRAM_PREFIX + name[len(PROGRAM_PREFIX) :].strip()


class LinkFact(msgspec.Struct, frozen=True, omit_defaults=True):
    """`identifier` is `type:value`, normalised; None: the lane saw the subject for the first time.

    With a `command`, `identifier` is the other node of the pair; `erased` voids the subject's facts of this
    lane up to this offset, and names no other.
    """

    subject: SubjectNode
    lane: str
    offset: int
    log_us: int
    identifier: NodeName | None = None
    verified: bool = False
    command: Literal["link", "unlink", "verify", "erased"] | None = None
    actor: Annotated[str, msgspec.Meta(max_length=NAME_MAX)] | None = None
    reason: Annotated[str, msgspec.Meta(max_length=TEXT_MAX)] | None = None

    @property
    def by_program(self) -> bool:
        """Whether a program speaks, and no person."""
        return self.actor is not None and actor_name(self.actor).startswith(PROGRAM_PREFIX)


_decode = msgspec.json.Decoder(LinkFact).decode
# What an offset and an instant of a lane can be; Redis compares whole numbers up to 2^53.
_OFFSETS = range(2**53)
_INSTANTS_US = range(253_402_300_800_000_000)


def wire_link_fact(fact: LinkFact) -> bytes:
    """The value for the generation's link log; its key is the subject."""
    return msgspec.json.encode(fact)


def read_link_fact(value: bytes | None) -> LinkFact | None:
    """The fact of a record of the link log; None when it is none."""
    if value is None:
        return None
    try:
        fact = _decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    pair = fact.command in ("link", "unlink", "verify")
    sound = fact.offset in _OFFSETS and fact.log_us in _INSTANTS_US
    return fact if sound and not (pair and fact.identifier is None) else None
