"""Events written by hand, and the profile that the reference makes of them: for examples with figures.

Guarantees:
- An event says what its arguments say and nothing else; its place in the log is its place in the call.
"""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from models.catalogue import topic_of
from models.record import Record
from tests.oracle import profiles

ADA = "crm:4711"
Event = dict[str, Any]


def event(
    kind: str, time: str, *, subject: str = ADA, source: str = "crm", event_id: str = "", **data: Any
) -> Event:
    """An event; its id is its type and time unless `event_id` is given."""
    envelope = {"specversion": "1.0", "id": event_id or f"{kind}@{time}", "source": source, "type": kind}
    return {**envelope, "time": time, "subject": subject, "data": data}


def logged(*events: Event, at: str | None = None) -> list[Record]:
    """Each event in partition 0 of its topic, in this order, logged `at` or when it occurred."""
    records: list[Record] = []
    for one in events:
        topic = topic_of(one["type"])
        offset = sum(record.topic == topic for record in records)
        millis = int(datetime.fromisoformat(at or one["time"]).timestamp() * 1_000)
        value = json.dumps(one).encode()
        records.append(Record(topic, 0, offset, millis, one["subject"].encode(), value, []))
    return records


def profile(*events: Event, at: str | None = None, **settings: Any) -> dict[str, Any]:
    """Ada's profile after these events."""
    return profiles(logged(*events, at=at), **settings)[ADA]


def page(number: int, **changed: Any) -> Event:
    """One of many page views, a second apart, in the order of their numbers."""
    at = f"2026-01-01T{number // 3_600:02}:{number // 60 % 60:02}:{number % 60:02}Z"
    return event("marketing.page_viewed", at, page="/", event_id=f"p{number}") | changed


def order(number: int, time: str, amount: int, **data: Any) -> Event:
    """An order in euros, numbered."""
    return event(
        "sales.order_placed", time, order_id=f"O-{number}", amount_minor=amount, currency="EUR", **data
    )
