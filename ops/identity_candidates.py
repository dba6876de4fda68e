"""`scv identity candidates`: possible matches for a person to judge, with the two commands that do it.

Invariants:
- Changes nothing. What is printed as a command can be pasted into a shell as it stands.
"""

from __future__ import annotations

from itertools import islice
from shlex import quote
from typing import Any

from models.identifiers import customer_id
from ops.answers import say, say_json
from ops.configured import settings_with
from ops.failures import Exit
from ops.identity_pairs import Candidate, floor_told, names_of, open_pairs, scanned, with_suggested
from ops.identity_view import graph_view
from ops.progress import Progress


def run_identity_candidates(*, limit: int, redis: str | None, generation: str | None, as_json: bool) -> int:
    """List the likeliest pairs that wait for a person."""
    from stores.candidates import read_candidates

    settings = settings_with(redis=redis, generation=generation)
    with graph_view(settings, generation) as view:
        with Progress("looking for pairs", view.client.dbsize(), "keys", quiet=as_json) as progress:
            found = scanned(view, progress.update)
        ranked = with_suggested(found.pairs, read_candidates(view.client, view.keys).values())
        # One more than shown, to know whether there are more.
        best = list(islice(open_pairs(view, ranked), limit + 1))
        names = names_of(view.client, view, (name for one in best for name in (one.a, one.b)))
    shown = [_as_told(one, names) for one in best[:limit]]
    more = len(best) > limit
    review = _oversized(found.oversized, limit)
    if as_json:
        say_json(
            {
                "candidates": shown,
                "more": more,
                "oversized": review,
                "oversized_count": len(found.oversized),
                "complete": found.complete,
            }
        )
        return Exit.OK
    _tell(shown)
    if not shown:
        say("nobody waits for a decision; `scv identity suggest` looks for more")
    elif more:
        say(f"These are the best {limit}; there are more (--limit).")
    _tell_oversized(review, len(found.oversized))
    if not found.complete:
        say("Too many pairs to rank them all: look at shared_above and the strengths of your rules first.")
    return Exit.OK


def _as_told(one: Candidate, names: dict[str, str | None]) -> dict[str, Any]:
    customers = [
        {"customer_id": customer_id(founder), "founder": founder, "display_name": names[founder]}
        for founder in (one.a, one.b)
    ]
    return {
        "customers": customers,
        "via": one.via,
        "strength": one.strength,
        "probability": one.probability,
        "weight": one.weight,
        "actor": one.actor,
        "link": _command("link", one),
        "unlink": _command("unlink", one),
    }


def _oversized(found: dict[str, tuple[int, int]], limit: int) -> list[dict[str, Any]]:
    """Customers whose weak edges stopped linking, since too many nodes hung together by them."""
    largest = sorted(found.items(), key=lambda one: (-one[1][0], one[0]))[:limit]
    return [
        {
            "customer_id": customer_id(founder),
            "founder": founder,
            "members": members,
            "linking": floor_told(floor),
        }
        for founder, (members, floor) in largest
    ]


def _tell_oversized(review: list[dict[str, Any]], count: int) -> None:
    from ops.portrait import printable

    if not count:
        return
    say(f"Too much hangs together around {count:,} customers (component_max); the largest of them:")
    for one in printable(review):
        members = "1 member" if one["members"] == 1 else f"{one['members']} members"
        say(f"   {one['customer_id']}  {members}, first known as {one['founder']}: {one['linking']}")


def _command(verb: str, one: Candidate) -> str:
    return f'scv identity {verb} {quote(one.subject)} {quote(one.other)} --actor YOU --reason "…"'


def _tell(shown: list[dict[str, Any]]) -> None:
    from ops.portrait import printable

    for number, one in enumerate(printable(shown), 1):
        said = []
        if one["probability"] is not None:
            said.append(f"{one['actor']}: probability {one['probability']:.4f}, weight {one['weight']:+.1f}")
        if one["via"]:
            said.append("an edge that did not join: " + ", ".join(one["via"]))
        say(f"{number}. {'; '.join(said)}")
        for customer in one["customers"]:
            name = customer["display_name"] or "no name"
            say(f"   {customer['customer_id']}  {name}, first known as {customer['founder']}")
        say(f"   {one['link']}")
        say(f"   {one['unlink']}")
