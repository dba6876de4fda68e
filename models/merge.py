"""What `customer.merges` tells: customers that merged, split, exchanged members or changed their founder.

Invariants:
- The id is a hash of position and first founder, so that a repeat is recognisable.
- Every edge that is a reason is named, as a person would judge it.
"""

from __future__ import annotations

import hashlib
from typing import Any, Literal, NamedTuple

import msgspec

from models.identifiers import customer_id

Kind = Literal["merged", "split", "regrouped", "refounded"]
EdgeStatus = Literal["linking", "rejected", "shared", "unlinked"]
EdgeStrength = Literal["person", "verified", "stated", "program"]


class Evidence(msgspec.Struct, frozen=True):
    """One edge: `subject` states `other`, or a command names both. `seen_us`: when first seen, or said."""

    subject: str
    other: str
    status: EdgeStatus
    strength: EdgeStrength
    seen_us: int
    actor: str | None = None
    reason: str | None = None


class Group(NamedTuple):
    """A customer: its founder and members."""

    founder: str
    members: tuple[str, ...]


class Turn(NamedTuple):
    """Customers that one fact has merged, split or regrouped, or given another founder."""

    kind: Kind
    before: tuple[Group, ...]
    after: tuple[Group, ...]
    edges: tuple[Evidence, ...]


def turn_id(turn: Turn, position: int) -> str:
    """`mrg_` and 64 bits of a hash of the position and the first founder."""
    founder = (turn.after or turn.before)[0].founder
    return "mrg_" + hashlib.sha256(f"{position}:{founder}".encode()).hexdigest()[:16]


def wire_turn(
    turn: Turn, position: int, rule: str, generation: str, at: str, instants: dict[int, str]
) -> bytes:
    """The CloudEvent for `customer.merges`.

    `at` is the log time of the fact that did it (RFC 3339), `rule` what it was, and `instants` has the edges'
    `seen_us` in RFC 3339.
    """
    founder = (turn.after or turn.before)[0].founder
    data: dict[str, Any] = {
        "generation": generation,
        "position": position,
        "kind": turn.kind,
        "rule": rule,
        "before": [_group(one) for one in turn.before],
        "after": [_group(one) for one in turn.after],
        "edges": [_edge(one, instants[one.seen_us]) for one in turn.edges],
    }
    return msgspec.json.encode(
        {
            "specversion": "1.0",
            "id": turn_id(turn, position),
            "source": "scv",
            "type": f"customer.{turn.kind}",
            "time": at,
            "subject": customer_id(founder),
            "datacontenttype": "application/json",
            "data": data,
        }
    )


def _group(group: Group) -> dict[str, Any]:
    return {
        "customer_id": customer_id(group.founder),
        "founder": group.founder,
        "members": list(group.members),
    }


def _edge(edge: Evidence, seen_at: str) -> dict[str, Any]:
    return {
        "subject": edge.subject,
        "other": edge.other,
        "status": edge.status,
        "strength": edge.strength,
        "first_seen_at": seen_at,
        "actor": edge.actor,
        "reason": edge.reason,
    }
