"""Each way in which a record can be wrong has its reason and names the place, in both content modes."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models import careful
from models.dead_letter import DeadLetter, Fault, Reason, wire_dead_letter
from models.decoding import RECORD_BYTES_MAX, Event, fast_decoder

LOG_US = 1_772_361_728_000_000
KEY = b"crm:4711"
DATA: dict[str, Any] = {
    "order_id": "O-1", "amount_minor": 4990, "currency": "EUR",
    "lines": [{"product_id": "P-1", "quantity": 1, "amount_minor": 4990}],
}  # fmt: skip
ATTRIBUTES: dict[str, Any] = {
    "specversion": "1.0", "id": "1", "source": "shop", "type": "sales.order_placed", "subject": "crm:4711",
    "time": "2026-03-01T10:42:07Z",
}  # fmt: skip
BINARY = [(f"ce_{name}", text.encode()) for name, text in ATTRIBUTES.items()]
DROP = object()
SURVEY = {"survey_id": "V-1", "kind": "csat", "score": 3, "scope": "relational", "incentivised": False}

Headers = Sequence[tuple[str, bytes | None]]


class Wrong(NamedTuple):
    """A record, and what is wrong with it."""

    reason: Reason
    pointer: str
    value: bytes | None
    headers: Headers = ()
    key: bytes | None = KEY
    topic: str = "sales.events"


def structured(
    reason: Reason, pointer: str, key: bytes | None = KEY, topic: str = "sales.events", **changes: Any
) -> Wrong:
    """An event in structured mode with changed attributes."""
    event = {
        name: value for name, value in {**ATTRIBUTES, "data": DATA, **changes}.items() if value is not DROP
    }
    return Wrong(reason, pointer, msgspec.json.encode(event), [], key, topic)


def data(reason: Reason, pointer: str, **changes: Any) -> Wrong:
    """An event in structured mode with changed data."""
    return structured(
        reason,
        pointer,
        data={name: value for name, value in {**DATA, **changes}.items() if value is not DROP},
    )


def binary(
    reason: Reason,
    pointer: str,
    key: bytes | None = KEY,
    topic: str = "sales.events",
    value: Any = DATA,
    **changes: Any,
) -> Wrong:
    """An event in binary mode with changed headers or another value (bytes stand as they are)."""
    attributes = {name: text for name, text in {**ATTRIBUTES, **changes}.items() if text is not DROP}
    headers: Headers = [
        (f"ce_{name}", text if isinstance(text, bytes) else text.encode())
        for name, text in attributes.items()
    ]
    raw = value if value is None or isinstance(value, bytes) else msgspec.json.encode(value)
    return Wrong(reason, pointer, raw, headers, key, topic)


def survey(reason: Reason, pointer: str, **changes: Any) -> Wrong:
    """A survey's answer with changed data."""
    return structured(
        reason, pointer, topic="service.events", type="service.survey_answered", data={**SURVEY, **changes}
    )


def nested(levels: int) -> Any:
    """Lists in lists."""
    inner: Any = 1
    for _ in range(levels):
        inner = [inner]
    return inner


R = Reason
LINE = DATA["lines"][0]
EMAIL = {"type": "email", "value": "ada@example.com"}
TABLE = [
    Wrong(R.TOO_LARGE, "", b" " * RECORD_BYTES_MAX + b"{}"),
    Wrong(R.TOO_LARGE, "", b"\xff" * (RECORD_BYTES_MAX + 1)),
    binary(R.TOO_LARGE, "", value=b"x" * (RECORD_BYTES_MAX + 1)),
    Wrong(R.NO_VALUE, "", None),
    Wrong(R.NO_VALUE, "", b""),
    Wrong(R.NO_VALUE, "", None, key=None),
    binary(R.NO_VALUE, "", value=None),
    Wrong(R.NOT_UTF8, "", b'{"id": "\xff"}'),
    Wrong(R.NOT_UTF8, "", '{"id": "ü"}'.encode("latin-1")),
    Wrong(R.NOT_UTF8, "", b'"\xed\xa0\x80"'),
    binary(R.NOT_UTF8, "/source", source=b"\xff"),
    binary(R.NOT_UTF8, "", value=b'{"order_id": "\xff"}'),
    Wrong(R.NOT_JSON, "", b"{"),
    Wrong(R.NOT_JSON, "", b'{"id": NaN}'),
    Wrong(R.NOT_JSON, "", b'{"id": "\\ud800"}'),
    Wrong(R.NOT_JSON, "", b"\x00\x00\x00\x00\x01avro"),
    Wrong(R.NOT_JSON, "", b"\xef\xbb\xbf{}"),
    binary(R.NOT_JSON, "", value=b"order_id=O-1"),
    structured(R.TOO_DEEP, "", extra=nested(16)),
    Wrong(R.TOO_DEEP, "", b"[" * 100_000 + b"]" * 100_000),
    Wrong(R.TOO_DEEP, "", b'{"a":' * 20_000 + b"1" + b"}" * 20_000),
    binary(R.TOO_DEEP, "", value={**DATA, "extra": nested(16)}),
    Wrong(R.NOT_A_CLOUD_EVENT, "", b"[]"),
    Wrong(R.NOT_A_CLOUD_EVENT, "", b'"text"'),
    Wrong(R.NOT_A_CLOUD_EVENT, "", b"null"),
    Wrong(R.NOT_A_CLOUD_EVENT, "/specversion", msgspec.json.encode(DATA)),
    structured(R.NOT_A_CLOUD_EVENT, "/specversion", specversion="0.3"),
    structured(R.NOT_A_CLOUD_EVENT, "/specversion", specversion=1.0),
    structured(R.NOT_A_CLOUD_EVENT, "/Customer", Customer="x"),
    structured(R.NOT_A_CLOUD_EVENT, "/a~1b~0c", **{"a/b~c": "x"}),
    structured(R.NOT_A_CLOUD_EVENT, "/extension", extension={"not": "simple"}),
    structured(R.NOT_A_CLOUD_EVENT, "/data_base64", data_base64="e30="),
    binary(R.NOT_A_CLOUD_EVENT, "/specversion", specversion="2.0"),
    binary(R.NOT_A_CLOUD_EVENT, "/trace_id", trace_id="x"),
    structured(R.UNKNOWN_TYPE, "/type", type="sales.order_dreamt"),
    structured(R.UNKNOWN_TYPE, "/type", type=DROP),
    structured(R.UNKNOWN_TYPE, "/type", type=["sales.order_placed"]),
    binary(R.UNKNOWN_TYPE, "/type", type="order_placed"),
    binary(R.UNKNOWN_TYPE, "/type", type=DROP),
    structured(R.WRONG_DOMAIN, "/type", topic="billing.events"),
    structured(R.WRONG_DOMAIN, "/type", type="identity.link"),
    structured(R.WRONG_DOMAIN, "/type", topic="identity.commands"),
    binary(R.WRONG_DOMAIN, "/type", topic="marketing.events"),
    structured(R.MISSING_SUBJECT, "/subject", subject=DROP),
    structured(R.MISSING_SUBJECT, "/subject", subject=None),
    structured(R.MISSING_SUBJECT, "/subject", subject=""),
    binary(R.MISSING_SUBJECT, "/subject", subject=DROP),
    structured(R.MALFORMED_SUBJECT, "/subject", key=b"4711", subject="4711"),
    structured(R.MALFORMED_SUBJECT, "/subject", key=b"CRM:4711", subject="CRM:4711"),
    structured(R.MALFORMED_SUBJECT, "/subject", key=b"crm:47 11", subject="crm:47 11"),
    structured(R.MALFORMED_SUBJECT, "/subject", key=b"crm:4711\n", subject="crm:4711\n"),
    structured(R.MALFORMED_SUBJECT, "/subject", key=b"crm:", subject="crm:"),
    structured(R.MALFORMED_SUBJECT, "/subject", key=b"crm:" + b"x" * 201, subject="crm:" + "x" * 201),
    structured(R.MALFORMED_SUBJECT, "/subject", key=b"4711", subject=4711),
    structured(R.MALFORMED_SUBJECT, "/subject", key=b"customer:4711", subject="customer:4711"),
    binary(R.MALFORMED_SUBJECT, "/subject", key=b":4711", subject=":4711"),
    structured(R.NO_KEY, "", key=None),
    structured(R.NO_KEY, "", key=None, data="also wrong, but examined later"),
    binary(R.NO_KEY, "", key=None),
    structured(R.KEY_IS_NOT_SUBJECT, "/subject", key=b"crm:4712"),
    structured(R.KEY_IS_NOT_SUBJECT, "/subject", key=b""),
    structured(R.KEY_IS_NOT_SUBJECT, "/subject", key=b'"crm:4711"'),
    binary(R.KEY_IS_NOT_SUBJECT, "/subject", key=b"\xff"),
    structured(R.UNKNOWN_VERSION, "/dataschema", dataschema="https://example.com/sales.order_placed/3"),
    structured(R.UNKNOWN_VERSION, "/dataschema", dataschema="https://example.com/sales.order_placed/0"),
    structured(R.UNKNOWN_VERSION, "/dataschema", dataschema="https://example.com/sales.order_placed"),
    structured(R.UNKNOWN_VERSION, "/dataschema", dataschema="https://example.com/sales.order_placed/²"),
    structured(R.UNKNOWN_VERSION, "/dataschema", dataschema=1),
    binary(R.UNKNOWN_VERSION, "/dataschema", dataschema="x/" + "9" * 5_000),
    data(R.LIMIT_EXCEEDED, "/data/order_id", order_id="x" * 201),
    data(R.LIMIT_EXCEEDED, "/data/lines", lines=[LINE] * 201),
    data(R.LIMIT_EXCEEDED, "/data/lines/1/product_id", lines=[LINE, {**LINE, "product_id": "x" * 201}]),
    data(R.LIMIT_EXCEEDED, "/data/traits", traits={f"t{n}": n for n in range(51)}),
    data(R.LIMIT_EXCEEDED, "/data/traits/weather", traits={"weather": "x" * 256}),
    data(R.LIMIT_EXCEEDED, "/data/identifiers", identifiers=[EMAIL] * 21),
    structured(R.LIMIT_EXCEEDED, "/id", id="x" * 201),
    Wrong(R.LIMIT_EXCEEDED, "", b'{"specversion": "1.0", "number": 1e999}'),
    binary(R.LIMIT_EXCEEDED, "/source", source="x" * 201),
    structured(R.WRONG_SHAPE, "/data", data=DROP),
    structured(R.WRONG_SHAPE, "/data", data=[DATA]),
    structured(R.WRONG_SHAPE, "/data", data="{}"),
    structured(R.WRONG_SHAPE, "/id", id=DROP),
    structured(R.WRONG_SHAPE, "/source", source=""),
    structured(R.WRONG_SHAPE, "/time", time="yesterday"),
    structured(R.WRONG_SHAPE, "/time", time="2026-03-01T10:42:07"),
    structured(R.WRONG_SHAPE, "/time", time="2016-12-31T23:59:60Z"),
    structured(R.WRONG_SHAPE, "/time", time=1772361727),
    structured(R.WRONG_SHAPE, "/datacontenttype", datacontenttype="application/xml"),
    data(R.WRONG_SHAPE, "/data/order_id", order_id=DROP),
    data(R.WRONG_SHAPE, "/data/order_id", order_id=None),
    data(R.WRONG_SHAPE, "/data/amount_minor", amount_minor="4990"),
    data(R.WRONG_SHAPE, "/data/amount_minor", amount_minor=49.9),
    data(R.WRONG_SHAPE, "/data/amount_minor", amount_minor=2**53),
    data(R.WRONG_SHAPE, "/data/currency", currency="eur"),
    data(R.WRONG_SHAPE, "/data/currency", currency="EUR\n"),
    data(R.WRONG_SHAPE, "/data/channel", channel="fax"),
    data(R.WRONG_SHAPE, "/data/lines/0/quantity", lines=[{**LINE, "quantity": -1}]),
    data(R.WRONG_SHAPE, "/data/lines/0/product_id", lines=[{"quantity": 1}]),
    data(R.WRONG_SHAPE, "/data/identifiers/0/verified", identifiers=[{**EMAIL, "verified": 1}]),
    data(R.WRONG_SHAPE, "/data/traits/weather", traits={"weather": ["rain"]}),
    data(R.WRONG_SHAPE, "/data/traits/a~1b", traits={"a/b": 2**53}),
    data(R.WRONG_SHAPE, "/data/traits/", traits={"": 1}),
    data(R.WRONG_SHAPE, "/data/references/0", references=["O-8"]),
    survey(R.WRONG_SHAPE, "/data", kind="csat", score=7),
    survey(R.WRONG_SHAPE, "/data/score", score=11),
    survey(R.WRONG_SHAPE, "/data/kind", kind="stars"),
    binary(R.WRONG_SHAPE, "/data/amount_minor", value={**DATA, "amount_minor": True}),
    binary(R.WRONG_SHAPE, "/data", value=b"[]"),
]  # fmt: skip


@pytest.mark.parametrize("wrong", TABLE, ids=lambda wrong: f"{wrong.reason}{wrong.pointer.replace('/', '-')}")
def test_a_wrong_record_gives_its_reason_and_names_the_place(wrong: Wrong) -> None:
    read = careful.read(wrong.topic, wrong.key, wrong.value, wrong.headers, LOG_US)
    assert isinstance(read, Fault), read
    assert (read.reason, read.pointer) == (wrong.reason, wrong.pointer), read.detail
    assert read.detail and "\n" not in read.detail
    if wrong.value is not None and not wrong.headers:
        assert fast_decoder(wrong.topic)(wrong.value, wrong.key, LOG_US) is None


def test_the_table_has_two_records_for_every_reason_and_both_content_modes() -> None:
    told = Counter(wrong.reason for wrong in TABLE)
    assert set(told) == set(Reason) and min(told.values()) >= 2
    assert {wrong.reason for wrong in TABLE if wrong.headers} == set(Reason)
    assert {wrong.reason for wrong in TABLE if not wrong.headers} == set(Reason)


def test_the_unchanged_record_is_an_event_in_both_modes() -> None:
    for right in (structured(R.NO_VALUE, ""), binary(R.NO_VALUE, "")):
        read = careful.read(right.topic, right.key, right.value, right.headers, LOG_US)
        assert isinstance(read, Event) and read.data.order_id == "O-1"


@pytest.mark.parametrize(
    "changes",
    [
        {"partitionkey": "k", "traceparent": "00-1-2-01", "tracestate": ""},
        {"anything": "x", "n1": 7, "truth": True, "unset": None},
        {"datacontenttype": "application/json; charset=utf-8"},
        {"time": None, "dataschema": None, "datacontenttype": None},
        {"id": "1", "data": {**DATA, "extra": nested(13)}},
        {"subject": "crm:" + "x" * 200},
    ],
)
def test_what_cloud_events_allows_is_no_fault(changes: dict[str, Any]) -> None:
    key = changes.get("subject", "crm:4711").encode()
    right = structured(R.NO_VALUE, "", key=key, **changes)
    assert isinstance(careful.read(right.topic, right.key, right.value, [], LOG_US), Event)


def test_headers_of_any_case_and_other_headers_are_read_past() -> None:
    headers: Headers = [
        *((name.upper(), raw) for name, raw in BINARY),
        ("traceparent", b"\xff"), ("ce_note", None), ("Content-Type", b"application/json"),
    ]  # fmt: skip
    assert isinstance(careful.read("sales.events", KEY, msgspec.json.encode(DATA), headers, LOG_US), Event)


@settings(max_examples=100, derandomize=True, deadline=None)
@given(
    st.none() | st.binary(max_size=40),
    st.none() | st.binary(max_size=200),
    st.lists(st.tuples(st.text(max_size=8), st.none() | st.binary(max_size=8)), max_size=4),
    st.integers(0, 2**62),
)
def test_a_dead_letter_gives_back_key_value_and_headers_byte_for_byte(
    key: bytes | None, value: bytes | None, headers: Headers, offset: int
) -> None:
    fault = Fault(Reason.NOT_JSON, "/data/ü", "not JSON")
    wire = wire_dead_letter(
        DeadLetter(fault, "sales.events", 5, offset, -1, key, value, tuple(headers)), "2026-03-01T10:42:08Z"
    )
    event = msgspec.json.decode(wire)
    told = event["data"]
    assert (event["id"], event["subject"]) == (f"sales.events-5@{offset}", "sales.events-5")
    assert (told["reason"], told["pointer"], told["detail"]) == ("not_json", "/data/ü", "not JSON")
    assert (told["topic"], told["partition"], told["offset"], told["timestamp_ms"]) == (
        "sales.events",
        5,
        offset,
        -1,
    )
    assert (_raw(told["key_base64"]), _raw(told["value_base64"])) == (key, value)
    assert [(header["name"], _raw(header["value_base64"])) for header in told["headers"]] == headers
    assert told["omitted_bytes"] == 0


@pytest.mark.parametrize(
    "key, value, headers, omitted_bytes",
    [
        (KEY, b"x" * 1_000_000, (), 1_000_000),
        (KEY, b"{}", (("h", b"x" * 1_000_000),), 1_000_001),
        (b"k" * 1_000_000, b"{}", (), 1_000_000),
        (KEY, b"x" * 600_000, (("\x00" * 1_000, b""),), 0),
    ],
)
def test_a_dead_letter_always_fits_into_one_message_and_counts_what_it_leaves_out(
    key: bytes, value: bytes, headers: Headers, omitted_bytes: int
) -> None:
    fault = Fault(Reason.NOT_JSON, "/ü" * 10_000, "\x00" * 10_000)
    letter = DeadLetter(fault, "t" * 249, 5, 2**62, -1, key, value, tuple(headers))
    wire = wire_dead_letter(letter, "2026-03-01T10:42:08Z")
    assert len(wire) < 1_000_000
    assert msgspec.json.decode(wire)["data"]["omitted_bytes"] == omitted_bytes


def _raw(text: str | None) -> bytes | None:
    return None if text is None else base64.b64decode(text, validate=True)
