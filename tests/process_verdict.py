"""What a log must have led to, in the store and in scv's own topics, whatever happened on the way.

Guarantees:
- Expectations come from the log as Kafka holds it, read back, and from two oracles, of profiles and of who is
  who; nothing of projections/ or streams/ is used.
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
from models.catalogue import COMMAND_TOPIC, DOMAIN_TOPICS
from models.dead_letter import Fault
from models.event import EVENT_TYPES
from models.link import LinkFact, read_link_fact
from models.record import Lane, Record
from models.rules import IdentityRules
from stores.keys import Keys
from stores.progress import read_progress
from stores.reading import CUSTOMERS_ENOUGH, ProfileReader
from tests import oracle
from tests.oracle_parts import IDENTIFIERS, Part
from tests.oracle_reading import Told, customer_id, german, normal, told
from tests.process_customers import (
    Customers,
    assert_buried,
    assert_placed,
    assert_turns,
    customers_of,
    read_turns,
)
from tests.process_world import GENERATION

Document = dict[str, Any]
RULES = IdentityRules()
REFERENCE_OF = {"order_id": "order", "case_id": "case", "invoice_id": "invoice"}
KEYS = Keys(GENERATION)
LINKS = Lane(link_log(GENERATION), 0)


class Expected(NamedTuple):
    """What a log must have led to."""

    profiles: dict[str, Document]
    """By customer id; `meta.revisions` in place of its version."""
    customers: Customers
    letters: dict[str, str]
    """The reason, by `topic-partition@offset`."""
    facts: set[LinkFact]
    references: dict[str, set[str]]
    """The subjects, by reference."""


def read_log(kafka: str) -> list[Record]:
    """All that the domain topics and the commands hold, each lane in order."""
    topics = (*DOMAIN_TOPICS, COMMAND_TOPIC)
    return sorted(read_ranges(kafka, ranges_up_to(kafka, topics)), key=lambda record: record[:3])


def read_links(kafka: str) -> list[LinkFact]:
    """What workers have told the graph, in order, repeats among it."""
    facts = [read_link_fact(record.value) for record in read_topic(kafka, LINKS.topic)]
    assert None not in facts, "something in the link log is no fact"
    return [fact for fact in facts if fact is not None]


def expected_of(records: Sequence[Record], links: Sequence[LinkFact]) -> Expected:
    """What this log must have led to. `records` as `read_log` gives them, `links` as `read_links` does."""
    letters: dict[str, str] = {}
    facts: set[LinkFact] = set()
    references: dict[str, set[str]] = {}
    parts: dict[tuple[Lane, str], Part] = {}
    for record in records:
        event = told(record, german)
        if isinstance(event, Fault):
            letters[f"{record.lane}@{record.offset}"] = str(event.reason)
            continue
        if record.topic == COMMAND_TOPIC:
            facts.update(commanded(record, event))
            continue
        part = parts.setdefault((record.lane, event.subject), Part(*record.lane, event.subject))
        if not event.subject.startswith("employee:"):
            facts.update(stated(record, event, part))
            if (event.source, event.id) not in part.window:
                for name in named(event):
                    references.setdefault(name, set()).add(event.subject)
        part.fold(event)
    customers = customers_of(links, RULES)
    profiles = oracle.profiles(records, customers=customers.together)
    by_id = {one["customer_id"]: one for one in profiles.values()}
    return Expected(by_id, customers, letters, facts, references)


def stated(record: Record, event: Told, part: Part) -> Iterator[LinkFact]:
    """What the graph must hear of an event that is about to be folded into this part."""
    place = (event.subject, str(record.lane), record.offset, event.log_us)
    if part.revisions == 0:
        yield LinkFact(*place)
    if (event.source, event.id) not in part.window:
        for kind, value, verified in event.identifiers:
            if is_news(part, kind, value, verified):
                yield LinkFact(*place, f"{kind}:{value}", verified)


def commanded(record: Record, event: Told) -> Iterator[LinkFact]:
    """What the graph must hear of a command; nothing of one that names what says nothing about a person."""
    data, verb = event.data, event.type.removeprefix("identity.")
    if verb == "verify":
        kind, value = data["identifier_type"], data["identifier_value"]
    else:
        kind, _, value = data["other"].partition(":")
    known = value if RULES.declares(kind) else normal(kind, value, german(event.subject))
    if known is not None:
        yield LinkFact(
            data["subject"], str(record.lane), record.offset, event.log_us, f"{kind}:{known}",
            verified=verb == "verify", command=verb, actor=data["actor"], reason=data["reason"],
        )  # fmt: skip


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
    revisions = meta.pop("version").partition(".")[2]
    assert meta.pop("generation") == GENERATION and meta.pop("config").startswith("c-")
    return {**document, "meta": {"revisions": int(revisions), **meta}}


class Stored(NamedTuple):
    """What the store holds by customer ids: living customers' documents; of all of them, how they stand."""

    profiles: dict[str, Document]
    versions: dict[str, tuple[int, int]]
    states: dict[str, tuple[str, str]]
    """State and founder."""


def read_store(url: str) -> Stored:
    """Every profile and tombstone, as look-ups read them."""
    reader, found = ProfileReader(url), Stored({}, {}, {})
    with redis.Redis.from_url(url) as client:
        keys = [key.decode() for key in client.scan_iter(f"scv:{GENERATION}:*:profile", count=1_000)]
    for key in keys:
        customer = key.split("{")[1].split("}")[0]
        stored = reader.profile(customer)
        assert stored is not None, f"{key} holds no profile"
        position, _, revisions = stored.version.partition(".")
        found.versions[customer] = int(position), int(revisions)
        found.states[customer] = stored.state, stored.founder
        if stored.state == "live":
            found.profiles[customer] = whole(stored)
            assert stored.version == found.profiles[customer]["meta"]["version"], key
        else:
            assert not stored.sections, f"{key}: sections of a customer that is {stored.state}"
    reader.close()
    return found


def stored_profiles(url: str) -> dict[str, Document]:
    """Every living customer's profile that the store holds, by customer id."""
    return read_store(url).profiles


def assert_profiles(stored: Stored, expected: Expected) -> None:
    """Every profile is the oracle's, and there is none besides."""
    found = {customer: comparable(one) for customer, one in stored.profiles.items()}
    assert found.keys() == expected.profiles.keys()
    for customer, document in expected.profiles.items():
        for section, content in document.items():
            where = f"{document['founder']}: {section}"
            assert found[customer][section] == content, where
            assert repr(found[customer][section]) == repr(content), f"{where}: order or types"


def assert_settled(url: str, records: Sequence[Record], facts: int) -> None:
    """No mark is open, and every lane is folded, assembled and known to end where it ends."""
    with redis.Redis.from_url(url) as client:
        assert list(client.scan_iter(f"scv:{GENERATION}:*:dirty", count=1_000)) == []
    ends: dict[Lane, int] = {LINKS: facts}
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


def assert_link_log(links: Sequence[LinkFact], expected: Expected) -> int:
    """The link log says what the lanes said, whatever was said again; gives how many facts came again."""
    assert set(links) == expected.facts
    return len(links) - len(expected.facts)


def assert_notices(kafka: str, stored: Stored) -> None:
    """Of every customer's last version there is a change notice, with its state, and of none after it."""
    latest: dict[str, tuple[tuple[int, int], str]] = {}
    for record in read_topic(kafka, CHANGES):
        notice = json.loads(record.value or b"")
        position, _, revisions = notice["version"].partition(".")
        customer, told_of = notice["customer_id"], ((int(position), int(revisions)), notice["state"])
        latest[customer] = max(told_of, latest.get(customer, told_of))
    assert latest == {name: (at, stored.states[name][0]) for name, at in stored.versions.items()}


def assert_references(url: str, expected: Expected) -> None:
    """Every reference leads to all subjects that named it, and they to their customers."""
    names = sorted(expected.references)
    with redis.Redis.from_url(url) as client:
        for name in names:
            found = {subject.decode() for subject in client.smembers(KEYS.reference(name))}
            people = {subject for subject in found if not subject.startswith("employee:")}
            assert people == expected.references[name], name
    reader = ProfileReader(url)
    for name in names:
        customers = {customer_id(expected.customers.of_subject[one]) for one in expected.references[name]}
        found = {one.customer_id for one in reader.candidates(*name.split(":", 1))}
        enough = len(found) >= CUSTOMERS_ENOUGH
        assert customers <= found or enough, f"{name}: leads to {found}, not to {customers}"
    reader.close()


def assert_all(kafka: str, url: str) -> dict[str, int]:
    """Everything above; gives figures for people. All lanes must have come to rest."""
    records, links = read_log(kafka), read_links(kafka)
    expected, stored = expected_of(records, links), read_store(url)
    customers = expected.customers
    assert_settled(url, records, len(links))
    facts_again = assert_link_log(links, expected)
    with redis.Redis.from_url(url) as client:
        assert_placed(client, KEYS, customers, stored.versions)
    assert_buried(customers, stored.states)
    assert_profiles(stored, expected)
    letters_again = assert_dead_letters(kafka, expected, records)
    turns, turns_again = read_turns(kafka)
    followed = assert_turns(turns, customers)
    assert_notices(kafka, stored)
    assert_references(url, expected)
    return {
        "records": len(records),
        "subjects": len(customers.of_subject),
        "customers": len(expected.profiles),
        "of_several": sum(len(one.members) > 1 for one in customers.placed.values()),
        "commands": sum(fact.command is not None for fact in expected.facts),
        "turns": len(turns),
        "turns_again": turns_again,
        "followed": followed,
        "followed_of": len(customers.known),
        "splits": sum(turn["type"] == "customer.split" for turn in turns),
        "dead_letters": len(expected.letters),
        "dead_letters_again": letters_again,
        "link_facts": len(expected.facts),
        "link_facts_again": facts_again,
        "names_looked_up": len(customers.entries) + len(expected.references),
    }
