"""`scv identity show`: why a customer is one, in the terminal, as JSON and as a picture.

Invariants:
- Never a silent pick: an identifier of several customers lists them, each with the reason.
- Nothing of what sources wrote reaches the terminal as anything but text.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from models.identifiers import customer_id
from models.rules import IdentityRules
from ops.answers import say, say_json, show
from ops.configured import settings_with
from ops.failures import Exit, Failure
from ops.identity_edges import ShownGraph, shown_graph
from ops.identity_view import Found, GraphView, find, graph_view
from projections.graph import Graph


def run_identity_show(
    name: str, *, svg: Path | None, redis: str | None, generation: str | None, as_json: bool
) -> int:
    """Show the graph of the one customer that a name leads to; exit code 4 when there is none."""
    settings = settings_with(redis=redis, generation=generation)
    with graph_view(settings, generation) as view:

        def read(graph: Graph) -> tuple[Found, ShownGraph | None]:
            found = find(graph, view, name)
            several = len(found.customers) != 1
            return found, None if several else shown_graph(graph, found.customers[0][0])

        found, drawn = view.steady(read)
        candidates = _candidates(view, found) if drawn is None else []
    if drawn is not None and svg is not None:
        from ops.identity_picture import picture

        svg.write_text(picture(drawn), encoding="utf-8")
    if as_json:
        match = "single" if drawn else "ambiguous" if candidates else "none"
        say_json({"match": match, "graph": drawn, "candidates": candidates})
        return Exit.NOT_FOUND if match == "none" else Exit.OK
    if drawn is not None:
        from ops.identity_tree import tree

        show(tree(drawn, datetime.now(UTC).astimezone()))
        if svg is not None:
            say(f"drawn: {svg}")
        return Exit.OK
    if not candidates:
        where = f"generation {view.keys.generation}"
        raise Failure(Exit.NOT_FOUND, f"{settings.redis_shown}: nobody is known as {name!r} in {where}")
    _tell_candidates(name, candidates, view.rules)
    return Exit.OK


def _candidates(view: GraphView, found: Found) -> list[dict[str, Any]]:
    return [
        {"customer_id": customer_id(founder), "founder": founder, "via": found.name, "status": status}
        for founder, status in found.customers
    ]


def _tell_candidates(name: str, candidates: Sequence[dict[str, Any]], rules: IdentityRules) -> None:
    from rich.table import Table
    from rich.text import Text

    from ops.portrait import printable

    # An entry ends one beyond the greatest number that may share it.
    kind = candidates[0]["via"].partition(":")[0]
    more = " or more" if len(candidates) > rules.shared_limit(kind) else ""
    title = Text(printable(f"{len(candidates)}{more} customers answer to {name}"))
    table = Table("customer", "first known as", "why", title=title, title_justify="left", expand=True)
    for one in candidates:
        reason = f"{one['via']} ({one['status']})"
        table.add_row(*(Text(printable(text)) for text in (one["customer_id"], one["founder"], reason)))
    show(table)
    say("Look at one of them with `scv identity show` and its customer id.")
