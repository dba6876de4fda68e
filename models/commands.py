"""The records of `identity.commands`: what a person or a program decided about who is who."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from models.event import EventData
from models.fields import NAME_MAX, TEXT_MAX, Id, IdentifierType, SubjectName
from models.link import PROGRAM_PREFIX, actor_name

# More than blanks. To Python separators of files and groups are blanks, to pydantic not: named, to both.
_WORDS = r"[^\s\x1c-\x1f]"
# As `matcher/splink` or `E-7`; an actor under `matcher/` is a program.
Actor = Annotated[str, Field(pattern=_WORDS, max_length=NAME_MAX)]
Why = Annotated[str, Field(pattern=_WORDS, max_length=TEXT_MAX)]
"""In words: blanks are no reason."""
Node = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_.-]{0,31}:[^\x00-\x1f\x7f]{1,200}$")]
"""A subject or an identifier, `type:value`."""


class Command(EventData):
    """Everything that a command says of itself."""

    actor: Actor
    reason: Why

    @staticmethod
    def fault(data: Any) -> str | None:
        """A program has a name."""
        if actor_name(data.actor) != PROGRAM_PREFIX:
            return None
        return f"{PROGRAM_PREFIX} is no actor; name the program, as {PROGRAM_PREFIX}splink"


class Pair(Command):
    """Two subjects, or a subject and an identifier."""

    subject: SubjectName
    other: Node

    @staticmethod
    def fault(data: Any) -> str | None:
        """A pair has two different nodes."""
        if data.subject == data.other:
            return "a command on a pair needs two different nodes"
        return Command.fault(data)


class Link(Pair, wire_type="identity.link", shown_as="Linked with {other} by {actor}"):
    """These belong together."""


class Unlink(Pair, wire_type="identity.unlink", shown_as="Unlinked from {other} by {actor}"):
    """These do not."""


class Erase(Command, wire_type="identity.erase", shown_as="Erasure ordered by {actor}"):
    """Forget this subject's customer (L6)."""

    subject: SubjectName


class Verify(Command, wire_type="identity.verify", shown_as="Identifier verified by {actor}"):
    """This subject has proved to hold this identifier."""

    subject: SubjectName
    identifier_type: IdentifierType
    identifier_value: Id
