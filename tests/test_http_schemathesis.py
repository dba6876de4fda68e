"""The API against its own OpenAPI document, with requests that schemathesis makes up. Takes some minutes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from eventlog.embedded import EmbeddedBroker
from eventlog.topics import SALES
from models.identifiers import customer_id
from stores.embedded import EmbeddedStore
from tests.http_world import HttpWorld
from tests.letter_world import LetterWorld, order
from tests.replay_world import ReplayWorld

pytestmark = pytest.mark.campaign

# A document cannot say which tokens were given, nor all that makes an event one: what fits it may be refused.
UNSAYABLE = ("positive_data_acceptance",)


def test_no_made_up_request_finds_anything_that_the_document_does_not_say(tmp_path: Path) -> None:
    with EmbeddedBroker() as broker, EmbeddedStore() as store:
        # What is replayed must be in the log, too.
        replayed = ReplayWorld(broker.bootstrap, store.url)
        for subject in ("crm:4711", "crm:4712"):
            replayed.folded.tell("marketing.profile_updated", subject, "phone:+4930901820", given_name="Ada")
        replayed.settle()
        log = LetterWorld(broker.bootstrap)
        log.write(*((SALES, b"crm:4711", order(f"O-{number}", "49,90")) for number in range(5)))
        buried = log.bury(SALES)
        assert len(buried) == 5
        world = HttpWorld(broker.bootstrap, store.url, tmp_path)
        try:
            # The process of replays may take longer to start than schemathesis waits.
            assert world.get(f"/v1/profiles/{customer_id('crm:4711')}?as_of=2027-01-01").status_code == 200
            document = world.get("/openapi.json", None).json()
            for methods in document["paths"].values():
                for operation in methods.values():
                    # With made-up tokens a read is behind for ever, which is a 503 by right.
                    told = [
                        one
                        for one in operation.get("parameters", ())
                        if one["name"] not in ("Sync-Token", "Prefer")
                    ]
                    for one in told:
                        if one["name"] in ("customer_id", "profile"):
                            one["schema"] = {"type": "string", "enum": [customer_id("crm:4711")]}
                            one.pop("example", None)
                        if one["name"] == "position":
                            one["schema"] = {"type": "string", "enum": buried}
                            one["example"] = buried[0]
                    operation["parameters"] = told
            # A stream does not end.
            del document["paths"]["/v1/stream"]
            (tmp_path / "openapi.json").write_text(json.dumps(document))
            ran = subprocess.run(
                [
                    str(Path(sys.executable).parent / "st"), "run", str(tmp_path / "openapi.json"),
                    "--url", world.url,
                    "-H", f"Authorization: Bearer {world.keys['all']}", "--max-examples", "100",
                    "--exclude-checks", ",".join(UNSAYABLE), "--no-color", "--continue-on-failure",
                ],
                capture_output=True, text=True, check=False, cwd=tmp_path,
            )  # fmt: skip
            assert ran.returncode == 0, ran.stdout[-6_000:] + ran.stderr[-1_000:]
            assert "generated" in ran.stdout
            assert not [line for line in world.log.lines if "unexpected" in line]
        finally:
            world.close()
            replayed.close()
