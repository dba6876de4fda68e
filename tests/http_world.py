"""A running HTTP API: the real server in a thread, on a real store and a real broker.

Guarantees:
- What is read was folded by the worker's own code (`tests.lookup_world`); requests go over a socket.
- Each scope has a key of its own, and one key has them all; the server's log is kept as text.
"""

from __future__ import annotations

import http.client
import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import msgspec
import requests

from api.app import create_app
from api.keys import SCOPES, create_key
from api.server import Server
from api.services import Plan, Services
from eventlog.admin import create_topics
from eventlog.ends import lane_ends
from eventlog.processes import HOST, free_port
from eventlog.reading import read_topic
from models.rules import IdentityRules
from models.settings import Settings
from tests.lookup_world import LookupWorld

START_SECONDS = 20


class HttpWorld:
    """The API at `url`. `keys` has a key for each scope, and `all`."""

    def __init__(self, kafka: str, redis: str, directory: Path, requests_per_second: float = 100_000) -> None:
        self.kafka, self.redis = kafka, redis
        self.key_file = directory / "keys.json"
        self.keys = {scope: create_key(self.key_file, [scope], scope)[1] for scope in SCOPES}
        self.keys["all"] = create_key(self.key_file, list(SCOPES), "all")[1]
        self.log = LogText()
        self.port = free_port()
        self.url = f"http://{HOST}:{self.port}"
        ready = threading.Event()
        told = Settings()
        shaping = (told.trust, told.config, told.shape)
        plan = Plan(kafka, redis, self.key_file, IdentityRules(), requests_per_second, *shaping)
        self.app = create_app(plan)
        self.server = Server(self.app, HOST, self.port, ready.set)
        # Signals are for main threads.
        self._thread = threading.Thread(target=self.server.run, daemon=True)
        self._thread.start()
        assert ready.wait(START_SECONDS)
        self._session = requests.Session()

    @property
    def services(self) -> Services:
        """What the server stands on."""
        return self.app.state.services

    def ask(
        self,
        method: str,
        path: str,
        key: str | None = "all",
        headers: Mapping[str, str] | None = None,
        **rest: Any,
    ) -> requests.Response:
        """One request, with the key of this scope, or the key itself."""
        sent = {} if key is None else {"Authorization": f"Bearer {self.keys.get(key, key)}"}
        return self._session.request(
            method,
            self.url + path,
            headers={**sent, **(headers or {})},
            allow_redirects=False,
            timeout=30,
            **rest,
        )

    def get(self, path: str, key: str | None = "all", **rest: Any) -> requests.Response:
        """GET."""
        return self.ask("GET", path, key, **rest)

    def post(self, path: str, body: Any, key: str | None = "all", **rest: Any) -> requests.Response:
        """POST of this as JSON."""
        return self.ask("POST", path, key, json=body, **rest)

    def look(self, *names: str, key: str = "all", **rest: Any) -> dict[str, Any]:
        """Look these names up."""
        asked = [dict(zip(("type", "value"), name.split(":", 1), strict=True)) for name in names]
        answer = self.post("/v1/profiles:lookup", {"identifiers": asked, **rest}, key)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def stream(
        self,
        customer_id: str,
        key: str = "all",
        headers: Mapping[str, str] | None = None,
        signals: str | None = None,
    ) -> EventStream:
        """Listen to a customer, and to signals of these rules."""
        path = f"/v1/stream?profile={customer_id}" + (f"&signals={signals}" if signals else "")
        return EventStream(self.url, path, self.keys[key], headers or {})

    def look_status(self, name: str, key: str) -> int:
        """The status of looking this name up."""
        kind, _, value = name.partition(":")
        asked = {"identifiers": [{"type": kind, "value": value}]}
        return self.post("/v1/profiles:lookup", asked, key).status_code

    def audited(self) -> list[dict[str, Any]]:
        """All audit records, as soon as all that wait are in the log."""
        while self.services.audit.late_seconds:
            threading.Event().wait(0.01)
        return records(self.kafka, "scv.audit")

    def close(self) -> None:
        """Stop the server."""
        self._session.close()
        self.server.should_exit = True
        self._thread.join(START_SECONDS)
        assert not self._thread.is_alive()
        self.log.close()


class EventStream:
    """Server-sent events, as a client without a library hears them."""

    def __init__(self, url: str, path: str, key: str, headers: Mapping[str, str]) -> None:
        self._connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=30)
        self._connection.request("GET", path, headers={"Authorization": f"Bearer {key}", **headers})
        self.answer = self._connection.getresponse()
        self.heard = ""

    def next(self) -> dict[str, Any]:
        """The next event; heartbeats are passed over."""
        fields: dict[str, str] = {}
        while True:
            line = self.answer.readline().decode()
            assert line, f"the stream ended after {self.heard!r}"
            self.heard += line
            if line.strip():
                name, _, value = line.rstrip("\n").partition(": ")
                fields[name] = value
            elif "event" in fields:
                return {**fields, "data": msgspec.json.decode(fields["data"])}
            else:
                fields = {}

    def next_line_is_a_heartbeat(self) -> bool:
        """Whether a comment comes next."""
        return self.answer.readline().startswith(b":")

    def ended(self) -> bool:
        """Whether the server has nothing more to say."""
        return self.answer.readline() == b""

    def close(self) -> None:
        """Vanish."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class LogText(logging.Handler):
    """Every line that the server logs."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []
        for name in ("scv.http", "scv.eventlog", "uvicorn"):
            logger = logging.getLogger(name)
            logger.addHandler(self)
            logger.setLevel(logging.INFO)

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the line."""
        self.lines.append(self.format(record))

    def close(self) -> None:
        """Listen no more."""
        for name in ("scv.http", "scv.eventlog", "uvicorn"):
            logging.getLogger(name).removeHandler(self)
        super().close()


def records(kafka: str, topic: str) -> list[dict[str, Any]]:
    """The values of a topic as it is now."""
    return [msgspec.json.decode(record.value or b"{}") for record in read_topic(kafka, topic)]


def ends(kafka: str, topic: str) -> int:
    """How many records a topic holds."""
    return sum(held.end for held in lane_ends(kafka, [topic]).values())


def world_of(kafka: str, redis: str, directory: Path) -> Iterator[tuple[HttpWorld, LookupWorld]]:
    """The API with an empty store behind it, and the hand that writes and folds."""
    create_topics(kafka, 2)
    folded = LookupWorld(redis)
    world = HttpWorld(kafka, redis, directory)
    try:
        yield world, folded
    finally:
        world.close()
        folded.close()


def wait_until(true: Callable[[], object]) -> None:
    """Come back when it is true; the test's own time limit is the suite's."""
    for _ in range(3_000):
        if true():
            return
        threading.Event().wait(0.01)
    raise AssertionError("it did not become true")
