"""The agent's page in a real browser: flows as an agent has them, and what everybody must be able to use.

One world and one browser for all; tests that end something of it stand last.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from models.identifiers import customer_id
from ops.demo_tries import ADAS_CALL, BROKEN, PAID
from ops.up import page_link
from tests import servers
from tests.desk_world import ADA, ADAS_PHONE, FAMILY_PHONE, DeskWorld, desk_world, in_days, violations


@pytest.fixture(scope="module")
def world() -> Iterator[DeskWorld]:
    """Everything that `scv up` starts, a few customers, and Chromium."""
    servers.need("chromium")
    expect.set_options(timeout=10_000)
    with desk_world() as world:
        yield world


LEFT = "(all) => all.map((one) => one.getBoundingClientRect().left)"
# What the focus is on, by what it opens, filters or is.
REACHED = """(({dataset, id}) => dataset.open || dataset.filter || id)(document.activeElement)"""


def accessible(page: Page) -> None:
    """No finding of axe-core, in light and in dark."""
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        assert (scheme, violations(page)) == (scheme, [])
    page.emulate_media(color_scheme="light")


def call_ada(world: DeskWorld, page: Page) -> None:
    world.call(page, f"phone={ADAS_PHONE}")
    expect(page.locator("#customer-name")).to_be_focused()


def test_a_call_arrives_and_the_answer_is_on_the_screen(world: DeskWorld) -> None:
    with world.page() as page:
        call_ada(world, page)
        expect(page.locator("#customer-name")).to_have_text("A… B…")
        expect(page.locator(".reason-text")).to_have_text("Invoice I-88: card expired")
        assert page.locator(".alert b").all_inner_texts() == [
            "Payment failing",
            "Broken promise",
            "Detractor",
        ]
        expect(page.locator(".step-what")).to_contain_text("Ask for another card")
        expect(page.locator("#freshness-word")).to_have_text("Live")
        expect(page.locator(".about")).to_contain_text("German")
        assert re.search(r"\d\d:\d\d in Berlin", page.locator(".about").inner_text())
        # Nothing scrolls but the timeline, and the address keeps nobody's number.
        assert page.evaluate("document.scrollingElement.scrollHeight <= innerHeight")
        assert page.evaluate("(t => t.scrollHeight > t.clientHeight)(document.querySelector('#timeline'))")
        assert page.url == f"{world.url}/agent"
        text = page.locator("#customer").inner_html()
        assert [word for word in ("Byron", "901820", "ada@", "Linden", "1985-12-10") if word in text] == []
        accessible(page)
    read = [one["data"] for one in world.audited("scv.profile_read") if one["subject"] == ADA]
    assert ("lookup", "E-7", "inbound_call", True) in [
        (one["action"], one["actor"], one["purpose"], one["masked"]) for one in read
    ]


def test_a_key_for_personal_data_sees_it_and_one_for_little_sees_little(world: DeskWorld) -> None:
    with world.page("all", actor="") as page:
        call_ada(world, page)
        expect(page.locator("#customer-name")).to_have_text("Ada Byron")
        expect(page.locator("#fact-email")).to_have_text("ada@example.com")
        expect(page.locator(".peek")).to_have_count(0)
    with world.page("bare") as page:
        call_ada(world, page)
        expect(page.locator(".timeline-card")).to_contain_text("timeline:read")
        expect(page.locator("#timeline, [data-open='wrap-up'], [data-open='verify'], .peek")).to_have_count(0)
        accessible(page)


def test_several_customers_are_offered_and_the_agent_chooses(world: DeskWorld) -> None:
    with world.page() as page:
        world.call(page, f"phone={FAMILY_PHONE}")
        expect(page.locator("#several .badge")).to_have_text("Maybe · 3")
        expect(page.locator("#customer")).to_have_count(0)
        assert sorted(page.locator(".candidate b").all_inner_texts()) == ["I… O…", "M… L…", "T… O…"]
        expect(page.locator(".candidate").first).to_be_focused()
        accessible(page)
        wanted = page.locator(".candidate", has_text="T… O…").get_attribute("data-key")
        page.keyboard.press(wanted or "")
        expect(page.locator("#customer")).to_have_attribute("data-customer", customer_id("crm:7002"))


def test_whoever_fits_one_name_more_comes_first_and_is_still_no_silent_pick(world: DeskWorld) -> None:
    with world.page() as page:
        world.call(page, f"phone={FAMILY_PHONE}")
        expect(page.locator(".candidate").first).to_contain_text("I… O…")
        page.get_by_label("Or ask for one thing more").fill("O-7003")
        page.get_by_role("button", name="Look up both").click()
        expect(page.locator(".candidate").first).to_contain_text("M… L…")
        expect(page.locator(".candidate").first).to_contain_text("order O-7003")
        expect(page.locator("#customer")).to_have_count(0)


def test_an_unknown_caller_is_nobody_until_something_else_leads_to_them(world: DeskWorld) -> None:
    with world.page() as page:
        world.call(page, "phone=+4930000001")
        expect(page.locator("#unknown .badge")).to_have_text("Unknown")
        expect(page.locator("#unknown input")).to_be_focused()
        accessible(page)
        page.keyboard.type("O-7001")
        page.keyboard.press("Enter")
        expect(page.locator("#customer")).to_have_attribute("data-customer", customer_id("crm:7001"))


def top_of(page: Page, event_id: str) -> Any:
    return page.locator(f"[data-event='{event_id}']").evaluate("(one) => one.getBoundingClientRect().top")


def test_what_happens_meanwhile_moves_nothing_until_it_is_asked_for(world: DeskWorld) -> None:
    with world.page() as page:
        call_ada(world, page)
        page.locator("#timeline").evaluate("(timeline) => timeline.scrollTo(0, 300)")
        read = page.locator(".entry").nth(14).get_attribute("data-event") or ""
        before = top_of(page, read)
        new = world.write(
            "service.complaint_made", "crm:4711", complaint_id="K-1", topic="billing.double_charge"
        )
        button = page.locator("#news button")
        expect(button).to_contain_text("1 new event · Complaint open")
        assert top_of(page, read) == before and page.locator(f"[data-event='{new}']").count() == 0
        accessible(page)
        page.keyboard.press("n")
        expect(page.locator(f"[data-event='{new}'].new")).to_be_visible()
        expect(page.locator(".alert b").first).to_have_text("Complaint open")
        expect(button).to_have_count(0)
        world.write("service.complaint_settled", "crm:4711", complaint_id="K-1")
        expect(button).to_contain_text("1 new event")


def test_a_customer_that_is_merged_while_open_stays_until_the_agent_goes_on(world: DeskWorld) -> None:
    email = [{"type": "email", "value": "nora.visits@example.com"}]
    world.write("marketing.page_viewed", "web:visitor-1", page="/prices", identifiers=email)
    with world.page() as page:
        world.call(page, "email=nora.visits@example.com")
        expect(page.locator("#customer")).to_have_attribute("data-customer", customer_id("web:visitor-1"))
        before = page.locator("#customer").evaluate("(one) => one.getBoundingClientRect().top")
        world.write("sales.order_placed", "crm:9001", order_id="O-9001", amount_minor=7990, currency="EUR",
                    identifiers=email)  # fmt: skip
        expect(page.locator("#word-in")).to_contain_text("Merged while open")
        expect(page.locator("#customer")).to_have_attribute("data-customer", customer_id("web:visitor-1"))
        assert page.locator("#customer").evaluate("(one) => one.getBoundingClientRect().top") == before
        accessible(page)
        page.keyboard.press("n")
        expect(page.locator("#customer")).to_have_attribute("data-customer", customer_id("crm:9001"))
        expect(page.locator("#word-in")).to_be_empty()
        # And apart again: the merged customer stays under its id, the other one is news.
        world.part("web:visitor-1", "crm:9001")
        expect(page.locator("#news button")).to_contain_text("Updated")
        page.keyboard.press("n")
        expect(page.locator(".subjects")).to_have_text("crm:9001")


def test_masked_data_is_revealed_for_a_reason_that_is_written_down_first(world: DeskWorld) -> None:
    with world.page() as page:
        call_ada(world, page)
        page.get_by_role("button", name="Reveal the phone number").click()
        accessible(page)
        page.get_by_role("button", name="Reveal", exact=True).click()
        expect(page.locator("#reveal")).to_be_visible()
        page.locator("#reveal").get_by_label("Why").fill("Call back")
        page.locator("#reveal").get_by_label("Name").check()
        page.keyboard.press("Enter")
        expect(page.locator("#reveal")).to_be_hidden()
        expect(page.locator("#fact-phone")).to_have_text("+4930901820")
        expect(page.locator("#fact-name")).to_have_text("Ada Byron")
        expect(page.locator("#fact-email")).to_have_text("a…@…")
        # What was revealed stays so through news.
        world.write("sales.lead_created", "crm:4711", lead_id="L-77")
        page.locator("#news button").click()
        expect(page.locator(".entry.new")).to_have_count(1)
        expect(page.locator("#fact-phone")).to_have_text("+4930901820")
        accessible(page)
    told = world.audited("scv.profile_revealed")[-1]
    assert (told["subject"], told["data"]["reason"], told["data"]["actor"]) == (ADA, "Call back", "E-7")
    assert set(told["data"]["fields"]) == {"name", "phone"}


def test_a_caller_is_verified_by_what_they_say_and_nothing_is_shown(world: DeskWorld) -> None:
    with world.page() as page:
        call_ada(world, page)
        page.keyboard.press("v")
        page.locator("#verify").get_by_label("Date of birth").fill("1985-12-10")
        page.get_by_label("Postal code").fill("10 999")
        page.get_by_role("button", name="Compare").click()
        expect(page.locator("#verdict")).to_contain_text("Postal code: does not fit")
        expect(page.locator("#verdict")).to_contain_text("Not verified")
        accessible(page)
        assert "10117" not in page.content()
        page.get_by_label("Postal code").fill("10 117")
        page.keyboard.press("Enter")
        expect(page.locator("#verdict")).to_contain_text("Verified.")
        page.keyboard.press("Escape")
        expect(page.locator("#verified")).to_contain_text("Verified")
    told = world.audited("scv.caller_verified")[-1]
    assert told["data"]["fields"] == ["birthdate", "postal_code"] and told["data"]["verified"] is True
    assert "1985" not in str(told) and "10117" not in str(told)


def test_what_is_wrapped_up_becomes_events_that_are_folded(world: DeskWorld) -> None:
    with world.page() as page:
        world.call(page, "crm=7001")
        expect(page.locator("#customer-name")).to_be_focused()
        page.keyboard.press("w")
        page.get_by_label("I promise").fill("Send the invoice again")
        page.get_by_label("I will follow up").check()
        page.get_by_role("button", name="Save").click()
        # The browser asks for what is missing: nothing was sent.
        expect(page.locator("#saved")).to_be_empty()
        page.get_by_label("Call back", exact=True).check()
        page.get_by_label("Note").fill("Moved house")
        page.locator("[name=promise_due]").fill("2020-01-01T10:00")
        page.get_by_role("button", name="Save").click()
        expect(page.locator(".form-error")).to_contain_text("lies in the past")
        world.expected.append("422")
        accessible(page)
        page.locator("[name=promise_due]").fill("2031-05-06T12:00")
        page.keyboard.press("Control+Enter")
        expect(page.locator("#word-in")).to_contain_text("4 events written")
        expect(page.locator("#wrap-up")).to_be_hidden()
        expect(page.locator(".entry.new")).to_have_count(4)
    service = world.profile("crm:7001")["service"]
    assert service["last_contact"]["employee_id"] == "E-7" and service["contact_count"] == 1
    (promise,) = service["promises"]["open"]
    assert (promise["text"], promise["due_at"]) == ("Send the invoice again", "2031-05-06T10:00:00Z")
    with world.page() as page:
        world.call(page, "crm=7001")
        page.get_by_role("button", name="Wrap up").click()
        page.get_by_label("Kept: Promised", exact=False).or_(page.get_by_label("Kept: …")).check()
        page.get_by_label("Solved", exact=True).check()
        page.get_by_role("button", name="Save").click()
        expect(page.locator("#word-in")).to_contain_text("2 events written")
    service = world.profile("crm:7001")["service"]
    assert (service["contact_count"], service["promises"]) == (
        2,
        {"kept_count": 1, "broken_count": 0, "open": []},
    )


def test_a_form_that_is_sent_twice_writes_nothing_twice(world: DeskWorld) -> None:
    with world.page() as page:
        world.call(page, "crm=7002")
        page.get_by_role("button", name="Wrap up").click()
        twice = """async () => {
            const form = document.querySelector("#wrap-up-form");
            const body = new URLSearchParams(new FormData(form));
            body.set("disposition", "solved");
            const send = () => fetch(form.getAttribute("hx-post"), {method: "POST", body});
            return [(await send()).status, (await send()).status];
        }"""
        assert page.evaluate(twice) == [200, 200]
        expect(page.locator("#news button")).to_contain_text("1 new event")
    assert world.profile("crm:7002")["service"]["contact_count"] == 1


def test_a_call_never_throws_away_what_is_being_written(world: DeskWorld) -> None:
    with world.page() as page:
        call_ada(world, page)
        page.keyboard.press("w")
        page.get_by_label("Note").fill("wants a callback")
        page.evaluate("location.hash = 'crm=7003'")
        expect(page.locator("#word-in")).to_contain_text("Another call")
        expect(page.locator("#customer")).to_have_attribute("data-customer", ADA)
        assert page.get_by_label("Note").input_value() == "wants a callback"
        accessible(page)
        # Nor does a look-up by hand: the browser asks, and here nobody agrees.
        page.keyboard.press("Control+k")
        page.keyboard.type("crm:7002")
        asked: list[str] = []
        page.once("dialog", lambda dialog: (asked.append(dialog.message), dialog.dismiss()))
        page.keyboard.press("Enter")
        page.keyboard.press("Escape")
        assert len(asked) == 1
        expect(page.locator("#customer")).to_have_attribute("data-customer", ADA)
        page.get_by_role("button", name="Open the caller").click()
        expect(page.locator("#customer")).to_have_attribute("data-customer", customer_id("crm:7003"))


def test_everything_goes_by_keyboard(world: DeskWorld) -> None:
    with world.page() as page:
        page.goto(f"{world.url}/agent")
        expect(page.locator("#welcome")).to_be_visible()
        accessible(page)
        page.keyboard.press("?")
        expect(page.locator("#help")).to_be_visible()
        accessible(page)
        page.keyboard.press("Escape")
        page.keyboard.press("Control+k")
        accessible(page)
        page.keyboard.type("+49 30 901820")
        page.keyboard.press("Enter")
        expect(page.locator("#customer-name")).to_be_focused()
        page.keyboard.press("t")
        page.keyboard.press("End")
        expect(page.locator("#timeline")).to_be_focused()
        page.keyboard.press("r")
        expect(page.locator("#reveal")).to_be_visible()
        page.keyboard.press("Escape")
        page.keyboard.press("w")
        expect(page.locator("#wrap-up")).to_be_visible()
        page.keyboard.press("n")
        page.keyboard.press("Escape")
        expect(page.locator("#wrap-up")).to_be_hidden()
        reached = set()
        for _ in range(40):
            page.keyboard.press("Tab")
            reached.add(page.evaluate(REACHED))
        assert {"look-up", "help", "verify", "reveal", "wrap-up", "service", "timeline"} <= reached
        # Who speaks to the machine can switch single keys off.
        page.keyboard.press("?")
        page.get_by_label("Single keys work").uncheck()
        page.keyboard.press("Escape")
        page.keyboard.press("w")
        expect(page.locator("#wrap-up")).to_be_hidden()


def test_a_phone_held_upright_has_one_column_and_no_sideways_scrolling(world: DeskWorld) -> None:
    with world.page(width=400, height=800) as page:
        ada, family = f"phone={ADAS_PHONE}", f"phone={FAMILY_PHONE}"
        for fragment, place in ((ada, "#customer"), (family, "#several"), ("order=none", "#unknown")):
            world.call(page, fragment)
            expect(page.locator(place)).to_be_visible()
            for width in (320, 400):
                page.set_viewport_size({"width": width, "height": 800})
                assert page.evaluate("document.scrollingElement.scrollWidth <= innerWidth"), width
            lefts = page.locator(".columns > *").evaluate_all(LEFT)
            assert len(set(lefts)) <= 1
            accessible(page)


def test_a_link_signs_in_and_a_telephony_system_on_another_site_may_open_the_page(world: DeskWorld) -> None:
    with world.page(key="") as page:
        page.goto(f"{world.url}/agent")
        accessible(page)
        page.goto(page_link(world.installation, ADAS_CALL))
        expect(page.locator("#customer-name")).to_be_focused()
        assert page.url == f"{world.url}/agent" and world.keys["desk"] not in page.content()
        page.goto(f"{world.url.replace('127.0.0.1', 'localhost')}/docs")
        page.evaluate(f"location.href = '{world.url}/agent#crm=7002'")
        expect(page.locator("#customer")).to_have_attribute("data-customer", customer_id("crm:7002"))
        page.get_by_role("button", name="Sign out").click()
        expect(page.get_by_label("API key")).to_be_visible()


def test_what_the_demo_offers_to_try_does_what_it_says(world: DeskWorld) -> None:
    with world.page() as page:
        call_ada(world, page)
        expect(page.locator(".alert b").first).to_have_text("Payment failing")
        assert world.post(PAID).status_code == 202
        page.locator("#news button").click()
        expect(page.locator(".entry.new")).to_contain_text("Payment received")
        expect(page.locator(".alerts")).not_to_contain_text("Payment failing")
        refused = world.post(BROKEN).json()
        assert (refused["code"], refused["pointer"]) == ("invalid_event", "/data/amount_minor")


def test_a_line_that_breaks_is_told_and_what_was_missed_is_news(world: DeskWorld) -> None:
    with world.page() as page:
        world.expected.append("ERR_INTERNET_DISCONNECTED")
        call_ada(world, page)
        page.context.set_offline(True)
        expect(page.locator("#freshness-word")).to_have_text("Disconnected")
        expect(page.locator("#word-in")).to_contain_text("What you see may be old")
        accessible(page)
        world.write("service.promise_made", "crm:4711", promise_id="PR-9", text="x", due_at=in_days(1))
        page.context.set_offline(False)
        expect(page.locator("#freshness-word")).to_have_text("Live")
        expect(page.locator("#news button")).to_contain_text("1 new event")


def test_a_view_that_nobody_keeps_current_says_how_old_it_is(world: DeskWorld) -> None:
    with world.page() as page:
        call_ada(world, page)
        world.installation._workers[0].stop(20)
        expect(page.locator("#freshness-word")).to_have_text(re.compile(r"\d+ s ago"))
        expect(page.locator("#word-in")).to_contain_text("What has happened since is missing")
        accessible(page)
