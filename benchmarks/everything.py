"""Every measurement of scv, one after the other: what `make bench` runs.

    make bench ARGS=--quick
    python -m benchmarks.everything --broker apache --only live --only lookup

Guarantees:
- Each is the command of its own that its module documents; what it prints and keeps is the same.
- One that fails is said at the end, and does not keep the others from running.
- Where Java, Maven and a Redis are there, Apache Kafka's jars are fetched first, so that it is measured.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Mapping, Sequence

from benchmarks import backlog, growth, hot, http, keeping, latency, live, lookup, memory
from benchmarks.servers import KINDS, unavailable
from eventlog.apache import fetch_jars

COMMANDS: Mapping[str, Callable[[Sequence[str]], int]] = {
    "live": live.main,
    "latency": latency.main,
    "lookup": lookup.main,
    "http": http.main,
    "growth": growth.main,
    "memory": memory.main,
    "hot": hot.main,
    # The longest: about half of the whole.
    "backlog": backlog.main,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run them; gives 1 when one failed."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.everything", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--quick", action="store_true", help="small: all of it in some minutes")
    parser.add_argument("--json", action="store_true", help="only a line of JSON for each")
    parser.add_argument("--broker", choices=KINDS, help="Apache Kafka with Redis, or embedded servers")
    parser.add_argument(
        "--only", action="append", choices=tuple(COMMANDS), help="this one; may be given again"
    )
    arguments = parser.parse_args(argv)
    passed = [f"--{name}" for name in ("quick", "json") if getattr(arguments, name)]
    if arguments.broker:
        passed += ["--broker", arguments.broker]
    if arguments.broker != "embedded" and unavailable("apache") is None:
        fetch_jars()
    failed = []
    for name in arguments.only or COMMANDS:
        began = time.monotonic()
        if COMMANDS[name](passed):
            failed.append(name)
        keeping.say("everything", f"{name} took {time.monotonic() - began:.0f} s")
    if failed:
        keeping.say("everything", f"failed: {', '.join(failed)}; see above")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
