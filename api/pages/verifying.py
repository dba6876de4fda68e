"""Is the caller who they say? What they state is compared with what is known, which stays unseen.

Invariants:
- Whoever compares could as well reveal: it needs the same scope, and is in the audit topic before the answer.
- The answer says of each statement whether it fits; never what would have fitted.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from models.rules import IdentityRules

# What a caller can be asked for, and how a form names it.
ASKED = {
    "birthdate": "Date of birth",
    "postal_code": "Postal code",
    "email": "Email",
    "phone": "Phone",
    "order": "Order or invoice number",
}
# One fact may be known to a neighbour.
ENOUGH = 2


class Answer(NamedTuple):
    """What became of each statement: fits (true), does not (false), nothing known to compare with (null)."""

    fits: dict[str, bool | None]

    @property
    def verified(self) -> bool:
        """Whether enough of it fits, and nothing contradicts."""
        said = list(self.fits.values())
        return said.count(True) >= ENOUGH and False not in said


def compared(profile: Mapping[str, Any], stated: Mapping[str, str], rules: IdentityRules) -> Answer:
    """What was stated, by the names of `ASKED`, beside an unmasked profile."""
    fits: dict[str, bool | None] = {}
    for name in ASKED:
        if name in stated:
            known = _known(profile, name, rules)
            fits[name] = _plain(name, stated[name], rules) in known if known else None
    return Answer(fits)


def _known(profile: Mapping[str, Any], name: str, rules: IdentityRules) -> set[str]:
    identity, sales, billing = profile["identity"], profile["sales"], profile["billing"]
    if name == "birthdate":
        found = [identity["birthdate"]]
    elif name == "postal_code":
        found = [one["postal_code"] for one in identity["addresses"]]
    elif name == "order":
        found = [one["order_id"] for one in sales["orders"]]
        found += [one["invoice_id"] for one in billing["open_invoices"]]
    else:
        found = [one["value"] for one in identity["identifiers"] if one["type"] == name]
        found.append(identity["phone_number" if name == "phone" else "email"])
    return {_plain(name, one, rules) for one in found if one}


def _plain(name: str, text: str, rules: IdentityRules) -> str:
    """In the one form in which both are compared."""
    if name in ("email", "phone"):
        return rules.normalise(name, text) or text.casefold()
    return re.sub(r"[\s-]", "", text).casefold() if name != "birthdate" else text.strip()
