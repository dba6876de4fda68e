"""Subjects, identifiers and customer ids: how each is written, so that one thing has one name.

Invariants:
- Normalising twice changes nothing.
- A value that says nothing about a person (blocked, no phone number at all, a reference as `order:O-8`)
  normalises to None: it makes no edge and no index entry.
- A customer id is the hash of a subject and nothing else.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from functools import lru_cache

import phonenumbers

# Namespaces that hold employees: they get parts for team figures, never a customer.
EMPLOYEE_NAMESPACE = "employee"
# In look-ups `customer:cus_…` is a customer id: a subject of that name could not be told from it.
CUSTOMER_NAMESPACE = "customer"

# What something is about, not who somebody is: several people may stand behind one order.
REFERENCE_TYPES = frozenset({"order", "case", "invoice"})
# Names of these types are nobody's identifiers.
NEVER_LINKING = REFERENCE_TYPES | {EMPLOYEE_NAMESPACE, CUSTOMER_NAMESPACE}

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
# Two of its signs at a time, for ten bits.
_SHIFTS = range(_ID_BITS - 10, -1, -10)
_PAIRS = [first + second for first in _ALPHABET for second in _ALPHABET]


def namespace_of(subject: str) -> str:
    """`crm` of `crm:4711`."""
    return subject.partition(":")[0]


def is_employee(subject: str) -> bool:
    """True for subjects that never become customers."""
    return subject.startswith(EMPLOYEE_NAMESPACE + ":")


def customer_id(founder: str) -> str:
    """The id that a founder gives its customer: `cus_` and 80 bits of SHA-256 in Crockford's base 32."""
    number = int.from_bytes(hashlib.sha256(founder.encode()).digest()[: _ID_BITS // 8], "big")
    return "cus_" + "".join([_PAIRS[number >> shift & 1023] for shift in _SHIFTS])


def normal_form(
    form: str, value: str, region: str, blocked_values: AbstractSet[str], blocked_mailboxes: tuple[str, ...]
) -> str | None:
    """A value in its one form; None when it says nothing about a person.

    `phone` becomes E.164 (its own `+`, else the numbering plan of `region`, ISO 3166), `email` is lower case,
    `lower`, `upper` and `digits` are what they say; all are trimmed. Blocked values are compared in any case,
    as they were written and in their form; `blocked_mailboxes` are how an email must not begin.
    """
    value = value.strip()
    if not value or value.casefold() in blocked_values:
        return None
    normal = _FORMS[form](value, region)
    if not normal or normal.casefold() in blocked_values:
        return None
    return None if form == "email" and normal.startswith(blocked_mailboxes) else normal


@lru_cache(maxsize=65_536)
def normalise(kind: str, value: str, region: str = "DE") -> str | None:
    """An identifier's value as the default rules have it: emails, phones, and everything else trimmed."""
    if kind in NEVER_LINKING:
        return None
    form = kind if kind in ("email", "phone") else "text"
    return normal_form(form, value, region, BLOCKED_VALUES, BLOCKED_MAILBOXES)


def _phone(value: str, region: str) -> str | None:
    try:
        number = phonenumbers.parse(value, region)
    except phonenumbers.NumberParseException:
        return None
    # A number that can be dialled only locally would be somebody else's in every town.
    if phonenumbers.is_possible_number_with_reason(number) != phonenumbers.ValidationResult.IS_POSSIBLE:
        return None
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


def _email(value: str, _: str) -> str | None:
    value = value.lower()
    name, _, host = value.rpartition("@")
    return value if name and host else None


_FORMS: dict[str, Callable[[str, str], str | None]] = {
    "text": lambda value, _: value,
    "lower": lambda value, _: value.lower(),
    "upper": lambda value, _: value.upper(),
    "digits": lambda value, _: "".join(character for character in value if character in "0123456789"),
    "email": _email,
    "phone": _phone,
}


def split_name(text: str) -> tuple[str, str] | None:
    """Type and value of `type:value`, the value as it is written; None when there is no such type."""
    kind, colon, value = text.strip().partition(":")
    return (kind, value) if colon and _TYPE.fullmatch(kind) else None


def parse_identifier(text: str, region: str = "DE") -> tuple[str, str] | None:
    """`phone:+49 30 901820` as `("phone", "+4930901820")` by the default rules; None when it is none."""
    named = split_name(text)
    value = None if named is None else normalise(*named, region)
    return None if named is None or value is None else (named[0], value)
