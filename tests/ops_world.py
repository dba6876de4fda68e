"""The operator's page as an operator has it: an installation at work, broken records, and a real browser.

Guarantees:
- Servers, workers and HTTP are processes of their own; `page` is that of `tests.desk_world`, with its errors.
- What is broken was written to Kafka, and found to be no event by a worker.
"""

from __future__ import annotations

import json
import random
import shutil
import sys
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import requests
from playwright.sync_api import Browser, Page, expect, sync_playwright

from api.keys import SCOPES, create_key
from eventlog.admin import create_topics
from eventlog.apache import ApacheBroker
from eventlog.processes import HOST, ServerProcess, accepts, free_port, make_directory
from eventlog.producing import LogProducer
from eventlog.topics import COMMANDS, link_log
from models.catalogue import DOMAIN_TOPICS, topic_of
from ops.installation import Installation
from stores.embedded import EmbeddedStore
from tests.desk_world import DeskWorld, violations

START_SECONDS = 60.0
KINDS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("sales.order_placed", {"order_id": "O-1", "amount_minor": 4990, "currency": "EUR"}),
    ("service.case_opened", {"case_id": "S-1", "topic": "delivery"}),
    ("billing.payment_failed", {"invoice_id": "I-1", "code": "card_expired"}),
    ("marketing.page_viewed", {"page": "/prices"}),
)


class OpsWorld(DeskWorld):
    """An installation and a browser. `keys`: `all`, `ops` (that alone), `desk` (an agent's)."""

    redis: str

    def __init__(self, url: str, kafka: str, key_file: Path, browser: Browser) -> None:
        self.url, self.kafka, self.key_file, self.browser = url, kafka, key_file, browser
        self.expected: list[str] = []
        self.keys = {
            "all": create_key(key_file, list(SCOPES), "all")[1],
            "ops": create_key(key_file, ["ops"], "operator")[1],
            "desk": create_key(key_file, ["profile:read"], "desk")[1],
        }
        self._session = requests.Session()
        self._session.headers["Authorization"] = f"Bearer {self.keys['all']}"
        self._random = random.Random(7)

    def state(self) -> dict[str, Any]:
        """What `/v1/ops/state` says."""
        return self._session.get(f"{self.url}/v1/ops/state", timeout=30).json()

    def happen(self, count: int, people: int = 400) -> None:
        """Write so many events."""
        with LogProducer(self.kafka, client_id="test") as producer:
            for _ in range(count):
                wire_type, data = self._random.choice(KINDS)
                subject = f"crm:{self._random.randrange(people)}"
                producer.produce(topic_of(wire_type), subject.encode(), _event(wire_type, subject, **data))

    def break_records(self, misspelt: int = 1, amounts: int = 0, nobody: int = 0, torn: int = 0) -> None:
        """Write records that are no events: an unknown type, text for a number, no subject, half of one."""
        order = {"order_id": "O-1", "amount_minor": 4990, "currency": "EUR"}
        broken = [
            *[_event("sales.order_plcaed", "crm:4711", **order)] * misspelt,
            *[_event("sales.order_placed", "crm:4711", **{**order, "amount_minor": "49.90"})] * amounts,
            *[_event("sales.order_placed", "Ada Byron", **order)] * nobody,
            *[_event("sales.order_placed", "crm:4711", **order)[:90]] * torn,
        ]
        with LogProducer(self.kafka, client_id="test") as producer:
            for value in broken:
                producer.produce("sales.events", b"crm:4711", value)


def _event(wire_type: str, subject: str, **data: Any) -> bytes:
    event = {
        "specversion": "1.0", "id": uuid.uuid4().hex, "source": "shop/checkout", "type": wire_type,
        "subject": subject, "data": data,
    }  # fmt: skip
    return json.dumps(event).encode()


def accessible(page: Page) -> None:
    """No finding of axe-core, in light and in dark."""
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        assert (scheme, violations(page)) == (scheme, [])
    page.emulate_media(color_scheme="light")


def opened(world: OpsWorld, page: Page) -> None:
    """The page is open, and all is well."""
    page.goto(f"{world.url}/ops")
    expect(page.locator("#sentence")).to_have_text("All 34 lanes are up to date.")


@contextmanager
def ops_world() -> Iterator[OpsWorld]:
    """What `scv up` starts, with nobody in it."""
    with Installation() as installation, sync_playwright() as playwright:
        installation.start_worker()
        installation.start_http()
        assert installation.http and installation._http
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        installation.wait_for_lanes((*DOMAIN_TOPICS, COMMANDS, link_log("g1")))
        key_file = installation._http.directory / "keys.json"
        with OpsWorld(installation.http, installation.settings.kafka, key_file, browser) as world:
            world.redis = installation.settings.redis
            yield world
        browser.close()


class KafkaWorld(OpsWorld):
    """The same on Apache Kafka, which tells who has which lanes: two workers, with publishers beside them."""

    workers: list[ServerProcess]
    store: EmbeddedStore


@contextmanager
def kafka_world() -> Iterator[KafkaWorld]:
    """Everything on Apache Kafka, for pictures."""
    with ExitStack() as stack:
        broker, store = stack.enter_context(ApacheBroker()), stack.enter_context(EmbeddedStore())
        create_topics(broker.bootstrap, 8)
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        port = free_port()
        create_key(folder / "keys.json", ["ops"], "first")
        where = ["--kafka", broker.bootstrap, "--redis", store.url]

        def start(*command: str) -> ServerProcess:
            started = ServerProcess(
                f"scv {command[0]}", [sys.executable, "-m", "ops.cli", *command, *where],
                make_directory(command[0]),
                ready=lambda: command[0] != "serve" or accepts(port), timeout_seconds=START_SECONDS,
            )  # fmt: skip
            stack.callback(started.stop, 20)
            return started

        workers = [start("worker"), start("worker")]
        start("serve", "--port", str(port), "--keys", str(folder / "keys.json"))
        playwright = stack.enter_context(sync_playwright())
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        stack.callback(browser.close)
        world = KafkaWorld(f"http://{HOST}:{port}", broker.bootstrap, folder / "keys.json", browser)
        world.workers, world.store, world.redis = workers, store, store.url
        yield stack.enter_context(world)
