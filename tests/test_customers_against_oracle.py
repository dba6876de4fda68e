"""Customers of several subjects equal the oracle, which joins events and knows nothing of merging parts.

Guarantees:
- Any grouping of the subjects of a history, with any statuses and possible matches that a graph could give.
- An assembly upon the view of any other grouping gives the same bytes as one from nothing.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import pytest

from models.record import Record
from projections.assembling import Member, Placed, Profile, View, assemble, document
from projections.reducers import Configuration
from tests import oracle
from tests.folding import LABELS, LogFold, fold_whole
from tests.histories import history
from tests.oracle_customer import Together

# Each is a history of hundreds of records, grouped in a few ways; the campaign has more.
SEEDS = range(18)
CAMPAIGN_SEEDS = range(18, 1_018)
GROUPINGS = 3
TRUST = ("billing", "crm")
POSITION = 17
# Members that no lane has seen, and founders of customers elsewhere.
UNSEEN = ("loyalty:L-1", "web:never")
ELSEWHERE = tuple(f"crm:elsewhere-{number}" for number in range(8))


def grouped(rng: random.Random, fold: LogFold) -> dict[str, Together]:
    """Some customers of all subjects, by founder; an identifier's status is any of those a graph gives."""
    subjects = sorted({subject for subject, _ in fold.parts if not subject.startswith("employee:")})
    rng.shuffle(subjects)
    customers: dict[str, Together] = {}
    while subjects:
        size = rng.choice((1, 2, 3, 5, len(subjects)))
        members, subjects = subjects[:size], subjects[size:]
        founder = members[0]
        if rng.random() < 0.2:
            members.append(rng.choice(UNSEEN))
        stated = stated_by(fold, members)
        statuses = {
            name: rng.choice(("shared", "rejected")) for name in stated if rng.random() < rng.choice((0, 0.4))
        }
        matches = rng.sample(ELSEWHERE, rng.choice((0, 0, 1, 4, 7)))
        related = sorted((other, rng.choice(("email", "phone", "matcher", "person"))) for other in matches)
        customers[founder] = Together(sorted(members), statuses, related)
    return customers


def stated_by(fold: LogFold, members: Sequence[str]) -> list[str]:
    """The identifiers that these subjects' profiles show, each alone."""
    found = set()
    for (subject, lane), part in fold.parts.items():
        if subject in members:
            found.update(assemble([Member(subject, str(lane), part)], LABELS, 0, subject).view.identifiers)
    return sorted(found)


def assembled(
    rng: random.Random, fold: LogFold, founder: str, together: Together, view: View | None = None
) -> Profile:
    """What scv makes of these members, named in any order."""
    members = [
        Member(subject, str(lane), part)
        for (subject, lane), part in fold.parts.items()
        if subject in together.members
    ]
    rng.shuffle(members)
    placed = Placed(together.statuses, tuple(together.related))
    return assemble(members, LABELS, POSITION, founder, view, placed)


def whole(profile: Profile) -> dict[str, Any]:
    """The document, with its version as the oracle has it."""
    sections = {name: msgspec.json.decode(section) for name, section in profile.sections.items()}
    made = document(profile.customer_id, profile.founder, sections)
    meta = made["meta"]
    assert (meta.pop("generation"), meta.pop("config")) == (LABELS.generation, LABELS.config)
    position, _, revisions = meta.pop("version").partition(".")
    assert position == str(POSITION)
    return {**made, "meta": {"revisions": int(revisions), **meta}}


def assert_equals_oracle(
    rng: random.Random,
    fold: LogFold,
    records: Sequence[Record],
    customers: Mapping[str, Together],
    trust: Sequence[str] = (),
) -> None:
    """Every profile, section by section, to the order of keys."""
    expected = oracle.profiles(records, trust=trust, customers=customers)
    assert expected.keys() == customers.keys()
    for founder, together in customers.items():
        found = whole(assembled(rng, fold, founder, together))
        assert list(found) == list(expected[founder])
        for section, content in expected[founder].items():
            where = f"{founder} with {' '.join(together.members)}: {section}"
            assert found[section] == content, where
            assert repr(found[section]) == repr(content), f"{where}: order or types"


def compare(seed: int, **knobs: Any) -> None:
    """A history, grouped in several ways."""
    rng = random.Random(seed)
    trust = TRUST if seed % 3 == 0 else ()
    lanes = history(seed, **knobs)
    records = [record for lane in lanes for record in lane]
    fold = fold_whole(lanes, Configuration(trust=trust))
    for _ in range(GROUPINGS):
        assert_equals_oracle(rng, fold, records, grouped(rng, fold), trust)


@pytest.mark.parametrize("seed", SEEDS)
def test_customers_of_any_grouping_are_what_the_oracle_says(seed: int) -> None:
    compare(seed)


@pytest.mark.parametrize("seed", SEEDS[:5])
def test_more_members_than_are_shown_are_all_counted(seed: int) -> None:
    compare(seed, subjects=70, events=700)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_view_of_another_grouping_changes_no_byte(seed: int) -> None:
    rng = random.Random(seed)
    fold = fold_whole(history(seed, events=300))
    views: dict[str, View] = {}
    shown: dict[str, dict[str, bytes]] = {}
    for _ in range(2 * GROUPINGS):
        for founder, together in grouped(rng, fold).items():
            partial = assembled(rng, fold, founder, together, views.get(founder))
            views[founder] = partial.view
            shown.setdefault(founder, {}).update(partial.sections)
            assert shown[founder] == assembled(rng, fold, founder, together).sections


@pytest.mark.campaign
@pytest.mark.parametrize("seed", CAMPAIGN_SEEDS)
def test_customers_of_a_thousand_histories_are_what_the_oracle_says(seed: int) -> None:
    compare(seed, bursts=3)
