"""Seeded histories of all four domains: what Kafka could hold on a bad day.

Guarantees:
- The same seed and knobs give the same records, byte for byte: no clock, no randomness of the process.
- A lane is a list of records with offsets from 0 on, without gaps; one key goes to one partition of a topic.
- Every event type of the catalogue may come up, with every field that its model declares: a new type or field
  needs nothing here.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from zlib import crc32

from models.catalogue import DOMAIN_TOPICS, topic_of
from models.dead_letter import Reason
from models.event import EVENT_TYPES
from models.record import Record
from tests.history_data import DataMaker, Json
from tests.history_garbage import GARBAGE

START = datetime(2025, 1, 1, tzinfo=UTC)
# A source whose name begins like another's, and one below another: trust must tell them apart.
SOURCES = ("crm", "crm/berlin", "crmx", "shop/checkout", "billing", "panel")
# Characters that keys of stores and URLs treat specially, two colons, a letter outside ASCII.
ODD_SUBJECTS = ("web:{visitor}", "crm:a:b", "loyalty:Ünï-7", "shop:x/y?z=%20", "crm:}4711{", 'web:"quoted"\\')
NAMESPACES = ("crm", "billing", "web", "shop")

# Each is one bounded list that a burst overflows: its opening type oftener than those that change or settle.
BURSTS = (
    ("sales.order_placed",) * 4
    + ("sales.order_delivered", "sales.order_cancelled", "sales.order_amended", "sales.order_returned"),
    ("sales.opportunity_changed",),
    ("sales.basket_abandoned",),
    ("sales.contract_signed",) * 3 + ("sales.contract_ended",),
    ("service.case_opened",) * 3 + ("service.case_changed", "service.case_resolved", "service.case_reopened"),
    ("service.complaint_made",) * 3 + ("service.complaint_settled",),
    ("service.promise_made",) * 4 + ("service.promise_kept", "service.promise_broken"),
    ("marketing.social_mentioned",) * 5 + ("marketing.social_replied",),
    ("billing.invoice_issued",) * 6
    + ("billing.payment_received", "billing.credit_note_issued", "billing.refund_issued"),
    ("billing.payment_failed",) * 8 + ("billing.payment_received",),
    ("billing.refund_requested",) * 3 + ("billing.refund_issued",),
    ("billing.invoice_disputed",) * 3 + ("billing.dispute_settled",),
    ("billing.subscription_started",) * 3
    + ("billing.subscription_changed", "billing.subscription_cancelled"),
    ("marketing.consent_changed",),
    ("marketing.preference_stated",),
    ("marketing.campaign_sent", "marketing.campaign_opened", "marketing.campaign_clicked"),
    ("marketing.experiment_assigned",),
    ("marketing.relationship_stated",),
    ("marketing.page_viewed",),
)
# Beyond what any part keeps (100), so that a burst overflows its list.
BURST_MIN, BURST_MAX = 60, 160


@dataclass(frozen=True)
class Knobs:
    """What a history is made of; shares are probabilities from 0 to 1."""

    subjects: int = 12
    employees: int = 1
    events: int = 600
    """Records in all lanes together, garbage and repeats among them."""
    partitions: int | dict[str, int] = 3
    """Of each topic, or by topic."""
    days: int = 400
    """How long the history takes, by its log."""
    bursts: int = 2
    """Runs of one kind with new names each, at one subject: what overflows a bounded list."""
    near: float = 0.04
    """A repeat from at most 66 events back (the window is 64), half of them with other content."""
    far: float = 0.02
    """A repeat from further back: an event of its own, half of them with an equal key and other content."""
    garbage: float = 0.04
    """A record that is no event, for a reason chosen evenly among all reasons."""
    late: float = 0.1
    """An event that occurred up to 200 days before its log time."""
    future: float = 0.03
    """An event that claims to lie ahead of its log time, by exactly five minutes or more."""
    ties: float = 0.05
    """An event at one of a few instants, or with the key of an event in another topic."""
    binary: float = 0.1
    """CloudEvents in binary mode."""
    older: float = 0.3
    """Of the types that have one: data in an older schema version."""
    extra: float = 0.05
    """Fields that no model knows."""
    jitter: float = 0.05
    """A log time that goes back a little, as on a broker that keeps the producer's."""


@dataclass
class _Sent:
    """An event as it was put into the log."""

    event: Json
    record: Record


@dataclass
class _Burst:
    subject: str
    types: Sequence[str]
    left: int


@dataclass
class _Writer:
    """Writes one history; everything random comes from `rng`, in one order."""

    knobs: Knobs
    rng: random.Random
    subjects: list[str]
    employees: list[str]
    make: DataMaker
    now: datetime = START
    lanes: dict[tuple[str, int], list[Record]] = field(default_factory=dict)
    sent: dict[tuple[str, str], list[_Sent]] = field(default_factory=dict)
    counters: dict[str, int] = field(default_factory=dict)
    bursts: list[_Burst] = field(default_factory=list)
    too_large: int = 0

    def chance(self, share: float) -> bool:
        return self.rng.random() < share

    def write(self) -> None:
        """The next record: garbage, a repeat, a step of a burst, or any event."""
        step = timedelta(days=self.knobs.days) / max(1, self.knobs.events)
        self.now += step * self.rng.expovariate(1) if self.chance(0.8) else timedelta(0)
        if self.chance(self.knobs.garbage):
            return self.write_garbage()
        if self.chance(self.knobs.near + self.knobs.far) and self.write_repeat():
            return None
        if self.bursts and self.chance(0.5):
            burst = self.rng.choice(self.bursts)
            burst.left -= 1
            self.bursts = [one for one in self.bursts if one.left > 0]
            self.make.fresh += 1
            return self.put(self.event(self.rng.choice(burst.types), burst.subject, in_burst=True))
        kind = self.rng.choice(self.make.types)
        people = self.employees if kind == "service.employee_surveyed" and self.employees else self.subjects
        if self.employees and self.chance(0.01):
            people = self.employees
        return self.put(self.event(kind, self.rng.choice(people)))

    def event(self, kind: str, subject: str, *, in_burst: bool = False) -> Json:
        """A new event, structured."""
        source = self.rng.choice(SOURCES)
        self.counters[source] = self.counters.get(source, 0) + 1
        event = {"specversion": "1.0", "id": str(self.counters[source]), "source": source, "type": kind}
        event |= {"subject": subject, "time": self.time(), "data": self.make.data(kind, subject, in_burst)}
        if kind == "marketing.social_replied" and self.chance(0.7):
            self.answer(event)
        if self.chance(self.knobs.ties) and (other := self.sent_in_another_topic(kind, subject)):
            event |= {name: other[name] for name in ("id", "source", "time") if name in other}
        if event["time"] is None and self.chance(0.5):
            del event["time"]
        return event

    def answer(self, reply: Json) -> None:
        """Make it the answer to one of the latest mentions, about half an hour later, as sources do."""
        sent = self.sent.get(("marketing.events", reply["subject"]), [])
        mentions = [one for one in sent if one.event["type"] == "marketing.social_mentioned"]
        if mentions:
            mention = self.rng.choice(mentions[-3:])
            logged = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=mention.record.timestamp_ms)
            later = timedelta(seconds=self.rng.choice((-5, 0, 60, 1_799, 1_800, 1_801, 4_000)))
            reply["data"]["thread_id"] = mention.event["data"]["thread_id"]
            reply["time"] = self.make.instant(logged + later)

    def sent_in_another_topic(self, kind: str, subject: str) -> Json | None:
        topic = self.rng.choice([topic for topic in DOMAIN_TOPICS if topic != topic_of(kind)])
        sent = self.sent.get((topic, subject))
        return self.rng.choice(sent[-64:]).event if sent else None

    def time(self) -> str | None:
        """When it occurred, as a source might write that; None for "when the log took it"."""
        log, chance = self.now, self.rng.random()
        if chance < self.knobs.late:
            return self.make.instant(log - timedelta(days=200) * self.rng.random())
        if chance < self.knobs.late + self.knobs.future:
            ahead = self.rng.choice((0, 1, 1_000_000, 10**9, 10**14))
            log -= timedelta(microseconds=log.microsecond % 1_000)
            return self.make.instant(log + timedelta(minutes=5, microseconds=ahead), exact=True)
        if chance < self.knobs.late + self.knobs.future + self.knobs.ties:
            return self.make.instant(START + timedelta(days=30 * self.rng.randrange(3)))
        if self.chance(0.03):
            return None
        return self.make.instant(log - timedelta(seconds=5 * self.rng.random()))

    def put(self, event: Json) -> None:
        """An event into its lane, and into memory for repeats."""
        key = event["subject"].encode()
        value, headers = self.written(event)
        record = self.append(topic_of(event["type"]), key, value, headers)
        self.sent.setdefault((record.topic, event["subject"]), []).append(_Sent(event, record))

    def write_repeat(self) -> bool:
        """Something from earlier in a part, as far back as the knobs ask; False if there is nothing."""
        sent = self.sent.get(self.rng.choice(list(self.sent) or [("", "")]), [])
        near = self.rng.random() * (self.knobs.near + self.knobs.far) < self.knobs.near
        back = self.rng.choice((1, 2, 5, 30, 62, 63, 64, 65, 66)) if near else self.rng.randrange(70, 200)
        if back > len(sent):
            return False
        earlier = sent[-back]
        if self.chance(0.5):
            self.append(
                earlier.record.topic, earlier.record.key, earlier.record.value, earlier.record.headers
            )
            if not near:
                sent.append(earlier)
            return True
        event = earlier.event
        data = self.make.data(event["type"], event["subject"], False)
        if "invoice_id" in event["data"]:
            data["invoice_id"] = event["data"]["invoice_id"]
        altered = {name: value for name, value in event.items() if name != "dataschema"} | {"data": data}
        if self.chance(0.3):
            altered["time"] = self.time()
        self.put(altered)
        return True

    def write_garbage(self) -> None:
        """No event, for one of the reasons."""
        reasons = [reason for reason in Reason if reason is not Reason.TOO_LARGE or self.too_large < 2]
        reason = self.rng.choice(reasons)
        # Each such record has a quarter of a MiB; two in a history are enough.
        self.too_large += reason is Reason.TOO_LARGE
        event = self.event(self.rng.choice(self.make.types), self.rng.choice(self.subjects))
        spoilt = GARBAGE[reason](self.rng, event, topic_of(event["type"]))
        self.append(spoilt.topic, spoilt.key, spoilt.value, list(spoilt.headers))

    def written(self, event: Json) -> tuple[bytes, list[tuple[str, bytes]]]:
        """The bytes of an event, structured or binary, current version or older, as tidy as sources are."""
        event = dict(event)
        data = dict(event["data"])
        version = EVENT_TYPES[event["type"]].version
        if version > 1 and self.chance(self.knobs.older):
            version = 1
            if "granted" in data:
                data["status"] = "opt_in" if data.pop("granted") else "opt_out"
            else:
                data["total_minor"] = data.pop("amount_minor")
        if version == 1 or self.chance(0.2):
            base = self.rng.choice(("https://schemas.example/", "urn:x/", ""))
            event["dataschema"] = f"{base}{event['type']}/{version}" + self.rng.choice(("", "", "/"))
        if self.chance(self.knobs.extra):
            event["tenant"] = self.rng.choice(("eu", 7, True))
        event["data"] = self.make.with_extras(data) if self.chance(self.knobs.extra) else data
        if not self.chance(self.knobs.binary):
            return self.text(event), [("trace", b"\xff")] if self.chance(0.1) else []
        data = event.pop("data")
        headers = [(f"ce_{name}", str(value).encode()) for name, value in event.items() if value is not None]
        self.rng.shuffle(headers)
        return self.text(data), [*headers, ("content-type", b"application/json; charset=utf-8")]

    def text(self, value: Any) -> bytes:
        tidy = self.rng.randrange(3)
        if tidy == 0:
            return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
        return json.dumps(value, indent=1 if tidy == 1 and self.chance(0.1) else None).encode()

    def append(self, topic: str, key: bytes | None, value: bytes | None, headers: Any) -> Record:
        """The next record of the lane that a stable hash gives to the key."""
        count = self.knobs.partitions
        count = count if isinstance(count, int) else count.get(topic, 1)
        partition = crc32(key) % count if key is not None else self.rng.randrange(count)
        lane = self.lanes.setdefault((topic, partition), [])
        logged = (
            self.now - timedelta(seconds=self.rng.randrange(120))
            if self.chance(self.knobs.jitter)
            else self.now
        )
        millis = (logged - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
        record = Record(topic, partition, len(lane), millis, key, value, list(headers))
        lane.append(record)
        return record


def history(seed: int, **knobs: Any) -> list[list[Record]]:
    """The lanes of a history, each in log order, those with records. `knobs` are those of `Knobs`."""
    chosen = Knobs(**knobs)
    rng = random.Random(seed)
    plain = [f"{NAMESPACES[number % len(NAMESPACES)]}:{1_000 + number}" for number in range(chosen.subjects)]
    odd = rng.sample(ODD_SUBJECTS, min(len(ODD_SUBJECTS), chosen.subjects // 4))
    subjects = odd + plain[: chosen.subjects - len(odd)]
    employees = [f"employee:E-{number}" for number in range(chosen.employees)]
    writer = _Writer(chosen, rng, subjects, employees, DataMaker(rng, subjects))
    for _ in range(chosen.bursts):
        writer.bursts.append(
            _Burst(rng.choice(subjects), rng.choice(BURSTS), rng.randrange(BURST_MIN, BURST_MAX))
        )
    for _ in range(chosen.events):
        writer.write()
    return [writer.lanes[lane] for lane in sorted(writer.lanes)]


def interleaved(lanes: Iterable[Sequence[Record]], rng: random.Random) -> list[Record]:
    """All records, each lane in its order, the lanes mixed in runs of uneven length."""
    waiting = [list(reversed(lane)) for lane in lanes if lane]
    mixed: list[Record] = []
    while waiting:
        lane = rng.choice(waiting)
        for _ in range(rng.choice((1, 1, 2, 3, 10, 50))):
            if lane:
                mixed.append(lane.pop())
        waiting = [lane for lane in waiting if lane]
    return mixed


def shuffles(lanes: Iterable[Sequence[Record]], seed: int, *, redelivered: float = 0.1) -> list[Record]:
    """Another way in which the same lanes may reach a worker.

    The order inside a lane stays, but with the share `redelivered` a delivery is followed by a rewind: the
    lane goes back by up to 50 records and delivers them again. Whoever drops what lies below its checkpoint
    sees each lane once, in order.
    """
    rng = random.Random(seed)
    delivered = []
    for lane in lanes:
        again, position = [], 0
        while position < len(lane):
            ahead = position + rng.choice((1, 3, 20))
            again += lane[position:ahead]
            position = min(ahead, len(lane))
            if rng.random() < redelivered:
                position = max(0, position - rng.randrange(1, 50))
        delivered.append(again)
    return interleaved(delivered, rng)
