"""A part of the oracle: its events in log order, and what it still knows of each list of the profile.

Guarantees:
- Nothing here is summed up: a part holds events, and forgets only what docs/profile.md lets a part forget.

An entry (an order, a case, a permission, a trait…) is the list of the facts that were told about it, each
with the key of its event. Its fields, whether it is open and how new it is are asked of that list.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from tests.oracle_reading import Key, Told, instant, microseconds

IDENTIFIERS = "identity.identifiers"
CAMPAIGNS = "marketing.last_campaign"
INVOICES = "billing.open_invoices"
PROMISES = "service.promises.open"
THREADS = "service.social.unanswered"

REPEAT_WINDOW = 64
THREADS_KEPT = 40
WINDOW_DAYS = 90
DAY_US = 86_400_000_000

# What a part keeps of each list: twice what is shown, or what docs/profile.md says.
KEPT = {
    IDENTIFIERS: 50, "identity.addresses": 10, "identity.related": 10, "consent.permissions": 100,
    "consent.stated_values": 40, CAMPAIGNS: 20, "marketing.experiments": 40, "sales.orders": 40,
    "sales.opportunities": 40, "sales.baskets": 10, "sales.contracts": 40, "sales.products": 40,
    "service.cases": 40, "service.complaints": 40, PROMISES: 40, INVOICES: 100, "billing.refunds": 40,
    "billing.disputes": 40, "billing.subscriptions": 40, "traits": 50,
}  # fmt: skip

Name = str | tuple[str, str]
Fact = dict[str, Any]


class Said(NamedTuple):
    """One event's word on one entry; a field that is None states nothing."""

    event: Told
    fact: Fact


Entries = dict[Name, list[Said]]


def text(value: Any) -> str:
    """Compact JSON, the tie-break between equal keys."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def latest_of(stated: list[tuple[Key, Any]]) -> Any:
    """The value with the greatest key; among equal keys the one of greater text. None for no values."""
    if not stated:
        return None
    greatest = max(key for key, _ in stated)
    return max((value for key, value in stated if key == greatest), key=text)


def earliest_of(stated: list[tuple[Key, Any]]) -> Any:
    """The value with the least key; among equal keys the one of greater text. None for no values."""
    if not stated:
        return None
    least = min(key for key, _ in stated)
    return max((value for key, value in stated if key == least), key=text)


def latest(entry: list[Said], name: str) -> Any:
    """The latest value stated for one field of an entry."""
    return latest_of([(said.event.key, said.fact[name]) for said in entry if said.fact.get(name) is not None])


def total(entry: list[Said], currency: str | None) -> int | None:
    """What an entry's amounts in one currency add up to; None without a currency."""
    amounts = [said.fact["adds"] for said in entry if said.fact.get("adds") is not None]
    return None if currency is None else sum(minor for unit, minor in amounts if unit == currency)


def newest(entry: list[Said]) -> Key:
    """How new an entry is: the greatest key of all that named it."""
    return max(said.event.key for said in entry)


def is_open(path: str, entry: list[Said]) -> bool:
    """Whether an entry of this list is open; lists of which nothing is ever settled have none."""
    status = latest(entry, "status")
    match path:
        case "sales.orders":
            return status == "placed"
        case "sales.opportunities":
            stage = latest(entry, "stage")
            return not (stage in ("won", "lost") or stage.startswith("closed"))
        case "sales.contracts":
            return status == "signed"
        case "service.cases":
            return status not in (None, "resolved", "closed")
        case "service.complaints" | "service.promises.open" | "billing.disputes":
            return status == "open"
        case "billing.refunds":
            return status == "requested"
        case "billing.subscriptions":
            return status == "active"
        case "billing.open_invoices":
            currency = latest(entry, "currency")
            return currency is not None and total(entry, currency) > 0
    return False


def in_order(path: str, entries: Entries) -> list[Name]:
    """Open entries before closed ones, then newest first, then by name."""
    names = sorted(entries)
    names.sort(key=lambda name: newest(entries[name]), reverse=True)
    return sorted(names, key=lambda name: not is_open(path, entries[name]))


def when(data: dict[str, Any], name: str) -> str | None:
    """An instant of the data, as the profile shows it."""
    return None if data.get(name) is None else instant(microseconds(data[name]))


def facts_of(event: Told) -> Iterator[tuple[str, Name, Fact]]:
    """Every (list, entry, fact) that an event tells."""
    for kind, value, verified in event.identifiers:
        yield IDENTIFIERS, (kind, value), {"verified": verified}
    for key, value in event.data.get("traits", {}).items():
        yield (
            "traits",
            key,
            {"trait": {"key": key, "value": value, "source": event.source, "occurred_at": event.at}},
        )
    domain, _, kind = event.type.partition(".")
    yield from {"marketing": _marketing, "sales": _sales, "service": _service, "billing": _billing}[domain](
        event, kind
    )


def _marketing(event: Told, kind: str) -> Iterator[tuple[str, Name, Fact]]:
    data, at = event.data, event.at
    match kind:
        case "campaign_sent" | "campaign_opened" | "campaign_clicked":
            yield CAMPAIGNS, data["campaign_id"], {kind.removeprefix("campaign_") + "_at": at}
        case "consent_changed":
            permission = {name: data[name] for name in ("purpose", "channel", "granted")}
            permission |= {"since": at, "legal_basis": data["legal_basis"], "event_id": event.id}
            yield "consent.permissions", (data["purpose"], data["channel"]), {"permission": permission}
        case "preference_stated":
            for value in dict.fromkeys(data.get("values", [])):
                yield "consent.stated_values", value, {"event_id": event.id}
        case "experiment_assigned":
            assigned = {"experiment": data["experiment"], "variant": data["variant"], "assigned_at": at}
            yield "marketing.experiments", data["experiment"], {"assigned": assigned}
        case "profile_updated" if data.get("address") is not None:
            names = ("street_address", "postal_code", "locality", "country")
            use = data["address"].get("use", "other")
            address = {"use": use, **{name: data["address"].get(name) for name in names}}
            yield "identity.addresses", use, {"address": address}
        case "relationship_stated":
            yield "identity.related", (data["other_subject"], data["kind"]), {}


def _sales(event: Told, kind: str) -> Iterator[tuple[str, Name, Fact]]:
    data, at, get = event.data, event.at, event.data.get
    match kind:
        case "order_placed":
            placed = {"status": "placed", "placed_at": at, "promised_at": when(data, "promised_at")}
            placed |= {"channel": get("channel"), "currency": data["currency"]}
            yield (
                "sales.orders",
                data["order_id"],
                {**placed, "adds": (data["currency"], data["amount_minor"])},
            )
            for line in get("lines", []):
                yield (
                    "sales.products",
                    line["product_id"],
                    {"quantity": line["quantity"], "last_bought_at": at},
                )
        case "order_amended" | "order_cancelled":
            changed = {"currency": data["currency"], "adds": (data["currency"], data["delta_minor"])}
            status = {"status": "cancelled"} if kind == "order_cancelled" else {}
            yield "sales.orders", data["order_id"], changed | status
        case "order_delivered":
            delivered = {"status": "delivered", "delivered_at": at, "promised_at": when(data, "promised_at")}
            yield "sales.orders", data["order_id"], delivered
        case "order_returned":
            yield "sales.orders", data["order_id"], {"status": "returned"}
        case "opportunity_changed":
            names = ("stage", "amount_minor", "currency", "product_line")
            stated = {name: get(name) for name in names} | {"changed_at": at}
            yield "sales.opportunities", data["opportunity_id"], stated
        case "basket_abandoned":
            stated = {"amount_minor": data["amount_minor"], "currency": data["currency"], "abandoned_at": at}
            yield "sales.baskets", data["basket_id"], stated
        case "contract_signed":
            signed = {"status": "signed", "product_line": data["product_line"], "signed_at": at}
            yield "sales.contracts", data["contract_id"], signed | {"ends_at": when(data, "ends_at")}
        case "contract_ended":
            yield "sales.contracts", data["contract_id"], {"status": "ended", "ends_at": at}


def _service(event: Told, kind: str) -> Iterator[tuple[str, Name, Fact]]:
    data, at, get = event.data, event.at, event.data.get
    match kind:
        case "case_opened":
            opened = {"status": "open", "topic": data["topic"], "priority": get("priority"), "opened_at": at}
            yield (
                "service.cases",
                data["case_id"],
                opened | {"due_at": when(data, "due_at"), "url": get("url")},
            )
        case "case_changed":
            changed = {"status": get("status"), "owner_id": get("owner_id"), "due_at": when(data, "due_at")}
            yield "service.cases", data["case_id"], changed
        case "case_resolved":
            yield "service.cases", data["case_id"], {"status": "resolved"}
        case "case_reopened":
            yield "service.cases", data["case_id"], {"status": "open"}
        case "complaint_made":
            made = {"status": "open", "topic": data["topic"], "made_at": at}
            yield "service.complaints", data["complaint_id"], made
        case "complaint_settled":
            yield "service.complaints", data["complaint_id"], {"status": "settled", "settled_at": at}
        case "promise_made":
            made = {"status": "open", "text": data["text"], "due_at": when(data, "due_at"), "made_at": at}
            yield PROMISES, data["promise_id"], made
        case "promise_kept" | "promise_broken":
            yield PROMISES, data["promise_id"], {"status": kind.removeprefix("promise_")}


def _billing(event: Told, kind: str) -> Iterator[tuple[str, Name, Fact]]:
    data, at, get = event.data, event.at, event.data.get
    sign = {"invoice_issued": 1, "refund_issued": 1, "payment_received": -1, "credit_note_issued": -1}.get(
        kind
    )
    if sign is not None and get("invoice_id") is not None:
        fact = {"adds": (data["currency"], sign * data["amount_minor"])}
        if kind == "invoice_issued":
            fact |= {name: data[name] for name in ("amount_minor", "currency")} | {
                "due_at": when(data, "due_at")
            }
        yield INVOICES, data["invoice_id"], fact
    match kind:
        case "refund_requested" | "refund_issued":
            status = kind.removeprefix("refund_")
            stated = {"amount_minor": data["amount_minor"], "currency": data["currency"]}
            yield "billing.refunds", data["refund_id"], stated | {"status": status, status + "_at": at}
        case "invoice_disputed":
            stated = {
                "invoice_id": data["invoice_id"],
                "status": "open",
                "reason": get("reason"),
                "opened_at": at,
            }
            yield "billing.disputes", data["dispute_id"], stated
        case "dispute_settled":
            stated = {"status": "settled", "settled_at": at, "upheld": data["upheld"]}
            yield "billing.disputes", data["dispute_id"], stated
        case "subscription_started":
            stated = {name: get(name) for name in ("plan", "amount_minor", "currency", "interval")}
            stated |= {"status": "active", "renews_at": when(data, "renews_at")}
            yield "billing.subscriptions", data["subscription_id"], stated
        case "subscription_changed":
            stated = {
                "plan": get("plan"),
                "amount_minor": get("amount_minor"),
                "renews_at": when(data, "renews_at"),
            }
            yield "billing.subscriptions", data["subscription_id"], stated | {"status": "active"}
        case "subscription_cancelled":
            yield "billing.subscriptions", data["subscription_id"], {"status": "cancelled"}


@dataclass
class Part:
    """What one subject did in one lane."""

    topic: str
    partition: int
    subject: str
    revisions: int = 0
    events: list[Told] = field(default_factory=list)
    """All events but repeats, in log order."""
    lists: dict[str, Entries] = field(default_factory=lambda: {path: {} for path in KEPT})
    lost: set[str] = field(default_factory=set)
    threads: dict[str, Told] = field(default_factory=dict)
    """Open social threads: the mention that opened each."""
    reply_seconds: list[int] = field(default_factory=list)
    """Of each reply in an open thread."""
    first_days: list[int] = field(default_factory=list)
    """The days (since 1970) of the orders within 90 days of this part's first order."""
    window: deque[tuple[str, str]] = field(default_factory=lambda: deque(maxlen=REPEAT_WINDOW))

    def fold(self, event: Told) -> None:
        """The next event of this part, in log order."""
        self.revisions += 1
        if (event.source, event.id) in self.window:
            return
        self.window.append((event.source, event.id))
        self.events.append(event)
        self._remember(event)
        self._talk(event)
        if event.type == "sales.order_placed":
            self.first_days.append(event.key[0] // DAY_US)
            self.first_days = [day for day in self.first_days if day < min(self.first_days) + WINDOW_DAYS]

    def _remember(self, event: Told) -> None:
        """Tell the lists, then forget what is one too many."""
        told_of = set()
        for path, name, fact in facts_of(event):
            self.lists[path].setdefault(name, []).append(Said(event, fact))
            told_of.add(path)
        for path in told_of:
            entries = self.lists[path]
            if (excess := len(entries) - KEPT[path]) > 0:
                # A dict keeps the order of entering: of identifiers the first to enter goes first.
                goes = list(entries)[:excess] if path == IDENTIFIERS else in_order(path, entries)[-excess:]
                for name in goes:
                    del entries[name]
                self.lost.add(path)

    def _talk(self, event: Told) -> None:
        """Social threads open with a mention and close with a reply, in log order."""
        thread = event.data.get("thread_id")
        if event.type == "marketing.social_mentioned" and event.data.get("needs_reply") is not False:
            self.threads.setdefault(thread, event)
            if len(self.threads) > THREADS_KEPT:
                del self.threads[threads_in_order(self.threads)[-1]]
                self.lost.add(THREADS)
        if (
            event.type == "marketing.social_replied"
            and (mention := self.threads.pop(thread, None)) is not None
        ):
            self.reply_seconds.append(max(0, (event.key[0] - mention.key[0]) // 1_000_000))


def threads_in_order(threads: dict[str, Told]) -> list[str]:
    """Newest mention first, then by name."""
    return sorted(sorted(threads), key=lambda thread: threads[thread].key, reverse=True)
