"""What is decided on the operator's page, in a real browser: dead letters are settled, generations promoted.

One world and one browser for all.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest
import requests
from playwright.sync_api import Page, expect
from redis import Redis

from api.keys import create_key
from eventlog.ends import lane_ends
from models.catalogue import SOURCES
from models.record import Lane
from stores.progress import read_progress
from stores.rebuilding import Rebuilds, State
from tests import servers
from tests.http_world import records
from tests.ops_world import OpsWorld, accessible, opened, ops_world


@pytest.fixture(scope="module")
def world() -> Iterator[OpsWorld]:
    """What `scv up` starts, with three broken records, and Chromium."""
    servers.need("chromium")
    expect.set_options(timeout=15_000)
    with ops_world() as world:
        world.break_records(0, amounts=2, torn=1)
        while world.state()["dead_letters"]["open"] < 3:
            threading.Event().wait(0.05)
        yield world


def letter_of(world: OpsWorld, page: Page, reason: str) -> str:
    """Open the page and its newest open letter of this reason; the position of it."""
    opened(world, page)
    position = page.locator(f'#latest li:has-text("{reason}") [data-mark]').first.get_attribute("data-mark")
    assert position is not None
    inspect(page, position)
    return position


def inspect(page: Page, position: str) -> None:
    page.get_by_role("button", name=f"Inspect {position}").click()
    expect(page.locator("#letter-inside")).to_contain_text(position)


def tab_to(page: Page, part: str) -> None:
    """Press Tab until the focus is in this part."""
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.evaluate("(part) => document.activeElement.closest(part) !== null", part):
            return
    raise AssertionError(f"Tab does not lead to {part}")


def marked(page: Page, position: str) -> str:
    return page.locator(f'[data-mark="{position}"]').inner_text()


def test_a_letter_is_corrected_checked_and_redriven_once_by_keyboard_alone(world: OpsWorld) -> None:
    with world.page("all") as page, world.page("ops", actor="") as late:
        world.expected += ["422", "409"]
        position = letter_of(world, page, "wrong_shape")
        orders = (world.profile("crm:4711") or {"sales": {"order_count": 0}})["sales"]["order_count"]
        counted = page.locator("#tallies p").inner_text()
        opened(world, late)
        inspect(late, position)
        tab_to(page, "#ways summary")
        page.keyboard.press("Enter")
        tab_to(page, "[name=as]")
        page.keyboard.press("ArrowDown")
        accessible(page)
        tab_to(page, "textarea")
        assert '"amount_minor": "49.90"' in page.locator("textarea").input_value()
        answer = page.locator("#answer")
        tab_to(page, "[name=check]")
        page.keyboard.press("Enter")
        expect(answer).to_contain_text(
            "it would be a dead letter again, wrong_shape at /data/amount_minor: Input should be"
        )
        for _ in range(3):
            page.keyboard.press("Shift+Tab")
        assert page.evaluate("document.activeElement.name") == "event"
        right = page.locator("textarea").input_value().replace('"49.90"', "4990")
        page.keyboard.press("Control+A")
        page.keyboard.insert_text(right)
        tab_to(page, "[name=check]")
        page.keyboard.press("Enter")
        expect(answer).to_contain_text("It is right: it would go to sales.events, as you corrected it.")
        assert marked(page, position) == "", "to look changes nothing"
        page.keyboard.press("Shift+Tab")
        page.keyboard.press("Enter")
        expect(answer).to_contain_text("Nothing was written: say why, in words")
        assert page.locator("textarea").input_value() == right, "what was typed stays"
        page.keyboard.press("Shift+Tab")
        page.keyboard.type("the shop wrote text")
        page.keyboard.press("Enter")
        expect(page.locator("#become")).to_contain_text("Redriven: it is in sales.events again")
        expect(page.locator("#become .notice")).to_be_focused()
        assert page.locator("#ways").count() == 0
        accessible(page)
        assert marked(page, position) == "redriven"
        expect(page.locator("#tallies p")).not_to_have_text(counted)
        page.keyboard.press("Escape")
        expect(page.get_by_role("button", name=f"Inspect {position}")).to_be_focused()
        does_nothing_twice(late, position)
        for _ in range(200):
            found = world.profile("crm:4711")
            if found and found["sales"]["order_count"] > orders:
                break
            page.wait_for_timeout(50)
        assert found["sales"]["order_count"] == orders + 1
        opened(world, page)
        assert page.locator(f'[data-mark="{position}"]').count() == 0, "lists have open ones only"
    settled = [one for one in records(world.kafka, "scv.dead-letters.settled") if one["subject"] == position]
    assert [(one["type"], one["data"]["actor"]) for one in settled] == [("scv.dead_letter_redriven", "E-7")]


def does_nothing_twice(late: Page, position: str) -> None:
    """Whoever still has a letter open that is settled."""
    late.get_by_text("Discard: nothing").click()
    late.get_by_label("Your number").last.fill("E-9")
    late.get_by_label("Why").last.fill("a test")
    late.get_by_role("button", name="Discard").click()
    become = late.locator("#become")
    expect(become).to_contain_text("Nothing was written: somebody was quicker.")
    expect(become).to_contain_text("Redriven to sales.events, corrected, by E-7")
    assert marked(late, position) == "redriven"
    inspect_again(late, position)
    expect(become).to_contain_text("by E-7")
    assert late.locator("#ways").count() == 0


def inspect_again(page: Page, position: str) -> None:
    page.keyboard.press("Escape")
    inspect(page, position)


def test_with_ops_alone_a_letter_is_redriven_as_it_was_or_discarded_and_not_corrected(
    world: OpsWorld,
) -> None:
    with world.page("ops", actor="") as page:
        world.expected += ["422"]
        position = letter_of(world, page, "not_json")
        page.get_by_text("Redrive: write it again").click()
        assert page.locator("#ways textarea, [name=as]").count() == 0
        expect(page.locator("#ways")).to_contain_text("the scope events:write is needed")
        page.get_by_label("Your number").first.fill("E-9")
        page.get_by_label("Why").first.fill("to see")
        page.get_by_role("button", name="Redrive").click()
        expect(page.locator("#answer")).to_contain_text("it would be a dead letter again, not_json")
        page.get_by_text("Discard: nothing").click()
        page.get_by_label("Why").last.fill("cut off")
        page.get_by_role("button", name="Discard").click()
        expect(page.locator("#answer")).to_contain_text("Nothing was written: say who decides")
        page.get_by_label("Your number").last.fill("E-9")
        page.get_by_role("button", name="Discard").click()
        expect(page.locator("#become")).to_contain_text("Discarded. The record stays where it lies")
        assert marked(page, position) == "discarded"
        accessible(page)


def test_a_letter_is_settled_from_pages_of_this_server_and_with_the_scopes_of_the_api_only(
    world: OpsWorld,
) -> None:
    with world.page("ops") as page:
        position = letter_of(world, page, "wrong_shape")
    path = f"{world.url}/ops/letters/{position}"
    before = records(world.kafka, "scv.dead-letters.settled")

    def post(verb: str, key: str, origin: str | None, **form: str) -> requests.Response:
        headers = {} if origin is None else {"Origin": origin}
        return requests.post(
            f"{path}/{verb}", data={"reason": "x", **form}, headers=headers, timeout=30,
            cookies={"scv_session": f"{world.keys[key]}~E-7"},
        )  # fmt: skip

    for verb in ("redrive", "discard"):
        for origin in (None, "https://elsewhere.example", "null"):
            refused = post(verb, "all", origin)
            assert (refused.status_code, refused.json()["code"]) == (403, "forbidden"), origin
        refused = post(verb, "desk", world.url)
        assert refused.status_code == 403 and "the scope ops" in refused.text
    refused = post("redrive", "ops", world.url, **{"as": "corrected", "event": "{}"})
    assert (
        refused.status_code == 403
        and "Nothing was written: this needs a key with the scope events:write" in (refused.text)
    )
    # A command about who is who, where events belong.
    link = {"subject": "crm:4711", "other": "shop:9", "actor": "E-7", "reason": "asked"}
    command = {"specversion": "1.0", "id": "l", "source": "s", "type": "identity.link",
               "subject": "crm:4711", "data": link}  # fmt: skip
    world.keys["writer"] = create_key(world.key_file, ["ops", "events:write"], "writer")[1]
    refused = post("redrive", "writer", world.url, **{"as": "corrected", "event": json.dumps(command)})
    assert refused.status_code == 403 and "the scope identity:write" in refused.text
    assert records(world.kafka, "scv.dead-letters.settled") == before
    assert records(world.kafka, "identity.commands") == []


def rebuild(world: OpsWorld, *words: str) -> None:
    """Run `scv rebuild`."""
    where = ["--kafka", world.kafka, "--redis", world.redis]
    subprocess.run([sys.executable, "-m", "ops.cli", "rebuild", *words, *where], check=True, timeout=120)


def assembled(world: OpsWorld, generation: str) -> int:
    """How many records of the log the profiles of a generation show."""
    lanes = [Lane(*lane) for lane in lane_ends(world.kafka, SOURCES)]
    return sum(at for _, _, at in read_progress(world.redis, generation, lanes).values())


def refresh_until(page: Page, part: str) -> None:
    """Refresh the page until it has this part: the server looks every 5 s, whatever the page does."""
    while not page.locator(part).count():
        page.evaluate("htmx.trigger(document.getElementById('poll'), 'now')")
        page.wait_for_timeout(100)


def change(page: Page, button: str, reason: str) -> None:
    """Ask for a change by keyboard alone, and give this reason."""
    page.evaluate("document.activeElement.blur()")
    tab_to(page, f"#{button}")
    page.keyboard.press("Enter")
    expect(page.locator("#change form [name=reason]")).to_be_visible()
    accessible(page)
    tab_to(page, "[name=reason]")
    page.keyboard.type(reason)
    page.keyboard.press("Enter")


def test_a_generation_is_promoted_and_rolled_back_with_a_word_of_what_readers_will_see(
    world: OpsWorld,
) -> None:
    world.happen(60)
    with world.page("ops") as page:
        world.expected += ["409"]
        opened(world, page)
        expect(page.locator("#generations")).to_contain_text("Readers see it")
        assert page.locator("#generations button").count() == 0, "the only one is neither promoted nor left"
        rebuild(world, "start", "--execute", "--no-follow")
        change_of = page.locator("#change-inside")
        refresh_until(page, "#promote-g2")
        change(page, "promote-g2", "delivered orders")
        expect(change_of).to_contain_text("Readers see g2 now, by promotion 2. g1 stays as it is.")
        expect(change_of.locator(".notice")).to_be_focused()
        accessible(page)
        page.keyboard.press("Escape")
        expect(page.locator("#rollback-g1")).to_be_visible()
        assert page.locator("#promote-g2").count() == 0
        change(page, "rollback-g1", "counts twice")
        expect(change_of).to_contain_text("Readers see g1 now, by promotion 3. g2 stays as it is.")
        page.keyboard.press("Escape")
        # Nobody follows with g2: soon it lacks something, and is refused.
        world.happen(30)
        while assembled(world, "g1") <= assembled(world, "g2"):
            page.wait_for_timeout(50)
        page.locator("#promote-g2").click()
        expect(change_of).to_contain_text("Refused, and nothing was changed: g2 is behind g1: ")
        assert change_of.locator("form").count() == 0
        accessible(page)
        # Whoever rests on a button still sees figures move, and stays on it.
        page.keyboard.press("Escape")
        page.locator("#promote-g2").focus()
        page.evaluate("document.querySelector('#generations h3').textContent = 'old'")
        page.evaluate("htmx.trigger(document.getElementById('poll'), 'now')")
        expect(page.locator("#generations h3").first).to_have_text("g1")
        expect(page.locator("#promote-g2")).to_be_focused()
    told = [one["data"] for one in records(world.kafka, "scv.generations")]
    assert [(one["generation"], one["actor"], one["reason"]) for one in told[1:]] == [
        ("g2", "E-7", "delivered orders"),
        ("g1", "E-7", "counts twice"),
    ]


def test_a_rebuild_in_flight_shows_how_far_it_is_and_who_left_it(world: OpsWorld) -> None:
    with Redis.from_url(world.redis) as client, world.page("ops") as page:
        rebuilds = Rebuilds(client)
        assert rebuilds.hold("g2") is None
        told = {"done": 49_600, "total": 80_000, "per_second": 21_500.0, "paused": False}
        rebuilds.update("g2", state=State.FOLDING, **told)
        page.goto(f"{world.url}/ops")
        refresh_until(page, "article svg.bar")
        shown = page.get_by_role("article", name="g2")
        expect(shown).to_contain_text("62 % of this stage: 49,600 of 80,000 records")
        expect(shown).to_contain_text("21,500 a second")
        expect(shown).to_contain_text("about 1 s")
        assert shown.locator("button").count() == 0
        accessible(page)
        rebuilds.let_go("g2")
        refresh_until(page, "article .badge.warn")
        expect(shown).to_contain_text("To go on: scv rebuild start --execute --generation g2")
        expect(shown).not_to_contain_text("a second")


def test_what_readers_see_changes_from_pages_of_this_server_and_with_the_scope_ops_only(
    world: OpsWorld,
) -> None:
    before = records(world.kafka, "scv.generations")
    form = {"number": str(len(before)), "reason": "x"}
    for verb in ("promote", "rollback"):
        path = f"{world.url}/ops/generations/g2/{verb}"
        for key, origin in (("all", None), ("all", "https://elsewhere.example"), ("desk", world.url)):
            refused = requests.post(
                path, data=form, headers={} if origin is None else {"Origin": origin}, timeout=30,
                cookies={"scv_session": f"{world.keys[key]}~E-7"},
            )  # fmt: skip
            assert refused.status_code == 403, (key, origin)
        assert requests.get(path, cookies={"scv_session": world.keys["desk"]}, timeout=30).status_code == 403
    assert records(world.kafka, "scv.generations") == before
