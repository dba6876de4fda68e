"""Differences and explanations as tables for a person.

Invariants:
- Text of customers is shown as text: nothing in it is taken for markup or steers a terminal.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ops.answers import say, show


def tell_differences(differing: Sequence[Any], before: str, after: str) -> None:
    """A table of what differs; one line where nothing does."""
    from rich.table import Table

    if not differing:
        say("Nothing differs.")
        return
    table = Table(expand=True)
    for column in ("field", before, after):
        table.add_column(column, overflow="fold")
    for one in differing:
        table.add_row(*map(cell, (one.path, one.before, one.after)))
    show(table)


def cell(value: Any) -> Any:
    """A value as text: nothing that customers wrote is taken for markup."""
    import msgspec
    from rich.text import Text

    from ops.portrait import printable

    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return Text(printable(text))


def tell_explained(document: dict[str, Any]) -> None:
    """An explanation: the value, the rules, and what each event did."""
    import msgspec
    from rich.table import Table

    value = msgspec.json.encode(document["value"]).decode()
    show(cell(f"{document['field']} of {document['customer_id']} is {value}"))
    for rule in document["rules"]:
        say(f"{rule['figure']}: {rule['reducer']} ({rule['meaning']})")
        for name, taken in rule["events"].items():
            say(f"  {name}: {taken}" if taken else f"  {name}")
    table = Table(expand=True)
    for column in ("logged", "occurred", "event", "what it did"):
        table.add_column(column, overflow="fold")
    for one in document["effects"]:
        event = f"{one['type']}\n{one['event_id']} from {one['source']}, {one['subject']}"
        did = "\n".join(_change(change) for change in one["changes"])
        table.add_row(*map(cell, (one["logged_at"], one["occurred_at"])), _lines(event), _lines(did))
    show(table)
    say(f"{len(document['effects']):,} of {document['event_count']:,} events changed it.")


def _lines(text: str) -> Any:
    from rich.text import Text

    from ops.portrait import printable

    return Text("\n".join(printable(line) for line in text.split("\n")))


def _change(change: dict[str, Any]) -> str:
    import msgspec

    from projections.differing import MISSING

    before, after, path = change["before"], change["after"], change["path"]
    where = f"{path}: " if path else ""
    if type(before) is int and type(after) is int:
        return f"{where}{after - before:+,} → {after:,}"
    text = msgspec.json.encode(after).decode()
    if before == MISSING:
        return f"{where}new: {text}"
    if after == MISSING:
        return f"{where}gone"
    return f"{where}{msgspec.json.encode(before).decode()} → {text}"
