"""The agent's page as an agent has it: everything that `scv up` starts, a few customers, and a real browser.

Guarantees:
- Servers, worker and HTTP are processes of their own; customers come of events, over HTTP or by Kafka.
- A page that complains in its console, breaks its policy or throws, fails the test that has it open.
- Nothing waits for a fixed time: a write is waited for with its Sync-Token, a page by what it shows.
"""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self

import requests
from playwright.sync_api import Browser, Page, sync_playwright

from api.keys import create_key
from eventlog.producing import LogProducer
from eventlog.topics import COMMANDS, link_log
from models.catalogue import DOMAIN_TOPICS
from models.identifiers import customer_id
from ops.ada import ada
from ops.installation import Installation
from tests.http_world import records

AXE = (Path(__file__).parent / "vendor" / "axe-4.14.1.min.js").read_text()
ADA = customer_id("crm:4711")
ADAS_PHONE = "+4930901820"
FAMILY_PHONE = "+4930555010"
FAMILY = (("crm:7001", "Ines", "Okafor"), ("crm:7002", "Tom", "Okafor"), ("crm:7003", "Mira", "Lindqvist"))


class DeskWorld:
    """An installation and a browser. `keys`: `desk` (masked), `all`, `bare` (no timeline, no writing).

    `expected` has what the page that is open may complain of.
    """

    def __init__(self, installation: Installation, browser: Browser) -> None:
        self.installation, self.browser = installation, browser
        self.expected: list[str] = []
        assert installation.http and installation.api_key and installation.desk_key and installation._http
        self.url = installation.http
        file = installation._http.directory / "keys.json"
        self.keys = {
            "all": installation.api_key,
            "desk": installation.desk_key,
            "bare": create_key(file, ["profile:read"], "bare")[1],
        }
        self._session = requests.Session()
        self._session.headers["Authorization"] = f"Bearer {installation.api_key}"

    def write(self, wire_type: str, subject: str, /, **data: Any) -> str:
        """Write an event, and wait until it is in the view; gives its id."""
        event_id = uuid.uuid4().hex
        event = {
            "specversion": "1.0", "id": event_id, "source": "test", "type": wire_type, "subject": subject,
            "time": datetime.now(UTC).isoformat(), "data": data,
        }  # fmt: skip
        self._wait(self.post(event))
        return event_id

    def post(self, event: dict[str, Any]) -> requests.Response:
        """Write an event as it is."""
        return self._session.post(f"{self.url}/v1/events", json=event, timeout=30)

    def part(self, subject: str, other: str, verb: str = "unlinks") -> None:
        """Decide that two names do not belong together, or that they do (`links`)."""
        pair = {"subject": subject, "other": other, "actor": "E-9", "reason": "asked"}
        self._wait(self._session.post(f"{self.url}/v1/identity/{verb}", json=pair, timeout=30))

    def _wait(self, written: requests.Response) -> None:
        assert written.status_code == 202, written.text
        headers = {"Sync-Token": written.headers["Sync-Token"], "Prefer": "wait=10"}
        asked = {"identifiers": [{"type": "crm", "value": "4711"}], "sections": []}
        found = self._session.post(f"{self.url}/v1/profiles:lookup", json=asked, headers=headers, timeout=30)
        assert found.status_code == 200, found.text

    def profile(self, name: str) -> dict[str, Any]:
        """The whole profile under this name."""
        kind, _, value = name.partition(":")
        asked = {"identifiers": [{"type": kind, "value": value}]}
        return self._session.post(f"{self.url}/v1/profiles:lookup", json=asked, timeout=30).json()["profile"]

    def audited(self, wire_type: str) -> list[dict[str, Any]]:
        """The audit records of a type."""
        kept = records(self.installation.settings.kafka, "scv.audit")
        return [one for one in kept if one["type"] == wire_type]

    def populate(self) -> None:
        """Ada with her story; a family that shares a phone."""
        end = datetime.now(UTC).replace(second=0, microsecond=0)
        with LogProducer(self.installation.settings.kafka, client_id="test") as producer:
            for happening in ada(1, end).told():
                producer.produce(happening.topic, happening.key, happening.value)
        for number, (subject, given, family) in enumerate(FAMILY):
            known = [{"type": "phone", "value": FAMILY_PHONE}]
            self.write("marketing.profile_updated", subject, given_name=given, family_name=family,
                       locale="de-DE", zoneinfo="Europe/Berlin", identifiers=known)  # fmt: skip
            self.write("sales.order_placed", subject, order_id=f"O-{7001 + number}", amount_minor=2490,
                       currency="EUR", channel="web", references=[f"order:O-{7001 + number}"])  # fmt: skip
        self.write(
            "service.conversation_held", "crm:7003", conversation_id="V-7003", seconds=120, channel="phone"
        )

    @contextmanager
    def page(
        self,
        key: str = "desk",
        actor: str = "E-7",
        *,
        width: int = 1280,
        height: int = 800,
        dark: bool = False,
        zone: str = "Europe/Berlin",
    ) -> Iterator[Page]:
        """A page of a browser that is signed in; what it complains of is an error."""
        context = self.browser.new_context(
            viewport={"width": width, "height": height},
            color_scheme="dark" if dark else "light",
            timezone_id=zone,
            locale="en-GB",
            reduced_motion="reduce",
        )
        if key:
            value = f"{self.keys[key]}~{actor}" if actor else self.keys[key]
            context.add_cookies([{"name": "scv_session", "value": value, "url": self.url}])
        page = context.new_page()
        complaints: list[str] = []
        self.expected = []
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on(
            "console",
            lambda said: complaints.append(said.text) if said.type in ("error", "warning") else None,
        )
        try:
            yield page
        finally:
            context.close()
        assert [one for one in complaints if not any(part in one for part in self.expected)] == []

    def call(self, page: Page, fragment: str) -> None:
        """A screen pop, as a telephony system opens it."""
        page.goto(f"{self.url}/agent#{fragment}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._session.close()


def violations(page: Page) -> list[str]:
    """What axe-core finds against WCAG 2.2 A and AA, and its best practices."""
    page.evaluate(AXE)
    found = page.evaluate(
        """async () => (await axe.run(document, {runOnly: {type: "tag", values:
        ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}})).violations.map(
        (one) => `${one.id}: ${one.nodes.map((node) => node.html.slice(0, 160)).join(" | ")}`)"""
    )
    return list(found)


@contextmanager
def desk_world() -> Iterator[DeskWorld]:
    """Everything, populated."""
    with Installation() as installation, sync_playwright() as playwright:
        installation.start_worker()
        installation.start_http()
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        installation.wait_for_lanes((*DOMAIN_TOPICS, COMMANDS, link_log("g1")))
        with DeskWorld(installation, browser) as world:
            world.populate()
            yield world
        browser.close()


def in_days(days: int) -> str:
    """An instant so many days from now."""
    return (datetime.now(UTC) + timedelta(days=days)).isoformat()
