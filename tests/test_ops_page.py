"""The operator's page in a real browser: what it says, what a refresh leaves alone, who may see it.

One world and one browser for all.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator

import pytest
import requests
from playwright.sync_api import Page, expect

from api.keys import SCOPES, create_key, revoke_key
from tests import servers
from tests.desk_world import violations
from tests.http_world import records
from tests.ops_world import OpsWorld, accessible, opened, ops_world

PATHS = ("/ops", "/ops/live", "/ops/letters")
# Every part of the page that refreshes.
PARTS = [
    "looked",
    "level",
    "sentence",
    "notes",
    "figures",
    "lanes",
    "odd",
    "lanes-table",
    "workers",
    "publishers",
    "tallies",
    "newer",
    "plot-lag",
    "rows-lag",
    "plot-waited",
    "rows-waited",
    "plot-rate",
    "rows-rate",
]
REFRESH = """() => new Promise((done) => {
  document.addEventListener('htmx:afterRequest', done, {once: true});
  htmx.trigger(document.getElementById('poll'), 'now');
})"""


@pytest.fixture(scope="module")
def world() -> Iterator[OpsWorld]:
    """What `scv up` starts, and Chromium."""
    servers.need("chromium")
    expect.set_options(timeout=15_000)
    with ops_world() as world:
        world.break_records()
        while not world.state()["dead_letters"]["counted"]:
            threading.Event().wait(0.05)
        yield world


def refresh(page: Page) -> None:
    """What happens every 5 s, now."""
    page.evaluate(REFRESH)


def test_it_says_how_the_installation_is_and_shows_what_it_says(world: OpsWorld) -> None:
    with world.page("ops") as page:
        opened(world, page)
        assert page.title() == "Well · Operations · scv"
        expect(page.locator("#level")).to_have_text("Well")
        assert page.locator(".figure h2").all_inner_texts() == [
            "Lag", "Throughput", "Dead letters", "Store and Kafka",
        ]  # fmt: skip
        assert page.locator(".cell.up_to_date:not([aria-hidden])").count() == 34
        expect(page.locator("#workers")).to_contain_text("This broker does not tell which workers")
        page.get_by_text("Every lane, as a table").click()
        assert page.locator("#lanes-table tbody tr").count() == 34
        for figure in page.locator(".charts figure").all():
            assert "last 5 minutes" in (figure.get_by_role("img").get_attribute("aria-label") or "")
            figure.locator("summary").click()
            assert figure.locator("tbody tr").count() >= 1
        cookies = {"scv_session": world.keys["ops"]}
        live = requests.get(f"{world.url}/ops/live", cookies=cookies, timeout=30).text
        for part in PARTS:
            assert f'id="{part}" hx-swap-oob' in live and page.locator(f"#{part}").count() == 1, part


@pytest.mark.parametrize("width", [1280, 400])
def test_everybody_can_use_it_on_any_screen_in_light_and_dark(world: OpsWorld, width: int) -> None:
    with world.page("ops", width=width) as page:
        opened(world, page)
        accessible(page)
        page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
        assert violations(page) == []
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        page.get_by_role("button", name="Inspect").first.click()
        expect(page.locator("#letter")).to_be_visible()
        accessible(page)


def test_a_broken_record_is_told_inspected_and_masked_by_keyboard_alone(world: OpsWorld) -> None:
    with world.page("ops") as page:
        opened(world, page)
        before = page.locator("#latest").inner_html()
        newest = int(page.locator("#latest [name=newest]").get_attribute("value") or "-1")
        world.break_records(0, nobody=1)
        expect(page.locator("#newer button")).to_have_text("1 new: show it")
        expect(page.locator("#notes")).to_contain_text("dead letter")
        expect(page.locator("#tallies")).to_contain_text("malformed_subject")
        assert page.locator("#latest").inner_html() == before, "what is being read stays"
        # From the top of the page to the button, with Tab alone.
        page.evaluate("document.activeElement.blur()")
        for _ in range(30):
            page.keyboard.press("Tab")
            if page.evaluate("document.activeElement.closest('#newer') !== null"):
                break
        page.keyboard.press("Enter")
        expect(page.locator("#latest li").first).to_contain_text("malformed_subject")
        expect(page.locator("#newer button")).to_have_count(0)
        expect(page.get_by_role("button", name="Inspect").first).to_be_focused()
        page.keyboard.press("Enter")
        expect(page.locator("#letter-inside")).to_contain_text(f"scv.dead-letters-0@{newest + 1}")
        expect(page.locator("#letter-inside")).to_contain_text('"subject": "…"')
        assert "Byron" not in page.content()
        page.keyboard.press("Escape")
        expect(page.locator("#letter")).to_be_hidden()
        expect(page.get_by_role("button", name="Inspect").first).to_be_focused()
    with world.page("all") as page:
        opened(world, page)
        assert "Byron" not in page.content(), "lists are masked for everybody"
        page.get_by_role("button", name="Inspect").first.click()
        expect(page.locator("#letter-inside pre")).to_contain_text('"subject": "Ada Byron"')
    looks = [one for one in records(world.kafka, "scv.audit") if one["type"] == "scv.dead_letter_read"]
    assert [one["data"]["masked"] for one in looks[-2:]] == [True, False]
    assert looks[-1]["data"]["actor"] == "E-7"


def test_a_refresh_leaves_alone_what_is_read_selected_or_the_same(world: OpsWorld) -> None:
    with world.page("ops", height=500) as page:
        opened(world, page)
        looked = page.locator("#looked").inner_text()
        page.get_by_text("As a table").first.click()
        page.evaluate(
            """() => {
              for (const part of ['#rows-lag table', '#publishers p', '#sentence']) {
                document.querySelector(part).firstChild.kept = true;
              }
              // As if other figures had come since: what is read now is another text than the server has.
              document.querySelector('#rows-lag td').textContent = 'old';
              document.querySelector('.figure h2').textContent = 'old';
              getSelection().selectAllChildren(document.querySelector('.figure'));
              document.querySelector('.figure').firstChild.kept = true;
              document.querySelector('#tallies').scrollIntoView();
            }"""
        )
        at = page.evaluate("scrollY")
        for _ in range(100):
            refresh(page)
            if page.locator("#looked").inner_text() != looked:
                break
            page.wait_for_timeout(100)
        else:
            raise AssertionError("nothing was refreshed")
        kept = "(part) => document.querySelector(part).firstChild.kept === true"
        for part in ("#rows-lag table", "#publishers p", "#sentence", ".figure"):
            assert page.evaluate(kept, part), part
        assert page.locator("#rows-lag td, .figure h2").filter(has_text="old").count() == 2
        assert page.evaluate("scrollY") == at and at > 0
        # Closed and let go of, they are as new as the rest.
        page.get_by_text("As a table").first.click()
        page.evaluate("getSelection().removeAllRanges()")
        refresh(page)
        assert page.locator("#rows-lag td, .figure h2").filter(has_text="old").count() == 0


def test_it_pauses_and_goes_on(world: OpsWorld) -> None:
    with world.page("ops") as page:
        opened(world, page)
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.get_by_role("button", name="Pause").click()
        expect(page.get_by_role("button", name="Go on")).to_have_attribute("aria-pressed", "true")
        page.evaluate("htmx.trigger(document.getElementById('poll'), 'now')")
        page.wait_for_timeout(300)
        assert asked == []
        with page.expect_request("**/ops/live*"):
            page.get_by_role("button", name="Go on").click()


def test_a_server_that_does_not_answer_is_told_and_what_was_known_stays(world: OpsWorld) -> None:
    with world.page("ops") as page:
        opened(world, page)
        world.expected += ["net::ERR_FAILED", "htmx:sendError", "htmx:afterRequest"]
        requests_of_scripts = re.compile("/ops/l")
        page.route(requests_of_scripts, lambda route: route.abort())
        page.evaluate("htmx.trigger(document.getElementById('poll'), 'now')")
        expect(page.locator("#gone")).to_contain_text("This server does not answer. What you see is as of")
        expect(page.locator("#sentence")).to_have_text("All 34 lanes are up to date.")
        page.get_by_role("button", name="Inspect").first.click()
        expect(page.locator("#letter-inside")).to_have_text(
            "The server does not answer. Try again in a moment."
        )
        page.keyboard.press("Escape")
        page.unroute(requests_of_scripts)
        refresh(page)
        expect(page.locator("#gone")).to_be_hidden()


def test_signing_in_leads_to_it_and_a_key_that_is_revoked_leads_out(world: OpsWorld) -> None:
    made, secret = create_key(world.key_file, ["ops"], "short")
    with world.page("") as page:
        page.goto(f"{world.url}/ops")
        page.get_by_label("API key").fill(secret)
        page.get_by_role("button", name="Sign in").click()
        expect(page.locator("#sentence")).to_be_visible()
        assert page.url == f"{world.url}/ops"
        world.expected.append("401")
        revoke_key(world.key_file, made.id)
        page.evaluate("htmx.trigger(document.getElementById('poll'), 'now')")
        expect(page.get_by_role("heading", name="Sign in")).to_be_visible()


def test_it_opens_to_the_scope_ops_and_to_no_other(world: OpsWorld) -> None:
    keys = {scope: create_key(world.key_file, [scope], scope)[1] for scope in SCOPES}
    shown = world.state()["dead_letters"]["latest"][0]
    letter = "/ops/letters/{topic}-{partition}@{offset}".format(**shown)
    for path in (*PATHS, letter):
        for scope, key in keys.items():
            found = requests.get(world.url + path, cookies={"scv_session": key}, timeout=30)
            assert found.status_code == (200 if scope == "ops" else 403), (path, scope)
            assert scope == "ops" or "needs a key with the scope ops" in found.text
        for key in ("", "x", keys["ops"] + "x"):
            cookies = {"scv_session": key}
            found = requests.get(world.url + path, cookies=cookies, timeout=30, allow_redirects=False)
            assert found.status_code == (303 if path == "/ops" else 401), (path, key)
        # A header opens the API and no page.
        bearer = {"Authorization": f"Bearer {keys['ops']}"}
        found = requests.get(world.url + path, headers=bearer, timeout=30, allow_redirects=False)
        assert found.status_code in (303, 401)
