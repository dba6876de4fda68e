"""What is decided on the operator's page, in a real browser: dead letters are settled, generations promoted.

One world and one browser for all.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator

import pytest
import requests
from playwright.sync_api import Page, expect

from api.keys import create_key
from tests import servers
from tests.http_world import records
from tests.ops_world import OpsWorld, accessible, opened, ops_world


@pytest.fixture(scope="module")
def world() -> Iterator[OpsWorld]:
    """What `scv up` starts, and Chromium."""
    servers.need("chromium")
    expect.set_options(timeout=15_000)
    with ops_world() as world:
        yield world


def broken(world: OpsWorld, page: Page, **records: int) -> str:
    """Write a broken record, and open the page with its letter; the position of it."""
    known = {one["place"] for one in world.state()["dead_letters"]["latest"]}
    world.break_records(0, **records)
    for _ in range(600):
        latest = world.state()["dead_letters"]["latest"]
        if latest and latest[0]["place"] not in known:
            break
        threading.Event().wait(0.05)
    opened(world, page)
    position = page.locator("#latest [data-mark]").first.get_attribute("data-mark")
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
        position = broken(world, page, amounts=1)
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
        # Whoever still has the letter open does nothing twice.
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


def inspect_again(page: Page, position: str) -> None:
    page.keyboard.press("Escape")
    inspect(page, position)


def test_with_ops_alone_a_letter_is_redriven_as_it_was_or_discarded_and_not_corrected(
    world: OpsWorld,
) -> None:
    with world.page("ops", actor="") as page:
        world.expected += ["422"]
        position = broken(world, page, torn=1)
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
        position = broken(world, page, amounts=1)
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
