"""Options that several commands have, each with one name and one meaning.

Invariants:
- Importing this module imports typer and nothing heavier.
"""

from __future__ import annotations

from typing import Annotated

import typer

Kafka = Annotated[
    str | None, typer.Option("--kafka", metavar="HOST:PORT", help="Bootstrap servers, instead of SCV_KAFKA.")
]
Redis = Annotated[str | None, typer.Option("--redis", metavar="URL", help="The store, instead of SCV_REDIS.")]
SessionTimeout = Annotated[
    float | None,
    typer.Option(
        "--session-timeout",
        metavar="SECONDS",
        help="Instead of SCV_SESSION_TIMEOUT_SECONDS; 6 suits the embedded broker.",
    ),
]
Generation = Annotated[
    str | None,
    typer.Option("--generation", metavar="gN", help="Generation of the view, instead of SCV_GENERATION."),
]
ActiveGeneration = Annotated[
    str | None, typer.Option("--generation", metavar="gN", help="Instead of the active generation.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON on stdout, and nothing else there.")]
MetricsPort = Annotated[
    int | None,
    typer.Option(
        "--metrics-port",
        metavar="PORT",
        help="Serve Prometheus metrics there, instead of SCV_METRICS_PORT.",
        min=0,
        max=65_535,
    ),
]
From = Annotated[
    str | None,
    typer.Option("--from", metavar="T", help="Logged at or after: 2026-03-01T10:42:07Z, 2026-03-01, 90m."),
]
To = Annotated[str | None, typer.Option("--to", metavar="T", help="Logged before, as --from.")]
Limit = Annotated[int, typer.Option("--limit", metavar="N", help="At most so many.", min=1, max=100_000)]
Execute = Annotated[bool, typer.Option("--execute", help="Do it; without it only the plan is printed.")]
