"""All parts of one customer, joined, and the questions that the sections of its profile ask of them.

Guarantees:
- Every answer is computed from events, each time it is asked; nothing is carried along but what a bound cut.
- The order of the parts, and of the subjects they are of, changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from tests.oracle_parts import IDENTIFIERS, INVOICES, Entries, Name, Part, Said, in_order, latest, latest_of
from tests.oracle_reading import Key, Told

Document = dict[str, Any]

# Every other list shows 20.
SHOWN = {
    "timeline": 100, IDENTIFIERS: 50, INVOICES: 50, "consent.permissions": 50, "traits": 50,
    "identity.subjects": 50, "identity.addresses": 5, "sales.baskets": 5, "identity.related": 5,
}  # fmt: skip


class Together(NamedTuple):
    """What is said of one customer beside its events: who it is made of, and what else the graph found.

    `statuses` has the identifiers (`type:value`) that do not link, as `shared` or `rejected`; `related` the
    founders of possible matches, each with what leads there.
    """

    members: Sequence[str]
    statuses: Mapping[str, str] = {}
    related: Sequence[tuple[str, str]] = ()


class Customer:
    """All parts of one customer's members, and every section asked of them."""

    def __init__(
        self,
        founder: str,
        together: Together,
        mine: list[Part],
        trust: Sequence[str],
        region_of: Callable[[str], str],
    ) -> None:
        self.founder, self.together, self.parts = founder, together, mine
        self.trust, self.region_of = trust, region_of
        self.events = [event for part in mine for event in part.events]
        self.lists: dict[str, Entries] = {}
        for part in mine:
            for path, entries in part.lists.items():
                joined = self.lists.setdefault(path, {})
                for name, said in entries.items():
                    joined[name] = joined.get(name, []) + said
        self.lost = {path for part in mine for path in part.lost}

    def of(self, *kinds: str) -> list[Told]:
        """The events of these types."""
        return [event for event in self.events if event.type in kinds]

    def told(self, kind: str, value: Callable[[Told], Any]) -> list[tuple[Key, Any]]:
        """What the events of a type state, each with its key."""
        return [(event.key, value(event)) for event in self.of(kind)]

    def ordered(self, path: str) -> list[tuple[Name, list[Said]]]:
        """All entries of a list that the parts kept, open ones first, then newest, then by name."""
        return [(name, self.lists[path][name]) for name in in_order(path, self.lists[path])]

    def shown(self, path: str, rows: list[Any]) -> list[Any]:
        """As much of a list as the profile shows."""
        bound = SHOWN.get(path, 20)
        if len(rows) > bound:
            self.lost.add(path)
        return rows[:bound]

    def rows(self, path: str, id_field: str, *fields: str) -> list[Document]:
        """A list of entities, each field the latest value stated for it."""
        rows = [
            {id_field: name, **{field: latest(entry, field) for field in fields}}
            for name, entry in self.ordered(path)
        ]
        return self.shown(path, rows)

    def trusted(self, stated: list[tuple[Key, Any]]) -> tuple[Key, Any] | None:
        """The value from the most trusted source, then the latest."""

        def rank(key: Key) -> int:
            matches = (key[1] == entry or key[1].startswith(entry + "/") for entry in self.trust)
            return next((place for place, match in enumerate(matches) if match), len(self.trust))

        if not stated:
            return None
        best = min(rank(key) for key, _ in stated)
        among = [(key, value) for key, value in stated if rank(key) == best]
        return max(key for key, _ in among), latest_of(among)
