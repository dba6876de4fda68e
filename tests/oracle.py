"""The reference: every profile, computed in the plainest way from what docs/profile.md says of each field.

Guarantees:
- Nothing of projections/, stores/ or streams/ is used: what agrees with this was written twice.
- The result depends on the records, by lane and offset, and on nothing else: not on the order in which they
  are given, and not on how often.
- Each subject is its own customer.

How it works: `oracle_reading` makes an event of a record. `oracle_parts` keeps the events of a part in a
list, in log order; only what a bound forgets inside a part, and what docs/profile.md says happens in log
order, is walked through event by event. All else is asked of the lists of all parts of a subject, joined, by
`oracle_customer` and the files of the sections.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from models.catalogue import DOMAIN_TOPICS
from models.dead_letter import Fault
from models.record import Record
from tests.oracle_customer import Customer, Document
from tests.oracle_dealings import billing, sales, service
from tests.oracle_parts import Part
from tests.oracle_person import consent, identity, marketing, meta, timeline, traits
from tests.oracle_reading import customer_id, told
from tests.oracle_summary import summary


def _once(records: Iterable[Record]) -> list[Record]:
    """Each record once, lane by lane, in log order."""
    at_place = {(record.topic, record.partition, record.offset): record for record in records}
    return [at_place[place] for place in sorted(at_place)]


def parts(records: Iterable[Record], *, region: str = "DE") -> dict[tuple[str, int, str], Part]:
    """The part of each (topic, partition, subject), employees' too."""
    found: dict[tuple[str, int, str], Part] = {}
    for record in _once(records):
        if record.topic not in DOMAIN_TOPICS:
            continue
        event = told(record, region)
        if not isinstance(event, Fault):
            place = (record.topic, record.partition, event.subject)
            found.setdefault(place, Part(*place)).fold(event)
    return found


def dead_letters(records: Iterable[Record]) -> list[tuple[str, int, int, str]]:
    """(topic, partition, offset, reason) of each record that is no event of its topic, by lane and offset."""
    return [
        (record.topic, record.partition, record.offset, str(fault.reason))
        for record in _once(records)
        if isinstance(fault := told(record, "DE"), Fault)
    ]


def profiles(
    records: Iterable[Record], *, trust: Sequence[str] = (), region: str = "DE"
) -> dict[str, Document]:
    """The profile of each subject that is not an employee.

    `trust` names CloudEvents sources from the most trusted on, `region` the numbering plan of phone numbers
    without a `+`. A profile is the document of docs/profile.md, its keys in that order, but for `meta`, which
    has no `generation` and no `config`, and in place of `version` has `revisions`: the number behind its dot.
    """
    of_subject: dict[str, list[Part]] = {}
    for (_, _, subject), part in parts(records, region=region).items():
        if not subject.startswith("employee:"):
            of_subject.setdefault(subject, []).append(part)
    return {
        subject: _document(Customer(subject, mine, trust, region)) for subject, mine in of_subject.items()
    }


def _document(customer: Customer) -> Document:
    sections = {
        "identity": identity(customer),
        "consent": consent(customer),
        "marketing": marketing(customer),
        "sales": sales(customer),
        "service": service(customer),
        "billing": billing(customer),
        "experience": None,
        "journey": None,
        "value": None,
        "traits": traits(customer),
        "timeline": timeline(customer),
        "signals": [],
    }
    return {
        "schema_version": 1,
        "customer_id": customer_id(customer.subject),
        "state": "live",
        "founder": customer.subject,
        "summary": summary(customer, sections),
        **sections,
        "meta": meta(customer),
    }
