"""Live over HTTP: streams of changes, their limits, and reads that wait for a write."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
import requests

from api import streaming
from api.freshness import SyncToken
from api.keys import create_key, revoke_key
from api.limits import stream_limit, waiting_limit
from eventlog.embedded import EmbeddedBroker
from eventlog.producing import LogProducer
from models.identifiers import customer_id
from models.record import Lane
from stores.embedded import EmbeddedStore
from tests.http_world import HttpWorld, wait_until, world_of
from tests.lookup_world import LookupWorld

ADA, BOB = customer_id("crm:4711"), customer_id("crm:4712")


@pytest.fixture(autouse=True)
def no_heartbeats(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is heard is heard because it was told, not by looking again."""
    monkeypatch.setattr(streaming, "HEARTBEAT_SECONDS", 600.0)


@pytest.fixture
def worlds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[HttpWorld, LookupWorld]]:
    """Ada and Bob; changes are told to the log as a worker tells them."""
    with EmbeddedBroker() as broker, EmbeddedStore() as store:
        for world, folded in world_of(broker.bootstrap, store.url, tmp_path_factory.mktemp("http")):
            for subject in ("crm:4711", "crm:4712"):
                folded.tell("marketing.form_submitted", subject, form="f")
            folded.settle()
            yield world, folded


def change(
    world: HttpWorld, folded: LookupWorld, subject: str, kind: str = "sales.lead_created", **data: str
) -> None:
    """An event of this subject is folded, and the change notices are in the log."""
    told = len(folded.log.get("scv.changes", ()))
    folded.tell(kind, subject, **(data or {"lead_id": "L"}))
    folded.settle()
    with LogProducer(world.kafka) as producer:
        for record in folded.log["scv.changes"][told:]:
            producer.produce("scv.changes", record.key, record.value)


def test_a_stream_says_what_changed_as_it_happens(world: HttpWorld, folded: LookupWorld) -> None:
    world.services.changes._tail.following.wait(10)
    with world.stream(ADA) as stream:
        first = stream.next()
        assert first["event"] == "profile" and first["data"]["version"] == first["id"]
        assert {"summary", "identity", "timeline"} <= set(first["data"]["changed"])
        # Another customer's change is nobody's business here.
        change(world, folded, "crm:4712")
        change(world, folded, "crm:4711")
        second = stream.next()
        assert second["data"] == {
            "customer_id": ADA,
            "version": second["id"],
            "changed": ["identity", "timeline"],
        }
        assert second["id"] == world.get(f"/v1/profiles/{ADA}").json()["as_of"]["version"]


def test_who_comes_back_hears_of_what_was_missed_and_of_nothing_else(
    world: HttpWorld, folded: LookupWorld
) -> None:
    with world.stream(ADA) as stream:
        heard = stream.next()["id"]
    change(world, folded, "crm:4711")
    with world.stream(ADA, headers={"Last-Event-ID": heard}) as stream:
        missed = stream.next()
        assert missed["id"] != heard
    with world.stream(ADA, headers={"Last-Event-ID": missed["id"]}) as stream:
        change(world, folded, "crm:4711")
        later = stream.next()
        assert later["id"] != missed["id"] and later["data"]["changed"] == ["identity", "timeline"]


def test_a_stream_ends_when_its_customer_is_merged_and_says_into_whom(
    world: HttpWorld, folded: LookupWorld
) -> None:
    world.services.changes._tail.following.wait(10)
    with world.stream(BOB) as stream:
        stream.next()
        folded.command("link", "crm:4711", "crm:4712")
        change(world, folded, "crm:4711")
        merged = stream.next()
        while merged["event"] == "profile":
            merged = stream.next()
        assert (merged["event"], merged["data"]) == ("merged", {"customer_id": BOB, "into": ADA})
        assert stream.ended()


def test_a_stream_tells_signals_of_the_rules_it_names_as_they_rise_and_are_cleared(
    world: HttpWorld, folded: LookupWorld
) -> None:
    """Nobody writes signals yet: the store is given what will be there."""
    key = f"scv:g1:{{{ADA}}}:profile"

    def signals(*told: tuple[str, str, str]) -> None:
        named = [
            {"signal_id": one, "rule": rule, "severity": "high", "status": "raised", "raised_at": at,
             "due_at": None, "event_id": None, "suggested_step": None}
            for one, rule, at in told
        ]  # fmt: skip
        folded.client.hset(key, "signals", msgspec.json.encode(named))

    world.services.changes._tail.following.wait(10)
    early, soon = "2026-03-01T00:00:00Z", (datetime.now(UTC) + timedelta(seconds=3)).isoformat()
    signals(("s1", "payment_failing", early), ("s2", "churn", early))
    with world.stream(ADA, signals="payment_failing,detractor_open") as stream, world.stream(ADA) as other:
        raised = stream.next()
        assert (raised["event"], raised["data"]["change"]) == ("signal", "raised")
        assert raised["data"]["signal"]["signal_id"] == "s1" and raised["data"]["customer_id"] == ADA
        assert stream.next()["event"] == "profile"
        signals(("s2", "churn", early), ("s3", "detractor_open", early), ("s4", "payment_failing", soon))
        change(world, folded, "crm:4711")
        cleared, raised = stream.next(), stream.next()
        assert cleared["data"]["change"] == "cleared"
        assert cleared["data"]["signal"] == {"signal_id": "s1", "rule": "payment_failing"}
        assert raised["data"]["signal"]["signal_id"] == "s3"
        assert stream.next()["event"] == "profile"
        # Heartbeats are ten minutes apart here, and nobody told of a change: its instant has come.
        risen = stream.next()
        assert (risen["data"]["change"], risen["data"]["signal"]["signal_id"]) == ("raised", "s4")
        assert [other.next()["event"], other.next()["event"]] == ["profile", "profile"]


def test_without_notices_a_stream_looks_at_each_heartbeat(
    world: HttpWorld, folded: LookupWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streaming, "HEARTBEAT_SECONDS", 0.05)
    with world.stream(ADA) as stream:
        heard = stream.next()
        folded.tell("sales.lead_created", "crm:4711", lead_id="L")
        folded.settle()
        assert stream.next()["id"] != heard["id"]
        assert stream.next_line_is_a_heartbeat()


def test_a_stream_of_a_key_without_the_timeline_does_not_tell_of_it(
    world: HttpWorld, folded: LookupWorld
) -> None:
    with world.stream(ADA, "profile:read") as stream:
        assert "timeline" not in stream.next()["data"]["changed"]
        change(world, folded, "crm:4711")
        assert stream.next()["data"]["changed"] == ["identity"]


def test_streams_are_bounded_and_a_client_that_vanishes_makes_room(world: HttpWorld) -> None:
    world.services.streams = limit = stream_limit(per_key=2, most=3)
    path = f"/v1/stream?profile={ADA}"
    first, second = world.stream(ADA, "profile:read"), world.stream(ADA, "profile:read")
    refused = world.get(path, "profile:read")
    assert (refused.status_code, refused.json()["code"]) == (429, "too_many_streams")
    with world.stream(ADA, "all") as other:
        other.next()
        assert world.get(path, "profile:read.pii").status_code == 429
    first.close()
    second.close()
    wait_until(lambda: limit.open == 0)
    with world.stream(ADA, "profile:read") as again:
        assert again.next()["event"] == "profile"


@pytest.mark.parametrize(
    "query, status, code",
    [
        ("", 422, "invalid_request"),
        ("?profile=crm:4711", 422, "invalid_request"),
        ("?profile=cus_0000000000000000", 404, "unknown_customer"),
        (f"?profile={ADA}&signals=", 422, "invalid_request"),
        (f"?profile={ADA}&signals=Ada%20Byron", 422, "invalid_request"),
        (f"?profile={ADA}&signals={','.join(['rule'] * 21)}", 422, "invalid_request"),
    ],
)
def test_a_stream_that_cannot_begin_says_why(world: HttpWorld, query: str, status: int, code: str) -> None:
    answer = world.get(f"/v1/stream{query}")
    assert (answer.status_code, answer.json()["code"]) == (status, code)


def test_the_stream_of_a_key_that_is_revoked_tells_nothing_more(
    world: HttpWorld, folded: LookupWorld
) -> None:
    world.services.changes._tail.following.wait(10)
    made, world.keys["short"] = create_key(world.key_file, ["profile:read"], "short")
    with world.stream(ADA, "short") as stream:
        stream.next()
        revoke_key(world.key_file, made.id)
        change(world, folded, "crm:4711")
        assert stream.ended()


def test_the_server_ends_without_waiting_for_streams(world: HttpWorld) -> None:
    # Left to itself, the server would wait that long for a stream to end.
    world.server.config.timeout_graceful_shutdown = 600
    with world.stream(ADA) as stream:
        stream.next()
        world.server.should_exit = True
        assert stream.ended()
        wait_until(lambda: not world.server.started or not world._thread.is_alive())


def test_a_read_waits_until_the_write_is_in_the_view(world: HttpWorld, folded: LookupWorld) -> None:
    """The lane's next record: refused at once, refused when it does not come, answered when it does."""
    lane = Lane("sales.events", 0)
    token = SyncToken.of([(lane, len(folded.log.get(lane.topic, ())))]).text()
    path = f"/v1/profiles/{ADA}"
    for prefer in ({}, {"Prefer": "wait=0"}, {"Prefer": "respond-async"}):
        behind = world.get(path, headers={"Sync-Token": token, **prefer})
        assert (behind.status_code, behind.json()["code"]) == (503, "projection_behind")
        assert behind.headers["Retry-After"] == "1"
    answers = []

    def ask() -> None:
        answers.append(world.get(path, headers={"Sync-Token": token, "Prefer": "respond-async, wait=10"}))

    asking = threading.Thread(target=ask)
    asking.start()
    folded.tell("sales.order_placed", "crm:4711", order_id="O-1", amount_minor=1, currency="EUR")
    folded.settle()
    asking.join(20)
    assert answers[0].status_code == 200
    assert answers[0].json()["profile"]["sales"]["order_count"] == 1
    assert world.post("/v1/profiles:lookup", {"identifiers": [{"type": "crm", "value": "4711"}]},
                      headers={"Sync-Token": token}).status_code == 200  # fmt: skip


def test_a_read_waits_for_the_link_facts_too(world: HttpWorld, folded: LookupWorld) -> None:
    """The lane is in the view; of the link log, one record is not."""
    with LogProducer(world.kafka) as producer:
        for _ in range(len(folded.log["scv.g1.links"]) + 1):
            producer.produce("scv.g1.links", b"crm:4711", b"{}")
    token = SyncToken.of([(Lane("marketing.events", 0), 0)]).text()
    assert world.get(f"/v1/profiles/{ADA}", headers={"Sync-Token": token}).status_code == 503
    folded.tell("sales.lead_created", "crm:4713", lead_id="L")
    folded.settle()
    assert world.get(f"/v1/profiles/{ADA}", headers={"Sync-Token": token}).status_code == 200


def token_of(lane: Lane, offset: int) -> str:
    return SyncToken.of([(lane, offset)]).text()


def test_a_token_of_lanes_that_there_are_not_is_refused_and_a_new_lane_is_asked_for(world: HttpWorld) -> None:
    path = f"/v1/profiles/{ADA}"
    for lane in (Lane("sales.events", 2), Lane("sales.events", 10**9), Lane("identity.commands", 1)):
        headers = {"Sync-Token": token_of(lane, 0), "Prefer": "wait=10"}
        answer = world.get(path, headers=headers)
        assert (answer.status_code, answer.json().get("parameter")) == (422, "Sync-Token"), lane
    # As if the lane had come since the broker was asked.
    world.services.log._lanes["sales.events"] = 1
    answer = world.get(path, headers={"Sync-Token": token_of(Lane("sales.events", 1), 0)})
    assert answer.json()["code"] == "projection_behind"
    assert world.services.log.knows(Lane("sales.events", 1))


def test_reads_that_wait_are_bounded_and_those_that_need_not_are_none_of_them(
    world: HttpWorld, folded: LookupWorld
) -> None:
    world.services.waiting = limit = waiting_limit(per_key=1, most=2)
    behind = {"Sync-Token": token_of(Lane("billing.events", 0), 0), "Prefer": "wait=10"}
    answers = []

    def ask(key: str) -> None:
        answers.append(world.get(f"/v1/profiles/{ADA}", key, headers=behind).status_code)

    asking = [threading.Thread(target=ask, args=[key], daemon=True) for key in ("all", "profile:read")]
    for count, thread in enumerate(asking):
        thread.start()
        wait_until(lambda count=count: limit.open == count + 1)
    for key in ("all", "profile:read.pii"):
        refused = requests.get(
            f"{world.url}/v1/profiles/{ADA}",
            headers={"Authorization": f"Bearer {world.keys[key]}", **behind},
            timeout=30,
        )
        assert (refused.status_code, refused.json()["code"]) == (429, "too_many_waiting")
        assert refused.headers["Retry-After"] == "1"
    there = {"Sync-Token": token_of(Lane("marketing.events", 0), 0), "Prefer": "wait=10"}
    assert world.get(f"/v1/profiles/{ADA}", "profile:read.pii", headers=there).status_code == 200
    folded.tell("billing.invoice_issued", "crm:4711", invoice_id="I", amount_minor=1, currency="EUR")
    folded.settle()
    for thread in asking:
        thread.join(20)
    assert answers == [200, 200] and limit.open == 0


@pytest.mark.parametrize(
    "token", ["x", "", "e30", "eyJhLTAiOjF9", "eyJzYWxlcy5ldmVudHMtMCI6LTF9", "A" * 20_001]
)
def test_a_token_that_was_never_given_is_refused(world: HttpWorld, token: str) -> None:
    answer = world.get(f"/v1/profiles/{ADA}", headers={"Sync-Token": token})
    assert (answer.status_code, answer.json()["parameter"]) == (422, "Sync-Token")


def test_a_token_stands_for_the_furthest_record_of_each_lane() -> None:
    one, other = Lane("sales.events", 3), Lane("billing.events", 0)
    token = SyncToken.of([(one, 7), (other, 0), (one, 5)])
    assert SyncToken.parse(token.text()) == {one: 8, other: 1}
    assert msgspec.json.decode(msgspec.json.encode(token.lanes)) == {
        "sales.events-3": 8,
        "billing.events-0": 1,
    }
