"""What a worker tells Prometheus, as a test reads it.

Guarantees:
- Figures come over HTTP from the worker's own process.
"""

from __future__ import annotations

import urllib.request

from prometheus_client.parser import text_string_to_metric_families

Series = dict[tuple[str, frozenset[tuple[str, str]]], float]


def scrape(port: int) -> str:
    """All that the worker at this port tells now."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
        return answer.read().decode()


def series(text: str) -> Series:
    """Every figure, by name and labels."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def total(figures: Series, name: str, **labels: str) -> float:
    """The sum of all figures of a name that have these labels."""
    wanted = frozenset(labels.items())
    return sum(figure for (one, has), figure in figures.items() if one == name and wanted <= has)


def asked(port: int, name: str, **labels: str) -> float:
    """The sum of all figures of a name that have these labels, as they are now."""
    return total(series(scrape(port)), name, **labels)
