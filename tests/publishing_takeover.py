"""A publisher in all but the group: lanes opened, restored, published as they stand, committed.

As a process of its own, which sends itself a signal when it gets to a point for the n-th time:

    python -m tests.publishing_takeover '{"bootstrap": …, "url": …, "point": …, "time": 1, "signal": …, …}'
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Self

from confluent_kafka import Consumer, TopicPartition

from eventlog.ends import lane_ends
from eventlog.errors import LogUnavailable
from eventlog.reading import read_lane
from eventlog.transactions import Fenced, TransactionalProducer
from models.catalogue import CHANGES_TOPIC as CHANGES
from stores.publishing import PublishingStore
from stores.store import StoreAway
from streams import following
from streams.following import Follower
from streams.publisher import LanePublisher, read_notice
from streams.publishing import GROUP, resume_at
from streams.restoring import restore

LANES = 2
PUBLISHED, SHUT_OUT, NOTICED = "published", "shut out", "noticed"


class Takeover:
    """A publisher that has taken all lanes: it shuts out all before it, and publishes what waits."""

    def __init__(self, bootstrap: str, url: str, point: Callable[[str], None] = lambda _: None) -> None:
        self.bootstrap = bootstrap
        self.store = PublishingStore(url)
        self.store.prepare()
        self._producers = [TransactionalProducer(bootstrap, f"{GROUP}-{lane}") for lane in range(LANES)]
        with ThreadPoolExecutor() as pool:
            list(pool.map(TransactionalProducer.open, self._producers))
        restored = restore(bootstrap, self.store, range(LANES), lambda: None)
        self.stopped = restored.stopped
        self._group = Consumer({"bootstrap.servers": bootstrap, "group.id": GROUP})
        self.next_offsets = [max(one.offset, 0) for one in self._resume_at()]
        self.lanes = {
            lane: LanePublisher(lane, self.store, self._producers[lane], state, point=point)
            for lane, state in restored.states.items()
        }
        self.followers = [Follower(bootstrap, lane) for lane in self.lanes.values()]

    def _resume_at(self) -> list[TopicPartition]:
        for _ in range(100):
            try:
                return resume_at(self._group, self.bootstrap, range(LANES))
            except LogUnavailable:
                # A broker that has just started makes its topic of offsets first.
                time.sleep(0.1)
        raise AssertionError("the group's offsets were never told")

    def publish(self) -> int:
        """Publish the notices that wait in each lane, as one batch a lane; gives how many were told."""
        told = 0
        for (_, lane), (_, end) in sorted(lane_ends(self.bootstrap, [CHANGES]).items()):
            records = list(read_lane(self.bootstrap, CHANGES, lane, self.next_offsets[lane], end))
            if records:
                notices = [one for record in records if (one := read_notice(record.value)) is not None]
                group = self._group.consumer_group_metadata()
                told += self.lanes[lane].publish(notices, records[-1].offset + 1, group)
                self.next_offsets[lane] = records[-1].offset + 1
        return told

    def follow(self) -> int:
        """Publish all customers anew, if another generation was promoted; gives in how many portions."""
        portions = 0
        for follower in self.followers:
            while follower.step(self.store.active()):
                portions += 1
        return portions

    def close(self) -> None:
        """Let go of everything."""
        for follower in self.followers:
            follower.close()
        for producer in self._producers:
            producer.close()
        self._group.close()
        self.store.close()

    def __enter__(self) -> Self:
        """This publisher."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()


def main(given: dict[str, Any]) -> None:
    """Take the lanes, publish, and follow promotions; at the point, stop or die by the signal."""
    following.PORTION_NOTICES_MAX = given["portion"]
    waiting = [given["point"]] * given["time"]

    def point(name: str) -> None:
        if name in waiting:
            waiting.pop()
            if not waiting:
                os.kill(os.getpid(), getattr(signal, given["signal"]))

    try:
        with Takeover(given["bootstrap"], given["url"], point) as publisher:
            publisher.publish()
            publisher.follow()
        print(PUBLISHED)
    except Fenced:
        print(SHUT_OUT)
    except StoreAway:
        print(NOTICED)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
