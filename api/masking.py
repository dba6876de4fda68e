"""Personal data, masked: what a reader without `profile:read.pii` gets to see.

Invariants:
- `MASKS` names every field of the profile that holds personal data; a test walks a whole profile, and fails
  for a text field that neither `MASKS` nor the test's own list of harmless fields knows.
- A masked profile is a profile still: it fits the schema, lists keep their lengths, null stays null.
- Emails and phone numbers that a source wrote into any other text are masked too, wherever they stand.
- A section, or an entry of a list, in which no sign of anything to mask stands is not read and written again.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

HIDDEN = "…"
# OpenID Connect writes a year that is not told so.
HIDDEN_BIRTHDATE = "0000"
# Enough for a caller and an agent to agree on which of two numbers is meant.
PHONE_SHOWN = 3

Mask = Callable[[Any], Any]

# In JSON text as in plain text: quotes and backslashes end what is taken for an address.
# It begins where a run of such characters does, or behind an escape, which is kept: a long run without `@`
# would be gone through from each character again.
_EMAIL = re.compile(
    rb'((?>\\(?:u[0-9a-fA-F]{4}|.))|(?<![^\s"@<>:,;()]))[^\s"@\\<>:,;()]+(?:@|%40)[^\s"@\\<>,;()]+'
)
# Between digits: what people write, also in addresses of pages, and spaces and hyphens that do not break.
_PHONE = re.compile(rb"(?:\+|%2[Bb])\d(?:(?:[ ()/.-]|%20|\xc2\xa0|\xe2\x80[\x91\xaf]){0,3}\d){6,}")
_HIDDEN = HIDDEN.encode()
_HIDDEN_BYTES = len(_HIDDEN)
_MASKED_END = _HIDDEN + b"@" + _HIDDEN + b'"'
_MASKED_EMAIL = re.compile(f".?{HIDDEN}@{HIDDEN}")
_EMAIL_LIKE = re.compile(r"[^\s@]+@[^\s@]+")
_PHONE_LIKE = re.compile(r"\+[\d ()/.-]{6,}")


def hidden(_: str) -> str:
    """Nothing of the text."""
    return HIDDEN


def mask_name(text: str) -> str:
    """`A… B…` of `Ada Byron`."""
    return " ".join(word[0] + HIDDEN for word in text.split()) or HIDDEN


def mask_email(text: str) -> str:
    """`a…@…` of an email address: the host may be a family's."""
    return f"{text[0]}{HIDDEN}@{HIDDEN}" if text else HIDDEN


def mask_phone(text: str) -> str:
    """`…820` of a phone number."""
    return HIDDEN + text[-PHONE_SHOWN:] if len(text) > 2 * PHONE_SHOWN else HIDDEN


def mask_birthdate(_: str) -> str:
    """The year that is not told."""
    return HIDDEN_BIRTHDATE


def mask_value(kind: str, value: str) -> str:
    """An identifier's value, by its type."""
    if kind == "email" or "@" in value:
        return mask_email(value)
    return mask_phone(value) if kind == "phone" else HIDDEN + value[-2:] if len(value) > 4 else HIDDEN


# An account number of a source says who somebody is only to whoever holds that source; agents need it.
def mask_subject(name: str) -> str:
    """A subject: its value is masked where it is an address or number, as in `email:ada@example.com`."""
    kind, _, value = name.partition(":")
    # The signs first: a timeline has fifty of them, and an expression takes longer.
    personal = (
        kind in ("email", "phone")
        or ("@" in value and _EMAIL_LIKE.search(value))
        or (value[:1] == "+" and _PHONE_LIKE.fullmatch(value))
    )
    return f"{kind}:{mask_value(kind, value)}" if personal else name


def mask_given_name(name: str) -> str:
    """A name that somebody asked for, `type:value`: all but customer ids and references are masked."""
    kind, colon, value = name.partition(":")
    return name if not colon or kind in ("order", "case", "invoice") else f"{kind}:{mask_value(kind, value)}"


def _identifier(one: dict[str, Any]) -> dict[str, Any]:
    sources = [mask_subject(source) for source in one["sources"]]
    return {**one, "value": mask_value(one["type"], one["value"]), "sources": sources}


def _trait(one: dict[str, Any]) -> dict[str, Any]:
    # A number or a truth may be a person's as well as a text: a birth year, an illness.
    return {**one, "value": None if one["value"] is None else HIDDEN}


# What a title says in the customer's or an agent's own words, or of the customer's life: cut after this.
_TITLE_CUTS = {
    "service.promise_made": ": ",
    "service.survey_answered": ": ",
    "marketing.life_event_noted": ": ",
    # An address of a page may carry a search or a form's fields.
    "marketing.page_viewed": "?",
}


def _entry(one: dict[str, Any]) -> dict[str, Any]:
    one["subject"] = mask_subject(one["subject"])
    if one["type"] in _TITLE_CUTS:
        one["title"] = mask_title(one["type"], one["title"])
    return one


def mask_title(wire_type: str, title: str) -> str:
    """A title of the timeline without what somebody said in their own words."""
    mark = _TITLE_CUTS.get(wire_type)
    if mark is None or mark not in title:
        return title
    return title.partition(mark)[0] + mark.rstrip() + (" " if mark != "?" else "") + HIDDEN


def _summary(section: dict[str, Any]) -> dict[str, Any]:
    if section.get("contact_reason") == "promise_open" and section.get("contact_reason_text"):
        before = section["contact_reason_text"].partition(": ")[0]
        return {**section, "contact_reason_text": f"{before}: {HIDDEN}"}
    return section


# Section → path inside it → mask. `[]` goes into each entry of a list; an empty path is the section itself.
MASKS: dict[str, dict[str, Mask]] = {
    "summary": {"display_name": mask_name, "callback_phone": mask_phone, "": _summary},
    "identity": {
        "given_name": mask_name,
        "family_name": mask_name,
        "birthdate": mask_birthdate,
        "email": mask_email,
        "phone_number": mask_phone,
        "addresses[].street_address": hidden,
        "addresses[].postal_code": hidden,
        "addresses[].locality": hidden,
        "subjects[].subject": mask_subject,
        "identifiers[]": _identifier,
    },
    "consent": {"stated_values[].value": hidden, "preferences.contact_hours": hidden},
    "service": {"promises.open[].text": hidden},
    "experience": {"comments[].text": hidden},
    "traits": {"[]": _trait},
    "timeline": {"[]": _entry},
}

# Section → what of the stored JSON, one of them at least, stands wherever its masks have something to do.
# Single characters and long texts are looked for fastest. Sections are stored without blanks between their
# JSON's signs, as msgspec writes.
SIGNS: dict[str, tuple[bytes, ...]] = {
    "consent": (b'"value":', b'"contact_hours":"'),
    "service": (b'"text":',),
    "experience": (b'"text":',),
    "traits": (b'"value":',),
    "timeline": (
        b"@", b"+", b'"subject":"email:', b'"subject":"phone:', *(
            b"?" if mark == "?" else b'"type":"%b"' % name.encode() for name, mark in _TITLE_CUTS.items()
        ),
    ),
}  # fmt: skip


def masked(section: str, stored: bytes) -> bytes:
    """A stored section as JSON, with what is personal masked."""
    return scrubbed(cut(section, stored))


def cut(section: str, stored: bytes) -> bytes:
    """A stored section with what `MASKS` names masked; the rest of it is yet to be scrubbed."""
    masks, signs = _STEPS.get(section), SIGNS.get(section)
    if masks is None or (signs is not None and not _any(signs, stored)):
        return stored
    if signs is not None and stored.startswith(b"["):
        entries = [
            _masked(masks, b"[%b]" % entry)[1:-1] if _any(signs, entry) else entry
            for entry in map(bytes, _entries(stored))
        ]
        return b"[%b]" % b",".join(entries)
    return _masked(masks, stored)


def _masked(masks: Sequence[tuple[Sequence[str], Mask]], stored: bytes) -> bytes:
    value = _decode(stored)
    for steps, mask in masks:
        value = _at(value, steps, mask)
    return _encode(value)


def _any(signs: Sequence[bytes], text: bytes) -> bool:
    # A loop: it takes half the time of `any`, and runs for each entry.
    for sign in signs:  # noqa: SIM110
        if sign in text:
            return True
    return False


def joined(pieces: Sequence[bytes]) -> bytes:
    """One text of these, each scrubbed. Mostly nothing is left to be scrubbed: that takes one look at all."""
    whole = b"".join(pieces)
    if b"+" not in whole and b"%" not in whole and _masked_already(whole):
        return whole
    return b"".join(map(scrubbed, pieces))


def scrubbed(text: bytes) -> bytes:
    """JSON text without the email addresses and international phone numbers in its strings."""
    # Numbers first: what is taken for an address may take the beginning of one with it.
    if b"+" in text or b"%" in text:
        text = _PHONE.sub(_HIDDEN, text)
    if (b"@" in text or (b"%" in text and b"%40" in text)) and not _masked_already(text):
        text = _EMAIL.sub(_without_email, text)
    return text


def _masked_already(text: bytes) -> bool:
    """Whether all of its addresses are whole strings that `mask_email` made; it may say no where they are."""
    if b"%" in text and b"%40" in text:
        return False
    at = text.find(b"@")
    while at >= 0:
        # A quote and at most one letter before, a quote behind: the expression would leave such a one.
        if text[at - _HIDDEN_BYTES : at + _HIDDEN_BYTES + 2] != _MASKED_END:
            return False
        if b'"' not in text[at - _HIDDEN_BYTES - 2 : at - _HIDDEN_BYTES]:
            return False
        at = text.find(b"@", at + 1)
    return True


def _without_email(found: re.Match[bytes]) -> bytes:
    before, address = found[1], found[0][len(found[1]) :]
    already = _MASKED_EMAIL.fullmatch(address.decode(errors="replace"))
    return found[0] if already else before + _HIDDEN + b"@" + _HIDDEN


def _at(value: Any, steps: Sequence[str], mask: Mask) -> Any:
    """The value with the mask put on there; what is null or not there stays so. Objects are changed."""
    if value is None:
        return None
    if not steps:
        return mask(value)
    step, rest = steps[0], steps[1:]
    if step == _EACH:
        if not rest:
            return [None if one is None else mask(one) for one in value]
        return [_at(one, rest, mask) for one in value]
    if step in value:
        value[step] = _at(value[step], rest, mask)
    return value


def _steps(path: str) -> tuple[str, ...]:
    """`addresses[].locality` as `addresses`, `[]`, `locality`."""
    return tuple(step for step in path.replace(_EACH, f".{_EACH}").split(".") if step)


_EACH = "[]"
_STEPS = {section: [(_steps(path), mask) for path, mask in masks.items()] for section, masks in MASKS.items()}
_decode = msgspec.json.Decoder().decode
_entries = msgspec.json.Decoder(list[msgspec.Raw]).decode
_encode = msgspec.json.Encoder().encode
