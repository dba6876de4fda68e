"""Money between what people write (`49.90`) and what events hold (`4990`, the smallest unit).

Invariants:
- Decimals only, never floats: what cannot be said exactly in the currency's smallest unit is refused.
- How many decimals a currency has is ISO 4217's answer; a currency not listed here has two.
"""

from __future__ import annotations

import re
from decimal import Context, Decimal, Inexact, InvalidOperation

from models.fields import SAFE_INTEGER

# ISO 4217, list one: the currencies whose minor unit is not a hundredth.
_DIGITS = {
    **dict.fromkeys(
        ("BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "UYI", "VND", "VUV",
         "XAF", "XOF", "XPF"), 0),
    **dict.fromkeys(("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"), 3),
    **dict.fromkeys(("CLF", "UYW"), 4),
}  # fmt: skip
# Longer than any amount that fits an event; what would be rounded here is refused.
_EXACT = Context(prec=60, traps=[Inexact, InvalidOperation])
_AMOUNT = re.compile(r"[+-]?([0-9]{1,40}\.?[0-9]{0,15}|\.[0-9]{1,15})")
_SIGNS = {"EUR": "€", "USD": "$", "GBP": "£", "JPY": "¥"}


def digits_of(currency: str) -> int:
    """How many decimals the currency has."""
    return _DIGITS.get(currency, 2)


def minor_of(amount: str | float | Decimal, currency: str) -> int:
    """The amount in the currency's smallest unit; ValueError when that is not a whole number.

    A float (Parquet has them) is taken as the shortest decimal that names it: 11.77 means 11.77.
    """
    try:
        if isinstance(amount, str) and not _AMOUNT.fullmatch(amount):
            raise ValueError
        exact = Decimal(repr(amount) if isinstance(amount, float) else amount)
        minor = exact.scaleb(digits_of(currency), _EXACT)
        whole = int(minor)
    except (InvalidOperation, Inexact, ValueError, OverflowError):
        raise ValueError(f"{str(amount)[:40]!r} is no amount of money") from None
    if whole != minor:
        raise ValueError(
            f"{str(amount)[:40]} has more decimals than {currency}, which has {digits_of(currency)}"
        )
    if abs(whole) > SAFE_INTEGER:
        raise ValueError(
            f"{str(amount)[:40]} {currency} is too large: JSON readers hold ±{SAFE_INTEGER} exactly"
        )
    return whole


def money_text(minor: int | None, currency: str | None) -> str:
    """`4990`, `EUR` as `49.90 €`; an empty text when either is missing."""
    if minor is None or currency is None:
        return ""
    digits = digits_of(currency)
    return f"{Decimal(minor).scaleb(-digits):,.{digits}f} {_SIGNS.get(currency, currency)}"
