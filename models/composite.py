"""Composite identifiers: what several sources know of a person, though none of them has a number for it.

Invariants:
- The same person written with other capitals, accents, umlauts or hyphens has the same keys.
- A key names nobody by itself: it is a hash. But whoever has a list of names and birth dates can make the
  same hashes, so keys are personal data like what they are made of.
- Keys of different composites never meet: what a key is made of goes into its hash.

A source states them as identifiers of the type `person_key`; docs/identity-matching.md says when to.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata

PERSON_KEY = "person_key"
"""The type of the identifiers."""

# 128 bits: two people of a billion share a key by chance less often than a disk lies.
_DIGITS = 32
# Written out on keyboards without umlauts: Müller is Mueller there, and Muller where the dots are left off.
_UMLAUTS = re.compile(r"(?<=[aou])e")
_SPECIAL = str.maketrans({"ø": "o", "ł": "l", "đ": "d", "æ": "a", "œ": "o", "þ": "th"})
_DAY = re.compile(r"[0-9]{4}-?[0-9]{2}-?[0-9]{2}")


def person_key(
    given_name: str | None, family_name: str | None, birthdate: str | None, postal_code: str | None
) -> str | None:
    """The key of name, birth date (`YYYY-MM-DD` or `YYYYMMDD`) and postcode; None when one is missing."""
    return _key(
        ("given", "family", "born", "postcode"), _parts(given_name, family_name, birthdate, postal_code)
    )


# What each of several keys is made of. Any one mistake in a name or a postcode leaves one of them as it was.
# All have the birth date: father and son may share both names and the house. The one without the given name
# has its first letter: twins share the rest.
_COMPOSITES = (
    ("given", "family", "born"),
    ("given", "born", "postcode"),
    ("initial", "family", "born", "postcode"),
)


def person_keys(
    given_name: str | None, family_name: str | None, birthdate: str | None, postal_code: str | None
) -> list[str]:
    """Keys that forgive one mistake each: in the postcode, in the family name, or in the given name.

    The last of them only after its first letter. At most three: what something is missing for is left out.
    """
    parts = _parts(given_name, family_name, birthdate, postal_code)
    keys = (_key(composite, parts) for composite in _COMPOSITES)
    return [key for key in keys if key is not None]


def _parts(
    given_name: str | None, family_name: str | None, birthdate: str | None, postal_code: str | None
) -> dict[str, str]:
    given = _letters(given_name)
    return {
        "given": given,
        "initial": given[:1],
        "family": _letters(family_name),
        "born": _day(birthdate),
        "postcode": "".join(sign for sign in (postal_code or "").upper() if sign.isalnum()),
    }


def _key(composite: tuple[str, ...], parts: dict[str, str]) -> str | None:
    if not all(parts[name] for name in composite):
        return None
    text = "\n".join(f"{name}={parts[name]}" for name in composite)
    return hashlib.sha256(text.encode()).hexdigest()[:_DIGITS]


def _letters(name: str | None) -> str:
    """A name as its bare letters: `Müller-Lüdenscheidt` is `mullerludenscheidt`."""
    plain = unicodedata.normalize("NFKD", (name or "").casefold().translate(_SPECIAL))
    letters = "".join(sign for sign in plain if sign.isalpha())
    return _UMLAUTS.sub("", letters)


def _day(birthdate: str | None) -> str:
    """The eight digits of a whole date; nothing of a year alone, or of one that hides its year."""
    text = (birthdate or "").strip()
    if not _DAY.fullmatch(text) or text.startswith("0000"):
        return ""
    return text.replace("-", "")
