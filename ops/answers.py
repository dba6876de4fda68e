"""What a command says: JSON for programs, a few lines for people.

Invariants:
- JSON is one line on stdout, so that a program reads line by line.
- Colours only on a terminal, and none where NO_COLOR is set (rich sees to both).
"""

from __future__ import annotations

import sys
from typing import Any

# A profile is laid out for this many columns; a narrower terminal wraps it.
COLUMNS = 100


def say_json(answer: Any) -> None:
    """One line of JSON on stdout."""
    import msgspec

    sys.stdout.write(msgspec.json.encode(answer).decode() + "\n")
    sys.stdout.flush()


def say(line: str = "") -> None:
    """One line on stdout."""
    print(line, flush=True)


def width() -> int:
    """How wide answers are laid out: `COLUMNS`, or less on a narrower terminal."""
    from rich.console import Console

    console = Console()
    return min(console.width, COLUMNS) if console.is_terminal else COLUMNS


def show(*renderables: Any) -> None:
    """Tables and panels of rich on stdout, `width()` wide."""
    from rich.console import Console

    console = Console(highlight=False, width=width())
    for renderable in renderables:
        console.print(renderable)
