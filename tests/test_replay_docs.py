"""The page about looking back, explaining and verifying: its commands run, and give what it shows.

Guarantees:
- Every console example of docs/replay.md runs on the history that the page tells, in the page's order.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from eventlog.embedded import EmbeddedBroker
from models.catalogue import topic_of
from models.identifiers import customer_id
from models.record import Record
from ops import cli
from ops.failures import Exit
from stores.embedded import EmbeddedStore
from tests.replay_world import ReplayWorld

PAGE = (Path(__file__).parent.parent / "docs" / "replay.md").read_text()
ADA = customer_id("crm:4711")
EMAIL = [{"type": "email", "value": "ada@example.com"}]
EUR = {"currency": "EUR", "invoice_id": "I-88"}
PRICE = {"amount_minor": 9900, "currency": "EUR"}
CARD = {"code": "card_expired", "identifiers": EMAIL}
# As the page's table: occurred, logged, subject, type, data.
STORY: list[tuple[str, str, str, str, dict[str, Any]]] = [
    ("01-10", "01-10", "crm:4711", "marketing.profile_updated",
     {"given_name": "Ada", "family_name": "Byron", "identifiers": EMAIL}),
    ("02-01", "02-01", "billing:A-9", "billing.invoice_issued",
     {"amount_minor": 4990, "due_at": "2026-03-05T00:00:00Z", **EUR}),
    ("02-25", "02-25", "billing:A-9", "billing.payment_failed", CARD),
    ("02-20", "03-02", "billing:A-9", "billing.payment_received",
     {"payment_id": "Y-1", "amount_minor": 990, **EUR}),
    ("03-03", "03-03", "crm:4711", "sales.order_placed", {"order_id": "O-8", **PRICE}),
    ("03-03", "03-03", "crm:9", "sales.order_placed", {"order_id": "O-9", **PRICE}),
]  # fmt: skip


def lanes() -> list[list[Record]]:
    """The records of the story, a lane each topic."""
    found: dict[str, list[Record]] = {}
    for number, (occurred, logged, subject, kind, data) in enumerate(STORY):
        event = {
            "specversion": "1.0", "id": f"E-{number}", "source": "demo", "type": kind, "subject": subject,
            "time": f"2026-{occurred}T12:00:00Z", "data": data,
        }  # fmt: skip
        at_ms = int(datetime.fromisoformat(f"2026-{logged}T12:00:01Z").timestamp() * 1_000)
        lane = found.setdefault(topic_of(kind), [])
        lane.append(
            Record(topic_of(kind), 0, len(lane), at_ms, subject.encode(), json.dumps(event).encode(), [])
        )
    return list(found.values())


@pytest.fixture(scope="module")
def world(embedded_store: EmbeddedStore) -> Iterator[ReplayWorld]:
    """The story, folded."""
    with EmbeddedBroker() as broker, pytest.MonkeyPatch.context() as environment:
        made = ReplayWorld(broker.bootstrap, embedded_store.url)
        made.load(lanes())
        environment.setenv("SCV_KAFKA", broker.bootstrap)
        environment.setenv("SCV_REDIS", embedded_store.url)
        yield made
        made.close()


def examples() -> list[tuple[str, str]]:
    """Commands of the page with the answers shown under them."""
    found = []
    for block in re.findall(r"^```console\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL):
        for example in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, answer = example.partition("\n")
            found.append((command, answer.strip()))
    return found


def gives(shown: str, said: str) -> bool:
    """Whether what was said is what is shown, where `…` stands for anything and spaces for any."""
    pattern = ".*".join(re.escape(" ".join(piece.split())) for piece in shown.split("…"))
    return re.fullmatch(pattern.replace(r"\ ", r"\s*"), " ".join(said.split()), re.DOTALL) is not None


def test_every_command_of_the_page_gives_what_it_shows(
    world: ReplayWorld, capsys: pytest.CaptureFixture[str]
) -> None:
    commands = examples()
    assert len(commands) == 10
    for command, shown in commands:
        program, *arguments = shlex.split(command)
        if program == "redis-cli":
            assert str(world.folded.client.execute_command(*arguments)) == shown
            continue
        assert program == "scv"
        code = cli.run(arguments)
        said = capsys.readouterr()
        differs = "--diff" in arguments or "1 difference." in shown
        assert (code, said.err) == (Exit.DIFFERENCES if differs else Exit.OK, ""), command
        assert gives(shown, said.out), f"{command}\n{said.out}"


def inspected(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, Any, str]:
    code = cli.run(["inspect", *arguments])
    said = capsys.readouterr()
    return code, msgspec.json.decode(said.out) if "--json" in arguments and said.out else said.out, said.err


def test_what_was_asked_is_told_as_json(world: ReplayWorld, capsys: pytest.CaptureFixture[str]) -> None:
    code, answer, _ = inspected(capsys, "email:ada@example.com", "--known-at", "2026-02-22", "--json")
    assert (code, answer["match"], answer["members"]) == (Exit.OK, "single", ["crm:4711"])
    assert (answer["as_of"], answer["known_at"]) == (None, "2026-02-22T00:00:00Z")
    billing = customer_id("billing:A-9")
    assert answer["apart"] == [{"customer_id": billing, "founder": "billing:A-9", "members": ["billing:A-9"]}]
    code, answer, _ = inspected(capsys, "billing:A-9", "--known-at", "2026-02-22", "--json")
    assert answer["profile"]["customer_id"] == billing, "the subject that was named is the one that is meant"
    code, answer, _ = inspected(
        capsys, ADA, "--as-of", "2026-02-22", "--known-at", "2026-02-26", "--sections", "billing", "--json"
    )
    assert answer["profile"]["billing"]["balances"] == [{"currency": "EUR", "balance_minor": 4990}]
    code, answer, _ = inspected(capsys, "crm:4711", "--diff", "2026-02-22", "2026-02-22", "--json")
    assert (code, answer["differences"]) == (Exit.OK, [])
    code, answer, _ = inspected(capsys, "order:O-8", "--explain", "sales.orders.O-8.status", "--json")
    assert [one["changes"] for one in answer["effects"]] == [
        [{"path": "", "before": "(missing)", "after": "placed"}]
    ]


def test_what_leads_nowhere_is_one_line(world: ReplayWorld, capsys: pytest.CaptureFixture[str]) -> None:
    for code, arguments, words in (
        (Exit.NOT_FOUND, ["crm:77", "--as-of", "now"], "nobody is known as 'crm:77'"),
        (Exit.NOT_FOUND, ["crm:4711", "--as-of", "2020-01-01"], "nothing had occurred by then"),
        (Exit.NOT_FOUND, ["crm:4711", "--known-at", "2026-01-10"], "nothing was known of it by then"),
        (Exit.NOT_FOUND, ["crm:4711", "--explain", "billing", "--known-at", "2026-01-10"], "by then"),
        (Exit.USAGE, ["crm:4711", "--as-of", "2026-02-01T10:00:00"], "no instant"),
        (Exit.USAGE, ["crm:4711", "--as-of", "now", "--diff", "now", "now"], "leave --as-of out"),
        (Exit.USAGE, ["crm:4711", "--explain", "billing.none"], "has no field 'none'"),
        (Exit.USAGE, ["crm:4711", "--explain", "meta"], "no section 'meta'"),
    ):
        found, said, told = inspected(capsys, *arguments)
        assert (found, said) == (code, ""), arguments
        assert words in told and told.count("\n") == 1, told


def test_other_settings_than_the_workers_are_refused(
    world: ReplayWorld, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SCV_TRUST", "crm")
    code, _, told = inspected(capsys, "crm:4711", "--as-of", "now")
    assert code == Exit.REFUSED and "set SCV_RULES and SCV_TRUST as its workers do" in told


def test_records_that_a_part_has_forgotten_are_found_by_reading_its_lane(
    world: ReplayWorld, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.replaying.offsets_of", lambda part: [part.offset])
    code, answer, _ = inspected(capsys, "crm:4711", "--as-of", "2026-02-22", "--json")
    assert (code, answer["record_count"]) == (Exit.OK, 5)
    assert answer["profile"]["billing"]["balances"] == [{"currency": "EUR", "balance_minor": 4000}]
