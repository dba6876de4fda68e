"""The identity writer of a worker, alone in a process: it reads the link log, and nothing else.

    python -m benchmarks.graph_writer --kafka HOST:PORT --redis URL --group NAME

Guarantees:
- Writer, store, producer and streaming app are those that `scv worker` makes of the same settings.
"""

from __future__ import annotations

import argparse
import gc
import sys

from benchmarks.graph_cost import COLLECT
from eventlog.topics import link_log
from models.settings import Settings
from streams.app import StreamSettings, build_app, run
from streams.worker import lane_worker


def main() -> int:
    """Run until a signal; gives the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.graph_writer", description=__doc__.partition("\n")[0]
    )
    for name in ("--kafka", "--redis", "--group"):
        parser.add_argument(name, required=True)
    parser.add_argument("--session-timeout", type=float, required=True)
    arguments = parser.parse_args()
    gc.set_threshold(*COLLECT)
    settings = Settings(kafka=arguments.kafka, redis=arguments.redis)
    streaming = StreamSettings(
        brokers=arguments.kafka,
        group_id=arguments.group,
        session_timeout_seconds=arguments.session_timeout,
    )
    writer = lane_worker(settings).identity
    return run(build_app(streaming, writer, (link_log(settings.generation),)))


if __name__ == "__main__":
    sys.exit(main())
