"""Stories for tests of the identity graph: who said what, told in a line each.

Guarantees:
- After every line the graph equals the naive reference in all that readers see: no story passes by half.
- Log times rise by one a line unless a line gives its own; offsets rise by one in each lane.
"""

from __future__ import annotations

from collections import Counter
from typing import Literal

from models.link import LinkFact
from models.rules import IdentifierRule, IdentityRules, SubjectRule
from projections.graph import Graph
from projections.graph_changes import Change
from projections.graph_nodes import MemoryNodes
from tests.graph_oracle import Expected, Reference
from tests.graph_oracle_histories import COMMANDS_LANE

CRM, WEB = "crm.events-0", "web.events-0"


def plain_rules(
    shared_above: int = 2, component_max: int = 1_000, crm_max: int = 1, card_max: int | None = 1
) -> IdentityRules:
    """Three namespaces of persons, one of cookies; a card of which a customer has one at most."""
    return IdentityRules(
        shared_above=shared_above,
        component_max=component_max,
        subjects={
            "crm": SubjectRule(strength=90, max_per_customer=crm_max),
            "billing": SubjectRule(strength=85),
            "loyalty": SubjectRule(strength=70),
            "web": SubjectRule(strength=25, person=False, max_per_customer=None),
        },
        identifiers={
            "email": IdentifierRule(strength=70),
            "phone": IdentifierRule(strength=50),
            "card": IdentifierRule(strength=80, max_per_customer=card_max),
        },
    )


class Story:
    """Facts told to a graph; every method hears one fact, or one for each identifier."""

    def __init__(self, rules: IdentityRules | None = None) -> None:
        self.rules = rules or plain_rules()
        self.graph = Graph(self.rules, MemoryNodes())
        self.facts: list[LinkFact] = []
        self.change: Change | None = None
        self._offsets: Counter[str] = Counter()

    def states(
        self, subject: str, *identifiers: str, verified: bool = False, at: int | None = None, lane: str = CRM
    ) -> Story:
        """A lane read that the subject has these identifiers, or that it exists."""
        for identifier in identifiers or (None,):
            log_us = len(self.facts) if at is None else at
            self._hear(LinkFact(subject, lane, self._next(lane), log_us, identifier, verified))
        return self

    def link(self, one: str, other: str, by: str = "clerk", reason: str | None = None) -> Story:
        """Somebody says that the two are one."""
        return self._command("link", one, other, by, reason)

    def unlink(self, one: str, other: str, by: str = "clerk", reason: str | None = None) -> Story:
        """Somebody says that the two are two."""
        return self._command("unlink", one, other, by, reason)

    def verify(self, one: str, other: str, by: str = "clerk") -> Story:
        """Somebody has checked what the subject stated."""
        return self._command("verify", one, other, by, None)

    def erase(self, subject: str, lane: str = CRM) -> Story:
        """All that the lane holds of the subject by now is void."""
        self._hear(LinkFact(subject, lane, self._next(lane), len(self.facts), command="erased"))
        return self

    def customers(self) -> dict[str, str]:
        """Every customer's members, by its founder."""
        placed = [self.graph.placement_of(name) for name in self.names()]
        return {one.founder: " ".join(one.members) for one in placed if one}

    def statuses(self, subject: str) -> dict[str, str]:
        """The identifiers of the subject's customer that do not link."""
        placed = self.graph.placement_of(subject)
        return dict(placed.statuses) if placed else {}

    def related(self, subject: str) -> tuple[tuple[str, str], ...]:
        """The possible matches of the subject's customer, each with what leads there."""
        placed = self.graph.placement_of(subject)
        return tuple(placed.related) if placed else ()

    def names(self) -> list[str]:
        """Every name that was ever told."""
        return sorted({name for fact in self.facts for name in (fact.subject, fact.identifier) if name})

    def _command(
        self, command: Literal["link", "unlink", "verify"], one: str, other: str, by: str, reason: str | None
    ) -> Story:
        offset = self._next(COMMANDS_LANE)
        self._hear(
            LinkFact(
                one, COMMANDS_LANE, offset, len(self.facts), other, command=command, actor=by, reason=reason
            )
        )
        return self

    def _next(self, lane: str) -> int:
        self._offsets[lane] += 1
        return self._offsets[lane] - 1

    def _hear(self, fact: LinkFact) -> None:
        self.facts.append(fact)
        self.change = self.graph.apply(fact, len(self.facts))
        reference = Reference(self.facts, self.rules)
        for name in self.names():
            placed, expected = self.graph.placement_of(name), reference.placement_of(name)
            found = placed and Expected(
                placed.founder, tuple(placed.members), dict(placed.statuses), tuple(placed.related)
            )
            assert found == expected, f"{name} after {fact}"
            assert list(self.graph.entry_of(name)) == reference.entry_of(name), f"{name} after {fact}"
