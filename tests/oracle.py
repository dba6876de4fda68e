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

from collections.abc import Callable, Iterable, Mapping, Sequence

from models.catalogue import DOMAIN_TOPICS
from models.dead_letter import Fault
from models.record import Record
from tests.oracle_customer import Customer, Document, Together
from tests.oracle_dealings import billing, sales, service
from tests.oracle_parts import Part
from tests.oracle_person import consent, identity, marketing, meta, timeline, traits
from tests.oracle_reading import customer_id, german, told
from tests.oracle_summary import summary

RegionOf = Callable[[str], str]


def _once(records: Iterable[Record]) -> list[Record]:
    """Each record once, lane by lane, in log order."""
    at_place = {(record.topic, record.partition, record.offset): record for record in records}
    return [at_place[place] for place in sorted(at_place)]


def parts(records: Iterable[Record], *, region_of: RegionOf = german) -> dict[tuple[str, int, str], Part]:
    """The part of each (topic, partition, subject), employees' too."""
    found: dict[tuple[str, int, str], Part] = {}
    for record in _once(records):
        if record.topic not in DOMAIN_TOPICS:
            continue
        event = told(record, region_of)
        if not isinstance(event, Fault):
            place = (record.topic, record.partition, event.subject)
            found.setdefault(place, Part(*place)).fold(event)
    return found


def dead_letters(records: Iterable[Record]) -> list[tuple[str, int, int, str]]:
    """(topic, partition, offset, reason) of each record that is no event of its topic, by lane and offset."""
    return [
        (record.topic, record.partition, record.offset, str(fault.reason))
        for record in _once(records)
        if isinstance(fault := told(record, german), Fault)
    ]


def profiles(
    records: Iterable[Record],
    *,
    trust: Sequence[str] = (),
    region_of: RegionOf = german,
    customers: Mapping[str, Together] | None = None,
) -> dict[str, Document]:
    """The profile of each customer, by founder; without `customers` each subject is one, employees are none.

    `trust` names CloudEvents sources from the most trusted on, `region_of` a subject is the numbering plan of
    the phone numbers that its source writes without a `+`. `customers` says by founder who belongs together;
    there is no profile of one whose members have no events. A profile is the document of docs/profile.md, its
    keys in that order, but for `meta`, which has no `generation` and no `config`, and `revisions` in place of
    `version`: the number behind its dot.
    """
    of_subject: dict[str, list[Part]] = {}
    for (_, _, subject), part in parts(records, region_of=region_of).items():
        if not subject.startswith("employee:"):
            of_subject.setdefault(subject, []).append(part)
    if customers is None:
        customers = {subject: Together((subject,)) for subject in of_subject}
    mine = {
        founder: [part for member in together.members for part in of_subject.get(member, ())]
        for founder, together in customers.items()
    }
    return {
        founder: _document(Customer(founder, together, mine[founder], trust, region_of))
        for founder, together in customers.items()
        if mine[founder]
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
        "customer_id": customer_id(customer.founder),
        "state": "live",
        "founder": customer.founder,
        "summary": summary(customer, sections),
        **sections,
        "meta": meta(customer),
    }
