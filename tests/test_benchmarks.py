"""The benchmarks run, and what they say has its form. No figure is judged here: machines differ."""

import json
from collections import Counter
from pathlib import Path
from statistics import median
from types import SimpleNamespace

import pytest

from benchmarks import counting, latency, live, report, stages, usage
from benchmarks.checking import SECTIONS, WrongProfiles, check, sampled
from benchmarks.contenders import CONTENDERS
from benchmarks.draining import Drain
from benchmarks.load import Sent, equal_customers, mixed
from eventlog.topics import DOMAIN_TOPICS
from models.decoding import fast_decoder
from stores.embedded import EmbeddedStore

LOG_US = 4_000_000_000_000_000

needs_linux = pytest.mark.skipif(usage.available() is not None, reason=str(usage.available()))


def _all_decode(records: list[Sent]) -> bool:
    return all(fast_decoder(topic)(value, key, LOG_US) for topic, key, value in records)


def test_the_same_seed_gives_the_same_load_and_another_seed_another() -> None:
    assert list(mixed(200, 50)) == list(mixed(200, 50))
    assert list(mixed(200, 50)) != list(mixed(200, 50, seed=2))


def test_the_load_is_believable() -> None:
    records = list(mixed(5_000, 1_000))
    assert _all_decode(records)
    assert {record.topic for record in records} == set(DOMAIN_TOPICS)
    assert 350 <= median(len(record.value) for record in records) <= 450
    assert 0.25 < sum(b'"identifiers"' in record.value for record in records) / 5_000 < 0.35
    busiest = Counter(record.key for record in records).most_common(10)
    assert 0.05 < sum(count for _, count in busiest) / 5_000 < 0.2


def test_equal_customers_have_equally_many_events_and_two_identifiers() -> None:
    records = list(equal_customers(10, 20))
    assert _all_decode(records)
    assert set(Counter(record.key for record in records).values()) == {20}
    assert sum(record.value.count(b'"email","value"') for record in records) == 10
    assert sum(record.value.count(b'"phone","value"') for record in records) == 10


def test_a_count_is_told_through_the_file(tmp_path: Path) -> None:
    path = tmp_path / "events.count"
    counting.create(path)
    counter = counting.EventCounter(path)
    for _ in range(300):
        counter.add()
    assert counting.read(path) == 300


def test_percentiles_are_of_the_nearest_rank() -> None:
    values = [float(value) for value in range(1, 101)]
    assert [latency.percentile(values, share) for share in (0.5, 0.99, 1.0)] == [50.0, 99.0, 100.0]
    assert latency.percentile([7.0], 0.5) == 7.0


def test_runs_are_summarised_by_median_least_and_greatest_and_too_few_events_are_no_figure() -> None:
    runs = [Drain("a", 100, True, seconds, 1.0, 0.1, 0.1, 50.0, 1.0, 0.5) for seconds in (1.0, 2.0, 4.0)]
    nothing = Drain("b", 0, True, 0.0, 0.0, 0.0, 0.0, 50.0, 1.0, 0.5)
    found = report.summarised([*runs, nothing])
    assert found["a"]["figures"]["events_per_second"] == {"median": 50.0, "min": 25.0, "max": 100.0}
    assert found["b"] == {"runs": 1, "stopped_for_time": 0, "figures": None}


def test_a_wrong_profile_is_named() -> None:
    records = list(mixed(100, 5))
    expected = sampled(records)
    with EmbeddedStore() as server:
        import redis

        client = redis.Redis.from_url(server.url)
        for subject, sections in expected.items():
            client.hset(subject, mapping=sections)
        running = SimpleNamespace(
            contender=SimpleNamespace(name="someone", profile_key=lambda attempt, subject: subject),
            attempt=SimpleNamespace(servers=SimpleNamespace(client=lambda: redis.Redis.from_url(server.url))),
        )
        assert check(running, expected) == len(expected)  # type: ignore[arg-type]
        client.hset("crm:0", "billing", b"{}")
        with pytest.raises(WrongProfiles, match="someone: section billing of crm:0"):
            check(running, expected)  # type: ignore[arg-type]
        client.close()


@needs_linux
def test_every_contender_folds_the_same_records_into_the_right_profiles(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    small = live.QUICK._replace(
        events=600,
        subjects=100,
        seconds_max=60.0,
        latency_rate=50,
        latency_seconds=0.5,
        footprint_customers=5,
    )
    monkeypatch.setattr(live, "QUICK", small)
    monkeypatch.setattr(latency, "WARM_UP_SECONDS", 0.2)
    out = tmp_path / "result.json"
    assert live.main(["--quick", "--out", str(out)]) == 0
    said = capsys.readouterr().out.splitlines()
    result = json.loads(said[-1])
    assert result == json.loads(out.read_text())
    assert said[0].startswith("backlog drained")
    # Runs that are complete were compared with what the records say.
    assert [(run["contender"], run["complete"]) for run in result["runs"]] == [
        (name, True) for name in CONTENDERS
    ]
    assert result["footprint"]["customers"] == 5
    assert set(result["footprint"]["bytes_by_kind"]) >= {"parts", "profile", "identifiers", "lanes"}
    assert result["latency"][0]["probes"] > 0
    assert set(result) >= {"at", "plan", "machine", "servers", "promises", "load_average", "throughput"}


@needs_linux
def test_stages_add_up_and_none_is_missing(capsys: pytest.CaptureFixture[str]) -> None:
    assert stages.main(["--events", "400", "--subjects", "50", "--round", "200", "--partitions", "2"]) == 0
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert tuple(result["stages"]) == stages.STAGES
    calls = {name: one["calls_per_event"] * 400 for name, one in result["stages"].items()}
    assert calls["decode"] == 400
    # Collecting garbage may not happen in so short a time, and the steps are what is left.
    assert [name for name, count in calls.items() if count == 0 and name != "garbage"] == ["steps"]


def test_expected_profiles_have_the_sections_that_the_records_alone_decide() -> None:
    expected = sampled(list(mixed(300, 20)))
    assert "crm:0" in expected
    assert all(tuple(sections) == SECTIONS for sections in expected.values())
