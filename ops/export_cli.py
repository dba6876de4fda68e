"""The command `scv export`: what it offers, and how it is called.

Invariants:
- Importing this module imports typer and nothing heavier.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ops.options import AsJson, Kafka


def export(
    out: Annotated[Path, typer.Option(metavar="DIR", help="A directory that is not there yet, or is empty.")],
    format_: Annotated[
        str, typer.Option("--format", metavar="F", help="parquet, with typed columns, or jsonl.")
    ] = "parquet",
    sections: Annotated[
        str | None, typer.Option(metavar="A,B", help="Only these sections, such as summary,sales.")
    ] = None,
    masked: Annotated[bool, typer.Option("--masked", help="Personal data masked, as over HTTP.")] = False,
    kafka: Kafka = None,
    as_json: AsJson = False,
) -> int:
    """Write all profiles to files for analysts, at one position of the log.

    Reads customer.profiles up to where it ends when the command begins: the
    position stands in manifest.json. The directory appears whole or not at
    all, so a command that was stopped is simply run again.

    \b
    Examples:
      scv export --out profiles --masked
      scv export --out exports/2026-03-01 --format jsonl --sections summary,sales
    """
    from ops.exporting import run_export

    return run_export(
        out=out, format_=format_, sections=sections, masking=masked, kafka=kafka, as_json=as_json
    )
