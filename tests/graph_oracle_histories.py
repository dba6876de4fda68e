"""Histories of link facts for Hypothesis: few names, lanes and times, so that everything meets everything.

Guarantees:
- What one record told has one log time: facts of one lane and offset agree on it.
- Commands have offsets of their own, so that "the latest" has one meaning; all else arrives in any order.
- Facts of before an erasure may come after it, duplicates and late earlier log times are ordinary.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy
from msgspec.structs import astuple

from models.link import LinkFact
from models.rules import IdentifierRule, IdentityRules, SubjectRule

COMMANDS_LANE = "identity.commands-0"
LANES = ("sales.events-0", "web.events-0")
# `pos` is no declared namespace: what is under it is a subject only once somebody speaks of it as one.
SUBJECTS = ("crm:1", "crm:2", "crm:3", "billing:1", "billing:2", "web:1", "web:2", "pos:1", "pos:2")
IDENTIFIERS = ("email:a", "email:a", "phone:1", "phone:1", "email:b", "card:1", "card:2")
OTHERS = (*IDENTIFIERS, *IDENTIFIERS, "crm:1", "crm:2", "billing:1", "web:1", "pos:1", "pos:3", "employee:7")
# So few that most of them state most: more edges than nodes.
FEW_SUBJECTS = ("crm:1", "crm:2", "web:1", "web:2", "pos:1")
FEW_OTHERS = ("email:a", "phone:1", "card:1", "card:2", "web:1")
PERSONS = ("clerk", None)
PROGRAMS = ("matcher/splink", "matcher/other")
# Some lie before a fact's own time, and many are the same.
LOG_TIMES = st.integers(0, 9)
OFFSETS = st.integers(0, 4)


class History(NamedTuple):
    """Facts as they arrive, and the rules to read them by."""

    rules: IdentityRules
    facts: list[LinkFact]

    def __repr__(self) -> str:
        """One line for the rules that differ, one for each fact: counterexamples are for reading."""
        ours = self.rules.model_dump(exclude_defaults=True)
        told = [f"{at}: {' '.join(map(str, astuple(fact)))}" for at, fact in enumerate(self.facts, 1)]
        return "\n".join((f"{ours}", *told))


@st.composite
def rules(draw: DrawFn, components: tuple[int, ...] = (1_000, 3, 4, 5, 6)) -> IdentityRules:
    """Rules under which little is shared, and much is too large."""
    one_of = st.sampled_from
    return IdentityRules(
        component_max=draw(one_of(components)),
        shared_above=draw(one_of((2, 1, 3))),
        subjects={
            "crm": SubjectRule(strength=90),
            "billing": SubjectRule(strength=draw(one_of((85, 90))), max_per_customer=draw(one_of((1, 2)))),
            "web": SubjectRule(strength=25, person=False, max_per_customer=draw(one_of((None, 2)))),
        },
        identifiers={
            "email": IdentifierRule(strength=draw(one_of((70, 50)))),
            "phone": IdentifierRule(strength=50, shared_above=draw(one_of((None, 1)))),
            "card": IdentifierRule(strength=60, max_per_customer=draw(one_of((1, None)))),
        },
        other_subjects=SubjectRule(person=draw(st.booleans()), max_per_customer=draw(one_of((1, None)))),
        other_identifiers=IdentifierRule(strength=40, max_per_customer=draw(one_of((1, None)))),
    )


def _told(subjects: tuple[str, ...], others: tuple[str, ...]) -> SearchStrategy[LinkFact]:
    """What lanes say: often of an identifier, at times of the subject alone, seldom of an employee."""
    return st.builds(
        LinkFact,
        subject=st.sampled_from((*subjects, *subjects, *subjects, "employee:7")),
        lane=st.sampled_from(LANES),
        offset=OFFSETS,
        log_us=LOG_TIMES,
        identifier=st.sampled_from((*others, None)),
        verified=st.sampled_from((False, False, True)),
    )


def _commanded(subjects: tuple[str, ...], others: tuple[str, ...]) -> SearchStrategy[LinkFact]:
    """What persons and programs decide; which is the latest is settled by `_numbered`."""
    return st.builds(
        LinkFact,
        subject=st.sampled_from((*subjects, *subjects, "employee:7")),
        lane=st.just(COMMANDS_LANE),
        offset=st.integers(0, 60),
        log_us=LOG_TIMES,
        identifier=st.sampled_from((*others, *subjects, *subjects)),
        command=st.sampled_from(("link", "unlink", "verify")),
        actor=st.sampled_from((*PERSONS, *PROGRAMS)),
    )


def _erased(subjects: tuple[str, ...]) -> SearchStrategy[LinkFact]:
    """An erasure in one lane, of what may have been told or will be."""
    return st.builds(
        LinkFact,
        subject=st.sampled_from(subjects),
        lane=st.sampled_from((*LANES, *LANES, COMMANDS_LANE)),
        offset=OFFSETS,
        log_us=LOG_TIMES,
        command=st.just("erased"),
    )


def _numbered(facts: list[LinkFact]) -> list[LinkFact]:
    """The same with an offset for each command, and one log time for each record."""
    spoken = [fact for fact in facts if fact.command not in (None, "erased")]
    place = {id(fact): offset for offset, fact in enumerate(sorted(spoken, key=lambda fact: fact.offset))}
    times: dict[tuple[str, int, str], int] = {}
    numbered = []
    for fact in facts:
        offset = place.get(id(fact), fact.offset)
        log_us = times.setdefault((fact.lane, offset, fact.subject), fact.log_us)
        numbered.append(msgspec.structs.replace(fact, offset=offset, log_us=log_us))
    return numbered


@st.composite
def histories(
    draw: DrawFn,
    longest: int = 30,
    ruled: SearchStrategy[IdentityRules] | None = None,
    subjects: tuple[str, ...] = SUBJECTS,
    others: tuple[str, ...] = OTHERS,
) -> History:
    """Facts in the order of their arrival, some of them twice; the shortest when Hypothesis may choose."""
    told, commanded, erased = _told(subjects, others), _commanded(subjects, others), _erased(subjects)
    fact = st.sampled_from((told,) * 8 + (commanded,) * 3 + (erased,)).flatmap(lambda kind: kind)
    # Bursts of facts, since Hypothesis likes lists of five best.
    bursts = draw(st.lists(st.lists(fact, min_size=1, max_size=10), max_size=longest // 4))
    facts = _numbered([fact for burst in bursts for fact in burst][:longest])
    again = draw(st.lists(st.tuples(st.integers(0, 200), st.integers(0, 200)), max_size=3)) if facts else []
    for which, where in again:
        facts.insert(where % (len(facts) + 1), facts[which % len(facts)])
    return History(draw(rules() if ruled is None else ruled), facts)
