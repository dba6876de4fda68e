"""How far a long command is: a bar on a terminal, a plain line every ten seconds elsewhere.

Invariants:
- Everything goes to stderr: stdout belongs to the answer.
- A command that ends within the first ten seconds and has no terminal prints nothing.
"""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Any, Self

# Rare enough for a log file, often enough to see that it moves.
PLAIN_LINE_SECONDS = 10.0
# A bar that is drawn more often costs time and shows nothing more.
DRAW_SECONDS = 0.1


class Progress:
    """Shows how much of `total` is done, with rate and remaining time; `unit` names what is counted.

    `counted` of `update` is what the rate is of, where that is not what `total` measures (rows, not bytes).
    """

    def __init__(self, label: str, total: int, unit: str, *, quiet: bool = False) -> None:
        self._label, self._total, self._unit = label, max(total, 1), unit
        self._bar: Any = None
        self._quiet = quiet
        self._began = self._told = time.monotonic()
        self._done = self._counted = 0

    def __enter__(self) -> Self:
        """Show it."""
        if not self._quiet and sys.stderr.isatty():
            self._bar = _bar(self._unit)
            self._task = self._bar.add_task(self._label, total=self._total, rate="")
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave the last state on the screen."""
        if self._bar is not None:
            if kind is None:
                self._bar.update(self._task, completed=self._total)
            self._bar.stop()

    def grow(self, total: int) -> None:
        """There is more to do than was known."""
        self._total = max(total, 1)

    def update(self, done: int, counted: int | None = None) -> None:
        """So much is done now, all in all; call it as often as you like."""
        self._done, self._counted = done, done if counted is None else counted
        now = time.monotonic()
        wait = DRAW_SECONDS if self._bar is not None else PLAIN_LINE_SECONDS
        if now - self._told < wait:
            return
        self._told = now
        if self._bar is not None:
            self._bar.update(
                self._task, completed=done, total=self._total, rate=f"{self.rate:,.0f} {self._unit}/s"
            )
        elif not self._quiet:
            print(self._line(), file=sys.stderr, flush=True)

    @property
    def rate(self) -> float:
        """How many a second since it began."""
        return self._counted / max(time.monotonic() - self._began, 1e-6)

    def _line(self) -> str:
        spent = time.monotonic() - self._began
        left = spent * (self._total - self._done) / self._done if self._done else 0
        return (
            f"{self._label}: {100 * self._done // self._total} %, {self._counted:,} {self._unit}, "
            f"{self.rate:,.0f}/s, about {left:,.0f} s left"
        )


def _bar(unit: str) -> Any:
    from rich.console import Console
    from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    return Bar(
        TextColumn("{task.description}"), BarColumn(bar_width=40), TaskProgressColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(), console=Console(file=sys.stderr),
    )  # fmt: skip
