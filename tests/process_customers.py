"""Who is who after a log, by the naive reference alone, and what the store and `customer.merges` say of it.

Guarantees:
- Only link facts, as the log has them, go in; nothing of projections/ or streams/ is used.
- Stamps and positions are a run's own: they are compared with each other, never with expectations.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import redis

from eventlog.reading import read_topic
from models.catalogue import MERGES_TOPIC
from models.link import LinkFact
from models.rules import IdentityRules
from stores.keys import Keys
from tests.graph_oracle import Component, Reference
from tests.graph_oracle import Expected as Placed
from tests.oracle_customer import Together
from tests.oracle_reading import customer_id

# Names that are asked for in one round trip.
NAMES_AT_ONCE = 1_000


class Customers(NamedTuple):
    """What the reference makes of a log's facts."""

    placed: dict[str, Placed]
    """By founder."""
    of_subject: dict[str, str]
    """The founder of the customer that a subject is in."""
    entries: dict[str, list[tuple[str, str]]]
    """By every name that was ever told: (customer id, status) of each."""
    subjects: frozenset[str]
    """Whoever was ever named as a subject."""
    known: frozenset[str]
    """The subjects that were seen before anybody named them."""

    @property
    def together(self) -> dict[str, Together]:
        """As the oracle of profiles wants them."""
        return {
            founder: Together(one.members, one.statuses, one.related) for founder, one in self.placed.items()
        }


class LargeReference(Reference):
    """The reference for thousands of facts, among which no erasure is."""

    def void(self, fact: LinkFact) -> bool:
        """None is."""
        return False

    def component(self, name: str) -> Component:
        """That of whoever is connected with it already: the nodes of a component all have the same one."""
        found: dict[str, Component] = self.__dict__.setdefault("found", {})
        if name not in found:
            one = super().component(name)
            found.update(dict.fromkeys(one.nodes, one))
        return found[name]


def customers_of(log: Iterable[LinkFact], rules: IdentityRules) -> Customers:
    """Who is who by these facts; `log` in the order of the link log, with its repeats."""
    facts = list(log)
    assert all(fact.command != "erased" for fact in facts), "this verdict knows of no erasure"
    placed: dict[str, Placed] = {}
    entries: dict[str, list[tuple[str, str]]] = {}
    subjects: set[str] = set()
    seen: set[str] = set()
    for piece in pieces(told_once(facts)):
        reference = LargeReference(piece, rules)
        found = (reference.placement_of(name) for name in reference.subjects)
        placed.update({one.founder: one for one in found if one})
        entries.update({name: reference.entry_of(name) for name in reference.names})
        subjects |= reference.subjects
        seen |= reference.seen
    return Customers(
        placed,
        {member: one.founder for one in placed.values() for member in one.members},
        entries,
        frozenset(subjects),
        seen_first(facts) & seen,
    )


def pieces(facts: Iterable[LinkFact]) -> list[list[LinkFact]]:
    """The facts apart by whom they name: nothing that any of them says is about a node of another piece.

    The reference looks at all facts for every node, so that many small ones are what it can do in a moment.
    """
    piece_of: dict[str, list[LinkFact]] = {}
    names_of: dict[int, list[str]] = {}
    for fact in facts:
        names = [name for name in (fact.subject, fact.identifier) if name]
        near = {id(piece_of[name]): piece_of[name] for name in names if name in piece_of}
        whole = max(near.values(), key=len, default=[])
        whole.append(fact)
        joined = names_of.setdefault(id(whole), [])
        for key, piece in near.items():
            if piece is not whole:
                whole += piece
                names += names_of.pop(key)
        joined += [name for name in names if piece_of.get(name) is not whole]
        piece_of.update(dict.fromkeys(names, whole))
    return list({id(piece): piece for piece in piece_of.values()}.values())


def told_once(facts: Iterable[LinkFact]) -> list[LinkFact]:
    """Fewer facts that say the same: without erasures it is nothing to an edge which lane told of it."""
    told: dict[tuple[str, str | None], tuple[int, bool]] = {}
    kept: dict[tuple[object, ...], LinkFact] = {}
    for fact in facts:
        if fact.command is None:
            log_us, verified = told.get((fact.subject, fact.identifier), (fact.log_us, False))
            told[fact.subject, fact.identifier] = min(log_us, fact.log_us), verified or fact.verified
        elif fact.command == "verify":
            kept[fact.subject, fact.identifier, fact.offset] = fact
        else:
            # Of a pair's commands the latest of each voice counts, whatever it was.
            ends = frozenset((fact.subject, str(fact.identifier)))
            before = kept.setdefault((ends, fact.by_program), fact)
            if before.offset < fact.offset:
                kept[ends, fact.by_program] = fact
    plain = [
        LinkFact(subject, "any-0", 0, log_us, identifier, verified)
        for (subject, identifier), (log_us, verified) in told.items()
    ]
    return [*plain, *kept.values()]


def seen_first(facts: Iterable[LinkFact]) -> frozenset[str]:
    """Those of whom the log says that they exist before anything else names them."""
    named: set[str] = set()
    first: set[str] = set()
    for fact in facts:
        if fact.command is None and fact.subject not in named:
            first.add(fact.subject)
        named.add(fact.subject)
        if fact.identifier is not None:
            named.add(fact.identifier)
    return frozenset(first)


def read_json(client: redis.Redis, keys: Iterable[str]) -> list[Any]:
    """What these keys hold, decoded; None where there is nothing."""
    wanted, found = list(keys), []
    for at in range(0, len(wanted), NAMES_AT_ONCE):
        found += client.mget(wanted[at : at + NAMES_AT_ONCE])
    return [None if one is None else json.loads(one) for one in found]


def assert_placed(
    client: redis.Redis, keys: Keys, expected: Customers, versions: Mapping[str, tuple[int, int]]
) -> None:
    """Every membership and look-up entry is the reference's; `versions` has the stored one by customer id."""
    names = sorted(expected.subjects)
    stamps = {}
    for name, found in zip(names, read_json(client, map(keys.membership, names)), strict=True):
        founder = expected.of_subject.get(name)
        if founder is None:
            assert found is None or found[2] == [], f"{name} is in no customer, not in {found}"
            continue
        one = expected.placed[founder]
        if found is None:
            # Nobody says anything of who has been alone ever since.
            assert one == Placed(name, (name,), {}, ()), f"{name} was never placed"
            stamps[name] = 0
            continue
        stamps[name] = found[0]
        related = [list(match) for match in one.related]
        assert found[1:] == [one.founder, list(one.members), one.statuses, related], name
    for founder, one in expected.placed.items():
        assert {stamps[member] for member in one.members} == {stamps[founder]}, f"{one.members}: stamps"
        assert versions[customer_id(founder)][0] == stamps[founder], f"{founder}: profile at another position"
        for member in set(one.members) - {founder}:
            assert versions[customer_id(member)] == (stamps[member], 0), f"{member}: buried at another"
    names = sorted(expected.entries)
    for name, found in zip(names, read_json(client, map(keys.identifier, names)), strict=True):
        customers = [(one["customer_id"], one["status"]) for one in (found or {"customers": []})["customers"]]
        assert customers == expected.entries[name], f"{name} leads to {customers}"
    held = sum(1 for _ in client.scan_iter(f"{keys.prefix}*:ids", count=1_000))
    assert held <= len(names), "some entry is of a name that nobody ever told"


def assert_buried(expected: Customers, states: Mapping[str, tuple[str, str]]) -> None:
    """Who founds nothing has a tombstone, and nobody else; `states` has state and founder by customer id."""
    living = {customer_id(founder) for founder in expected.placed}
    assert {customer for customer, (state, _) in states.items() if state == "live"} == living
    for name, founder in expected.of_subject.items():
        if name != founder:
            assert states.get(customer_id(name)) == ("merged", name), f"{name} is with {founder}"
    # Who was in a customer once, and is in none now, depends on which fact came first.
    of_id = {customer_id(name): name for name in expected.subjects}
    for customer, (state, founder) in states.items():
        assert of_id.get(customer) == founder, f"{customer}: a ghost, {state} and founded by {founder}"


def read_turns(kafka: str) -> tuple[list[dict[str, Any]], int]:
    """All merges and splits once each, by position; and how many came again, always the same."""
    turns: dict[str, dict[str, Any]] = {}
    came = 0
    for record in read_topic(kafka, MERGES_TOPIC):
        turn = json.loads(record.value or b"")
        assert record.key == turn["subject"].encode()
        assert turns.setdefault(turn["id"], turn) == turn, f"{turn['id']}: told in two ways"
        came += 1
    return sorted(turns.values(), key=lambda turn: turn["data"]["position"]), came - len(turns)


def assert_turns(turns: Iterable[Mapping[str, Any]], expected: Customers) -> int:
    """Following the merges and splits, each upon those before it, ends in the same customers.

    They tell of customers; whoever was named before being seen is in none at first, and joins in silence.
    Of a customer that is too large to be named whole, the members follow from those before, if all others are
    named; else they are lost until a turn names them again. Gives how many could be followed to the end.
    """
    known = expected.known
    customers = {name: frozenset((name,)) for name in known}
    lost: set[str] = set()
    for turn in turns:
        data, where = turn["data"], f"{turn['id']} at {turn['data']['position']}"
        assert data["before_count"] == len(data["before"]), f"{where}: more customers than can be followed"
        assert data["after_count"] == len(data["after"]), f"{where}: more customers than can be followed"
        assert data["truncated"] == any(map(_is_cut, [*data["before"], *data["after"]])), where
        # Another founder needs no edge: a lane has seen one of the members earlier than all others.
        assert data["edges"] or turn["type"] == "customer.refounded", f"{where}: no reason is given: {turn}"
        were: set[str] = set()
        sure = True
        for group in data["before"]:
            founder, named = group["founder"], known.intersection(group["members"])
            held = customers.pop(founder, None)
            if held is None and (lost or not named):
                # Its members are lost, or none of them was seen before it was named.
                held = named
                sure = sure and not (lost and _is_cut(group))
            assert held is not None and named <= held, f"{where}: {founder} has {held}, not {named}"
            assert _is_cut(group) or named == held, f"{where}: {founder} has {held}, not {named}"
            were |= held
        left, cut = set(were), []
        for group in data["after"]:
            founder, members = group["founder"], known.intersection(group["members"])
            assert group["customer_id"] == customer_id(founder), where
            assert founder not in customers or not members, (
                f"{where}: {founder} has {customers[founder]}, too"
            )
            assert not sure or members <= left, f"{where}: {members - left} come from nowhere"
            left -= members
            if _is_cut(group):
                cut.append((founder, members))
            elif members:
                customers[founder] = members
            lost -= members
        if sure and len(cut) == 1:
            [(founder, members)] = cut
            customers[founder] = frozenset(members | left)
        elif cut:
            lost.update(left, *(members for _, members in cut))
        else:
            assert not sure or not left, f"{where}: {left} are nowhere now"
    for founder, members in customers.items():
        for name in members:
            one = expected.placed[expected.of_subject[name]]
            assert (founder, members) == (one.founder, known.intersection(one.members)), name
    followed = sum(map(len, customers.values()))
    assert followed == len(known - lost), "each of them is in one customer"
    return followed


def _is_cut(group: Mapping[str, Any]) -> bool:
    """Whether members are counted only."""
    return bool(group["member_count"] > len(group["members"]))
