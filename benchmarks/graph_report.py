"""Figures of the identity graph as people read them.

Guarantees:
- Ratios come first: they hold on other machines, the figures below them are of this one.
- Of repeated runs: median, least and greatest. What was not measured is a dash, never a zero.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.identity_report import aligned

RATES = ("per_second", "per_cpu_second", "writer_us", "store_us", "broker_us", "rss_peak_mib")
WAYS = {"graph_only": "graph only", "with_parts": "with parts"}


def ratios(result: Mapping[str, Any]) -> dict[str, float | None]:
    """What to read first, from the other figures; None where one of the two was not measured."""
    found: dict[str, float | None] = {}
    throughput, memory = result["throughput"], result["in_memory"]
    for way in WAYS:
        held = throughput[way]
        found[f"bulk_to_writer_{way}"] = _ratio(held["bulk"]["per_second"], held["writer"]["per_second"])
        found[f"bulk_to_writer_cpu_{way}"] = _ratio(
            held["bulk"]["per_cpu_second"], held["writer"]["per_cpu_second"]
        )
    plain = throughput["graph_only"]["writer"]["per_cpu_second"]
    found["with_parts_to_graph_only_cpu"] = _ratio(
        throughput["with_parts"]["writer"]["per_cpu_second"], plain
    )
    found["graph_share_of_writer_cpu"] = _ratio(plain, memory["one_by_one"])
    found["at_once_to_one_by_one_cpu"] = _ratio(memory["at_once"], memory["one_by_one"])
    us = {one["size"]: one["remembered_us"] for one in result["sizes"] if one["kind"] == "subject"}
    found["size_1000_to_size_10"] = us[1_000] / us[10] if us.keys() >= {10, 1_000} else None
    capped = {one["people"]: one for one in result["households"] if one["component_max"] == 1_000}
    for one in result["households"]:
        if one["component_max"] != 1_000 and one["people"] in capped:
            found["link_without_cap_to_with"] = one["us_mean"] / capped[one["people"]]["us_mean"]
    return found


def _ratio(upper: Mapping[str, float] | None, lower: Mapping[str, float] | None) -> float | None:
    return None if upper is None or lower is None else upper["median"] / lower["median"]


def lines(result: Mapping[str, Any]) -> list[str]:
    """The tables of a result of `benchmarks.graph`."""
    shown = [
        [name.replace("_", " "), "–" if of is None else f"{of:.2f}"] for name, of in result["ratios"].items()
    ]
    machine, servers = result["machine"], result["servers"]
    load = result["load_average"]
    where = (
        f"{machine['cpu']}, {machine['cores']} cores, Python {machine['python']}, {servers['broker']}, "
        f"{servers['store']}; load average {load['min']:.1f} to {load['max']:.1f}"
    )
    return [
        *aligned([["ratio", ""], *shown]),
        "",
        *_throughput(result["throughput"], result["in_memory"]),
        "",
        *_latency(result["latency"]),
        "",
        *_stages(result["stages"]),
        "",
        *_sizes(result["sizes"]),
        "",
        *_households(result["households"]),
        "",
        where,
    ]


def _throughput(found: Mapping[str, Any], memory: Mapping[str, Any]) -> list[str]:
    head = ["facts/s", "facts/CPU s", "CPU µs", "store µs", "broker µs", "RSS MiB"]
    rows = [[f"{found['facts']:,} facts of {found['customers']:,} customers", *head]]
    for way, title in WAYS.items():
        for how in ("writer", "bulk"):
            held = found[way][how]
            rows.append([f"{how}, {title}", *(_span(held.get(rate)) for rate in RATES)])
    for how, rate in memory.items():
        rows.append([f"graph alone, {how.replace('_', ' ')}", "–", _span(rate), *["–"] * 4])
    return aligned(rows)


def _span(figure: Mapping[str, float] | None) -> str:
    if figure is None:
        return "–"
    median, least, greatest = (f"{figure[name]:,.0f}" for name in ("median", "min", "max"))
    return median if least == greatest else f"{median} ({least}–{greatest})"


def _stages(found: Mapping[str, Any]) -> list[str]:
    rows = [["writer's stage, CPU µs per fact", *WAYS.values()]]
    for stage in found["graph_only"]["stages_us"]:
        rows.append([stage, *(f"{found[way]['stages_us'][stage]:.1f}" for way in WAYS)])
    rows.append(["all, without timers", *(f"{found[way]['writer_us']:.1f}" for way in WAYS)])
    return aligned(rows)


def _latency(found: Sequence[Mapping[str, Any]]) -> list[str]:
    rows = [["merged profile readable, ms", "merges", "missing", "others/s", "p50", "p95", "p99", "max"]]
    for one in found:
        for since in ("from_fact", "from_event"):
            times = [f"{one[since][name]:,.0f}" for name in ("p50_ms", "p95_ms", "p99_ms", "max_ms")]
            counts = [str(one[name]) for name in ("merges", "missing", "others_per_second")]
            rows.append([since.replace("_", " the "), *counts, *times])
    return aligned(rows)


def _sizes(found: Sequence[Mapping[str, Any]]) -> list[str]:
    rows = [
        ["component, with the new", "nodes", "CPU µs", "unpacked", "read", "in reads", "written", "bytes",
         "memberships", "bytes", "entries"]
    ]  # fmt: skip
    for one in found:
        counts = [
            f"{one[name]:,}"
            for name in (
                "nodes_read", "reads", "nodes_written", "bytes_written", "memberships", "membership_bytes",
                "entries",
            )
        ]  # fmt: skip
        times = [f"{one[name]:,.0f}" for name in ("remembered_us", "stored_us")]
        rows.append([one["kind"], f"{one['size']:,}", *times, *counts])
    return aligned(rows)


def _households(found: Sequence[Mapping[str, Any]]) -> list[str]:
    rows = [
        ["people", "cap", "raw largest", "largest", "mean", "members", "whole", "CPU µs mean", "p50",
         "p99", "max", "touched mean", "p99", "max"]
    ]  # fmt: skip
    for one in found:
        sizes = [f"{one[name]:,}" for name in ("people", "component_max", "raw_max", "component_largest")]
        times = [f"{one[name]:,.0f}" for name in ("us_mean", "us_p50", "us_p99", "us_max")]
        touched = [f"{one['touched_mean']:.1f}", f"{one['touched_p99']:,}", f"{one['touched_max']:,}"]
        rows.append(
            [
                *sizes,
                f"{one['component_mean']:.1f}",
                str(one["members_max"]),
                f"{one['whole']:.0%}",
                *times,
                *touched,
            ]
        )
    return aligned(rows)
