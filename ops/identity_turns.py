"""The records of `customer.merges` read back: how long a merge held, and who was together meanwhile.

Guarantees:
- Pure: a function of the records. A record that came twice counts once.
- A merge holds as long as one customer has members of two of its sides, whatever else joined or left
  meanwhile, and whatever the customer's id was.
- A side has seen whom it was in one customer with, and nobody else.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby

import msgspec

from models.identifiers import customer_id
from models.link import LinkFact
from models.merge import Group, turn_id
from models.rules import IdentityRules
from projections.graph import Graph
from projections.graph_nodes import MemoryNodes


class GroupTold(msgspec.Struct, frozen=True):
    """A customer before or after; of great many members only the first."""

    customer_id: str
    founder: str
    members: list[str]


class TurnTold(msgspec.Struct, frozen=True):
    """What `models.merge.wire_turn` has written of a turn."""

    generation: str
    position: int
    kind: str
    rule: str
    before: list[GroupTold]
    after: list[GroupTold]
    edges: list[dict[str, str | None]]
    truncated: bool = False


class TurnRecord(msgspec.Struct, frozen=True):
    """A record of the topic; `time` is when the fact that did it was logged (RFC 3339)."""

    id: str
    time: str
    data: TurnTold


class Span(msgspec.Struct, frozen=True):
    """Positions in the link log between which a customer had members of two sides; `until` None: still."""

    customer_id: str
    founder: str
    since: int
    until: int | None


class Holding(msgspec.Struct, frozen=True):
    """How a merge went on: its spans, what ended it (None: nothing), and who joined while it held.

    `joined` has, by subject, the side (its place in `before` of the merge) that it was left with; None while
    that is open. `saw` has for each side whom it was together with in a customer of several sides, itself
    among them. `complete`: no record that tells of it leaves members out.
    """

    spans: list[Span]
    ended_by: TurnRecord | None
    joined: dict[str, int | None]
    saw: list[set[str]]
    complete: bool

    def held(self, customer: str, position: int) -> bool:
        """Whether this customer at this position had members of two sides."""
        return any(
            one.customer_id == customer
            and one.since <= position
            and (one.until is None or position < one.until)
            for one in self.spans
        )


_decode = msgspec.json.Decoder(TurnRecord).decode


def read_turn(value: bytes | None) -> TurnRecord | None:
    """The turn of a record; None for what is none."""
    if value is None:
        return None
    try:
        return _decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def whole(
    facts: Iterable[tuple[int, LinkFact]], rules: IdentityRules, cut: Mapping[str, TurnRecord]
) -> dict[str, TurnRecord]:
    """Those of the `cut` turns, by id, that the facts of the link log lead to, with all their members.

    A turn is missing when the facts were heard under other rules.
    """
    found: dict[str, TurnRecord] = {}
    last = max((one.data.position for one in cut.values()), default=0)
    graph = Graph(rules, MemoryNodes())
    for position, fact in facts:
        if position > last:
            break
        change = graph.apply(fact, position)
        for turn in change.turns if change is not None else ():
            record = cut.get(turn_id(turn, position))
            if record is not None:
                groups = {"before": _told(turn.before), "after": _told(turn.after)}
                data = msgspec.structs.replace(record.data, truncated=False, **groups)
                found[record.id] = msgspec.structs.replace(record, data=data)
    return found


def _told(groups: Iterable[Group]) -> list[GroupTold]:
    return [GroupTold(customer_id(one.founder), one.founder, list(one.members)) for one in groups]


class _Together:
    """Whom each side has been together with."""

    def __init__(self, merge: TurnRecord) -> None:
        sides = merge.data.before
        self.side_of = {member: side for side, group in enumerate(sides) for member in group.members}
        self.saw: list[set[str]] = [set() for _ in sides]

    def note(self, members: Iterable[str]) -> None:
        """These are one customer."""
        together = set(members)
        sides = {self.side_of[one] for one in together if one in self.side_of}
        for side in sides if len(sides) > 1 else ():
            self.saw[side] |= together


def holding(merge: TurnRecord, turns: Iterable[TurnRecord]) -> Holding:
    """How long the merge held, by all turns of its generation."""
    together = _Together(merge)
    side_of = together.side_of
    company: dict[str, str] = {}
    _regroup(company, merge, together)
    since = dict.fromkeys(_mixed(company, side_of), merge.data.position)
    spans: list[Span] = []
    ended_by: TurnRecord | None = None
    complete = not merge.data.truncated
    for position, simultaneous in groupby(_later(merge, turns), key=lambda one: one.data.position):
        last = None
        founders = {*company.values()}
        for turn in simultaneous:
            # Where members are left out, the founder is not: a customer is known by it until it has another.
            if any(one.founder in founders or not company.keys().isdisjoint(one.members)
                   for one in turn.data.before):  # fmt: skip
                _regroup(company, turn, together)
                last, complete = turn, complete and not turn.data.truncated
        mixed = _mixed(company, side_of)
        for founder in [one for one in since if one not in mixed]:
            spans.append(Span(customer_id(founder), founder, since.pop(founder), position))
        for founder in mixed:
            since.setdefault(founder, position)
        if last is not None and not mixed:
            ended_by = last
            break
    spans += [Span(customer_id(founder), founder, at, None) for founder, at in sorted(since.items())]
    return Holding(spans, ended_by, _joined(company, together), together.saw, complete)


def with_late(found: Holding, merge: TurnRecord, customers: Iterable[Iterable[str]]) -> Holding:
    """The same with the members that its customers have now: whoever came alone is in no record."""
    together = _Together(merge)
    together.saw = [set(one) for one in found.saw]
    for members in customers:
        together.note(members)
    joined = dict.fromkeys(sorted(set().union(*together.saw) - together.side_of.keys()))
    return msgspec.structs.replace(found, joined={**joined, **found.joined}, saw=together.saw)


def _later(merge: TurnRecord, turns: Iterable[TurnRecord]) -> Iterator[TurnRecord]:
    found = {
        turn.id: turn
        for turn in turns
        if turn.data.generation == merge.data.generation and turn.data.position > merge.data.position
    }
    yield from sorted(found.values(), key=lambda turn: (turn.data.position, turn.id))


def _regroup(company: dict[str, str], turn: TurnRecord, together: _Together) -> None:
    for group in turn.data.before:
        # Who came alone meanwhile is in no turn of its own, and here.
        together.note(group.members)
        for member in group.members:
            company.pop(member, None)
    for group in turn.data.after:
        together.note(group.members)
        company.update(dict.fromkeys(group.members, group.founder))


def _sides(company: Mapping[str, str], side_of: Mapping[str, int]) -> dict[str, set[int]]:
    """Per customer, by founder, the sides that it has members of."""
    sides: dict[str, set[int]] = {}
    for member, founder in company.items():
        if member in side_of:
            sides.setdefault(founder, set()).add(side_of[member])
    return sides


def _mixed(company: Mapping[str, str], side_of: Mapping[str, int]) -> list[str]:
    return sorted(founder for founder, sides in _sides(company, side_of).items() if len(sides) > 1)


def _joined(company: Mapping[str, str], together: _Together) -> dict[str, int | None]:
    """Whom a side has seen that belonged to none, with the one side it is in a customer with at the end."""
    sides = _sides(company, together.side_of)
    joined = sorted(set().union(*together.saw) - together.side_of.keys())
    left_with = {member: sides.get(company.get(member, ""), set()) for member in joined}
    return {member: next(iter(at)) if len(at) == 1 else None for member, at in left_with.items()}
