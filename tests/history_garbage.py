"""Records that are no events: for each reason of a dead letter, ways to spoil a good one.

Guarantees:
- What comes out is a dead letter for exactly the reason asked for.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any, NamedTuple

from models.catalogue import DOMAIN_TOPICS
from models.dead_letter import Reason
from models.decoding import RECORD_BYTES_MAX

Json = dict[str, Any]


class Spoilt(NamedTuple):
    """What to put into the log."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()


Spoil = Callable[[random.Random, Json, str], Spoilt]


def _plain(topic: str, event: Json, **changed: Any) -> Spoilt:
    """The event with attributes changed, under its own key."""
    return Spoilt(topic, event["subject"].encode(), json.dumps(event | changed).encode())


def _too_large(rng: random.Random, event: Json, topic: str) -> Spoilt:
    return _plain(topic, event, data=event["data"] | {"padding": "x" * RECORD_BYTES_MAX})


def _no_value(rng: random.Random, event: Json, topic: str) -> Spoilt:
    return Spoilt(topic, event["subject"].encode(), rng.choice((None, b"")))


def _not_utf8(rng: random.Random, event: Json, topic: str) -> Spoilt:
    key, good = event["subject"].encode(), json.dumps(event).encode()
    if rng.random() < 0.5:
        return Spoilt(topic, key, good.replace(b"1.0", b"1.\xff", 1))
    headers = (("ce_specversion", b"1.0"), ("ce_type", b"\xfe\xfe"))
    return Spoilt(topic, key, b"{}", headers)


def _not_json(rng: random.Random, event: Json, topic: str) -> Spoilt:
    good = json.dumps(event).encode()
    wrong = (
        good[: rng.randrange(1, len(good) - 1)], good + b"}", b"\xef\xbb\xbf" + good, b"<event/>", b" ",
        good.replace(b'"1.0"', b"NaN", 1), good.replace(b"1.0", b"\\ud800", 1),
    )  # fmt: skip
    return Spoilt(topic, event["subject"].encode(), rng.choice(wrong))


def _too_deep(rng: random.Random, event: Json, topic: str) -> Spoilt:
    deep: Any = 1
    for _ in range(rng.choice((16, 17, 200))):
        deep = [deep] if rng.random() < 0.5 else {"a": deep}
    whole = _plain(topic, event, data=event["data"] | {"deep": deep})
    return rng.choice((whole, whole._replace(value=b"[" * 100_000)))


def _not_a_cloud_event(rng: random.Random, event: Json, topic: str) -> Spoilt:
    changes: tuple[Json, ...] = (
        {"specversion": "0.3"}, {"specversion": None}, {"Upper": "case"}, {"nested": {}}, {"half": 0.5},
    )  # fmt: skip
    spoilt = _plain(topic, event, **rng.choice(changes))
    return rng.choice(
        (spoilt, spoilt._replace(value=json.dumps([event]).encode()), spoilt._replace(value=b"7"))
    )


def _unknown_type(rng: random.Random, event: Json, topic: str) -> Spoilt:
    return _plain(
        topic, event, type=rng.choice(("sales.order_plced", "weather.changed", "", 7, None, "x" * 300))
    )


def _wrong_domain(rng: random.Random, event: Json, topic: str) -> Spoilt:
    command = {"actor": "E-7", "reason": "same", "subject": event["subject"], "other": "crm:1"}
    other = rng.choice([other for other in (*DOMAIN_TOPICS, "identity.commands") if other != topic])
    return rng.choice((_plain(other, event), _plain(topic, event, type="identity.link", data=command)))


def _missing_subject(rng: random.Random, event: Json, topic: str) -> Spoilt:
    without = {name: value for name, value in event.items() if name != "subject"}
    value = rng.choice((without, without | {"subject": ""}, without | {"subject": None}))
    return Spoilt(topic, event["subject"].encode(), json.dumps(value).encode())


def _malformed_subject(rng: random.Random, event: Json, topic: str) -> Spoilt:
    wrong = rng.choice(
        ("4711", "CRM:4711", "crm:", ":4711", "crm:47 11", "crm:a\n", "crm:" + "x" * 201, 7, ["crm:1"])
    )
    key = wrong.encode() if isinstance(wrong, str) else b"crm:1"
    return Spoilt(topic, key, json.dumps(event | {"subject": wrong}).encode())


def _no_key(rng: random.Random, event: Json, topic: str) -> Spoilt:
    return _plain(topic, event)._replace(key=None)


def _key_is_not_subject(rng: random.Random, event: Json, topic: str) -> Spoilt:
    return _plain(topic, event)._replace(
        key=rng.choice((b"", b"crm:0", event["subject"].encode() + b" ", b"\xff\xff"))
    )


def _unknown_version(rng: random.Random, event: Json, topic: str) -> Spoilt:
    named = rng.choice(("99", "0", "x", "", "1.0", "²", "-1", "123456"))
    return _plain(
        topic, event, dataschema=rng.choice((f"https://schemas.example/{event['type']}/{named}", 7))
    )


def _limit_exceeded(rng: random.Random, event: Json, topic: str) -> Spoilt:
    changes: tuple[Json, ...] = (
        {"identifiers": [{"type": "cookie", "value": str(number)} for number in range(21)]},
        {"asked_for": ["name"] * 21},
        {"store_id": "s" * 201},
        {"problem_code": "p" * 256},
        {"traits": {f"t{number}": 1 for number in range(51)}},
    )
    return _plain(topic, event, data=event["data"] | rng.choice(changes))


def _wrong_shape(rng: random.Random, event: Json, topic: str) -> Spoilt:
    changes: tuple[Json, ...] = (
        {"channel": "pigeon"}, {"cost_minor": 1.5}, {"cost_minor": "7"}, {"cost_minor": True},
        {"cost_minor": 9_007_199_254_740_992}, {"identifiers": None}, {"identifiers": [{"type": "email"}]},
        {"references": ["no colon"]}, {"traits": {"a": [1]}}, {"store_id": ""},
    )  # fmt: skip
    times = (
        "2026-03-01",
        "2026-03-01T10:42:07",
        "2026-02-30T00:00:00Z",
        "0001-01-01T00:00:00+01:00",
        1_772_361_727,
        "",
    )
    data = rng.choice((None, [], "text", event["data"] | rng.choice(changes)))
    changed: tuple[Json, ...] = (
        {"data": data}, {"time": rng.choice(times)}, {"id": ""}, {"id": 7}, {"source": None},
        {"datacontenttype": "text/plain"},
    )  # fmt: skip
    return _plain(topic, event, **rng.choice(changed))


GARBAGE: dict[Reason, Spoil] = {
    Reason.TOO_LARGE: _too_large,
    Reason.NO_VALUE: _no_value,
    Reason.NOT_UTF8: _not_utf8,
    Reason.NOT_JSON: _not_json,
    Reason.TOO_DEEP: _too_deep,
    Reason.NOT_A_CLOUD_EVENT: _not_a_cloud_event,
    Reason.UNKNOWN_TYPE: _unknown_type,
    Reason.WRONG_DOMAIN: _wrong_domain,
    Reason.MISSING_SUBJECT: _missing_subject,
    Reason.MALFORMED_SUBJECT: _malformed_subject,
    Reason.NO_KEY: _no_key,
    Reason.KEY_IS_NOT_SUBJECT: _key_is_not_subject,
    Reason.UNKNOWN_VERSION: _unknown_version,
    Reason.LIMIT_EXCEEDED: _limit_exceeded,
    Reason.WRONG_SHAPE: _wrong_shape,
}
