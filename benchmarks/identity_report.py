"""Scores as people read them.

Guarantees:
- What was not measured is a dash, never a zero.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def lines(result: Mapping[str, Any]) -> list[str]:
    """The tables of a result of `benchmarks.identity`."""
    found: list[str] = []
    for name, one in result["sets"].items():
        found += [f"{name}: {one['records']:,} records of {one['people']:,} people", *_ways(one["ways"])]
        found += [
            "suggest's customers are " + ("" if one["equal"] else "NOT ") + "plain Splink's clusters",
            "",
        ]
        found += [*_thresholds(one["thresholds"]), ""]
    machine, packages = result["machine"], result["packages"]
    where = f"{machine['cpu']}, {machine['cores']} cores, Python {machine['python']}, " if machine else ""
    return [*found, f"{where}Splink {packages['splink']}, DuckDB {packages['duckdb']}"]


def _ways(ways: Mapping[str, Mapping[str, Any]]) -> list[str]:
    rows = [["way", "precision", "recall", "F1", "seconds", "links", "undone by one unlink"]]
    for way, one in ways.items():
        figures = [f"{one[name]:.4f}" for name in ("precision", "recall", "f1")]
        counts = [f"{one[name]:,}" if name in one else "–" for name in ("links", "undone")]
        rows.append([way, *figures, f"{one['seconds']:.1f}", *counts])
    return aligned(rows)


def _thresholds(scores: Mapping[str, Mapping[str, Any]]) -> list[str]:
    rows = [["plain Splink at", *scores]]
    for name, title in (("precision", "precision"), ("recall", "recall"), ("f1", "F1")):
        rows.append([title, *(f"{one[name]:.4f}" for one in scores.values())])
    return aligned(rows)


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows of cells as lines: the first column to the left, the others to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join(
            cell.rjust(width) if column else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
