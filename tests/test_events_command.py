"""`scv events show` and `tail`: what they find in a real log, by customer, type, topic and time."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from eventlog.apache import ApacheBroker
from eventlog.embedded import EmbeddedBroker
from eventlog.ends import time_ranges
from eventlog.producing import LogProducer
from eventlog.topics import BILLING, COMMANDS, SALES
from models.identifiers import customer_id
from ops import cli
from ops.failures import Exit
from stores.embedded import EmbeddedStore
from tests import servers
from tests.letter_world import LetterWorld, order
from tests.lookup_world import LookupWorld

LINK = {"subject": "crm:4711", "other": "shop:9", "actor": "E-7", "reason": "asked"}


class Log:
    """A log and a view, and the command on them."""

    def __init__(self, kafka: str, redis: str, capsys: Any) -> None:
        self.kafka, self.redis, self.capsys = kafka, redis, capsys

    def show(self, *words: str) -> list[dict[str, Any]]:
        """What `scv events show --json` prints."""
        places = ("--kafka", self.kafka, "--redis", self.redis)
        code = cli.run(["events", "show", *words, *places, "--json"])
        said = self.capsys.readouterr().out.splitlines()
        assert code == (Exit.OK if said else Exit.NOT_FOUND)
        return [json.loads(line) for line in said]

    def ids(self, *words: str) -> list[str]:
        """The ids of these events."""
        return [one["event"]["id"] for one in self.show(*words)]


@pytest.fixture(scope="module")
def written() -> Iterator[tuple[str, str]]:
    """Two subjects of one customer and one of another, a command, and a broken record."""
    with EmbeddedBroker() as broker, EmbeddedStore() as store:
        world = LetterWorld(broker.bootstrap)
        view = LookupWorld(store.url)
        for subject in ("crm:4711", "web:7"):
            view.tell("marketing.page_viewed", subject, "email:ada@example.com", page="/")
            view.tell("sales.order_placed", subject, order_id="O-1", amount_minor=1, currency="EUR")
            view.tell(
                "billing.invoice_issued",
                subject,
                invoice_id="I",
                amount_minor=1,
                currency="EUR",
                due_at="2026-03-01T10:42:07Z",
            )
        view.settle()
        view.close()
        paid = {"type": "billing.payment_failed", "data": {"code": "card_expired"}}
        world.write(
            (SALES, b"crm:4711", order("1")),
            (BILLING, b"web:7", order("2", subject="web:7", **paid)),
            (SALES, b"crm:12", order("3", subject="crm:12")),
            (COMMANDS, b"crm:4711", order("4", type="identity.link", data=LINK)),
            (SALES, b"crm:4711", b"{"),
        )
        yield broker.bootstrap, store.url


@pytest.fixture
def log(written: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> Log:
    return Log(*written, capsys)


def test_a_customer_has_the_events_of_all_its_subjects_by_any_name(log: Log) -> None:
    for name in ("crm:4711", "web:7", "email:ada@example.com", "order:O-1", customer_id("crm:4711")):
        told = log.show("--customer", name)
        assert {one["event"]["id"] for one in told if one["event"]} == {"evt-1", "evt-2", "evt-4"}, name
        assert [one["fault"]["reason"] for one in told if one["fault"]] == ["not_json"]


def test_a_subject_that_the_view_does_not_know_stands_for_itself(log: Log) -> None:
    assert log.ids("--customer", "crm:12") == ["evt-3"]
    assert log.show("--customer", "crm:13") == []


def test_types_and_topics_choose(log: Log) -> None:
    assert log.ids("--type", "billing.*") == ["evt-2"]
    assert sorted(log.ids("--type", "*.order_placed")) == ["evt-1", "evt-3"]
    assert log.ids("--topic", COMMANDS) == ["evt-4"]
    assert log.show("--topic", COMMANDS, "--type", "sales.*") == []


def test_an_event_says_where_it_lies_and_what_it_says(log: Log) -> None:
    (one,) = log.show("--type", "billing.*")
    assert one["position"].startswith("billing.events-") and one["key"] == "web:7"
    assert (one["title"], one["occurred_at"]) == ("Payment failed: card expired", "2026-03-01T10:42:07Z")
    assert one["fault"] is None and one["redriven"] is None


def test_the_newest_come_last_and_no_more_than_asked_for(log: Log) -> None:
    everything = [one["position"] for one in log.show()]
    assert len(everything) == 5
    assert [one["position"] for one in log.show("--limit", "2")] == everything[-2:]
    times = [one["logged_at"] for one in log.show()]
    assert times == sorted(times)


def test_times_choose(log: Log) -> None:
    later = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    assert len(log.show("--from", "1h", "--to", later)) == 5
    assert log.show("--to", "1h") == [] and log.show("--from", later) == []


@pytest.mark.parametrize(
    "words, code, complaint",
    [
        (["--topic", "scv.audit"], Exit.USAGE, "--topic scv.audit: no topic of events"),
        (["--customer", "email:none@example.com"], Exit.NOT_FOUND, "nobody is known as"),
        (["--customer", "rubbish"], Exit.USAGE, "no customer id and no type:value"),
        (["--type", "sales.refund"], Exit.NOT_FOUND, "no such events"),
    ],
)
def test_what_is_nothing_is_told_in_one_line(log: Log, words: list[str], code: Exit, complaint: str) -> None:
    places = ("--kafka", log.kafka, "--redis", log.redis)
    assert cli.run(["events", "show", *words, *places]) == code
    said = log.capsys.readouterr()
    assert complaint in said.err and said.err.count("\n") == 1 and not said.out


def test_tail_hears_what_is_written_and_only_that(log: Log) -> None:
    command = [
        sys.executable, "-m", "ops.cli", "events", "tail", "--type", "sales.*", "--limit", "2", "--json",
        "--kafka", log.kafka,
    ]  # fmt: skip
    tail = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert tail.stderr is not None
        assert tail.stderr.readline().startswith("following sales.events")
        with LogProducer(log.kafka) as producer:
            for number in (7, 8, 9):
                producer.produce(SALES, b"crm:12", order(str(number), subject="crm:12"))
        said, _ = tail.communicate(timeout=60)
        assert [json.loads(line)["event"]["id"] for line in said.splitlines()] == ["evt-7", "evt-8"]
        assert tail.returncode == Exit.OK
    finally:
        tail.kill()


def test_apache_says_where_an_instant_lies(apache_broker: ApacheBroker) -> None:
    servers.empty_broker(apache_broker.bootstrap)
    world = LetterWorld(apache_broker.bootstrap, 1)
    world.write((SALES, b"k", b"1"))
    (first,) = world.records()
    while time.time() * 1_000 <= first.timestamp_ms + 1:
        time.sleep(0.001)
    world.write((SALES, b"k", b"2"))
    lane, at = (SALES, 0), first.timestamp_ms + 1

    def span(from_ms: int | None = None, to_ms: int | None = None) -> tuple[int, int]:
        return time_ranges(apache_broker.bootstrap, [SALES], from_ms, to_ms)[lane]

    assert (span(), span(at), span(None, at), span(at, at), span(2 * at)) == (
        (0, 2), (1, 2), (0, 1), (1, 1), (2, 2)
    )  # fmt: skip
