"""`scv up`: embedded servers, workers and HTTP in the foreground.

Invariants:
- Ready means: every lane of events, commands and link facts is taken by a worker.
- Ctrl-C and SIGTERM stop everything; so does the end of this process, whatever ended it.
"""

from __future__ import annotations

import signal
import time
from types import FrameType
from typing import NoReturn

from eventlog.topics import COMMANDS, link_log
from models.catalogue import DOMAIN_TOPICS
from ops.answers import say, say_json
from ops.failures import Exit
from ops.installation import Installation

# How soon a server that has ended is noticed.
LOOK_EVERY_SECONDS = 0.5


class Stopped(Exception):
    """Somebody asked this process to end (SIGTERM)."""


def run_up(*, workers: int, metrics_port: int | None, as_json: bool) -> int:
    """Run until somebody stops it. The exit code is 0 for SIGTERM, 130 for Ctrl-C, else what failed."""
    heed_sigterm()
    try:
        with Installation(metrics_port) as installation:
            installation.start_publisher()
            for _ in range(workers):
                installation.start_worker()
            installation.start_http()
            links = link_log(installation.settings.generation)
            installation.wait_for_lanes((*DOMAIN_TOPICS, COMMANDS, links))
            settings = installation.settings
            if as_json:
                say_json(
                    {
                        "kafka": settings.kafka,
                        "redis": settings.redis,
                        "http": installation.http,
                        "api_key": installation.api_key,
                    }
                )
            else:
                say(f"ready: Kafka at {settings.kafka}, Redis at {settings.redis}, {_counted(workers)}")
                say_exports(installation)
                if installation.metrics_ports:
                    shown = ", ".join(map(str, installation.metrics_ports))
                    say(f"Metrics at {settings.metrics_host}, port {shown}")
                say_http(installation)
                say_page(installation)
                say("Ctrl-C stops everything; nothing is kept.")
            stay(installation)
    except Stopped:
        return Exit.OK


def _counted(workers: int) -> str:
    return "1 worker" if workers == 1 else f"{workers} workers"


def say_exports(installation: Installation) -> None:
    """The line that points another terminal here."""
    pairs = " ".join(f"{name}={address}" for name, address in installation.addresses.items())
    say(f"In another terminal:  export {pairs}")


def page_link(installation: Installation, calling: str = "") -> str:
    """The agent's page with an agent signed in; `calling` as `phone=+4930901820` opens whose call that is."""
    # In the fragment: a browser sends it nowhere, and takes the key out of the address at once.
    call = f"&{calling}" if calling else ""
    return f"{installation.http}/sign-in?next=/agent#key={installation.desk_key}{call}"


def say_page(installation: Installation, calling: str = "") -> None:
    """The lines that say where the agent's page is."""
    say("The agent's page, signed in with a key that sees personal data masked:")
    say(f"  {page_link(installation, calling)}")


def say_http(installation: Installation) -> None:
    """The lines that say where HTTP is, and with which key."""
    say(f"HTTP at {installation.http}/docs, with the key of this installation:")
    say(f"  curl -H 'Authorization: Bearer {installation.api_key}' \\")
    say('    -d \'{"identifiers":[{"type":"phone","value":"+49 30 901820"}]}\' \\')
    say(f"    -H 'Content-Type: application/json' {installation.http}/v1/profiles:lookup")


def stay(installation: Installation) -> NoReturn:
    """Watch over the servers and workers; ends by a signal, or by the Failure of one that ended."""
    while True:
        installation.check()
        time.sleep(LOOK_EVERY_SECONDS)


def heed_sigterm() -> None:
    """Let SIGTERM raise Stopped in the main thread, so that `with` blocks end what they began."""

    def stop(number: int, frame: FrameType | None) -> None:
        # A second one while stopping would leave the first unfinished; the watchdogs need no second one.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise Stopped

    signal.signal(signal.SIGTERM, stop)
