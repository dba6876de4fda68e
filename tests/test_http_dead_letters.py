"""Dead letters over HTTP: listed, shown with and without personal data, redriven, discarded."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from api.letter_bodies import (
    DISCARD,
    DISCARDED,
    LETTER,
    LETTERS,
    REDRIVE,
    REDRIVEN,
    DiscardRequest,
    LetterAnswer,
    LettersAnswer,
    LetterSettledAnswer,
    RedriveRequest,
)
from api.letter_masking import masked_event, masked_header, masked_pointer
from eventlog.embedded import EmbeddedBroker
from eventlog.topics import BILLING, COMMANDS, SALES
from stores.embedded import EmbeddedStore
from tests.http_world import HttpWorld, world_of
from tests.letter_world import LetterWorld, order

WHO = {"actor": "E-7", "reason": "the amount was text"}
SECRET = "Ada Byron"
LINK = {"subject": "crm:4711", "other": "shop:9", "actor": "E-7", "reason": "asked"}


@pytest.fixture(scope="module")
def worlds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[HttpWorld, LetterWorld]]:
    """The API, and a log."""
    with EmbeddedBroker() as broker, EmbeddedStore() as store:
        for world, _ in world_of(broker.bootstrap, store.url, tmp_path_factory.mktemp("http")):
            yield world, LetterWorld(broker.bootstrap)


@pytest.fixture
def http(worlds: tuple[HttpWorld, LetterWorld]) -> HttpWorld:
    return worlds[0]


@pytest.fixture
def log(worlds: tuple[HttpWorld, LetterWorld]) -> LetterWorld:
    return worlds[1]


def buried(log: LetterWorld, value: bytes, topic: str = SALES, key: bytes = b"crm:4711") -> str:
    """The position of a record that became a dead letter."""
    log.write((topic, key, value))
    return log.bury(topic)[-1] if topic == COMMANDS else newest(log, topic, value)


def newest(log: LetterWorld, topic: str, value: bytes) -> str:
    log.bury(topic)
    found = [one for one in log.records(topic) if one.value == value]
    return f"{found[-1].lane}@{found[-1].offset}"


def act(
    http: HttpWorld, position: str, verb: str, body: dict[str, Any], key: str = "all"
) -> tuple[int, dict[str, Any]]:
    answer = http.post(f"/v1/dead-letters/{position}:{verb}", body, key)
    return answer.status_code, answer.json()


def test_examples_are_what_the_models_say() -> None:
    for model, example in (
        (LettersAnswer, LETTERS), (LetterAnswer, LETTER), (LetterSettledAnswer, REDRIVEN),
        (LetterSettledAnswer, DISCARDED), (RedriveRequest, REDRIVE), (DiscardRequest, DISCARD),
    ):  # fmt: skip
        model.model_validate_json(json.dumps(example))


def test_a_corrected_letter_goes_once_and_the_list_no_longer_has_it(
    http: HttpWorld, log: LetterWorld
) -> None:
    position = buried(log, order("O-1", "49,90"))
    asked = {**WHO, "event": json.loads(order("O-1"))}
    before = len(log.records())
    status, body = act(http, position, "redrive", WHO)
    assert (status, body["code"], body["reason"]) == (422, "invalid_event", "wrong_shape")
    status, body = act(http, position, "redrive", {**asked, "event": json.loads(order("O-1", "x"))})
    assert (status, body["pointer"]) == (422, "/event/data/amount_minor")
    status, body = act(http, position, "redrive", {**asked, "dry_run": True})
    assert (status, body["dry_run"], len(log.records())) == (200, True, before)
    assert position in positions(http)
    status, body = act(http, position, "redrive", asked)
    assert (status, body["topic"], body["corrected"]) == (200, SALES, True)
    LetterSettledAnswer.model_validate(body)
    for verb in ("redrive", "discard"):
        status, body = act(http, position, verb, {**WHO, "actor": "E-8"})
        assert (status, body["code"], body["settled"]["actor"]) == (409, "settled", "E-7")
    assert len(log.records()) == before + 1
    assert position not in positions(http) and position in positions(http, "?settled=true")
    (mark,) = [one for one in log.marks() if one.position == position]
    assert mark.keyid == http.keys["all"].split("_")[1] and mark.reason == WHO["reason"]


def positions(http: HttpWorld, query: str = "") -> list[str]:
    """The positions that a list has."""
    body = http.get(f"/v1/dead-letters{query}").json()
    LettersAnswer.model_validate_json(json.dumps(body))
    return [one["position"] for one in body["letters"]]


def test_a_discarded_letter_writes_nothing_but_the_decision(http: HttpWorld, log: LetterWorld) -> None:
    position = buried(log, b'{"cut": ')
    before = len(log.records())
    status, body = act(http, position, "discard", WHO)
    assert (status, body["action"], body["topic"], len(log.records())) == (200, "discarded", None, before)
    assert position not in positions(http)


def test_a_list_has_pages_and_filters_and_no_data(http: HttpWorld, log: LetterWorld) -> None:
    bad = [buried(log, order(f"P-{number}", SECRET), BILLING) for number in range(3)]
    unknown = buried(log, order("P", subject=SECRET), BILLING)
    query = f"?topic={BILLING}&limit=2"
    page = http.get(f"/v1/dead-letters{query}").json()
    assert (page["total"], len(page["letters"])) == (4, 2)
    rest = http.get(f"/v1/dead-letters{query}&cursor={page['next_cursor']}").json()
    assert {one["position"] for one in page["letters"] + rest["letters"]} == {*bad, unknown}
    assert rest["next_cursor"] is None
    assert SECRET not in json.dumps([page, rest])
    assert positions(http, f"?topic={BILLING}&to=2000-01-01T00:00:00Z") == []
    for wrong in (
        "limit=0",
        "limit=x",
        "reason=x",
        "from=soon",
        "from=2026-03-01T00:00:00",
        "settled=1",
        "cursor=x",
    ):
        refused = http.get(f"/v1/dead-letters?{wrong}")
        assert (refused.status_code, refused.json()["parameter"]) == (422, wrong.partition("=")[0])


def test_a_letter_is_shown_as_received_or_masked_and_audited(http: HttpWorld, log: LetterWorld) -> None:
    value = order("O-5", [SECRET], subject="email:ada@example.com", note=SECRET)
    position = buried(log, value, key=b"email:ada@example.com")
    whole = http.get(f"/v1/dead-letters/{position}").json()
    LetterAnswer.model_validate_json(json.dumps(whole))
    assert (whole["masked"], whole["key"], whole["event"]) == (
        False,
        "email:ada@example.com",
        json.loads(value),
    )
    hidden = http.get(f"/v1/dead-letters/{position}", "ops").json()
    LetterAnswer.model_validate_json(json.dumps(hidden))
    assert hidden["masked"] and hidden["event"]["data"]["amount_minor"] == ["…"]
    assert (hidden["event"]["source"], hidden["key"]) == ("shop", "email:a…@…")
    assert SECRET not in json.dumps(hidden) and "ada@" not in json.dumps(hidden)
    audited = [one for one in http.audited() if one["type"] == "scv.dead_letter_read"]
    assert [(one["subject"], one["data"]["masked"]) for one in audited[-2:]] == [
        (position, False),
        (position, True),
    ]
    # What is no JSON object says nothing at all.
    position = buried(log, SECRET.encode())
    assert http.get(f"/v1/dead-letters/{position}").json()["value"] == SECRET
    assert http.get(f"/v1/dead-letters/{position}", "ops").json()["value"] == "…"


def test_names_of_fields_that_are_none_are_hidden() -> None:
    event = {"id": "a", "data": {"Ada Byron": 1, "ok": {"ada@example.com": [True]}}, "ada byron": "x"}
    assert masked_event(event) == {"id": "a", "data": {"…": "…", "ok": {"…": ["…"]}}, "…": "…"}
    several = {"line1": 1, "address_2": None, "Ada": 1, "ok": 2}
    assert masked_event({"data": several})["data"] == {"…": "…", "… (2)": None, "… (3)": "…", "ok": "…"}
    assert masked_pointer("/data/lines/0/Ada Byron") == "/data/lines/0/…"
    assert masked_pointer("/Ada_Byron") == "/…"


def test_what_an_envelope_holds_is_shown_if_it_has_the_form_of_that() -> None:
    good = {"specversion": "1.0", "id": "evt-1", "source": "shop/checkout", "type": "sales.order_plcaed",
            "time": "2026-03-01T10:42:07+01:00"}  # fmt: skip
    assert masked_event(good) == good
    spoilt = {"id": "Ada Byron, Berlin", "source": "Ada Byron", "type": "Ada Byron bought", "time": "Byron"}
    assert set(masked_event(spoilt).values()) == {"…"}
    assert masked_header("ce_source", "Ada Byron") == {"name": "ce_source", "value": "…"}


def test_ops_alone_writes_nothing_that_was_not_written_before(http: HttpWorld, log: LetterWorld) -> None:
    position = buried(log, order("O-6", "49,90"))
    status, body = act(http, position, "redrive", {**WHO, "event": json.loads(order("O-6"))}, "ops")
    assert (status, body["scope"]) == (403, "events:write")
    # A command that lay in a topic of events links nobody without the scope for that.
    command = order("L-1", type="identity.link", data=LINK)
    position = buried(log, command)
    status, body = act(http, position, "redrive", WHO, "ops")
    assert (status, body["scope"]) == (403, "identity:write")
    assert log.records(COMMANDS) == []
    assert act(http, position, "redrive", WHO)[0] == 200
    assert [one.value for one in log.records(COMMANDS)] == [command]
    # As it was received, in the topic of its type: that needs no other scope.
    position = buried(log, order("O-7"), BILLING)
    assert act(http, position, "redrive", WHO, "ops")[0] == 200


def test_what_is_not_there_or_not_said_is_a_problem(http: HttpWorld, log: LetterWorld) -> None:
    position = buried(log, b"{{")
    for place, code in (("sales.events-0@12345", "unknown_dead_letter"), ("rubbish", "invalid_request")):
        assert http.get(f"/v1/dead-letters/{place}").json()["code"] == code
        assert act(http, place, "discard", WHO)[1]["code"] == code
    assert http.get(f"/v1/dead-letters?topic={'t' * 250}").json()["parameter"] == "topic"
    # What is a name for writing is not one for reading.
    for verb in ("redrive", "discard"):
        refused = http.get(f"/v1/dead-letters/{position}:{verb}")
        assert (refused.status_code, refused.headers["Allow"]) == (405, "POST")
    for body in ({}, {"actor": "E-7"}, {**WHO, "reason": " "}, {**WHO, "more": 1}):
        assert act(http, position, "discard", body)[0] == 422
    deep: Any = json.loads("[" * 400 + "]" * 400)
    status, found = act(http, position, "redrive", {**WHO, "event": {"data": deep}})
    assert (status, found["code"], found["reason"]) == (422, "invalid_event", "too_deep")
    assert position in positions(http)
