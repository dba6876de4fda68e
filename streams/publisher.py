"""Publish the customers of one lane: snapshots, tombstones, the feed.

Invariants:
- A notice is a hint: what is published is the profile as it is now, once for all notices of a batch.
- Never an older version over a newer: what was published last is known before anything is written, or the
  lane is taken anew.
- What is written and the offset of the notices are one transaction, and only the latest taker of the lane can
  write. Redis is told afterwards; what it was not told is read again from the end of the topic.
- Only the active generation is published, whichever generation a notice is of: of a customer the topic keeps
  the latest notice only, so that of another generation may be all that is left. Whoever was paused over a
  promotion notices before he writes; what was under way just then comes before all that is told later.
- What is held and written at a time is bounded in bytes, however large profiles are.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import msgspec
from confluent_kafka import TopicPartition

from eventlog.errors import LogError
from eventlog.promotions import PromotionsLost
from eventlog.transactions import Entry, TransactionalProducer
from models.catalogue import CHANGES_TOPIC, GENERATIONS_TOPIC, PROFILES_TOPIC
from models.promotion import Active
from models.record import Lane
from projections.assembling import DOCUMENT_ORDER
from projections.snapshot import (
    REMOVED,
    PublishedVersion,
    Snapshot,
    Told,
    section_hashes,
    wire_snapshot,
)
from stores.keys import ACTIVE
from stores.publishing import FeedEntry, Found, Known, LaneState, PublishingStore, Walk
from stores.reading import LIVE
from stores.store import StoreAway

# A profile takes 8 kB, so some hundreds of them; one that is full of the longest names takes megabytes.
PORTION_BYTES_MAX = 8 * 1024 * 1024
READ_AT_ONCE = 16

_log = logging.getLogger("scv.publisher")


class Notice(msgspec.Struct):
    """What a worker says when it has written a profile; more is in the record, and is not needed."""

    customer_id: str


_read_notice = msgspec.json.Decoder(Notice).decode


def read_notice(value: bytes | None) -> Notice | None:
    """The notice in a record of `scv.changes`; None for what is none: only workers should write there."""
    if value is None:
        return None
    try:
        return _read_notice(value)
    except msgspec.MsgspecError as wrong:
        _log.warning("a record of %s is no notice and was passed over: %s", CHANGES_TOPIC, wrong)
        return None


class LanePublisher:
    """Publishes the customers of a partition of `scv.changes`, to the same one of `customer.profiles`.

    `state` is what the store keeps of the lane; `promotion` the last one of the log, as of when the lane was
    taken; `point` is told where a test may interfere.
    """

    def __init__(
        self,
        partition: int,
        store: PublishingStore,
        producer: TransactionalProducer,
        state: LaneState,
        promotion: int = 0,
        point: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.partition, self.lane = partition, str(Lane(CHANGES_TOPIC, partition))
        self.store, self.producer, self.state = store, producer, state
        self.promotion, self.point = promotion, point

    def publish(self, notices: Sequence[Notice], next_offset: int, group: Any) -> int:
        """Publish whom these notices name, and move the group to `next_offset`; gives how many were told.

        StoreAway or a LogError: nothing may be taken for done, the lane must be taken anew.
        """
        consumed = TopicPartition(CHANGES_TOPIC, self.partition, next_offset)
        return self._publish([one.customer_id for one in notices], (consumed, group))

    def publish_again(self, customer_ids: Sequence[str]) -> int:
        """Publish these customers, as far as they were not as of the active generation; else as `publish`."""
        return self._publish(customer_ids, None)

    def _publish(self, customer_ids: Sequence[str], consumed: tuple[TopicPartition, Any] | None) -> int:
        names, told = list(dict.fromkeys(customer_ids)), 0
        active = self.store.active()
        for found, is_last in self._portions(active, names):
            due = self._with_successors(active, self._due(active, found))
            # Nobody was ever told of an id that was merged away before it was published.
            entries = [one for one in due if one.state == LIVE or found[one.customer_id].known is not None]
            self.point("between read and write")
            if self.store.active() != active:
                # What is told by now is known, and is published as of the new promotion.
                return told + self._publish(names, consumed)
            # The offset of the notices goes with the last of what they brought.
            self._write(active, due, entries, consumed if is_last else None)
            told += len(entries)
        return told

    def _portions(self, active: Active, names: Sequence[str]) -> Iterator[tuple[dict[str, Found], bool]]:
        """Customers as they are, some megabytes at a time; and whether these are the last."""
        found: dict[str, Found] = {}
        size = 0
        names, cursor = self.store.unpublished(active, names, self.lane)
        self._compare(cursor)
        for at in range(0, len(names), READ_AT_ONCE):
            if size >= PORTION_BYTES_MAX:
                yield found, False
                found, size = {}, 0
            some, cursor = self.store.read(active, names[at : at + READ_AT_ONCE], self.lane)
            self._compare(cursor)
            found |= some
            size += sum(_size(one) for one in some.values())
        yield found, True

    def _compare(self, cursor: int | None) -> None:
        if cursor != self.state.published:
            raise StoreAway(
                f"{self.lane}: Redis holds another state of what was published than was left there"
            )

    def _due(self, active: Active, found: Mapping[str, Found]) -> list[Snapshot]:
        latest = max((one.known.version.promotion for one in found.values() if one.known), default=0)
        if latest > max(active.promotion, self.promotion):
            raise PromotionsLost(
                f"{self.lane}: customers were published as of promotion {latest}, but {GENERATIONS_TOPIC} "
                f"ends with {self.promotion}: the topic was made anew; docs/topics.md says what to do"
            )
        if latest > active.promotion:
            raise StoreAway(f"{ACTIVE} went back to {active.promotion}, after promotion {latest}")
        due = (_due(name, one, active) for name, one in found.items())
        return [one for one in due if one is not None]

    def _write(
        self,
        active: Active,
        due: Sequence[Snapshot],
        told: Sequence[Snapshot],
        consumed: tuple[TopicPartition, Any] | None,
    ) -> None:
        last = None
        if told or consumed is not None:
            entries = [_entry(one) for one in told]
            last = self.producer.write(PROFILES_TOPIC, self.partition, entries, *(consumed or ()))
        self.point("between write and note")
        published = {
            one.customer_id: Told(one.version, one.state, section_hashes(one.sections), ()) for one in told
        }
        # Of a promotion that changes nothing about a customer the followers of a feed need not hear.
        heard = [one for one in due if one.changed or one.state != LIVE or one.cause != "promotion"]
        self.store.note(published, active.generation, [feed_entry(one) for one in heard])
        self.point("between note and cursor")
        if last is not None:
            self.mark(last + 1)

    def _with_successors(self, active: Active, due: list[Snapshot]) -> list[Snapshot]:
        merged = [one.customer_id for one in due if one.state not in (LIVE, REMOVED)]
        successors = self.store.successors(active, merged)
        return [one._replace(merged_into=successors.get(one.customer_id)) for one in due]

    def mark(self, offset: int | None = None, *, walk: Walk | None = None, walked: int = 0) -> None:
        """Store up to where the store knows what was published, and how far a walk is. StoreAway."""
        before = self.state.published
        after = (before or 0) if offset is None else offset
        if not self.store.mark(self.lane, before, after, walk=walk, walked=walked):
            raise StoreAway(f"{self.lane}: Redis went back, or somebody else publishes here")
        self.state = LaneState(after, walked or self.state.walked, walk or self.state.walk)


def _size(found: Found) -> int:
    return 0 if found.profile is None else sum(map(len, found.profile.sections.values()))


def _due(customer_id: str, found: Found, active: Active) -> Snapshot | None:
    """What is to be told of a customer; None when all is told, or when there is nothing to tell (yet)."""
    profile, known = found
    if profile is None:
        if known is None or known.state != LIVE or known.version.promotion == active.promotion:
            return None
        # The generation that was promoted has no such customer.
        gone = PublishedVersion(active.promotion, 0, 0)
        return Snapshot(customer_id, gone, REMOVED, "", {}, [], "promotion")
    version = PublishedVersion.parse(f"{active.promotion}.{profile.version}")
    if known is not None and known.version >= version:
        return None
    if profile.state == LIVE:
        before = known.sections if known is not None else {}
        hashes = section_hashes(profile.sections)
        changed = [name for name in DOCUMENT_ORDER if name in hashes and before.get(name) != hashes[name]]
    elif known is not None and known.state != LIVE:
        # A tombstone upon a tombstone says nothing new.
        return None
    else:
        changed = []
    return Snapshot(
        customer_id,
        version,
        profile.state,
        profile.founder,
        profile.sections if profile.state == LIVE else {},
        changed,
        _cause(version, profile.state, known),
    )


def _cause(version: PublishedVersion, state: str, known: Known | None) -> str:
    """Why a snapshot is told: as much as two versions say of what came between them."""
    if state != LIVE:
        return state
    if known is None:
        return "first"
    if known.version.promotion != version.promotion:
        return "promotion"
    return "identity" if known.version.position != version.position else "events"


def _entry(snapshot: Snapshot) -> Entry:
    value, headers = wire_snapshot(snapshot)
    return snapshot.customer_id.encode(), value, headers


def feed_entry(snapshot: Snapshot) -> FeedEntry:
    """What followers of the feed are told of this snapshot."""
    version = f"{snapshot.version.position}.{snapshot.version.revisions}"
    return FeedEntry(snapshot.customer_id, version, snapshot.state, snapshot.changed)


def lanes_by_partition(counts: Mapping[str, int]) -> int:
    """How many lanes both topics have; LogError when they differ, or a topic of a publisher is missing."""
    for topic in (CHANGES_TOPIC, PROFILES_TOPIC, GENERATIONS_TOPIC):
        if topic not in counts:
            raise LogError(f"no topic {topic}; run `scv topics create`")
    changes, profiles = counts[CHANGES_TOPIC], counts[PROFILES_TOPIC]
    if changes != profiles:
        raise LogError(
            f"{CHANGES_TOPIC} has {changes} partitions and {PROFILES_TOPIC} {profiles}: "
            "a customer must be in the same one of both; create them with the same number"
        )
    return changes
