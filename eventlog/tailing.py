"""Hear of new records as they are written: the end of a topic, followed.

Guarantees:
- From the moment it follows, every record is told, in its lane's order; what was there before is not.
- Where records may have been missed (the broker was away, the topic or lanes of it are new), `lost` is
  called: the listener looks for itself.
- Belongs to no consumer group and commits nothing.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from confluent_kafka import Consumer, KafkaException, TopicPartition

# A listener hears within some milliseconds; a closing one ends as soon.
POLL_SECONDS = 0.1
RECORDS_MAX = 1_000
# Between two tries to reach a broker that is away.
AGAIN_SECONDS = 1.0
METADATA_SECONDS = 2.0
# Whether there are more lanes: that happens seldom, and a listener looks for itself now and then.
LANES_SECONDS = 30.0

_log = logging.getLogger("scv.eventlog")


class Tail:
    """Follows a topic in a thread of its own, from its end on. `heard` gets keys, from that thread."""

    def __init__(
        self, bootstrap: str, topic: str, heard: Callable[[list[bytes]], None], lost: Callable[[], None]
    ) -> None:
        self.bootstrap, self.topic = bootstrap, topic
        self._heard, self._lost = heard, lost
        self._ended = threading.Event()
        self._warned = ""
        self.following = threading.Event()
        """Set while the topic is followed: what is written from now on will be told."""
        self._thread = threading.Thread(target=self._run, name=f"scv-tail-{topic}", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop following."""
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ended.is_set():
            try:
                self._follow()
            except KafkaException as failed:
                self._warn(failed.args[0].str())
            self.following.clear()
            self._ended.wait(AGAIN_SECONDS)

    def _warn(self, why: str) -> None:
        """Say why nothing is heard, once and not with every try."""
        if why != self._warned:
            _log.warning("%s: %s is not followed: %s", self.bootstrap, self.topic, why)
        self._warned = why

    def _partitions(self, consumer: Consumer) -> set[int]:
        """The numbers of the topic's lanes; none when there is no such topic."""
        return set(consumer.list_topics(self.topic, timeout=METADATA_SECONDS).topics[self.topic].partitions)

    def _follow(self) -> None:
        consumer = Consumer(
            {
                "bootstrap.servers": self.bootstrap,
                "group.id": "scv-tail",  # the client wants one; assigning by hand never joins it
                "client.id": "scv-tail",
                "enable.auto.commit": False,
                "auto.offset.reset": "latest",
                "fetch.wait.max.ms": 50,
                "log_level": 0,
            }
        )
        try:
            partitions = self._partitions(consumer)
            if not partitions:
                self._warn("there is no such topic yet; run `scv topics create`")
                return
            ends = [
                TopicPartition(
                    self.topic,
                    number,
                    consumer.get_watermark_offsets(TopicPartition(self.topic, number), METADATA_SECONDS)[1],
                )
                for number in partitions
            ]
            consumer.assign(ends)
            self.following.set()
            self._warned = ""
            # Between an earlier following and this one something may have been written.
            self._lost()
            looked_at = time.monotonic()
            while not self._ended.is_set():
                if time.monotonic() - looked_at > LANES_SECONDS:
                    looked_at = time.monotonic()
                    if self._partitions(consumer) != partitions:
                        return
                messages = consumer.consume(RECORDS_MAX, POLL_SECONDS)
                keys = []
                for message in messages:
                    if (error := message.error()) is not None:
                        raise KafkaException(error)
                    if (key := message.key()) is not None:
                        keys.append(key if isinstance(key, bytes) else str(key).encode())
                if keys:
                    self._heard(keys)
        finally:
            consumer.close()
