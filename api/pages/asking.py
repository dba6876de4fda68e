"""What an agent types or a telephony system hands over, as names to look up.

Invariants:
- A text that may be several kinds of name is looked up as all of them: those that lead nowhere change
  nothing, and those that lead to different customers make the answer ambiguous.
"""

from __future__ import annotations

import re

from api.lookup import NAMES_MAX

_CUSTOMER = re.compile(r"cus_[0-9A-Za-z]{16}")
_NAMED = re.compile(r"[a-z][a-z0-9_.-]{0,31}:.+")
_EMAIL = re.compile(r"[^\s@]+@[^\s@]+")
_PHONE = re.compile(r"(?:\+|00)?[\d ()/.-]{6,24}")
# What is printed on letters and shown in apps.
_PRINTED = ("order", "case", "invoice")
TEXT_MAX = 200


def names_of(text: str) -> list[str]:
    """`+49 30 901820`, `ada@example.com`, `O-8`, `crm:4711`, `cus_…` as names; a line each."""
    names: list[str] = []
    for line in text.splitlines():
        names += _names_of_one(line.strip()[:TEXT_MAX])
    return list(dict.fromkeys(names))[:NAMES_MAX]


def _names_of_one(text: str) -> list[str]:
    if not text:
        return []
    if _CUSTOMER.fullmatch(text):
        return [f"cus_{text[4:].upper()}"]
    if _NAMED.fullmatch(text):
        return [text]
    if _EMAIL.fullmatch(text):
        return [f"email:{text}"]
    names = [f"{kind}:{text}" for kind in _PRINTED]
    return [f"phone:{text}", *names] if _PHONE.fullmatch(text) and any(map(str.isdigit, text)) else names


def is_one_of_ours(name: str) -> bool:
    """Whether a name is a reference or a customer id, which says nothing of a person."""
    return name.startswith(("cus_", *(f"{kind}:" for kind in _PRINTED)))
