"""Assemble a profile: merge the parts of a customer's members, and derive what readers see.

Invariants:
- profile = derive(merge(parts)): the order of parts and subjects changes nothing.
- No clock. `merge` cuts nothing; bounds are cut here, at the end, and named in `meta.truncated`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from models.bounds import SUBJECTS_MAX
from models.identifiers import customer_id
from projections.history import summary
from projections.identity import IDENTIFIERS
from projections.instants import instant_or_none, rfc3339
from projections.parts import PLACE, SECTIONS, Part, states_of
from projections.section import Rendered

SCHEMA_VERSION = 1
_META, _IDENTITY = PLACE["meta"], PLACE["identity"]
# Sections of the profile, in the order of the document; the reserved ones are not stored.
SHOWN = (
    "summary",
    "identity",
    "consent",
    "marketing",
    "sales",
    "service",
    "billing",
    "traits",
    "timeline",
    "meta",
)
RESERVED: dict[str, Any] = {"experience": None, "journey": None, "value": None, "signals": []}
DOCUMENT_ORDER = (
    "summary",
    "identity",
    "consent",
    "marketing",
    "sales",
    "service",
    "billing",
    "experience",
    "journey",
    "value",
    "traits",
    "timeline",
    "signals",
    "meta",
)

_write = msgspec.json.Encoder().encode


class Profile(msgspec.Struct):
    """One assembled customer: each section as JSON, and what the store needs beside it."""

    customer_id: str
    founder: str
    position: int
    revisions: int
    sections: dict[str, bytes]
    identifiers: list[str]

    @property
    def version(self) -> str:
        """`position.revisions`, comparable as two integers."""
        return f"{self.position}.{self.revisions}"


class Labels(msgspec.Struct, frozen=True):
    """What `meta` says of where a profile was made."""

    generation: str
    config: str


def assemble(
    members: Mapping[str, Sequence[Part]], labels: Labels, position: int = 0, founder: str | None = None
) -> Profile:
    """The profile of a customer from the parts of its subjects (one per lane that knows the subject).

    `position` is that of the members' latest stamp in the identity graph, 0 before it has placed them; the
    founder is then the one member. ValueError without members.
    """
    if not members:
        raise ValueError("a customer has at least one member")
    founder = min(members) if founder is None else founder
    merged_by_subject = {subject: _merged(parts, subject) for subject, parts in sorted(members.items())}
    merged = _merged_subjects(list(merged_by_subject.values()))
    revisions = sum(part.revision for parts in members.values() for part in parts)
    rendered = {
        section.name: section.rendered(states) for section, states in zip(SECTIONS, merged, strict=True)
    }
    truncated = _list_subjects(rendered["identity"], merged_by_subject)
    documents = {name: rendered[name].document for name in SHOWN if name not in ("summary", "meta")}
    documents["summary"] = summary({name: fact for one in rendered.values() for name, fact in one.facts.items()})
    for one in rendered.values():
        truncated += one.truncated
    version = f"{position}.{revisions}"
    documents["meta"] = _meta(rendered["meta"].facts, labels, version, truncated)
    return Profile(
        customer_id(founder),
        founder,
        position,
        revisions,
        {name: _write(documents[name]) for name in SHOWN},
        sorted({*members, *_identifiers(merged)}),
    )


def _merged(parts: Sequence[Part], subject: str) -> list[list[Any]]:
    """All sections of one subject, merged over its lanes, with the subject noted where it shows."""
    merged: list[list[Any]] = []
    for place, section in enumerate(SECTIONS):
        held = [states_of(part, place) for part in parts if part.sections[place] is not None]
        states = held[0] if held else section.zero()
        for more in held[1:]:
            states = section.merge(states, more)
        merged.append(section.attributed(states, subject))
    return merged


def _merged_subjects(subjects: list[list[list[Any]]]) -> list[list[Any]]:
    merged = subjects[0]
    for more in subjects[1:]:
        merged = [section.merge(a, b) for section, a, b in zip(SECTIONS, merged, more, strict=True)]
    return merged


def _identifiers(merged: list[list[Any]]) -> list[str]:
    return list(merged[_IDENTITY][IDENTIFIERS][1])


def _list_subjects(identity: Rendered, merged_by_subject: Mapping[str, list[list[Any]]]) -> list[str]:
    """Write the members into `identity.subjects`; gives what that cut off."""
    listed: list[tuple[int, str, int]] = []
    for subject, states in merged_by_subject.items():
        _, first_negated_us, last_us, _, _ = states[_META]
        if last_us is not None:
            listed.append((-first_negated_us, subject, last_us))
    listed.sort()
    identity.document["subjects"] = [
        {"subject": subject, "first_seen_at": rfc3339(first_us), "last_seen_at": rfc3339(last_us)}
        for first_us, subject, last_us in listed[:SUBJECTS_MAX]
    ]
    return ["identity.subjects"] if len(listed) > SUBJECTS_MAX else []


def _meta(facts: dict[str, Any], labels: Labels, version: str, truncated: list[str]) -> dict[str, Any]:
    return {
        "generation": labels.generation,
        "config": labels.config,
        "version": version,
        "last_event_at": instant_or_none(facts["last_event_us"]),
        "last_log_at": instant_or_none(facts["last_log_us"]),
        "clamped_times": facts["clamped_times"],
        "ignored_fields": facts["ignored_fields"],
        "truncated": sorted(truncated),
    }


def document(customer: str, founder: str, sections: Mapping[str, Any], state: str = "live") -> dict[str, Any]:
    """The whole profile as profile.json has it, from its sections decoded."""
    whole: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "customer_id": customer,
        "state": state,
        "founder": founder,
    }
    for name in DOCUMENT_ORDER:
        whole[name] = sections[name] if name in sections else RESERVED.get(name)
    return whole
