"""Events at a steady rate, from a process of its own: what flows while something else is measured.

    python -m benchmarks.flow --kafka 127.0.0.1:9092 --rate 1000 --subjects 5000

Guarantees:
- What was due and not sent in time is sent as soon as possible: over a second the rate holds.
- It runs until it is ended.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from benchmarks.load import mixed
from eventlog.processes import ServerProcess, make_directory
from eventlog.producing import LogProducer

LINGER_MS = 1
# Sources send in small portions; more often would cost the machine what is measured there.
EVERY_SECONDS = 0.005
ROOT = Path(__file__).resolve().parent.parent


def started(bootstrap: str, rate: int, subjects: int) -> ServerProcess:
    """A process that does this; `kill` ends it, and it ends with this process."""
    command = [
        "env", f"PYTHONPATH={ROOT}", sys.executable, "-m", "benchmarks.flow",
        "--kafka", bootstrap, "--rate", str(rate), "--subjects", str(subjects),
    ]  # fmt: skip
    return ServerProcess(
        "benchmarks.flow", command, make_directory("bench-flow"), ready=lambda: True, timeout_seconds=30.0
    )


def main() -> None:
    """Produce until ended."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.flow", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--kafka", required=True)
    parser.add_argument("--rate", type=int, required=True, help="events a second")
    parser.add_argument("--subjects", type=int, required=True, help="customers that they are about")
    arguments = parser.parse_args()
    load = mixed(sys.maxsize, arguments.subjects, seed=4)
    with LogProducer(arguments.kafka, client_id="scv-bench-flow", linger_ms=LINGER_MS) as producer:
        began, sent = time.monotonic(), 0
        while True:
            due = int((time.monotonic() - began) * arguments.rate)
            for _ in range(due - sent):
                record = next(load)
                producer.produce(record.topic, record.key, record.value)
            sent = due
            time.sleep(EVERY_SECONDS)


if __name__ == "__main__":
    main()
