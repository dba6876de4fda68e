"""docs/dead-letters.md is true: its commands are run, in their order, on the demo's broken records."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from eventlog.embedded import EmbeddedBroker
from models.catalogue import DOMAIN_TOPICS
from models.dead_letter import Reason
from ops import cli
from ops.failures import Exit
from ops.population import broken_events
from stores.embedded import EmbeddedStore
from tests.letter_world import LetterWorld

PAGE = (Path(__file__).resolve().parent.parent / "docs" / "dead-letters.md").read_text()
NAMED = "sales.events-5@1042"


def lines() -> list[str]:
    """The lines of the page's shell blocks."""
    blocks = re.findall(r"^```sh\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line]


@pytest.fixture
def world(embedded_store: EmbeddedStore, monkeypatch: pytest.MonkeyPatch) -> Iterator[LetterWorld]:
    """The broken records of `scv demo`, each a dead letter; settings that commands find."""
    with EmbeddedBroker() as broker:
        world = LetterWorld(broker.bootstrap, 8)
        broken = broken_events(datetime(2026, 3, 1, 11, tzinfo=UTC))
        world.write(*[(one.topic, one.key, one.value) for one in broken])
        world.bury(*DOMAIN_TOPICS)
        monkeypatch.setenv("SCV_KAFKA", broker.bootstrap)
        monkeypatch.setenv("SCV_REDIS", embedded_store.url)
        yield world


def test_the_commands_of_the_page_do_what_it_says(
    world: LetterWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    # The page's position, and the one where such a record lies here.
    assert (
        cli.run(["dead-letters", "list", "--reason", "wrong_shape", "--topic", "sales.events", "--json"]) == 0
    )
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
    by_end = {line.partition("   #")[0].rpartition("--")[2].strip(): text for line, text in said.items()}
    assert "7 dead letters" in said["scv dead-letters list"] and "discarded" in by_end["all"]
    (event,) = [json.loads(text) for line, text in said.items() if line.startswith("scv events")]
    assert (event["redriven"], event["event"]["data"]["amount_minor"]) == (position, 4990)
    # Two records: the corrected one, and the one that was in the wrong topic.
    assert world.folded() == 2
    assert {one.action for one in world.marks()} == {"redriven", "discarded"}


def test_every_reason_is_explained_where_the_page_sends_to() -> None:
    explained = (Path(__file__).resolve().parent.parent / "docs" / "events.md").read_text()
    assert "## What becomes of a wrong event" in explained
    assert set(Reason) <= set(re.findall(r"^\| `(\w+)` \|", explained, re.MULTILINE))
