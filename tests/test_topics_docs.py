"""docs/topics.md says what eventlog/topics.py creates."""

import re
from pathlib import Path

from eventlog.topics import PARTITIONS, topic_plan

PAGE = (Path(__file__).resolve().parent.parent / "docs" / "topics.md").read_text()


def rows(heading: str) -> list[list[str]]:
    """The cells of the table that begins with this cell, without the head."""
    table = re.search(rf"^\| {heading} \|.*?(?=\n\n)", PAGE, re.MULTILINE | re.DOTALL)
    assert table
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table[0].splitlines()[2:]]


def test_the_page_names_every_topic_with_its_partitions_and_how_long_it_is_kept() -> None:
    kept = {name: dict(re.findall(r"`([a-z.]+)=([^`]+)`", settings)) for name, settings in rows("kept")}
    appended = dict(re.findall(r"`(message\.timestamp\.type)=([A-Za-z]+)`", PAGE))
    told = {}
    for name, partitions, how_long, *_ in rows("topic"):
        lanes = PARTITIONS if partitions == f"`SCV_PARTITIONS` ({PARTITIONS})" else int(partitions)
        told[name.strip("`")] = (lanes, kept[how_long] | appended)
    assert told == {topic.name: (topic.partitions, dict(topic.settings)) for topic in topic_plan()}
