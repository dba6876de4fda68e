"""What differs between a live customer and its replay: parts, sections, what the graph remembers.

Invariants:
- Bytes are compared; where they differ, the places that differ are told with both values.
- Nothing here reads anything.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from models.catalogue import COMMAND_TOPIC
from models.link import LinkFact
from projections.assembling import Placed
from projections.differing import MISSING, Difference, differences
from projections.graph import without_employees
from projections.graph_nodes import Node
from projections.parts import SECTIONS, Part, pack

# Bookkeeping, and different in every generation.
NOT_COMPARED = "meta"


class Wrong(NamedTuple):
    """One place where the live view is not what the history gives; `subject` where it is a part of one."""

    customer_id: str | None
    subject: str | None
    section: str
    field: str
    live: Any
    replayed: Any


def parts_differing(
    name: str, live: Mapping[tuple[str, str], Part], anew: Mapping[tuple[str, str], Part]
) -> Iterator[Wrong]:
    """Where the parts of a customer, by subject and lane, are others than those folded anew."""
    for subject, lane in sorted({*live, *anew}):
        was, now = live.get((subject, lane)), anew.get((subject, lane))
        if was is None or now is None:
            pair = [MISSING if part is None else f"{part.revision} records" for part in (was, now)]
            yield Wrong(name, subject, "part", lane, *pair)
        elif pack(was) != pack(now):
            for found in differences(_readable(was), _readable(now)):
                yield wrong_at(name, subject, "part", found._replace(path=f"{lane}: {found.path}"))


def _readable(part: Part) -> dict[str, Any]:
    """A part as names and values."""
    sections = {
        section.name: None if packed is None else section.read(packed)
        for section, packed in zip(SECTIONS, part.sections, strict=True)
    }
    rest = msgspec.structs.asdict(part)
    rest = {key: value.hex() if isinstance(value, bytes) else value for key, value in rest.items()}
    seen = None if part.seen is None else msgspec.structs.asdict(part.seen)
    return {**rest, "sections": sections, "seen": seen}


def sections_differing(name: str, live: Mapping[str, bytes], anew: Mapping[str, bytes]) -> list[Wrong]:
    """Where the sections of a profile are others than those assembled anew."""
    wrong: list[Wrong] = []
    for section in dict.fromkeys((*anew, *live)):
        was, now = live.get(section), anew.get(section)
        if section == NOT_COMPARED or was == now:
            continue
        pair = [MISSING if one is None else _decoded(one) for one in (was, now)]
        found = differences(*pair) or [Difference("(bytes)", *(str(one)[:200] for one in (was, now)))]
        wrong += [wrong_at(name, None, section, one) for one in found]
    return wrong


def _decoded(section: bytes) -> Any:
    try:
        return msgspec.json.decode(section)
    except msgspec.DecodeError:
        return section.decode(errors="replace")


def wrong_at(name: str, subject: str | None, section: str, found: Difference) -> Wrong:
    """A difference, and whose it is."""
    return Wrong(name, subject, section, found.path, found.before, found.after)


def placed_values(placed: Placed) -> dict[str, Any]:
    """What the graph says of a customer beside its members, as plain values."""
    return {
        "statuses": dict(sorted(placed.statuses.items())),
        "related": [list(one) for one in placed.related],
    }


def stated_by_facts(facts: Sequence[LinkFact]) -> dict[str, list[Any]]:
    """What a subject's records state of identifiers: first log time, and whether verified."""
    found: dict[str, list[Any]] = {}
    for fact in facts:
        heard = without_employees(fact)
        if heard is None or heard.identifier in (None, heard.subject):
            continue
        name = str(heard.identifier)
        held = found.get(name, [fact.log_us, False])
        found[name] = [min(held[0], fact.log_us), held[1] or fact.verified]
    return dict(sorted(found.items()))


def known_to_graph(node: Node, subject: str) -> dict[str, list[Any]]:
    """What the graph remembers of the same; what commands have verified aside."""
    found: dict[str, list[Any]] = {}
    for name, edge in sorted(node.out.items()):
        told = [fact for fact in edge.facts if not fact.lane.startswith(COMMAND_TOPIC)]
        if told and name != subject:
            found[name] = [min(fact.log_us for fact in told), any(fact.verified for fact in told)]
    return found


def digest_of(sections: Mapping[str, bytes], parts: Mapping[tuple[str, str], Part]) -> bytes:
    """All that is compared of a customer, as 16 bytes."""
    digest = hashlib.blake2b(digest_size=16)
    for name, section in sorted(sections.items()):
        if name != NOT_COMPARED:
            digest.update(b"%b %d " % (name.encode(), len(section)))
            digest.update(section)
    for (subject, lane), part in sorted(parts.items()):
        packed = pack(part)
        digest.update(f"{subject} {lane} {len(packed)} ".encode())
        digest.update(packed)
    return digest.digest()
