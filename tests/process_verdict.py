"""What a log must have led to, in the store and in scv's own topics, whatever happened on the way.

Guarantees:
- Expectations come from the log as Kafka holds it, read back, and from the oracle; nothing of projections/ or
  streams/ is used.
- Nothing lost, nothing twice: `meta.version` counts the records of every customer.
"""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import redis

from api.lookup import whole
from eventlog.reading import ranges_up_to, read_ranges, read_topic
from eventlog.topics import CHANGES, DEAD_LETTERS, link_log
from models.catalogue import DOMAIN_TOPICS
from models.dead_letter import Fault
from models.event import EVENT_TYPES
from models.record import Lane, Record
from models.settings import Settings
from stores.progress import read_progress
from stores.reading import ProfileReader
from tests import oracle
from tests.oracle_parts import IDENTIFIERS, Part
from tests.oracle_reading import Told, customer_id, told
from tests.process_world import GENERATION

Document = dict[str, Any]
# An index entry holds so many customers, those of least ids.
ENTRY_MAX = Settings.model_fields["shared_above"].default + 1
REFERENCE_OF = {"order_id": "order", "case_id": "case", "invoice_id": "invoice"}


class Expected(NamedTuple):
    """What a log must have led to."""

    profiles: dict[str, Document]
    """By customer id; `meta.revisions` in place of its version."""
    letters: dict[str, str]
    """The reason, by `topic-partition@offset`."""
    facts: set[tuple[str, str, int, str | None, bool]]
    """Subject, lane, offset, identifier, verified."""
    references: dict[str, set[str]]
    """The customers, by reference."""


def read_log(kafka: str) -> list[Record]:
    """All that the domain topics hold, each lane in order."""
    return sorted(read_ranges(kafka, ranges_up_to(kafka, DOMAIN_TOPICS)), key=lambda record: record[:3])


def expected_of(records: Sequence[Record]) -> Expected:
    """What this log must have led to. `records` as `read_log` gives them."""
    profiles = {one["customer_id"]: one for one in oracle.profiles(records).values()}
    letters: dict[str, str] = {}
    facts: set[tuple[str, str, int, str | None, bool]] = set()
    references: dict[str, set[str]] = {}
    parts: dict[tuple[Lane, str], Part] = {}
    for record in records:
        event = told(record, "DE")
        if isinstance(event, Fault):
            letters[f"{record.lane}@{record.offset}"] = str(event.reason)
            continue
        part = parts.setdefault((record.lane, event.subject), Part(*record.lane, event.subject))
        if part.revisions == 0:
            facts.add((event.subject, str(record.lane), record.offset, None, False))
        if (event.source, event.id) not in part.window:
            facts.update(
                (event.subject, str(record.lane), record.offset, f"{kind}:{value}", verified)
                for kind, value, verified in event.identifiers
                if is_news(part, kind, value, verified)
            )
            if not event.subject.startswith("employee:"):
                for name in named(event):
                    references.setdefault(name, set()).add(customer_id(event.subject))
        part.fold(event)
    return Expected(profiles, letters, facts, references)


def is_news(part: Part, kind: str, value: str, verified: bool) -> bool:
    """Whether an identifier is new to a part, or verified for the first time."""
    stated = part.lists[IDENTIFIERS].get((kind, value))
    return stated is None or (verified and not any(said.fact["verified"] for said in stated))


def named(event: Told) -> Iterator[str]:
    """The orders, cases and invoices that an event names, as other systems ask for them."""
    yield from event.data.get("references", ())
    for field, kind in REFERENCE_OF.items():
        if field in EVENT_TYPES[event.type].model_fields and event.data.get(field) is not None:
            yield f"{kind}:{event.data[field]}"


def comparable(document: Document) -> Document:
    """A document with its version as the oracle has it, and without the names of generation and settings."""
    meta = dict(document["meta"])
    position, _, revisions = meta.pop("version").partition(".")
    assert position == "0", f"{document['customer_id']}: no graph has placed anybody, but it is at {position}"
    assert meta.pop("generation") == GENERATION and meta.pop("config").startswith("c-")
    return {**document, "meta": {"revisions": int(revisions), **meta}}


def stored_profiles(url: str) -> dict[str, Document]:
    """Every profile that the store holds, by customer id, as look-ups read it."""
    reader, found = ProfileReader(url), {}
    with redis.Redis.from_url(url) as client:
        keys = [key.decode() for key in client.scan_iter(f"scv:{GENERATION}:*:profile", count=1_000)]
    for key in keys:
        customer = key.split("{")[1].split("}")[0]
        stored = reader.profile(customer)
        assert stored is not None, f"{key} holds no profile"
        found[customer] = whole(stored)
        assert stored.version == found[customer]["meta"]["version"], key
    reader.close()
    return found


def assert_profiles(url: str, expected: Expected) -> None:
    """Every profile is the oracle's, and there is none besides."""
    found = {customer: comparable(one) for customer, one in stored_profiles(url).items()}
    assert found.keys() == expected.profiles.keys()
    for customer, document in expected.profiles.items():
        for section, content in document.items():
            where = f"{document['founder']}: {section}"
            assert found[customer][section] == content, where
            assert repr(found[customer][section]) == repr(content), f"{where}: order or types"


def assert_settled(url: str, records: Sequence[Record]) -> None:
    """No mark is open, and every lane is folded, assembled and known to end where it ends."""
    with redis.Redis.from_url(url) as client:
        assert list(client.scan_iter(f"scv:{GENERATION}:*:dirty", count=1_000)) == []
    ends: dict[Lane, int] = {}
    for record in records:
        ends[record.lane] = record.offset + 1
    for lane, progress in read_progress(url, GENERATION, sorted(ends)).items():
        assert progress == (ends[lane],) * 3, f"{lane}: next, end, assembled are {progress}"


def assert_dead_letters(kafka: str, expected: Expected, records: Sequence[Record]) -> int:
    """Every record that is no event has its dead letter, always the same one; gives how many came again."""
    letters: dict[str, bytes | None] = {}
    came = 0
    for record in read_topic(kafka, DEAD_LETTERS):
        name = json.loads(record.value or b"")["id"]
        assert letters.setdefault(name, record.value) == record.value, f"{name}: two different dead letters"
        came += 1
    told_of = {name: json.loads(value or b"")["data"] for name, value in letters.items()}
    assert {name: data["reason"] for name, data in told_of.items()} == expected.letters
    for record in records:
        if (data := told_of.get(f"{record.lane}@{record.offset}")) is not None:
            assert_carried(record, data)
    return came - len(letters)


def assert_carried(record: Record, data: Document) -> None:
    """A dead letter holds the record as it was; what it has no room for, it counts."""
    fields = [(record.key, data["key_base64"]), (record.value, data["value_base64"])]
    if data["headers"] or not data["omitted_bytes"]:
        assert [(name, decoded(one)) for name, one in told_headers(data)] == record.headers, record.place
    else:
        fields += [(name.encode() + (value or b""), None) for name, value in record.headers]
    omitted_bytes = 0
    for raw, carried in fields:
        if carried is None:
            omitted_bytes += len(raw or b"")
        else:
            assert decoded(carried) == raw, record.place
    assert omitted_bytes == data["omitted_bytes"], record.place


def told_headers(data: Document) -> list[tuple[str, str | None]]:
    """The headers of a dead letter."""
    return [(one["name"], one["value_base64"]) for one in data["headers"]]


def decoded(carried: str | None) -> bytes | None:
    """The bytes of a field."""
    return None if carried is None else b64decode(carried)


def assert_link_log(kafka: str, expected: Expected) -> int:
    """The link log says what the lanes said, whatever was said again; gives how many facts came again."""
    came = [json.loads(record.value or b"") for record in read_topic(kafka, link_log(GENERATION))]
    facts = {
        (one["subject"], one["lane"], one["offset"], one.get("identifier"), one.get("verified", False))
        for one in came
    }
    assert facts == expected.facts
    return len(came) - len(facts)


def assert_notices(kafka: str, expected: Expected) -> None:
    """Of every customer's last version there is a change notice."""
    versions: dict[str, int] = {}
    for record in read_topic(kafka, CHANGES):
        notice = json.loads(record.value or b"")
        revisions = int(notice["version"].removeprefix("0."))
        customer = notice["customer_id"]
        versions[customer] = max(revisions, versions.get(customer, 0))
    assert versions == {name: one["meta"]["revisions"] for name, one in expected.profiles.items()}


def assert_lookups(url: str, expected: Expected) -> None:
    """Every subject, shown identifier, reference leads to its customers, or to as many as an entry holds."""
    names: dict[str, set[str]] = {name: set(found) for name, found in expected.references.items()}
    for customer, document in expected.profiles.items():
        names.setdefault(document["founder"], set()).add(customer)
        for one in document["identity"]["identifiers"]:
            names.setdefault(f"{one['type']}:{one['value']}", set()).add(customer)
    reader = ProfileReader(url)
    for name, customers in names.items():
        kind, _, value = name.partition(":")
        found = {one.customer_id for one in reader.candidates(kind, value)}
        assert customers <= found or len(found) >= ENTRY_MAX, f"{name}: leads to {found}, not to {customers}"
    reader.close()


def assert_all(kafka: str, url: str) -> dict[str, int]:
    """Everything above; gives figures for people. All lanes must have come to rest."""
    records = read_log(kafka)
    expected = expected_of(records)
    assert_settled(url, records)
    assert_profiles(url, expected)
    letters_again = assert_dead_letters(kafka, expected, records)
    facts_again = assert_link_log(kafka, expected)
    assert_notices(kafka, expected)
    assert_lookups(url, expected)
    return {
        "records": len(records),
        "customers": len(expected.profiles),
        "dead_letters": len(expected.letters),
        "dead_letters_again": letters_again,
        "link_facts": len(expected.facts),
        "link_facts_again": facts_again,
        "names_looked_up": len(expected.references),
    }
