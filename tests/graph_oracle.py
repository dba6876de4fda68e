"""Who is who, the plainest way: everything anew from all facts, as docs/decisions/0009 says it.

Guarantees:
- Independent of `projections`: only the facts and the rules are shared with what it judges.
- Nothing is kept from one fact to the next, so the order in which facts came cannot matter here.
- Slow and obvious: whole sets, whole lists, no index. It is meant for some dozens of nodes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from models.identifiers import EMPLOYEE_NAMESPACE, customer_id
from models.link import LinkFact
from models.rules import IdentityRules

PERSON, PROGRAM = "person", "program"
# Strength classes, weakest first: (kind, strength of the type). Tuples compare as the page orders them.
BY_PROGRAM, UNVERIFIED, VERIFIED, BY_PERSON = 0, 1, 2, 3
RELATED_MAX = 20
STATUSES_MAX = 200
# Raw edges of a component, for each node that it may have.
EDGES_PER_NODE = 8
# Before every fact: what is erased up to here takes nothing away.
NEVER = -1

Class = tuple[int, int]
Name = str
Set = frozenset[Name]


class Expected(NamedTuple):
    """What readers must see of one customer."""

    founder: Name
    members: tuple[Name, ...]
    statuses: dict[Name, str]
    related: tuple[tuple[Name, str], ...]


class RawEdge(NamedTuple):
    """What may join two sets; `subject` states `identifier`, or is the lesser name of a link by command."""

    subject: Name
    identifier: Name
    strength: Class
    first_seen_us: int
    offset: int  # of a person's link, else -1
    via: str

    @property
    def ends(self) -> Set:
        """Both ends, in no order."""
        return frozenset((self.subject, self.identifier))

    @property
    def rank(self) -> tuple[int, int, int, int, Name, Name]:
        """Strongest first."""
        kind, strength = self.strength
        return (-kind, -strength, -self.offset, self.first_seen_us, self.subject, self.identifier)


class Component(NamedTuple):
    """Nodes that are looked at together, and the weakest class that links among them."""

    nodes: Set
    weakest: Class


def type_of(name: Name) -> str:
    """`crm` of `crm:1`."""
    return name.split(":", 1)[0]


def heard(facts: Iterable[LinkFact]) -> list[LinkFact]:
    """The facts without employees, and without what a subject says of itself."""
    kept = []
    for fact in facts:
        if type_of(fact.subject) == EMPLOYEE_NAMESPACE:
            continue
        other = fact.identifier
        if other is None or (type_of(other) != EMPLOYEE_NAMESPACE and other != fact.subject):
            kept.append(fact)
        elif fact.command is None:
            # It says nothing of anyone else; that the lane holds something of the subject remains true.
            kept.append(LinkFact(fact.subject, fact.lane, fact.offset, fact.log_us))
        elif other == fact.subject:
            # It decides nothing, but names its subject as one.
            kept.append(LinkFact(fact.subject, fact.lane, NEVER, fact.log_us, command="erased"))
    return kept


class Reference:
    """All that follows from these facts under these rules."""

    def __init__(self, facts: Sequence[LinkFact], rules: IdentityRules) -> None:
        self.rules = rules
        self.facts = heard(facts)
        self.told = [fact for fact in self.facts if fact.command is None]
        # A command `verify` is a verified fact of its lane, which makes nobody seen.
        self.stating = [
            fact for fact in self.facts if fact.identifier is not None and fact.command in (None, "verify")
        ]
        self.names = {name for fact in self.facts for name in (fact.subject, fact.identifier) if name}
        self.subjects = {fact.subject for fact in self.facts} | {
            name for name in self.names if rules.declares(type_of(name))
        }
        self.seen = {fact.subject for fact in self.told if not self.void(fact)}
        self.commands = self._commands()
        self.edges = {(fact.subject, str(fact.identifier)) for fact in self.stating if not self.void(fact)}
        self.stated = {(s, i) for s, i in self.edges if not self.unlinked(s, i)}
        self.shared = {name for name in self.names if self._is_shared(name)}
        self.cannot = self._cannot_links()
        self.holding = self._holding()
        self.raw = [*self._stated_raw(), *self._commanded_raw()]
        self.components = {name: self.component(name) for name in self.names}
        self.sets = self._partition()
        self.customers = {one: self.founder(one) for one in set(self.sets.values()) if one & self.seen}

    # Nodes and edges

    def void(self, fact: LinkFact) -> bool:
        """Whether an erasure in the fact's lane took it away, wherever in the list it stands."""
        return any(
            one.command == "erased"
            and one.subject == fact.subject
            and one.lane == fact.lane
            and one.offset >= fact.offset
            for one in self.facts
        )

    def _commands(self) -> dict[tuple[Set, str], LinkFact]:
        """The latest link or unlink on a pair by whoever may speak."""
        latest: dict[tuple[Set, str], LinkFact] = {}
        for fact in sorted(self.facts, key=lambda one: one.offset):
            if fact.command in ("link", "unlink"):
                who = PROGRAM if (fact.actor or "").startswith("matcher/") else PERSON
                latest[frozenset((fact.subject, str(fact.identifier))), who] = fact
        return latest

    def unlinked(self, one: Name, other: Name) -> bool:
        """Whether the latest word of a person on this pair is that they are two."""
        said = self.commands.get((frozenset((one, other)), PERSON))
        return said is not None and said.command == "unlink"

    def shared_limit(self, name: Name) -> int:
        """How many persons may state this name before it is shared."""
        return self.rules.identifier(type_of(name)).shared_above or self.rules.shared_above

    def _is_shared(self, name: Name) -> bool:
        # Void facts count on: an erased person once stated it, and is remembered by a keyed hash.
        people = {
            fact.subject
            for fact in self.stating
            if fact.identifier == name
            and self.rules.subject(type_of(fact.subject)).person
            and self.rules.subject(type_of(fact.subject)).max_per_customer == 1
            and not self.unlinked(fact.subject, name)
        }
        return len(people) > self.shared_limit(name)

    def _cannot_links(self) -> dict[Set, int]:
        """Pairs of subjects that a person has parted, with the offset of the decision."""
        return {
            pair: said.offset
            for (pair, who), said in self.commands.items()
            if who == PERSON and said.command == "unlink" and pair <= self.subjects
        }

    def strength_of(self, name: Name) -> int:
        """What an edge to this name is worth."""
        kind = type_of(name)
        if self.rules.declares(kind):
            return self.rules.subject(kind).strength
        return self.rules.identifier(kind).strength

    def _stated_raw(self) -> list[RawEdge]:
        found = []
        for subject, identifier in self.stated:
            if identifier in self.shared:
                continue
            telling = [
                fact
                for fact in self.stating
                if (fact.subject, fact.identifier) == (subject, identifier) and not self.void(fact)
            ]
            verified = any(fact.verified or fact.command == "verify" for fact in telling)
            strength = (VERIFIED if verified else UNVERIFIED, self.strength_of(identifier))
            since = min(fact.log_us for fact in telling)
            found.append(RawEdge(subject, identifier, strength, since, -1, type_of(identifier)))
        return found

    def _holding(self) -> dict[Set, LinkFact]:
        """Links by command: a person's, and a program's where no person has spoken."""
        return {
            pair: said
            for (pair, who), said in self.commands.items()
            if said.command == "link" and (who == PERSON or (pair, PERSON) not in self.commands)
        }

    def _commanded_raw(self) -> list[RawEdge]:
        found = []
        for pair, said in self.holding.items():
            ends = sorted(pair)
            if (pair, PERSON) in self.commands:
                found.append(RawEdge(ends[0], ends[1], (BY_PERSON, 0), said.log_us, said.offset, "person"))
            elif not pair & self.shared:
                found.append(RawEdge(ends[0], ends[1], (BY_PROGRAM, 0), said.log_us, -1, "matcher"))
        return found

    # Components and sets

    def reach(self, name: Name, weakest: Class) -> Set:
        """C(k, n): all that edges of this class or stronger connect to the node."""
        found = {name}
        while True:
            further = {
                end
                for edge in self.raw
                if edge.strength >= weakest and edge.ends & found
                for end in edge.ends - found
            }
            if not further:
                return frozenset(found)
            found |= further

    def component(self, name: Name) -> Component:
        """What is connected by the weakest class that does not connect too much."""
        for weakest in sorted({edge.strength for edge in self.raw} | {(BY_PERSON, 0)}):
            nodes = self.reach(name, weakest)
            inside = [edge for edge in self.raw if edge.strength >= weakest and edge.ends <= nodes]
            most = self.rules.component_max
            small = len(nodes) <= most and len(inside) <= EDGES_PER_NODE * most
            if small or weakest == (BY_PERSON, 0):
                return Component(nodes, weakest)
        raise AssertionError("persons' links are always among the classes")

    def _partition(self) -> dict[Name, Set]:
        """Every node's set."""
        sets: dict[Name, Set] = {name: frozenset((name,)) for name in self.names}
        for component in set(self.components.values()):
            inside = [
                edge
                for edge in self.raw
                if edge.strength >= component.weakest and edge.ends <= component.nodes
            ]
            for edge in sorted(inside, key=lambda one: one.rank):
                one, other = sets[edge.subject], sets[edge.identifier]
                if one != other and self._may_join(edge, one, other):
                    sets.update(dict.fromkeys(one | other, one | other))
        return sets

    def _may_join(self, edge: RawEdge, one: Set, other: Set) -> bool:
        human = edge.strength[0] == BY_PERSON
        for pair, offset in self.cannot.items():
            if pair & one and pair & other and (not human or offset > edge.offset):
                return False
        return human or not any(
            one & alike and other & alike and len(alike) > limit
            for alike, limit in self._limited(one | other)
        )

    def _limited(self, nodes: Set) -> list[tuple[Set, int]]:
        """The nodes of each type that may not be too many, and how many they may be."""
        types: dict[tuple[str, bool], set[Name]] = {}
        for name in nodes:
            kind = type_of(name)
            named = self.rules.declares(kind) or kind in self.rules.identifiers
            # A type that the rules do not name may have subjects and identifiers; they are counted apart.
            subject = self.rules.declares(kind) if named else name in self.subjects
            types.setdefault((kind, subject), set()).add(name)
        rules = {
            (kind, subject): self.rules.subject(kind) if subject else self.rules.identifier(kind)
            for kind, subject in types
        }
        return [
            (frozenset(alike), limit)
            for of, alike in types.items()
            if (limit := rules[of].max_per_customer) is not None
        ]

    # Customers and look-up

    def founder(self, nodes: Set) -> Name:
        """The seen subject that comes first."""
        return min(
            nodes & self.seen,
            key=lambda name: (
                not self.rules.subject(type_of(name)).person,
                min(fact.log_us for fact in self.told if fact.subject == name),
                name,
            ),
        )

    def customer_of(self, name: Name) -> Set | None:
        """The set that this subject is a customer in; None for identifiers and for those in no customer."""
        if name not in self.subjects:
            return None
        return self.sets[name] if self.sets[name] in self.customers else None

    def placement_of(self, name: Name) -> Expected | None:
        """What readers must see of the customer that this subject belongs to."""
        mine = self.customer_of(name)
        if mine is None:
            return None
        return Expected(
            self.customers[mine],
            tuple(sorted(mine & self.subjects)),
            self._statuses(mine),
            self._related(mine),
        )

    def _statuses(self, mine: Set) -> dict[Name, str]:
        """Of a customer with more than these the first by member and name are told, and no others."""
        found: dict[Name, str] = {}
        for subject in sorted(mine & self.subjects):
            for outside in sorted(i for s, i in self.edges if s == subject and i not in mine):
                shared = outside in self.shared and (subject, outside) in self.stated
                if shared or outside not in found:
                    found[outside] = "shared" if shared else "rejected"
                if len(found) == STATUSES_MAX:
                    return found
        return found

    def _related(self, mine: Set) -> tuple[tuple[Name, str], ...]:
        found = set()
        for edge in self.raw:
            near, far = edge.ends & mine, edge.ends - mine
            if not near or not far:
                continue
            theirs = self.sets[next(iter(far))]
            together = self.components[next(iter(near))] == self.components[next(iter(far))]
            if together and theirs in self.customers:
                found.add((self.customers[theirs], edge.via))
        return tuple(sorted(found)[:RELATED_MAX])

    def entry_of(self, name: Name) -> list[tuple[str, str]]:
        """The customer ids that a look-up by this name must give, with the status of each."""
        if name not in self.names:
            return []
        subjects = {name} & self.subjects
        subjects |= {subject for subject, identifier in self.stated if identifier == name}
        subjects |= {end for pair in self.holding for end in pair - {name} if name in pair} & self.subjects
        found: dict[str, str] = {}
        for subject in sorted(subjects):
            customer = self.customer_of(subject)
            if customer is not None:
                outside = "shared" if name in self.shared else "rejected"
                found[customer_id(self.customers[customer])] = "linking" if name in customer else outside
        # Python sorts stably: the others stay in the order of their first subject.
        listed = sorted(found.items(), key=lambda one: one[1] != "linking")
        return listed[: self.shared_limit(name) + 1]
