"""Read a record's value the careful way: any CloudEvent, any version, and the exact reason when it is wrong.

Invariants:
- Every record gives an event or a fault: never an exception, whatever the bytes are.
- This way is the definition; `models.decoding` is the same thing faster, for the common case.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, get_args

import msgspec
import pydantic
from pydantic import BaseModel

from models.catalogue import event_model, schema_version, topic_of, upcast
from models.dead_letter import Fault, Reason
from models.decoding import RECORD_BYTES_MAX, SUBJECT, Event, fast_struct, occurred
from models.event import EVENT_TYPES, Envelope, Shape
from models.fields import NAME_MAX
from models.identifiers import CUSTOMER_NAMESPACE, namespace_of

# An event of events.md is four levels deep; what is deeper was not written for people or for us.
DEPTH_MAX = 16

Headers = Sequence[tuple[str, bytes | None]]

_EXTENSION = re.compile(r"[a-z0-9]{1,64}")
_ATTRIBUTES = {*Envelope.model_fields, "data"}
_LIMITS = {"too_long", "string_too_long"}


class _Faulty(Exception):
    """Carries a fault up to `read`; it never leaves this module."""

    def __init__(self, reason: Reason, pointer: str, detail: str) -> None:
        super().__init__(detail)
        self.fault = Fault(reason, pointer, detail)


def read(topic: str, key: bytes | None, value: bytes | None, headers: Headers, log_us: int) -> Event | Fault:
    """The event of a record of `topic`, or what is wrong with it. `log_us` is the record's log time."""
    try:
        return _read(topic, key, value, headers, log_us)
    except _Faulty as faulty:
        return faulty.fault
    except RecursionError:
        return Fault(Reason.TOO_DEEP, "", f"nested deeper than {DEPTH_MAX} levels")


def envelope_of(value: bytes | None, headers: Headers) -> dict[str, Any] | Fault:
    """The CloudEvent as one object, from either mode, whatever is wrong inside it; or why there is none."""
    try:
        return _envelope(value, headers)
    except _Faulty as faulty:
        return faulty.fault
    except RecursionError:
        return Fault(Reason.TOO_DEEP, "", f"nested deeper than {DEPTH_MAX} levels")


def _read(topic: str, key: bytes | None, value: bytes | None, headers: Headers, log_us: int) -> Event:
    envelope = _envelope(value, headers)
    wire_type = envelope.get("type")
    if envelope.get("specversion") != "1.0":
        raise _Faulty(Reason.NOT_A_CLOUD_EVENT, "/specversion", "specversion must be 1.0")
    if not isinstance(wire_type, str) or wire_type not in EVENT_TYPES:
        raise _Faulty(Reason.UNKNOWN_TYPE, "/type", f"no model for type {str(wire_type)[:80]!r}")
    if topic_of(wire_type) != topic:
        raise _Faulty(Reason.WRONG_DOMAIN, "/type", f"{wire_type} belongs in {topic_of(wire_type)}")
    _check_subject(envelope.get("subject"), key)
    version = _version(envelope.get("dataschema"), wire_type)
    data = envelope.get("data")
    if not isinstance(data, dict):
        raise _Faulty(Reason.WRONG_SHAPE, "/data", "data must be a JSON object")
    envelope["data"] = upcast(wire_type, data, version)
    _check_extensions(envelope)
    try:
        model: Any = event_model(wire_type).model_validate(envelope)
    except pydantic.ValidationError as error:
        raise _shape_fault(error, envelope) from None
    shape = EVENT_TYPES[wire_type]
    ignored = _unknown_fields(shape, envelope["data"])
    occurred_us, clamped = occurred(model.time, log_us)
    try:
        struct: Any = msgspec.convert(model.data.model_dump(), fast_struct(shape))
    except msgspec.ValidationError as error:
        # The two libraries differ on a value: then it is none, and no record may end a worker.
        raise _Faulty(Reason.WRONG_SHAPE, "/data", str(error)) from None
    return Event(
        wire_type, model.source, model.id, model.subject, occurred_us, log_us, clamped, ignored, struct
    )


def _json(value: bytes) -> Any:
    try:
        value.decode()
    except UnicodeDecodeError as error:
        raise _Faulty(Reason.NOT_UTF8, "", f"not UTF-8 at byte {error.start}") from None
    try:
        read_value = msgspec.json.decode(value)
    except msgspec.ValidationError:
        # It has the form of JSON; all that the reader of any JSON refuses then is a number beyond a double.
        raise _Faulty(Reason.LIMIT_EXCEEDED, "", "a number is out of range") from None
    except msgspec.DecodeError as error:
        raise _Faulty(Reason.NOT_JSON, "", f"not JSON: {error}") from None
    if _deeper_than(read_value, DEPTH_MAX):
        raise _Faulty(Reason.TOO_DEEP, "", f"nested deeper than {DEPTH_MAX} levels")
    return read_value


def _deeper_than(value: Any, levels: int) -> bool:
    if not isinstance(value, (dict, list)):
        return False
    children = value.values() if isinstance(value, dict) else value
    return levels == 0 or any(_deeper_than(child, levels - 1) for child in children)


def _envelope(value: bytes | None, headers: Headers) -> dict[str, Any]:
    """The CloudEvent as one dict, from structured or binary content mode."""
    if value is None or value == b"":
        raise _Faulty(Reason.NO_VALUE, "", "the record has no value")
    if len(value) > RECORD_BYTES_MAX:
        raise _Faulty(Reason.TOO_LARGE, "", f"{len(value)} bytes; the limit is {RECORD_BYTES_MAX}")
    content = _json(value)
    named = {name.lower(): raw for name, raw in headers if raw is not None}
    if "ce_specversion" in named:
        envelope = {name[3:]: _header(name, raw) for name, raw in named.items() if name.startswith("ce_")}
        if (content_type := named.get("content-type")) is not None:
            envelope["datacontenttype"] = _header("content-type", content_type)
        envelope["data"] = content
        return envelope
    if not isinstance(content, dict):
        raise _Faulty(Reason.NOT_A_CLOUD_EVENT, "", "the value must be one CloudEvent, a JSON object")
    return content


def _header(name: str, raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise _Faulty(
            Reason.NOT_UTF8, f"/{name.removeprefix('ce_')}", f"header {name} is not UTF-8"
        ) from None


def _check_subject(subject: Any, key: bytes | None) -> None:
    if subject is None or subject == "":
        raise _Faulty(Reason.MISSING_SUBJECT, "/subject", "an event is about a subject, namespace:value")
    if not isinstance(subject, str) or not SUBJECT.fullmatch(subject):
        raise _Faulty(Reason.MALFORMED_SUBJECT, "/subject", f"not namespace:value: {str(subject)[:80]!r}")
    if namespace_of(subject) == CUSTOMER_NAMESPACE:
        raise _Faulty(
            Reason.MALFORMED_SUBJECT,
            "/subject",
            f"{CUSTOMER_NAMESPACE}:… is kept for customer ids; name the subject by its source, as crm:4711",
        )
    if key is None:
        raise _Faulty(Reason.NO_KEY, "", "the record has no key; the key is the subject")
    if key != subject.encode():
        raise _Faulty(Reason.KEY_IS_NOT_SUBJECT, "/subject", "the record's key is not its subject")


def _version(dataschema: Any, wire_type: str) -> int:
    current = EVENT_TYPES[wire_type].version
    version = (
        schema_version(dataschema, current) if dataschema is None or isinstance(dataschema, str) else None
    )
    if version is None or not 1 <= version <= current:
        raise _Faulty(
            Reason.UNKNOWN_VERSION,
            "/dataschema",
            f"{wire_type} is known in versions 1 to {current}, named by …/N",
        )
    return version


def _check_extensions(envelope: dict[str, Any]) -> None:
    """CloudEvents extensions are allowed: lower-case names, simple values or null. They are not counted."""
    for name, value in envelope.items():
        if name in _ATTRIBUTES:
            continue
        if not _EXTENSION.fullmatch(name) or not isinstance(value, (str, int, bool, type(None))):
            raise _Faulty(Reason.NOT_A_CLOUD_EVENT, f"/{_escaped(name[:80])}", "not a CloudEvents attribute")


def _escaped(token: int | str) -> str:
    return str(token).replace("~", "~0").replace("/", "~1")


def _shape_fault(error: pydantic.ValidationError, envelope: dict[str, Any]) -> _Faulty:
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    reason = Reason.LIMIT_EXCEEDED if first["type"] in _LIMITS else Reason.WRONG_SHAPE
    pointer = _pointer(first["loc"], envelope, missing=first["type"] == "missing")
    return _Faulty(reason, pointer, first["msg"].removeprefix("Value error, "))


def _pointer(location: tuple[int | str, ...], document: Any, missing: bool) -> str:
    """A location of pydantic as a JSON pointer: only what is in the document, and at the end what is missing.

    Pydantic goes on with words of its own ("[key]", a union's member), which are no place in the document.
    """
    pointer = ""
    for part in location:
        inside = isinstance(document, dict) and part in document
        inside = inside or (isinstance(document, list) and isinstance(part, int) and part < len(document))
        if not inside:
            return f"{pointer}/{_escaped(part)}" if missing else pointer
        pointer, document = f"{pointer}/{_escaped(str(part)[:NAME_MAX])}", document[part]
    return pointer


def _unknown_fields(shape: type[BaseModel], data: Any) -> int:
    """How many fields of `data` no model knows, at any depth."""
    known = shape.model_fields
    count = 0
    for name, value in data.items():
        if name not in known:
            count += 1
        elif (inner := _shape_in(known[name].annotation)) is not None:
            items = value if isinstance(value, list) else [value]
            count += sum(_unknown_fields(inner, item) for item in items if isinstance(item, dict))
    return count


def _shape_in(annotation: Any) -> type[Shape] | None:
    """The model inside `Model`, `list[Model]` or `Model | None`."""
    if isinstance(annotation, type) and issubclass(annotation, Shape):
        return annotation
    return next((found for arg in get_args(annotation) if (found := _shape_in(arg)) is not None), None)
