"""The records of `customer.merges` read back: how long a merge held, and under which customer ids.

Guarantees:
- Pure: a function of the records. A record that came twice counts once.
- A merge holds as long as one customer has members of two of its sides, whatever else joined or left
  meanwhile, and whatever the customer's id was.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby

import msgspec

from models.identifiers import customer_id


class GroupTold(msgspec.Struct, frozen=True):
    """A customer before or after."""

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
    that is open.
    """

    spans: list[Span]
    ended_by: TurnRecord | None
    joined: dict[str, int | None]

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


def holding(merge: TurnRecord, turns: Iterable[TurnRecord]) -> Holding:
    """How long the merge held, by all turns of its generation."""
    side_of = {member: side for side, group in enumerate(merge.data.before) for member in group.members}
    company: dict[str, str] = {}
    _regroup(company, merge)
    since = dict.fromkeys(_mixed(company, side_of), merge.data.position)
    spans: list[Span] = []
    ended_by: TurnRecord | None = None
    for position, together in groupby(_later(merge, turns), key=lambda one: one.data.position):
        last = None
        for turn in together:
            if any(member in company for group in turn.data.before for member in group.members):
                _regroup(company, turn)
                last = turn
        mixed = _mixed(company, side_of)
        for founder in [one for one in since if one not in mixed]:
            spans.append(Span(customer_id(founder), founder, since.pop(founder), position))
        for founder in mixed:
            since.setdefault(founder, position)
        if last is not None and not mixed:
            ended_by = last
            break
    spans += [Span(customer_id(founder), founder, at, None) for founder, at in sorted(since.items())]
    return Holding(spans, ended_by, _joined(company, side_of))


def _later(merge: TurnRecord, turns: Iterable[TurnRecord]) -> Iterator[TurnRecord]:
    found = {
        turn.id: turn
        for turn in turns
        if turn.data.generation == merge.data.generation and turn.data.position > merge.data.position
    }
    yield from sorted(found.values(), key=lambda turn: (turn.data.position, turn.id))


def _regroup(company: dict[str, str], turn: TurnRecord) -> None:
    for group in turn.data.before:
        for member in group.members:
            company.pop(member, None)
    for group in turn.data.after:
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


def _joined(company: Mapping[str, str], side_of: Mapping[str, int]) -> dict[str, int | None]:
    sides = _sides(company, side_of)
    return {
        member: next(iter(sides[founder])) if len(sides[founder]) == 1 else None
        for member, founder in sorted(company.items())
        if member not in side_of and founder in sides
    }
