"""Data of an older version becomes today's before anything else sees it."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from models import careful
from models.catalogue import EVENT_TYPES, UPCASTERS, schema_version, upcast
from models.dead_letter import Fault, Reason
from models.decoding import Event, fast_decoder

CONSENT = "marketing.consent_changed"
V1 = {"purpose": "marketing", "channel": "email", "status": "opt_in", "legal_basis": "consent"}
V2 = {"purpose": "marketing", "channel": "email", "granted": True, "legal_basis": "consent"}
LOG_US = 1_772_361_728_000_000


def consent(data: dict[str, Any], schema: str | None) -> Event | Fault:
    """The event read carefully, after it was seen that the fast way gives the same or asks."""
    event = {
        "specversion": "1.0",
        "id": "1",
        "source": "crm",
        "type": CONSENT,
        "subject": "crm:1",
        "data": data,
    }
    value = msgspec.json.encode(event | ({"dataschema": schema} if schema else {}))
    slow = careful.read("marketing.events", b"crm:1", value, [], LOG_US)
    assert fast_decoder("marketing.events")(value, b"crm:1", LOG_US) in (None, slow)
    return slow


@pytest.mark.parametrize("status, granted", [("opt_in", True), ("opt_out", False)])
def test_version_1_of_a_consent_is_read_as_version_2(status: str, granted: bool) -> None:
    read = consent({**V1, "status": status}, f"https://example.com/schemas/{CONSENT}/1")
    assert isinstance(read, Event)
    assert (read.data.granted, read.data.channel, read.ignored_fields) == (granted, "email", 0)
    assert consent({**V2, "granted": granted}, None) == read


def test_version_1_with_an_unknown_status_lacks_what_version_2_needs() -> None:
    for data in ({**V1, "status": "maybe"}, {**V1, "status": ["opt_in"]}, {**V1, "status": None}):
        read = consent(data, "x/1")
        assert isinstance(read, Fault)
        assert (read.reason, read.pointer) == (Reason.WRONG_SHAPE, "/data/granted")


def test_without_a_dataschema_the_data_is_of_the_current_version() -> None:
    read = consent(V1, None)
    assert isinstance(read, Fault) and read.pointer == "/data/granted"
    assert isinstance(consent(V2, None), Event)


def test_version_1_of_an_order_calls_its_amount_a_total() -> None:
    data = {"order_id": "O-1", "total_minor": 4990, "currency": "EUR"}
    assert upcast("sales.order_placed", data, 1) == {
        "order_id": "O-1",
        "amount_minor": 4990,
        "currency": "EUR",
    }


def test_data_that_names_the_current_version_is_not_upcast() -> None:
    read = consent({**V2, "status": "opt_out"}, f"https://example.com/{CONSENT}/2")
    assert isinstance(read, Event)
    assert (read.data.granted, read.ignored_fields) == (True, 1)


def test_upcasting_leaves_the_data_that_was_read_as_it_was() -> None:
    data = dict(V1)
    assert upcast(CONSENT, data, 1) == V2
    assert data == V1


def order(data: dict[str, Any], schema: str) -> Event | Fault:
    """An order placed, read carefully."""
    event = {
        "specversion": "1.0",
        "id": "1",
        "source": "shop",
        "type": "sales.order_placed",
        "subject": "crm:1",
    }
    value = msgspec.json.encode(
        {**event, "dataschema": schema, "data": {"order_id": "O-1", "currency": "EUR", **data}}
    )
    return careful.read("sales.events", b"crm:1", value, [], LOG_US)


def test_version_1_of_an_order_named_its_amount_total() -> None:
    read = order({"total_minor": 4990}, "https://example.com/sales.order_placed/1")
    assert isinstance(read, Event)
    assert (read.data.amount_minor, read.ignored_fields) == (4990, 0)
    assert order({"amount_minor": 4990}, "https://example.com/sales.order_placed/2") == read


@pytest.mark.parametrize("data", [{}, {"total_minor": None}, {"total_minor": "4990"}])
def test_version_1_of_an_order_without_a_total_lacks_its_amount(data: dict[str, Any]) -> None:
    read = order(data, "x/1")
    assert isinstance(read, Fault)
    assert (read.reason, read.pointer) == (Reason.WRONG_SHAPE, "/data/amount_minor")


def test_version_1_in_binary_mode_names_its_version_in_a_header() -> None:
    attributes = {
        "specversion": "1.0",
        "id": "1",
        "source": "crm",
        "type": CONSENT,
        "subject": "crm:1",
        "dataschema": "x/1",
    }
    headers = [(f"ce_{name}", text.encode()) for name, text in attributes.items()]
    read = careful.read("marketing.events", b"crm:1", msgspec.json.encode(V1), headers, LOG_US)
    assert isinstance(read, Event) and read.data.granted is True


def test_every_older_version_of_a_type_can_be_upcast_and_none_from_the_future() -> None:
    steps = {(name, step) for name, kind in EVENT_TYPES.items() for step in range(1, kind.version)}
    assert set(UPCASTERS) == steps


@pytest.mark.parametrize(
    "schema, version",
    [
        (None, 7), ("https://example.com/a/2", 2), ("a/2/", 2), ("2", 2), ("urn:x:a/12", 12), ("a/b", None),
        ("", None), ("a/-1", None), ("a/1.0", None), ("a/²", None), ("a/٣", None), ("a/ 1", None),
        ("a/123456", None), ("a/2?x", None),
    ],
)  # fmt: skip
def test_the_version_is_the_last_segment_of_the_dataschema(schema: str | None, version: int | None) -> None:
    assert schema_version(schema, 7) == version
