"""Metrics: the page has what is exposed, figures are those of the log, and nobody's data is in them."""

from __future__ import annotations

import re
import socket
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from prometheus_client.parser import text_string_to_metric_families

from eventlog.embedded import EmbeddedBroker
from eventlog.processes import free_port
from models.catalogue import DOMAIN_TOPICS
from models.record import Record
from stores.embedded import EmbeddedStore
from tests.process_verdict import Expected, expected_of, read_links, read_log, read_store
from tests.process_world import World, endless
from tests.scraping import Series, scrape, series, total

PAGE = (Path(__file__).parent.parent / "docs" / "metrics.md").read_text()
KNOBS = {"subjects": 30, "employees": 2, "events": 600, "partitions": dict.fromkeys(DOMAIN_TOPICS, 2)}
# What no label may hold; of the names below, those that are topics or words of ours anyway.
WORDS = {"web", "crm"}


class Told(NamedTuple):
    """What a worker told when it had folded everything, and what the log says."""

    text: str
    figures: Series
    records: list[Record]
    facts: int
    expected: Expected
    versions: int

    def of(self, name: str, **labels: str) -> float:
        """One figure."""
        return self.figures[name, frozenset(labels.items())]

    def total(self, name: str, **labels: str) -> float:
        """The sum of all figures of a name that have these labels."""
        return total(self.figures, name, **labels)


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Told]:
    """A worker that has folded histories, with broken records and people known by several names."""
    directory, port = tmp_path_factory.mktemp("metrics"), free_port()
    with (
        EmbeddedBroker() as broker,
        EmbeddedStore() as store,
        World(broker.bootstrap, store.url, directory, workers=1, partitions=2, metrics_port=port) as world,
    ):
        world.write(endless(5, **KNOBS), pause_seconds=0.02)
        world.wait_until(lambda: sum(world.ends().values()) > 1_500, "some histories are written")
        assert world.writer is not None
        world.writer.finish()
        world.wait_for_all("all of it is folded")
        world.wait_until(lambda: at_rest(scrape(port)), "the worker says so")
        text = scrape(port)
        world.stop()
        records, links = read_log(world.kafka), read_links(world.kafka)
        expected, stored = expected_of(records, links), read_store(world.redis)
        yield Told(text, series(text), records, len(links), expected, len(stored.versions))


def at_rest(text: str) -> bool:
    """Whether nothing is left to fold or to assemble, and both workers have found that the store agrees."""
    figures = series(text)
    left = [
        figure
        for (name, _), figure in figures.items()
        if name in ("scv_lane_lag_records", "scv_lane_open_marks")
    ]
    compared = [
        figure
        for (name, labels), figure in figures.items()
        if name == "scv_stage_seconds_total" and ("stage", "idle") in labels
    ]
    return bool(left) and not any(left) and all(compared)


def documented() -> dict[str, tuple[str, frozenset[str]]]:
    """Type and labels of every metric of the page."""
    rows = re.findall(r"^\| `(scv_\w+)` \| (\w+) \| ([\w, ]*?) ?\| .+ \|$", PAGE, re.MULTILINE)
    assert len(rows) == len(re.findall(r"^\| `scv_", PAGE, re.MULTILINE)), "a row is not understood"
    return {name: (kind, frozenset(labels.split(", ")) - {""}) for name, kind, labels in rows}


def test_the_page_tells_every_metric_with_its_type_and_labels(told: Told) -> None:
    exposed = {
        sample.name: (family.type, frozenset(sample.labels))
        for family in text_string_to_metric_families(told.text)
        for sample in family.samples
        if not family.name.startswith("process_")
    }
    assert exposed == documented()


def test_the_page_tells_every_stage_and_which_worker_has_it(told: Told) -> None:
    section = PAGE.partition("## Stages")[2]
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \| .+ \|$", section, re.MULTILINE)
    spent: dict[str, set[str]] = {}
    for (name, labels), seconds in told.figures.items():
        if name == "scv_stage_seconds_total":
            of = dict(labels)
            spent.setdefault(of["stage"], set())
            if seconds:
                spent[of["stage"]].add(of["worker"])
    assert {stage for stage, _ in rows} == set(spent)
    never = {"away"}
    assert {stage: worker for stage, worker in rows if stage not in never} == {
        stage: "both" if len(workers) == 2 else "".join(workers)
        for stage, workers in spent.items()
        if stage not in never
    }


def test_examples_of_the_page_name_metrics_that_there_are() -> None:
    assert set(re.findall(r"\bscv_\w+", PAGE)) - {"scv_"} == documented().keys()


def test_every_record_is_counted_as_an_event_or_by_the_reason_why_not(told: Told) -> None:
    reasons = Counter(told.expected.letters.values())
    assert len(reasons) > 5
    for reason, count in reasons.items():
        assert told.of("scv_dead_letters_total", worker="folding", reason=reason) == count, reason
    assert told.total("scv_dead_letters_total") == len(told.expected.letters)
    assert told.of("scv_events_total") == len(told.records) - len(told.expected.letters)


def test_link_facts_and_turns_are_counted(told: Told) -> None:
    assert told.of("scv_link_facts_told_total") == told.facts
    assert told.of("scv_link_facts_heard_total") == told.facts
    assert told.of("scv_turns_total", kind="merged") > 0
    assert told.of("scv_profiles_written_total", worker="folding") > 0
    assert told.total("scv_profiles_written_total") >= told.versions, "every profile was written by somebody"


def test_the_stages_add_up_to_what_the_folding_thread_did(told: Told) -> None:
    stages, busy = told.total("scv_stage_seconds_total"), told.of("scv_busy_seconds_total")
    assert busy / 2 < stages <= busy
    for where in ("worker", "store", "broker"):
        assert told.total("scv_stage_seconds_total", where=where, worker="folding") > 0
    assert told.of("scv_thread_cpu_seconds_total", thread="folding") > 0


def test_what_is_remembered_is_told_beside_its_bound(told: Told) -> None:
    assert told.of("scv_cache_limit_bytes") == 256 * 2**20
    parts = told.of("scv_cache_parts")
    assert 100 < parts <= len({(record.lane, record.key) for record in told.records})
    assert 0 < told.of("scv_cache_bytes") < told.of("scv_cache_limit_bytes")
    assert 0 < told.of("scv_views", worker="folding") < told.of("scv_views_limit")
    assert 0 < told.of("scv_graph_nodes") < told.of("scv_graph_nodes_limit")


def test_no_label_holds_what_an_event_said(told: Told) -> None:
    labels = {value for _, has in told.figures for _, value in has}
    named = {document["founder"] for document in told.expected.profiles.values()}
    named |= {name.partition(":")[2] for name in told.expected.customers.entries}
    assert len(named) > 50
    assert labels & named <= WORDS
    assert not [value for value in labels if ":" in value or "@" in value]


def test_a_port_that_is_taken_is_one_line(tmp_path: Path) -> None:
    with (
        EmbeddedBroker() as broker,
        EmbeddedStore() as store,
        socket.create_server(("127.0.0.1", 0)) as taken,
    ):
        port = taken.getsockname()[1]
        world = World(broker.bootstrap, store.url, tmp_path, workers=1, metrics_port=port)
        (worker,) = world.workers
        worker.start()
        while worker.ended is None:
            time.sleep(0.05)
        assert worker.ended == 1
        _, *said = worker.said().splitlines()
        assert len(said) == 1
        assert said[0].startswith(
            f"scv worker: no metrics at 127.0.0.1:{port}: Address already in use; choose"
        )
