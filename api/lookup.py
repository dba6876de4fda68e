"""Find a customer by anything: customer id, subject, identifier, order, case or invoice; or by several.

Invariants:
- `single` only when every name that leads anywhere leads to one customer and to no other, by all stated
  edges; else `ambiguous`, with the reasons of each. Never a silent pick.
- An old customer id stands for the customer that holds its founder now, and the answer says so.
- A name that leads nowhere is named in the answer, and makes nothing ambiguous.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import msgspec

from models.rules import IdentityRules
from projections.assembling import document
from stores.reading import LINKING, LIVE, Candidate, Followed, GenerationView, ProfileReader, StoredProfile

# What one person can have at hand: numbers, a phone, an email. `scv_lookup` has the same bounds.
NAMES_MAX = 20
# A person chooses among them; who needs more needs a better name.
CANDIDATES_MAX = 20
REASONS_MAX = 20
# Between finding a customer and reading the profile it may have been merged: then it is looked up again.
TRIES = 3

_CUSTOMER_ID = re.compile(r"(?:customer:)?(cus_[0-9A-HJKMNP-TV-Z]{16})")


class NotAName(ValueError):
    """The text is no customer id and no `type:value`; the message says what would be one."""


class Answer(NamedTuple):
    """What a look-up gives.

    `profile` is the whole document of a `single` match, as profile.json has it. `candidates` are the
    customers that the names lead to: `customer_id`, `display_name`, `last_contact_at`, `founder` and
    `reasons`, each `via` a name, `through` a subject where that is needed, with its `status`. Those that most
    names lead to come first; there are at most `CANDIDATES_MAX`. `merged_into` has the old customer ids among
    the names, with the id now; `unknown` the names that lead nowhere, as they were asked.
    """

    match: Literal["single", "ambiguous", "none"]
    profile: dict[str, Any] | None
    candidates: list[dict[str, Any]]
    merged_into: dict[str, str]
    unknown: list[str]


class _Found:
    """A customer that names lead to."""

    def __init__(self) -> None:
        self.names: set[str] = set()
        self.reasons: dict[Candidate, None] = {}

    @property
    def linking(self) -> bool:
        return any(one.status == LINKING for one in self.reasons)


def lookup(
    reader: ProfileReader,
    names: Sequence[str] | str,
    rules: IdentityRules,
    sections: Sequence[str] | None = None,
) -> Answer:
    """The customer that all of `names` name: `crm:4711`, `phone:+4930901820`, `order:O-8`, `cus_…`. NotAName.

    `rules` bring identifiers into their form; with `sections`, only those of the profile are read.
    """
    asked = (names,) if isinstance(names, str) else tuple(dict.fromkeys(names))
    if not 1 <= len(asked) <= NAMES_MAX:
        raise NotAName(f"{len(asked)} names; give between 1 and {NAMES_MAX}, as crm:4711 phone:+4930901820")
    spelt = {text: spellings(text, rules) for text in asked}
    view = reader.view()
    if view is None:
        return Answer("none", None, [], {}, list(asked))
    for _ in range(TRIES):
        answer, only = _look(view, spelt)
        if only is None:
            return answer
        stored = view.profiles([only], sections).get(only)
        if stored is not None and stored.state == LIVE:
            return answer._replace(match="single", profile=whole(stored))
    # Known to the graph; its first profile, or the first after an unmerge, is about to be written.
    return answer._replace(match="none", candidates=[])


def spellings(text: str, rules: IdentityRules) -> tuple[str, ...]:
    """What a text can stand for: a customer id, or `type:value`, normalised and as written. NotAName.

    Subjects and references are names as they are written; only identifiers have a form of their own.
    """
    if (named := _CUSTOMER_ID.fullmatch(text.strip())) is not None:
        return (named[1],)
    kind, colon, value = text.strip().partition(":")
    if not (kind and colon and value):
        raise NotAName(
            f"{text!r} is no customer id and no type:value; try crm:4711, phone:+4930901820 or order:O-8"
        )
    normal = rules.parse(text)
    return tuple(dict.fromkeys(([":".join(normal)] if normal else []) + [f"{kind}:{value}"]))


def _look(view: GenerationView, spelt: Mapping[str, Sequence[str]]) -> tuple[Answer, str | None]:
    """All that the names lead to; and the customer, where it is only one."""
    ids = {text: names[0] for text, names in spelt.items() if _CUSTOMER_ID.fullmatch(names[0])}
    found = view.candidates([name for text, names in spelt.items() if text not in ids for name in names])
    followed = view.follow([*ids.values(), *(one.customer_id for named in found.values() for one in named)])
    customers: dict[str, _Found] = {}
    merged: dict[str, str] = {}
    unknown: list[str] = []
    for text, names in spelt.items():
        if text in ids:
            leading = list(_by_id(ids[text], followed))
            if len(leading) == 1 and leading[0][0] != ids[text]:
                merged[ids[text]] = leading[0][0]
        else:
            every = (one for name in names for one in found[name])
            leading = [(now, one) for one in every for now in followed.now[one.customer_id]]
        for now, reason in leading:
            customer = customers.setdefault(now, _Found())
            customer.names.add(text)
            customer.reasons[reason._replace(customer_id=now)] = None
        if not leading:
            unknown.append(text)
    ranked = sorted(customers, key=lambda one: (-len(customers[one].names), not customers[one].linking, one))
    shown = [_candidate(one, customers[one].reasons, followed.stored) for one in ranked[:CANDIDATES_MAX]]
    match: Literal["ambiguous", "none"] = "ambiguous" if len(ranked) > 1 else "none"
    return Answer(match, None, shown, merged, unknown), ranked[0] if len(ranked) == 1 else None


def _by_id(customer_id: str, followed: Followed) -> Iterable[tuple[str, Candidate]]:
    """Whom a customer id leads to: nobody, if it was never given out or is nobody's any more."""
    stored = followed.stored.get(customer_id)
    if stored is None:
        return
    for now in followed.now[customer_id]:
        through = None if now == customer_id else stored.founder
        yield now, Candidate(now, LINKING, customer_id, through)


def _candidate(
    customer_id: str, reasons: Iterable[Candidate], stored: Mapping[str, StoredProfile]
) -> dict[str, Any]:
    profile = stored.get(customer_id)
    live = profile is not None and profile.state == LIVE
    summary = msgspec.json.decode(profile.sections.get("summary", b"{}")) if profile and live else {}
    return {
        "customer_id": customer_id,
        "display_name": summary.get("display_name"),
        "last_contact_at": summary.get("last_contact_at"),
        "founder": profile.founder if profile else None,
        "reasons": [
            {"via": one.via, "through": one.through, "status": one.status}
            for one in list(reasons)[:REASONS_MAX]
        ],
    }


def whole(stored: StoredProfile) -> dict[str, Any]:
    """The document of a stored profile."""
    sections = {name: msgspec.json.decode(section) for name, section in stored.sections.items()}
    return document(stored.customer_id, stored.founder, sections, stored.state)
