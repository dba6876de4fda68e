"""The `scv` command: its help, its errors, its exit codes, and that it leaves nothing behind."""

import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
import requests
import typer.main

from eventlog.admin import describe_topics
from eventlog.processes import accepts, free_port
from eventlog.producing import LogProducer
from models.catalogue import DOMAIN_TOPICS
from ops import cli, progress
from ops.failures import LINE_MAX, Exit, one_line
from ops.installation import Installation
from ops.population import broken_events, events
from stores.embedded import EmbeddedStore

ROOT = Path(__file__).resolve().parent.parent
SCV = [sys.executable, "-m", "ops.cli"]
# What `scv --help` must not wait for.
HEAVY = (
    "faust",
    "aiokafka",
    "kafka",
    "confluent_kafka",
    "redis",
    "pyarrow",
    "pydantic",
    "msgspec",
    "phonenumbers",
)
START_SECONDS_MAX = 60


def commands() -> dict[str, Any]:
    """Every command by its full name, `topics create`."""
    found: dict[str, Any] = {}

    def walk(command: Any, path: str) -> None:
        if hasattr(command, "commands"):
            for name, inner in command.commands.items():
                walk(inner, f"{path} {name}".strip())
        else:
            found[path] = command

    walk(typer.main.get_command(cli.app), "")
    return found


def error_of(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    """The exit code of a command that fails, and the one line that it says."""
    code = cli.run(list(arguments))
    said = capsys.readouterr()
    assert said.err.count("\n") == 1, said.err
    assert "Traceback" not in said.err
    assert len(said.err) <= LINE_MAX + 20
    return code, said.err


@pytest.mark.parametrize("name", commands())
def test_every_command_explains_itself_with_an_example(name: str, capsys: pytest.CaptureFixture[str]):
    assert cli.run([*name.split(), "--help"]) == Exit.OK
    said = capsys.readouterr().out
    assert "Example" in said
    assert f"scv {name}" in said


@pytest.mark.parametrize("name", commands())
def test_every_command_and_option_is_documented_and_nothing_else_is(name: str):
    sections = re.split(r"^## scv ", (ROOT / "docs" / "commands.md").read_text(), flags=re.MULTILINE)
    documented = {section.partition("\n")[0].strip(): section for section in sections[1:]}
    assert set(documented) == set(commands())
    options = {
        option
        for parameter in commands()[name].params
        for option in getattr(parameter, "opts", [])
        if option.startswith("--") and option != "--help"
    }
    told = set(re.findall(r"`(--[a-z-]+)", documented[name]))
    # A section may name an option of another command in passing.
    assert options <= told
    assert told <= options | {"--json", "--dry-run"}


def test_help_is_quick_because_it_imports_nothing_heavy():
    code = f"import sys, ops.cli; ops.cli.run(['--help']); print([m for m in {HEAVY!r} if m in sys.modules])"
    asked = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert asked.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    "arguments, complaint",
    [
        (["nope"], "No such command 'nope'; see `scv --help`"),
        (["import"], "Missing argument 'file'; see `scv import --help`"),
        (["demo", "--customers", "0"], "Invalid value for '--customers'"),
        (["inspect", "crm:4711", "--section", "x"], "No such option"),
        (["inspect", "rubbish"], "no customer id and no type:value"),
        (["inspect", "crm:4711", "--sections", "bill"], "no section bill; there are: summary"),
        (["worker", "--generation", "seven"], "setting generation (SCV_GENERATION)"),
    ],
)
def test_a_wrong_command_line_is_one_line_and_code_2(
    arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
):
    code, said = error_of(capsys, *arguments)
    assert code == Exit.USAGE
    assert complaint in said


def test_a_wrong_setting_is_named_as_the_operator_wrote_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("SCV_PARTITIONS", "many")
    assert error_of(capsys, "topics", "create")[1].startswith("scv: setting partitions (SCV_PARTITIONS)")
    monkeypatch.delenv("SCV_PARTITIONS")
    monkeypatch.setenv("SCV_CONFIG", str(tmp_path / "none.toml"))
    assert "no such file" in error_of(capsys, "topics", "create")[1]
    (tmp_path / "none.toml").write_text("kafka = [")
    code, said = error_of(capsys, "topics", "create")
    assert (code, "not TOML" in said) == (Exit.USAGE, True)


def test_a_service_that_is_away_is_code_7(capsys: pytest.CaptureFixture[str]):
    kafka, redis = f"127.0.0.1:{free_port()}", f"redis://127.0.0.1:{free_port()}/0"
    for arguments in (
        ["topics", "create", "--kafka", kafka],
        ["import", str(ROOT / "data" / "cdnow" / "CDNOW_master.txt"), "--map", "cdnow", "--kafka", kafka],
        ["inspect", "crm:4711", "--redis", redis],
        ["worker", "--kafka", kafka, "--redis", redis],
        ["publisher", "--kafka", kafka, "--redis", redis],
        ["dead-letters", "list", "--kafka", kafka],
    ):
        code, said = error_of(capsys, *arguments)
        assert code == Exit.AWAY, said
        assert kafka in said or redis.partition("//")[2].partition("/")[0] in said


def test_a_worker_refuses_a_store_that_evicts_and_a_log_without_topics(
    capsys: pytest.CaptureFixture[str], embedded_broker: Any
):
    with EmbeddedStore({"maxmemory-policy": "volatile-lru"}) as evicting:
        code, said = error_of(capsys, "worker", "--redis", evicting.url, "--kafka", embedded_broker.bootstrap)
    assert (code, "noeviction" in said) == (Exit.REFUSED, True)
    with EmbeddedStore() as fit:
        code, said = error_of(
            capsys, "worker", "--redis", fit.url, "--kafka", embedded_broker.bootstrap, "--generation", "g77"
        )
        assert code == Exit.NOT_FOUND
        assert "run `scv topics create --kafka" in said
        code, said = error_of(capsys, "publisher", "--redis", fit.url, "--kafka", embedded_broker.bootstrap)
        assert (code, "no topic scv.changes, customer.profiles" in said) == (Exit.NOT_FOUND, True)


def test_topics_are_created_once(capsys: pytest.CaptureFixture[str], embedded_broker: Any, unique: str):
    generation = f"g{int(unique, 16) % 10**8 + 1}"
    arguments = [
        "topics", "create", "--kafka", embedded_broker.bootstrap, "--generation", generation, "--json",
    ]  # fmt: skip
    assert cli.run(arguments) == Exit.OK
    created = msgspec.json.decode(capsys.readouterr().out)["created"]
    assert f"scv.{generation}.links" in created
    assert cli.run(arguments) == Exit.OK
    told = msgspec.json.decode(capsys.readouterr().out)
    assert told["created"] == []
    assert told["topics"] == describe_topics(embedded_broker.bootstrap)


def test_an_unexpected_error_is_one_line_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    def broken(*_: Any, **__: Any) -> int:
        raise ZeroDivisionError("division\nby zero")

    monkeypatch.setattr("ops.inspecting.run_inspect", broken)
    code, said = error_of(capsys, "inspect", "crm:4711")
    assert code == Exit.FAILED
    assert "unexpected ZeroDivisionError: division by zero; run again with SCV_TRACE=1" in said
    monkeypatch.setenv("SCV_TRACE", "1")
    with pytest.raises(ZeroDivisionError):
        cli.run(["inspect", "crm:4711"])


def test_a_line_stays_a_line():
    assert one_line("a\nb   c") == "a b c"
    assert len(one_line("x" * 10_000)) == LINE_MAX


def test_progress_is_a_plain_line_where_there_is_no_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(progress, "PLAIN_LINE_SECONDS", 0.0)
    with progress.Progress("folding", 200, "events") as shown:
        shown.update(50)
    said = capsys.readouterr()
    assert said.out == ""
    assert re.fullmatch(r"folding: 25 %, 50 events, [\d,]+/s, about \d+ s left\n", said.err)
    with progress.Progress("folding", 200, "events", quiet=True) as shown:
        shown.update(50)
    assert capsys.readouterr().err == ""


@pytest.fixture(scope="module")
def folded() -> Iterator[Installation]:
    """An installation whose worker has folded a small population and the broken records."""
    end = datetime(2026, 3, 1, 11, 0, tzinfo=UTC)
    with Installation() as installation:
        installation.start_worker()
        with LogProducer(installation.settings.kafka) as producer:
            for one in [*events(1815, 80, end), *broken_events(end)]:
                producer.produce(one.topic, one.key, one.value)
        ends = installation.ends(DOMAIN_TOPICS)
        deadline = time.monotonic() + START_SECONDS_MAX
        while installation.assembled(ends) < sum(ends.values()):
            installation.check()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        yield installation


def inspected(installation: Installation, *arguments: str) -> list[str]:
    return ["inspect", *arguments, "--redis", installation.settings.redis]


@pytest.mark.parametrize(
    "name",
    [
        "crm:4711",
        "phone:+49 30 901820",
        "phone:030/901820",
        "email: ADA@example.com",
        "order:O-8",
        "invoice:I-88",
    ],
)
def test_a_customer_is_found_by_any_name(folded: Installation, name: str, capsys: pytest.CaptureFixture[str]):
    assert cli.run(inspected(folded, name, "--json")) == Exit.OK
    answer = msgspec.json.decode(capsys.readouterr().out)
    assert answer["match"] == "single"
    assert answer["profile"]["founder"] == "crm:4711"
    assert answer["profile"]["billing"]["failures_in_a_row"] == 2
    assert answer["profile"]["summary"]["last_nps"] == 3
    assert cli.run(inspected(folded, answer["profile"]["customer_id"], "--json")) == Exit.OK


def test_a_portrait_says_what_matters_in_100_columns(
    folded: Installation, capsys: pytest.CaptureFixture[str]
):
    assert cli.run(inspected(folded, "crm:4711")) == Exit.OK
    said = capsys.readouterr().out
    for text in ("Ada Byron", "gold", "Invoice I-88: card expired", "payment failed 2 times", "49.90 €"):
        assert text in said
    assert max(len(line) for line in said.splitlines()) <= 100


def test_every_profile_of_the_population_can_be_shown(
    folded: Installation, capsys: pytest.CaptureFixture[str]
):
    for number in range(5001, 5041):
        assert cli.run(inspected(folded, f"crm:{number}")) == Exit.OK
    assert "crm:5040" in capsys.readouterr().out


def test_only_the_sections_asked_for_are_given(folded: Installation, capsys: pytest.CaptureFixture[str]):
    assert cli.run(inspected(folded, "crm:4711", "--sections", "billing, consent", "--json")) == Exit.OK
    profile = msgspec.json.decode(capsys.readouterr().out)["profile"]
    assert set(profile) == {"schema_version", "customer_id", "state", "founder", "billing", "consent"}
    assert cli.run(inspected(folded, "crm:4711", "--sections", "billing")) == Exit.OK
    said = capsys.readouterr().out
    assert "Billing" in said
    assert "Service" not in said


def test_several_who_answer_to_a_name_are_listed_and_none_is_picked(
    folded: Installation, capsys: pytest.CaptureFixture[str]
):
    assert cli.run(inspected(folded, "phone:+496990009000", "--json")) == Exit.OK
    answer = msgspec.json.decode(capsys.readouterr().out)
    assert (answer["match"], answer["profile"]) == ("ambiguous", None)
    assert len(answer["candidates"]) == folded.settings.identity_rules.shared_above + 1
    assert cli.run(inspected(folded, "phone:+496990009000")) == Exit.OK
    said = capsys.readouterr().out
    for candidate in answer["candidates"]:
        assert candidate["customer_id"] in said


def test_nobody_is_code_4(folded: Installation, capsys: pytest.CaptureFixture[str]):
    code, said = error_of(capsys, *inspected(folded, "crm:9999"))
    assert code == Exit.NOT_FOUND
    assert "nobody is known as 'crm:9999' in generation g1" in said
    assert cli.run(inspected(folded, "crm:9999", "--json")) == Exit.NOT_FOUND
    assert msgspec.json.decode(capsys.readouterr().out)["match"] == "none"


def port_of(address: str) -> int:
    return int(re.findall(r":(\d+)", address)[-1])


def gone(ports: list[int]) -> bool:
    """Whether nothing listens on these ports any more, soon."""
    deadline = time.monotonic() + START_SECONDS_MAX
    while any(accepts(port) for port in ports):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def workers_of(kafka: str) -> list[str]:
    """The processes whose command line names this broker, whatever the width of a terminal may be."""
    ran = subprocess.run(["ps", "-eww", "-o", "pid,args"], capture_output=True, text=True, check=True)
    return [line for line in ran.stdout.splitlines() if "worker" in line and kafka in line]


def served(address: str, key: str) -> bool:
    """Whether HTTP answers there to this key."""
    path = "/v1/profiles/cus_0000000000000000"
    asked = requests.get(address + path, headers={"Authorization": f"Bearer {key}"}, timeout=10)
    return (asked.status_code, asked.json()["code"]) == (404, "unknown_customer")


@pytest.mark.parametrize(
    "number, code", [(signal.SIGTERM, 0), (signal.SIGINT, Exit.INTERRUPTED), (signal.SIGKILL, -9)]
)
def test_up_says_when_it_is_ready_and_leaves_nothing_behind(number: int, code: int):
    running = subprocess.Popen(
        [*SCV, "up", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell that runs the tests in the background has them, and all they start, ignore Ctrl-C.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # noqa: PLW1509 - no threads here
    )
    try:
        assert running.stdout is not None
        ready = msgspec.json.decode(running.stdout.readline())
        assert set(ready) == {"kafka", "redis", "http", "api_key"}
        assert served(ready["http"], ready["api_key"])
        assert ready["redis"].startswith("redis://127.0.0.1:")
        assert len(workers_of(ready["kafka"])) == 1
        running.send_signal(number)
        out, err = running.communicate(timeout=START_SECONDS_MAX)
    finally:
        running.kill()
    assert (running.returncode, out, err) == (code, "", "")
    assert gone([port_of(ready["kafka"]), port_of(ready["redis"]), port_of(ready["http"])])
    deadline = time.monotonic() + START_SECONDS_MAX
    while workers_of(ready["kafka"]):
        assert time.monotonic() < deadline, "a worker outlived `scv up`"
        time.sleep(0.05)


def test_the_demo_counts_what_it_did_on_one_line():
    """CDNOW's 69,659 purchases of 23,570 customers, the population of 20, and seven broken records."""
    end = datetime.now(UTC)
    population = list(events(1815, 20, end))
    ran = subprocess.run(
        [*SCV, "demo", "--headless", "--json", "--customers", "20"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ran.returncode, ran.stderr) == (Exit.OK, "")
    told = msgspec.json.decode(ran.stdout)
    assert ran.stdout.count("\n") == 1
    assert told["events"] == 69_659 + len(population) + 7
    # Browsers and accounts are their people's, and employees are nobody's customers.
    assert told["customers"] == 23_570 + 20
    assert told["dead_letters"] == 7
    assert told["seconds"] > 0


def test_what_would_steer_a_terminal_is_not_passed_on():
    from ops.portrait import printable

    shown = printable({"name": ["Eve \x1b[31mX\x07", "\u202eabc", "Ünï 🙂"], "count": 3})
    assert shown == {"name": ["Eve \ufffd[31mX\ufffd", "\ufffdabc", "Ünï 🙂"], "count": 3}
