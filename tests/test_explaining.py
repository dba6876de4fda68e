"""An explanation adds up: each effect begins where the one before it ended, the last at the value shown.

Guarantees:
- For every field of every section, of random histories; with the sums of money counted anew by hand.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import msgspec
import pytest

from models.record import Record
from projections.assembling import DOCUMENT_ORDER, RESERVED
from projections.differing import MISSING, NoSuchField, differences, value_at
from projections.explaining import Explained, explain, field_path, in_log_order
from projections.folding import Projection
from projections.reducers import Configuration
from projections.replay import Replay
from tests.folding import PLAIN, fold_whole, profile_document
from tests.histories import history
from tests.told_by_hand import event, logged

SEEDS = range(3)
SECTIONS = [name for name in DOCUMENT_ORDER if name != "meta" and name not in RESERVED]


def explained(records: list[Record], field: str) -> Explained:
    """The explanation of a field of the subject of these records."""
    founder = next(record.key.decode() for record in records if record.key)
    return explain(records, Replay(Projection(PLAIN)), field, founder)


def busiest(seed: int) -> list[Record]:
    """The records of the subject that has most of them, in all lanes."""
    lanes = history(seed, events=150, subjects=4, partitions=2, bursts=1)
    records = [record for lane in lanes for record in lane]
    keys = Counter(
        record.key for record in records if record.key and record.key.startswith((b"crm:", b"web:"))
    )
    [(key, _)] = keys.most_common(1)
    return [record for record in records if record.key == key]


def shown(records: list[Record]) -> dict[str, Any]:
    """The profile that these records make."""
    lanes: dict[Any, list[Record]] = {}
    for record in records:
        lanes.setdefault(record.lane, []).append(record)
    [document] = fold_whole(lanes.values()).documents().values()
    return document


@pytest.mark.parametrize("seed", SEEDS)
def test_every_field_adds_up_to_the_value_shown(seed: int) -> None:
    records = busiest(seed)
    document = shown(records)
    for section in SECTIONS:
        fields = (
            [section, *(f"{section}.{name}" for name in document[section])]
            if isinstance(document[section], dict)
            else [section]
        )
        # A whole section costs as much as all its fields: a few fields stand for the rest.
        for field in fields[seed :: len(SEEDS)]:
            found = explained(records, field)
            assert found.value == value_at(document, field.split(".")), field
            assert not found.effects or found.effects[-1].after == found.value, field
            for before, after in zip(found.effects, found.effects[1:], strict=False):
                assert before.after == after.before != after.after, field
            if section != "summary":
                assert all(one.figures for one in found.effects) or section == "identity", field
                assert {name for one in found.effects for name in one.figures} == {
                    rule.figure for rule in found.rules
                }


EUR, DUE = {"currency": "EUR"}, {"currency": "EUR", "due_at": "2026-04-01T00:00:00Z"}
SIGNS = {"invoice_issued": 1, "credit_note_issued": -1, "payment_received": -1, "refund_issued": 1}


@pytest.mark.parametrize("name", ["2026.03/17", "2026..1", "O", "O.status", "O."])
def test_an_entry_may_have_dots_in_its_name(name: str) -> None:
    placed = {"amount_minor": 990, **EUR}
    orders = [
        event("sales.order_placed", "2026-03-01T10:00:00Z", order_id=name, **placed),
        event("sales.order_placed", "2026-03-01T11:00:00Z", order_id="other", **placed),
        event("sales.order_delivered", "2026-03-02T10:00:00Z", order_id="other"),
        event("sales.order_delivered", "2026-03-03T10:00:00Z", order_id=name),
    ]
    found = explained(logged(*orders), f"sales.orders.{name}.status")
    assert [(one.before, one.after) for one in found.effects] == [
        (MISSING, "placed"), ("placed", "delivered"),
    ]  # fmt: skip
    assert explained(logged(*orders), f"sales.orders.{name}").value["order_id"] == name


@pytest.mark.parametrize("names", [("O-8", "O-8.1"), ("O-8.1", "O-8")])
def test_of_entries_whose_names_begin_alike_each_is_found_whichever_came_first(
    names: tuple[str, ...],
) -> None:
    records = logged(
        *(
            event("sales.order_placed", f"2026-03-0{day}T10:00:00Z", order_id=name, amount_minor=day, **EUR)
            for day, name in enumerate(names, 1)
        )
    )
    for day, name in enumerate(names, 1):
        for field, value in ((f"{name}.amount_minor", day), (f"{name}.status", "placed")):
            found = explained(records, f"sales.orders.{field}")
            assert found.value == value and [one.before for one in found.effects] == [MISSING], field
    with pytest.raises(NoSuchField):
        explained(records, "sales.orders.O-8.1.none")


def test_effects_on_a_balance_are_the_amounts_of_its_events() -> None:
    records = logged(
        event("billing.invoice_issued", "2026-03-01T10:00:00Z", invoice_id="I", amount_minor=4990, **DUE),
        event("billing.payment_failed", "2026-03-01T11:00:00Z", code="card_expired"),
        event("billing.payment_received", "2026-03-02T10:00:00Z", payment_id="P", amount_minor=990, **EUR),
        event("billing.refund_issued", "2026-03-03T10:00:00Z", refund_id="R", amount_minor=10, **EUR),
    )  # fmt: skip
    found = explained(records, "billing.balances.EUR.balance_minor")
    assert [(one.before, one.after) for one in found.effects] == [(MISSING, 4990), (4990, 4000), (4000, 4010)]
    assert [one.heard.event.type for one in found.effects] == [
        "billing.invoice_issued", "billing.payment_received", "billing.refund_issued",
    ]  # fmt: skip
    [rule] = found.rules
    assert {name: text.split()[1] for name, text in rule.events.items()} == {
        f"billing.{name}": "+" if sign > 0 else "-" for name, sign in SIGNS.items()
    }
    assert found.event_count == 4


def test_a_figure_that_only_changed_beside_the_field_is_not_named() -> None:
    records = logged(
        event("billing.payment_failed", "2026-03-01T11:00:00Z", code="card_expired"),
        event("billing.payment_received", "2026-03-02T10:00:00Z", payment_id="P", amount_minor=990, **EUR),
    )  # fmt: skip
    assert [one.figures for one in explained(records, "billing.failures_in_a_row").effects] == [
        ("failures",), ("failures",),
    ]  # fmt: skip
    assert [one.figures for one in explained(records, "billing.last_payment").effects] == [("last_payment",)]


def test_a_mask_changes_what_is_told_and_not_what_counts() -> None:
    records = logged(
        event("marketing.profile_updated", "2026-03-01T11:00:00Z", given_name="Ada"),
        event("marketing.profile_updated", "2026-03-01T12:00:00Z", given_name="Augusta"),
    )
    found = explain(
        records, Replay(Projection(PLAIN)), "identity.given_name", "crm:1",
        mask=lambda section, text: text.replace(b"Ada", b"A").replace(b"Augusta", b"A"),
    )  # fmt: skip
    assert [(one.before, one.after) for one in found.effects] == [(None, "A"), ("A", "A")]


def test_the_order_is_the_logs_and_a_lane_keeps_its_own() -> None:
    def record(topic: str, offset: int, at_ms: int) -> Record:
        return Record(topic, 0, offset, at_ms, b"crm:1", b"{}", [])

    lanes = [record("a", 0, 50), record("a", 1, 10), record("b", 0, 20), record("b", 1, 60)]
    order = [(one.topic, one.offset) for one in in_log_order(lanes)]
    assert order == [("b", 0), ("a", 0), ("a", 1), ("b", 1)]


@pytest.mark.parametrize(
    "field", ["", "billing.", "none", "meta", "signals", "billing.none", "value.spend_minor"]
)
def test_what_is_no_field_is_refused(field: str) -> None:
    with pytest.raises(NoSuchField):
        field_path(field)


def test_differences_name_places_by_what_comes_first_in_an_entry() -> None:
    before = {
        "orders": [{"order_id": "O-1", "status": "placed"}, {"order_id": "O-2", "status": "placed"}],
        "n": 1,
    }
    after = {"orders": [{"order_id": "O-2", "status": "delivered"}], "n": True}
    assert [tuple(one) for one in differences(before, after)] == [
        ("orders.O-2.status", "placed", "delivered"),
        ("orders.O-1", {"order_id": "O-1", "status": "placed"}, MISSING),
        ("n", 1, True),
    ]
    assert differences(before, msgspec.json.decode(msgspec.json.encode(before))) == []
    swapped = {**before, "orders": before["orders"][::-1]}
    assert [one.path for one in differences(before, swapped)] == ["orders"]
    assert [one.path for one in differences([1, 2], [1, 3])] == ["1"]


def test_a_document_of_the_past_is_one_that_the_fold_made() -> None:
    records = busiest(0)
    replay = Replay(Projection(Configuration()))
    for record in records:
        replay.add(record)
    assert profile_document(replay.members) == shown(records)
