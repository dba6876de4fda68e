"""The graph of one customer as a tree in the terminal: a branch for each member, a leaf for each edge.

Invariants:
- Text of sources is shown as text: nothing in it is taken for markup or steers the terminal.
- A status is told by its line and its word; the colour only helps.
"""

from __future__ import annotations

from datetime import datetime

from rich.text import Text
from rich.tree import Tree

from models.merge import EdgeStatus, EdgeStrength
from models.moments import moment
from ops.identity_edges import ShownEdge, ShownGraph, ShownMember, shown_safely

# A person who looks for one edge among more than these takes --json or --svg.
MEMBERS_TOLD = 50
EDGES_TOLD = 20

LINES: dict[EdgeStatus, tuple[str, str]] = {
    "linking": ("━━", "green"),
    "rejected": ("╌╌", "yellow"),
    "shared": ("··", "bright_black"),
    "unlinked": ("╳╳", "red"),
}
WORDS: dict[EdgeStrength, str] = {
    "person": "by a person",
    "verified": "verified",
    "stated": "stated",
    "program": "by a program",
}


def tree(drawn: ShownGraph, now: datetime) -> Tree:
    """The whole graph; what does not fit is counted."""
    drawn = shown_safely(drawn)
    leaves = _Leaves(drawn, now)
    members = {one.subject for one in drawn.members}
    count = "1 member" if len(members) == 1 else f"{len(members):,} members"
    root = Tree(Text.assemble((drawn.customer_id, "bold"), f"  {count}, at position {drawn.position:,}"))
    for member in drawn.members[:MEMBERS_TOLD]:
        branch = root.add(leaves.head(member))
        mine = [one for one in drawn.edges if one.subject == member.subject]
        for edge in mine[:EDGES_TOLD]:
            branch.add(leaves.leaf(edge))
        _tell_more(branch, len(mine) - EDGES_TOLD)
    _tell_more(root, len(drawn.members) - MEMBERS_TOLD)
    outside = [one for one in drawn.edges if one.subject not in members]
    if outside:
        branch = root.add(Text("edges from other customers", "bold"))
        for edge in outside[:EDGES_TOLD]:
            branch.add(leaves.leaf(edge, with_subject=True))
        _tell_more(branch, len(outside) - EDGES_TOLD)
    if drawn.matches:
        branch = root.add(Text("possible matches", "bold"))
        for match in drawn.matches:
            branch.add(Text.assemble((match.customer_id, "bold"), f"  {match.founder}  via {match.via}"))
    if drawn.edges_left_out:
        root.add(f"{drawn.edges_left_out:,} more edges are not told at all")
    return root


def _tell_more(branch: Tree, more: int) -> None:
    if more > 0:
        branch.add(f"… and {more:,} more; --json has them")


class _Leaves:
    """Makes the lines; knows whose the other ends are."""

    def __init__(self, drawn: ShownGraph, now: datetime) -> None:
        self.now = now
        self.people = {one.name: one.people for one in drawn.identifiers}
        self.owners = {one.name: one.customer_id for one in drawn.identifiers}
        self.owners |= {one.subject: one.customer_id for one in drawn.outsiders}

    def head(self, member: ShownMember) -> Text:
        """A member, since when it is known, and whether the customer's id comes from it."""
        at = moment(member.first_seen_at, self.now)
        seen = f"  first seen {at}" if at else "  only named by others"
        said = Text.assemble((member.subject, "bold cyan"), (seen, "dim"))
        return said.append("  founder") if member.is_founder else said

    def leaf(self, edge: ShownEdge, *, with_subject: bool = False) -> Text:
        """An edge: the other end, status, strength, whose it is, since when, and who said so."""
        line, colour = LINES[edge.status]
        said = Text.assemble((f"{line} ", colour))
        if with_subject:
            owner = self.owners.get(edge.subject)
            said.append(edge.subject, "cyan").append(f" of {owner} → " if owner else " → ")
        said.append(edge.other, "bold" if edge.status == "linking" else "")
        told = [edge.status, WORDS[edge.strength]]
        if edge.status == "shared":
            told.append(f"stated by {self.people.get(edge.other, 0)} people")
        elif not with_subject and self.owners.get(edge.other):
            told.append(f"of {self.owners[edge.other]}")
        said.append("  " + ", ".join(told), colour)
        said.append(f", {moment(edge.first_seen_at, self.now)}", "dim")
        if edge.actor is not None:
            said.append(f"  {edge.actor}: “{edge.reason or ''}”", "italic")
        return said
