"""`scv verify` finds what differs from the history, and nothing where nothing does.

Guarantees:
- On a real store and a real log: a history with merges, splits, garbage and repeats.
- By the customer's own records and by whole lanes.
"""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import Any

import msgspec
import pytest

from eventlog.embedded import EmbeddedBroker
from models.identifiers import customer_id
from models.record import Lane
from ops import cli, verify_command
from ops.failures import Exit
from projections.graph_nodes import Edge, Stated, pack_node, unpack_node
from projections.parts import pack, unpack
from stores.embedded import EmbeddedStore
from tests.replay_world import ReplayWorld, meeting_history
from tests.simulation import people

ADA, EMAIL = customer_id("crm:1"), "email:ada@example.com"
BILLING = Lane("billing.events", 0)


@pytest.fixture(scope="module")
def world(embedded_store: EmbeddedStore) -> Iterator[ReplayWorld]:
    """Ada, known to two systems, among others."""
    with EmbeddedBroker() as broker:
        made = ReplayWorld(broker.bootstrap, embedded_store.url)
        tell = made.folded.tell
        tell("marketing.profile_updated", "crm:1", EMAIL, given_name="Ada")
        euros = {"currency": "EUR", "invoice_id": "I-1"}
        due = {"due_at": "2026-04-01T00:00:00Z"}
        tell("billing.invoice_issued", "billing:A-9", EMAIL, amount_minor=4990, **euros, **due)
        tell("billing.payment_received", "billing:A-9", payment_id="P-1", amount_minor=990, **euros)
        for number in range(2, 6):
            tell("marketing.page_viewed", f"crm:{number}", page="/")
        made.settle()
        yield made
        made.close()


def verify(
    world: ReplayWorld, capsys: pytest.CaptureFixture[str], *arguments: str
) -> tuple[int, dict[str, Any]]:
    """Exit code and answer."""
    code = cli.run(["verify", *arguments, "--json", "--kafka", world.kafka, "--redis", world.redis])
    said = capsys.readouterr()
    assert said.err == ""
    return code, msgspec.json.decode(said.out)


@pytest.fixture
def changed(world: ReplayWorld) -> Iterator[Any]:
    """A client to change the store by hand; afterwards everything is as before."""
    client = world.folded.client
    kept = {key: client.dump(key) for key in client.scan_iter()}
    yield client
    for key in client.scan_iter():
        client.delete(key)
    for key, value in kept.items():
        client.restore(key, 0, value, replace=True)


WAYS = (["--customer", "crm:1"], ["--all"], ["--all", "--passes", "3"], ["--sample", "100%"])


@pytest.mark.parametrize("way", WAYS)
def test_a_view_that_is_true_has_no_differences(
    world: ReplayWorld, capsys: pytest.CaptureFixture[str], way: list[str]
) -> None:
    code, answer = verify(world, capsys, *way)
    assert (code, answer["differences"], answer["busy"]) == (Exit.OK, [], [])
    assert answer["customers"] == (1 if "--customer" in way else 5)


@pytest.mark.parametrize("way", WAYS)
def test_a_value_changed_by_hand_is_found_with_both_values(
    world: ReplayWorld, changed: Any, capsys: pytest.CaptureFixture[str], way: list[str]
) -> None:
    key = world.folded.store.keys.profile(ADA)
    changed.hset(
        key, "billing", changed.hget(key, "billing").replace(b'"balance_minor":4000', b'"balance_minor":1')
    )
    code, answer = verify(world, capsys, *way)
    assert code == Exit.DIFFERENCES
    assert answer["differences"] == [
        {"customer_id": ADA, "subject": None, "section": "billing", "field": "balances.EUR.balance_minor",
         "live": 1, "replayed": 4000}
    ]  # fmt: skip


def test_a_part_changed_by_hand_is_found(
    world: ReplayWorld, changed: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    store = world.folded.store
    [packed] = store.parts([(BILLING, "billing:A-9")])
    part = unpack(packed)
    part.recent = part.recent[8:]
    changed.set(store.keys.part(BILLING, "billing:A-9"), store._packing.pack(pack(part)))
    for way in WAYS[:2]:
        code, answer = verify(world, capsys, *way)
        assert (code, len(answer["differences"])) == (Exit.DIFFERENCES, 1)
        found = answer["differences"][0]
        assert (found["subject"], found["section"], found["field"]) == (
            "billing:A-9", "part", "billing.events-0: recent",
        )  # fmt: skip


def test_a_membership_changed_by_hand_is_found(
    world: ReplayWorld, changed: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ops.verifying.TRIES", 2)
    key = world.folded.store.keys.membership("crm:1")
    stored = msgspec.json.decode(changed.get(key))
    stored[2] = [*stored[2], "crm:5"] if isinstance(stored, list) else stored
    changed.set(key, msgspec.json.encode(stored))
    code, answer = verify(world, capsys, "--customer", "crm:1")
    assert code == Exit.DIFFERENCES
    assert {one["section"] for one in answer["differences"]} <= {"membership", "meta"}


def test_what_the_graph_remembers_otherwise_than_was_stated_is_found(
    world: ReplayWorld, changed: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ops.verifying.TRIES", 2)
    key = world.folded.store.keys.part(world.folded.store.keys.links, "crm:3")
    node = unpack_node(world.folded.store._packing.unpack(changed.get(key)))
    node.out["phone:+49301"] = Edge([Stated("sales.events-0", 7, 1, verified=False)], 1, verified=False)
    changed.set(key, world.folded.store._packing.pack(pack_node(node)))
    for way in (["--customer", "crm:3"], ["--all"]):
        code, answer = verify(world, capsys, *way)
        assert code == Exit.DIFFERENCES
        assert [(one["subject"], one["section"], one["field"]) for one in answer["differences"]] == [
            ("crm:3", "links", "phone:+49301")
        ]


def test_a_lost_part_and_a_lost_profile_are_found_by_all(
    world: ReplayWorld, changed: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ops.verifying.TRIES", 2)
    keys = world.folded.store.keys
    changed.delete(keys.profile(customer_id("crm:4")), keys.part(Lane("marketing.events", 0), "crm:3"))
    code, answer = verify(world, capsys, "--all")
    assert code == Exit.DIFFERENCES
    found = {(one["subject"], one["section"]) for one in answer["differences"]}
    assert {("crm:4", "profile"), ("crm:3", "part")} <= found


def test_a_customer_that_is_being_assembled_is_busy_and_not_wrong(
    world: ReplayWorld, changed: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ops.verifying.TRIES", 2)
    keys = world.folded.store.keys
    changed.hset(keys.profile(ADA), "version", "0.1")
    changed.hset(keys.dirty(BILLING), "billing:A-9", 2)
    code, answer = verify(world, capsys, "--customer", "crm:1")
    assert (code, answer["busy"], answer["differences"]) == (Exit.PARTLY, [ADA], [])


def test_what_is_no_way_to_choose_customers_is_refused(
    world: ReplayWorld, capsys: pytest.CaptureFixture[str]
) -> None:
    for wrong in (
        [],
        ["--all", "--sample", "1%"],
        ["--sample", "0"],
        ["--sample", "x"],
        ["--all", "--from-pass", "9"],
    ):
        assert cli.run(["verify", *wrong, "--kafka", world.kafka, "--redis", world.redis]) == Exit.USAGE
    assert (
        cli.run(["verify", "--customer", "crm:99", "--kafka", world.kafka, "--redis", world.redis])
        == Exit.NOT_FOUND
    )
    nowhere = ["--generation", "g9", "--kafka", world.kafka, "--redis", world.redis]
    assert cli.run(["verify", "--all", *nowhere]) == Exit.NOT_FOUND
    assert "there is no generation g9" in capsys.readouterr().err


def test_an_interrupted_verification_says_where_to_go_on(
    world: ReplayWorld, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    passes = []

    def interrupted(*arguments: Any, **_: Any) -> None:
        passes.append(arguments)
        if len(passes) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(verify_command, "_one_pass", interrupted)
    code = cli.run(["verify", "--all", "--passes", "3", "--kafka", world.kafka, "--redis", world.redis])
    assert code == Exit.INTERRUPTED
    assert "go on with: scv verify --all --passes 3 --from-pass 2" in capsys.readouterr().err


@pytest.mark.parametrize("seed", [7, 8])
def test_histories_with_merges_and_garbage_are_true(
    seed: int,
    embedded_store: EmbeddedStore,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rules = people.rules(Random(seed))
    with EmbeddedBroker() as broker:
        made = ReplayWorld(broker.bootstrap, embedded_store.url, rules)
        made.load(meeting_history(seed))
        with made.replayer as replayer:
            from ops.verifying import Verifier

            view = made.folded.reader.view()
            assert view is not None
            lanes = [
                Lane(topic, 0)
                for topic in ("billing.events", "marketing.events", "sales.events", "service.events")
            ]
            verifier = Verifier(replayer, view, lanes, lambda _: None)
            ids = sorted(set(verify_command.customer_ids(replayer)))
            assert verifier.scan(ids, lambda *_: None) == []
            assert verifier.verify(ids) == ([], [])
        made.close()
