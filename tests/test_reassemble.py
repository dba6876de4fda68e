"""Profiles are derived again where the settings that derive them have changed, and only there."""

from __future__ import annotations

import json
from random import Random
from typing import Any

import pytest
import redis

from eventlog.embedded import EmbeddedBroker
from eventlog.promotions import promotions
from models import settings as models_settings
from ops import cli
from ops.failures import Exit
from stores.embedded import EmbeddedStore
from streams.assembler import Assembler
from tests import servers
from tests.rebuild_world import Following, fill, held, records_of, settings_for


def reassemble(
    capsys: pytest.CaptureFixture[str], kafka: str, url: str, *words: str
) -> tuple[int, dict[str, Any]]:
    """Exit code and answer of `scv reassemble`."""
    capsys.readouterr()
    code = cli.run(["reassemble", "--kafka", kafka, "--redis", url, "--json", *words])
    said = capsys.readouterr()
    return code, json.loads(said.out) if said.out else {}


def metas(url: str) -> dict[str, tuple[str, str]]:
    """Version and configuration that each live profile shows, by key."""
    found = {}
    with redis.Redis.from_url(url, decode_responses=True) as client:
        for key in client.scan_iter("scv:g1:*:profile"):
            state, version, meta = client.hmget(key, "state", "version", "meta")
            if state == "live":
                assert json.loads(meta)["version"] == version
                found[key] = version, json.loads(meta)["config"]
    return found


def test_a_change_of_what_derives_reaches_every_profile_though_it_was_killed_on_the_way(
    embedded_store: EmbeddedStore, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    servers.empty_store(embedded_store.url)
    url = embedded_store.url
    with EmbeddedBroker() as broker:
        kafka = broker.bootstrap
        fill(kafka, records_of(12, 250))
        follower = Following(settings_for(kafka, url), Random(12))
        follower.catch_up()
        follower.close()
        whole, before = held(url, "g1"), metas(url)
        assert reassemble(capsys, kafka, url, "--execute")[1]["otherwise"] == 0

        monkeypatch.setattr(models_settings, "DERIVE_VERSION", 99)
        config = settings_for(kafka, url).config
        code, plan = reassemble(capsys, kafka, url)
        assert (code, plan["otherwise"], plan["executed"]) == (Exit.OK, len(before), False)
        assert metas(url) == before, "a plan changes nothing"

        monkeypatch.setattr("streams.reassemble.CUSTOMERS_AT_ONCE", 10)
        real, calls = Assembler.assemble, 0

        def killed(self: Assembler, marked: Any) -> set[str]:
            nonlocal calls
            calls += 1
            if calls == 3:
                raise KeyboardInterrupt
            return real(self, marked)

        monkeypatch.setattr(Assembler, "assemble", killed)
        assert reassemble(capsys, kafka, url, "--execute")[0] == Exit.INTERRUPTED
        monkeypatch.setattr(Assembler, "assemble", real)
        half = sum(found == config for _, found in metas(url).values())
        assert 0 < half < len(before)
        code, answer = reassemble(capsys, kafka, url, "--execute")
        assert (code, answer["otherwise"], answer["left"]) == (Exit.OK, len(before) - half, 0)
        assert answer["promotion"] == 2, "publishers are to publish everybody again"
        last = promotions(kafka)[-1]
        assert (last.number, last.generation, last.previous) == (2, "g1", None)
        assert config in last.reason
        assert reassemble(capsys, kafka, url, "--execute")[1]["promotion"] is None, "once"
    assert metas(url) == {key: (version, config) for key, (version, _) in before.items()}
    assert held(url, "g1") == whole
