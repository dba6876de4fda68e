"""Publish the customers of one lane of change notices: snapshots, tombstones, the feed.

Invariants:
- A notice is a hint: what is published is the profile as it is now, once for all notices of a batch.
- Never an older version over a newer: what was published last is known before anything is written, or the
  lane is taken anew.
- What is written and the offset of the notices are one transaction, and only the latest taker of the lane can
  write. Redis is told afterwards; what it was not told is read again from the end of the topic.
- Only the active generation is published, whichever generation a notice is of: of a customer the topic keeps
  the latest notice only, so that of another generation may be all that is left.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
from confluent_kafka import TopicPartition

from eventlog.admin import lane_ends
from eventlog.errors import LogError
from eventlog.reading import read_batches
from eventlog.transactions import Entry, TransactionalProducer
from models.catalogue import CHANGES_TOPIC, PROFILES_TOPIC
from models.record import Lane, Record
from projections.assembling import DOCUMENT_ORDER
from projections.snapshot import (
    PublishedVersion,
    Snapshot,
    Told,
    read_snapshot,
    section_hashes,
    wire_snapshot,
)
from stores.publishing import Active, FeedEntry, Found, Known, PublishingStore
from stores.reading import LIVE
from stores.store import StoreAway

_log = logging.getLogger("scv.publisher")


class Notice(msgspec.Struct):
    """What a worker says when it has written a profile; more is in the record, and is not needed."""

    customer_id: str


_read_notice = msgspec.json.Decoder(Notice).decode


class TopicRecreated(LogError):
    """What was published is not in the topic any more: somebody made it anew, and a person must decide."""


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

    `cursor` is up to where the store knows what was published; `point` is told where a test may interfere.
    """

    def __init__(
        self,
        partition: int,
        store: PublishingStore,
        producer: TransactionalProducer,
        cursor: int,
        point: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.partition, self.lane = partition, str(Lane(CHANGES_TOPIC, partition))
        self.store, self.producer, self.cursor, self.point = store, producer, cursor, point

    def publish(self, notices: Sequence[Notice], next_offset: int, group: Any) -> int:
        """Publish whom these notices name, and move the group to `next_offset`; gives how many were told.

        StoreAway or a LogError: nothing may be taken for done, the lane must be taken anew.
        """
        active = self.store.active()
        named = dict.fromkeys(one.customer_id for one in notices)
        found, cursor = self.store.read(active, list(named), self.lane)
        if cursor != self.cursor:
            raise StoreAway(
                f"{self.lane}: Redis holds another state of what was published than was left there"
            )
        due = [one for one in map(_due, found, found.values(), [active] * len(found)) if one is not None]
        due = self._with_successors(active, due)
        # Nobody was ever told of an id that was merged away before it was published.
        told = [one for one in due if one.state == LIVE or found[one.customer_id].known is not None]
        self.point("between read and write")
        consumed = TopicPartition(CHANGES_TOPIC, self.partition, next_offset)
        last = self.producer.write(
            PROFILES_TOPIC, self.partition, [_entry(one) for one in told], consumed, group
        )
        self.point("between write and note")
        published = {
            one.customer_id: Told(one.version, one.state, section_hashes(one.sections), ()) for one in told
        }
        feed = [_feed_entry(one.customer_id, one.version, one.state, one.changed) for one in due]
        self.store.note(published, active.generation, feed)
        self.point("between note and cursor")
        if last is not None:
            self._mark(last + 1)
        return len(told)

    def _with_successors(self, active: Active, due: list[Snapshot]) -> list[Snapshot]:
        merged = [one.customer_id for one in due if one.state != LIVE]
        successors = self.store.successors(active, merged)
        return [one._replace(merged_into=successors.get(one.customer_id)) for one in due]

    def _mark(self, offset: int) -> None:
        if not self.store.mark(self.lane, self.cursor, offset):
            raise StoreAway(f"{self.lane}: Redis went back, or somebody else publishes here")
        self.cursor = offset


def _due(customer_id: str, found: Found, active: Active) -> Snapshot | None:
    """What is to be told of a customer; None when all is told, or when there is nothing to tell (yet)."""
    profile, known = found
    if profile is None:
        return None
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


def _feed_entry(
    customer_id: str, version: PublishedVersion, state: str, sections: Sequence[str]
) -> FeedEntry:
    return FeedEntry(customer_id, f"{version.position}.{version.revisions}", state, sections)


def restore(
    bootstrap: str, store: PublishingStore, partitions: Sequence[int], pause: Callable[[], None]
) -> dict[int, int]:
    """Tell the store what was published and it does not know; gives the cursor of each lane, now at its end.

    Called when nobody else can write to these lanes any more. `pause` is called now and then. TopicRecreated
    when the store knows of more than there is.
    """
    lanes = {partition: str(Lane(CHANGES_TOPIC, partition)) for partition in partitions}
    stored = store.cursors(list(lanes.values()))
    held = lane_ends(bootstrap, [PROFILES_TOPIC])
    ranges: dict[tuple[str, int], tuple[int, int]] = {}
    for partition, lane in lanes.items():
        earliest, end = held[PROFILES_TOPIC, partition]
        cursor = stored[lane]
        if cursor is not None and cursor > end:
            raise TopicRecreated(
                f"{PROFILES_TOPIC}[{partition}] ends at {end}, but Redis knows of records up to {cursor}: "
                "the topic was made anew; docs/topics.md says how to publish everything anew"
            )
        ranges[PROFILES_TOPIC, partition] = (max(earliest, cursor or 0), end)
    # Followers were told, unless a publisher ended just then; of a store that lost all nobody waits for that.
    followed = {partition for partition, lane in lanes.items() if stored[lane] is not None}
    active = store.active() if any(start < end for start, end in ranges.values()) else None
    for batch in read_batches(bootstrap, ranges):
        pause()
        _note_again(store, active, batch, followed)
    cursors = {}
    for partition, lane in lanes.items():
        end = ranges[PROFILES_TOPIC, partition][1]
        if stored[lane] != end and not store.mark(lane, stored[lane], end):
            raise StoreAway(f"{lane}: somebody else publishes here")
        cursors[partition] = end
    return cursors


def _note_again(
    store: PublishingStore, active: Active | None, batch: Sequence[Record], followed: set[int]
) -> None:
    told: dict[str, Told] = {}
    feed: dict[str, FeedEntry] = {}
    for record in batch:
        try:
            customer_id = (record.key or b"").decode()
            one = read_snapshot(record.value, record.headers)
        except (ValueError, msgspec.MsgspecError) as wrong:
            _log.warning("%s is no snapshot and was passed over: %s", record.place, wrong)
            continue
        known = told.get(customer_id)
        if known is not None and known.version > one.version:
            continue
        told[customer_id] = one
        if active is not None and record.partition in followed and one.version.promotion == active.promotion:
            feed[customer_id] = _feed_entry(customer_id, one.version, one.state, one.changed)
    store.note(told, None if active is None else active.generation, list(feed.values()))


def lanes_by_partition(counts: Mapping[str, int]) -> int:
    """How many lanes both topics have; LogError when one is missing or they differ."""
    for topic in (CHANGES_TOPIC, PROFILES_TOPIC):
        if topic not in counts:
            raise LogError(f"no topic {topic}; run `scv topics create`")
    changes, profiles = counts[CHANGES_TOPIC], counts[PROFILES_TOPIC]
    if changes != profiles:
        raise LogError(
            f"{CHANGES_TOPIC} has {changes} partitions and {PROFILES_TOPIC} {profiles}: "
            "a customer must be in the same one of both; create them with the same number"
        )
    return changes
