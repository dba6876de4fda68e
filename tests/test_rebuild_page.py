"""docs/rebuild.md cannot lie: its patch applies, and its commands do what it says, in its order."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import redis

from eventlog.embedded import EmbeddedBroker
from ops.failures import Exit
from stores.embedded import EmbeddedStore
from tests import servers
from tests.process_world import ROOT, WorkerProcess
from tests.rebuild_world import Following, fill, records_of, settings_for

PAGE = (ROOT / "docs" / "rebuild.md").read_text()
ROOMS = ("models", "projections", "stores", "eventlog", "streams", "api", "ops")
# What the page itself says of a command that does not end with 0.
CODES = {"scv rebuild diff": Exit.DIFFERENCES}


def blocks(language: str) -> list[str]:
    """The blocks of the page in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def commands() -> Iterator[str]:
    """The page's commands, in order, without their comments."""
    for block in blocks("sh"):
        for line in block.splitlines():
            yield line.partition("#")[0].strip()


class Release:
    """A copy of the code with the page's patch, and what its commands answer."""

    def __init__(self, directory: Path, kafka: str, url: str) -> None:
        self.directory, self.kafka, self.url = directory, kafka, url
        for room in (*ROOMS, "schemas"):
            shutil.copytree(ROOT / room, directory / room, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "pyproject.toml", directory)
        [patch] = blocks("diff")
        subprocess.run(
            ["git", "apply", "--unidiff-zero", "-"], cwd=directory, input=patch, text=True, check=True
        )

    def run(self, command: str) -> str:
        """Run one command of the page; what it printed. It must end as the page says."""
        words = shlex.split(command)
        if words[0] == "scv":
            words = [sys.executable, "-m", "ops.cli", *words[1:]]
        told = {"SCV_KAFKA": self.kafka, "SCV_REDIS": self.url, "PYTHONPATH": str(self.directory)}
        done = subprocess.run(
            words, cwd=self.directory, env={"PATH": "/usr/bin:/bin", **told}, capture_output=True, text=True,
            timeout=300, check=False,
        )  # fmt: skip
        expected = next((code for begins, code in CODES.items() if command.startswith(begins)), Exit.OK)
        assert done.returncode == expected, f"{command}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout


class NewWorker(WorkerProcess):
    """A worker of the new release."""

    def start(self) -> None:
        """Start it from the copy."""
        import tests.process_world as world

        root, world.ROOT = world.ROOT, self.directory
        try:
            super().start()
        finally:
            world.ROOT = root

    directory: Path


def sales(url: str, generation: str) -> dict[str, dict[str, Any]]:
    """The section of every live profile."""
    found = {}
    with redis.Redis.from_url(url, decode_responses=True) as client:
        for key in client.scan_iter(f"scv:{generation}:*:profile"):
            state, section = client.hmget(key, "state", "sales")
            if state == "live":
                found[key.partition(f"{generation}:")[2]] = json.loads(section)
    return found


def test_the_walk_through_adds_a_field_and_promotes_it(embedded_store: EmbeddedStore, tmp_path: Path) -> None:
    url = embedded_store.url
    servers.empty_store(url)
    with EmbeddedBroker() as broker:
        kafka = broker.bootstrap
        fill(kafka, records_of(21, 300))
        live = Following(settings_for(kafka, url), Random(21))
        live.catch_up()
        live.close()
        before = sales(url, "g1")
        release = Release(tmp_path / "release", kafka, url)
        worker = NewWorker("g2", tmp_path, kafka, url, generation="g2")
        worker.directory = release.directory
        said = {}
        try:
            for command in commands():
                if command.startswith("scv worker"):
                    assert command.endswith("--no-publish --generation g2")
                    worker.start()
                    continue
                said[command] = release.run(command)
        finally:
            worker.kill()
        assert "delivered_count" in (release.directory / "schemas" / "profile.json").read_text()
        [told] = [text for command, text in said.items() if command.startswith("scv rebuild diff")]
        assert re.search(rf"^  sales\.delivered_count +{len(before)}$", told, re.MULTILINE), told
        with redis.Redis.from_url(url, decode_responses=True) as client:
            assert client.get("scv:active") == "g2 4"
            assert not list(client.scan_iter("scv:g1:*"))
        after = sales(url, "g2")
        assert sum(one["delivered_count"] for one in after.values()) > 0
        for one in after.values():
            del one["delivered_count"]
        assert after == before


def test_the_page_names_the_versions_that_there_are() -> None:
    from models.settings import PARTS_VERSION

    assert f"-PARTS_VERSION = {PARTS_VERSION}\n" in PAGE
    assert (ROOT / "stores" / f"parts-{PARTS_VERSION}.zdict").exists()
