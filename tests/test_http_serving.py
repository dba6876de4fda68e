"""`scv serve` as a process: it says when it listens, ends when asked, and tells in a line what is wrong."""

from __future__ import annotations

import http.client
import logging
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from api.keys import create_key
from api.protocol import CONNECTIONS_MAX
from eventlog.processes import HOST, free_port
from ops import serving as serving_module
from ops.failures import Exit

SCV = [
    sys.executable,
    "-m",
    "ops.cli",
    "serve",
    "--host",
    HOST,
    "--kafka",
    "127.0.0.1:1",
    "--redis",
    "redis://127.0.0.1:1/0",
]


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    create_key(tmp_path / "keys.json", ["profile:read"], "")
    return tmp_path / "keys.json"


def _as_from_a_shell() -> None:
    # One that runs the tests in the background has them, and all they start, ignore Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))


@pytest.fixture
def serving(keys: Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A server whose store and log are away, as soon as it listens."""
    port = free_port()
    running = subprocess.Popen(
        [*SCV, "--port", str(port), "--keys", str(keys)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        preexec_fn=_as_from_a_shell, start_new_session=True,  # noqa: PLW1509 - no threads here
    )  # fmt: skip
    try:
        assert running.stdout is not None
        assert (
            running.stdout.readline()
            == f"ready: http://{HOST}:{port}, what it offers at http://{HOST}:{port}/docs\n"
        )
        yield running, port
    finally:
        running.kill()
        running.communicate()


def test_it_listens_though_all_else_is_away_and_another_cannot_take_its_port(
    serving: tuple[subprocess.Popen[str], int], keys: Path
) -> None:
    running, port = serving
    if resource.getrlimit(resource.RLIMIT_NOFILE)[1] > CONNECTIONS_MAX:
        lines = Path(f"/proc/{running.pid}/limits").read_text().splitlines()
        [files] = [int(line.split()[3]) for line in lines if line.startswith("Max open files")]
        assert files > CONNECTIONS_MAX, "it has asked for more than the 256 that it was given"
    connection = http.client.HTTPConnection(HOST, port, timeout=30)
    for path, status in (
        ("/livez", 200),
        ("/readyz", 503),
        ("/docs", 200),
        ("/openapi.json", 200),
        ("/asyncapi.yaml", 200),
    ):
        connection.request("GET", path)
        answer = connection.getresponse()
        assert (answer.status, bool(answer.read())) == (status, True)
    second = subprocess.run(
        [*SCV, "--port", str(port), "--keys", str(keys)], capture_output=True, text=True, check=False
    )
    assert (second.returncode, second.stdout) == (Exit.FAILED, "")
    assert (
        second.stderr.splitlines()[-1]
        == f"scv: {HOST}:{port} cannot be listened on; does something there already?"
    )
    assert "Traceback" not in second.stderr
    os.kill(running.pid, signal.SIGTERM)
    _, said = running.communicate(timeout=60)
    assert running.returncode == 0 and "Traceback" not in said


def test_lines_of_the_log_are_dated_as_the_library_dates_them() -> None:
    form = "%(asctime)s %(message)s"
    ours, theirs = serving_module._Formatter(form), logging.Formatter(form)
    for created in (1_772_359_200.0004, 1_772_359_200.9996, 1_772_359_201.5, 1_772_359_200.25):
        record = logging.makeLogRecord({"created": created, "msecs": created % 1 * 1_000, "msg": "x"})
        assert ours.format(record) == theirs.format(record)


def _of_replays(server: int) -> list[int]:
    """The processes of this server that another Python of its own runs in."""
    children = Path(f"/proc/{server}/task/{server}/children").read_text().split()
    return [one for one in map(int, children) if b"spawn_main" in Path(f"/proc/{one}/cmdline").read_bytes()]


@pytest.mark.parametrize("seconds", [0.0, 2.0])
def test_ctrl_c_ends_it_and_its_process_of_replays_without_a_word(
    serving: tuple[subprocess.Popen[str], int], seconds: float
) -> None:
    running, _ = serving
    [replays] = _of_replays(running.pid)
    time.sleep(seconds)
    # As a terminal does: to all that the command has started.
    os.killpg(running.pid, signal.SIGINT)
    _, said = running.communicate(timeout=60)
    assert running.returncode == Exit.INTERRUPTED and "Traceback" not in said
    assert not Path(f"/proc/{replays}").exists()


def test_its_process_of_replays_is_there_before_anybody_asks_and_ends_with_it(
    serving: tuple[subprocess.Popen[str], int],
) -> None:
    running, _ = serving
    [replays] = _of_replays(running.pid)
    running.kill()
    running.wait()
    deadline = time.monotonic() + 30
    while Path(f"/proc/{replays}").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not Path(f"/proc/{replays}").exists()
