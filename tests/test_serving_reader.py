"""Reads for a server: one connection for all, whatever becomes of it; what is plain in one round trip."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
import redis

from stores import channel
from stores.connection import connect
from stores.embedded import EmbeddedStore
from stores.serving import ServingReader
from stores.store import StoreAway
from tests.lookup_world import LookupWorld

Ask = Callable[[ServingReader], Awaitable[Any]]


@pytest.fixture
def client(store: Any) -> Iterator[redis.Redis]:
    made: Any = connect(store.url)
    yield made
    made.close()


def reading(url: str, ask: Ask) -> Any:
    """What `ask` gives, of a reader of its own."""

    async def run() -> Any:
        reader = ServingReader(url)
        try:
            return await ask(reader)
        finally:
            await reader.close()

    return asyncio.run(run())


def test_many_ask_on_one_connection_and_each_gets_its_own_answer(store: Any, client: redis.Redis) -> None:
    for number in range(300):
        client.set(f"k{number}", number)

    async def ask(reader: ServingReader) -> list[list[Any]]:
        questions = [(("GET", f"k{number}"), ("CLIENT", "ID")) for number in range(300)]
        return await asyncio.gather(*(reader.ask(*question) for question in questions))

    found = reading(store.url, ask)
    assert [one for one, _ in found] == [str(number).encode() for number in range(300)]
    [used] = {connection for _, connection in found}
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        if used not in [int(one["id"]) for one in client.client_list()]:
            break
        time.sleep(0.01)
    else:
        pytest.fail("closed, it leaves its connection open")


def test_who_stops_waiting_takes_nobody_elses_answer(store: Any, client: redis.Redis) -> None:
    client.set("mine", "mine")

    async def ask(reader: ServingReader) -> list[Any]:
        await reader.ask(("PING",))
        gone = [
            asyncio.create_task(reader.ask(("ECHO", f"other {number}"), ("PING",))) for number in range(9)
        ]
        await asyncio.sleep(0)
        for one in gone:
            one.cancel()
        return await reader.ask(("GET", "mine"))

    assert reading(store.url, ask) == [b"mine"]


def test_an_answer_in_many_pieces_is_whole(store: Any, client: redis.Redis) -> None:
    value = os.urandom(3_000_000)
    client.set("large", value)

    async def ask(reader: ServingReader) -> list[list[Any]]:
        return await asyncio.gather(*(reader.ask(("GET", "large"), ("PING",)) for _ in range(4)))

    assert reading(store.url, ask) == [[value, b"PONG"]] * 4


def test_an_error_of_the_store_is_one_for_who_asked_and_for_nobody_else(store: Any) -> None:
    async def ask(reader: ServingReader) -> list[Any]:
        wrong, right = ("INCR",), ("ECHO", "right")
        return await asyncio.gather(*(map(reader.ask, (wrong, right, wrong, right))), return_exceptions=True)

    found = reading(store.url, ask)
    assert [isinstance(one, StoreAway) for one in found] == [True, False, True, False]
    assert "wrong number of arguments" in str(found[0]) and found[1] == found[3] == [b"right"]


def test_a_connection_that_was_ended_is_made_anew_and_the_question_asked_again(
    store: Any, client: redis.Redis
) -> None:
    async def ask(reader: ServingReader) -> list[Any]:
        first = await reader.ask(("CLIENT", "ID"))
        client.client_kill_filter(_id=str(first[0]))
        return [first, *await asyncio.gather(*(reader.ask(("CLIENT", "ID")) for _ in range(20)))]

    first, *found = reading(store.url, ask)
    assert found == [found[0]] * 20 and found[0] != first


def test_a_store_that_is_silent_is_away_after_a_while_and_back_when_it_answers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(channel, "ANSWER_SECONDS", 0.4)
    with EmbeddedStore() as running:
        pid = running.pid
        assert pid is not None

        async def ask(reader: ServingReader) -> None:
            await reader.ask(("PING",))
            os.kill(pid, signal.SIGSTOP)
            try:
                # Of a connection that was there, and of one that is being made.
                for _ in range(2):
                    began = time.monotonic()
                    found = await asyncio.gather(
                        *(reader.ask(("PING",)) for _ in range(5)), return_exceptions=True
                    )
                    assert all(isinstance(one, StoreAway) for one in found), found
                    assert time.monotonic() - began < 5, "nobody waits for a second answer"
            finally:
                os.kill(pid, signal.SIGCONT)
            assert await reader.ask(("PING",)) == [b"PONG"]

        reading(running.url, ask)
        running.kill()
        with pytest.raises(StoreAway):
            reading(running.url, lambda reader: reader.ask(("PING",)))


@pytest.fixture
def world(store: Any) -> Iterator[LookupWorld]:
    made = LookupWorld(store.url)
    yield made
    made.close()


def test_a_plain_look_up_is_one_round_trip_and_works_without_the_function(world: LookupWorld) -> None:
    world.write("crm:1", name="Ada")
    for name in ("crm:1", "email:ada@example.com", "phone:+4930901820"):
        world.enter(name, ("crm:1", "linking"))
    names = ("email:ada@example.com", "phone:+4930901820", "email:nobody@example.com")
    found = world.straight(*names)
    assert found.stored is not None and found.stored.founder == "crm:1"
    assert found.stored.sections == {"summary": b'{"name":"Ada"}', "meta": b'{"version":"1.1"}'}
    assert [one.entry is None for one in found.names] == [False, False, True]
    calls = "cmdstat_fcall_ro", "cmdstat_get"
    world.client.config_resetstat()
    reading(world.url, lambda reader: reader.find(names, ["summary"]))
    stats = world.client.info("commandstats")
    assert [stats.get(one, {}).get("calls") for one in calls] == [1, 4], "the function itself gets four keys"
    # As after an upgrade of the server before the workers.
    world.client.function_flush()
    without = reading(world.url, lambda reader: reader.find(names, ["summary"]))
    assert without == found


@pytest.mark.parametrize("function", [True, False])
def test_what_is_not_plain_is_left_to_the_careful_look_up(world: LookupWorld, function: bool) -> None:
    world.write("crm:1")
    world.write("crm:2")
    world.write("crm:3", state="merged")
    world.enter("crm:1", ("crm:1", "linking"))
    world.enter("email:two@example.com", ("crm:1", "linking"), ("crm:2", "shared"))
    world.enter("email:gone@example.com", ("crm:3", "linking"))
    world.store.note_subjects([], [("order:1", "crm:1")])
    if not function:
        world.client.function_flush()
    for names in (
        ["email:two@example.com"], ["crm:1", "email:two@example.com"], ["crm:1", "order:1"],
        ["email:gone@example.com"], ["crm:9"],
    ):  # fmt: skip
        assert reading(world.url, lambda reader, names=names: reader.find(names, ["summary"])).stored is None
    world.client.delete("scv:active")
    nobody = reading(world.url, lambda reader: reader.find(["crm:1"], ["summary"]))
    assert (nobody.generation, nobody.stored, nobody.names[0].entry) == (None, None, None)


@pytest.mark.parametrize("function", [True, False])
def test_a_promotion_between_two_reads_mixes_no_generations(world: LookupWorld, function: bool) -> None:
    other = LookupWorld(world.url, generation="g2")
    try:
        for made, founder in ((world, "crm:1"), (other, "crm:2")):
            made.write("crm:1", of=founder)
            made.write("crm:2", of=founder)
            made.enter("email:ada@example.com", (founder, "linking"))
    finally:
        other.close()
    if not function:
        world.client.function_flush()

    async def ask(reader: ServingReader) -> Any:
        profile, promoted = reader.profile, []

        async def after_a_promotion(*of: Any) -> Any:
            if not promoted:
                promoted.append(world.client.set("scv:active", "g2 2"))
            return await profile(*of)

        reader.profile = after_a_promotion  # type: ignore[method-assign]
        return await reader.find(["email:ada@example.com"], ["summary"])

    found = reading(world.url, ask)
    assert (found.generation, found.stored.founder) == (("g1", "crm:1") if function else ("g2", "crm:2"))


def test_a_loop_that_was_busy_before_a_question_was_sent_blames_nobody(
    store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channel, "ANSWER_SECONDS", 0.2)

    async def ask(reader: ServingReader) -> list[Any]:
        await reader.ask(("PING",))
        waiting = asyncio.create_task(reader.ask(("PING",)))
        asyncio.get_running_loop().call_soon(time.sleep, 0.4)
        return await waiting

    assert reading(store.url, ask) == [b"PONG"]


def test_a_reader_that_was_closed_connects_no_more(store: Any) -> None:
    async def ask(reader: ServingReader) -> None:
        await reader.ask(("PING",))
        await reader.close()
        with pytest.raises(StoreAway, match="the server ends"):
            await reader.ask(("PING",))

    reading(store.url, ask)
