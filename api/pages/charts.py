"""Charts as SVG: one series over time, drawn from samples; and the rows of the table that stands behind.

Invariants:
- A gap in what is known is a gap in the line; nothing is drawn through it.
- Pure: samples, the time and the width of the window come in.
- What is drawn has no text in it: labels are HTML around it, and the table says every value.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

# The drawing's own units; it is stretched to the width that there is.
WIDTH, HEIGHT = 600, 120
# The narrowest window that holds all that is known.
WINDOWS_SECONDS = (300, 900, 3_600)
POINTS_MAX = 120

Points = Sequence[tuple[float, float | None]]
Gather = Callable[[Sequence[float]], float]


class Chart(NamedTuple):
    """What a template draws. `line` and `area` are SVG paths; `top` is the value at the upper edge."""

    line: str
    area: str
    dots: tuple[tuple[float, float], ...]
    top: str
    minutes: int
    said: str
    rows: tuple[tuple[str, str], ...]


def window_of(since: float, now: float) -> int:
    """How many seconds a chart shows of what is known since then."""
    known = now - since
    return next((window for window in WINDOWS_SECONDS if known <= window), WINDOWS_SECONDS[-1])


def chart(
    points: Points,
    now: float,
    window: int,
    *,
    name: str,
    gather: Gather,
    write: Callable[[float], str],
    top_min: float,
    every: float,
) -> Chart:
    """The chart of points (seconds since 1970, value), of the last `window` seconds.

    Points of one step become one by `gather`; `top_min` keeps noise from filling the height.
    """
    shown = [point for point in points if now - window <= point[0] <= now]
    step = max(every, window / POINTS_MAX)
    placed = _placed(shown, now, window, step, gather)
    highest = max((value for _, value in placed if value is not None), default=0.0)
    top = nice(max(highest, top_min))
    runs = _runs([(at, None if value is None else _height(value, top)) for at, value in placed])
    line = " ".join(_path(run) for run in runs if len(run) > 1)
    area = " ".join(
        f"{_path(run)} L{run[-1][0]:g},{HEIGHT} L{run[0][0]:g},{HEIGHT} Z" for run in runs if len(run) > 1
    )
    return Chart(
        line, area, tuple(run[0] for run in runs if len(run) == 1), write(top), window // 60,
        _said(name, shown, window, write), _rows(shown, gather, write),
    )  # fmt: skip


def nice(value: float) -> float:
    """The next of 1, 2, 5, 10, 20, 50… that is no smaller."""
    size = 1.0
    while size * 10 < value:
        size *= 10
    while size > value:
        size /= 10
    return next(factor * size for factor in (1, 2, 5, 10, 20) if factor * size >= value)


def _placed(
    shown: Points, now: float, window: int, step: float, gather: Gather
) -> list[tuple[float, float | None]]:
    """One value for each step from left to right, None where nothing is known of it."""
    # Steps are counted from 1970, so that a point stays in its step from one drawing to the next.
    first, last = int((now - window) // step), int(now // step)
    held: dict[int, list[float]] = {}
    for at, value in shown:
        if value is not None:
            held.setdefault(int(at // step), []).append(value)
    start = now - window
    placed: list[tuple[float, float | None]] = []
    for number in range(first, last + 1):
        x = min(float(WIDTH), max(0.0, ((number + 1) * step - start) / window * WIDTH))
        # The step that has just begun is no gap.
        if number in held or number < last:
            placed.append((round(x, 1), gather(held[number]) if number in held else None))
    return placed


def _height(value: float, top: float) -> float:
    return round(HEIGHT - value / top * HEIGHT, 1)


def _runs(placed: Sequence[tuple[float, float | None]]) -> list[list[tuple[float, float]]]:
    """Pieces of the line without a gap. One missing step is none: looks are not made to the millisecond."""
    runs: list[list[tuple[float, float]]] = [[]]
    missing = 0
    for x, y in placed:
        if y is None:
            missing += 1
            continue
        if missing > 1 and runs[-1]:
            runs.append([])
        missing = 0
        runs[-1].append((x, y))
    return [run for run in runs if run]


def _path(run: Sequence[tuple[float, float]]) -> str:
    return "M" + " L".join(f"{x:g},{y:g}" for x, y in run)


def _said(name: str, shown: Points, window: int, write: Callable[[float], str]) -> str:
    """The chart in words, for who does not see it."""
    known = [(at, value) for at, value in shown if value is not None]
    if not known:
        return f"{name}, last {window // 60} minutes: nothing is known."
    high_at, high = max(known, key=lambda one: one[1])
    return (
        f"{name}, last {window // 60} minutes: last known {write(known[-1][1])}, "
        f"highest {write(high)} at {_clock(high_at)} UTC."
    )


def _rows(shown: Points, gather: Gather, write: Callable[[float], str]) -> tuple[tuple[str, str], ...]:
    """A row for each minute, the latest first."""
    minutes: dict[int, list[float]] = {}
    for at, value in shown:
        held = minutes.setdefault(int(at // 60), [])
        if value is not None:
            held.append(value)
    return tuple(
        (f"{datetime.fromtimestamp(minute * 60, UTC):%H:%M}", write(gather(held)) if held else "not known")
        for minute, held in sorted(minutes.items(), reverse=True)
    )


def _clock(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%H:%M:%S}"
