"""What every command of the benchmarks has in common: options, circumstances, a file, a last line.

Guarantees:
- Progress goes to stderr. The last line on stdout is the whole result as one JSON object; before it stand the
  tables, unless --json.
- The result is kept in benchmarks/results/, one file per command and kind of servers; of --quick, one of its
  own.
- What fails is one line on stderr and exit code 1; nothing is kept then.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks import usage
from benchmarks.checking import WrongProfiles
from benchmarks.contenders import CONTENDERS, Ended
from benchmarks.servers import KINDS, Servers, preferred, unavailable
from eventlog.errors import LogError

RESULTS = Path(__file__).parent / "results"


def options(name: str, purpose: str) -> argparse.ArgumentParser:
    """A parser that knows what every command takes; `purpose` is its module's docstring."""
    parser = argparse.ArgumentParser(
        prog=f"python -m benchmarks.{name}", description=(purpose or "").partition("\n")[0]
    )
    parser.add_argument("--quick", action="store_true", help="small, for a first look; figures are rough")
    parser.add_argument("--json", action="store_true", help="only the last line, the result as JSON")
    parser.add_argument(
        "--broker",
        choices=KINDS,
        help="Apache Kafka with Redis (the default where both are installed), or embedded servers",
    )
    parser.add_argument("--out", type=Path, help="file for the result, instead of one in benchmarks/results/")
    return parser


def throughput_options(parser: argparse.ArgumentParser, full: Any) -> None:
    """What a throughput of several contenders can be told; `full` is the plan that they change."""
    parser.add_argument("--events", type=int, help=f"in the backlog ({full.events})")
    parser.add_argument("--subjects", type=int, help=f"customers that they are about ({full.subjects})")
    parser.add_argument("--repeat", type=int, help=f"runs of each contender ({full.repeat})")
    parser.add_argument("--seconds", type=float, help=f"stop a run after so long ({full.seconds_max:.0f})")
    parser.add_argument("--contender", action="append", choices=sorted(CONTENDERS), help="only these")


def of_throughput(arguments: argparse.Namespace) -> dict[str, Any]:
    """What was chosen of those options, under the names that plans have for them."""
    return {
        "events": arguments.events,
        "subjects": arguments.subjects,
        "repeat": arguments.repeat,
        "seconds_max": arguments.seconds,
        "contenders": tuple(arguments.contender) if arguments.contender else None,
    }


def planned(plan: Any, **chosen: Any) -> Any:
    """The plan with what was chosen on the command line; None is not chosen."""
    return plan._replace(**{name: value for name, value in chosen.items() if value is not None})


def say(name: str, text: str) -> None:
    """A line of progress."""
    print(f"benchmarks.{name}: {text}", file=sys.stderr, flush=True)


def about(servers: Servers, plan: Mapping[str, Any]) -> dict[str, Any]:
    """When, how much, and on what."""
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "plan": dict(plan),
        "machine": usage.machine(),
        "servers": servers.versions(),
    }


def keep(result: Mapping[str, Any], path: Path) -> None:
    """Write the result where it can be compared with the next."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=1) + "\n")


def run(
    name: str,
    arguments: argparse.Namespace,
    measure: Callable[[str], dict[str, Any]],
    lines: Callable[[Mapping[str, Any]], list[str]],
) -> int:
    """Measure on servers of the kind wanted, print, keep; gives the exit code."""
    broker = arguments.broker or preferred()
    if reason := usage.available() or unavailable(broker):
        say(name, reason)
        return 1
    try:
        result = measure(broker)
    except (Ended, WrongProfiles, LogError) as failed:
        say(name, str(failed))
        return 1
    path = arguments.out or RESULTS / f"{name}-{broker}{'-quick' if arguments.quick else ''}.json"
    keep(result, path)
    if not arguments.json:
        print("\n".join(lines(result)))
        print(f"kept in {path}")
    print(json.dumps(result))
    return 0
