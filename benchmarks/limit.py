"""The ceiling: one process, one loop, written by hand for speed and for nothing else.

Per batch: group by key; per subject decode, fold, pack, assemble with what the last profile left; then one
pipeline of SET and HSET. The functions are scv's own, so what differs is everything that scv does for its
guarantees.

What makes it fast, and would be fair for anybody:
- Parts and views stay in memory, up to scv's own default bounds; the others are read with one MGET a batch.
- A profile is made once a batch and subject, and only its changed sections are written.
- Requests are packed and answers parsed in C (hiredis) on a bare socket, and the answers of one batch are
  awaited while the next one is read.
- librdkafka reads ahead in its own threads. The cyclic collector is off: nothing here makes cycles.

What it leaves out, on purpose: comparing before writing, checkpoints, dead letters, link facts, customers of
several subjects, indexes of identifiers and references, notices of changes, sharing lanes with others. After
a crash it would have to begin anew, with an empty store.
"""

from __future__ import annotations

import gc
import socket
from collections import OrderedDict
from typing import Any
from urllib.parse import urlsplit

import hiredis
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, Message, TopicPartition

from benchmarks.counting import EventCounter
from benchmarks.job import Job, Part, View, arguments, pack, unpack
from eventlog.topics import DOMAIN_TOPICS

# As many as scv takes in a round.
BATCH_RECORDS = 10_000
# A batch that is not full by then is taken as it is.
BATCH_SECONDS = 0.05
# As scv's own: what its setting `cache_mib` defaults to, an entry's cost beside its sections, and its views.
CACHE_BYTES = 256 * 2**20
ENTRY_BYTES = 700
VIEWS_MAX = 50_000


class Pipe:
    """A connection to Redis on which answers are awaited later. Exceptions: hiredis.ReplyError, OSError."""

    def __init__(self, url: str) -> None:
        at = urlsplit(url)
        self._socket = socket.create_connection((at.hostname, at.port or 6379))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._reader = hiredis.Reader()
        self._waiting = 0

    def send(self, requests: list[bytes]) -> None:
        """Send packed requests; their answers wait for `settle`."""
        self._socket.sendall(b"".join(requests))
        self._waiting += len(requests)

    def close(self) -> None:
        """Disconnect."""
        self._socket.close()

    def settle(self) -> Any:
        """Await all answers; gives the last one."""
        answer = None
        while self._waiting:
            answer = self._reader.gets()
            if answer is False:
                received = self._socket.recv(1 << 18)
                if not received:
                    raise ConnectionError("the store closed the connection")
                self._reader.feed(received)
                continue
            if isinstance(answer, hiredis.ReplyError):
                raise answer
            self._waiting -= 1
        return answer


class Customers:
    """States and views of subjects, the ones used last in memory, all of them in the store."""

    def __init__(self, url: str, group: str) -> None:
        self.pipe, self.group, self.job = Pipe(url), group, Job(group)
        self._parts: OrderedDict[str, tuple[Part, int]] = OrderedDict()
        self._views: OrderedDict[str, View] = OrderedDict()
        self._bytes = 0

    @property
    def remembered(self) -> int:
        """Bytes that the parts in memory are counted with."""
        return self._bytes

    def fold(self, records: list[Message]) -> None:
        """Fold a batch, no answer being awaited, and send what it changed."""
        groups: dict[bytes, list[Message]] = {}
        for record in records:
            groups.setdefault(record.key(), []).append(record)
        named = {key.decode(): found for key, found in groups.items()}
        self._load([subject for subject in named if subject not in self._parts])
        requests: list[bytes] = []
        for subject, found in named.items():
            requests += self._fold(subject, found)
        self.pipe.send(requests)
        self._trim()

    def _fold(self, subject: str, records: list[Message]) -> tuple[bytes, bytes]:
        job = self.job
        events = [job.decode(one.topic(), one.key(), one.value(), one.timestamp()[1]) for one in records]
        part = job.fold(self._parts[subject][0], subject, events)
        packed = pack(part)
        self._remember(subject, part, len(packed))
        sections, version, view = job.assemble(subject, part, self._views.get(subject))
        self._views[subject] = view
        self._views.move_to_end(subject)
        fields = [item for field in sections.items() for item in field]
        return (
            hiredis.pack_command(("SET", f"{self.group}:{subject}:state", packed)),
            hiredis.pack_command(("HSET", f"{self.group}:{subject}:profile", "version", version, *fields)),
        )

    def _load(self, subjects: list[str]) -> None:
        if not subjects:
            return
        self.pipe.send([hiredis.pack_command(("MGET", *[f"{self.group}:{one}:state" for one in subjects]))])
        for subject, packed in zip(subjects, self.pipe.settle(), strict=True):
            self._remember(subject, unpack(packed), len(packed or b""))

    def _remember(self, subject: str, part: Part, size_bytes: int) -> None:
        known = self._parts.get(subject)
        self._bytes += size_bytes + ENTRY_BYTES - (known[1] if known else 0)
        self._parts[subject] = (part, size_bytes + ENTRY_BYTES)
        self._parts.move_to_end(subject)

    def _trim(self) -> None:
        """Between batches: a batch keeps its own."""
        while self._bytes > CACHE_BYTES:
            _, (_, size_bytes) = self._parts.popitem(last=False)
            self._bytes -= size_bytes
        while len(self._views) > VIEWS_MAX:
            self._views.popitem(last=False)


def consumer(bootstrap: str, group: str) -> Consumer:
    """A client that reads all lanes of the domain topics from their beginning; it joins no group."""
    client = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": group,
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "auto.offset.reset": "earliest",
        }
    )
    topics = client.list_topics(timeout=10).topics
    client.assign(
        [
            TopicPartition(topic, partition, OFFSET_BEGINNING)
            for topic in DOMAIN_TOPICS
            for partition in topics[topic].partitions
        ]
    )
    return client


def main() -> None:
    """Run until killed."""
    told = arguments(__doc__)
    gc.disable()
    counter = EventCounter(told.counter)
    customers = Customers(told.redis, told.group)
    client = consumer(told.kafka, told.group)
    sent = 0
    while True:
        records = client.consume(BATCH_RECORDS, BATCH_SECONDS)
        for record in records:
            if record.error() is not None:
                raise KafkaException(record.error())
        # Before folding on, so that what is told as done has cost nothing of what comes.
        customers.pipe.settle()
        counter.add(sent)
        customers.fold(records)
        sent = len(records)


if __name__ == "__main__":
    main()
