"""What `customer.merges` tells: customers that merged, split, exchanged members or changed their founder.

Invariants:
- The id is a hash of position and first founder, so that a repeat is recognisable.
- Every edge that is a reason is named, as a person would judge it.
- A record is always small enough for Kafka to take, whatever names it holds: else one merge would hold up the
  graph for good. What it cannot name it counts.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from typing import Any, Literal, NamedTuple

import msgspec

from models.bounds import MERGE_BYTES_MAX, MERGE_CUSTOMERS_MAX, MERGE_MEMBERS_MAX
from models.identifiers import customer_id

Kind = Literal["merged", "split", "regrouped", "refounded"]
EdgeStatus = Literal["linking", "rejected", "shared", "unlinked"]
EdgeStrength = Literal["person", "verified", "stated", "program"]

# Of a record: a command may carry 4,000 characters of reason, so 20 edges may be more than all of it.
_EDGES_BYTES = 96_000
# What stands around edges and customers, and around the names of a customer.
_ENVELOPE_BYTES = 2_000
_GROUP_BYTES = 150


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
    """The CloudEvent for `customer.merges`, of at most `MERGE_BYTES_MAX` bytes.

    `at` is the log time of the fact that did it (RFC 3339), `rule` what it was, and `instants` has the edges'
    `seen_us` in RFC 3339. Customers and members beyond what fits are counted, not named.
    """
    founder = (turn.after or turn.before)[0].founder
    edges = list(_within(_EDGES_BYTES, (_edge(one, instants[one.seen_us]) for one in turn.edges)))
    before, after = turn.before[:MERGE_CUSTOMERS_MAX], turn.after[:MERGE_CUSTOMERS_MAX]
    left = MERGE_BYTES_MAX - _ENVELOPE_BYTES - len(msgspec.json.encode(edges))
    share = left // (len(before) + len(after))
    named = [[_group(one, share) for one in side] for side in (before, after)]
    whole = len(before) == len(turn.before) and len(after) == len(turn.after)
    data: dict[str, Any] = {
        "generation": generation,
        "position": position,
        "kind": turn.kind,
        "rule": rule,
        "before": named[0],
        "before_count": len(turn.before),
        "after": named[1],
        "after_count": len(turn.after),
        "truncated": not whole
        or any(len(one["members"]) < one["member_count"] for side in named for one in side),
        "edges": edges,
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


def _within(bytes_max: int, values: Iterable[Any]) -> Iterator[Any]:
    """The first of these that fit into so many bytes of JSON."""
    for value in values:
        bytes_max -= len(msgspec.json.encode(value)) + 1
        if bytes_max < 0:
            return
        yield value


def _group(group: Group, bytes_max: int) -> dict[str, Any]:
    """A customer in at most so many bytes; of its members the founder is always named."""
    left = bytes_max - _GROUP_BYTES - 2 * len(msgspec.json.encode(group.founder))
    others = (one for one in group.members if one != group.founder)
    named = [one for one, _ in zip(_within(left, others), range(MERGE_MEMBERS_MAX - 1), strict=False)]
    return {
        "customer_id": customer_id(group.founder),
        "founder": group.founder,
        "members": sorted([group.founder, *named]),
        "member_count": len(group.members),
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
