"""The measurement of the identity graph runs, and measures what it says. No figure is judged here."""

import json
from collections import defaultdict
from pathlib import Path

import pytest

from benchmarks import graph, graph_cost, usage
from benchmarks.graph_population import FACTS_EACH, STATED_MAX, customers, events, facts, households
from benchmarks.stages import LOG_MS, Record
from models.link import LinkFact
from models.record import Lane
from projections.folding import Projection
from projections.reducers import Configuration
from streams.folder import Folder, prefixes

needs_linux = pytest.mark.skipif(usage.available() is not None, reason=str(usage.available()))


def _named(fact: LinkFact) -> tuple[object, ...]:
    return fact.subject, fact.lane, fact.offset, fact.identifier, fact.verified


def test_the_events_of_a_population_state_exactly_its_facts() -> None:
    told = customers(20)
    lanes: dict[Lane, list[Record]] = defaultdict(list)
    for topic, key, value in events(told):
        records = lanes[Lane(topic, 0)]
        records.append(Record(len(records), LOG_MS, key, value))
    stated: list[LinkFact] = []
    for lane, records in lanes.items():
        for prefix in prefixes(records, None, len(records)):
            folded = Folder(Projection(Configuration())).fold(lane, prefix, {}, {})
            assert not folded.dead_letters
            stated += folded.facts
    assert len(stated) == 20 * FACTS_EACH
    assert sorted(map(_named, stated), key=str) == sorted(map(_named, facts(told)), key=str)


def test_two_of_five_people_state_a_second_phone_and_no_phone_is_shared_by_count() -> None:
    phones: dict[str, set[str]] = defaultdict(set)
    stated: dict[str, set[str]] = defaultdict(set)
    for fact in facts(households(2_000)):
        if fact.identifier is not None and fact.identifier.startswith("phone:"):
            phones[fact.subject].add(fact.identifier)
            stated[fact.identifier].add(fact.subject)
    assert len(phones) == 2_000
    assert 0.35 < sum(len(held) == 2 for held in phones.values()) / 2_000 < 0.45
    assert max(map(len, stated.values())) == STATED_MAX


def test_a_component_costs_what_it_holds_and_none_grows_beyond_the_cap() -> None:
    two, ten = (one for one in graph_cost.by_size((2, 10), 1) if one.kind == "subject")
    assert (two.nodes_read, ten.nodes_read, ten.nodes_written) == (2, 10, 10)
    # All members hear of a new one, itself included; the tenth node is the email that joins them.
    assert (two.memberships, ten.memberships) == (0, 9)
    capped, uncapped = (graph_cost.percolating(200, cap) for cap in (30, 10_000))
    assert capped.component_largest <= 30 < uncapped.component_largest == uncapped.raw_max == capped.raw_max
    assert capped.whole == uncapped.whole == 1.0
    assert capped.members_max == uncapped.members_max == 2


@needs_linux
def test_a_quick_look_measures_the_real_processes_and_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    small = graph.QUICK._replace(
        customers=30,
        seconds_max=60.0,
        merges=3,
        sizes=(2, 10),
        households=((60, 20), (60, graph.WITHOUT_CAP)),
    )
    monkeypatch.setattr(graph, "QUICK", small)
    out = tmp_path / "result.json"
    assert graph.main(["--quick", "--out", str(out)]) == 0
    said = capsys.readouterr().out.splitlines()
    result = json.loads(said[-1])
    assert result == json.loads(out.read_text())
    assert said[0].startswith("ratio")
    assert list(result) == [
        "ratios", "at", "plan", "machine", "servers", "throughput", "latency", "stages", "in_memory",
        "sizes", "households", "load_average",
    ]  # fmt: skip
    assert result["throughput"]["facts"] == 30 * FACTS_EACH
    for way in ("graph_only", "with_parts"):
        assert result["throughput"][way]["writer"]["stopped_for_time"] == 0
        assert result["throughput"][way]["bulk"]["per_second"]["median"] > 0
    assert [one["missing"] for one in result["latency"]] == [0]
    assert len(result["sizes"]) == 4
    assert [one["component_largest"] <= 20 for one in result["households"]] == [True, False]
