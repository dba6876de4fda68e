"""Results as people and programs read them.

Guarantees:
- Of repeated runs: median, least and greatest; never the best alone.
- What was not measured is a dash or null, never a zero.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    # The commands that measure these print with this module.
    from benchmarks.draining import Drain
    from benchmarks.footprint import Footprint
    from benchmarks.latency import Latency

# Figure → heading, decimals.
DRAIN_COLUMNS = {
    "events_per_cpu_second": ("events/CPU s", 0),
    "events_per_second": ("events/s", 0),
    "worker_us_per_event": ("worker µs", 1),
    "store_us_per_event": ("store µs", 1),
    "broker_us_per_event": ("broker µs", 1),
    "rss_peak_mib": ("RSS MiB", 0),
    "first_visible_seconds": ("first after s", 1),
}

# Key of the headline → the contender that scv is divided by.
RATIOS = {"faust_ratio": "plain-faust", "quix_ratio": "quix", "limit_ratio": "limit"}


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


def headline(throughput: Mapping[str, Any], latencies: Sequence[Latency]) -> dict[str, float | None]:
    """The figures that tell most: scv's events per processor second, and how many times the others' it is."""
    own = _per_cpu_second(throughput, "scv")
    ratios: dict[str, float | None] = {"live_per_cpu_second": own}
    for name, contender in RATIOS.items():
        other = _per_cpu_second(throughput, contender)
        ratios[name] = None if own is None or other is None else own / other
    of_scv = [one.p99_ms for one in latencies if one.contender == "scv"]
    return {**ratios, "latency_p99_ms": of_scv[0] if of_scv else None}


def _per_cpu_second(throughput: Mapping[str, Any], name: str) -> float | None:
    figures = throughput[name]["figures"] if name in throughput else None
    return None if figures is None else figures["events_per_cpu_second"]["median"]


def lines(result: Mapping[str, Any]) -> list[str]:
    """The tables of a result."""
    load = result["load_average"]
    return [
        *drain_table(result["throughput"]),
        "",
        *ratio_line(result),
        *latency_table(result["latency"]),
        "",
        footprint_line(result["footprint"]),
        "",
        f"{circumstances(result)}; load average {load['min']:.1f} to {load['max']:.1f}",
    ]


def ratio_line(result: Mapping[str, Any]) -> list[str]:
    """What scv does per processor second, over what each of the others does."""
    found = [
        f"{result[name]:.2f} of {contender}" for name, contender in RATIOS.items() if result[name] is not None
    ]
    return ["scv per processor second, times: " + ", ".join(found), ""] if found else []


def circumstances(result: Mapping[str, Any]) -> str:
    """What it was measured on, in a line."""
    machine, servers = result["machine"], result["servers"]
    return (
        f"{machine['cpu']}, {machine['cores']} cores, Python {machine['python']}, "
        f"{servers['broker']}, {servers['store']}"
    )


def drain_table(throughput: Mapping[str, Any]) -> list[str]:
    """A row for each contender."""
    rows = [["backlog drained, median (least–greatest)", *[title for title, _ in DRAIN_COLUMNS.values()]]]
    for name, found in throughput.items():
        note = f" (stopped for time: {found['stopped_for_time']} of {found['runs']})"
        row = [name + (note if found["stopped_for_time"] else "")]
        for figure, (_, decimals) in DRAIN_COLUMNS.items():
            row.append("–" if found["figures"] is None else _span(found["figures"][figure], decimals))
        rows.append(row)
    return aligned(rows)


def _span(figure: Mapping[str, float], decimals: int) -> str:
    median, least, greatest = (f"{figure[name]:,.{decimals}f}" for name in ("median", "min", "max"))
    return median if least == greatest else f"{median} ({least}–{greatest})"


def latency_table(latencies: Sequence[Mapping[str, Any]]) -> list[str]:
    """A row for each rate."""
    rows = [
        [
            "produced to readable, ms",
            "events/s",
            "p50",
            "p95",
            "p99",
            "p99.9",
            "max",
            "probes",
            "missing",
            "worker",
        ]
    ]
    for one in latencies:
        times = [f"{one[name]:,.0f}" for name in ("p50_ms", "p95_ms", "p99_ms", "p999_ms", "max_ms")]
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
    return aligned(rows)


def footprint_line(footprint: Mapping[str, Any]) -> str:
    """What a customer takes in Redis."""
    kinds = ", ".join(f"{kind} {size:,.0f}" for kind, size in footprint["bytes_by_kind"].items())
    return (
        f"Redis bytes per customer of {footprint['events_each']} events: {footprint['bytes_of_keys']:,.0f} "
        f"in {footprint['keys_per_customer']:.1f} keys ({kinds}); "
        f"the server grew by {footprint['bytes_of_server']:,.0f}"
    )


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows of cells as lines; the first column to the left, the others to the right."""
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
    throughput = summarised(drains)
    return {
        **headline(throughput, latencies),
        **about,
        "load_average": {"min": min(loads), "max": max(loads)},
        "throughput": throughput,
        "latency": [one._asdict() for one in latencies],
        "footprint": footprint._asdict(),
        "runs": [one._asdict() for one in drains],
    }
