"""The demo's population: a pure function of its seed, coherent, and nothing that workers would refuse."""

from collections import Counter
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from models.careful import read
from models.catalogue import DOMAIN_TOPICS
from models.dead_letter import Fault
from models.decoding import Event, microseconds
from models.event import EVENT_TYPES
from models.identifiers import normalise
from ops.ada import SUBJECT as ADA
from ops.life import Happening
from ops.people import FIRST_NUMBER, person
from ops.population import (
    CUSTOMERS_MAX,
    DEFAULT_CUSTOMERS,
    DEFAULT_SEED,
    broken_events,
    events,
    subjects_of_customers,
)

END = datetime(2026, 3, 1, 11, 0, tzinfo=UTC)


def read_all(happenings: list[Happening], end: datetime = END) -> list[Event]:
    read_back = [read(one.topic, one.key, one.value, (), microseconds(end)) for one in happenings]
    faults = [found for found in read_back if isinstance(found, Fault)]
    assert faults == []
    return [found for found in read_back if isinstance(found, Event)]


@pytest.fixture(scope="module")
def population() -> list[Happening]:
    return list(events(DEFAULT_SEED, DEFAULT_CUSTOMERS, END))


@pytest.fixture(scope="module")
def history(population: list[Happening]) -> list[Event]:
    return read_all(population)


def test_every_event_is_one_that_workers_fold_whole(history: list[Event]):
    assert all(event.ignored_fields == 0 and not event.clamped for event in history)


def test_every_event_type_of_the_four_domains_occurs(history: list[Event]):
    told = {event.type for event in history}
    assert told == {name for name in EVENT_TYPES if not name.startswith("identity.")}


def test_the_same_seed_tells_the_same_events(population: list[Happening]):
    assert list(events(DEFAULT_SEED, DEFAULT_CUSTOMERS, END)) == population
    assert list(events(DEFAULT_SEED + 1, DEFAULT_CUSTOMERS, END)) != population


def test_a_larger_population_changes_nothing_for_those_who_were_there():
    def lives(customers: int) -> dict[bytes, list[bytes]]:
        found: dict[bytes, list[bytes]] = {}
        for one in events(7, customers, END):
            # Whom somebody knows is drawn from all who are there.
            if b"relationship_stated" not in one.value:
                found.setdefault(one.key, []).append(one.value)
        return found

    few, many = lives(10), lives(30)
    assert {key: len(values) for key, values in few.items()} == {key: len(many[key]) for key in few}


@pytest.mark.parametrize(
    "end", [END, datetime(2027, 1, 1, 23, 30, tzinfo=UTC), datetime(2026, 7, 14, 0, 5, tzinfo=UTC)]
)
def test_whenever_it_ends_as_much_has_happened_and_nothing_lies_ahead(end: datetime):
    told = list(events(DEFAULT_SEED, 40, end))
    assert len(told) == len(list(events(DEFAULT_SEED, 40, END)))
    assert max(one.at for one in told) < end
    read_all(told, end)


def test_events_come_in_the_order_in_which_they_happened(population: list[Happening]):
    times = [one.at for one in population]
    assert times == sorted(times)
    assert END - times[0] < timedelta(days=800)


def test_identities_of_events_are_unique(history: list[Event]):
    assert Counter((event.source, event.id) for event in history).most_common(1)[0][1] == 1


def test_orders_cases_and_invoices_have_names_of_their_own(history: list[Event]):
    for wire_type, name in (
        ("sales.order_placed", "order_id"),
        ("service.case_opened", "case_id"),
        ("billing.invoice_issued", "invoice_id"),
        ("billing.payment_received", "payment_id"),
    ):
        named = [getattr(event.data, name) for event in history if event.type == wire_type]
        assert len(named) == len(set(named)), wire_type


def test_nothing_is_settled_that_was_not_opened(history: list[Event]):
    opened: dict[str, dict[str, int]] = {}
    steps = (
        ("order_id", "sales.order_placed", ("order_cancelled", "order_delivered", "order_returned")),
        ("case_id", "service.case_opened", ("case_changed", "case_resolved", "case_reopened")),
        ("promise_id", "service.promise_made", ("promise_kept", "promise_broken")),
        ("follow_up_id", "service.follow_up_opened", ("follow_up_assigned", "follow_up_closed")),
        ("dispute_id", "billing.invoice_disputed", ("dispute_settled",)),
        ("subscription_id", "billing.subscription_started", ("subscription_cancelled",)),
    )
    for name, opening, followers in steps:
        for event in history:
            if event.type == opening:
                opened.setdefault(name, {})[getattr(event.data, name)] = event.occurred_us
            elif event.type.partition(".")[2] in followers:
                assert opened[name][getattr(event.data, name)] <= event.occurred_us, event


def test_follow_ups_name_the_answer_that_caused_them(history: list[Event]):
    answers = {event.id for event in history if event.type == "service.survey_answered"}
    caused = [event.data.trigger_event_id for event in history if event.type == "service.follow_up_opened"]
    assert caused
    assert set(caused) <= answers


def test_a_person_is_one_subject_in_all_four_domains(population: list[Happening]):
    topics: dict[bytes, set[str]] = {}
    for one in population:
        topics.setdefault(one.key, set()).add(one.topic)
    everywhere = [key for key, seen in topics.items() if seen == set(DOMAIN_TOPICS)]
    assert len(everywhere) > DEFAULT_CUSTOMERS / 3
    assert all(key.startswith(b"crm:") for key in everywhere)


def test_browsers_and_accounts_state_what_their_person_is_known_by(history: list[Event]):
    known: dict[str, set[str]] = {}
    for event in history:
        for stated in event.data.identifiers:
            known.setdefault(event.subject, set()).add(f"{stated.type}:{stated.value}")
    others = [subject for subject in known if subject.startswith(("web:visitor-", "billing:A-"))]
    assert len(others) > 50
    for subject in others:
        number = subject.rpartition("-")[2]
        assert known[subject] & known[f"crm:{number}"], subject


def test_employees_are_no_customers(population: list[Happening], history: list[Event]):
    surveyed = {event.subject for event in history if event.type == "service.employee_surveyed"}
    assert surveyed
    assert not surveyed & subjects_of_customers(population)


def test_a_family_shares_a_phone_and_an_office_more_people_than_one_identifier_may_stand_for():
    phones = Counter(person(DEFAULT_SEED, FIRST_NUMBER + place).phone for place in range(100))
    assert phones["+496990009000"] == 7
    assert phones["+494066969000"] == 3


def test_phones_and_emails_are_in_their_normal_form():
    for number in range(FIRST_NUMBER, FIRST_NUMBER + 500):
        one = person(DEFAULT_SEED, number)
        assert normalise("email", one.email) == one.email
        assert one.phone is None or normalise("phone", one.phone) == one.phone


def test_ada_has_the_story_that_the_demo_tells(history: list[Event]):
    hers = [event for event in history if event.subject == ADA]
    failures = [event for event in hers if event.type == "billing.payment_failed"]
    assert [(one.data.invoice_id, one.data.code) for one in failures] == [("I-88", "card_expired")] * 2
    types = {event.type for event in hers}
    assert {"service.promise_broken", "service.case_opened", "service.conversation_held"} <= types
    assert not any(event.type == "service.case_resolved" for event in hers)
    assert [event.data.score for event in hers if getattr(event.data, "kind", None) == "nps"] == [9, 9, 3]
    stated = {stated.value for event in hers for stated in event.data.identifiers}
    assert {"ada@example.com", "+4930901820"} <= stated


def test_each_of_the_seven_broken_records_becomes_a_dead_letter():
    broken = broken_events(END)
    faults = [read(one.topic, one.key, one.value, (), microseconds(END)) for one in broken]
    assert len(faults) == 7
    assert all(isinstance(fault, Fault) for fault in faults)
    assert len({fault.reason for fault in faults if isinstance(fault, Fault)}) >= 6


def test_one_customer_is_ada_alone():
    keys = {one.key.decode() for one in events(1, 1, END)}
    assert {key for key in keys if not key.startswith("employee:")} == {ADA}


@pytest.mark.parametrize("customers", [0, CUSTOMERS_MAX + 1])
def test_how_many_there_can_be_is_bounded(customers: int):
    with pytest.raises(ValueError, match="possible"):
        next(events(1, customers, END))


def test_events_are_structured_cloud_events(population: list[Happening]):
    for one in population[:100]:
        envelope = msgspec.json.decode(one.value)
        assert envelope["specversion"] == "1.0"
        assert envelope["subject"].encode() == one.key
