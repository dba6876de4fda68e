"""docs/dead-letters.md is true: its commands are run, in their order, on the demo's broken records."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from eventlog.producing import LogProducer
from eventlog.topics import DEAD_LETTERS
from models.catalogue import DOMAIN_TOPICS
from models.dead_letter import Reason
from models.identifiers import customer_id
from ops import cli
from ops.failures import Exit
from ops.installation import Installation
from ops.population import broken_events
from stores.reading import ProfileReader

SECONDS_MAX = 60.0
PAGE = (Path(__file__).resolve().parent.parent / "docs" / "dead-letters.md").read_text()
NAMED = "sales.events-5@1042"


def lines() -> list[str]:
    """The lines of the page's shell blocks."""
    blocks = re.findall(r"^```sh\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line]


@pytest.fixture
def installation(monkeypatch: pytest.MonkeyPatch) -> Iterator[Installation]:
    """A worker that has buried the broken records of `scv demo`; settings that commands find."""
    with Installation(metrics_port=0) as installation:
        installation.start_worker()
        with LogProducer(installation.settings.kafka) as producer:
            for one in broken_events(datetime(2026, 3, 1, 11, tzinfo=UTC)):
                producer.produce(one.topic, one.key, one.value)
        for name, value in installation.addresses.items():
            monkeypatch.setenv(name, value)
        wait_until(installation, lambda: sum(installation.ends((DEAD_LETTERS,)).values()) == 7)
        yield installation


def wait_until(installation: Installation, true: Callable[[], bool]) -> None:
    """Wait for it, as long as everything runs."""
    deadline = time.monotonic() + SECONDS_MAX
    while not true():
        installation.check()
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_the_commands_of_the_page_do_what_it_says(
    installation: Installation,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    # The page's position, and the one where such a record lies here.
    wrong = ["dead-letters", "list", "--reason", "wrong_shape", "--topic", "sales.events", "--json"]
    assert cli.run(wrong) == Exit.OK
    ((position,),) = [[one["position"] for one in json.loads(capsys.readouterr().out)["letters"]]]
    said = {}
    for line in lines():
        command, _, comment = line.replace(NAMED, position).partition("   #")
        if not command.startswith("scv "):
            subprocess.run(["sh", "-c", command], check=True)
            continue
        command, _, into = command.partition(" > ")
        code = cli.run(shlex.split(command)[1:])
        expected = re.search(r"exit code (\d)", comment)
        said[line] = capsys.readouterr().out
        assert code == (int(expected[1]) if expected else Exit.OK), (line, said[line])
        if into:
            Path(into.strip()).write_text(said[line])
    assert len(said) == 11
    assert "7 dead letters" in said["scv dead-letters list"]
    assert "discarded" in said["scv dead-letters list --all"]
    (shown,) = [text for line, text in said.items() if line.startswith("scv events")]
    told = {one["redriven"]: one for one in map(json.loads, shown.splitlines())}
    assert told[position]["event"]["data"]["amount_minor"] == 4990
    # What the worker makes of it: both broken orders were the same event, so they are one order.
    assert [one["order_id"] for one in orders_of_ada(installation)] == ["O-9"]


def orders_of_ada(installation: Installation) -> list[dict[str, Any]]:
    """The orders that her profile has, as soon as all records are in it."""
    ends = installation.ends(DOMAIN_TOPICS)
    wait_until(installation, lambda: installation.assembled(ends) >= sum(ends.values()))
    reader = ProfileReader(installation.settings.redis)
    try:
        profile = reader.profile(customer_id("crm:4711"), ("sales",))
        assert profile is not None
        sales = json.loads(profile.sections["sales"])
    finally:
        reader.close()
    assert sales["order_count"] == len(sales["orders"])
    return sales["orders"]


def test_every_reason_is_explained_where_the_page_sends_to() -> None:
    explained = (Path(__file__).resolve().parent.parent / "docs" / "events.md").read_text()
    assert "## What becomes of a wrong event" in explained
    assert set(Reason) <= set(re.findall(r"^\| `(\w+)` \|", explained, re.MULTILINE))
