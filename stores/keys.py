"""The names of the keys, in one place. Those marked public are read by other systems: docs/redis.md.

Invariants:
- Every key of a generation begins with `scv:{generation}:`; the part in braces is the hash tag.
"""

from __future__ import annotations

from models.catalogue import link_topic
from models.record import Lane

ACTIVE = "scv:active"
"""Public. The active generation and its promotion number, as `g7 13`."""


class Keys:
    """The keys of one generation."""

    def __init__(self, generation: str) -> None:
        self.generation = generation
        self.prefix = f"scv:{generation}:"
        self.links = Lane(link_topic(generation), 0)
        """The lane that the identity graph is made of; its keys share the tag `{links}`."""
        self._graph = f"{self.prefix}{{links}}:"

    def _of_lane(self, lane: Lane) -> str:
        return self._graph if lane == self.links else f"{self.prefix}{{{lane}}}:"

    def checkpoint(self, lane: Lane) -> str:
        """Hash: `next`, `end`, `assembled` offsets, `at_ms`."""
        return self._of_lane(lane) + "cp"

    def dirty(self, lane: Lane) -> str:
        """Hash: subject → revision that is not assembled yet; of the graph: node → stamp."""
        return self._of_lane(lane) + "dirty"

    def part(self, lane: Lane, subject: str) -> str:
        """String: the part, packed; of the graph: the node."""
        kind = "node" if lane == self.links else "part"
        return f"{self._of_lane(lane)}{kind}:{subject}"

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
    def feed(self) -> str:
        """Public. Stream: customer, version, state and sections of what was published, the latest 100,000."""
        return f"{self.prefix}{{feed}}:changes"

    @property
    def candidates(self) -> str:
        """Hash: two founders, `crm:1|crm:2`, → JSON: what a program found of them; `stores.candidates`."""
        return self._graph + "candidates"

    @property
    def shape(self) -> str:
        """String: hash of everything that shapes this generation's parts."""
        return f"{self.prefix}shape"

    @property
    def reassembling(self) -> str:
        """String: the configuration by which profiles are being derived again, until subscribers are told."""
        return f"{self.prefix}reassembling"

    @property
    def rebuild(self) -> str:
        """Hash: how far the rebuild of this generation is; `stores.rebuilding`."""
        return f"{self.prefix}rebuild"

    @property
    def rebuilder(self) -> str:
        """String: which process is at the rebuild now."""
        return f"{self.prefix}rebuilder"
