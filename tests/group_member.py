"""A member of a consumer group, as Kafka sees a worker: a consumer that is polled in a thread."""

from __future__ import annotations

import threading

from confluent_kafka import Consumer


class GroupMember:
    """Joins at once, under the client id of workers."""

    def __init__(self, kafka: str, group: str, topics: list[str]) -> None:
        self._consumer = Consumer(
            {"bootstrap.servers": kafka, "group.id": group, "client.id": "scv", "session.timeout.ms": 6_000,
             "log_level": 0}
        )  # fmt: skip
        self._consumer.subscribe(topics)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._ended.is_set():
            self._consumer.poll(0.05)
        self._consumer.close()

    def leave(self) -> None:
        """Leave the group."""
        self._ended.set()
        self._thread.join()
