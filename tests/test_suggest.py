"""`scv identity suggest`: what Splink says is what becomes of it, and every link can be taken back."""

import json
import sys
from collections.abc import Sequence
from itertools import combinations
from typing import Any

import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import identity, identity_report
from benchmarks.identity_data import Person, people, truth_of
from benchmarks.identity_scores import score
from benchmarks.identity_world import World
from eventlog.admin import create_topics
from eventlog.embedded import EmbeddedBroker
from eventlog.reading import read_topic
from eventlog.topics import COMMANDS
from models.identifiers import customer_id
from models.record import Lane
from ops import suggesting
from ops.cli import run
from ops.failures import Failure
from ops.identity_suggest_command import ACTOR, link_command
from ops.suggesting import Pair, Traits, compared, forest, suggest
from projections.assembling import Labels, Member, assemble
from projections.parts import pack
from stores.candidates import CandidatePair, read_candidates, replace_candidates
from stores.embedded import EmbeddedStore
from stores.keys import ACTIVE
from stores.redis_store import RedisStore
from stores.store import Membership, ProfileWrite


@pytest.fixture(scope="module")
def several() -> list[Person]:
    """Records of whole people, so that most have a duplicate."""
    found = people("dataset3", quick=True)
    wanted = set(sorted({one.truth for one in found})[::5])
    return [one for one in found if one.truth in wanted]


def test_what_suggest_has_folded_is_what_plain_splink_clusters_and_one_unlink_undoes_each(several):
    found = identity.measured(several, 0.95)
    ways = found["ways"]
    assert found["equal"]
    assert ways["suggest"]["f1"] == ways["plain Splink"]["f1"] > ways["live rules"]["f1"]
    assert ways["rules, then suggest"]["recall"] >= ways["plain Splink"]["recall"]
    for way in ("suggest", "rules, then suggest"):
        assert ways[way]["undone"] == ways[way]["links"] > 0
    result = {"sets": {"some": found}, "machine": {}, "packages": {"splink": "4", "duckdb": "2"}}
    assert identity.differences(result) == []
    told = identity_report.lines(result)
    assert told[0] == f"some: {len(several)} records of {len({one.truth for one in several})} people"
    assert "suggest's customers are plain Splink's clusters" in told


def test_a_difference_from_plain_splink_and_a_link_that_stays_are_reported():
    row = {"f1": 0.9, "links": 2, "undone": 1}
    result = {"sets": {"x": {"equal": False, "ways": {"suggest": row, "plain Splink": {"f1": 0.9}}}}}
    assert identity.differences(result) == [
        "x: suggest's customers are not plain Splink's clusters",
        "x: suggest: 1 links not undone by one unlink",
    ]


def test_the_order_of_people_makes_no_difference_and_the_steps_are_told(several):
    steps: list[tuple[int, int]] = []
    found = suggest((one.traits for one in several), lambda done, total: steps.append((done, total)))
    again = suggest(one.traits for one in reversed(several))
    assert {pair[:2] for pair in found} == {pair[:2] for pair in again}
    assert found == sorted(found, key=lambda pair: -pair.weight)
    assert all(pair.a < pair.b and 0.5 <= pair.probability <= 1 for pair in found)
    assert [done for done, _ in steps] == sorted({done for done, _ in steps})
    assert steps[-1][0] == steps[-1][1]


def test_of_one_customer_nothing_is_told(several):
    truth = truth_of(several)
    found = suggest(one.traits._replace(customer=one.truth) for one in several)
    assert all(truth[pair.a] != truth[pair.b] for pair in found)


def _strangers(count: int) -> list[Traits]:
    """People who have nothing in common but the decade."""
    letters = "bdfgklmnprst"
    names = [f"{a}e{b}a{c}o" for a in letters for b in letters for c in letters]
    return [
        Traits(
            f"crm:{number}", names[7 * number], names[11 * number + 5],
            f"19{10 + number % 80}-{1 + number % 12:02}-{1 + number % 28:02}", f"{names[number]} {number}",
            str(1000 + 37 * number), email=f"{names[13 * number]}@{names[3 * number]}.example",
        )
        for number in range(count)
    ]  # fmt: skip


def test_among_strangers_there_is_nobody_to_suggest():
    assert suggest(_strangers(120)) == []


@pytest.mark.parametrize(
    "left", [("given_name", "family_name", "email"), ("family_name", "birthdate", "phone")]
)
def test_traits_that_nobody_states_are_not_missed(left):
    once = [Traits(one.id, **{name: getattr(one, name) for name in left}) for one in _strangers(120)]
    found = suggest([*once, *(one._replace(id=f"shop:{one.id}") for one in once[:40])])
    assert all(pair.b == f"shop:{pair.a}" for pair in found)


def test_few_people_teach_nothing_and_none_are_suggested():
    some = _strangers(suggesting.RECORDS_MIN // 2 - 1)
    assert suggest([*some, *(one._replace(id=f"shop:{one.id}") for one in some)]) == []
    assert suggest(Traits(f"web:{number}") for number in range(100)) == []


def test_too_many_are_refused(monkeypatch):
    monkeypatch.setattr(suggesting, "RECORDS_MAX", 60)
    with pytest.raises(Failure, match="more than 60 records: too many for one machine"):
        suggest(_strangers(61))


def test_without_the_extra_one_line_says_how_to_install_it(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "splink", None)
    with pytest.raises(Failure, match=r"no package splink.*run `pip install 'scv\[suggest\]'`"):
        suggest(_strangers(60))
    assert run(["identity", "suggest"]) == 1
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize(
    ("street_address", "number", "street"),
    [
        ("Hauptstraße 12 a", "12a", "hauptstrasse"),
        ("44 Forbes  Street", "44", "forbes street"),
        ("Unter den Linden 7, Hinterhaus", "7", "unter den linden , hinterhaus"),
        ("Schloß", None, "schloss"),
        (None, None, None),
    ],
)
def test_an_address_is_compared_by_number_and_street(street_address, number, street):
    row = next(compared([Traits("crm:1", "  ZOË ", "Müller", "1815", street_address, phone="+4930901820")]))
    assert row == ("crm:1", "crm:1", "zoe", "muller", None, number, street, None, None, None, "+4930901820")


def _joined(pairs: Sequence[tuple[str, str]], names: str, customers: dict[str, str]) -> set[frozenset[str]]:
    """Who is together by these pairs, beside those who are of one customer."""
    of = [customers.get(name, name) for name in names]
    groups = [{name for name, mine in zip(names, of, strict=True) if mine == one} for one in set(of)]
    for a, b in pairs:
        one, other = (next(group for group in groups if name in group) for name in (a, b))
        if one is not other:
            groups.remove(other)
            one |= other
    return {frozenset(group) for group in groups}


@given(
    st.dictionaries(st.sampled_from(list(combinations("abcdefgh", 2))), st.floats(-5, 20), max_size=12),
    st.dictionaries(st.sampled_from("abcdefgh"), st.sampled_from("xy"), max_size=4),
)
def test_the_links_chosen_join_what_all_pairs_join_and_each_is_needed(weights, customers):
    pairs = [Pair(a, b, weight, 2**weight / (1 + 2**weight)) for (a, b), weight in weights.items()]
    sure = [pair[:2] for pair in pairs if pair.probability >= 0.9]
    chosen = [pair[:2] for pair in forest(pairs, 0.9, customers)]
    together = _joined(sure, "abcdefgh", customers)
    assert _joined(chosen, "abcdefgh", customers) == together
    for left in chosen:
        assert _joined([pair for pair in chosen if pair != left], "abcdefgh", customers) != together


def test_scores_count_pairs():
    truth = {"a": "1", "b": "1", "c": "1", "d": "2"}
    assert score({"a": "x", "b": "x", "c": "y", "d": "y"}, truth)[:3] == (0.5, 1 / 3, 0.4)
    assert score({}, truth)[:3] == (1.0, 0.0, 0.0)
    assert score(truth, truth)[:3] == (1.0, 1.0, 1.0)


@pytest.fixture
def served(embedded_store: EmbeddedStore, several: list[Person]) -> RedisStore:
    """A store that holds the customers which the live rules make of these records."""
    world = identity._world(several, keyed=True)
    with redis.Redis.from_url(embedded_store.url) as client:
        client.flushall()
        store = RedisStore(embedded_store.url, "g1", 5)
        store.prepare()
        client.set(ACTIVE, "g1 1")
        _serve(world, store, client)
    return store


def _serve(world: World, store: RedisStore, client: Any) -> None:
    members: dict[str, list[Member]] = {}
    for subject, founder in world.customers().items():
        for lane, part in world.parts[subject].items():
            members.setdefault(founder, []).append(Member(subject, str(lane), part))
            client.set(store.keys.part(lane, subject), pack(part))
    for founder, parts in members.items():
        store.note_subjects([(one.subject, Lane.parse(one.lane)) for one in parts], [])
        profile = assemble(parts, Labels("g1", "c-0"), 1, founder)
        write = ProfileWrite(customer_id(founder), "1.1", founder, "w", None, profile.sections)
        store.put_profiles([write])
        subjects = tuple(sorted({one.subject for one in parts}))
        store.place({one: Membership(1, founder, subjects) for one in subjects}, {})
    # Whom nobody should compare: a customer that was merged away.
    store.put_profiles([ProfileWrite("cus_GONE", "1.1", "form:0", "w", None, {}, state="merged")])


def test_the_command_keeps_candidates_writes_links_once_and_they_join_what_splink_joins(
    served: RedisStore,
    several: list[Person],
    embedded_store: EmbeddedStore,
    capsys: pytest.CaptureFixture[str],
):
    world = identity._world(several, keyed=True)
    with EmbeddedBroker() as broker, redis.Redis.from_url(embedded_store.url) as client:
        create_topics(broker.bootstrap)
        servers = ["--kafka", broker.bootstrap, "--redis", embedded_store.url, "--json"]
        assert run(["identity", "suggest", *servers]) == 0
        first = json.loads(capsys.readouterr().out)
        assert first["commanded"] == 0
        assert first["records"] == len(several)
        assert first["customers"] == len(set(world.customers().values()))

        assert run(["identity", "suggest", "--link-above", "0.95", *servers]) == 0
        second = json.loads(capsys.readouterr().out)
        assert second["candidates"] == first["candidates"] > 0
        kept = read_candidates(client, served.keys)
        assert len(kept) == second["candidates"]
        assert sum(one.linked_at is not None for one in kept.values()) == second["commanded"] > 0
        assert {one.actor for one in kept.values()} == {ACTOR}

        assert run(["identity", "suggest", "--link-above", "0.95", *servers]) == 0
        assert json.loads(capsys.readouterr().out)["commanded"] == 0
        written = list(read_topic(broker.bootstrap, COMMANDS))
    assert len(written) == second["commanded"]
    world.command(identity.Sent(COMMANDS, one.key or b"", one.value or b"") for one in written)
    expected = identity._world(several, keyed=True)
    identity._suggest(expected, 0.95)
    assert world.customers() == expected.customers()


@pytest.mark.parametrize("probability", ["0.4", "1.5", "nan"])
def test_a_probability_is_one(probability, capsys):
    assert run(["identity", "suggest", "--link-above", probability]) == 2
    assert "from 0.5 to 1" in capsys.readouterr().err


def test_without_a_view_there_is_nobody_to_compare(embedded_store, capsys):
    with redis.Redis.from_url(embedded_store.url) as client:
        client.flushall()
    assert run(["identity", "suggest", "--redis", embedded_store.url]) == 4
    assert "no view yet" in capsys.readouterr().err


def test_candidates_are_replaced_as_a_whole(embedded_store):
    with redis.Redis.from_url(embedded_store.url) as client:
        keys = RedisStore(embedded_store.url, "g9", 5).keys
        old = [
            CandidatePair(f"crm:{n}", f"crm:{n}x", "web:1", "web:2", 1.5, 0.7, ACTOR, "2026-03-01T12:00:00Z")
            for n in range(1_500)
        ]
        replace_candidates(client, keys, old)
        assert read_candidates(client, keys) == {one.field: one for one in old}
        replace_candidates(client, keys, old[:1])
        assert read_candidates(client, keys) == {old[0].field: old[0]}
        replace_candidates(client, keys, [])
        assert list(client.scan_iter("scv:g9:*")) == []


def test_a_command_says_why():
    topic, key, value = link_command(Pair("crm:1", "shop:2", 12.34, 0.99981), "2026-03-01T12:00:00Z")
    event = json.loads(value)
    assert (topic, key, event["subject"]) == (COMMANDS, b"crm:1", "crm:1")
    assert event["data"] == {
        "subject": "crm:1", "other": "shop:2", "actor": "matcher/splink",
        "reason": "match weight +12.3, probability 0.9998",
    }  # fmt: skip
