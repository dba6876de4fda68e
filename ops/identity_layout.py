"""Where each node of a customer's graph is drawn: two columns, so that few edges cross.

Invariants:
- Deterministic: a function of the graph alone.
- Two boxes never overlap; what is beyond `ROWS_MAX` of a column is not placed, and counted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from ops.identity_edges import ShownGraph

WIDTH = 960
BOX_WIDTH = 290
BOX_HEIGHT = 42
ROW = 54
# The left column leaves room for arcs between subjects.
LEFT = 110
RIGHT = WIDTH - BOX_WIDTH - 30
TOP = 76
# Three screens high; a greater graph is no picture any more.
ROWS_MAX = 60
# Each pulls the nodes of one column to where those of the other are; more than this changes little.
SWEEPS = 4

Neighbours = Mapping[str, list[str]]


class Place(NamedTuple):
    """The upper left corner of a box."""

    x: float
    y: float


class Layout(NamedTuple):
    """Places by node, headings as (x, y, words), where the graph ends, and how many nodes have no place."""

    places: dict[str, Place]
    headings: list[tuple[float, float, str]]
    bottom: float
    hidden: int


def lay_out(drawn: ShownGraph) -> Layout:
    """Members left, below them the subjects of others; identifiers right."""
    neighbours: dict[str, list[str]] = {}
    for edge in drawn.edges:
        neighbours.setdefault(edge.subject, []).append(edge.other)
        neighbours.setdefault(edge.other, []).append(edge.subject)
    members = sorted(
        drawn.members, key=lambda one: (not one.is_founder, one.first_seen_at or "~", one.subject)
    )
    inside = [one.subject for one in members][:ROWS_MAX]
    outside = [one.subject for one in drawn.outsiders][: ROWS_MAX - len(inside)]
    right = [one.name for one in drawn.identifiers]
    for _ in range(SWEEPS):
        right = _pulled(right, [*inside, *outside], neighbours)
        inside = _pulled(inside, right, neighbours)
        outside = _pulled(outside, right, neighbours)
    right = right[:ROWS_MAX]
    gap = 30 if outside else 0
    left_height, right_height = (len(inside) + len(outside)) * ROW + gap, len(right) * ROW
    height = max(left_height, right_height)
    top_left, top_right = TOP + (height - left_height) / 2, TOP + (height - right_height) / 2
    places = {name: Place(LEFT, top_left + row * ROW) for row, name in enumerate(inside)}
    top_outside = top_left + len(inside) * ROW + gap
    places |= {name: Place(LEFT, top_outside + row * ROW) for row, name in enumerate(outside)}
    places |= {name: Place(RIGHT, top_right + row * ROW) for row, name in enumerate(right)}
    headings: list[tuple[float, float, str]] = [(LEFT, top_left - 12, "Members")]
    if right:
        headings.append((RIGHT, top_right - 12, "Identifiers"))
    if outside:
        headings.append((LEFT, top_outside - 12, "Of other customers"))
    everyone = len(drawn.members) + len(drawn.outsiders) + len(drawn.identifiers)
    return Layout(places, headings, TOP + height + 12, everyone - len(places))


def _pulled(names: Iterable[str], others: Iterable[str], neighbours: Neighbours) -> list[str]:
    """These names, each as near as may be to those of the other column that an edge leads to."""
    rows = {name: row for row, name in enumerate(others)}
    order = {name: row for row, name in enumerate(names)}

    def middle(name: str) -> tuple[float, int]:
        found = [rows[one] for one in neighbours.get(name, ()) if one in rows]
        # What nothing pulls stays among those beside it.
        return (sum(found) / len(found) if found else order[name], order[name])

    return sorted(order, key=middle)
