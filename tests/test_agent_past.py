"""Looking back on the agent's page, in a real browser: a customer as it was, and why a figure is what it is.

What needs no browser is asked of the functions themselves, at the end.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from playwright.sync_api import Page, expect

from api.pages.past import steps_of, then_of, why_not
from api.pages.reasons import why_of
from api.problems import Problem
from api.replays import RECORDS_MAX, Moment
from eventlog.producing import LogProducer
from models.catalogue import topic_of
from models.identifiers import customer_id
from models.moments import due, moment
from projections.replay import Point
from stores.reading import LIVE, StoredProfile
from tests import servers
from tests.desk_world import ADA, ADAS_PHONE, DeskWorld, desk_world, violations

BERLIN = ZoneInfo("Europe/Berlin")


@pytest.fixture(scope="module")
def world() -> Iterator[DeskWorld]:
    """Everything that `scv up` starts, a few customers, and Chromium."""
    servers.need("chromium")
    expect.set_options(timeout=20_000)
    with desk_world() as world:
        yield world


def open_customer(world: DeskWorld, page: Page, fragment: str = f"phone={ADAS_PHONE}") -> None:
    world.call(page, fragment)
    expect(page.locator("#customer-name")).to_be_focused()


def look_back(page: Page) -> None:
    page.keyboard.press("a")
    expect(page.locator("#past-slider")).to_be_focused()


def accessible(page: Page) -> None:
    """No finding of axe-core, in light and in dark."""
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        assert (scheme, violations(page)) == (scheme, [])
    page.emulate_media(color_scheme="light")


def asked_back(world: DeskWorld, path: str) -> Any:
    answer = world._session.get(f"{world.url}/v1/profiles/{path}", timeout=30)
    assert answer.status_code == 200, answer.text
    return answer.json()


def step_of(page: Page, back: int, clock: str = "as_of") -> str:
    """The instant so many steps before the last one."""
    steps = page.locator(f"[data-clock={clock}] li")
    return steps.nth(steps.count() - 1 - back).get_attribute("data-at") or ""


def test_an_agent_goes_back_event_by_event_and_to_now_with_one_key(world: DeskWorld) -> None:
    with world.page() as page:
        open_customer(world, page)
        expect(page.locator("#past-bar, #past-slider")).to_have_count(0)
        count = page.locator(".entry").count()
        look_back(page)
        slider = page.locator("#past-slider")
        expect(slider).to_have_attribute("aria-valuetext", "Now")
        expect(page.locator("#past-said")).to_contain_text("As it is now")
        for back in (1, 2, 3, 4):
            page.keyboard.press("ArrowLeft")
            expect(page.locator("#past .entry")).to_have_count(count - back)
        expect(page.locator(".alert b")).to_have_text(["Payment failing", "Broken promise", "Detractor"])
        at = step_of(page, 4)
        told = datetime.fromisoformat(at).astimezone(BERLIN)
        said = f"{told.day} {told:%b %Y, %H:%M}"
        expect(page.locator("#past-said")).to_have_text(f"As it was on {said} — not now")
        expect(slider).to_have_attribute("aria-valuetext", f"{said}, after Promise PR-2 broken")
        expect(page).to_have_title(f"As it was on {said} · scv")
        # The same as over HTTP, seen from then: dates, and nobody's clock.
        then = asked_back(world, f"{ADA}?as_of={at}")["profile"]
        assert then["billing"]["failures_in_a_row"] == 1
        expect(page.locator("#past .alert-why").first).to_have_text("once · card expired")
        text = page.locator("#past").inner_text()
        assert [one for one in ("Today", "Yesterday", "days ago", " in Berlin") if one in text] == []
        assert page.evaluate("document.scrollingElement.scrollHeight <= innerHeight")
        assert page.locator(".column").evaluate_all("(a) => a.every((b) => b.scrollHeight <= b.clientHeight)")
        accessible(page)
        page.keyboard.press("Escape")
        expect(page.locator("#customer .entry")).to_have_count(count)
        expect(page.locator("#past, #past-bar")).to_have_count(0)
        expect(page.locator("[data-do=look-back]")).to_be_focused()
        expect(page).to_have_title("Known · scv")


def test_of_another_time_nothing_is_offered_that_belongs_to_now(world: DeskWorld) -> None:
    with world.page() as page:
        open_customer(world, page)
        look_back(page)
        page.keyboard.press("ArrowLeft")
        expect(page.locator("#past")).to_be_visible()
        expect(page.locator("[data-open=verify], [data-open=wrap-up], .peek, .step")).to_have_count(0)
        expect(page.locator("#freshness")).to_be_hidden()
        html = page.locator("#desk").inner_html()
        assert [word for word in ("Byron", "901820", "ada@", "Linden", "1985-12-10") if word in html] == []
        # The key for it goes to now.
        page.keyboard.press("v")
        expect(page.locator("#verify")).to_be_visible()
        expect(page.locator("#past, #past-bar")).to_have_count(0)
    read = [one["data"] for one in world.audited("scv.profile_read") if one["subject"] == ADA]
    told = [(one["action"], one["actor"], one["purpose"], one["masked"]) for one in read]
    assert ("steps", "E-7", "agent_desk", True) in told
    assert ("profile", "E-7", "agent_desk", True) in told


def test_what_happens_meanwhile_is_counted_and_what_is_seen_stays(world: DeskWorld) -> None:
    with world.page() as page:
        open_customer(world, page, "crm=7003")
        page.locator("[data-open=wrap-up]").click()
        page.get_by_label("Note").fill("half a sentence")
        page.get_by_role("button", name="As of…").click()
        expect(page.locator("#past-slider")).to_be_focused()
        page.keyboard.press("Home")
        expect(page.locator("#past .entry")).to_have_count(1)
        before = page.locator("#past").inner_text()
        new = world.write("sales.lead_created", "crm:7003", lead_id="L-7003")
        expect(page.locator("#past-news button")).to_contain_text("1 new event")
        assert page.locator("#past").inner_text() == before
        accessible(page)
        # Another step, and it is still counted.
        page.keyboard.press("ArrowRight")
        expect(page.locator("#past .entry")).to_have_count(2)
        page.keyboard.press("n")
        expect(page.locator(f"#customer [data-event='{new}'].new")).to_be_visible()
        expect(page.locator("#past-bar")).to_have_count(0)
        # What was being written is where it was.
        assert page.get_by_label("Note").input_value() == "half a sentence"


def test_a_time_before_everything_is_told_plainly_by_both_clocks(world: DeskWorld) -> None:
    with world.page() as page:
        open_customer(world, page, "crm=7003")
        look_back(page)
        page.locator("#past-at").fill("2001-02-03T10:00")
        page.keyboard.press("Enter")
        expect(page.locator("#past h1")).to_have_text("This customer did not exist yet")
        expect(page.locator("#past-said")).to_have_text("As it was on 3 Feb 2001, 10:00 — not now")
        expect(page.locator("#past-slider")).to_have_attribute("aria-valuetext", "3 Feb 2001, 10:00")
        accessible(page)
        page.get_by_label("Only what was known then").check()
        expect(page.locator("#past h1")).to_have_text("Nothing was known of this customer yet")
        expect(page.locator("#past-said")).to_contain_text("As it was known on 3 Feb 2001")
        # The second step: by the time of the first event alone, who it is of was not known yet.
        page.get_by_role("button", name="One event later").click(click_count=2)
        expect(page.locator("#past .entry")).to_have_count(2)
        page.get_by_role("button", name="Back to now").click()
        expect(page.locator("#customer")).to_be_visible()


def test_a_customer_that_was_part_of_another_one_says_so(world: DeskWorld) -> None:
    world.part("crm:7001", "crm:7002", "links")
    world.write("sales.lead_created", "crm:7002", lead_id="L-1")
    world.part("crm:7001", "crm:7002")
    world.write("sales.lead_created", "crm:7002", lead_id="L-2")
    with world.page() as page:
        open_customer(world, page, "crm=7002")
        look_back(page)
        page.get_by_label("Only what was known then").check()
        page.locator("#past-slider").focus()
        page.keyboard.press("ArrowLeft")
        expect(page.locator("#past .notice")).to_contain_text(
            "It was part of another customer then, crm:7001"
        )
        expect(page.locator(".then-note")).to_have_text("Belonged here then: crm:7001")
        accessible(page)
        page.keyboard.press("ArrowLeft")
        expect(page.locator("#past .notice, .then-note")).to_have_count(0)
        # By when things happened it is who it is known to be by now.
        page.get_by_label("Only what was known then").uncheck()
        expect(page.locator("#past-said")).to_contain_text("As it was on")
        expect(page.locator("#past .notice, .then-note")).to_have_count(0)
    shown = {one["subject"] for one in world.audited("scv.profile_read") if one["data"]["actor"] == "E-7"}
    assert customer_id("crm:7001") in shown


def test_why_opens_the_events_that_made_a_figure_now_and_then(world: DeskWorld) -> None:
    field = "billing.balances.EUR.balance_minor"
    with world.page() as page:
        open_customer(world, page)
        page.get_by_role("button", name="Why? The balance").focus()
        page.keyboard.press("Enter")
        expect(page.locator(".why-value")).to_have_text("The balance 49.90 €")
        told = asked_back(world, f"{ADA}/explain/{field}")
        expect(page.locator(".effect")).to_have_count(told["effect_count"])
        expect(page.locator(".effect").first).to_contain_text("Invoice I-88 issued")
        expect(page.locator(".effect .number").first).to_have_text("+49.90 €")
        page.get_by_text("By which rule").click()
        expect(page.locator(".rules")).to_contain_text("balance + amount_minor")
        accessible(page)
        page.keyboard.press("Escape")
        expect(page.locator("#why")).to_be_hidden()
        look_back(page)
        page.keyboard.press("Home")
        expect(page.locator("#past .entry")).to_have_count(1)
        for _ in range(30):
            page.keyboard.press("ArrowRight")
        first = page.locator("[data-clock=as_of] li").nth(30).get_attribute("data-at")
        profile = asked_back(world, f"{ADA}?as_of={first}")["profile"]
        expect(page.locator("#past .entry")).to_have_count(len(profile["timeline"]))
        page.get_by_role("button", name="Why? Bought, net").click()
        expect(page.locator("#why .notice.past")).to_contain_text("not now")
        then = asked_back(world, f"{ADA}/explain/sales.revenue.EUR.net_minor?as_of={first}")
        expect(page.locator(".effect")).to_have_count(then["effect_count"])
        accessible(page)
        # What closes the reasons leaves the time that is shown.
        page.keyboard.press("Escape")
        expect(page.locator("#past")).to_be_visible()
    data = [one["data"] for one in world.audited("scv.profile_read") if one["data"]["action"] == "explain"]
    assert ("E-7", ["billing"], True) in [(one["actor"], one["sections"], one["masked"]) for one in data]


def test_a_key_without_the_timeline_asks_for_a_time_and_gets_counts(world: DeskWorld) -> None:
    with world.page("bare") as page:
        open_customer(world, page)
        page.keyboard.press("a")
        expect(page.locator("#past-at")).to_be_focused()
        expect(page.locator("#past-slider, [data-clock]")).to_have_count(0)
        a_week_ago = datetime.now(BERLIN) - timedelta(days=7)
        page.locator("#past-at").fill(f"{a_week_ago:%Y-%m-%dT%H:%M}")
        page.get_by_role("button", name="Show").click()
        expect(page.locator("#past .timeline-card")).to_contain_text("timeline:read")
        page.get_by_role("button", name="Why? The consents").click()
        expect(page.locator("#why")).to_contain_text(re.compile(r"2 of \d+ events made it"))
        expect(page.locator("#why")).to_contain_text("timeline:read")
        expect(page.locator(".effect")).to_have_count(0)
        accessible(page)


def test_a_history_that_is_too_long_is_told_so_in_a_sentence(world: DeskWorld) -> None:
    with LogProducer(world.installation.settings.kafka, client_id="test") as producer:
        for _ in range(RECORDS_MAX):
            event = {
                "specversion": "1.0", "id": uuid.uuid4().hex, "source": "test", "subject": "web:busy",
                "type": "marketing.page_viewed", "time": datetime.now(UTC).isoformat(),
                "data": {"page": "/", "channel": "web"},
            }  # fmt: skip
            producer.produce(topic_of(str(event["type"])), b"web:busy", json.dumps(event).encode())
    world.write("marketing.page_viewed", "web:busy", page="/")
    with world.page() as page:
        open_customer(world, page, "web=busy")
        page.keyboard.press("a")
        said = page.locator("#past-bar [role=alert]")
        expect(said).to_contain_text("Too much has happened to look back from here: 1,001 records")
        expect(said).to_contain_text(f"scv inspect {customer_id('web:busy')}")
        expect(page.locator("[data-do=now]")).to_be_focused()
        accessible(page)
        page.keyboard.press("Escape")
        expect(page.locator("#past-bar")).to_have_count(0)


def test_a_phone_held_upright_looks_back_without_sideways_scrolling(world: DeskWorld) -> None:
    with world.page(width=400, height=800) as page:
        open_customer(world, page)
        look_back(page)
        page.keyboard.press("ArrowLeft")
        expect(page.locator("#past")).to_be_visible()
        for width in (320, 400):
            page.set_viewport_size({"width": width, "height": 800})
            assert page.evaluate("document.scrollingElement.scrollWidth <= innerWidth"), width
        accessible(page)
        page.get_by_role("button", name="Why? The consents").click()
        expect(page.locator(".effect")).to_have_count(2)
        assert page.evaluate("document.scrollingElement.scrollWidth <= innerWidth")
        accessible(page)
        page.keyboard.press("Escape")
        # Another call is another customer, as it is now.
        page.evaluate("location.hash = 'crm=7003'")
        expect(page.locator("#customer")).to_have_attribute("data-customer", customer_id("crm:7003"))
        expect(page.locator("body.past, #past-bar")).to_have_count(0)


# ---- Without a browser


def at(second: int) -> int:
    return 1_772_359_200_000_000 + second * 1_000_000


def test_steps_are_the_instants_of_one_clock_and_masked_for_who_must_not_see() -> None:
    moments = [
        Moment(at(0), at(9), "service.survey_answered", "Answered NPS with 3: call me at +49 30 901820"),
        Moment(at(5), at(10), "sales.order_placed", "Order O-1 placed"),
        Moment(at(5), at(11), "sales.order_paid", "Mail to ada@example.com"),
    ]
    by_event = steps_of(moments, "as_of", BERLIN, personal=True)
    assert [(one.at, one.title) for one in by_event] == [
        ("2026-03-01T10:00:00Z", moments[0].title),
        ("2026-03-01T10:00:05Z", moments[2].title),
    ]
    assert (by_event[0].when, by_event[0].domain) == ("1 Mar 2026, 11:00", "service")
    by_log = steps_of(moments, "known_at", BERLIN, personal=False)
    assert [one.at[-3:-1] for one in by_log] == ["09", "10", "11"]
    assert [one.title for one in by_log] == ["Answered NPS with 3: …", "Order O-1 placed", "Mail to …@…"]


def stored(founder: str, *subjects: str) -> StoredProfile:
    identity = json.dumps({"subjects": [{"subject": one} for one in subjects]}).encode()
    return StoredProfile(customer_id(founder), "1.1", LIVE, founder, {"identity": identity})


def test_who_belonged_to_the_customer_is_told_by_name() -> None:
    now = stored("crm:1", "crm:1", "billing:A-9", "email:ada@example.com")
    early = then_of(Point(at(0), None), BERLIN, stored("crm:1", "crm:1"), now, personal=False)
    assert early.notes == ["Nothing had come yet from billing:A-9, email:a…@…"]
    assert (early.said, early.other) == ("As it was on 1 Mar 2026, 11:00", None)
    known = then_of(Point(None, at(0)), BERLIN, stored("crm:0", "crm:0", "crm:1"), now, personal=True)
    assert known.notes[0].startswith("Not known to belong here yet: billing:A-9")
    assert known.notes[1] == "Belonged here then: crm:0"
    assert (known.said, known.other) == ("As it was known on 1 Mar 2026, 11:00", "crm:0")


@pytest.mark.parametrize(
    "code",
    ["replay_busy", "replay_unfit", "replay_too_large", "merged", "split", "erased", "log_unavailable"],
)
def test_what_keeps_from_looking_back_is_a_sentence_and_no_code(code: str) -> None:
    heading, sentence = why_not(Problem(code, "", record_count=2_000, limit=1_000), ADA, None)
    assert heading and sentence.endswith((".", "…")) and code not in heading + sentence


def test_what_is_no_matter_of_looking_back_stays_a_problem() -> None:
    with pytest.raises(Problem):
        why_not(Problem("forbidden", ""), ADA, None)


def test_an_explanation_tells_amounts_dates_and_consents_in_words() -> None:
    consent = {"purpose": "marketing", "channel": "email", "granted": True, "since": "2026-03-01T10:00:00Z"}
    made = {
        "event_id": "e1", "type": "marketing.consent_changed", "occurred_at": "2026-03-01T10:00:00Z",
        "subject": "crm:1",
        "changes": [
            {"path": "marketing", "before": "(missing)", "after": consent},
            {"path": "0.since", "before": None, "after": "2026-03-01T10:00:00Z"},
            {"path": "0.granted", "before": True, "after": False},
        ],
    }  # fmt: skip
    document = {
        "field": "consent.permissions", "value": [consent], "rules": [], "event_count": 7,
        "effects": [made], "effect_count": 3,
    }  # fmt: skip
    why = why_of(document, {}, None, BERLIN)
    assert (why.name, why.value, why.earlier) == ("The consents", "email marketing: yes", 2)
    [effect] = why.effects
    assert (effect.title, effect.when) == ("Consent changed", "1 Mar 2026, 11:00")
    assert [(one.what, one.before, one.after) for one in effect.changes] == [
        ("", "nothing", "email marketing: yes"),
        ("since", "nothing", "1 Mar 2026, 11:00"),
        ("granted", "yes", "no"),
    ]
    value = {**document, "field": "summary.lifetime_value_minor", "value": 61200}
    value["effects"] = [{**made, "changes": [{"path": "", "before": 70000, "after": 61200}]}]
    # An id is unique within its source only: another event of this id has a title of its own.
    titles = {
        ("e1", "billing.payment_received", made["occurred_at"]): "Payment received",
        ("e1", made["type"], made["occurred_at"]): "Order O-8 placed",
    }
    why = why_of(value, titles, "EUR", BERLIN)
    assert (why.value, why.effects[0].title) == ("612.00 €", "Order O-8 placed")
    assert why.effects[0].changes[0][1:] == ("700.00 €", "612.00 €", "−88.00 €")


def test_where_now_is_no_now_times_are_dates() -> None:
    now = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
    assert moment("2026-03-01T11:50:00Z", now) == "10 min ago"
    assert moment("2026-03-01T11:50:00Z", now, dated=True) == "1 Mar 2026"
    assert due("2026-03-02T11:50:00Z", now, dated=True) == "due 2 Mar 2026"
