"""Examples for the OpenAPI document; a test holds each to its model."""

from __future__ import annotations

from typing import Any

_ID = "cus_7Q2M4X9K3BTD5HWE"
_OTHER = "cus_9F1KD0ZR5WHE2MAQ"
_TOKEN = "eyJzYWxlcy5ldmVudHMtNSI6MTA0M30"

AS_OF: dict[str, Any] = {
    "last_event_at": "2026-03-01T10:42:07Z", "version": "18231.42", "generation": "g7", "status": "live",
    "lag_records": 0, "lag_seconds": 0.0,
}  # fmt: skip

_PROFILE: dict[str, Any] = {
    "schema_version": 1, "customer_id": _ID, "state": "live", "founder": "crm:4711",
    "consent": {
        "permissions": [
            {"purpose": "marketing", "channel": "phone", "granted": False, "since": "2025-06-01T09:30:00Z",
             "legal_basis": "consent", "event_id": "01JB7"},
        ],
        "preferences": {"contact_channel": "phone", "contact_hours": "…", "prefers_human": True},
        "stated_values": [{"value": "…", "event_id": "01JC1"}],
    },
}  # fmt: skip
PROFILE = {"profile": _PROFILE, "as_of": AS_OF}
EXPLAIN: dict[str, Any] = {
    "customer_id": _ID,
    "field": "billing.balances",
    "value": [{"currency": "EUR", "balance_minor": 4990}],
    "rules": [
        {"figure": "balance", "reducer": "ledger", "meaning": "Money per currency in columns",
         "events": {"billing.invoice_issued": "balance + amount_minor"}},
    ],
    "event_count": 42,
    "effect_count": 1,
    "effects": [
        {"event_id": "01J9X", "source": "billing", "type": "billing.invoice_issued", "subject": "billing:A-9",
         "occurred_at": "2026-02-27T06:00:00Z", "logged_at": "2026-02-27T06:00:02Z",
         "topic": "billing.events", "partition": 3, "offset": 1042, "figures": ["balance"],
         "changes": [{"path": "EUR", "before": "(missing)",
                      "after": {"currency": "EUR", "balance_minor": 4990}}]},
    ],
}  # fmt: skip
CONSENTS = {"customer_id": _ID, "consent": _PROFILE["consent"], "as_of": AS_OF}

LOOKUP_REQUEST = {"identifiers": [{"type": "phone", "value": "+49 30/901820"}], "purpose": "inbound_call"}
LOOKUP = {
    "match": "ambiguous",
    "profile": None,
    "candidates": [
        {
            "customer_id": _ID, "display_name": "A… B…", "last_contact_at": "2026-03-01T10:42:07Z",
            "founder": "crm:4711", "reasons": [{"via": "phone:…820", "through": None, "status": "linking"}],
        },
        {
            "customer_id": _OTHER, "display_name": "C… B…", "last_contact_at": None, "founder": "crm:4712",
            "reasons": [{"via": "phone:…820", "through": None, "status": "rejected"}],
        },
    ],
    "merged_into": {},
    "unknown": [],
    "as_of": {**AS_OF, "last_event_at": None, "version": None},
}  # fmt: skip
TIMELINE_PAGE = {
    "customer_id": _ID,
    "entries": [
        {"event_id": "01J9Y", "type": "billing.payment_failed", "occurred_at": "2026-02-28T06:00:00Z",
         "channel": None, "subject": "billing:A-9", "title": "Payment failed: card expired",
         "amount_minor": 4990, "currency": "EUR"},
    ],
    "next_cursor": "WyIyMDI2LTAyLTI4VDA2OjAwOjAwWiIsIjhmMTRlNDUiXQ",
    "truncated": False,
    "as_of": AS_OF,
}  # fmt: skip
IDENTIFIERS = {
    "customer_id": _ID,
    "subjects": [
        {"subject": "crm:4711", "first_seen_at": "2024-05-02T08:00:01Z",
         "last_seen_at": "2026-03-01T10:42:08Z"},
    ],
    "identifiers": [
        {"type": "email", "value": "a…@…", "status": "linking", "verified_at": "2024-05-02T08:05:00Z",
         "sources": ["crm:4711"], "first_seen_at": "2024-05-02T08:00:01Z"},
    ],
    "related": [{"customer_id": _OTHER, "relation": "household", "via": "stated"}],
    "as_of": AS_OF,
}  # fmt: skip
MERGES = {
    "customer_id": _ID,
    "merges": [
        {
            "id": "mrg_5f2b8c0d9e1a7344", "at": "2026-02-01T10:00:00Z", "generation": "g7", "position": 18231,
            "kind": "merged", "rule": "stated", "before_count": 2, "after_count": 1, "truncated": False,
            "before": [
                {"customer_id": _ID, "founder": "crm:4711", "members": ["crm:4711"], "member_count": 1},
                {"customer_id": _OTHER, "founder": "web:v-81", "members": ["web:v-81"], "member_count": 1},
            ],
            "after": [
                {"customer_id": _ID, "founder": "crm:4711", "members": ["crm:4711", "web:v-81"],
                 "member_count": 2},
            ],
            "edges": [
                {"subject": "web:v-81", "other": "email:a…@…", "status": "linking", "strength": "stated",
                 "first_seen_at": "2026-02-01T10:00:00Z", "actor": None, "reason": None},
            ],
        }
    ],
    "complete": True,
    "as_of": AS_OF,
}  # fmt: skip
REVEAL_REQUEST = {"fields": ["phone"], "reason": "callback"}
REVEAL = {"customer_id": _ID, "fields": {"phone_number": "+4930901820"}, "as_of": AS_OF}

EVENT = {
    "specversion": "1.0", "id": "evt-1", "source": "shop/checkout", "type": "sales.order_placed",
    "time": "2026-03-01T10:42:07Z", "subject": "crm:4711",
    "data": {"order_id": "O-1", "amount_minor": 4990, "currency": "EUR", "channel": "web"},
}  # fmt: skip
EVENTS = {
    "accepted": 1,
    "rejected": 1,
    "sync_token": _TOKEN,
    "events": [
        {"index": 0, "id": "evt-1", "status": "accepted", "sync_token": _TOKEN, "problem": None},
        {
            "index": 1, "id": "evt-2", "status": "rejected", "sync_token": None,
            "problem": {"code": "wrong_shape", "pointer": "/data/amount_minor", "detail": "Field required"},
        },
    ],
}  # fmt: skip
PAIR = {"subject": "crm:4711", "other": "shop:88", "actor": "E-7", "reason": "father and son"}
COMMAND = {"event_id": "0b6f3a52-4a0e-4d0c-9d2b-7b1f2f0e8c11", "sync_token": _TOKEN}
STREAM = (
    "retry: 2000\n\n"
    "id: 18231.42\nevent: profile\n"
    f'data: {{"customer_id":"{_ID}","version":"18231.42","changed":["service","timeline"]}}\n\n'
    ": still here\n\n"
)

OPS_STATE: dict[str, Any] = {
    "at": "2026-03-01T10:42:08.120Z",
    "known_since": "2026-03-01T10:41:58.100Z",
    "generation": "g7",
    "overall": {
        "level": "behind",
        "sentence": "Behind by 1,204 events, catching up: about 12 s left.",
        "notes": ["1 dead letter of the last hour is open: unknown_type in sales.events."],
    },
    "store": {"answers": True, "answered_at": "2026-03-01T10:42:08.010Z"},
    "log": {"answers": True, "answered_at": "2026-03-01T10:42:08.120Z"},
    "lag": {
        "records": 1204, "events": 1204, "link_facts": 0, "seconds": 3.5, "change_per_second": -100.3,
        "seconds_left": 12.0,
    },
    "events_per_second": 2100.4,
    "topics": [{"topic": "sales.events", "lanes": 1, "events_per_second": 2100.4, "waiting": 1204}],
    "lanes": [
        {
            "topic": "sales.events", "partition": 0, "state": "behind", "next_offset": 48796,
            "assembled_offset": 48796, "end": 50000, "waiting": 1204, "waited_seconds": 3.5,
            "silent_seconds": 0.1, "worker": "scv-01f85bed",
        },
    ],
    "workers": [{"name": "scv-01f85bed", "host": "10.0.0.7", "lanes": ["sales.events-0"]}],
    "publishing": {
        "publishers": [{"name": "scv-publisher-b596464e", "host": "10.0.0.7", "lanes": ["scv.changes-0"]}],
        "waiting": 12,
    },
    "dead_letters": {
        "held": 3, "counted": 2, "open": 1, "redriven": 1, "discarded": 0, "complete": True, "older": False,
        "last_hour": 1,
        "tallies": [
            {
                "reason": "unknown_type", "topic": "sales.events", "count": 1, "last_hour": 1,
                "last_at": "2026-03-01T10:40:00.000Z",
            },
        ],
        "latest": [
            {
                "place": 0, "reason": "unknown_type", "pointer": "/type",
                "detail": "no model for type 'sales.order_plcaed'", "topic": "sales.events", "partition": 0,
                "offset": 48790, "logged_at": "2026-03-01T10:39:59.900Z",
                "written_at": "2026-03-01T10:40:00.000Z",
            },
        ],
    },
    "history": {
        "every_seconds": 5.0,
        "at": ["2026-03-01T10:42:03.110Z", "2026-03-01T10:42:08.120Z"],
        "lag_records": [1705, 1204], "lag_seconds": [4.0, 3.5], "events_per_second": [None, 2100.4],
        "dead_letters": [1, 1],
    },
}  # fmt: skip
