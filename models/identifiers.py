"""Subjects, identifiers and customer ids: how each is written, so that one thing has one name.

Invariants:
- Normalising twice changes nothing.
- A value that says nothing about a person (blocked, or no phone number at all) normalises to None: it makes
  no edge and no index entry.
- A customer id is the hash of a subject and nothing else.
"""

from __future__ import annotations

import hashlib
import re
from functools import lru_cache

import phonenumbers

# Namespaces that hold employees: they get parts for team figures, never a customer.
EMPLOYEE_NAMESPACE = "employee"

# What forms and exports write where there is no value; it would join strangers.
BLOCKED_VALUES = frozenset(
    {"", "-", "0", "00000", "000000", "0000000000", "123456", "n/a", "na", "nil", "none", "null", "test",
     "undefined", "unknown"}
)  # fmt: skip
BLOCKED_MAILBOXES = ("noreply@", "no-reply@", "donotreply@", "do-not-reply@")

# Crockford's base 32: no I, L, O, U to misread over a telephone.
_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_TYPE = re.compile(r"[a-z][a-z0-9_.-]{0,31}")
_ID_BITS = 80


def namespace_of(subject: str) -> str:
    """`crm` of `crm:4711`."""
    return subject.partition(":")[0]


def is_employee(subject: str) -> bool:
    """True for subjects that never become customers."""
    return subject.startswith(EMPLOYEE_NAMESPACE + ":")


@lru_cache(maxsize=65_536)
def customer_id(founder: str) -> str:
    """The id that a founder gives its customer: `cus_` and 80 bits of SHA-256 in Crockford's base 32."""
    number = int.from_bytes(hashlib.sha256(founder.encode()).digest()[: _ID_BITS // 8], "big")
    return "cus_" + "".join(_ALPHABET[number >> shift & 31] for shift in range(_ID_BITS - 5, -1, -5))


@lru_cache(maxsize=65_536)
def normalise(kind: str, value: str, region: str = "DE") -> str | None:
    """An identifier's value in its one form; None when it says nothing about a person.

    Phones become E.164 (their own `+`, else the numbering plan of `region`, ISO 3166), emails are trimmed and
    lower-cased, other values trimmed.
    """
    value = value.strip()
    if value.casefold() in BLOCKED_VALUES:
        return None
    if kind == "email":
        value = value.lower()
        name, at, host = value.rpartition("@")
        return value if name and host and at and not value.startswith(BLOCKED_MAILBOXES) else None
    if kind == "phone":
        return _phone(value, region)
    return value


def _phone(value: str, region: str) -> str | None:
    try:
        number = phonenumbers.parse(value, region)
    except phonenumbers.NumberParseException:
        return None
    # A number that can be dialled only locally would be somebody else's in every town.
    if phonenumbers.is_possible_number_with_reason(number) != phonenumbers.ValidationResult.IS_POSSIBLE:
        return None
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


def parse_identifier(text: str, region: str = "DE") -> tuple[str, str] | None:
    """`phone:+49 30 901820` as `("phone", "+4930901820")`; None when it is no identifier."""
    kind, colon, value = text.strip().partition(":")
    if not colon or not _TYPE.fullmatch(kind):
        return None
    normal = normalise(kind, value, region)
    return None if normal is None else (kind, normal)
