"""Generations over HTTP: where they stand, promoted and rolled back, or refused with the reason."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
from redis import Redis

from api import generations
from api.generations import Generations
from api.pages.generations import rows_of
from api.rebuild import rebuild_state_of
from api.rebuild_bodies import RebuildState
from eventlog.admin import create_topics
from eventlog.embedded import EmbeddedBroker
from eventlog.promotions import begin, promotions
from eventlog.topics import link_log, topic_plan
from models.promotion import Active
from stores.embedded import EmbeddedStore
from stores.generations import Stand
from stores.keys import Keys
from stores.promotion import open_pointer
from stores.rebuilding import Rebuild, Rebuilds, State
from tests import servers
from tests.http_world import HttpWorld, wait_until
from tests.rebuild_world import Following, fill, records_of, settings_for

WHO = {"actor": "E-7", "reason": "delivered orders"}


class World:
    """A log; g1, that readers see; g2, which a worker folds beside it when it is told to; and the API."""

    def __init__(self, kafka: str, url: str, directory: Path) -> None:
        self.kafka, self.url = kafka, url
        fill(kafka, records_of(5, 60))
        g2 = [one for one in topic_plan(1, "g2") if one.name == link_log("g2")]
        create_topics(kafka, plan=g2)
        self.first = Following(settings_for(kafka, url), Random(1))
        self.first.catch_up()
        with open_pointer(url) as pointer:
            begin(kafka, pointer, "g1")
        self.second = Following(settings_for(kafka, url, "g2"), Random(2))
        self.client = Redis.from_url(url)
        self.rebuilds = Rebuilds(self.client)
        self.http = HttpWorld(kafka, url, directory)

    def state(self) -> dict[str, Any]:
        """What is told of generations; by its model."""
        answer = self.http.get("/v1/ops/rebuild", "ops")
        assert answer.status_code == 200
        RebuildState.model_validate_json(answer.content)
        return answer.json()

    def generation(self, name: str) -> dict[str, Any]:
        """What is told of this one; nothing before it is known."""
        return next((one for one in self.state()["generations"] if one["generation"] == name), {})

    def change(self, verb: str, **asked: Any) -> tuple[int, dict[str, Any]]:
        """Ask for a change."""
        answer = self.http.post(f"/v1/ops/rebuild/{verb}", {**WHO, **asked}, "ops")
        return answer.status_code, answer.json()

    def close(self) -> None:
        """End it all."""
        self.http.close()
        self.client.close()
        self.first.close()
        self.second.close()


@pytest.fixture
def world(embedded_store: EmbeddedStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    servers.empty_store(embedded_store.url)
    monkeypatch.setattr(generations, "EVERY_SECONDS", 0.2)
    monkeypatch.setattr("api.operations.EVERY_SECONDS", 0.2)
    monkeypatch.setattr("api.promoting.LEVEL_SECONDS", 0.3)
    with EmbeddedBroker() as broker:
        world = World(broker.bootstrap, embedded_store.url, tmp_path)
        yield world
        world.close()


def test_a_rebuild_in_flight_is_told_and_not_promoted(world: World) -> None:
    wait_until(lambda: world.state()["active"] == "g1")
    services = world.http.services
    assert services.generations.rebuilding() is None
    rebuild = Rebuild(State.FOLDING, 1, {}, 1, "shape", "config", done=62, total=100, per_second=19.0)
    world.rebuilds.begin("g2", rebuild)
    world.client.set(Keys("g2").rebuilder, f"{socket.gethostname()} {os.getpid()}")
    wait_until(lambda: world.generation("g2").get("state") == "folding")
    told = world.generation("g2")
    assert (told["done"], told["total"], told["percent"], told["per_second"]) == (62, 100, 62, 19.0)
    assert (told["seconds_left"], told["active"], told["process"] is None) == (2.0, False, False)
    wait_until(lambda: world.generation("g1")["behind_records"] is not None)
    assert (world.generation("g1")["state"], world.generation("g1")["behind_records"]) == ("live", 0)
    assert services.generations.rebuilding() == ("g2", "folding", 20), "one of three stages, 62 % of it"
    world.rebuilds.update("g2", state=State.ASSEMBLING, done=50)
    wait_until(lambda: services.generations.rebuilding() == ("g2", "assembling", 83))
    status, body = world.change("promote", generation="g2", number=1)
    assert (status, body["code"]) == (409, "promotion_refused")
    assert body["detail"].startswith("g2 is not whole yet (assembling)")
    # Nobody is at it any more: readers need not be told of it.
    world.client.delete(Keys("g2").rebuilder)
    wait_until(lambda: services.generations.rebuilding() is None)
    assert world.generation("g2")["seconds_left"] is None and world.generation("g2")["percent"] == 50


def test_a_generation_is_promoted_when_it_is_level_and_rolled_back_and_refused_with_the_reason(
    world: World,
) -> None:
    status, body = world.change("rollback", number=1)
    assert (status, body["detail"]) == (
        409, "nothing was promoted over another generation; there is no way back",
    )  # fmt: skip
    status, body = world.change("promote", generation="g9", number=1)
    assert (status, body["detail"]) == (409, "there is no generation g9; `scv rebuild status` lists them")
    status, body = world.change("promote", generation="g1", number=1)
    assert (status, body["detail"]) == (409, "g1 is active already")
    world.client.set(Keys("g2").shape, world.second.settings.shape)
    status, body = world.change("promote", generation="g2", number=1)
    assert status == 409 and body["detail"].startswith("g2 is behind g1: ")
    wait_until(lambda: world.generation("g2")["behind_records"])
    world.second.catch_up()
    status, body = world.change("promote", generation="g2", number=7)
    assert (status, body["detail"]) == (409, "g1 is active by promotion 1, not 7: look again first")
    status, body = world.change("promote", generation="g2", number=1, dry_run=True)
    assert (status, body) == (200, {"active": "g2", "before": "g1", "number": 2, "dry_run": True})
    assert world.state()["active"] == "g1" and len(promotions(world.kafka)) == 1
    status, body = world.change("promote", generation="g2", number=1)
    assert (status, body["number"], body["dry_run"]) == (200, 2, False)
    told = world.state()
    assert (told["active"], told["promotion"], told["previous"]) == ("g2", 2, "g1")
    assert world.client.get("scv:active") == b"g2 2"
    status, body = world.change("rollback", number=2)
    assert (status, body["active"]) == (200, "g1")
    history = [
        (one.number, one.generation, one.kind, one.actor, one.reason, one.keyid)
        for one in promotions(world.kafka)
    ]
    key = world.http.keys["ops"].split("_")[1]
    assert history[1:] == [
        (2, "g2", "promoted", "E-7", WHO["reason"], key),
        (3, "g1", "rolled_back", "E-7", WHO["reason"], key),
    ]
    # Who looked before somebody else changed it changes nothing.
    assert world.change("promote", generation="g2", number=2)[0] == 409
    assert len(promotions(world.kafka)) == 3


def test_how_far_behind_is_not_known_before_anybody_has_looked_at_the_log() -> None:
    seen = Generations(0.0, Active("g1", 1), None, (Stand("g1", "live", None, None, []),))
    assert [one.behind_records for one in rebuild_state_of(seen).generations] == [None]
    assert [row.behind for row in rows_of(seen)] == ["–"]
