"""Scenes of the operator's page for its pictures: an installation at work, and what may befall it.

Guarantees:
- What is shown happened: events were written and folded, records were broken, workers and store ended.
"""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable

from playwright.sync_api import Page, expect

from tests.ops_world import KafkaWorld

HISTORY_SECONDS = 180
BURST_EVENTS = 20_000


def ops_history(world: KafkaWorld) -> None:
    """Some minutes of work, with one burst and a few broken records: something for charts to show."""
    pause = threading.Event()
    for second in range(HISTORY_SECONDS // 2):
        world.happen(BURST_EVENTS if second == 40 else 20 + second % 9)
        if second % 17 == 5:
            world.break_records(misspelt=second % 3, amounts=1, nobody=second % 2, torn=second % 5 == 0)
        pause.wait(2)


def well(world: KafkaWorld, page: Page) -> None:
    """All is well."""
    page.goto(f"{world.url}/ops")
    expect(page.locator("#sentence")).to_contain_text("are up to date")
    expect(page.locator("#looked")).to_contain_text("UTC")


def letter(world: KafkaWorld, page: Page) -> None:
    """One dead letter is looked at."""
    well(world, page)
    page.get_by_role("button", name="Inspect").first.click()
    expect(page.locator("#letter pre")).to_be_visible()


def redrive(world: KafkaWorld, page: Page) -> None:
    """Somebody who may correct events does."""
    well(world, page)
    shown = page.locator('#latest li:has-text("wrong_shape")').first
    shown.get_by_role("button", name="Inspect").click()
    page.get_by_text("Redrive: write it again").click()
    page.get_by_label("Corrected", exact=True).check()
    text = page.locator("textarea")
    text.fill(text.input_value().replace('"49.90"', "4990"))
    page.locator("#ways [name=reason]").first.fill("the shop wrote text")
    page.get_by_role("button", name="Only check").click()
    expect(page.locator("#answer")).to_contain_text("It is right")
    page.locator("#answer").scroll_into_view_if_needed()


def _rebuild(world: KafkaWorld, *words: str) -> subprocess.Popen[bytes]:
    where = ["--kafka", world.kafka, "--redis", world.redis]
    return subprocess.Popen([sys.executable, "-m", "ops.cli", "rebuild", "start", *words, *where])


def rebuild(world: KafkaWorld, page: Page) -> None:
    """Another generation is built, slowly, beside the one that readers see."""
    well(world, page)
    building = _rebuild(world, "--execute", "--no-follow", "--throttle", "2000")
    try:
        shown = page.get_by_role("article", name="g2")
        expect(shown).to_contain_text("Time left", timeout=60_000)
        shown.scroll_into_view_if_needed()
    finally:
        building.terminate()
        building.wait()


def promote(world: KafkaWorld, page: Page) -> None:
    """It is whole; somebody is about to let readers see it."""
    assert _rebuild(world, "--execute", "--no-follow").wait() == 0
    well(world, page)
    page.get_by_role("button", name="Promote g2").click(timeout=60_000)
    page.locator("#change [name=reason]").fill("delivered orders")


def behind(world: KafkaWorld, page: Page) -> None:
    """More comes than is folded."""
    page.goto(f"{world.url}/ops")
    world.happen(4 * BURST_EVENTS)
    expect(page.locator("#sentence")).to_contain_text("catching up", timeout=120_000)


def no_worker(world: KafkaWorld, page: Page) -> None:
    """Both workers end."""
    page.goto(f"{world.url}/ops")
    for worker in world.workers:
        worker.stop(20)
    world.happen(300)
    expect(page.locator("#sentence")).to_contain_text("No lane has a worker", timeout=60_000)


def store_away(world: KafkaWorld, page: Page) -> None:
    """The store ends, too."""
    page.goto(f"{world.url}/ops")
    world.store.kill()
    expect(page.locator("#sentence")).to_contain_text("The store has not answered since", timeout=60_000)
    expect(page.locator("#odd")).to_contain_text("when the store answered last", timeout=60_000)


# In this order: each ends a little more.
OPS_PICTURES: tuple[tuple[str, Callable[[KafkaWorld, Page], None], bool, int, int], ...] = (
    ("ops-well", well, False, 1280, 1000),
    ("ops-letter", letter, True, 1280, 1000),
    ("ops-redrive", redrive, False, 1280, 1000),
    ("ops-rebuild", rebuild, False, 1280, 800),
    ("ops-promote", promote, True, 1280, 800),
    ("ops-narrow", well, False, 400, 1400),
    ("ops-behind", behind, True, 1280, 760),
    ("ops-no-worker", no_worker, False, 1280, 760),
    ("ops-store-away", store_away, False, 1280, 760),
)
