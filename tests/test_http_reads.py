"""Reading over HTTP: what is looked up, shown, paged, and where merged and vanished customers lead."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from eventlog import fetching, reading
from eventlog.embedded import EmbeddedBroker
from eventlog.producing import LogProducer
from models.identifiers import customer_id
from models.profile import Profile
from stores.embedded import EmbeddedStore
from tests.http_world import HttpWorld, world_of
from tests.lookup_world import LookupWorld

ADA = "crm:4711"
ADA_ID = customer_id(ADA)


@pytest.fixture(scope="module")
def worlds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[HttpWorld, LookupWorld]]:
    """Ada with orders and two names, Bob who shares her phone, Cyd who was merged into Ada."""
    with EmbeddedBroker() as broker, EmbeddedStore() as store:
        for world, folded in world_of(broker.bootstrap, store.url, tmp_path_factory.mktemp("http")):
            phone, email = "phone:+49 30 901820", "email:ada@example.com"
            folded.tell("marketing.profile_updated", ADA, phone, email, given_name="Ada", family_name="Byron")
            for number in range(5):
                folded.tell("sales.order_placed", ADA, order_id=f"O-{number}", amount_minor=1, currency="EUR")
            folded.tell(
                "service.promise_made",
                ADA,
                promise_id="PR-1",
                text="Call Ada back",
                due_at="2026-03-09T09:00:00Z",
            )
            folded.tell("marketing.profile_updated", "crm:4712", phone, given_name="Bob")
            folded.tell("marketing.page_viewed", "web:v-81", page="/a")
            folded.settle()
            folded.tell("marketing.form_submitted", "web:v-81", email, form="f")
            folded.settle()
            yield world, folded


def test_a_look_up_over_http_says_what_the_look_up_says(world: HttpWorld, folded: LookupWorld) -> None:
    for names in (
        ["email:ada@example.com"],
        ["email:ADA@example.com", "crm:4711"],
        ["order:O-1"],
        ["order:O-1", "phone:+49 30/901820"],
        ["order:O-1", "crm:4712"],
        ["phone:+4930901820"],
        ["email:nobody@example.com"],
        ["email:ada@example.com", "order:O-99"],
        ["crm:4712"],
        [f"customer:{customer_id('web:v-81')}"],
    ):
        said, asked = world.look(*names), folded.look(*names)
        assert (said["match"], said["merged_into"], said["unknown"]) == (
            asked.match,
            asked.merged_into,
            asked.unknown,
        )
        assert said["profile"] == asked.profile
        if asked.match == "ambiguous":
            assert [(one["customer_id"], one["reasons"]) for one in said["candidates"]] == [
                (one["customer_id"], one["reasons"]) for one in asked.candidates
            ]


def test_an_ambiguous_name_opens_nobody(world: HttpWorld) -> None:
    said = world.look("phone:+4930901820")
    assert said["match"] == "ambiguous" and said["profile"] is None
    assert {one["display_name"] for one in said["candidates"]} == {"A… B…", "B…"}
    assert said["as_of"]["version"] is None


def test_a_profile_is_sent_as_it_is_stored(world: HttpWorld, folded: LookupWorld) -> None:
    answer = world.get(f"/v1/profiles/{ADA_ID}")
    stored = folded.client.hgetall(f"scv:g1:{{{ADA_ID}}}:profile")
    for name, section in stored.items():
        if name.decode() in Profile.model_fields and name not in (b"state", b"founder"):
            assert b'"%s":%s' % (name, section) in answer.content
    Profile.model_validate(answer.json()["profile"])
    assert answer.json()["as_of"] == {
        "last_event_at": msgspec.json.decode(stored[b"meta"])["last_event_at"],
        "version": stored[b"version"].decode(),
        "generation": "g1",
        **{name: answer.json()["as_of"][name] for name in ("status", "lag_records", "lag_seconds")},
    }


def test_a_key_without_pii_gets_it_masked_by_every_way(world: HttpWorld) -> None:
    whole, masked = (world.get(f"/v1/profiles/{ADA_ID}", key).text for key in ("all", "profile:read"))
    looked = str(world.look("crm:4711", "email:nobody@example.org", key="profile:read"))
    choice = str(world.look("phone:+4930901820", key="profile:read"))
    timeline = [world.get(f"/v1/profiles/{ADA_ID}/timeline", key).text for key in ("all", "timeline:read")]
    for word in ("Byron", "ada@example.com", "901820"):
        assert word in whole and word not in masked + looked + choice
    assert "nobody" not in looked and "Call Ada back" in timeline[0] and "Call Ada back" not in timeline[1]


def test_a_name_that_holds_an_address_is_masked_in_candidates_and_among_the_unknown(
    world: HttpWorld, folded: LookupWorld
) -> None:
    for subject in ("crm:5001", "crm:5002"):
        folded.tell(
            "sales.order_placed", subject, order_id="for ada@example.com", amount_minor=1, currency="EUR"
        )
    folded.settle()
    names = ("order:for ada@example.com", "order:call +49 30 901820")
    whole, masked = (world.look(*names, key=key) for key in ("all", "profile:read"))
    assert whole["match"] == masked["match"] == "ambiguous"
    assert "ada@example.com" in str(whole["candidates"]) and "901820" in str(whole["unknown"])
    assert "ada@example.com" not in str(masked) and "901820" not in str(masked)
    assert [one["customer_id"] for one in masked["candidates"]] == [
        one["customer_id"] for one in whole["candidates"]
    ]


def test_only_the_sections_asked_for_are_shown(world: HttpWorld) -> None:
    shown = world.get(f"/v1/profiles/{ADA_ID}?sections=sales,summary").json()["profile"]
    assert list(shown) == ["schema_version", "customer_id", "state", "founder", "summary", "sales"]
    wrong = world.get(f"/v1/profiles/{ADA_ID}?sections=sales,orders")
    assert wrong.status_code == 422 and wrong.json()["parameter"] == "sections"
    assert world.get(f"/v1/profiles/{ADA_ID}?sections=").status_code == 422
    looked = world.look("crm:4711", sections=["billing"])["profile"]
    assert list(looked)[4:] == ["billing"]


def test_an_etag_says_whether_anything_changed(world: HttpWorld, folded: LookupWorld) -> None:
    path = "/v1/profiles/" + customer_id("crm:4712")
    tag = world.get(path).headers["ETag"]
    assert world.get(path, headers={"If-None-Match": tag}).status_code == 304
    assert world.get(path, headers={"If-None-Match": f'"x", {tag}'}).content == b""
    # What another key sees is another document.
    assert world.get(path, "profile:read").headers["ETag"] != tag
    assert world.get(path, "profile:read", headers={"If-None-Match": tag}).status_code == 200
    folded.tell("sales.basket_abandoned", "crm:4712", basket_id="B", amount_minor=1, currency="EUR")
    folded.settle()
    later = world.get(path, headers={"If-None-Match": tag})
    assert later.status_code == 200 and later.headers["ETag"] != tag


def test_a_merged_id_leads_to_the_survivor_with_the_same_question(world: HttpWorld) -> None:
    old = customer_id("web:v-81")
    for rest in ("", "/identifiers", "/consents", "/merges", "/timeline?limit=2&type=sales"):
        answer = world.get(f"/v1/profiles/{old}{rest}")
        assert (answer.status_code, answer.json()["code"]) == (308, "merged")
        assert answer.json()["customer_id"] == ADA_ID
        assert answer.headers["Location"] == f"/v1/profiles/{ADA_ID}{rest}"
        assert world.get(answer.headers["Location"]).status_code == 200


def test_a_query_of_any_bytes_is_led_on_as_a_header_can_hold_it(world: HttpWorld) -> None:
    """As another server than uvicorn may hand it over, which refuses such a request itself."""
    told: list[Any] = []
    path = "/v1/profiles/" + customer_id("web:v-81")
    scope = {
        "type": "http", "method": "GET", "path": path, "raw_path": path.encode(), "root_path": "",
        "scheme": "http", "http_version": "1.1", "query_string": b"a=%20&b=\xff\r\n",
        "headers": [(b"authorization", f"Bearer {world.keys['all']}".encode())],
    }  # fmt: skip

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        told.append(message)

    loop = world.services.changes._loop
    asyncio.run_coroutine_threadsafe(world.app(scope, receive, send), loop).result(30)
    assert told[0]["status"] == 308
    where = dict(told[0]["headers"])[b"location"]
    assert where == f"/v1/profiles/{ADA_ID}?a=%20&b=%FF%0D%0A".encode()


def test_an_id_that_nobody_holds_any_more_is_gone_and_an_unknown_one_is_not_found(
    world: HttpWorld, folded: LookupWorld
) -> None:
    gone = folded.write("crm:gone", version="5.0", state="merged")
    folded.enter("crm:gone", stamp=5)
    erased = folded.write("crm:erased", version="5.0", state="erased")
    for path, status, code in (
        (gone, 410, "erased"),
        (erased, 410, "erased"),
        ("cus_0000000000000000", 404, "unknown_customer"),
        ("crm:4711", 404, "unknown_customer"),
        ("cus_0000000000000000/timeline", 404, "unknown_customer"),
    ):
        answer = world.get(f"/v1/profiles/{path}")
        assert (answer.status_code, answer.json()["code"]) == (status, code)


def test_the_timeline_is_read_page_by_page_while_events_arrive(world: HttpWorld, folded: LookupWorld) -> None:
    path = f"/v1/profiles/{ADA_ID}/timeline?type=sales.order_placed&limit=2"
    before = [
        one["event_id"] for one in world.get(f"{path}&limit=100".replace("limit=2&", "")).json()["entries"]
    ]
    first = world.get(path).json()
    folded.tell("sales.order_placed", ADA, order_id="O-77", amount_minor=1, currency="EUR")
    folded.settle()
    read = [one["event_id"] for one in first["entries"]]
    page = first
    while page["next_cursor"]:
        page = world.get(f"{path}&cursor={page['next_cursor']}").json()
        assert 1 <= len(page["entries"]) <= 2
        read += [one["event_id"] for one in page["entries"]]
    assert read == before and len(read) == 5


@pytest.mark.parametrize(
    "query",
    ["limit=0", "limit=101", "limit=x", "cursor=%25", "cursor=eyJ9", "type=", "type=sales.none", "limit=²"],
)
def test_a_wrong_page_is_refused_by_name(world: HttpWorld, query: str) -> None:
    answer = world.get(f"/v1/profiles/{ADA_ID}/timeline?{query}")
    assert answer.status_code == 422
    assert answer.json()["parameter"] == query.partition("=")[0]


def test_identifiers_consents_and_merges_have_places_of_their_own(
    world: HttpWorld, folded: LookupWorld
) -> None:
    profile = world.get(f"/v1/profiles/{ADA_ID}").json()["profile"]
    names = world.get(f"/v1/profiles/{ADA_ID}/identifiers").json()
    assert {name: names[name] for name in ("subjects", "identifiers", "related")} == {
        name: profile["identity"][name] for name in ("subjects", "identifiers", "related")
    }
    assert world.get(f"/v1/profiles/{ADA_ID}/consents").json()["consent"] == profile["consent"]


def test_merges_come_from_the_topic_newest_first(
    world: HttpWorld, folded: LookupWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    folded.tell("marketing.form_submitted", "shop:9", form="f")
    folded.settle()
    folded.command("link", ADA, "shop:9")
    folded.settle()
    told = folded.merges()
    with LogProducer(world.kafka) as producer:
        for turn in told:
            producer.produce("customer.merges", b"k", msgspec.json.encode(turn))
    opened: list[object] = []
    opens = reading.Consumer
    for module in (reading, fetching):
        monkeypatch.setattr(module, "Consumer", lambda settings: opened.append(settings) or opens(settings))
    shown = world.get(f"/v1/profiles/{ADA_ID}/merges").json()
    assert len(opened) == 2, "one to catch up, one for all that is shown"
    mine = [turn for turn in told if ADA_ID in {one["customer_id"] for one in turn["data"]["after"]}]
    assert len(mine) >= 2, "two customers were merged into this one"
    assert [one["id"] for one in shown["merges"]] == [turn["id"] for turn in reversed(mine)]
    assert shown["complete"] and shown["merges"][0]["after"] == mine[-1]["data"]["after"]
    assert world.get(f"/v1/profiles/{customer_id('crm:4712')}/merges").json()["merges"] == []


@pytest.mark.parametrize(
    "body, pointer",
    [
        ({}, "/identifiers"),
        ({"identifiers": []}, "/identifiers"),
        ({"identifiers": [{"type": "phone"}]}, "/identifiers/0/value"),
        ({"identifiers": [{"type": "phone", "value": 3}]}, "/identifiers/0/value"),
        ({"identifiers": [{"type": "Phone", "value": "x"}]}, "/identifiers/0/type"),
        ({"identifiers": [{"type": "crm", "value": "1"}] * 21}, "/identifiers"),
        ({"identifiers": [{"type": "crm", "value": "1"}], "purpse": "x"}, "/purpse"),
        ({"identifiers": [{"type": "crm", "value": "1"}], "purpose": "Ada called"}, "/purpose"),
        ([], ""),
    ],
)
def test_a_wrong_look_up_names_the_field(world: HttpWorld, body: Any, pointer: str) -> None:
    answer = world.post("/v1/profiles:lookup", body)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")
    assert answer.json()["pointer"] == pointer
    assert answer.headers["Content-Type"] == "application/problem+json"
