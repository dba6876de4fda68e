"""Tell a store what was published and it does not know: after a crash, or when it went back or was lost.

Invariants:
- What was published is what the topic holds: its end, from where the store knows it, is read and noted.
- A lane whose topic holds less than the store knows of is stopped, with the reason: a person must decide. The
  others go on.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import NamedTuple

import msgspec

from eventlog.ends import lane_ends
from eventlog.errors import LogError
from eventlog.promotions import PromotionsLost
from eventlog.reading import read_batches
from models.catalogue import CHANGES_TOPIC, GENERATIONS_TOPIC, PROFILES_TOPIC
from models.promotion import Active
from models.record import Lane, Record
from projections.snapshot import Told, read_snapshot
from stores.publishing import FeedEntry, LaneState, PublishingStore
from stores.store import StoreAway

_log = logging.getLogger("scv.publisher")


class TopicRecreated(LogError):
    """What was published is not in the topic any more: somebody made it anew, and a person must decide."""


class Restored(NamedTuple):
    """By partition: what the store keeps of each lane, the cursor now at its end; why others are stopped."""

    states: dict[int, LaneState]
    stopped: dict[int, str]


def restore(
    bootstrap: str, store: PublishingStore, partitions: Sequence[int], pause: Callable[[], None]
) -> Restored:
    """Tell the store what was published and it does not know.

    Called when nobody else can write to these lanes any more. `pause` is called now and then. PromotionsLost
    when something was published as of a promotion that the store has not heard of.
    """
    lanes = {partition: str(Lane(CHANGES_TOPIC, partition)) for partition in partitions}
    stored = store.lanes(list(lanes.values()))
    stopped: dict[int, str] = {}
    held = lane_ends(bootstrap, [PROFILES_TOPIC])
    ranges: dict[tuple[str, int], tuple[int, int]] = {}
    for partition, lane in lanes.items():
        earliest, end = held[PROFILES_TOPIC, partition]
        cursor = stored[lane].published
        if cursor is not None and cursor > end:
            stopped[partition] = (
                f"{PROFILES_TOPIC}[{partition}] ends at {end}, but Redis knows of records up to {cursor}: "
                "the topic was made anew; docs/topics.md says how to publish everything anew"
            )
            continue
        ranges[PROFILES_TOPIC, partition] = (max(earliest, cursor or 0), end)
    # Followers were told, unless a publisher ended just then; of a store that lost all nobody waits for that.
    followed = {partition for partition, lane in lanes.items() if stored[lane].published is not None}
    active = store.active() if any(start < end for start, end in ranges.values()) else None
    for batch in read_batches(bootstrap, ranges):
        pause()
        _note_again(store, active, batch, followed)
    states = {}
    for partition, lane in lanes.items():
        if partition in stopped:
            continue
        end = ranges[PROFILES_TOPIC, partition][1]
        before = stored[lane]
        if before.published != end and not store.mark(lane, before.published, end):
            raise StoreAway(f"{lane}: somebody else publishes here")
        states[partition] = before._replace(published=end)
    return Restored(states, stopped)


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
        if active is not None and one.version.promotion > active.promotion:
            raise PromotionsLost(
                f"{record.place} was published as of promotion {one.version.promotion}, but the last one is "
                f"{active.promotion}: {GENERATIONS_TOPIC} was made anew; docs/topics.md says what to do"
            )
        told[customer_id] = one
        if active is not None and record.partition in followed and one.version.promotion == active.promotion:
            version = f"{one.version.position}.{one.version.revisions}"
            feed[customer_id] = FeedEntry(customer_id, version, one.state, one.changed)
    store.note(told, None if active is None else active.generation, list(feed.values()))
