"""The benchmarks run, and what they say has its form. No figure is judged here: machines differ."""

import json
import re
from collections import Counter
from itertools import islice
from pathlib import Path
from statistics import median
from types import SimpleNamespace

import pytest

from benchmarks import (
    backlog,
    counting,
    everything,
    growth,
    hot,
    latency,
    limit,
    live,
    lookup,
    memory,
    rebuild,
    report,
    stages,
    usage,
)
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


def test_a_hot_load_has_one_event_of_ten_of_the_hot_ones() -> None:
    members = [hot.member(number) for number in range(30)]
    records = list(islice(hot.hot_load(members), 3_000))
    assert _all_decode(records)
    of_hot = [record for record in records if record.key in members]
    assert Counter(record.key for record in of_hot) == dict.fromkeys(members, 10)
    assert 0.25 < sum(hot.HOT_EMAIL in record.value for record in of_hot) / 300 < 0.35
    assert not [record for record in records if record.key not in members and hot.HOT_EMAIL in record.value]
    assert list(islice(hot.hot_load([]), 50)) == list(mixed(50, latency.SUBJECTS, seed=2))


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
        seconds_max_by_event=60.0,
        latency_rate=50,
        latency_seconds=0.5,
        warm_up_seconds=0.2,
        footprint_customers=5,
    )
    monkeypatch.setattr(live, "QUICK", small)
    out = tmp_path / "result.json"
    assert live.main(["--quick", "--broker", "embedded", "--out", str(out)]) == 0
    said = capsys.readouterr()
    result = json.loads(said.out.splitlines()[-1])
    assert result == json.loads(out.read_text())
    assert said.out.startswith("backlog drained")
    # Runs that are complete were compared with what the records say.
    present = [name for name in CONTENDERS if CONTENDERS[name].missing() is None]
    assert [(run["contender"], run["complete"]) for run in result["runs"]] == [
        (name, True) for name in present
    ]
    for name in set(CONTENDERS) - set(present):
        assert f"benchmarks.live: {CONTENDERS[name].missing()}" in said.err
    assert set(result) >= {"live_per_cpu_second", *report.RATIOS, "latency_p99_ms"}
    assert result["footprint"]["customers"] == 5
    assert set(result["footprint"]["bytes_by_kind"]) >= {"parts", "profile", "identifiers", "lanes"}
    assert result["latency"][0]["probes"] > 0
    assert set(result) >= {"at", "plan", "machine", "servers", "promises", "load_average", "throughput"}


def test_the_headline_says_how_many_times_the_others_and_null_for_who_is_not_there() -> None:
    drains = [
        Drain(name, events, True, 1.0, 1.0, 0.1, 0.1, 50.0, 1.0, 0.5)
        for name, events in (("scv", 700), ("limit", 1_000), ("plain-faust", 100))
    ]
    assert report.headline(report.summarised(drains), ()) == {
        "live_per_cpu_second": 700.0,
        "faust_ratio": 7.0,
        "quix_ratio": None,
        "limit_ratio": 0.7,
        "latency_p99_ms": None,
    }


def test_who_is_not_installed_is_left_out_with_a_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(usage, "QUIX_ENVIRONMENT", tmp_path)
    assert live.present(["quix"]) == []
    [line] = capsys.readouterr().err.splitlines()
    assert line == "benchmarks.live: Quix Streams is not installed: run `make bench-setup`"


def test_the_ceiling_reads_again_what_its_memory_does_not_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its bounds are honoured, and change nothing that it writes."""
    monkeypatch.setattr(limit, "CACHE_BYTES", 0)
    monkeypatch.setattr(limit, "VIEWS_MAX", 3)
    records = list(mixed(400, 10))
    expected = sampled(records)
    with EmbeddedStore() as server:
        import redis

        customers = limit.Customers(server.url, "limit")
        for at in range(0, len(records), 50):
            customers.fold([_Message(at + more, one) for more, one in enumerate(records[at : at + 50])])
            customers.pipe.settle()
            assert not customers.remembered
        with redis.Redis.from_url(server.url) as client:
            for subject, sections in expected.items():
                found = client.hmget(f"limit:{subject}:profile", *SECTIONS)
                assert dict(zip(SECTIONS, found, strict=True)) == sections
        customers.pipe.close()


class _Message:
    """A record as confluent-kafka hands it over."""

    def __init__(self, offset: int, sent: Sent) -> None:
        self._offset, self._sent = offset, sent

    def topic(self) -> str:
        return self._sent.topic

    def key(self) -> bytes:
        return self._sent.key

    def value(self) -> bytes:
        return self._sent.value

    def offset(self) -> int:
        return self._offset

    def timestamp(self) -> tuple[int, int]:
        return 1, LOG_US // 1_000


@needs_linux
def test_a_backlog_is_drained_by_scv_and_the_ceiling(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sizes = ["--events", "600", "--subjects", "60", "--repeat", "1", "--seconds", "60"]
    assert backlog.main([*sizes, "--broker", "embedded", "--json", "--out", str(tmp_path / "b.json")]) == 0
    [line] = capsys.readouterr().out.splitlines()
    assert set(json.loads(line)["throughput"]) == {"scv", "limit"}


def test_everything_is_all_that_the_page_measures() -> None:
    page = (Path(__file__).parent.parent / "docs" / "performance.md").read_text()
    told = set(re.findall(r"python -m benchmarks\.(\w+)", page))
    assert everything.COMMANDS.keys() <= told
    assert {"lookup", "http", "backlog", "hot"} <= everything.COMMANDS.keys()


@needs_linux
def test_look_ups_find_the_right_customers_while_events_flow(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lookup, "WARM_UP_SECONDS", 0.1)
    sizes = ["--customers", "20", "--rate", "100", "--events-rate", "20", "--seconds", "0.5"]
    out = ["--broker", "embedded", "--json", "--out", str(tmp_path / "l.json")]
    assert lookup.main(["--quick", *sizes, *out]) == 0
    [line] = capsys.readouterr().out.splitlines()
    found = {one["way"]: one for one in json.loads(line)["lookups"]}
    assert {name: one["lookups"] for name, one in found.items()} == {
        "plain": 50, "scv_lookup": 50, "beside a rebuild": 50,
    }  # fmt: skip


@needs_linux
def test_others_are_measured_beside_a_hot_customer(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hot, "QUICK", hot.QUICK._replace(warm_up_seconds=0.1))
    sizes = ["--quick", "--only", "customer", "--members", "20", "--rate", "100", "--seconds", "0.3"]
    assert hot.main([*sizes, "--broker", "embedded", "--json", "--out", str(tmp_path / "h.json")]) == 0
    [line] = capsys.readouterr().out.splitlines()
    found = json.loads(line)["hot"]
    assert {row: one["probes"] for row, one in found.items()} == {"customer": 30}


@needs_linux
def test_growth_is_measured_in_customers_workers_and_histories(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(growth, "HISTORY_CUSTOMERS", 5)
    monkeypatch.setattr(growth, "JOIN_SECONDS", 0.0)
    sizes = ["--customers", "50", "--workers", "2", "--history", "10", "--events", "400"]
    assert growth.main([*sizes, "--broker", "embedded", "--out", str(tmp_path / "g.json")]) == 0
    said = capsys.readouterr().out.splitlines()
    result = json.loads(said[-1])
    assert [one["customers"] for one in result["customers"]] == [50]
    assert [len(one["cpu_seconds_each"]) for one in result["workers"]] == [2]
    assert [one["history_events"] for one in result["history"]] == [10]
    assert said[0].startswith("customers")


@needs_linux
@pytest.mark.campaign
def test_bulk_is_measured_beside_live(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sizes = ["--events", "3000", "--subjects", "100", "--workers", "1", "--workers", "2"]
    assert rebuild.main([*sizes, "--broker", "embedded", "--out", str(tmp_path / "r.json")]) == 0
    said = capsys.readouterr().out.splitlines()
    result = json.loads(said[-1])
    assert [one["workers"] for one in result["bulk"]] == [1, 2]
    assert all(0 < one["events"] <= 3_000 for one in result["bulk"])
    assert all(set(one["seconds"]) == {"folding", "graph", "assembling"} for one in result["bulk"])


@needs_linux
def test_memory_is_measured_against_the_bound_of_the_cache(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "QUICK", memory.QUICK._replace(footprint_customers=5))
    sizes = ["--quick", "--cache", "1", "--events", "300", "--subjects", "30"]
    assert memory.main([*sizes, "--broker", "embedded", "--json", "--out", str(tmp_path / "m.json")]) == 0
    [line] = capsys.readouterr().out.splitlines()
    assert [one["cache_mib"] for one in json.loads(line)["caches"]] == [1]


@needs_linux
def test_stages_add_up_and_none_is_missing(capsys: pytest.CaptureFixture[str]) -> None:
    assert stages.main(["--events", "400", "--subjects", "50", "--round", "200", "--partitions", "2"]) == 0
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert tuple(result["stages"]) == stages.STAGES
    calls = {name: one["calls_per_event"] * 400 for name, one in result["stages"].items()}
    assert calls["decode"] == 400
    # Collecting garbage may not happen in so short a time, all parts are in memory, and the steps are what
    # is left.
    assert {name for name, count in calls.items() if count == 0} - {"garbage", "parts"} == {"steps"}


def test_expected_profiles_have_the_sections_that_the_records_alone_decide() -> None:
    expected = sampled(list(mixed(300, 20)))
    assert "crm:0" in expected
    assert all(tuple(sections) == SECTIONS for sections in expected.values())
