"""`scv verify` while events flow: a real worker folds what a source writes; nothing false is found."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime
from itertools import chain, count

import msgspec
import pytest

from eventlog.producing import LogProducer
from models.catalogue import DOMAIN_TOPICS
from ops import cli
from ops.failures import Exit
from ops.installation import Installation
from ops.population import events

START_SECONDS_MAX = 60


class Source(threading.Thread):
    """Writes histories of the same people, a little at a time, until it is told to stop."""

    def __init__(self, kafka: str) -> None:
        super().__init__(daemon=True)
        self.kafka, self.enough, self.count = kafka, threading.Event(), 0

    def run(self) -> None:
        """Write on."""
        with LogProducer(self.kafka) as producer:
            end = datetime(2026, 3, 1, 11, 0, tzinfo=UTC)
            for one in chain.from_iterable(events(seed, 10, end) for seed in count(7)):
                producer.produce(one.topic, one.key, one.value)
                self.count += 1
                if self.count % 10 == 0:
                    producer.flush()
                    if self.enough.wait(0.02):
                        return


def test_a_view_that_is_being_folded_has_no_differences(capsys: pytest.CaptureFixture[str]) -> None:
    with Installation() as installation:
        installation.start_worker()
        where = ["--json", "--kafka", installation.settings.kafka, "--redis", installation.settings.redis]
        source = Source(installation.settings.kafka)
        source.start()
        deadline = time.monotonic() + START_SECONDS_MAX
        while installation.assembled(installation.ends(DOMAIN_TOPICS)) < 200:
            installation.check()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        begun = source.count
        for way in (["--all"], ["--customer", "crm:4711"]):
            code = cli.run(["verify", *way, *where])
            answer = msgspec.json.decode(capsys.readouterr().out)
            assert answer["differences"] == [], way
            assert code == (Exit.PARTLY if answer["busy"] else Exit.OK)
            assert answer["customers"] > 0
        assert source.count > begun, "nothing was written meanwhile"
        source.enough.set()
        source.join()
        ends = installation.ends(DOMAIN_TOPICS)
        while installation.assembled(ends) < sum(ends.values()):
            installation.check()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert cli.run(["verify", "--all", *where]) == Exit.OK, capsys.readouterr().out
