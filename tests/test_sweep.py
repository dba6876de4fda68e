"""A sweep finds and repairs what readers see wrongly, and finds nothing where nothing is wrong."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

import pytest
import redis

from eventlog.embedded import EmbeddedBroker
from models.identifiers import customer_id
from models.record import Lane
from ops import cli
from ops.failures import Exit
from stores.embedded import EmbeddedStore
from stores.keys import Keys
from streams import sweep as sweeping
from tests import servers
from tests.rebuild_world import Following, fill, held, records_of, settings_for, tombstones

KEYS = Keys("g1")


class View:
    """A view that has followed a log, and what a sweep says of it."""

    def __init__(self, kafka: str, url: str) -> None:
        self.kafka, self.url = kafka, url
        self.client = redis.Redis.from_url(url, decode_responses=True)
        fill(kafka, records_of(11, 200))
        follower = Following(settings_for(kafka, url), Random(11))
        follower.catch_up()
        follower.close()
        self.whole = held(url, "g1"), tombstones(url, "g1")
        self.dump = {key: self.raw("dump", key) for key in self.client.scan_iter("scv:g1:*")}

    def raw(self, word: str, *words: Any) -> Any:
        """An answer in bytes."""
        with redis.Redis.from_url(self.url) as client:
            return client.execute_command(word, *words)

    def restore(self) -> None:
        """As it was when all had been followed."""
        for key in self.client.scan_iter("scv:g1:*"):
            if key not in self.dump:
                self.client.delete(key)
        for key, value in self.dump.items():
            self.raw("restore", key, 0, value, "replace")

    def sweep(self, capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, dict[str, Any]]:
        """Exit code and answer of `scv sweep`."""
        capsys.readouterr()
        code = cli.run(["sweep", "--kafka", self.kafka, "--redis", self.url, "--json", *words])
        said = capsys.readouterr()
        assert said.out, said.err
        return code, json.loads(said.out)

    def keys(self, kind: str) -> list[str]:
        """The keys of a kind."""
        return sorted(key for key in self.dump if key.endswith(f":{kind}"))

    def founders(self) -> list[str]:
        """Founders of customers of several."""
        return sorted({value[0] for name, value in self.whole[0].items() if name.endswith(":member")})


@pytest.fixture(scope="module")
def shared(embedded_store: EmbeddedStore) -> Iterator[View]:
    """One view for all: each test puts it back."""
    servers.empty_store(embedded_store.url)
    with EmbeddedBroker() as broker:
        yield View(broker.bootstrap, embedded_store.url)


@pytest.fixture
def view(shared: View, monkeypatch: pytest.MonkeyPatch) -> Iterator[View]:
    """The view, whole; nobody works on it, so that nothing has to be waited for."""
    monkeypatch.setattr(sweeping, "LOOK_AGAIN_SECONDS", 0.0)
    yield shared
    shared.restore()


def live(view: View) -> str:
    """A founder of several members."""
    return view.founders()[0]


def merged(view: View) -> str:
    """A member that founds nothing."""
    founders = set(view.founders())
    members = {one for name, value in view.whole[0].items() if name.endswith(":member") for one in value[1]}
    return min(members - founders)


def entry_of(view: View, *, placed: bool = True, stamp: int | None = None) -> str:
    """The key of an index entry that the graph has placed, or lanes have written; or with this stamp."""
    for key in view.keys("ids"):
        found = json.loads(view.client.get(key))
        if found["stamp"] == stamp or (
            stamp is None and bool(found["stamp"]) == placed and found["customers"]
        ):
            return key
    raise AssertionError("there is none")


def set_entry(view: View, key: str, **fields: Any) -> None:
    """Change an entry by hand."""
    view.client.set(key, json.dumps({**json.loads(view.client.get(key)), **fields}, separators=(",", ":")))


NOBODY = [{"customer_id": "cus_0000000000000000", "status": "linking"}]


def lose_profile(view: View) -> None:
    view.client.delete(KEYS.profile(customer_id(live(view))))


def set_profile_back(view: View) -> None:
    view.client.hset(KEYS.profile(customer_id(live(view))), "version", "1.1")


def set_profile_ahead(view: View) -> None:
    view.client.hset(KEYS.profile(customer_id(live(view))), "version", "999999.1")


def lose_tombstone(view: View) -> None:
    view.client.delete(KEYS.profile(customer_id(merged(view))))


def raise_the_dead(view: View) -> None:
    view.client.hset(
        KEYS.profile(customer_id(merged(view))), mapping={"state": "live", "version": "999999.1"}
    )


def lose_placed_entry(view: View) -> None:
    view.client.delete(entry_of(view, placed=True))


def lose_lanes_entry(view: View) -> None:
    view.client.delete(entry_of(view, placed=False))


def stale_entry(view: View) -> None:
    set_entry(view, entry_of(view, placed=True), stamp=1, customers=[])


def entry_pointing_nowhere(view: View) -> None:
    set_entry(view, entry_of(view, placed=False), customers=NOBODY)


def entry_ahead(view: View) -> None:
    set_entry(view, entry_of(view, placed=True), stamp=999_999, customers=NOBODY)


def entry_of_an_unknown_name(view: View) -> None:
    view.client.set(
        KEYS.identifier("email:nobody@example.com"), json.dumps({"stamp": 0, "customers": NOBODY})
    )


def lose_membership(view: View) -> None:
    view.client.delete(KEYS.membership(merged(view)))


def wrong_membership(view: View) -> None:
    view.client.set(KEYS.membership(live(view)), json.dumps([1, live(view), [live(view)], {}, []]))


def lose_lanes(view: View) -> None:
    view.client.delete(KEYS.lanes(live(view)))


def profile_of_nobody(view: View) -> None:
    key = KEYS.profile("cus_0000000000000000")
    view.client.hset(key, mapping={"version": "1.1", "state": "live", "founder": "crm:nobody", "writer": "x"})


# Together in one sweep: faults that do not hide each other.
FAULTS: dict[str, list[tuple[Callable[[View], None], str]]] = {
    "lost": [
        (lose_profile, "profile that is not there"),
        (lose_tombstone, "tombstone"),
        (lose_placed_entry, "index entry"),
        (lose_membership, "membership"),
        (entry_of_an_unknown_name, "key of a name unknown to the graph"),
        (profile_of_nobody, "profile of nobody"),
    ],
    "gone back": [
        (set_profile_back, "profile"),
        (raise_the_dead, "tombstone"),
        (stale_entry, "index entry"),
        (lose_lanes_entry, "index entry"),
        (wrong_membership, "membership"),
    ],
    "ahead": [
        (set_profile_ahead, "profile"),
        (entry_ahead, "index entry"),
        (entry_pointing_nowhere, "index entry"),
        (lose_lanes, "lanes"),
    ],
}


def test_nothing_is_wrong_with_a_view_that_has_followed(
    view: View, capsys: pytest.CaptureFixture[str]
) -> None:
    code, answer = view.sweep(capsys)
    assert (code, answer["findings"], answer["left"]) == (Exit.OK, {}, 0), answer["examples"]
    assert answer["names"] > 100
    assert (held(view.url, "g1"), tombstones(view.url, "g1")) == view.whole


@pytest.mark.parametrize("name", FAULTS)
def test_what_is_wrong_is_found_and_repaired(
    view: View, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    for fault, _ in FAULTS[name]:
        fault(view)
    code, answer = view.sweep(capsys, "--repair")
    assert (code, answer["left"]) == (Exit.OK, 0), answer
    assert answer["findings"] == Counter(kind for _, kind in FAULTS[name])
    assert answer["repaired"] == len(FAULTS[name])
    assert view.sweep(capsys)[0] == Exit.OK
    assert (held(view.url, "g1"), tombstones(view.url, "g1")) == view.whole


def test_what_a_worker_has_yet_to_do_is_no_fault(view: View, capsys: pytest.CaptureFixture[str]) -> None:
    set_profile_back(view)
    stale_entry(view)
    assert view.sweep(capsys)[1]["left"] == 2
    lanes = [Lane.parse(one) for one in view.client.smembers(KEYS.lanes(live(view)))]
    view.client.hset(KEYS.dirty(lanes[0]), live(view), 1)
    assert view.sweep(capsys)[1]["findings"] == {"index entry": 1}
    name = entry_of(view, stamp=1).removeprefix(KEYS.prefix)[1:].removesuffix("}:ids")
    view.client.hset(KEYS.dirty(KEYS.links), name, 1)
    assert view.sweep(capsys)[0] == Exit.OK


def test_without_repair_nothing_is_changed(view: View, capsys: pytest.CaptureFixture[str]) -> None:
    lose_profile(view)
    before = {key: view.raw("dump", key) for key in view.client.scan_iter("scv:*")}
    code, answer = view.sweep(capsys)
    assert (code, answer["repaired"], answer["left"]) == (Exit.DIFFERENCES, 0, 1)
    assert answer["examples"] == {"profile that is not there": [live(view)]}
    assert {key: view.raw("dump", key) for key in view.client.scan_iter("scv:*")} == before
