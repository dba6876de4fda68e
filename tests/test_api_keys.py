"""API keys: hashed, read again when the file changes, closed when it cannot be read; and the commands."""

from __future__ import annotations

import json
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from api.keys import KEYS_MAX, KeyRing, KeysUnreadable, create_key, digest, read_keys, revoke_key
from ops import cli
from ops.failures import Exit


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "keys.json"


def test_the_file_holds_a_hash_and_never_the_key(file: Path) -> None:
    made, secret = create_key(file, ["profile:read"], "call center")
    text = file.read_text()
    assert secret not in text and secret.split("_", 2)[2] not in text
    assert made.sha256 == digest(secret) and made.sha256 in text
    assert secret.startswith(f"scv_{made.id}_") and len(secret) > 50
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_key_is_known_as_soon_as_the_file_has_it_and_no_longer(file: Path) -> None:
    ring = KeyRing(file)
    assert ring.find("scv_x") is None
    made, secret = create_key(file, ["profile:read"], "one")
    other, second = create_key(file, ["ops"], "two")
    assert ring.find(secret) == made and ring.find(second) == other
    assert ring.find(secret[:-1]) is None and ring.find("") is None
    assert revoke_key(file, made.id) == made and revoke_key(file, made.id) is None
    assert ring.find(secret) is None and ring.find(second) == other
    file.unlink()
    assert ring.find(second) is None


@pytest.mark.parametrize("text", ["", "{", '{"keys": [{"id": "x"}]}', '{"keys": 3}', "[]"])
def test_a_file_that_makes_no_sense_opens_nothing_until_it_is_mended(file: Path, text: str) -> None:
    _, secret = create_key(file, ["profile:read"], "one")
    good, ring = file.read_text(), KeyRing(file)
    assert ring.find(secret)
    file.write_text(text)
    for _ in range(2):
        with pytest.raises(KeysUnreadable, match="mend it"):
            ring.find(secret)
    file.write_text(good + " ")
    assert ring.find(secret)


def test_pii_brings_reading_along_and_nothing_else(file: Path) -> None:
    made, _ = create_key(file, ["profile:read.pii"], "")
    assert made.allows("profile:read") and made.allows("profile:read.pii")
    assert not made.allows("timeline:read") and not made.allows("profile:reveal")
    masked, _ = create_key(file, ["profile:read"], "")
    assert not masked.allows("profile:read.pii")


def test_a_wrong_scope_or_too_many_keys_are_refused(file: Path) -> None:
    with pytest.raises(ValueError, match="no scope profile:write"):
        create_key(file, ["profile:read", "profile:write"], "")
    with pytest.raises(ValueError, match="needs a scope"):
        create_key(file, [], "")
    assert not file.exists()
    create_key(file, ["ops"], "")
    one = json.loads(file.read_text())["keys"][0]
    file.write_text(json.dumps({"keys": [one] * KEYS_MAX}))
    with pytest.raises(ValueError, match="no more fit"):
        create_key(file, ["ops"], "")


def test_a_failed_write_leaves_the_file_as_it_was(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    create_key(file, ["ops"], "one")
    before = file.read_bytes()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        create_key(file, ["ops"], "two")
    assert file.read_bytes() == before and list(file.parent.iterdir()) == [file]


def test_keys_are_created_listed_and_revoked_by_command(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wanted = ["--keys", str(file)]
    scopes = ["--scope", "profile:read,timeline:read", "--scope", "ops"]
    assert cli.run(["keys", "create", *scopes, "--name", "desk", "--json", *wanted]) == 0
    made = json.loads(capsys.readouterr().out)
    assert made["scopes"] == ["profile:read", "timeline:read", "ops"] and KeyRing(file).find(made["key"])
    assert cli.run(["keys", "list", "--json", *wanted]) == 0
    listed = capsys.readouterr().out
    assert [one["name"] for one in json.loads(listed)["keys"]] == ["desk"]
    assert made["key"] not in listed and digest(made["key"]) not in listed
    assert cli.run(["keys", "list", *wanted]) == 0
    assert "desk" in capsys.readouterr().out
    assert cli.run(["keys", "revoke", made["id"], *wanted]) == 0
    assert cli.run(["keys", "revoke", made["id"], *wanted]) == Exit.NOT_FOUND
    assert KeyRing(file).find(made["key"]) is None
    assert cli.run(["keys", "create", "--scope", "all", *wanted]) == Exit.USAGE
    assert capsys.readouterr().err.splitlines()[-1].startswith("scv: no scope all; there are: profile:read, ")
    file.write_text("{")
    for command in (["create", "--scope", "ops"], ["list"], ["revoke", made["id"]]):
        assert cli.run(["keys", *command, *wanted]) == Exit.REFUSED


def test_serving_without_a_key_is_refused_with_the_command_that_makes_one(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(["serve", "--keys", str(file)]) == Exit.REFUSED
    assert capsys.readouterr().err == (
        f"scv: {file}: no API keys, so nobody could ask: `scv keys create --scope profile:read`\n"
    )
    file.write_text("{")
    assert cli.run(["serve", "--keys", str(file)]) == Exit.REFUSED
    assert "mend it" in capsys.readouterr().err


def test_writers_of_the_file_take_turns(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    gone, _ = create_key(file, ["ops"], "gone")
    with ThreadPoolExecutor(8) as pool:
        made = [pool.submit(create_key, file, ["ops"], f"k{number}") for number in range(24)]
        pool.submit(revoke_key, file, gone.id)
    assert {key.id for key in read_keys(file)} == {one.result()[0].id for one in made}
