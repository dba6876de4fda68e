"""What an operator is told: the sentence, rates and trends, and what is shown of a dead letter."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from api.history import SAMPLES_MAX, History, Sample
from api.letter_masking import masked_detail, masked_key, masked_pointer
from api.masking import HIDDEN
from api.ops_bodies import (
    LagState,
    LaneStanding,
    LettersState,
    LetterTally,
    MemberState,
    PublishingState,
)
from api.overall import Facts, duration, overall
from api.pages.letter_record import shown_record
from eventlog.dead_letters import Tally
from models.careful import read
from models.dead_letter import Fault, Reason
from models.letters import Letter, Position
from models.record import Lane

# 2026-03-01T12:04:20Z
NOW = 1_772_366_660.0
SALES = Lane("sales.events", 0)


def lane(
    partition: int = 0,
    state: Any = "up_to_date",
    waiting: int = 0,
    silent: float | None = 0.4,
    worker: str | None = "scv-1",
) -> Any:
    return LaneStanding(
        topic="sales.events", partition=partition, state=state, next_offset=100, assembled_offset=100,
        end=100 + waiting, waiting=waiting, waited_seconds=0.0, silent_seconds=silent, worker=worker,
    )  # fmt: skip


def lag(records: int | None = 0, seconds: float | None = 0.0, links: int = 0, **more: float) -> LagState:
    return LagState(
        records=records, events=None if records is None else records - links,
        link_facts=None if records is None else links, seconds=seconds,
        change_per_second=more.get("change"), seconds_left=more.get("left"),
    )  # fmt: skip


def letters(*tallies: tuple[str, int]) -> LettersState:
    told = [
        LetterTally(reason=reason, topic="sales.events", count=count + 1, last_hour=count,
                    last_at="2026-03-01T12:00:00.000Z")
        for reason, count in tallies
    ]  # fmt: skip
    held = sum(one.count for one in told)
    return LettersState(
        held=held,
        counted=held,
        open=held,
        redriven=0,
        discarded=0,
        complete=True,
        older=False,
        last_hour=sum(count for _, count in tallies),
        tallies=told,
        latest=[],
    )


def facts(**changed: Any) -> Facts:
    lanes = [lane(partition) for partition in range(16)]
    publisher = MemberState(name="scv-publisher-1", host="10.0.0.7", lanes=["scv.changes-0"])
    known: dict[str, Any] = {
        "now": NOW, "known_since": NOW - 600, "looked_at": NOW - 2, "store_answers": True,
        "store_answered_at": NOW - 10, "log_answers": True, "log_answered_at": NOW - 20, "generation": "g7",
        "sharing": False, "lanes": lanes, "lag": lag(), "events_per_second": 10.0, "letters": letters(),
        "publishing": PublishingState(publishers=[publisher], waiting=3),
    }  # fmt: skip
    return Facts(**{**known, **changed})


@pytest.mark.parametrize(
    "changed, level, sentence",
    [
        ({}, "well", "All 16 lanes are up to date."),
        ({"lag": lag(12, 0.3)}, "well", "All 16 lanes are up to date; 12 events on the way."),
        ({"lag": lag(1, 0.3)}, "well", "All 16 lanes are up to date; 1 event on the way."),
        ({"lag": lag(46_490, 0.0)}, "behind", "Behind by 46,490 events, about a second."),
        ({"lag": lag(4_000, 1.0), "events_per_second": 3_000.0}, "well",
         "All 16 lanes are up to date; 4,000 events on the way."),
        ({"lag": lag(1_204, 3.5, change=-100.3, left=12.0)}, "behind",
         "Behind by 1,204 events, catching up: about 12 s left."),
        ({"lag": lag(1_204, 30.0, change=300.0)}, "behind",
         "Behind by 1,204 events, about 30 s, and falling further behind."),
        ({"lag": lag(1_204, 30.0, change=0.1)}, "behind",
         "Behind by 1,204 events, about 30 s, and not catching up."),
        ({"lag": lag(120, 9.0, links=120)}, "behind", "Behind by 120 link facts, about 9 s."),
        ({"lanes": [lane(0), lane(1, "no_worker", 1_000), lane(2, "no_worker", 204)]}, "attention",
         "2 of 3 lanes have no worker; 1,204 records wait in them."),
        ({"lanes": [lane(0), lane(1, "no_worker")]}, "attention", "1 of 2 lanes has no worker."),
        ({"lanes": [lane(0, "no_worker", 1), lane(1, "no_worker")]}, "attention",
         "No lane has a worker; 1 record waits in them."),
        ({"lanes": [lane(0), lane(3, "silent", 5, 40.0), lane(4, "silent", 0, 20.0)]}, "attention",
         "Workers have not got on with sales.events-3, sales.events-4 for 40 s; 5 records wait in them."),
        ({"lanes": [lane(0), lane(3, "silent", 5, 40.0, None)]}, "attention",
         "Nobody has looked at sales.events-3 for 40 s; 5 records wait in it."),
        ({"lanes": [lane(0), lane(1, "not_begun", 5, None)]}, "attention",
         "1 of 2 lanes has not been begun yet; 5 records wait in it."),
        ({"sharing": True}, "behind", "Workers are sharing out lanes anew."),
        ({"store_answers": False}, "away",
         "The store has not answered since 12:04:10 UTC: nobody can read profiles."),
        ({"log_answers": False}, "away",
         "Kafka has not answered since 12:04:00 UTC: profiles stay as they are."),
        ({"log_answers": False, "store_answers": False}, "away",
         "Neither the store nor Kafka has answered since 12:04:10 UTC."),
        ({"log_answers": False, "log_answered_at": None}, "away",
         "Kafka has not answered since 11:54:20 UTC, when this server started: profiles stay as they are."),
        ({"store_answers": False, "store_answered_at": NOW - 90_000}, "away",
         "The store has not answered since 28 Feb, 11:04:20 UTC: nobody can read profiles."),
        ({"generation": None, "lanes": []}, "attention",
         "There is no view: no worker has run, or the store came back empty."),
        ({"lanes": []}, "attention", "There are no lanes to look at: run `scv topics create`."),
        ({"looked_at": None}, "unknown", "Not known yet: this server began to look at 11:54:20 UTC."),
        ({"store_answers": None}, "unknown", "Not known yet: this server began to look at 11:54:20 UTC."),
        ({"looked_at": NOW - 31}, "unknown", "Not known: this server has not looked since 12:03:49 UTC."),
        ({"lag": lag(None, None)}, "unknown", "Not known: the store was asked at 12:04:18 UTC."),
    ],
)  # fmt: skip
def test_the_sentence_is_about_the_worst_that_is_known(
    changed: dict[str, Any], level: str, sentence: str
) -> None:
    told = overall(facts(**changed))
    assert (told.level, told.sentence, told.notes) == (level, sentence, [])


def test_what_else_is_worth_knowing_is_a_note_each_and_nothing_good_takes_a_bad_word_back() -> None:
    lanes = [lane(0, "no_worker"), lane(1, "silent", silent=20.0, worker=None)]
    told = overall(
        facts(
            lanes=lanes,
            letters=letters(("not_json", 2), ("unknown_type", 5)),
            publishing=PublishingState(publishers=[], waiting=1),
        )
    )
    assert told.sentence == "1 of 2 lanes has no worker."
    assert told.notes == [
        "Nobody has looked at sales.events-1 for 20 s.",
        "7 dead letters of the last hour are open, 5 of them: unknown_type in sales.events.",
        "Nobody publishes: up to 1 change notice waits.",
    ]
    # Who publishes is not known of a broker that is away, or does not tell.
    assert not overall(facts(publishing=PublishingState(publishers=None, waiting=9))).notes
    away = facts(log_answers=False, publishing=PublishingState(publishers=[], waiting=9))
    assert not overall(away).notes


def test_durations_are_told_as_people_say_them() -> None:
    told = [duration(seconds) for seconds in (0.2, 12.4, 119, 125, 7_300, 7_200, 200_000)]
    assert told == ["a second", "12 s", "119 s", "2 min", "2 h 2 min", "2 h", "2 days"]


def test_a_rate_is_of_the_lanes_seen_at_both_ends_and_a_store_that_went_back_is_no_progress() -> None:
    history, other = History(), Lane("billing.events", 0)
    history.stand(0.0, {SALES: 100})
    assert history.rate(lambda _: True, 0.0) is None
    history.stand(5.0, {SALES: 600, other: 9_000})
    assert history.rate(lambda _: True, 5.0) == 100.0
    history.stand(10.0, {SALES: 0, other: 9_500})
    assert history.rate(lambda one: one == SALES, 10.0) == 50.0
    assert history.rate_now(lambda _: True, 10.0) == 100.0
    # The same look once more, and a long time without one.
    history.stand(10.0, {SALES: 7})
    assert history.rate_now(lambda _: True, 12.0) == 100.0
    assert history.rate(lambda _: True, 30.0) is None
    for at in range(15, 200, 5):
        history.stand(float(at), {SALES: at})
    assert history.rate(lambda one: one == SALES, 195.0) == 1.0


def test_a_change_needs_some_seconds_and_leaves_gaps_out() -> None:
    history = History()
    for at, records in ((0, 500), (5, 400), (10, None), (15, 200), (16, None)):
        history.add(Sample(float(at), records, None, None, None))
        if at < 10:
            assert history.change_per_second(float(at)) is None
    assert history.change_per_second(16.0) == -20.0
    assert history.change_per_second(40.0) is None


def test_the_history_is_an_hour_and_no_more() -> None:
    history = History()
    for at in range(SAMPLES_MAX + 10):
        history.add(Sample(float(at), 0, 0.0, 0.0, 0))
    assert len(history.samples) == SAMPLES_MAX and history.samples[0].at == 10.0


def test_letters_of_the_last_hour_are_counted_by_the_minute() -> None:
    tally, minute = Tally(), 60_000
    for at in range(120):
        tally.add(at * minute)
    assert (tally.count, tally.last_ms, tally.last_hour(119 * minute)) == (120, 119 * minute, 60)
    assert tally.last_hour(149 * minute) == 30 and tally.last_hour(300 * minute) == 0
    for at in (0, 119):
        tally.remove(at * minute)
    assert (tally.count, tally.last_hour(119 * minute)) == (118, 59)


SECRET = "needle"


def letter(
    value: bytes | None, key: bytes | None = b"crm:4711", headers: Any = (), omitted_bytes: int = 0
) -> Letter:
    fault = Fault(Reason.WRONG_SHAPE, "", "")
    return Letter(Position(SALES, 7), fault, 0, key, value, headers, omitted_bytes)


@pytest.mark.parametrize(
    "value",
    [
        json.dumps({"data": {"name": SECRET, "lines": [{"text": SECRET}], SECRET.title(): 1}}).encode(),
        json.dumps({"données needle": {"x": True, "needle1": 2.5, "y": None}}).encode(),
        b'{"data": "needle',
        b"\xff\xfeneedle",
        json.dumps([[[[[[[[[SECRET]]]]]]]]]).encode(),
        json.dumps([SECRET] * 1_000).encode(),
        json.dumps(SECRET).encode(),
        b"[" * 100_000,
    ],
    ids=range(8),
)
@pytest.mark.parametrize("key", [b"email:needle@x.org", b"needle", b"\xffneedle", b"phone:4930needle", None])
def test_a_masked_record_shows_its_shape_and_no_word_of_it(value: bytes, key: bytes | None) -> None:
    headers = (("X-needle", b"needle"), ("ce_id", None))
    shown = shown_record(letter(value, key, headers=headers), personal=False)
    assert shown.masked and "needle" not in str(shown).lower()
    assert "needle" in str(shown_record(letter(value, key), personal=True)) or value.startswith(
        (b"[", b"\xff")
    )


def test_a_masked_record_still_says_where_it_comes_from_and_which_fields_there_are() -> None:
    value = b'{"type":"sales.order_placed","id":"7","data":{"amount_minor":"49","lines":[1,{"a":true},null]}}'
    headers = (("content-type", b"application/json"), ("ce_id", None), ("trace", b"Ada"))
    shown = shown_record(letter(value, headers=headers), personal=False)
    assert shown.key == "crm:4711" and shown.about == f"{len(value)} bytes"
    assert shown.headers == [("content-type", "application/json"), ("ce_id", None), ("trace", HIDDEN)]
    assert json.loads(shown.value or "") == {
        "type": "sales.order_placed",
        "id": "7",
        "data": {"amount_minor": HIDDEN, "lines": [HIDDEN, {"a": HIDDEN}, None]},
    }


def test_whoever_sees_personal_data_sees_the_record_as_it_came_up_to_a_bound() -> None:
    whole = shown_record(letter(b'{"a":"ada@example.com"}'), personal=True)
    assert whole.value == '{\n  "a": "ada@example.com"\n}' and not whole.masked
    assert shown_record(letter(b"\xff\x00"), personal=True).value == "ff 00"
    assert (shown_record(letter(b'"' + b"x" * 20_000), personal=True).value or "").endswith("characters more")
    assert shown_record(letter(None, None), personal=True)[:3] == (None, None, "no value")
    left_out = shown_record(letter(None, omitted_bytes=1_200_000), personal=True)
    assert left_out.about.startswith("1,200,000 bytes did not fit")


def fault_of(key: bytes | None = b"crm:1", **changed: Any) -> Fault:
    event = {
        "specversion": "1.0", "id": "e", "source": "s", "type": "sales.order_placed", "subject": "crm:1",
        "data": {"order_id": "O", "amount_minor": 1, "currency": "EUR"}, **changed,
    }  # fmt: skip
    found = read("sales.events", key, json.dumps(event).encode(), [], 0)
    assert isinstance(found, Fault)
    return found


@pytest.mark.parametrize(
    "changed",
    [
        {"subject": "Ada Byron"},
        {"subject": "ada"},
        {"subject": 'Ada "it\'s me" Byron'},
        {"subject": "ada.byron"},
        {"subject": "192.168.178.20"},
        {"type": "4917012345678.byron1"},
        {"type": "sales.order_placed", "data": {"traits": {"491701234567": "x" * 300}}},
        {"491701234567": 1.5},
        {"type": "Ada Byron"},
        {"type": "ada"},
        {"Ada Byron": 1},
        {"ada": {"x": 1}, "Ada": 1},
    ],
    ids=str,
)
def test_the_fault_of_a_masked_letter_quotes_nothing_but_the_name_of_an_event_type(
    changed: dict[str, Any],
) -> None:
    fault = fault_of(**changed)
    for cut in (len(fault.detail), len(fault.detail) - 1, len("not namespace:value: 'Ada By")):
        shown = masked_detail(fault.reason, fault.detail[:cut])
        assert "byron" not in shown.lower() and "'ada" not in shown.lower()
        assert not any(len(digits) > 3 for digits in re.findall("[0-9.]+", shown)), shown
    assert "yron" not in masked_pointer(fault.pointer) and "4917" not in masked_pointer(fault.pointer)


@pytest.mark.parametrize(
    "name", ["ce_Ada Byron", 'ce_Ada Byron "x', "ce_byron_" + "x" * 2_000, "ce_Ada Byron 'x"]
)
@pytest.mark.parametrize("cut", [1_000, 200])
def test_the_name_of_a_header_that_is_no_text_is_shown_only_if_it_is_one(name: str, cut: int) -> None:
    headers = [("ce_specversion", b"1.0"), (name, b"\xff")]
    fault = read("sales.events", b"crm:1", b"{}", headers, 0)
    assert isinstance(fault, Fault) and fault.reason == Reason.NOT_UTF8
    assert masked_detail(fault.reason, fault.detail[:cut]) == "header … is not UTF-8"
    assert "byron" not in masked_pointer(fault.pointer[:cut]).lower()
    known = read("sales.events", b"crm:1", b"{}", [("ce_specversion", b"1.0"), ("ce_subject", b"\xff")], 0)
    assert isinstance(known, Fault) and masked_detail(known.reason, known.detail) == known.detail


@pytest.mark.parametrize(
    ("key", "shown"),
    [
        ("crm:4711", "crm:4711"),
        ("email:ada@example.com", "email:a…@…"),
        ("https://shop.example/login?user=Ada&pw=secret", "…"),
        ("name:Ada,Byron,1985-03-17", "…"),
        ("Ada Byron", "…"),
    ],
)
def test_a_key_is_shown_if_it_has_the_form_of_most_subjects(key: str, shown: str) -> None:
    assert masked_key(key) == shown


def test_a_misspelt_event_type_and_a_field_are_named_to_everybody() -> None:
    fault = fault_of(type="sales.order_plcaed")
    assert "sales.order_plcaed" in masked_detail(fault.reason, fault.detail)
    fault = fault_of(data={"order_id": "O", "amount_minor": "1", "currency": "EUR"})
    assert masked_pointer(fault.pointer) == "/data/amount_minor"
    assert masked_detail(fault.reason, fault.detail) == fault.detail
