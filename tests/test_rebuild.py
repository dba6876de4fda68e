"""A generation that was rebuilt is the one that followed live, and is handled with care."""

from __future__ import annotations

import json
from random import Random
from typing import Any

import pytest

from eventlog.embedded import EmbeddedBroker
from ops import cli
from ops.failures import Exit
from stores.embedded import EmbeddedStore
from tests import servers
from tests.rebuild_world import Following, assert_same, fill, kinds, records_of, settings_for


def scv(
    capsys: pytest.CaptureFixture[str], kafka: str, url: str, *words: str
) -> tuple[int, dict[str, Any], str]:
    """A command's exit code, its JSON answer, and what it said on stderr."""
    capsys.readouterr()
    code = cli.run([*words, "--kafka", kafka, "--redis", url, "--json"])
    said = capsys.readouterr()
    return code, json.loads(said.out) if said.out else {}, said.err


def rebuilt_equals_live(seed: int, events: int, kafka: str, url: str, capsys: Any) -> dict[str, Any]:
    """Follow half of a log, rebuild, follow the rest with both; they hold the same at both times."""
    records = records_of(seed, events)
    half = len(records) // 2
    fill(kafka, records[:half])
    live = Following(settings_for(kafka, url), Random(seed), replaced=0.05)
    live.catch_up()
    code, answer, said = scv(
        capsys, kafka, url, "rebuild", "start", "--execute", "--no-follow", "--workers", "2"
    )
    assert code == Exit.OK, said
    assert answer["state"] == "following"
    at_half = assert_same(url, "g1", "g2")
    fill(kafka, records[half:])
    rebuilt = Following(settings_for(kafka, url, "g2"), Random(seed + 1), replaced=0.05)
    for one in (live, rebuilt):
        one.catch_up()
        one.close()
    found = assert_same(url, "g1", "g2")
    assert kinds(list(found)) == {"part", "profile", "ids", "member", "lanes", "of"}
    assert found != at_half
    return found


def test_a_rebuilt_generation_is_the_live_one_before_and_after_it_follows(
    embedded_store: EmbeddedStore, capsys: pytest.CaptureFixture[str]
) -> None:
    servers.empty_store(embedded_store.url)
    with EmbeddedBroker() as broker:
        found = rebuilt_equals_live(1, 700, broker.bootstrap, embedded_store.url, capsys)
    members = [value[1] for name, value in found.items() if name.endswith(":member")]
    assert any(len(one) > 2 for one in members), "customers merged"
