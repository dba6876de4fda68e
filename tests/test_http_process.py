"""All of it as processes: a write that is read, a change that is heard, and nothing personal in sight."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from api.keys import create_key
from eventlog.producing import LogProducer
from eventlog.topics import COMMANDS, link_log
from models.catalogue import DOMAIN_TOPICS
from models.identifiers import customer_id
from ops.installation import Installation
from tests.http_world import EventStream

# What no masked reader, no log line and no stream may show. Written nowhere else in this installation, and
# long or with a letter that no random request id or token has.
PERSONAL = (
    "Adelheid", "Quastenbach", "1985-12-10", "adelheid.q", "quasten.example", "4077163552", "77163552",
    "Nadelweg", "NQ7X 9ZW", "Zwickelstadt", "CARD-778899", "migraine", "left-handed", "Ring mother",
    "the courier was rude", "divorce", "token=s3cret", "17:00-20:00", "pills", "because she said so",
)  # fmt: skip
SEEN = "crm:4711"
# Between two tries: a key may ask 200 times a second.
PAUSE_SECONDS = 0.05


@pytest.fixture(scope="module")
def running() -> Iterator[Installation]:
    """Everything that `scv up` starts."""
    with Installation() as installation:
        installation.start_worker()
        installation.start_http()
        installation.wait_for_lanes((*DOMAIN_TOPICS, COMMANDS, link_log("g1")))
        yield installation


class Client:
    """A caller with a key of its own."""

    def __init__(self, running: Installation, *scopes: str) -> None:
        assert running.http and running._http
        self.url, self._headers = running.http, {}
        _, self.key = create_key(running._http.directory / "keys.json", scopes, "desk")
        self.heard: list[str] = []
        self._session = requests.Session()

    def sign_in(self) -> None:
        """Open the pages, as a browser does."""
        self._session.cookies.set("scv_session", self.key)

    def ask(
        self, method: str, path: str, body: Any = None, *, form: dict[str, str] | None = None, **headers: str
    ) -> requests.Response:
        """One request; everything that comes back is kept."""
        sent = {"Authorization": f"Bearer {self.key}"} | {n.replace("_", "-"): v for n, v in headers.items()}
        answer = self._session.request(
            method, self.url + path, json=body, data=form, headers=sent, timeout=30
        )
        self.heard.append(f"{answer.status_code} {answer.headers} {answer.text}")
        return answer


def event(number: int, wire_type: str, subject: str, /, **data: Any) -> dict[str, Any]:
    return {
        "specversion": "1.0",
        "id": f"e{number}",
        "source": "t",
        "type": wire_type,
        "subject": subject,
        "data": data,
    }


EMAIL = {"type": "email", "value": "adelheid.q@quasten.example", "verified": True}
PHONE = {"type": "phone", "value": "+49 40 77163552"}
HISTORY = [
    event(1, "marketing.profile_updated", SEEN, given_name="Adelheid", family_name="Quastenbach",
          birthdate="1985-12-10",
          identifiers=[EMAIL, PHONE, {"type": "loyalty_card", "value": "CARD-778899"}],
          traits={"condition": "migraine"},
          address={"use": "home", "street_address": "Nadelweg 1", "postal_code": "NQ7X 9ZW",
                   "locality": "Zwickelstadt", "country": "GB"}),
    event(2, "service.promise_made", SEEN, promise_id="P-1", text="Ring mother about the pills",
          due_at="2030-01-01T00:00:00Z"),
    event(3, "service.survey_answered", SEEN, survey_id="S", kind="csat", score=2, scope="transactional",
          incentivised=False, comment="the courier was rude"),
    event(4, "marketing.preference_stated", SEEN, values=["left-handed"], contact_hours="17:00-20:00"),
    event(5, "marketing.life_event_noted", SEEN, kind="divorce"),
    event(6, "marketing.page_viewed", SEEN, page="/reset?token=s3cret"),
    event(7, "sales.order_placed", "email:adelheid.q@quasten.example", order_id="O-1", amount_minor=1,
          currency="EUR"),
    event(8, "service.case_opened", SEEN, case_id="C-1",
          topic="ask adelheid.q@quasten.example or +494077163552"),
]  # fmt: skip


def seen(heard: list[str]) -> list[str]:
    """What is personal there, with what stands around it."""
    return [
        text[max(0, at.start() - 80) : at.end() + 80]
        for text in heard
        for at in re.finditer("|".join(map(re.escape, PERSONAL)), text)
    ]


def test_what_was_written_is_read_with_its_token_and_so_are_the_merges_it_causes(
    running: Installation,
) -> None:
    client = Client(running, "events:write", "identity:write", "profile:read.pii")
    written = client.ask("POST", "/v1/events", HISTORY)
    assert (written.status_code, written.json()["rejected"]) == (202, 0), written.text
    asked = {"identifiers": [PHONE], "sections": ["identity", "sales"]}
    found = client.ask(
        "POST", "/v1/profiles:lookup", asked, Sync_Token=written.headers["Sync-Token"], Prefer="wait=10"
    )
    assert found.status_code == 200, found.text
    assert found.json()["profile"]["identity"]["given_name"] == "Adelheid"
    # The order's subject is the email: one customer, as soon as the graph has heard of both.
    assert found.json()["profile"]["sales"]["order_count"] == 1

    pair = {"subject": SEEN, "other": "shop:88", "actor": "E-7", "reason": "because she said so"}
    linked = client.ask("POST", "/v1/identity/links", pair)
    placed = event(20, "sales.order_placed", "shop:88", order_id="O-2", amount_minor=1, currency="EUR")
    order = client.ask("POST", "/v1/events", [placed])
    for token in (linked.headers["Sync-Token"], order.headers["Sync-Token"]):
        found = client.ask("POST", "/v1/profiles:lookup", {"identifiers": [{"type": "shop", "value": "88"}]},
                           Sync_Token=token, Prefer="wait=10")  # fmt: skip
        assert found.status_code == 200
    assert found.json()["profile"]["customer_id"] == customer_id(SEEN)
    assert found.json()["profile"]["sales"]["order_count"] == 2
    assert found.json()["as_of"]["status"] in ("live", "behind")


def test_a_change_is_heard_live(running: Installation) -> None:
    client = Client(running, "events:write", "profile:read")
    assert running.http
    with EventStream(running.http, f"/v1/stream?profile={customer_id(SEEN)}", client.key, {}) as stream:
        first = stream.next()
        client.ask("POST", "/v1/events", event(30, "sales.lead_created", SEEN, lead_id="L-1"))
        assert stream.next()["id"] != first["id"]
        client.heard.append(stream.heard)
    assert [word for word in PERSONAL if word in "\n".join(client.heard)] == []


def test_a_masked_reader_sees_nothing_personal_in_any_answer(running: Installation) -> None:
    client = Client(running, "profile:read", "timeline:read")
    path, names = f"/v1/profiles/{customer_id(SEEN)}", [*HISTORY[0]["data"]["identifiers"]]
    for rest in (
        "",
        "/timeline",
        "/identifiers",
        "/consents",
        "/merges",
        "?sections=summary,identity,traits",
    ):
        assert client.ask("GET", path + rest).status_code == 200
    for name in names:
        asked = {
            "identifiers": [
                {"type": name["type"], "value": name["value"]},
                {"type": "crm", "value": "nobody"},
            ]
        }
        assert client.ask("POST", "/v1/profiles:lookup", asked).json()["match"] == "single"
    nobody = {"identifiers": [{"type": "email", "value": "x.adelheid.q@quasten.example"}]}
    assert client.ask("POST", "/v1/profiles:lookup", nobody).json()["unknown"] == ["email:x…@…"]
    wrong = {"identifiers": [{"type": "email", "value": "adelheid.q@quasten.example", "Nadelweg": 1}]}
    assert client.ask("POST", "/v1/profiles:lookup", wrong).status_code == 422
    for broken in ("/v1/profiles/adelheid.q@quasten.example", "/v1/77163552", "/v1/stream?profile=Adelheid",
                   f"{path}?sections=4077163552",
                   f"{path}/timeline?cursor=Adelheid&type=77163552"):  # fmt: skip
        assert client.ask("GET", broken).status_code in (404, 422)
    assert len(client.heard) == 16
    hits = [
        (word, text[:60]) for word in PERSONAL for text in client.heard if word in text and word != "Nadelweg"
    ]
    assert hits == []
    # The field's own name is the caller's; of what stands in fields nothing comes back.
    assert sum("Nadelweg" in text for text in client.heard) == 1
    known = Client(running, "profile:read.pii", "timeline:read")
    whole = known.ask("GET", path).text
    assert [word for word in PERSONAL if word not in whole and word != "because she said so"] == []


EXPLAINED = (
    "summary", "identity", "consent", "marketing", "sales", "service", "billing", "traits", "timeline",
)  # fmt: skip


def test_a_masked_reader_sees_nothing_personal_of_the_past_in_explanations_or_on_pages(
    running: Installation,
) -> None:
    client = Client(running, "profile:read", "timeline:read")
    path = f"/v1/profiles/{customer_id(SEEN)}"
    read = ["?as_of=2027-01-01", "?known_at=2099-01-01", *(f"/explain/{section}" for section in EXPLAINED)]
    assert [client.ask("GET", path + one).status_code for one in read] == [200] * len(read)
    client.ask("GET", f"{path}?as_of=Adelheid&known_at=77163552")
    client.ask("GET", f"{path}/explain/Adelheid.77163552")
    page = f"/agent/customers/{customer_id(SEEN)}"
    client.sign_in()
    ways = ["/agent", page, f"{page}/steps", f"{page}/past?as_of=2027-01-01"]
    ways += [f"{page}/past?known_at=2099-01-01", *(f"{page}/why/{section}" for section in EXPLAINED)]
    for way in ways:
        assert client.ask("GET", way).status_code == 200
    assert sum("event" in text and "made it" in text for text in client.heard) == len(EXPLAINED)
    nobody = {"names": "email:x.adelheid.q@quasten.example"}
    missed = client.ask("POST", "/agent/lookup", form=nobody, Origin=client.url)
    assert missed.status_code == 200
    assert len(client.heard) == len(read) + len(ways) + 3
    # What was asked for last is given back to whoever asked.
    assert seen(client.heard[:-1]) == []
    known = Client(running, "profile:read.pii", "timeline:read")
    whole = "".join(known.ask("GET", path + one).text for one in read)
    assert [word for word in PERSONAL if word not in whole and word != "because she said so"] == []


def test_an_operator_sees_nothing_personal_in_letters_state_metrics_or_pages(running: Installation) -> None:
    spoilt = [
        json.dumps(event(90 + number, wire_type, SEEN, **HISTORY[of]["data"], **more)).encode()
        for number, (wire_type, of, more) in enumerate((
            ("marketing.profile_updated", 0, {"phone_number": "Adelheid +494077163552"}),
            ("marketing.profile_updated", 0, {"Adelheid Quastenbach": "Nadelweg 1, NQ7X 9ZW Zwickelstadt"}),
            ("marketing.profile_updatd", 0, {}),
        ))
    ]  # fmt: skip
    spoilt += [b'{"subject": "Adelheid Quastenbach", "time": "1985-12-10"', b"adelheid.q@quasten.example"]
    with LogProducer(running.settings.kafka) as producer:
        for value in spoilt:
            producer.produce("marketing.events", b"email:adelheid.q@quasten.example", value)
    client = Client(running, "ops")
    deadline = time.monotonic() + 60
    while (told := client.ask("GET", "/v1/dead-letters").json())["total"] < len(spoilt):
        assert time.monotonic() < deadline, told
        time.sleep(PAUSE_SECONDS)
    for letter in told["letters"]:
        assert client.ask("GET", f"/v1/dead-letters/{letter['position']}").status_code == 200
    for way in ("/v1/ops/state", "/metrics", "/readyz"):
        assert client.ask("GET", way).status_code == 200
    client.sign_in()
    while "marketing.events" not in (shown := client.ask("GET", "/ops/letters")).text:
        assert time.monotonic() < deadline, shown.text
        time.sleep(PAUSE_SECONDS)
    for way in re.findall(r'hx-get="(/ops/letters/[^"]+)"', shown.text):
        letter = client.ask("GET", way)
        assert letter.status_code == 200, letter.text
    for way in ("/ops", "/ops/live"):
        assert client.ask("GET", way).status_code == 200
    assert seen(client.heard) == []


def test_no_line_of_the_log_and_no_audit_record_has_anything_personal(running: Installation) -> None:
    from tests.http_world import records

    assert running._http
    client = Client(running, "profile:read", "profile:reveal", "events:write")
    reveal = {"fields": ["phone"], "reason": "callback"}
    shown = client.ask("POST", f"/v1/profiles/{customer_id(SEEN)}/reveal", reveal, X_Actor="E-7")
    assert shown.json()["fields"] == {"phone_number": "+494077163552"}
    client.ask("GET", "/v1/profiles/Adelheid?q=77163552", X_Purpose="Adelheid Quastenbach")
    client.ask("POST", "/v1/events", event(9, "sales.none", "Adelheid Quastenbach"))
    log = running._http.log_path.read_text()
    audited = json.dumps(records(running.settings.kafka, "scv.audit"))
    assert "POST /v1/profiles:lookup 200" in log and "scv.profile_revealed" in audited
    assert [word for word in PERSONAL if word in log or word in audited] == []
    assert client.key not in log and client.key.split("_", 2)[2] not in log + audited
