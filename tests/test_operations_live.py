"""What operators are told by a running server: of dead letters as they come, and of servers that go away."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from api import letter_counts, operations
from api.letter_counts import LetterCounts
from eventlog.admin import create_topics
from eventlog.dead_letters import LetterIndex
from eventlog.embedded import EmbeddedBroker
from eventlog.producing import LogProducer
from eventlog.topics import DEAD_LETTERS
from models.dead_letter import DeadLetter, Fault, Reason, wire_dead_letter
from models.record import Lane
from stores import channel
from stores.embedded import EmbeddedStore
from stores.keys import Keys
from tests.http_world import HttpWorld, world_of
from tests.lookup_world import LookupWorld
from tests.servers import empty_broker


def until(true: Callable[[], Any]) -> Any:
    for _ in range(1_500):
        if found := true():
            return found
        threading.Event().wait(0.02)
    raise AssertionError("it did not become true")


def letter(offset: int, reason: Reason = Reason.UNKNOWN_TYPE, topic: str = "sales.events") -> bytes:
    value = json.dumps({"type": "sales.order_plcaed", "data": {"name": "Ada Byron"}}).encode()
    fault = Fault(reason, "/subject", "not namespace:value: 'Ada Byron'")
    found = DeadLetter(fault, topic, 1, offset, int(time.time() * 1_000), b"crm:4711", value, ())
    return wire_dead_letter(found, "2026-03-01T10:42:08Z")


def write(kafka: str, *letters: bytes) -> None:
    with LogProducer(kafka, client_id="test") as producer:
        for one in letters:
            producer.produce(DEAD_LETTERS, b"sales.events-1", one)
            # The embedded broker lists the end of a batch too early.
            producer.flush()


@pytest.fixture
def served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[HttpWorld, LookupWorld, EmbeddedBroker, EmbeddedStore]]:
    """A server that looks five times a second, beside a view that was folded in March."""
    monkeypatch.setattr(operations, "EVERY_SECONDS", 0.2)
    monkeypatch.setattr(letter_counts, "EVERY_SECONDS", 0.2)
    monkeypatch.setattr(operations, "FRESH_SECONDS", 1.0)
    monkeypatch.setattr(channel, "ANSWER_SECONDS", 0.5)
    with EmbeddedStore() as store:
        broker = EmbeddedBroker()
        for world, folded in world_of(broker.bootstrap, store.url, tmp_path):
            folded.tell("marketing.form_submitted", "crm:4711", form="f")
            folded.settle()
            yield world, folded, broker, store
        broker.stop()


def state(world: HttpWorld) -> dict[str, Any]:
    answer = world.get("/v1/ops/state", "ops")
    assert answer.status_code == 200, answer.text
    return answer.json()


def says(world: HttpWorld, words: str) -> dict[str, Any]:
    """The state, as soon as its sentence has these words in it; the page has the same."""
    said: list[str] = []

    def told() -> Any:
        found = state(world)
        said.append(found["overall"]["sentence"])
        return words in said[-1] and found

    try:
        found = until(told)
    except AssertionError:
        raise AssertionError(f"it said {list(dict.fromkeys(said))[-5:]}") from None
    page = world.ask("GET", "/ops", None, headers={"Cookie": f"scv_session={world.keys['ops']}"})
    assert page.status_code == 200 and words in page.text
    return found


def attend(folded: LookupWorld, lanes: list[dict[str, Any]], waiting: int = 0) -> None:
    """Write what a worker writes of lanes that it looks at, as if it did for an hour."""
    keys, at_ms = Keys("g1"), int(time.time() * 1_000) + 3_600_000
    for one in lanes:
        place = keys.checkpoint(Lane(one["topic"], one["partition"]))
        folded.client.hset(place, mapping={"at_ms": at_ms, "end": one["assembled_offset"] + waiting})


def test_the_sentence_follows_workers_store_and_log_as_they_come_and_go(served: Any) -> None:
    world, folded, broker, store = served
    # This broker does not tell who has what: what is known then is who looks.
    told = says(world, "Nobody has looked at marketing.events-0, scv.g1.links-0 for")
    assert told["workers"] is None and {one["worker"] for one in told["lanes"]} == {None}
    assert told["overall"]["notes"] == ["8 of 10 lanes have not been begun yet."]
    attend(folded, told["lanes"])
    assert says(world, "All 10 lanes are up to date.")["overall"]["level"] == "well"
    attend(folded, told["lanes"], waiting=1_204)
    behind = until(lambda: (told := state(world))["lag"]["seconds"] and told)
    assert behind["overall"]["sentence"].startswith("Behind by 10,836 events, about")
    assert behind["lag"]["records"] == 12_040 and behind["lag"]["link_facts"] == 1_204
    until(lambda: state(world)["history"]["lag_records"][-1] == 12_040)

    store.kill()
    away = says(world, "The store has not answered since")
    assert away["store"]["answers"] is False and away["log"]["answers"] is True
    later = until(lambda: (told := state(world))["lag"]["records"] is None and told)
    assert {one["state"] for one in later["lanes"]} == {"unknown"}
    assert later["lanes"][0]["waiting"] == 1_204, "what was known stays known"
    until(lambda: state(world)["history"]["lag_records"][-1] is None)
    broker.stop()
    away = says(world, "Neither the store nor Kafka has answered since")
    store.restart()
    says(world, "Kafka has not answered since")
    again = EmbeddedBroker(int(world.kafka.rpartition(":")[2]))
    try:
        create_topics(world.kafka, 2)
        says(world, "There is no view: no worker has run, or the store came back empty.")
    finally:
        again.stop()


def test_dead_letters_are_counted_as_they_come_repeats_once_and_another_topic_from_its_start(
    served: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    world, _, broker, _ = served
    assert until(lambda: (told := state(world)["dead_letters"])["complete"] and told)["held"] == 0
    read: list[int] = []
    index = world.services.letters
    add = index._add
    monkeypatch.setattr(index, "_add", lambda record: (read.append(record.offset), add(record)))
    write(world.kafka, letter(1), letter(2), letter(1), letter(3, Reason.NOT_JSON, "billing.events"), b"{}")
    told = until(lambda: (told := state(world)["dead_letters"])["held"] == 5 and told)
    assert (told["counted"], told["last_hour"]) == (3, 3)
    assert [(one["reason"], one["topic"], one["count"]) for one in told["tallies"]] == [
        ("unknown_type", "sales.events", 2),
        ("not_json", "billing.events", 1),
    ]
    assert [one["offset"] for one in told["latest"]] == [3, 2, 1]
    assert "Byron" not in json.dumps(told), "faults are masked in lists, whoever asks"
    assert "3 dead letters of the last hour are open, 2 of them" in str(state(world)["overall"])
    write(world.kafka, letter(4))
    until(lambda: state(world)["dead_letters"]["counted"] == 4)
    # Settled over HTTP, it is counted as such at once.
    said = {"actor": "E-7", "reason": "a test"}
    assert world.post("/v1/dead-letters/sales.events-1@2:discard", said).status_code == 200
    told = state(world)["dead_letters"]
    assert (told["counted"], told["open"], told["discarded"], told["last_hour"]) == (4, 3, 1, 3)
    assert [one["offset"] for one in told["latest"]] == [4, 3, 1]
    assert [(one["reason"], one["count"]) for one in told["tallies"]] == [
        ("unknown_type", 2),
        ("not_json", 1),
    ]
    until(lambda: state(world)["history"]["dead_letters"][-1] == 3)
    assert read == [0, 1, 2, 3, 4, 5], "nothing is read twice, however often somebody asks"
    # Another topic of this name: the counts are its own.
    broker.stop()
    again = EmbeddedBroker(int(world.kafka.rpartition(":")[2]))
    try:
        create_topics(world.kafka, 2)
        write(world.kafka, letter(9))
        told = until(lambda: (told := state(world)["dead_letters"])["held"] == 1 and told)
        assert [one["offset"] for one in told["latest"]] == [9]
    finally:
        again.stop()


def test_a_letter_is_shown_masked_or_whole_by_the_key_and_audited_either_way(served: Any) -> None:
    world = served[0]
    write(world.kafka, letter(1))
    until(lambda: state(world)["dead_letters"]["counted"] == 1)

    def open_letter(key: str, place: str = "sales.events-1@1") -> Any:
        cookie = {"Cookie": f"scv_session={world.keys[key]}~E-7"}
        return world.get(f"/ops/letters/{place}", None, headers=cookie)

    masked, whole = open_letter("ops"), open_letter("all")
    assert masked.status_code == whole.status_code == 200
    assert "Byron" not in masked.text and "sales.order_plcaed" in masked.text and "Masked" in masked.text
    assert whole.text.count("Ada Byron") == 3 and "Masked" not in whole.text
    nothing = open_letter("ops", "sales.events-1@2")
    assert (nothing.status_code, nothing.json()["code"]) == (404, "unknown_dead_letter")
    for place in ("1", "x", "sales.events-1@" + "9" * 30, "sales.events-1@%D9%A1"):
        assert (open_letter("ops", place).status_code) == 422, place
    audited = [one for one in world.audited() if one["type"] == "scv.dead_letter_read"]
    assert [(one["subject"], one["data"]["masked"], one["data"]["actor"]) for one in audited] == [
        ("sales.events-1@1", True, "E-7"),
        ("sales.events-1@1", False, "E-7"),
    ]
    assert "Byron" not in "\n".join(world.log.lines)


def test_only_the_newest_letters_of_a_long_topic_are_counted(embedded_broker: EmbeddedBroker) -> None:
    empty_broker(embedded_broker.bootstrap)
    create_topics(embedded_broker.bootstrap, 1)
    write(embedded_broker.bootstrap, *map(letter, range(12)))
    index = LetterIndex(embedded_broker.bootstrap, 5)
    letters = LetterCounts(index)
    try:
        asyncio.run(letters.look())
        counted = letters.counted()
        assert (counted.held, counted.counted, counted.complete, counted.older) == (12, 5, True, True)
        assert [one.place for one in counted.latest] == [11, 10, 9, 8, 7]
        found = list(index.letters(counted.latest))
        assert [one.position.offset for one in found] == [7, 8, 9, 10, 11] and found[0].key == b"crm:4711"
    finally:
        letters.close()
