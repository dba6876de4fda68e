"""The fast and the careful way of reading give the same events, whatever the bytes are.

Set HYPOTHESIS_EXAMPLES to run longer, with examples of its own each time:
`HYPOTHESIS_EXAMPLES=20000 pytest tests/test_decoding.py`.
"""

from __future__ import annotations

import os
import typing
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from models import careful
from models.catalogue import EVENT_TYPES, TOPIC_OF_DOMAIN, domain_of, event_model, topic_of
from models.dead_letter import DeadLetter, Fault, Reason, wire_dead_letter
from models.decoding import FUTURE_TOLERANCE_US, RECORD_BYTES_MAX, Event, fast_decoder, microseconds
from models.event import Shape
from tests.event_strategies import any_events, events, mangled, odd_values

LOG_US = microseconds(datetime(2026, 3, 1, 10, 42, 8, tzinfo=UTC))
FAR_AHEAD_US = microseconds(datetime(9999, 12, 31, tzinfo=UTC))
ASKED = os.environ.get("HYPOTHESIS_EXAMPLES")

Examples = typing.Callable[[typing.Callable[..., None]], typing.Callable[..., None]]


def examples(usual: int) -> Examples:
    """The same `usual` examples in every run; as many new ones as HYPOTHESIS_EXAMPLES asks for."""
    count = int(ASKED) if ASKED else usual
    return settings(
        max_examples=count, derandomize=ASKED is None, deadline=None, suppress_health_check=list(HealthCheck)
    )


def exact(value: Any) -> Any:
    """A form that is equal only where types are too: 1, 1.0 and True differ, and 0.0 and -0.0."""
    if isinstance(value, msgspec.Struct):
        return type(value).__name__, {
            name: exact(inner) for name, inner in msgspec.structs.asdict(value).items()
        }
    if isinstance(value, dict):
        return {name: exact(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [exact(inner) for inner in value]
    if isinstance(value, datetime):
        return value.isoformat()
    return type(value).__name__, repr(value)


def binary_mode(event: dict[str, Any]) -> tuple[bytes, list[tuple[str, bytes | None]]]:
    """Value and headers of the same event in binary content mode."""
    attributes = {name: value for name, value in event.items() if name != "data" and value is not None}
    content_type = attributes.pop("datacontenttype", None)
    headers: list[tuple[str, bytes | None]] = [
        (f"ce_{name}", text.encode()) for name, text in attributes.items()
    ]
    if content_type is not None:
        headers.append(("content-type", content_type.encode()))
    return msgspec.json.encode(event["data"]), headers


@pytest.mark.parametrize("wire_type", sorted(EVENT_TYPES))
def test_every_valid_event_is_read_fast_and_equals_the_careful_reading(wire_type: str) -> None:
    @examples(15)
    @given(events(wire_type), st.sampled_from([LOG_US, FAR_AHEAD_US]))
    def check(event: dict[str, Any], log_us: int) -> None:
        value, key, topic = msgspec.json.encode(event), event["subject"].encode(), topic_of(wire_type)
        assume(len(value) <= RECORD_BYTES_MAX)
        fast = fast_decoder(topic)(value, key, log_us)
        slow = careful.read(topic, key, value, [], log_us)
        assert isinstance(slow, Event), slow
        assert fast is not None
        assert exact(fast) == exact(slow)
        assert fast.type == wire_type and fast.ignored_fields == 0
        data, headers = binary_mode(event)
        assert exact(careful.read(topic, key, data, headers, log_us)) == exact(slow)

    check()


@examples(800)
@given(st.data(), st.sampled_from([LOG_US, FAR_AHEAD_US, -1_000]))
def test_what_is_read_fast_is_read_the_same_way_carefully_and_nothing_raises(
    data: st.DataObject, log_us: int
) -> None:
    event = data.draw(any_events())
    value = data.draw(mangled(event))
    key: bytes | None = event["subject"].encode()
    if data.draw(st.integers(0, 19)) == 0:
        key = data.draw(st.none() | st.binary(max_size=9))
    topic = topic_of(event["type"])
    if data.draw(st.integers(0, 19)) == 0:
        topic = data.draw(st.sampled_from(sorted(TOPIC_OF_DOMAIN.values())))
    compare(topic, key, value, log_us)


@examples(500)
@given(
    st.sampled_from(sorted(TOPIC_OF_DOMAIN.values())),
    st.none() | st.binary(max_size=20),
    st.none() | st.binary(max_size=60) | odd_values(),
    st.lists(
        st.tuples(
            st.sampled_from(
                [
                    "ce_specversion",
                    "CE_TYPE",
                    "ce_id",
                    "ce_source",
                    "ce_subject",
                    "ce_data",
                    "content-type",
                    "ce_",
                ]
            )
            | st.text(max_size=5),
            st.none() | st.binary(max_size=5) | st.sampled_from([b"1.0", b"sales.order_placed", b"crm:1"]),
        ),
        max_size=8,
    ),
)
def test_arbitrary_records_give_an_event_or_a_fault(
    topic: str, key: bytes | None, value: bytes | None, headers: list[tuple[str, bytes | None]]
) -> None:
    letter(topic, key, value, careful.read(topic, key, value, headers, LOG_US))
    if value is not None:
        compare(topic, key, value, LOG_US)


@examples(250)
@given(st.data())
def test_broken_headers_give_an_event_or_a_fault(data: st.DataObject) -> None:
    event = data.draw(any_events())
    value, headers = binary_mode(event)
    at = data.draw(st.integers(0, len(headers) - 1))
    changed = data.draw(
        st.none() | st.binary(max_size=5) | st.sampled_from([b"", b"\xff", b"\xed\xa0\x80", b"1" * 5_000])
    )
    headers[at] = (headers[at][0], changed)
    if data.draw(st.booleans()):
        value = data.draw(odd_values())
    topic = topic_of(event["type"])
    letter(topic, None, value, careful.read(topic, event["subject"].encode(), value, headers, LOG_US))


def compare(topic: str, key: bytes | None, value: bytes, log_us: int) -> None:
    """Both ways read `value`; what the fast one accepts must equal what the careful one gives."""
    slow = careful.read(topic, key, value, [], log_us)
    fast = fast_decoder(topic)(value, key, log_us)
    if fast is not None:
        assert exact(fast) == exact(slow)
        assert fast.occurred_us <= log_us + FUTURE_TOLERANCE_US
    letter(topic, key, value, slow)


def letter(topic: str, key: bytes | None, value: bytes | None, read: Event | Fault) -> None:
    """A fault can be written down, and stays short whatever the record was."""
    if isinstance(read, Fault):
        wire = wire_dead_letter(DeadLetter(read, topic, 0, 0, 0, key, value, ()), "2026-03-01T10:42:08Z")
        assert msgspec.json.decode(wire)["data"]["reason"] == read.reason
        assert len(read.detail) < 500 and len(read.pointer) < 1_000
        assert read.pointer == "" or read.pointer.startswith("/")
    else:
        assert isinstance(read, Event)


@examples(150)
@given(
    any_events(),
    st.dictionaries(st.from_regex(r"x_[a-z]{1,5}", fullmatch=True), st.integers() | st.none(), max_size=3),
)
def test_unknown_fields_are_counted_at_every_depth_and_change_nothing_else(
    event: dict[str, Any], extra: dict[str, Any]
) -> None:
    value, key, topic = msgspec.json.encode(event), event["subject"].encode(), topic_of(event["type"])
    assume(len(value) < RECORD_BYTES_MAX - 50_000)
    plain = careful.read(topic, key, value, [], LOG_US)
    places = _add_everywhere(event["data"], extra)
    more = careful.read(topic, key, msgspec.json.encode(event), [], LOG_US)
    assert isinstance(plain, Event) and isinstance(more, Event)
    assert more.ignored_fields == places * len(extra)
    more.ignored_fields = 0
    assert exact(more) == exact(plain)


def _add_everywhere(data: dict[str, Any], extra: dict[str, Any]) -> int:
    """Add `extra` to the data and to every object in it but traits, which has no fields; how many places."""
    data |= extra
    inner = [value for name, value in data.items() if name != "traits" and isinstance(value, (dict, list))]
    objects = [one for value in inner for one in (value if isinstance(value, list) else [value])]
    return 1 + sum(_add_everywhere(one, extra) for one in objects if isinstance(one, dict))


def test_times_stand_only_at_the_top_of_an_events_data() -> None:
    """The fast decoder examines times there; a time in a nested shape would need the same."""
    nested = [kind for kind in _all_shapes() if kind not in EVENT_TYPES.values()]
    assert nested
    assert not [
        kind for kind in nested for info in kind.model_fields.values() if "datetime" in str(info.annotation)
    ]


def _all_shapes() -> list[type[Shape]]:
    found: list[type[Shape]] = []
    waiting: list[Any] = list(EVENT_TYPES.values())
    while waiting:
        hint = waiting.pop()
        if isinstance(hint, type) and issubclass(hint, Shape):
            if hint not in found:
                found.append(hint)
                waiting += [info.annotation for info in hint.model_fields.values()]
        else:
            waiting += typing.get_args(hint)
    return found


@pytest.mark.parametrize(
    "offset_us, clamped", [(FUTURE_TOLERANCE_US, False), (FUTURE_TOLERANCE_US + 1_000_000, True)]
)
def test_a_time_far_ahead_of_the_log_becomes_the_log_time(offset_us: int, clamped: bool) -> None:
    at = datetime.fromtimestamp((LOG_US + offset_us) / 1e6, UTC).isoformat()
    for read in both(time=at):
        assert (read.clamped, read.occurred_us) == (clamped, LOG_US if clamped else LOG_US + offset_us)


def test_an_event_without_a_time_occurred_when_the_log_took_it() -> None:
    for read in (*both(), *both(time=None)):
        assert (read.occurred_us, read.clamped) == (LOG_US, False)


def test_a_fraction_is_read_to_the_microsecond_and_an_offset_is_applied() -> None:
    for read in both(time="2026-03-01T11:42:07.1234565+01:00"):
        assert read.occurred_us == microseconds(datetime(2026, 3, 1, 10, 42, 7, 123457, tzinfo=UTC))


@pytest.mark.parametrize("field", ["time", "due_at"])
@pytest.mark.parametrize("text", ["9999-12-31T23:59:59-00:01", "0001-01-01T00:00:00+00:01"])
def test_a_time_that_utc_cannot_name_is_refused_by_both_ways(field: str, text: str) -> None:
    value = invoice(**({"time": text} if field == "time" else {"data": {**DATA, "due_at": text}}))
    assert fast_decoder("billing.events")(value, b"billing:A-9", LOG_US) is None
    fault = careful.read("billing.events", b"billing:A-9", value, [], LOG_US)
    assert isinstance(fault, Fault) and fault.reason is Reason.WRONG_SHAPE
    assert fault.pointer == ("/time" if field == "time" else "/data/due_at")


def test_never_written_as_the_last_second_of_9999_is_accepted() -> None:
    for text in ("9999-12-31T23:59:59Z", "9999-12-31T23:59:59+01:00"):
        value = invoice(data={**DATA, "due_at": text})
        assert isinstance(careful.read("billing.events", b"billing:A-9", value, [], LOG_US), Event)


def test_data_of_another_version_is_never_read_fast() -> None:
    for schema in ("https://example.com/billing.invoice_issued/2", "1", "x/01", "x/1/"):
        assert fast_decoder("billing.events")(invoice(dataschema=schema), b"billing:A-9", LOG_US) is None


def test_every_model_reads_what_its_union_reads() -> None:
    """The union of a domain is for schemas and tools; it must not know other types than the single models."""
    from models.catalogue import event_union

    for domain, topic in TOPIC_OF_DOMAIN.items():
        names = {name for name in EVENT_TYPES if domain_of(name) == domain}
        schema = event_union(topic).json_schema()
        assert set(schema["discriminator"]["mapping"]) == names
        assert all(event_model(name).model_fields["data"].annotation is EVENT_TYPES[name] for name in names)


DATA = {"invoice_id": "I-88", "amount_minor": 4990, "currency": "EUR", "due_at": "2026-03-05T00:00:00Z"}


def invoice(**changes: Any) -> bytes:
    """A valid event, but for the changes."""
    event = {
        "specversion": "1.0",
        "id": "1",
        "source": "erp",
        "type": "billing.invoice_issued",
        "subject": "billing:A-9",
    }
    return msgspec.json.encode({**event, "data": DATA, **changes})


def both(**changes: Any) -> tuple[Event, Event]:
    """The invoice with `changes`, read both ways, equal."""
    value = invoice(**changes)
    fast = fast_decoder("billing.events")(value, b"billing:A-9", LOG_US)
    slow = careful.read("billing.events", b"billing:A-9", value, [], LOG_US)
    assert fast is not None and isinstance(slow, Event)
    assert exact(fast) == exact(slow)
    return fast, slow


def test_an_event_about_nobody_is_never_read_fast_also_not_by_a_decoder_that_has_read_nothing() -> None:
    decode = fast_decoder.__wrapped__("billing.events")
    assert decode(invoice(subject=""), b"", LOG_US) is None
    assert decode(invoice(), b"billing:A-9", LOG_US) is not None
    assert decode(invoice(subject=""), b"", LOG_US) is None


def command(reason: str) -> bytes:
    """A decision about two subjects, for this reason."""
    data = {"subject": "crm:1", "other": "crm:2", "actor": "E-7", "reason": reason}
    return msgspec.json.encode(
        {
            "specversion": "1.0",
            "id": "1",
            "source": "s",
            "type": "identity.unlink",
            "subject": "crm:1",
            "data": data,
        }
    )


def test_what_is_blank_to_one_library_is_blank_to_both() -> None:
    """Python takes separators of files and groups for blanks, and the library of the models does not."""
    blanks = {chr(code) for code in range(0x3100) if chr(code).isspace()}
    assert {"\x1c", "\x1f", "\x85", "\u3000"} <= blanks
    for letter in (*map(chr, range(0x100)), *blanks):
        value = command(letter)
        fast = fast_decoder("identity.commands")(value, b"crm:1", LOG_US)
        slow = careful.read("identity.commands", b"crm:1", value, [], LOG_US)
        if letter in blanks:
            assert fast is None and isinstance(slow, Fault), letter
            assert (slow.reason, slow.pointer) == (Reason.WRONG_SHAPE, "/data/reason"), letter
        else:
            assert isinstance(fast, Event) and isinstance(slow, Event), letter


def test_a_value_that_the_libraries_differ_on_is_a_fault_and_ends_nobody(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Stricter(msgspec.Struct):
        due_at: int

    monkeypatch.setattr(careful, "fast_struct", lambda _: Stricter)
    found = careful.read("billing.events", b"billing:A-9", invoice(), [], LOG_US)
    assert isinstance(found, Fault) and (found.reason, found.pointer) == (Reason.WRONG_SHAPE, "/data")
