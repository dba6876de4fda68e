"""Looking back and explaining over HTTP: as the command line does, masked, audited, bounded.

Guarantees:
- Against a real server, store and log; the process of replays is the real one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from api import replays
from eventlog.embedded import EmbeddedBroker
from models.identifiers import customer_id
from models.settings import Settings
from stores.embedded import EmbeddedStore
from tests.http_world import HttpWorld
from tests.replay_world import ReplayWorld

ADA = customer_id("crm:1")
EMAIL = "email:ada@example.com"


class Worlds(NamedTuple):
    """The API, and the hand that writes."""

    http: HttpWorld
    replay: ReplayWorld


@pytest.fixture(scope="module")
def worlds(embedded_store: EmbeddedStore, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worlds]:
    """Ada of two systems: a name, an invoice, a payment; a busy visitor; an order of a strange name."""
    with EmbeddedBroker() as broker:
        replay = ReplayWorld(broker.bootstrap, embedded_store.url)
        tell = replay.folded.tell
        tell("marketing.profile_updated", "crm:1", EMAIL, given_name="Ada")
        euros = {"currency": "EUR", "invoice_id": "I-1"}
        due = {"due_at": "2026-04-01T00:00:00Z"}
        tell("billing.invoice_issued", "billing:A-9", amount_minor=4990, **euros, **due)
        tell("billing.payment_received", "billing:A-9", EMAIL, payment_id="P-1", amount_minor=990, **euros)
        for _ in range(replays.RECORDS_MAX + 1):
            tell("marketing.page_viewed", "web:busy", page="/")
        tell("sales.order_placed", "crm:slash", order_id="2026/03.17", amount_minor=10, currency="EUR")
        replay.settle()
        http = HttpWorld(broker.bootstrap, embedded_store.url, tmp_path_factory.mktemp("http"))
        # Rules that have been used hold what no process can be sent.
        assert http.look(EMAIL)["match"] == "single"
        yield Worlds(http, replay)
        http.close()
        replay.close()


def at(number: int) -> str:
    """When the record of this number was logged, and occurred."""
    return f"2026-03-01T10:00:{number:02d}Z"


def past(worlds: Worlds, query: str, key: str = "all") -> Any:
    return worlds.http.get(f"/v1/profiles/{ADA}?{query}", key)


def test_a_profile_as_of_a_time_has_what_had_occurred_of_who_it_is_now(worlds: Worlds) -> None:
    answer = past(worlds, f"as_of={at(1)}")
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert body["profile"]["billing"]["balances"] == [{"currency": "EUR", "balance_minor": 4990}]
    assert [one["subject"] for one in body["profile"]["identity"]["subjects"]] == ["crm:1", "billing:A-9"]
    assert body["replayed"] == {"as_of": at(1), "known_at": None, "record_count": 3}
    assert body["as_of"]["last_event_at"] == at(1)
    now = worlds.http.get(f"/v1/profiles/{ADA}").json()["profile"]
    replayed = past(worlds, "as_of=2027-01-01").json()["profile"]
    assert {**replayed, "meta": None} == {**now, "meta": None}


def test_a_profile_as_known_at_a_time_is_of_who_it_was_known_to_be(worlds: Worlds) -> None:
    body = past(worlds, f"known_at={at(1)}").json()
    assert [one["subject"] for one in body["profile"]["identity"]["subjects"]] == ["crm:1"]
    assert body["profile"]["billing"]["balances"] == []
    merged = past(worlds, f"known_at={at(2)}").json()["profile"]
    assert merged["billing"]["balances"] == [{"currency": "EUR", "balance_minor": 4000}]
    nothing = past(worlds, "known_at=2020-01-01T00:00:00Z")
    assert (nothing.status_code, nothing.json()["code"]) == (404, "nothing_by_then")


def test_the_past_is_masked_scoped_and_audited_like_the_present(worlds: Worlds) -> None:
    body = past(worlds, f"as_of={at(2)}", "profile:read").json()
    assert body["profile"]["identity"]["given_name"] == "A…"
    assert "timeline" not in body["profile"]
    told = worlds.http.audited()[-1]
    assert (told["subject"], told["data"]["action"], told["data"]["masked"]) == (ADA, "profile", True)
    refused = past(worlds, f"as_of={at(2)}&sections=timeline", "profile:read")
    assert (refused.status_code, refused.json()["scope"]) == (403, "timeline:read")


@pytest.mark.parametrize(
    "time",
    [
        "yesterday",
        "2026-03-01T10:00:00",
        "",
        "9" * 30,
        "2026-W03",
        "20260301T100000Z",
        "now",
        "2026-03-01&known_at=2026-03-02",
    ],
)
def test_a_time_that_is_none_is_a_problem_that_names_it(worlds: Worlds, time: str) -> None:
    answer = past(worlds, f"known_at={time}")
    assert (answer.status_code, answer.json()["parameter"]) == (422, "known_at")


def explain(worlds: Worlds, field: str, key: str = "all", customer: str = ADA) -> Any:
    return worlds.http.get(f"/v1/profiles/{customer}/explain/{field}", key)


@pytest.mark.parametrize("field", ["2026%2F03.17.status", "2026/03.17.status"])
def test_a_field_may_have_a_slash_in_its_name(worlds: Worlds, field: str) -> None:
    answer = explain(worlds, f"sales.orders.{field}", customer=customer_id("crm:slash"))
    assert (answer.status_code, answer.json()["value"]) == (200, "placed"), answer.text


def test_a_field_of_too_many_parts_is_refused_before_it_is_looked_for(worlds: Worlds) -> None:
    answer = explain(worlds, "sales.orders" + "." * 10_000)
    assert (answer.status_code, answer.json()["parameter"]) == (422, "field")


def test_an_explanation_has_the_rule_and_the_events_with_their_effects(worlds: Worlds) -> None:
    body = explain(worlds, "billing.balances.EUR.balance_minor").json()
    assert (body["value"], body["event_count"], body["effect_count"]) == (4000, 3, 2)
    assert [one["type"] for one in body["effects"]] == ["billing.invoice_issued", "billing.payment_received"]
    assert [one["changes"] for one in body["effects"]] == [
        [{"path": "", "before": "(missing)", "after": 4990}],
        [{"path": "", "before": 4990, "after": 4000}],
    ]
    [rule] = body["rules"]
    assert (rule["figure"], rule["reducer"]) == ("balance", "ledger")
    assert rule["events"]["billing.payment_received"] == "balance - amount_minor"


def test_an_explanation_without_scopes_is_masked_and_tells_no_events(worlds: Worlds) -> None:
    body = explain(worlds, "identity", "profile:read").json()
    assert (body["effects"], body["effect_count"]) == ([], 3)
    assert "Ada" not in str(body) and "ada@" not in str(body)
    assert worlds.http.audited()[-1]["data"]["action"] == "explain"
    refused = explain(worlds, "timeline", "profile:read")
    assert (refused.status_code, refused.json()["scope"]) == (403, "timeline:read")
    for wrong in ("billing.none", "meta", "none"):
        assert explain(worlds, wrong).json()["parameter"] == "field"


def test_too_many_records_are_for_the_command_line(worlds: Worlds) -> None:
    busy = customer_id("web:busy")
    for answer in (
        explain(worlds, "marketing.touches", customer=busy),
        worlds.http.get(f"/v1/profiles/{busy}?as_of={at(9)}"),
    ):
        assert (answer.status_code, answer.json()["code"]) == (422, "replay_too_large")
        assert answer.json()["record_count"] == replays.RECORDS_MAX + 1
        assert "scv inspect" in answer.json()["detail"]


@pytest.mark.parametrize(("name", "limit"), [("WAITING_MAX", 0), ("ANSWER_SECONDS", 0.0)])
def test_who_would_wait_too_long_is_told_to_come_back(
    worlds: Worlds, name: str, limit: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replays, name, limit)
    answer = past(worlds, f"as_of={at(1)}")
    assert (answer.status_code, answer.json()["code"]) == (503, "replay_busy")
    assert answer.headers["Retry-After"]


def test_a_process_of_replays_that_died_starts_anew(worlds: Worlds) -> None:
    assert past(worlds, f"as_of={at(1)}").status_code == 200
    pool = worlds.http.services.replays._pool
    assert pool is not None
    for process in pool._processes.values():
        process.kill()
        process.join()
    assert {past(worlds, f"as_of={at(1)}").status_code for _ in range(2)} <= {200, 503}
    assert past(worlds, f"as_of={at(1)}").status_code == 200


def test_a_view_built_with_other_settings_is_not_replayed(
    worlds: Worlds, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = worlds.http.services.replays
    origin = held._origin._replace(shape="f" * 16)
    other = replays.Replays(origin)
    monkeypatch.setattr(worlds.http.services, "replays", other)
    answer = past(worlds, f"as_of={at(1)}")
    other.close()
    assert (answer.status_code, answer.json()["code"]) == (503, "replay_unfit")
    assert Settings().shape != "f" * 16
