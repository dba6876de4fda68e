"""Pictures of the pages for docs/, of the real thing: `python -m tests.pictures [agent|ops] [TIME-ZONE]`.

Guarantees:
- Every picture is of a page that works: the same world and the same steps as the tests.
- Made small by `pngquant` where it is installed.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, expect

from tests.desk_world import ADAS_PHONE, FAMILY_PHONE, DeskWorld, desk_world
from tests.ops_scenes import OPS_PICTURES, ops_history
from tests.ops_world import kafka_world

FOLDER = Path(__file__).resolve().parent.parent / "docs" / "pictures"
EMAIL = [{"type": "email", "value": "nora.visits@example.com"}]

Scene = Callable[[DeskWorld, Page], None]


def known(world: DeskWorld, page: Page) -> None:
    """Ada calls."""
    world.call(page, f"phone={ADAS_PHONE}")
    expect(page.locator("#customer-name")).to_be_focused()
    expect(page.locator("#freshness-word")).to_have_text("Live")


def several(world: DeskWorld, page: Page) -> None:
    """A family calls."""
    world.call(page, f"phone={FAMILY_PHONE}")
    expect(page.locator("#several")).to_be_visible()


def unknown(world: DeskWorld, page: Page) -> None:
    """Somebody calls."""
    world.call(page, "phone=+4930000001")
    expect(page.locator("#unknown")).to_be_visible()


def news(world: DeskWorld, page: Page) -> None:
    """Something happens while Ada is open."""
    known(world, page)
    world.write(
        "sales.order_placed", "crm:4711", order_id="O-9", amount_minor=2490, currency="EUR", channel="web"
    )
    world.write("service.complaint_made", "crm:4711", complaint_id="K-1", topic="billing.double_charge")
    expect(page.locator("#news button")).to_contain_text("2 new events")


def shown(world: DeskWorld, page: Page) -> None:
    """The agent has asked for what is new; the complaint is settled for the pictures after."""
    known(world, page)
    world.write("service.complaint_settled", "crm:4711", complaint_id="K-1")
    page.locator("#news button").click()
    expect(page.locator(".entry.new")).to_have_count(1)


def merged(world: DeskWorld, page: Page) -> None:
    """A visitor turns out to be a customer."""
    world.write("marketing.page_viewed", "web:visitor-1", page="/prices", identifiers=EMAIL)
    world.call(page, "email=nora.visits@example.com")
    expect(page.locator("#customer")).to_be_visible()
    world.write("sales.order_placed", "crm:9001", order_id="O-9001", amount_minor=7990, currency="EUR",
                identifiers=EMAIL)  # fmt: skip
    expect(page.locator("#word-in")).to_contain_text("Merged while open")


def reveal(world: DeskWorld, page: Page) -> None:
    """The agent asks for the phone number."""
    known(world, page)
    page.get_by_role("button", name="Reveal the phone number").click()
    page.locator("#reveal").get_by_label("Why").fill("Call back about invoice I-88")


def verify(world: DeskWorld, page: Page) -> None:
    """The caller says who they are."""
    known(world, page)
    page.keyboard.press("v")
    page.locator("#verify").get_by_label("Date of birth").fill("1985-12-10")
    page.get_by_label("Postal code").fill("10117")
    page.keyboard.press("Enter")
    expect(page.locator("#verdict")).to_contain_text("Verified")


def wrap_up(world: DeskWorld, page: Page) -> None:
    """The agent writes down what was said."""
    known(world, page)
    page.keyboard.press("w")
    page.get_by_label("Call back", exact=True).check()
    page.get_by_label("Note").fill("New card is on its way; wants a call when it was charged")
    page.get_by_label("I promise").fill("Call back when the new card was charged")


def help_page(world: DeskWorld, page: Page) -> None:
    """The agent asks for help."""
    known(world, page)
    page.keyboard.press("?")


def past(world: DeskWorld, page: Page) -> None:
    """The agent goes back to before the payment failed a second time."""
    known(world, page)
    page.keyboard.press("a")
    expect(page.locator("#past-slider")).to_be_focused()
    for _ in range(5):
        page.keyboard.press("ArrowLeft")
    expect(page.locator("#past-said")).to_contain_text("As it was on")
    expect(page.locator("#past-after")).to_contain_text("Promised")
    expect(page.locator("#past .entry").first).to_contain_text("Promised")


def why(world: DeskWorld, page: Page) -> None:
    """The agent asks where the balance comes from."""
    known(world, page)
    page.get_by_role("button", name="Why? The balance").click()
    expect(page.locator("#why .why-value")).to_be_visible()


def why_then(world: DeskWorld, page: Page) -> None:
    """And where it came from at another time."""
    past(world, page)
    page.get_by_role("button", name="Why? The consents").click()
    expect(page.locator("#why .why-value")).to_be_visible()


def offline(world: DeskWorld, page: Page) -> None:
    """The line breaks."""
    world.expected.append("ERR_INTERNET_DISCONNECTED")
    known(world, page)
    page.context.set_offline(True)
    expect(page.locator("#freshness-word")).to_have_text("Disconnected")


def stale(world: DeskWorld, page: Page) -> None:
    """The only worker stops."""
    known(world, page)
    world.installation._workers[0].stop(20)
    expect(page.locator("#word-in")).to_contain_text("What has happened since is missing", timeout=30_000)


# In this order: later ones stand on what earlier ones wrote, and the last one ends the worker.
PICTURES: tuple[tuple[str, Scene, bool, int, int], ...] = (
    ("agent-known", known, False, 1280, 800),
    ("agent-known-dark", known, True, 1280, 800),
    ("agent-several", several, False, 1280, 640),
    ("agent-unknown", unknown, False, 1280, 520),
    ("agent-reveal", reveal, False, 1280, 800),
    ("agent-verify", verify, True, 1280, 800),
    ("agent-wrap-up", wrap_up, False, 1280, 800),
    ("agent-help", help_page, True, 1280, 800),
    ("agent-narrow", known, False, 400, 1600),
    ("agent-past", past, False, 1280, 800),
    ("agent-past-dark", past, True, 1280, 800),
    ("agent-why", why, False, 1280, 800),
    ("agent-merged", merged, False, 1280, 800),
    ("agent-news", news, False, 1280, 800),
    ("agent-news-shown", shown, True, 1280, 800),
    ("agent-disconnected", offline, True, 1280, 800),
    ("agent-stale", stale, False, 1280, 800),
)


def take(which: str, folder: Path, zone: str) -> None:
    """Take them all, as seen by somebody who sits in this time zone."""
    expect.set_options(timeout=30_000)
    if which == "agent":
        with desk_world() as desk:
            for picture in PICTURES:
                _take(desk, "desk", picture, folder, zone)
    else:
        with kafka_world() as installation:
            ops_history(installation)
            for picture in OPS_PICTURES:
                # Who may see and correct events, where one is corrected.
                key = "all" if picture[0] == "ops-redrive" else "ops"
                _take(installation, key, picture, folder, zone)


def _take(
    world: DeskWorld, key: str, picture: tuple[str, Any, bool, int, int], folder: Path, zone: str
) -> None:
    name, scene, dark, width, height = picture
    path = folder / f"{name}.png"
    with world.page(key, width=width, height=height, dark=dark, zone=zone) as page:
        scene(world, page)
        page.screenshot(path=path, animations="disabled", caret="initial")
    if shutil.which("pngquant"):
        subprocess.run(["pngquant", "--force", "--ext", ".png", "--speed", "1", "160", str(path)], check=True)
    print(f"{path.name}: {path.stat().st_size // 1024} KiB")


if __name__ == "__main__":
    chosen = [one for one in sys.argv[1:] if one in ("agent", "ops")] or ["agent", "ops"]
    (zone,) = [one for one in sys.argv[1:] if "/" in one] or ["Europe/Berlin"]
    for which in chosen:
        take(which, FOLDER, zone)
