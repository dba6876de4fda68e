"""Writing over HTTP: events, decisions, reveals, and the audit trail of every read."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from typing import Any

import pytest

from api import routing
from eventlog.embedded import EmbeddedBroker
from models.careful import read
from models.dead_letter import Fault
from models.event import EVENT_TYPES
from models.identifiers import customer_id
from stores.embedded import EmbeddedStore
from tests.http_world import HttpWorld, ends, records, world_of

ADA = customer_id("crm:4711")
ONE, MANY = "application/cloudevents+json", "application/cloudevents-batch+json"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HttpWorld]:
    """Ada, with an email and a phone that Bob states too."""
    with EmbeddedBroker() as broker, EmbeddedStore() as store:
        for world, folded in world_of(broker.bootstrap, store.url, tmp_path_factory.mktemp("http")):
            phone = "phone:+4930901820"
            folded.tell(
                "marketing.profile_updated", "crm:4711", phone, "email:ada@example.com", given_name="Ada"
            )
            folded.tell("marketing.profile_updated", "crm:4712", phone, given_name="Bob")
            folded.settle()
            yield world


def event(number: int = 1, kind: str = "sales.order_placed", **changed: Any) -> dict[str, Any]:
    data = {"order_id": f"O-{number}", "amount_minor": 1, "currency": "EUR"}
    made = {
        "specversion": "1.0", "id": f"e{number}", "source": "shop", "type": kind, "subject": "crm:4711",
        "data": data,
    }  # fmt: skip
    return {**made, **changed}


def send(
    world: HttpWorld, body: bytes | str, kind: str = "application/json", key: str = "events:write"
) -> Any:
    return world.ask("POST", "/v1/events", key, headers={"Content-Type": kind}, data=body)


def test_an_event_is_in_its_topic_as_the_bytes_that_came_when_202_says_so(world: HttpWorld) -> None:
    body = json.dumps(event(), indent=3).encode()
    before = ends(world.kafka, "sales.events")
    answer = send(world, body, ONE)
    assert answer.status_code == 202
    token = answer.headers["Sync-Token"]
    assert answer.json() == {
        "accepted": 1, "rejected": 0, "sync_token": token,
        "events": [{"index": 0, "id": "e1", "status": "accepted", "sync_token": token}],
    }  # fmt: skip
    from eventlog.reading import read_topic

    found = list(read_topic(world.kafka, "sales.events"))
    assert len(found) == before + 1
    assert (found[-1].key, found[-1].value, found[-1].headers) == (b"crm:4711", body, [])


def test_a_bad_event_in_a_batch_is_named_and_the_others_go_through(world: HttpWorld) -> None:
    batch = [event(2), event(3, subject="x"), event(4, data={"order_id": "O"}), "no event", event(5)]
    before = ends(world.kafka, "sales.events")
    answer = send(world, json.dumps(batch), MANY)
    said = answer.json()
    assert (answer.status_code, said["accepted"], said["rejected"]) == (202, 2, 3)
    assert [one["status"] for one in said["events"]] == [
        "accepted",
        "rejected",
        "rejected",
        "rejected",
        "accepted",
    ]
    assert [one["id"] for one in said["events"]] == ["e2", "e3", "e4", None, "e5"]
    assert said["events"][1]["problem"]["code"] == "malformed_subject"
    assert said["events"][2]["problem"] == {
        "code": "wrong_shape", "pointer": "/data/amount_minor", "detail": "Field required",
    }  # fmt: skip
    assert ends(world.kafka, "sales.events") == before + 2


@pytest.mark.parametrize(
    "body",
    [
        event(subject="customer:cus_1"),
        event(kind="sales.nothing"),
        event(specversion="0.3"),
        event(data=[]),
        event(dataschema="x/9"),
        event(subject=None),
        event(data={"order_id": "O", "amount_minor": 2**60, "currency": "EUR"}),
        event(Extension="x"),
        {"a": {"b": 1}},
        7,
    ],
)
def test_what_a_worker_would_call_a_dead_letter_is_rejected_with_the_same_words(
    world: HttpWorld, body: Any
) -> None:
    subject = body.get("subject") if isinstance(body, dict) else None
    topic = (
        "sales.events" if isinstance(body, dict) and body.get("type") in EVENT_TYPES else "marketing.events"
    )
    fault = read(topic, (subject or "").encode(), json.dumps(body).encode(), (), 0)
    assert isinstance(fault, Fault)
    before = ends(world.kafka, "sales.events")
    answer = send(world, json.dumps(body), ONE)
    said = answer.json()
    assert (answer.status_code, said["code"]) == (422, "invalid_event")
    assert (said["reason"], said["pointer"], said["detail"]) == (fault.reason, fault.pointer, fault.detail)
    assert ends(world.kafka, "sales.events") == before


def test_decisions_about_identity_are_no_events_for_everybody(world: HttpWorld) -> None:
    command = event(
        kind="identity.link", data={"subject": "crm:4711", "other": "crm:1", "actor": "E", "reason": "r"}
    )
    before = ends(world.kafka, "identity.commands")
    answer = send(world, json.dumps(command))
    assert answer.status_code == 422 and "/v1/identity/links" in answer.json()["detail"]
    assert ends(world.kafka, "identity.commands") == before


@pytest.mark.parametrize(
    "body, kind, status, code",
    [
        (b"{", ONE, 400, "not_json"),
        (b"\xff", ONE, 400, "not_json"),
        (b"", ONE, 400, "not_json"),
        (b"{}", MANY, 400, "not_json"),
        (b"[]", MANY, 422, "invalid_request"),
        (b"[" + b",".join([b"{}"] * 501) + b"]", MANY, 422, "invalid_request"),
        (b"{}", "text/plain", 415, "unsupported_media_type"),
        (b"{}", "", 415, "unsupported_media_type"),
        (b" " * (1024 * 1024 + 1), ONE, 413, "body_too_large"),
        (b"[" * 100_000, ONE, 400, "not_json"),
    ],
)
def test_a_body_that_is_no_events_is_a_problem(
    world: HttpWorld, body: bytes, kind: str, status: int, code: str
) -> None:
    answer = send(world, body, kind)
    assert (answer.status_code, answer.json()["code"]) == (status, code)


def test_a_body_without_a_length_is_read_up_to_the_limit(world: HttpWorld) -> None:
    def endless() -> Iterator[bytes]:
        for _ in range(64):
            yield b" " * 65_536

    answer = world.ask("POST", "/v1/events", headers={"Content-Type": ONE}, data=endless())
    assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")


def test_a_body_that_does_not_come_is_not_waited_for(
    world: HttpWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(routing, "BODY_SECONDS", 0.1)
    connection = http.client.HTTPConnection("127.0.0.1", world.port, timeout=20)
    connection.putrequest("POST", "/v1/events")
    for name, value in (
        ("Content-Type", ONE),
        ("Content-Length", "9"),
        ("Authorization", f"Bearer {world.keys['all']}"),
    ):
        connection.putheader(name, value)
    connection.endheaders(b"{")
    answer = connection.getresponse()
    assert (answer.status, json.loads(answer.read())["code"]) == (408, "body_too_slow")
    connection.close()


@pytest.mark.parametrize(
    "header, value", [("X-Purpose", "Ada called"), ("X-Purpose", ""), ("X-Actor", "a b"), ("X-Actor", "")]
)
def test_who_asks_and_why_are_words_that_an_audit_can_count(
    world: HttpWorld, header: str, value: str
) -> None:
    before = len(world.audited())
    for answer in (
        world.get(f"/v1/profiles/{ADA}", headers={header: value}),
        world.post(
            f"/v1/profiles/{ADA}/reveal", {"fields": ["phone"], "reason": "x"}, headers={header: value}
        ),
    ):
        assert (answer.status_code, answer.json()["parameter"]) == (422, header)
    assert len(world.audited()) == before


def test_a_decision_is_in_the_log_with_who_decided_and_through_which_key(world: HttpWorld) -> None:
    pair = {
        "subject": "crm:4711",
        "other": "email:Ada@example.com",
        "actor": "E-7",
        "reason": "father and son",
    }
    for path, kind in (("/v1/identity/links", "identity.link"), ("/v1/identity/unlinks", "identity.unlink")):
        answer = world.post(path, pair, "identity:write")
        assert answer.status_code == 202 and answer.headers["Sync-Token"] == answer.json()["sync_token"]
        written = records(world.kafka, "identity.commands")[-1]
        assert (written["type"], written["id"]) == (kind, answer.json()["event_id"])
        assert written["data"] == pair
        assert written["keyid"] == world.keys["identity:write"].split("_")[1]
        value = json.dumps(written).encode()
        assert not isinstance(read("identity.commands", b"crm:4711", value, (), 0), Fault)


@pytest.mark.parametrize(
    "changed, pointer",
    [
        ({"subject": "email:ada@example.com"}, "/subject"),
        ({"subject": "crm"}, "/subject"),
        ({"other": "order:O-1"}, "/other"),
        ({"other": "employee:7"}, "/other"),
        ({"other": "crm:4711"}, ""),
        ({"other": "email:null"}, "/other"),
        ({"reason": " "}, "/reason"),
        ({"actor": ""}, "/actor"),
        ({"extra": 1}, "/extra"),
    ],
)
def test_a_decision_that_means_nothing_names_the_field(world: HttpWorld, changed: Any, pointer: str) -> None:
    pair = {"subject": "crm:4711", "other": "shop:1", "actor": "E-7", "reason": "r", **changed}
    before = ends(world.kafka, "identity.commands")
    answer = world.post("/v1/identity/links", pair)
    assert (answer.status_code, answer.json()["pointer"]) == (422, pointer), answer.text
    assert ends(world.kafka, "identity.commands") == before


def test_every_read_is_audited_with_key_customer_sections_and_purpose(world: HttpWorld) -> None:
    before = len(world.audited())
    headers = {"X-Actor": "E-7", "X-Request-Id": "r-1"}
    world.get(f"/v1/profiles/{ADA}?sections=billing,summary", "profile:read", headers=headers)
    world.look("email:ada@example.com", purpose="inbound_call", sections=["billing"])
    world.look("phone:+4930901820", key="profile:read")
    world.look("email:nobody@example.com")
    world.get(f"/v1/profiles/{ADA}/timeline", "timeline:read", headers={"X-Purpose": "complaint"})
    world.get(f"/v1/profiles/{ADA}/identifiers", "profile:read.pii")
    with world.stream(ADA, "profile:read") as stream:
        stream.next()
    world.get("/v1/profiles/cus_0000000000000000")
    found = world.audited()[before:]
    told = [
        (one["subject"], one["data"]["action"], one["data"]["sections"], one["data"]["masked"])
        for one in found
    ]
    bob = customer_id("crm:4712")
    assert told[:2] == [(ADA, "profile", ["summary", "billing"], True), (ADA, "lookup", ["billing"], False)]
    assert sorted(told[2:4]) == sorted((one, "lookup", ["candidates"], True) for one in (ADA, bob))
    assert told[4:] == [
        (ADA, "timeline", ["timeline"], True), (ADA, "identifiers", ["identity"], False),
        (ADA, "stream", [], True),
    ]  # fmt: skip
    first = found[0]
    assert (first["type"], first["source"], first["data"]["actor"]) == ("scv.profile_read", "scv/http", "E-7")
    assert (first["data"]["key_name"], first["data"]["request_id"]) == ("profile:read", "r-1")
    assert [one["data"]["purpose"] for one in (found[1], found[4])] == ["inbound_call", "complaint"]
    assert len({one["id"] for one in found}) == len(found)


def test_a_reveal_shows_what_is_masked_and_is_in_the_log_before_it_answers(world: HttpWorld) -> None:
    before = len(records(world.kafka, "scv.audit"))
    body = {"fields": ["phone", "name", "phone"], "reason": "callback"}
    answer = world.post(f"/v1/profiles/{ADA}/reveal", body, "profile:reveal", headers={"X-Actor": "E-7"})
    audited = records(world.kafka, "scv.audit")[before:]
    assert answer.json()["fields"] == {
        "phone_number": "+4930901820",
        "given_name": "Ada",
        "family_name": None,
    }
    (told,) = [one for one in audited if one["type"] == "scv.profile_revealed"]
    assert (told["subject"], told["data"]["fields"], told["data"]["reason"]) == (
        ADA,
        ["phone", "name"],
        "callback",
    )
    assert told["data"]["actor"] == "E-7" and not told["data"]["masked"]
    assert "901820" not in json.dumps(told)


@pytest.mark.parametrize(
    "body", [{"fields": ["phone"]}, {"fields": ["phone"], "reason": " "}, {"fields": [], "reason": "x"},
             {"fields": ["all"], "reason": "x"}]
)  # fmt: skip
def test_a_reveal_needs_fields_and_a_reason(world: HttpWorld, body: Any) -> None:
    before = len(world.audited())
    assert world.post(f"/v1/profiles/{ADA}/reveal", body).status_code == 422
    assert len(world.audited()) == before


def test_a_key_that_asks_too_often_is_told_when_to_come_back_and_others_are_not(world: HttpWorld) -> None:
    from api.limits import RequestLimit

    lenient, world.services.requests = world.services.requests, RequestLimit(1.0)
    try:
        answers = [world.get(f"/v1/profiles/{ADA}", "profile:read") for _ in range(3)]
        assert [one.status_code for one in answers] == [200, 200, 429]
        assert answers[-1].json()["code"] == "too_many_requests" and answers[-1].headers["Retry-After"] == "1"
        assert world.get(f"/v1/profiles/{ADA}", "profile:read.pii").status_code == 200
    finally:
        world.services.requests = lenient


def test_what_nobody_expected_is_told_without_a_trace_and_logged_without_words(
    world: HttpWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: str) -> None:
        raise ValueError("Ada Byron, +4930901820")

    monkeypatch.setattr(world.services.merges, "of", broken)
    answer = world.get(f"/v1/profiles/{ADA}/merges")
    assert (answer.status_code, answer.json()["code"]) == (500, "internal")
    assert answer.headers["X-Request-Id"] == answer.json()["request_id"]
    assert "Ada" not in answer.text and "Traceback" not in answer.text
    told = [line for line in world.log.lines if answer.json()["request_id"] in line]
    assert len(told) == 2 and "unexpected ValueError at test_http_writing.py:" in told[0]
    assert "Byron" not in "".join(world.log.lines) and "901820" not in "".join(world.log.lines)
    assert world.get(f"/v1/profiles/{ADA}").status_code == 200


def test_what_nobody_expected_of_a_look_up_is_told_as_of_all_else(
    world: HttpWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object) -> None:
        raise ValueError("Ada Byron, +4930901820")

    monkeypatch.setattr(world.services.store, "find", broken)
    asked = {"identifiers": [{"type": "crm", "value": "4711"}]}
    answer = world.post("/v1/profiles:lookup", asked)
    assert (answer.status_code, answer.json()["code"]) == (500, "internal")
    assert answer.headers["X-Request-Id"] == answer.json()["request_id"]
    assert "Ada" not in answer.text and "Traceback" not in answer.text
    told = [line for line in world.log.lines if answer.json()["request_id"] in line]
    assert len(told) == 2 and "unexpected ValueError at test_http_writing.py:" in told[0]
    assert "POST /v1/profiles:lookup 500 internal" in told[1]
    wrong = world.get("/v1/profiles:lookup")
    assert (wrong.status_code, wrong.json()["code"]) == (405, "method_not_allowed")


def test_metrics_count_by_route_status_and_code_and_name_nobody(world: HttpWorld) -> None:
    world.get(f"/v1/profiles/{ADA}/consents")
    world.get("/v1/profiles/nobody/consents")
    world.ask("PUT", "/v1/profiles/nobody/consents")
    text = world.get("/metrics", "ops").text
    route = 'route="/v1/profiles/{customer_id}/consents"'
    assert f'scv_http_requests_total{{code="-",method="GET",{route},status="200"}} 1.0' in text
    assert f'code="unknown_customer",method="GET",{route},status="404"}} 1.0' in text
    assert f'code="method_not_allowed",method="PUT",{route},status="405"}} 1.0' in text
    assert f"scv_http_request_seconds_count{{{route}}}" in text
    assert "scv_http_audit_waiting_records" in text and "scv_http_streams 0.0" in text
    assert (
        ADA not in text and "nobody" not in text and not any(key[:12] in text for key in world.keys.values())
    )


def test_every_answer_has_a_request_id_and_is_cached_nowhere(world: HttpWorld) -> None:
    for answer in (
        world.get("/livez"),
        world.get("/nowhere"),
        world.get(f"/v1/profiles/{ADA}"),
        world.get("/v1/events"),
    ):
        assert answer.headers["X-Request-Id"] and answer.headers["Cache-Control"] == "no-store"
    assert world.get("/livez", headers={"X-Request-Id": "call-7"}).headers["X-Request-Id"] == "call-7"
    for wrong in ("a b", "x" * 65, "é"):
        given = world.get("/livez", headers={"X-Request-Id": wrong.encode()}).headers["X-Request-Id"]
        assert given != wrong and len(given) == 32
