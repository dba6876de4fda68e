"""docs/topics.md says what eventlog/topics.py creates, and its subscribers get what there is."""

import re
import subprocess
from pathlib import Path
from typing import Any

import msgspec
import pytest

from eventlog.apache import ApacheBroker
from eventlog.topics import PARTITIONS, topic_plan
from stores.embedded import DebianRedis
from tests import servers
from tests.publishing_world import PublishingWorld

PAGE = (Path(__file__).resolve().parent.parent / "docs" / "topics.md").read_text()


def rows(heading: str) -> list[list[str]]:
    """The cells of the table that begins with this cell, without the head."""
    table = re.search(rf"^\| {heading} \|.*?(?=\n\n)", PAGE, re.MULTILINE | re.DOTALL)
    assert table
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table[0].splitlines()[2:]]


def block(language: str, beginning: str) -> str:
    """The example of this language that begins so."""
    found = re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    (one,) = [text for text in found if text.startswith(beginning)]
    return one


def test_the_page_names_every_topic_with_its_partitions_and_how_long_it_is_kept() -> None:
    kept = {name: dict(re.findall(r"`([a-z.]+)=([^`]+)`", settings)) for name, settings in rows("kept")}
    appended = dict(re.findall(r"`(message\.timestamp\.type)=([A-Za-z]+)`", PAGE))
    told = {}
    for name, partitions, how_long, *_ in rows("topic"):
        lanes = PARTITIONS if partitions == f"`SCV_PARTITIONS` ({PARTITIONS})" else int(partitions)
        told[name.strip("`")] = (lanes, kept[how_long] | appended)
    assert told == {topic.name: (topic.partitions, dict(topic.settings)) for topic in topic_plan()}


@pytest.fixture
def world(apache_broker: ApacheBroker, debian_redis: DebianRedis) -> Any:
    """Five customers, one of them merged from two, all published; and one change after that."""
    servers.empty_broker(apache_broker.bootstrap)
    world = PublishingWorld(apache_broker.bootstrap, debian_redis.url)
    for number in range(5):
        world.view.tell("marketing.page_viewed", f"web:{number}", f"email:{number}@example.com", page="/")
    world.publish()
    world.view.tell("marketing.page_viewed", "crm:0", "email:0@example.com", page="/")
    world.publish()
    world.view.tell("marketing.page_viewed", "web:4", page="/")
    world.publish()
    yield world
    world.close()


def test_the_subscriber_in_python_has_the_profiles(
    world: PublishingWorld, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SCV_KAFKA", world.bootstrap)
    example = block("python", "import json").replace("5_000", "2_000")
    names: dict[str, Any] = {}
    exec(compile(example, "docs/topics.md", "exec"), names)
    names["consumer"].close()
    assert capsys.readouterr().out == "5 customers\n"
    assert names["profiles"] == world.profiles()


def test_the_subscriber_in_a_shell_has_the_profiles(
    world: PublishingWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    servers.need("kcat")
    monkeypatch.setenv("SCV_KAFKA", world.bootstrap)
    command = block("sh", "kcat")
    said = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True, timeout=60)
    lines = dict(line.split("\t", 1) for line in said.stdout.splitlines())
    held = {
        customer: msgspec.json.decode(value)["data"] for customer, value in lines.items() if value != "NULL"
    }
    assert len(lines) == len(held) + 1
    assert held == world.profiles()
