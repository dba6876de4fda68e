"""The names of the keys, in one place. Those marked public are read by other systems: docs/redis.md.

Invariants:
- Every key of a generation begins with `scv:{generation}:`; the part in braces is the hash tag.
"""

from __future__ import annotations

from models.record import Lane

ACTIVE = "scv:active"
"""Public. The active generation and its promotion number, as `g7 13`."""


class Keys:
    """The keys of one generation."""

    def __init__(self, generation: str) -> None:
        self.generation = generation
        self.prefix = f"scv:{generation}:"

    def checkpoint(self, lane: Lane) -> str:
        """Hash: `next`, `end`, `assembled` offsets, `at_ms`."""
        return f"{self.prefix}{{{lane}}}:cp"

    def dirty(self, lane: Lane) -> str:
        """Hash: subject → revision that is not assembled yet."""
        return f"{self.prefix}{{{lane}}}:dirty"

    def part(self, lane: Lane, subject: str) -> str:
        """String: the part, packed."""
        return f"{self.prefix}{{{lane}}}:part:{subject}"

    def lanes(self, subject: str) -> str:
        """Set: lanes that hold a part of the subject."""
        return f"{self.prefix}{{{subject}}}:lanes"

    def membership(self, subject: str) -> str:
        """String, JSON: stamp, founder, members; written by the identity writer."""
        return f"{self.prefix}{{{subject}}}:member"

    def identifier(self, name: str) -> str:
        """Public. String, JSON: the customers that an identifier or a subject belongs to."""
        return f"{self.prefix}{{{name}}}:ids"

    def reference(self, name: str) -> str:
        """Public. Set: subjects that named this order, case or invoice."""
        return f"{self.prefix}{{{name}}}:of"

    def profile(self, customer_id: str) -> str:
        """Public. Hash: one JSON per section, `version`, `state`, `founder`."""
        return f"{self.prefix}{{{customer_id}}}:profile"

    @property
    def shape(self) -> str:
        """String: hash of everything that shapes this generation's parts."""
        return f"{self.prefix}shape"
