"""What Kafka knows of a running installation: where lanes end, which processes have them, what is published.

Guarantees:
- Asks only: it joins no group, commits nothing, reads no record.
- One look is about `ANSWER_SECONDS` of waiting at most, whatever is away; a broker that answers nothing is a
  LogUnavailable, one that answers some of it leaves the rest unknown.
- What a broker does not tell is None and never an empty list: the embedded one names no members of a group.

Asked by the client's older calls: its newer ones (`describe_consumer_groups`, `list_offsets`) end the process
with a failed assertion of librdkafka when a broker goes away while they are under way.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Collection
from typing import Any, NamedTuple

from confluent_kafka import Consumer, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient

from eventlog.embedded import CLUSTER_ID as EMBEDDED_CLUSTER_ID
from eventlog.errors import LogUnavailable
from eventlog.generations import generations_in
from eventlog.topics import PUBLISHER_GROUP, worker_group
from models.catalogue import link_topic
from models.record import Lane

# A broker that is up answers in milliseconds; whoever looks at the page is not kept from the rest of it.
ANSWER_SECONDS = 3.0
ANSWER_SECONDS_MIN = 0.2
# Of a member's UUID: enough to find it in the broker's log, and to tell some hundred apart.
NAME_CHARACTERS = 8
# Instants by which the protocol means the end and the beginning of a lane.
LATEST, EARLIEST = -1, -2

_SHARING = frozenset({"PreparingRebalance", "CompletingRebalance"})


class Member(NamedTuple):
    """A process of a group: a short name, the address it came from, and the lanes it has."""

    name: str
    host: str
    lanes: tuple[Lane, ...]


class Group(NamedTuple):
    """The processes that share lanes; `members` is None where the broker does not tell them.

    `sharing`: lanes are being shared out anew, and none is anybody's until that is done.
    """

    members: tuple[Member, ...] | None
    sharing: bool = False


class Observed(NamedTuple):
    """One look. `ends` is at least what a lane held; `unpublished`: notices that no publisher has committed.

    `workers` are those of the `generation`; `generations` are all that there are. A lane that has no leader
    for a moment is left out of `ends`.
    """

    generation: str
    generations: tuple[str, ...]
    ends: dict[Lane, int]
    workers: Group
    publishers: Group
    unpublished: int | None


class LogObserver:
    """Asks one cluster, with clients that stay connected; for one thread at a time."""

    def __init__(self, bootstrap: str) -> None:
        self._bootstrap = bootstrap
        self._clients: tuple[Any, Any] | None = None
        self._deadline = 0.0

    def look(self, generation: str, lanes: Collection[Lane], notices: Collection[Lane]) -> Observed:
        """The ends of lanes and link logs, a generation's workers, what waits of `notices`.

        LogUnavailable.
        """
        self._deadline = time.monotonic() + ANSWER_SECONDS
        consumer, admin = self._connected()
        try:
            known = consumer.list_topics(timeout=self._left())
        except KafkaException as failed:
            raise LogUnavailable(f"{self._bootstrap}: {failed.args[0].str()}") from None
        generations = generations_in(known.topics)
        logs = {Lane(link_topic(one), 0) for one in generations} - {*lanes}
        lanes = [*lanes, *sorted(logs)]
        held = self._offsets(consumer, [*lanes, *notices], LATEST)
        told = known.cluster_id != EMBEDDED_CLUSTER_ID
        return Observed(
            generation,
            tuple(generations),
            {lane: held[lane] for lane in lanes if lane in held},
            self._group(admin, worker_group(generation)) if told else Group(None),
            self._group(admin, PUBLISHER_GROUP) if told else Group(None),
            self._unpublished(consumer, held, notices),
        )

    def _connected(self) -> tuple[Any, Any]:
        if self._clients is None:
            # A broker that is back is seen to be back at the next look.
            settings = {
                "bootstrap.servers": self._bootstrap,
                "log_level": 0,
                "reconnect.backoff.max.ms": 1_000,
            }
            # Asking what a group has committed joins it no more than asking for its members does.
            own = {"group.id": PUBLISHER_GROUP, "enable.auto.commit": False}
            self._clients = Consumer({**settings, **own}), AdminClient(settings)
        return self._clients

    def _left(self) -> float:
        return max(ANSWER_SECONDS_MIN, self._deadline - time.monotonic())

    def _offsets(self, consumer: Any, lanes: Collection[Lane], which: int) -> dict[Lane, int]:
        asked = [TopicPartition(*lane, which) for lane in lanes]
        try:
            answers = consumer.offsets_for_times(asked, timeout=self._left()) if asked else []
        except KafkaException:
            return {}
        return {Lane(one.topic, one.partition): one.offset for one in answers if one.error is None}

    def _unpublished(self, consumer: Any, held: dict[Lane, int], notices: Collection[Lane]) -> int | None:
        """Notices beyond what the publishers have committed."""
        first = self._offsets(consumer, notices, EARLIEST)
        if not all(lane in held and lane in first for lane in notices):
            return None
        asked = [TopicPartition(*lane) for lane in notices]
        try:
            answers = consumer.committed(asked, timeout=self._left()) if asked else []
        except KafkaException:
            return None
        done = {Lane(one.topic, one.partition): one.offset for one in answers if one.error is None}
        return sum(max(0, held[lane] - max(first[lane], done.get(lane, 0))) for lane in notices)

    def _group(self, admin: Any, name: str) -> Group:
        try:
            found = admin.list_groups(name, timeout=self._left())
        except KafkaException:
            return Group(None)
        members = [
            Member(_short(one.client_id, one.id), one.client_host.lstrip("/"), _assigned(one.assignment))
            for group in found
            for one in group.members
        ]
        return Group(tuple(sorted(members)), any(group.state in _SHARING for group in found))


def _assigned(raw: bytes) -> tuple[Lane, ...]:
    """The lanes of a member, as the consumer protocol writes them; none while they are being shared out."""
    if not raw:
        return ()
    (topics,) = struct.unpack_from(">xxi", raw)
    at, lanes = 6, []
    for _ in range(topics):
        (length,) = struct.unpack_from(">h", raw, at)
        topic = raw[at + 2 : at + 2 + length].decode()
        (count,) = struct.unpack_from(">i", raw, at + 2 + length)
        at += 6 + length
        lanes += [Lane(topic, one) for one in struct.unpack_from(f">{count}i", raw, at)]
        at += 4 * count
    return tuple(sorted(lanes))


def _short(client_id: str, member_id: str) -> str:
    """`scv-01f85bed` of the member that the broker calls `scv-01f85bed-9f49-42d5-966e-4e154ad7c474`."""
    return f"{client_id}-{member_id.removeprefix(client_id).lstrip('-')[:NAME_CHARACTERS]}"
