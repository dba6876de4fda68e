"""The graph of one customer as an SVG: members left, identifiers right, edges between, decisions below.

Invariants:
- The same graph gives the same bytes: no clock, no chance.
- One file, no scripts, nothing fetched; text of sources is escaped, and readable in light and dark.
- A status is told by colour, dash and word; how strong an edge is, by its width.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from html import escape
from typing import NamedTuple
from unicodedata import east_asian_width

from models.merge import EdgeStatus, EdgeStrength
from models.moments import day
from ops.identity_edges import ShownEdge, ShownGraph, shown_safely
from ops.identity_layout import BOX_HEIGHT, BOX_WIDTH, LEFT, RIGHT, WIDTH, Layout, lay_out

# What fits into a box, in characters of the font; the whole text shows under the pointer.
NAME_CELLS = 33
NOTE_CELLS = 40
# Decisions with a line of their own below the graph, and how long each may be.
DECISIONS_TOLD = 20
DECISION_CELLS = 120

STATUSES: tuple[EdgeStatus, ...] = ("linking", "rejected", "shared", "unlinked")
# How far arcs reach to the left: three quarters of it stay inside the margin.
LEAN_LEAST, LEAN_MOST = 24.0, 124.0

WIDTHS: dict[EdgeStrength, float] = {"person": 3.5, "verified": 2.8, "stated": 1.7, "program": 1.1}

STYLE = """
    text { font: 13px system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; fill: #1f2933; }
    .paper { fill: #ffffff; stroke: #d5dbe1; }
    .head { font-size: 15px; font-weight: 600; }
    .name { font-family: ui-monospace, "DejaVu Sans Mono", monospace; }
    .note { font-size: 11.5px; fill: #52606d; }
    .member { fill: #e7f1fb; stroke: #2f6fab; }
    .identifier { fill: #fdf3dc; stroke: #9a6b00; }
    .outsider { fill: #f4f5f7; stroke: #7b8794; stroke-dasharray: 5 4; }
    .edge { fill: none; }
    .linking { stroke: #2f6fab; }
    .rejected { stroke: #b06a00; stroke-dasharray: 9 5; }
    .shared { stroke: #7b8794; stroke-dasharray: 2 5; }
    .unlinked { stroke: #b4332b; stroke-dasharray: 11 4 2 4; }
    .number { fill: #ffffff; stroke: #1f2933; }
    @media (prefers-color-scheme: dark) {
      text { fill: #e6ebf0; }
      .paper { fill: #14191f; stroke: #39434d; }
      .note { fill: #a3b0bd; }
      .member { fill: #15293d; stroke: #6fb0ea; }
      .identifier { fill: #3a2f12; stroke: #e0b652; }
      .outsider { fill: #1f272f; stroke: #94a3b3; }
      .linking { stroke: #6fb0ea; }
      .rejected { stroke: #f0a848; }
      .shared { stroke: #94a3b3; }
      .unlinked { stroke: #ff8a80; }
      .number { fill: #14191f; stroke: #e6ebf0; }
    }
"""


class Curve(NamedTuple):
    """A cubic curve: its two ends and the points that it leans to."""

    x1: float
    y1: float
    x2: float
    y2: float
    x3: float
    y3: float
    x4: float
    y4: float

    @property
    def path(self) -> str:
        """As SVG writes it."""
        numbers = [f"{one:g}" for one in self]
        return f"M{numbers[0]} {numbers[1]}C{' '.join(numbers[2:])}"

    @property
    def middle(self) -> tuple[float, float]:
        """The point half-way."""
        x = (self.x1 + 3 * self.x2 + 3 * self.x3 + self.x4) / 8
        return x, (self.y1 + 3 * self.y2 + 3 * self.y3 + self.y4) / 8


def picture(drawn: ShownGraph) -> str:
    """The whole SVG."""
    drawn = shown_safely(drawn)
    layout = lay_out(drawn)
    edges = [one for one in drawn.edges if one.subject in layout.places and one.other in layout.places]
    # The weakest first, so that what matters lies on top.
    edges.sort(key=lambda one: (WIDTHS[one.strength], one.subject, one.other))
    curves = _curves(edges, layout)
    decided = sorted(
        (one for one in edges if one.actor is not None),
        key=lambda one: (one.first_seen_at, one.subject, one.other),
    )[-DECISIONS_TOLD:]
    parts = [_title(drawn), *_headings(layout)]
    parts += [_edge(one, curves[one]) for one in edges]
    parts += _boxes(drawn, layout)
    parts += [_number(number, curves[one]) for number, one in enumerate(decided, 1)]
    y = layout.bottom
    missing = len(drawn.edges) - len(edges) + drawn.edges_left_out
    if layout.hidden or missing:
        parts.append(_text(20, y + 10, f"Not drawn: {layout.hidden:,} boxes, {missing:,} edges", "note"))
        y += 24
    parts += _legend(y)
    y += 50
    for number, one in enumerate(decided, 1):
        parts.append(_text(20, y, _decision(number, one), "note"))
        y += 19
    return _document(drawn, parts, y + 6)


def _document(drawn: ShownGraph, parts: Sequence[str], height: float) -> str:
    title, description = f"Identity graph of {drawn.customer_id}", _description(drawn)
    body = "\n  ".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:g}" width="{WIDTH}" '
        f'height="{height:g}" role="img" aria-labelledby="title desc">\n'
        f'  <title id="title">{escape(title)}</title>\n  <desc id="desc">{escape(description)}</desc>\n'
        f"  <style>{STYLE}  </style>\n"
        f'  <rect class="paper" x="0.5" y="0.5" width="{WIDTH - 1}" height="{height - 1:g}" rx="8"/>\n'
        f"  {body}\n</svg>\n"
    )


def _description(drawn: ShownGraph) -> str:
    counts = {status: sum(one.status == status for one in drawn.edges) for status in STATUSES}
    told = ", ".join(f"{count} {status}" for status, count in counts.items() if count)
    return f"{len(drawn.members)} members, {len(drawn.identifiers)} identifiers; edges: {told or 'none'}."


def _title(drawn: ShownGraph) -> str:
    members = "1 member" if len(drawn.members) == 1 else f"{len(drawn.members):,} members"
    return _text(20, 30, f"{drawn.customer_id}: {members}, at position {drawn.position:,}", "head")


def _headings(layout: Layout) -> list[str]:
    return [_text(x, y, words, "note") for x, y, words in layout.headings]


def _text(x: float, y: float, words: str, kind: str, anchor: str = "start") -> str:
    return f'<text class="{kind}" x="{x:g}" y="{y:g}" text-anchor="{anchor}">{escape(words)}</text>'


def _curves(edges: Sequence[ShownEdge], layout: Layout) -> dict[ShownEdge, Curve]:
    """From box to box; two of the left column are joined by an arc beside it, the longer the farther out."""
    curves: dict[ShownEdge, Curve] = {}
    arcs: list[tuple[float, float, ShownEdge]] = []
    for edge in edges:
        one, other = layout.places[edge.subject], layout.places[edge.other]
        y1, y2 = one.y + BOX_HEIGHT / 2, other.y + BOX_HEIGHT / 2
        if one.x == other.x:
            arcs.append((abs(y2 - y1), y1, edge))
            continue
        x1, x2 = (LEFT + BOX_WIDTH, RIGHT) if one.x < other.x else (RIGHT, LEFT + BOX_WIDTH)
        half = (x1 + x2) / 2
        curves[edge] = Curve(x1, y1, half, y1, half, y2, x2, y2)
    arcs.sort(key=lambda arc: (arc[0], arc[1], arc[2].subject, arc[2].other))
    for rank, (_, y1, edge) in enumerate(arcs):
        place = layout.places[edge.other]
        x, y2 = place.x, place.y + BOX_HEIGHT / 2
        lean = LEAN_LEAST + (LEAN_MOST - LEAN_LEAST) * (rank + 1) / len(arcs)
        curves[edge] = Curve(x, y1, x - lean, y1, x - lean, y2, x, y2)
    return curves


def _edge(edge: ShownEdge, curve: Curve) -> str:
    said = f"{edge.subject} – {edge.other}: {edge.status}, {edge.strength}, {edge.first_seen_at}"
    if edge.actor is not None:
        said += f", {edge.actor}: {edge.reason or ''}"
    return (
        f'<path class="edge {edge.status}" stroke-width="{WIDTHS[edge.strength]:g}" '
        f'd="{curve.path}"><title>{escape(said)}</title></path>'
    )


def _number(number: int, curve: Curve) -> str:
    x, y = curve.middle
    return f'<circle class="number" cx="{x:g}" cy="{y:g}" r="9"/>' + _text(
        x, y + 4, str(number), "note", "middle"
    )


def _boxes(drawn: ShownGraph, layout: Layout) -> list[str]:
    boxes = []
    for member in drawn.members:
        seen = "only named by others"
        if member.first_seen_at is not None:
            seen = f"first seen {day(datetime.fromisoformat(member.first_seen_at))}"
        note = f"{seen}, founder" if member.is_founder else seen
        boxes.append(_box(member.subject, note, "member", layout))
    for outsider in drawn.outsiders:
        owner = f"of {outsider.customer_id}" if outsider.customer_id else "of no customer"
        boxes.append(_box(outsider.subject, owner, "outsider", layout))
    for identifier in drawn.identifiers:
        note = str(identifier.status)
        if identifier.status == "shared":
            note = f"shared: stated by {identifier.people} people"
        elif identifier.customer_id is not None:
            note += f", of {identifier.customer_id}"
        boxes.append(_box(identifier.name, note, "identifier", layout))
    return [box for box in boxes if box]


def _box(name: str, note: str, kind: str, layout: Layout) -> str:
    place = layout.places.get(name)
    if place is None:
        return ""
    round_by = 18 if kind == "identifier" else 6
    return (
        f'<g><title>{escape(name)}</title><rect class="{kind}" x="{place.x:g}" y="{place.y:g}" '
        f'width="{BOX_WIDTH}" height="{BOX_HEIGHT}" rx="{round_by}"/>'
        + _text(place.x + 14, place.y + 17, cut(name, NAME_CELLS), "name")
        + _text(place.x + 14, place.y + 32, cut(note, NOTE_CELLS), "note")
        + "</g>"
    )


def _legend(y: float) -> list[str]:
    parts, x = [], 20.0
    for status in STATUSES:
        parts.append(f'<path class="edge {status}" stroke-width="2.8" d="M{x:g} {y + 8:g}h44"/>')
        parts.append(_text(x + 52, y + 12, status, "note"))
        x += 130
    parts.append(
        _text(x + 10, y + 12, "The thicker, the stronger: a person's word, verified, stated,", "note")
    )
    parts.append(_text(x + 10, y + 27, "a program's suggestion", "note"))
    return parts


def _decision(number: int, edge: ShownEdge) -> str:
    at = day(datetime.fromisoformat(edge.first_seen_at))
    return cut(
        f"{number}  {edge.subject} – {edge.other}: {edge.status}, {edge.actor}, {at}: {edge.reason}",
        DECISION_CELLS,
    )


def cut(words: str, cells: int) -> str:
    """The text, ended by … where it is wider than so many characters of the font."""
    width = 0
    for at, sign in enumerate(words):
        width += 2 if east_asian_width(sign) in "WF" else 1
        if width > cells or (width == cells and at + 1 < len(words)):
            return words[:at] + "…"
    return words
