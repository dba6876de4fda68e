"""Pairs of customers that may be one person: what the graph could not join, and what a program found.

Guarantees:
- Reads only. Each pair once, the likeliest first, under the founders of now.
- A pair that is one customer by now, or that a person has parted, is no candidate any more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import msgspec

from models.identifiers import customer_id
from models.rules import IdentityRules
from ops.identity_view import GraphView
from projections.graph_nodes import HUMAN, PROGRAM, UNVERIFIED, VERIFIED, Node, Placement, unpack_node
from stores.candidates import CandidatePair
from stores.packing import Packing

# Keys that one call of SCAN looks at: a tenth of a millisecond of the server's time, then others get theirs.
KEYS_PER_SCAN = 500
# About 400 bytes each; whoever has more must change the rules before anybody judges pairs.
PAIRS_MAX = 1_000_000
# Pairs whose members are read at a time.
PAIRS_PER_READ = 100


class Candidate(msgspec.Struct):
    """Two customers by their founders, the lesser first, and why they may be one person.

    `via`: types of the identifiers that would join them, `matcher`, `person`; `strength` of the strongest,
    as the rules have it. `subject` and `other`: whom a command would name. `probability`, `weight` (bits) and
    `actor` are a program's, None where none spoke.
    """

    a: str
    b: str
    subject: str
    other: str
    via: list[str]
    strength: int = 0
    probability: float | None = None
    weight: float | None = None
    actor: str | None = None

    @property
    def rank(self) -> tuple[float, int, str, str]:
        """The least first: by a program's probability, then by strength."""
        return -(self.probability or 0.0), -self.strength, self.a, self.b


class Scanned(NamedTuple):
    """What a walk through the graph gives: pairs by founders, and customers that weak edges no longer join.

    `oversized` has, by founder, the members and the floor of its component (`Node.floor`): what is weaker has
    stopped linking there. `complete`: all of it fitted into `PAIRS_MAX`.
    """

    pairs: dict[tuple[str, str], Candidate]
    oversized: dict[str, tuple[int, int]]
    complete: bool


def scanned(view: GraphView, told: Callable[[int], None]) -> Scanned:
    """Walk through all customers; `told` hears how many keys were looked at."""
    found: dict[tuple[str, str], Candidate] = {}
    oversized: dict[str, tuple[int, int]] = {}
    for placement, floor in _placements(view, told):
        if len(found) >= PAIRS_MAX or len(oversized) >= PAIRS_MAX:
            return Scanned(found, oversized, False)
        if floor > PROGRAM:
            oversized[placement.founder] = len(placement.members), floor
        for founder, via in placement.related:
            a, b = sorted((placement.founder, founder))
            one = found.setdefault((a, b), Candidate(a, b, a, b, []))
            if via not in one.via:
                one.via = sorted([*one.via, via])
                one.strength = max(one.strength, strength_of(via, view.rules))
    return Scanned(found, oversized, True)


def strength_of(via: str, rules: IdentityRules) -> int:
    """The strength of what leads to a possible match; of a command's 0: its word counted and did not hold."""
    if via in ("matcher", "person"):
        return 0
    return rules.subject(via).strength if rules.declares(via) else rules.identifier(via).strength


def floor_told(floor: int) -> str:
    """What still links in a component that is too large, in words."""
    if floor >= HUMAN:
        return "only links by persons"
    kind, least = ("verified", VERIFIED) if floor > VERIFIED else ("stated", UNVERIFIED)
    return f"{kind} links of strength {floor - least} and stronger"


def _placements(view: GraphView, told: Callable[[int], None]) -> Iterator[tuple[Placement, int]]:
    """Every customer of the graph with its component's floor, in no order; one may come twice."""
    pattern = view.keys.part(view.keys.links, "*")
    cursor, looked, packing = 0, 0, Packing()
    while True:
        cursor, keys = view.client.scan(cursor, match=pattern, count=KEYS_PER_SCAN)
        looked += KEYS_PER_SCAN
        told(looked)
        for packed in view.client.mget(keys) if keys else ():
            node = unpack_node(None if packed is None else packing.unpack(packed))
            if node.placement is not None:
                yield node.placement, node.floor
        if cursor == 0:
            return


def with_suggested(
    found: dict[tuple[str, str], Candidate], suggested: Iterable[CandidatePair]
) -> list[Candidate]:
    """The pairs of the graph and those of a program as one list, the likeliest first."""
    for pair in suggested:
        one = found.get((pair.a, pair.b)) or Candidate(pair.a, pair.b, pair.subject, pair.other, [])
        one.subject, one.other = pair.subject, pair.other
        one.probability, one.weight, one.actor = pair.probability, pair.weight, pair.actor
        found[pair.a, pair.b] = one
    return sorted(found.values(), key=lambda one: one.rank)


def open_pairs(view: GraphView, ranked: list[Candidate]) -> Iterator[Candidate]:
    """Those that still wait for a person, under the founders of now."""
    told: set[tuple[str, str]] = set()
    for at in range(0, len(ranked), PAIRS_PER_READ):
        chunk = ranked[at : at + PAIRS_PER_READ]
        nodes = view.nodes()
        nodes.get_many(name for one in chunk for name in (one.subject, one.other))
        placements = _placed(nodes, (name for one in chunk for name in (one.subject, one.other)))
        nodes.get_many(member for placement in placements.values() for member in placement.members)
        for one in chunk:
            mine, theirs = placements.get(one.subject), placements.get(one.other)
            if mine is None or theirs is None or mine.founder == theirs.founder:
                continue
            pair = (min(mine.founder, theirs.founder), max(mine.founder, theirs.founder))
            if pair in told or parted(nodes, mine, theirs):
                continue
            told.add(pair)
            yield msgspec.structs.replace(one, a=pair[0], b=pair[1])


def _placed(nodes: Any, names: Iterable[str]) -> dict[str, Placement]:
    """Where these subjects are now."""
    founders = {name: founder for name in names if (founder := nodes[name].founder) is not None}
    nodes.get_many(founders.values())
    found = {}
    for name, founder in founders.items():
        placement = nodes[founder].placement
        if placement is not None and name in placement.members:
            found[name] = placement
    return found


def parted(nodes: Mapping[str, Node], mine: Placement, theirs: Placement) -> bool:
    """Whether a person has said of any two of them that they do not belong together.

    `nodes` has the members of `mine`.
    """
    others = set(theirs.members)
    return any(
        pair.unlinked and other in others
        for member in mine.members
        for other, pair in nodes[member].pairs.items()
    )


def names_of(client: Any, view: GraphView, founders: Iterable[str]) -> dict[str, str | None]:
    """The display names of customers, by founder; None where the profile says none."""
    pipe = client.pipeline(transaction=False)
    wanted = list(dict.fromkeys(founders))
    for founder in wanted:
        pipe.hget(view.keys.profile(customer_id(founder)), "summary")
    summaries = pipe.execute() if wanted else []
    return {
        founder: None if summary is None else msgspec.json.decode(summary).get("display_name")
        for founder, summary in zip(wanted, summaries, strict=True)
    }
