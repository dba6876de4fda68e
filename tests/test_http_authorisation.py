"""Who may do what over HTTP: every endpoint with every scope, no key, a wrong key, a revoked key."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from api.keys import IMPLIED, SCOPES, create_key, revoke_key
from eventlog.embedded import EmbeddedBroker
from eventlog.producing import LogProducer
from models.identifiers import customer_id
from stores.embedded import EmbeddedStore
from tests.http_world import HttpWorld, world_of
from tests.letter_world import LetterWorld

ADA = customer_id("crm:4711")
EVENT = {
    "specversion": "1.0", "id": "e", "source": "s", "type": "sales.order_placed", "subject": "crm:4711",
    "data": {"order_id": "O", "amount_minor": 1, "currency": "EUR"},
}  # fmt: skip
PAIR = {"subject": "crm:4711", "other": "shop:88", "actor": "E-7", "reason": "asked"}
DECISION = {"actor": "E-7", "reason": "asked"}
# Readers see the first generation, and there is no other.
SEEN = {**DECISION, "number": 1}
# Once it is discarded, a letter is neither redriven nor discarded again: each has its own.
LETTER, DISCARDED = "billing.events-0@0", "billing.events-0@1"
OPEN = {("get", "/livez"), ("get", "/readyz")}

# Every endpoint that needs a key: its scope, a request that works, and the status it then has.
ENDPOINTS: dict[tuple[str, str], tuple[str, dict[str, Any], int]] = {
    ("post", "/v1/profiles:lookup"): (
        "profile:read", {"json": {"identifiers": [{"type": "crm", "value": "4711"}]}}, 200,
    ),
    ("get", "/v1/profiles/{customer_id}"): ("profile:read", {}, 200),
    ("get", "/v1/profiles/{customer_id}/timeline"): ("timeline:read", {}, 200),
    ("get", "/v1/profiles/{customer_id}/identifiers"): ("profile:read", {}, 200),
    ("get", "/v1/profiles/{customer_id}/consents"): ("profile:read", {}, 200),
    ("get", "/v1/profiles/{customer_id}/merges"): ("profile:read", {}, 200),
    ("get", "/v1/profiles/{customer_id}/explain/{field}"): ("profile:read", {}, 422),
    ("post", "/v1/profiles/{customer_id}/reveal"): (
        "profile:reveal", {"json": {"fields": ["name"], "reason": "asked"}}, 200,
    ),
    ("post", "/v1/events"): ("events:write", {"json": EVENT}, 202),
    ("post", "/v1/identity/links"): ("identity:write", {"json": PAIR}, 202),
    ("post", "/v1/identity/unlinks"): ("identity:write", {"json": PAIR}, 202),
    ("get", "/v1/dead-letters"): ("ops", {}, 200),
    ("get", "/v1/dead-letters/{position}"): ("ops", {}, 200),
    ("post", "/v1/dead-letters/{position}:redrive"): ("ops", {"json": {**DECISION, "dry_run": True}}, 200),
    ("post", "/v1/dead-letters/{position}:discard"): ("ops", {"json": DECISION}, 200),
    ("get", "/metrics"): ("ops", {}, 200),
    ("get", "/v1/ops/state"): ("ops", {}, 200),
    ("get", "/v1/ops/rebuild"): ("ops", {}, 200),
    ("post", "/v1/ops/rebuild/promote"): ("ops", {"json": {**SEEN, "generation": "g1"}}, 409),
    ("post", "/v1/ops/rebuild/rollback"): ("ops", {"json": SEEN}, 409),
    ("get", "/v1/stream"): ("profile:read", {"params": {"profile": ADA}, "stream": True}, 200),
}  # fmt: skip


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HttpWorld]:
    """One customer."""
    with EmbeddedBroker() as broker, EmbeddedStore() as store:
        for world, folded in world_of(broker.bootstrap, store.url, tmp_path_factory.mktemp("http")):
            folded.tell(
                "service.promise_made", "crm:4711", promise_id="P", text="x", due_at="2026-03-09T09:00:00Z"
            )
            folded.settle()
            log = LetterWorld(broker.bootstrap)
            with LogProducer(broker.bootstrap) as producer:
                for _ in range(2):
                    producer.produce("billing.events", b"crm:4711", msgspec.json.encode(EVENT), partition=0)
            log.bury("billing.events")
            yield world


def asked(world: HttpWorld, place: tuple[str, str], key: str | None) -> tuple[int, dict[str, Any]]:
    method, path = place
    position = DISCARDED if path.endswith(":discard") else LETTER
    filled = path.format(customer_id=ADA, position=position, field="none")
    answer = world.ask(method.upper(), filled, key, **ENDPOINTS[place][1])
    text = answer.headers["Content-Type"].startswith("text/")
    found = answer.status_code, {} if text else answer.json()
    answer.close()
    return found


def test_the_table_has_every_endpoint_and_the_document_says_the_same_scopes(world: HttpWorld) -> None:
    paths = world.get("/openapi.json", None).json()["paths"]
    offered = {(method, path) for path, methods in paths.items() for method in methods}
    assert offered == OPEN | ENDPOINTS.keys()
    for (method, path), (scope, _, status) in ENDPOINTS.items():
        described = paths[path][method]
        assert described["x-scope"] == scope and described["security"] == [{"key": []}]
        assert {str(status), "401", "403", "429"} <= described["responses"].keys()


@pytest.mark.parametrize("place", sorted(ENDPOINTS), ids=" ".join)
def test_an_endpoint_opens_to_its_scope_and_to_no_other(world: HttpWorld, place: tuple[str, str]) -> None:
    wanted, _, status = ENDPOINTS[place]
    for scope in SCOPES:
        found, body = asked(world, place, scope)
        if scope == wanted or wanted in IMPLIED.get(scope, ()):
            assert found == status, (scope, body)
        else:
            assert (found, body["code"], body["scope"]) == (403, "forbidden", wanted), scope


@pytest.mark.parametrize("place", sorted(ENDPOINTS), ids=" ".join)
def test_no_key_and_wrong_keys_are_refused(world: HttpWorld, place: tuple[str, str]) -> None:
    right = world.keys["all"]
    for key in (None, "", "x", right[:-1], right + "x", right.upper(), right.rpartition("_")[2]):
        found, body = asked(world, place, key)
        assert (found, body["code"]) == (401, "unauthenticated"), key


def test_keys_come_in_one_header_and_one_way_only(world: HttpWorld) -> None:
    path, key = f"/v1/profiles/{ADA}", world.keys["all"]
    for headers in ({"Authorization": key}, {"Authorization": f"Basic {key}"}, {"X-API-Key": key}):
        assert world.get(path, None, headers=headers).status_code == 401
    assert world.get(f"{path}?api_key={key}", None).status_code == 401
    refused = world.get(path, None)
    assert refused.headers["WWW-Authenticate"].startswith("Bearer")
    assert world.get(path, None, headers={"authorization": f"bearer  {key} "}).status_code == 200


def test_a_revoked_key_is_refused_with_its_next_request(world: HttpWorld) -> None:
    made, secret = create_key(world.key_file, ["profile:read"], "short")
    assert world.get(f"/v1/profiles/{ADA}", secret).status_code == 200
    revoke_key(world.key_file, made.id)
    assert world.get(f"/v1/profiles/{ADA}", secret).status_code == 401


def test_a_broken_file_of_keys_closes_everything_and_readiness_says_so(world: HttpWorld) -> None:
    good = world.key_file.read_bytes()
    world.key_file.write_bytes(b"{")
    try:
        refused = world.get(f"/v1/profiles/{ADA}")
        assert (refused.status_code, refused.json()["code"]) == (503, "keys_unreadable")
        assert world.get("/readyz", None).json()["checks"]["keys"] == "away"
        assert world.get("/livez", None).status_code == 200
    finally:
        world.key_file.write_bytes(good)
    assert world.get(f"/v1/profiles/{ADA}").status_code == 200


def test_the_timeline_is_in_no_profile_of_a_key_that_may_not_read_it(world: HttpWorld) -> None:
    for key in ("profile:read", "profile:read.pii"):
        assert "timeline" not in world.get(f"/v1/profiles/{ADA}", key).json()["profile"]
        assert "timeline" not in world.look("crm:4711", key=key)["profile"]
        refused = world.get(f"/v1/profiles/{ADA}?sections=timeline", key)
        assert (refused.status_code, refused.json()["scope"]) == (403, "timeline:read")
    assert "timeline" in world.get(f"/v1/profiles/{ADA}").json()["profile"]
