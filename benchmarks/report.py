"""Results as people and programs read them.

Guarantees:
- Of repeated runs: median, least and greatest; never the best alone.
- What was not measured is a dash or null, never a zero.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.draining import Drain
from benchmarks.footprint import Footprint
from benchmarks.latency import Latency

# Figure → heading, decimals.
DRAIN_COLUMNS = {
    "events_per_second": ("events/s", 0),
    "events_per_cpu_second": ("events/CPU s", 0),
    "worker_us_per_event": ("worker µs", 1),
    "store_us_per_event": ("store µs", 1),
    "broker_us_per_event": ("broker µs", 1),
    "rss_peak_mib": ("RSS MiB", 0),
    "first_visible_seconds": ("first after s", 1),
}


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median, least and greatest of one figure over the runs."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def summarised(drains: Sequence[Drain]) -> dict[str, Any]:
    """Per contender: its figures over all its runs, and how often it was stopped for time."""
    names = dict.fromkeys(one.contender for one in drains)
    return {name: _summary([one for one in drains if one.contender == name]) for name in names}


def _summary(drains: Sequence[Drain]) -> dict[str, Any]:
    measured = [found for one in drains if (found := one.figures()) is not None]
    return {
        "runs": len(drains),
        "stopped_for_time": sum(not one.complete for one in drains),
        "figures": {name: spread([one[name] for one in measured]) for name in DRAIN_COLUMNS}
        if measured
        else None,
    }


def lines(result: Mapping[str, Any]) -> list[str]:
    """The tables of a result."""
    return [
        *_drain_table(result["throughput"]),
        "",
        *_latency_table(result["latency"]),
        "",
        _footprint_line(result["footprint"]),
        "",
        _circumstances(result["machine"], result["servers"], result["load_average"]),
    ]


def _circumstances(machine: Mapping[str, Any], servers: Mapping[str, str], load: Mapping[str, float]) -> str:
    return (
        f"{machine['cpu']}, {machine['cores']} cores, Python {machine['python']}, {servers['broker']}, "
        f"{servers['store']}; load average {load['min']:.1f} to {load['max']:.1f}"
    )


def _drain_table(throughput: Mapping[str, Any]) -> list[str]:
    rows = [["backlog drained, median (least–greatest)", *[title for title, _ in DRAIN_COLUMNS.values()]]]
    for name, found in throughput.items():
        note = f" (stopped for time: {found['stopped_for_time']} of {found['runs']})"
        row = [name + (note if found["stopped_for_time"] else "")]
        for figure, (_, decimals) in DRAIN_COLUMNS.items():
            row.append("–" if found["figures"] is None else _span(found["figures"][figure], decimals))
        rows.append(row)
    return _aligned(rows)


def _span(figure: Mapping[str, float], decimals: int) -> str:
    median, least, greatest = (f"{figure[name]:,.{decimals}f}" for name in ("median", "min", "max"))
    return median if least == greatest else f"{median} ({least}–{greatest})"


def _latency_table(latencies: Sequence[Mapping[str, Any]]) -> list[str]:
    rows = [
        ["produced to readable, ms", "events/s", "p50", "p95", "p99", "max", "probes", "missing", "worker"]
    ]
    for one in latencies:
        times = [f"{one[name]:,.0f}" for name in ("p50_ms", "p95_ms", "p99_ms", "max_ms")]
        rows.append(
            [
                one["contender"],
                f"{one['rate_per_second']:,}",
                *times,
                str(one["probes"]),
                str(one["missing"]),
                f"{one['worker_cpu_share']:.0%}",
            ]
        )
    return _aligned(rows)


def _footprint_line(footprint: Mapping[str, Any]) -> str:
    kinds = ", ".join(f"{kind} {size:,.0f}" for kind, size in footprint["bytes_by_kind"].items())
    return (
        f"Redis bytes per customer of {footprint['events_each']} events: {footprint['bytes_of_keys']:,.0f} "
        f"in {footprint['keys_per_customer']:.1f} keys ({kinds}); "
        f"the server grew by {footprint['bytes_of_server']:,.0f}"
    )


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join(
            cell.rjust(width) if column else cell.ljust(width)
            for column, (cell, width) in _cells(row, widths)
        )
        for row in rows
    ]


def _cells(row: Sequence[str], widths: Sequence[int]) -> enumerate[tuple[str, int]]:
    return enumerate(zip(row, widths, strict=True))


def as_json(
    drains: Sequence[Drain], latencies: Sequence[Latency], footprint: Footprint, about: Mapping[str, Any]
) -> dict[str, Any]:
    """The whole result: what was measured with, the summary, and every single run."""
    loads = [one.load_average for one in drains]
    return {
        **about,
        "load_average": {"min": min(loads), "max": max(loads)},
        "throughput": summarised(drains),
        "latency": [one._asdict() for one in latencies],
        "footprint": footprint._asdict(),
        "runs": [one._asdict() for one in drains],
    }
