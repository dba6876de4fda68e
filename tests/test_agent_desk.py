"""What stands on the agent's page, without a browser: alerts, next step, what is typed, forms, freshness."""

from __future__ import annotations

import copy
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest

from api.freshness import Lag
from api.generations import Rebuilding
from api.masking import masked
from api.pages import wrap_up
from api.pages.alerts import ALERTS_MAX, alerts, next_step
from api.pages.asking import names_of
from api.pages.desk import desk_of, local_time
from api.pages.live import freshness
from api.pages.rendering import page
from api.pages.verifying import ASKED, compared
from api.problems import Problem
from models.careful import read
from models.catalogue import topic_of
from models.dead_letter import Fault
from models.profile import Profile
from models.rules import IdentityRules

NOW = datetime(2026, 3, 1, 11, 0, tzinfo=UTC)
FORM_ID = "0" * 32
BERLIN = ZoneInfo("Europe/Berlin")
WRAPPED_UP = (
    "conversation_held",
    "promise_kept",
    "promise_made",
    "follow_up_opened",
    "follow_up_assigned",
)


@pytest.fixture
def ada() -> dict[str, Any]:
    """The profile of the contract: everything that a profile can hold."""
    whole = json.loads((Path(__file__).parent / "data" / "profile.json").read_text())
    Profile.model_validate(whole)
    return copy.deepcopy(whole)


def quiet(profile: dict[str, Any]) -> dict[str, Any]:
    """The same customer with nothing wrong and nothing open."""
    service, billing = profile["service"], profile["billing"]
    service |= {"cases": [], "complaints": [], "promises": {"kept_count": 0, "broken_count": 0, "open": []}}
    billing |= {"failures_in_a_row": 0, "open_invoices": [], "refunds": []}
    profile["summary"] |= {"last_nps": 9, "do_not_contact": False}
    profile["signals"] = []
    return profile


def test_a_customer_of_whom_nothing_is_wrong_has_no_alert_and_no_step(ada: dict[str, Any]) -> None:
    assert alerts(quiet(ada), NOW) == [] and next_step(ada, NOW) is None


def test_each_alert_stands_on_its_own_fact(ada: dict[str, Any]) -> None:
    def words(**changes: Any) -> list[str]:
        profile = copy.deepcopy(plain)
        for path, value in changes.items():
            section, _, name = path.partition("__")
            profile[section][name] = value
        return [one.word for one in alerts(profile, NOW)]

    plain = quiet(ada)
    complaint = {"complaint_id": "K", "topic": "late", "status": "open", "made_at": None, "settled_at": None}
    assert words(service__complaints=[complaint]) == ["Complaint open"]
    assert words(service__complaints=[{**complaint, "status": "settled"}]) == []
    assert words(billing__failures_in_a_row=1) == ["Payment failing"]
    assert words(summary__last_nps=6) == ["Detractor"] and words(summary__last_nps=7) == []
    assert words(summary__do_not_contact=True) == ["Do not contact"]
    broken = {"kept_count": 0, "broken_count": 1, "open": []}
    assert words(service__promises=broken) == ["Broken promise"]


def test_a_promise_is_overdue_by_the_clock_of_whoever_looks(ada: dict[str, Any]) -> None:
    promise = {"promise_id": "P", "text": "call", "due_at": "2026-03-01T12:00:00Z", "status": "open"}
    quiet(ada)["service"]["promises"]["open"] = [promise]
    assert alerts(ada, NOW) == [] and next_step(ada, NOW) is None
    late = NOW + timedelta(hours=2)
    assert [one.word for one in alerts(ada, late)] == ["Promise overdue"]
    step = next_step(ada, late)
    assert step and step.what == "Keep the promise now"


def test_there_are_never_more_than_three_alerts_and_the_worst_come_first(ada: dict[str, Any]) -> None:
    ada["summary"]["do_not_contact"] = True
    ada["service"]["complaints"] = [
        {"complaint_id": "K", "topic": None, "status": "open", "made_at": None, "settled_at": None}
    ]
    found = alerts(ada, NOW)
    assert len(found) == ALERTS_MAX and [one.tone for one in found] == ["danger", "danger", "warn"]


def test_a_signal_that_has_risen_says_the_step_and_one_that_has_not_does_not(ada: dict[str, Any]) -> None:
    step = next_step(ada, NOW)
    assert step and step.what == "Update card"
    for signal in ada["signals"]:
        signal["raised_at"] = "2026-03-02T00:00:00Z"
    step = next_step(ada, NOW)
    assert step and step.what == "Ask for another card"


def rendered(profile: dict[str, Any], *, is_masked: bool) -> str:
    class Caller:
        actor = "E-7"

    desk = desk_of(profile, NOW.astimezone(BERLIN), masked=is_masked)
    may = dict.fromkeys(("profile:reveal", "events:write", "timeline:read"), True)
    return page(
        "agent_customer.html", desk=desk, p=profile, may=may, caller=Caller, asked=ASKED, wrap_up=wrap_up,
        form_id=FORM_ID,
    ).body.decode()  # fmt: skip


def test_a_whole_profile_and_an_empty_one_can_be_shown(ada: dict[str, Any]) -> None:
    assert "Ada Byron" in rendered(ada, is_masked=False)
    for name in ("consent", "marketing", "sales", "service", "billing", "identity"):
        ada[name] = Profile.model_validate(ada).model_dump()[name]
    blank = quiet(ada)
    blank["summary"] = {
        name: 0 if name == "open_case_count" else False if name == "do_not_contact" else None
        for name in blank["summary"]
    }
    blank["identity"] |= {"given_name": None, "email": None, "phone_number": None, "birthdate": None,
                          "addresses": [], "identifiers": [], "subjects": [], "related": []}  # fmt: skip
    blank["consent"] |= {"permissions": [], "stated_values": []}
    blank["sales"] |= {"order_count": 0, "orders": [], "revenue": [], "last_order_at": None}
    blank["billing"] |= {"balances": [], "recurring": [], "last_failure": None, "subscriptions": []}
    blank["service"] |= {"last_contact": None, "contact_count": 0}
    blank["timeline"] = []
    text = rendered(blank, is_masked=False)
    assert "No name known" in text and "nothing bought yet" in text and "None" not in text


def test_what_customers_wrote_is_text_and_never_markup(ada: dict[str, Any]) -> None:
    evil = "<img src=x onerror=alert(1)>\"'"
    ada["summary"] |= {"display_name": evil, "contact_reason_text": evil, "tier": evil}
    ada["timeline"][0]["title"] = evil
    ada["service"]["cases"][0]["topic"] = evil
    ada["service"]["promises"]["open"][0] |= {"text": evil, "promise_id": evil}
    text = rendered(ada, is_masked=False)
    assert "<img" not in text and "&lt;img" in text


def test_a_masked_page_holds_nothing_personal(ada: dict[str, Any]) -> None:
    hidden = {
        name: json.loads(masked(name, msgspec.json.encode(section)))
        if isinstance(section, dict | list) else section for name, section in ada.items()
    }  # fmt: skip
    text = rendered(hidden, is_masked=True)
    personal = ("Ada", "Byron", "ada@example.com", "30901820", "Linden", "10117", "1985", "17:00-20:00",
                "about invoice", "Paid twice")  # fmt: skip
    assert [word for word in personal if word in text] == []


@pytest.mark.parametrize(
    "typed, names",
    [
        ("+49 30 901820", ["phone:+49 30 901820", "order:+49 30 901820"]),
        ("030/901820", ["phone:030/901820"]),
        (" ada@example.com ", ["email:ada@example.com"]),
        ("O-8", ["order:O-8", "case:O-8", "invoice:O-8"]),
        ("crm:4711", ["crm:4711"]),
        ("loyalty_card:20391", ["loyalty_card:20391"]),
        ("cus_7q2m4x9k3btd5hwe", ["cus_7Q2M4X9K3BTD5HWE"]),
        ("phone:+4930901820\norder:O-8", ["phone:+4930901820", "order:O-8"]),
        ("  \n ", []),
    ],
)
def test_what_is_typed_becomes_names(typed: str, names: list[str]) -> None:
    found = names_of(typed)
    assert found[: len(names)] == names and (names or not found)


def test_the_time_where_the_customer_is_says_when_it_is_night() -> None:
    here = local_time("Europe/Berlin", NOW)
    assert here and (here.time, here.place, here.night) == ("12:00", "Berlin", False)
    there = local_time("America/Los_Angeles", NOW)
    assert there and (there.time, there.place, there.night) == ("03:00", "Los Angeles", True)
    for unknown in (None, "", "Mars/Base", "../etc/passwd", "x" * 300, "Europe"):
        assert local_time(unknown, NOW) is None


def form(**fields: str) -> dict[str, str]:
    return {"form_id": FORM_ID, "disposition": "solved", "channel": "phone", "seconds": "240", **fields}


def test_a_filled_form_becomes_events_that_a_worker_accepts() -> None:
    filled = form(
        text="Moved house", case_id="S-5", promise="Send it again", promise_due="2026-03-02T12:00",
        follow_up="yes", follow_up_due="2026-03-03T12:00", **{"kept:PR-2": "yes"},
    )  # fmt: skip
    events = wrap_up.events_of(filled, "crm:4711", "E-7", NOW, BERLIN)
    types = []
    for one in events:
        event = json.loads(one)
        found = read(topic_of(event["type"]), b"crm:4711", one, (), int(NOW.timestamp() * 1e6))
        assert not isinstance(found, Fault), found
        types.append(event["type"])
    assert types == [f"service.{name}" for name in WRAPPED_UP]
    promise = json.loads(events[2])["data"]
    # Noon where the agent sits.
    assert promise["due_at"] == "2026-03-02T11:00:00.000Z"
    assert [json.loads(one)["id"] for one in events] == [
        json.loads(one)["id"] for one in wrap_up.events_of(filled, "crm:4711", "E-7", NOW, BERLIN)
    ]


@pytest.mark.parametrize(
    "fields, actor, pointer",
    [
        ({"disposition": ""}, "E-7", "/disposition"),
        ({"disposition": "<b>"}, "E-7", "/disposition"),
        ({"channel": "pigeon"}, "E-7", "/channel"),
        ({"seconds": "-5"}, "E-7", "/seconds"),
        ({"form_id": "x"}, "E-7", "/form_id"),
        ({"promise": "Call"}, "E-7", "/promise_due"),
        ({"promise": "Call", "promise_due": "2026-02-01T12:00"}, "E-7", "/promise_due"),
        ({"promise": "Call", "promise_due": "2026-03-02T12:00"}, None, "/actor"),
        ({"follow_up": "yes", "follow_up_due": "9999-12-31T23:59"}, "E-7", None),
        (
            {"follow_up": "yes", "follow_up_due": "2026-03-02T12:00", "follow_up_kind": "x"},
            "E-7",
            "/follow_up_kind",
        ),
    ],
)
def test_what_is_not_right_in_a_form_is_named(
    fields: dict[str, str], actor: str | None, pointer: str | None
) -> None:
    if pointer is None:
        assert wrap_up.events_of(form(**fields), "crm:4711", actor, NOW, BERLIN)
        return
    with pytest.raises(Problem) as raised:
        wrap_up.events_of(form(**fields), "crm:4711", actor, NOW, BERLIN)
    assert raised.value.members["pointer"] == pointer


def test_a_caller_is_verified_by_two_facts_and_no_contradiction(ada: dict[str, Any]) -> None:
    def verified(**stated: str) -> bool:
        return compared(ada, stated, IdentityRules()).verified

    assert verified(birthdate="1985-12-10", postal_code="10 117")
    assert verified(email="ADA@example.com", phone="030 901820")
    assert verified(order="o-8", postal_code="10117") and verified(order="I-88", birthdate="1985-12-10")
    assert not verified(birthdate="1985-12-10")
    assert not verified(birthdate="1985-12-10", postal_code="10117", email="eve@example.com")
    ada["identity"]["birthdate"] = None
    answer = compared(ada, {"birthdate": "1985-12-10", "postal_code": "10117"}, IdentityRules())
    assert answer.fits == {"birthdate": None, "postal_code": True} and not answer.verified


@pytest.mark.parametrize(
    "lag, state, word",
    [
        (Lag("live", 0, 0.0), "fresh", "Live"),
        (Lag("behind", 12, 1.0), "fresh", "Live"),
        (Lag("behind", 1204, 38.0), "stale", "Behind by 1,204 events"),
        (Lag("behind", 1, 38.0), "stale", "Behind by 1 event"),
        (Lag("unattended", 0, 12.4), "stale", "12 s ago"),
        (Lag("unattended", 0, 600.0), "stale", "10 min ago"),
        (Lag("unknown", None, None), "stale", "Age not known"),
    ],
)
def test_freshness_has_one_word_for_each_way_to_be_old(lag: Lag, state: str, word: str) -> None:
    rebuilding = Rebuilding("g2", "graph", 62)
    told = freshness(lag)
    beside = freshness(lag, rebuilding)
    assert beside == (told if state == "stale" else {**told, "word": "Live · Rebuilding 62 %"})
    assert (told["state"], told["word"]) == (state, word) and bool(told["said"]) == (state == "stale")
