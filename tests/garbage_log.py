"""A log full of garbage, with good events in between: what to append, and what must become of it.

Guarantees:
- The same seed gives the same records; each is known to be an event, or to be none for one reason.
- All reasons come up about equally often, but of large values there are few: a log holds them all.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from random import Random
from typing import Any, NamedTuple

from models.catalogue import DOMAIN_TOPICS
from models.dead_letter import Reason
from models.record import Lane
from tests.histories import history, interleaved
from tests.history_garbage import GARBAGE
from tests.raw_batches import CODECS, Header, RawRecord

# Each is a quarter of a MiB and more.
LARGE_MAX = 60
# One record of this size is about all that Kafka takes in a batch.
HUGE_BYTES = 1_000_000
# Compressed it is next to nothing.
BOMB_BYTES = 8_000_000
BATCH_RECORDS_MAX = 40
# Headers are nobody's business unless they are CloudEvents': these change nothing.
JUNK: tuple[Header, ...] = (
    (b"", None),
    (b"trace", b"\x80" * 300),
    (b"trace", b""),
    (b"ce", b"\xff"),
    (b"\x01", b"\x00"),
)
# A record with such a name is read as one without headers: events in binary mode cannot afford it.
NO_NAMES: tuple[Header, ...] = ((b"\xff\xfe\x00", b"\x00\xff\xfe"), (b"stra\xdfe", b"latin-1"))


class Item(NamedTuple):
    """A record for a lane; `reason` says why it is no event, None that it is one."""

    lane: Lane
    record: RawRecord
    reason: Reason | None


class Batch(NamedTuple):
    """Records for one lane, in one batch."""

    lane: Lane
    codec: str
    records: list[RawRecord]


def garbage_log(seed: int, garbage: int, good: int, partitions: int) -> list[Item]:
    """`garbage` records that are no events, `good` ones that are, and a few oddities; each lane in order."""
    rng = Random(seed)
    events = [_of_history(rng, one) for one in _good(seed, good, partitions)]
    spoilt = [*_odd(rng, partitions), *_spoilt(rng, seed, garbage, partitions)]
    rng.shuffle(spoilt)
    # Events keep their order, garbage comes anywhere.
    kinds = [True] * len(events) + [False] * len(spoilt)
    rng.shuffle(kinds)
    events.reverse()
    return [(events if kind else spoilt).pop() for kind in kinds]


def batches(items: Iterable[Item], seed: int) -> Iterator[Batch]:
    """The same records in batches of any size and codec, each lane in order."""
    rng = Random(seed)
    waiting: dict[Lane, list[RawRecord]] = {}
    for item in items:
        # A batch that holds something huge holds nothing else: it would not be taken.
        alone = sum(len(field or b"") for field in item.record[:2]) > HUGE_BYTES // 4
        mine = waiting.setdefault(item.lane, [])
        if mine and (alone or rng.random() < 2 / BATCH_RECORDS_MAX):
            yield Batch(item.lane, rng.choice(list(CODECS)), mine)
            mine = waiting[item.lane] = []
        mine.append(item.record)
        if alone:
            bomb = len(item.record[1] or b"") > HUGE_BYTES
            yield Batch(item.lane, "zstd" if bomb else rng.choice(list(CODECS)), mine)
            waiting[item.lane] = []
    for lane, records in waiting.items():
        if records:
            yield Batch(lane, rng.choice(list(CODECS)), records)


def _good(seed: int, events: int, partitions: int) -> list[Any]:
    counts = dict.fromkeys(DOMAIN_TOPICS, partitions)
    lanes = history(seed, events=events, subjects=max(8, events // 60), garbage=0.0, partitions=counts)
    return interleaved(lanes, Random(seed))


def _of_history(rng: Random, record: Any) -> Item:
    headers = [(name.encode(), value) for name, value in record.headers]
    return Item(record.lane, (record.key, record.value, _with_junk(rng, headers)), None)


def _with_junk(rng: Random, headers: Sequence[Header]) -> list[Header]:
    kinds = JUNK if any(name.startswith(b"ce_") for name, _ in headers) else JUNK + NO_NAMES
    return [*headers, *(rng.choice(kinds) for _ in range(rng.choice((0, 0, 0, 1, 2, 100))))]


def _spoilt(rng: Random, seed: int, garbage: int, partitions: int) -> Iterator[Item]:
    """As many records, each spoilt in one of the ways that a history knows."""
    lanes = history(seed + 1, events=1_000, garbage=0.0, older=0.0, extra=0.0, binary=0.0, near=0.0, far=0.0)
    events = [json.loads(record.value or b"") for lane in lanes for record in lane]
    events = [event for event in events if "dataschema" not in event]
    reasons = [reason for reason in Reason if reason is not Reason.TOO_LARGE]
    large = min(LARGE_MAX, garbage // len(Reason))
    for number in range(garbage):
        reason = Reason.TOO_LARGE if number < large else rng.choice(reasons)
        while True:
            event = rng.choice(events)
            spoilt = GARBAGE[reason](rng, event, f"{event['type'].partition('.')[0]}.events")
            if spoilt.topic in DOMAIN_TOPICS:
                break
        headers = [(name.encode(), value) for name, value in spoilt.headers]
        lane = Lane(spoilt.topic, rng.randrange(partitions))
        yield Item(lane, (spoilt.key, spoilt.value, _with_junk(rng, headers)), reason)


def _odd(rng: Random, partitions: int) -> Iterator[Item]:
    """What no producer library would write, and what is as large as Kafka takes."""
    odd: list[tuple[RawRecord, Reason]] = [
        ((None, None, ()), Reason.NO_VALUE),
        ((b"", b"", ()), Reason.NO_VALUE),
        ((b"\xff\xfe", None, [(b"\xff", b"\xff")] * 1_000), Reason.NO_VALUE),
        ((b"crm:1", b"\x00" * 300_000, ()), Reason.TOO_LARGE),
        ((b"crm:1", rng.randbytes(300_000), ()), Reason.TOO_LARGE),
        ((b"crm:1", rng.randbytes(HUGE_BYTES), ()), Reason.TOO_LARGE),
        ((b"crm:1", b" " * BOMB_BYTES, ()), Reason.TOO_LARGE),
        ((rng.randbytes(HUGE_BYTES), b"{}", ()), Reason.NOT_A_CLOUD_EVENT),
        ((b"k" * HUGE_BYTES, b"{", ()), Reason.NOT_JSON),
        ((b"crm:1", b"[]", [(b"trace", rng.randbytes(HUGE_BYTES))]), Reason.NOT_A_CLOUD_EVENT),
        ((b"crm:1", b"{}", [(b"ce_specversion", b"1.0"), (b"ce_\xff", b"x")]), Reason.NOT_A_CLOUD_EVENT),
        ((b"crm:1", b"{}", [(b"ce_specversion", b"\xff")]), Reason.NOT_UTF8),
        ((b"crm:1", b"{}", [(b"ce_specversion", None)]), Reason.NOT_A_CLOUD_EVENT),
    ]
    for record, reason in odd * 2:
        yield Item(Lane(rng.choice(DOMAIN_TOPICS), rng.randrange(partitions)), record, reason)
