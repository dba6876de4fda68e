"""Dead letters on the command line: listed, shown, redriven, discarded; and what workers make of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from eventlog.dead_letters import Asked, LetterIndex, SettledOffsets
from eventlog.embedded import EmbeddedBroker
from eventlog.producing import LogProducer
from eventlog.topics import BILLING, COMMANDS, DEAD_LETTERS, SALES
from models.dead_letter import DeadLetter, Fault, Reason, wire_dead_letter
from models.letters import HINTS, REDRIVEN_HEADER, Letter, Position, read_letter
from models.record import Lane
from models.rules import IdentityRules
from ops import cli
from ops.failures import Exit
from projections.assembling import Labels
from projections.folding import Projection
from projections.redriving import Redriven, redriven
from projections.reducers import Configuration
from projections.replay import Replay
from stores.embedded import EmbeddedStore
from stores.redis_store import RedisStore
from streams.cache import PartCache
from streams.folder import Folder
from streams.lane_worker import FoldingWorker
from streams.lanes import Batch
from tests import servers
from tests.letter_world import Consumed, LetterWorld, order

NOW_US = 1_772_361_728_000_000
LANE = Lane(SALES, 1)


@pytest.fixture
def world() -> Iterator[LetterWorld]:
    """An empty log."""
    with EmbeddedBroker() as broker:
        yield LetterWorld(broker.bootstrap)


def run(world: LetterWorld, capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, Any, str]:
    """The exit code of `scv dead-letters … --json`, what it printed, and what it said on stderr."""
    code = cli.run(["dead-letters", *words, "--kafka", world.bootstrap, "--json"])
    said = capsys.readouterr()
    lines = [json.loads(line) for line in said.out.splitlines()]
    return code, lines[0] if len(lines) == 1 else lines, said.err


def letter(
    value: bytes | None,
    reason: Reason = Reason.WRONG_SHAPE,
    key: bytes | None = b"crm:4711",
    lane: Lane = LANE,
    headers: tuple[tuple[str, bytes | None], ...] = (),
    omitted_bytes: int = 0,
) -> Letter:
    """A dead letter of offset 7."""
    return Letter(Position(lane, 7), Fault(reason, "", ""), 0, key, value, headers, omitted_bytes)


def made(one: Letter, corrected: bytes | None = None) -> Redriven | Fault:
    """What redriving it makes."""
    return redriven(one, corrected, IdentityRules(), NOW_US)


def test_a_letter_is_read_as_it_was_received() -> None:
    headers = (("a", b"\xff"), ("a", None))
    dead = DeadLetter(
        Fault(Reason.NOT_JSON, "/x", "no"), "sales.events", 5, 1042, 12, b"\xfe", b"\xff{", headers
    )
    read = read_letter(wire_dead_letter(dead, "2026-03-01T10:42:08Z"))
    assert (read.key, read.value, read.headers) == (b"\xfe", b"\xff{", headers)
    assert (str(read.position), read.fault, read.timestamp_ms) == ("sales.events-5@1042", dead.fault, 12)
    assert Position.parse("sales.events[5]@1042") == Position.parse("sales.events-5@1042") == read.position


@pytest.mark.parametrize(
    "text", ["sales.events-5", "sales.events@3", "-5@3", "sales.events-5@-1", "x-١@3", ""]
)
def test_what_names_no_position_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no position"):
        Position.parse(text)


def test_every_reason_has_a_hint() -> None:
    assert HINTS.keys() == set(Reason)


def test_a_record_goes_back_to_its_lane_and_says_which_letter_it_was() -> None:
    found = made(letter(order("O-1"), headers=(("trace", b"t"),)))
    assert isinstance(found, Redriven)
    assert (found.topic, found.partition, found.key, found.corrected) == (SALES, 1, b"crm:4711", False)
    assert found.headers == (("trace", b"t"), (REDRIVEN_HEADER, b"sales.events-1@7"))
    # Another subject is another lane, and only its key says which.
    other = made(letter(b"{", Reason.NOT_JSON), order("O-1", subject="crm:9"))
    assert isinstance(other, Redriven)
    assert (other.partition, other.key, other.corrected) == (None, b"crm:9", True)


def test_a_type_of_another_topic_goes_to_that_topic() -> None:
    found = made(letter(order("O-1"), Reason.WRONG_DOMAIN, lane=Lane(BILLING, 1)))
    assert isinstance(found, Redriven)
    assert (found.topic, found.partition) == (SALES, None)


def test_an_event_in_binary_mode_stays_in_it_unless_it_is_corrected() -> None:
    event = json.loads(order("O-1"))
    headers = tuple((f"ce_{name}", str(one).encode()) for name, one in event.items() if name != "data")
    value = json.dumps(event["data"]).encode()
    found = made(letter(value, headers=headers))
    assert isinstance(found, Redriven) and found.value == value and found.headers[:-1] == headers
    corrected = made(letter(value, headers=headers), order("O-1"))
    assert isinstance(corrected, Redriven)
    assert {name for name, _ in corrected.headers} == {"content-type", REDRIVEN_HEADER}


@pytest.mark.parametrize(
    "one, corrected, reason",
    [
        (letter(order("O-1", "49,90")), None, Reason.WRONG_SHAPE),
        (letter(order("O-1"), Reason.NO_KEY, key=None), None, Reason.NO_KEY),
        (letter(b"{"), b'{"specversion":"1.0"}', Reason.UNKNOWN_TYPE),
        (letter(b"{"), b"[1]", Reason.NOT_A_CLOUD_EVENT),
        (letter(b"{"), order("O-1", subject="4711"), Reason.MALFORMED_SUBJECT),
        (letter(None, Reason.TOO_LARGE, omitted_bytes=9), None, Reason.TOO_LARGE),
        (letter(order("O-1"), Reason.NOT_JSON, lane=Lane("scv.g1.links", 0)), None, Reason.NOT_JSON),
        (
            letter(b"{", lane=Lane(COMMANDS, 0)),
            order("x", type="identity.link", subject="email:a@b.example", data={
                "subject": "email:a@b.example", "other": "crm:1", "actor": "E-7", "reason": "x"}),
            Reason.WRONG_SHAPE,
        ),
    ],
)  # fmt: skip
def test_what_workers_would_refuse_is_not_redriven(
    one: Letter, corrected: bytes | None, reason: Reason
) -> None:
    found = made(one, corrected)
    assert isinstance(found, Fault) and found.reason == reason


def test_a_key_that_was_wrong_is_made_from_the_subject_of_the_event() -> None:
    found = made(letter(order("O-1"), Reason.KEY_IS_NOT_SUBJECT, key=b"crm:12"), order("O-1"))
    assert isinstance(found, Redriven) and (found.key, found.partition) == (b"crm:4711", None)


def test_a_letter_is_listed_once_however_often_it_was_written(
    world: LetterWorld, capsys: pytest.CaptureFixture[str]
) -> None:
    world.write((SALES, b"crm:4711", b"{"), (SALES, b"crm:4711", order("O-1", "49,90")))
    (first, second) = world.bury()
    world.bury()
    world.write((DEAD_LETTERS, b"x", b"rubbish"))
    code, told, _ = run(world, capsys, "list")
    assert (code, told["total"], told["complete"]) == (Exit.OK, 2, True)
    assert {one["reason"]: one["count"] for one in told["reasons"]} == {"not_json": 1, "wrong_shape": 1}
    assert [one["position"] for one in told["letters"]] == [second, first]
    _, told, _ = run(world, capsys, "list", "--reason", "not_json", "--limit", "1")
    assert [one["position"] for one in told["letters"]] == [first]
    assert run(world, capsys, "list", "--to", "1h")[1]["total"] == 0
    assert run(world, capsys, "list", "--from", "1h", "--topic", SALES)[1]["total"] == 2
    assert run(world, capsys, "list", "--topic", BILLING)[1]["total"] == 0


def test_a_list_of_many_says_that_it_has_not_looked_at_all(world: LetterWorld) -> None:
    world.write(*[(SALES, b"crm:4711", b"{%d" % number) for number in range(5)])
    world.bury()
    index = LetterIndex(world.bootstrap, records_max=2)
    index.catch_up()
    assert (len(index.newest(Asked())), index.complete) == (2, False)


def test_a_corrected_letter_is_written_once_and_counts_once(
    world: LetterWorld, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    world.write((SALES, b"crm:4711", order("O-1")), (SALES, b"crm:4711", order("O-2", "49,90")))
    (position,) = world.bury()
    code, told, _ = run(world, capsys, "show", position)
    assert (code, told["pointer"], told["event"]["id"]) == (Exit.OK, "/data/amount_minor", "evt-O-2")
    code, told, _ = run(world, capsys, "redrive", position, "--execute")
    assert (code, told["wrong"][0]["reason"]) == (Exit.REFUSED, "wrong_shape")
    file = tmp_path / "corrected.jsonl"
    file.write_text(json.dumps({"position": position, "event": json.loads(order("O-2"))}) + "\n\n")
    code, told, _ = run(world, capsys, "redrive", "--file", str(file))
    assert (code, told["executed"], len(told["ready"]), len(world.records())) == (Exit.OK, False, 1, 2)
    words = ("redrive", "--file", str(file), "--execute", "--actor", "E-7", "--reason-text", "was text")
    assert run(world, capsys, *words)[0] == Exit.OK
    code, told, _ = run(world, capsys, *words)
    assert (code, told["ready"], told["settled"][0]["actor"]) == (Exit.REFUSED, [], "E-7")
    assert (len(world.records()), world.folded()) == (3, 2)
    assert run(world, capsys, "list")[1]["total"] == 0
    (listed,) = run(world, capsys, "list", "--all")[1]["letters"]
    assert (listed["settled"]["action"], listed["settled"]["reason"]) == ("redriven", "was text")
    # A restart may write the letter again: it stays settled.
    world.bury()
    assert run(world, capsys, "list")[1]["total"] == 0


def test_whoever_reads_the_old_record_with_newer_models_passes_over_it(
    world: LetterWorld, capsys: pytest.CaptureFixture[str]
) -> None:
    # Both are events by the models of today; once, an older version took them for none.
    world.write((SALES, b"crm:4711", order("O-1")), (SALES, b"crm:4711", order("O-2")))
    old = [f"{record.lane}@{record.offset}" for record in world.records()]
    for record in world.records():
        dead = DeadLetter(
            Fault(Reason.UNKNOWN_TYPE, "/type", "no model"), *record[:4], record.key, record.value, ()
        )
        world.write((DEAD_LETTERS, b"x", wire_dead_letter(dead, "2026-03-01T10:42:08Z")))
    assert run(world, capsys, "redrive", old[0], "--execute")[0] == Exit.OK
    assert run(world, capsys, "discard", old[1], "--reason-text", "twice", "--execute")[0] == Exit.OK
    assert (world.folded(looking=False), world.folded()) == (3, 1)
    replay = Replay(Projection(Configuration()), settled=SettledOffsets(world.bootstrap)())
    assert sum(replay.add(record) is not None for record in world.records()) == 1


def test_a_worker_reads_only_what_was_settled_since_it_looked(
    world: LetterWorld, capsys: pytest.CaptureFixture[str]
) -> None:
    world.write(*[(SALES, b"crm:4711", b"{%d" % number) for number in range(2)])
    first, second = map(Position.parse, world.bury())
    settled = SettledOffsets(world.bootstrap)
    assert settled() == {}
    for one in (first, second):
        run(world, capsys, "discard", str(one), "--reason-text", "x", "--execute")
        assert one.offset in settled()[one.lane]
    assert settled() == {first.lane: {first.offset, second.offset}}


def test_a_worker_that_takes_a_lane_again_knows_what_was_settled_meanwhile(
    world: LetterWorld, embedded_store: EmbeddedStore, capsys: pytest.CaptureFixture[str]
) -> None:
    world.write((SALES, b"crm:4711", order("O-1")), (SALES, b"crm:4711", b"{"))
    position = Position.parse(world.bury()[0])
    lane, records = position.lane, [Consumed(record) for record in world.records()]
    servers.empty_store(embedded_store.url)
    store = RedisStore(embedded_store.url, "g1", 3)
    folder = Folder(Projection(Configuration()), SettledOffsets(world.bootstrap))
    with LogProducer(world.bootstrap) as outlet:
        worker = FoldingWorker(
            store, outlet, folder, Labels("g1", "c-test"), name="w", link_topic="scv.g1.links",
            cache=PartCache(2**20), clock_ms=lambda: 0, wait=lambda _: None,
        )  # fmt: skip
        worker.take([lane])
        assert worker.step([Batch(lane, 0, records, 2, 2)]) == {}
        assert (worker.counters.events, worker.counters.dead_letters) == (1, 1)
        run(world, capsys, "discard", str(position), "--reason-text", "x", "--execute")
        # The store goes back: the lane is folded from its start once more.
        servers.empty_store(embedded_store.url)
        worker.take([lane])
        assert worker.step([Batch(lane, 0, records, 2, 2)]) == {}
    assert (worker.counters.events, worker.counters.dead_letters) == (2, 1)
    store.close()


def test_what_is_still_wrong_stays_and_the_others_go(
    world: LetterWorld, capsys: pytest.CaptureFixture[str]
) -> None:
    world.write((BILLING, b"crm:4711", order("O-1")), (BILLING, b"crm:4711", order("O-2", "x")))
    world.bury(BILLING)
    code, told, _ = run(world, capsys, "redrive", "--reason", "wrong_domain", "--execute")
    assert (code, len(told["ready"]), told["wrong"][0]["pointer"]) == (Exit.PARTLY, 1, "/data/amount_minor")
    assert (world.folded(), run(world, capsys, "list")[1]["total"]) == (1, 1)


def test_many_letters_go_in_several_transactions(
    world: LetterWorld, capsys: pytest.CaptureFixture[str]
) -> None:
    world.write(*[(BILLING, b"crm:4711", order(f"O-{number}")) for number in range(450)])
    world.bury(BILLING)
    code, told, _ = run(world, capsys, "redrive", "--topic", BILLING, "--execute")
    assert (code, len(told["ready"]), world.folded(), len(world.marks())) == (Exit.OK, 450, 450, 450)
    ids = [json.loads(record.value or b"")["id"] for record in world.records()]
    assert ids == [f"evt-O-{number}" for number in range(450)]


@pytest.mark.parametrize(
    "words, code, complaint",
    [
        (["show"], Exit.USAGE, "which ones? Name positions"),
        (["show", "x"], Exit.USAGE, "'x' is no position"),
        (["show", "sales.events-0@99"], Exit.NOT_FOUND, "sales.events-0@99: no dead letter"),
        (["show", "--reason", "no_key"], Exit.NOT_FOUND, "no such dead letters"),
        (["list", "--reason", "x"], Exit.USAGE, "--reason x: there are: too_large"),
        (["list", "--from", "soon"], Exit.USAGE, "--from 'soon': no instant"),
        (["list", "--from", "1h", "--to", "2h"], Exit.USAGE, "does not lie after"),
        (["redrive", "--file", "none.jsonl"], Exit.NOT_FOUND, "none.jsonl: no such file"),
        (["redrive", "POSITION", "--reason", "not_json"], Exit.USAGE, "not both"),
        (["redrive", "POSITION", "--actor", " "], Exit.USAGE, "--actor: say who"),
        (["discard", "POSITION", "--reason-text", " "], Exit.USAGE, "--reason-text: say why"),
        (["discard", "POSITION", "--reason-text", "x" * 9_000], Exit.USAGE, "actor or reason"),
    ],
)
def test_a_wrong_command_line_is_told_in_one_line(
    shared: tuple[LetterWorld, str],
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    code: Exit,
    complaint: str,
) -> None:
    world, position = shared
    found, _, said = run(world, capsys, *[position if word == "POSITION" else word for word in words])
    assert (found, said.count("\n")) == (code, 1) and complaint in said


@pytest.mark.parametrize(
    "line, complaint",
    [
        ("{", "corrected.jsonl:1: no line of JSON"),
        ('{"position":"POSITION"}', "corrected.jsonl:1: no line of JSON"),
        ('{"position":"POSITION","event":null}', "has no event yet"),
        ('{"position":"POSITION","event":{}}\n{"position":"POSITION","event":{}}', "corrected twice"),
        ("", "no corrected events in it"),
        ('{"position":"sales.events-0@99","event":{}}', "no dead letter"),
    ],
)
def test_a_wrong_file_is_told_with_its_line(
    shared: tuple[LetterWorld, str],
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    line: str,
    complaint: str,
) -> None:
    world, position = shared
    file = tmp_path / "corrected.jsonl"
    file.write_text(line.replace("POSITION", position))
    found, _, said = run(world, capsys, "redrive", "--file", str(file))
    assert found in (Exit.USAGE, Exit.NOT_FOUND) and complaint in said and said.count("\n") == 1


@pytest.fixture(scope="module")
def shared() -> Iterator[tuple[LetterWorld, str]]:
    """A log with one letter, and its position."""
    with EmbeddedBroker() as broker:
        world = LetterWorld(broker.bootstrap)
        world.write((SALES, b"crm:4711", b"{"))
        (position,) = world.bury()
        yield world, position
