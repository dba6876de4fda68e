"""What Kafka knows of a running installation: where lanes end, which processes have them, what is published.

Guarantees:
- Asks only: it joins no group, commits nothing, reads no record.
- One look is at most `ANSWER_SECONDS` of waiting, whatever is away.
- What a broker does not tell is None and never an empty list: the embedded one names no members of a group.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from typing import Any, NamedTuple

from confluent_kafka import ConsumerGroupState, ConsumerGroupTopicPartitions, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from eventlog.errors import LogUnavailable
from eventlog.topics import PUBLISHER_GROUP, worker_group
from models.record import Lane

# A broker that is up answers in milliseconds; whoever looks at the page is not kept from the rest of it.
ANSWER_SECONDS = 3.0
# Of a member's UUID: enough to find it in the broker's log, and to tell some hundred apart.
NAME_CHARACTERS = 8

_AT_WORK = frozenset({ConsumerGroupState.STABLE})
_SHARING = frozenset({ConsumerGroupState.PREPARING_REBALANCING, ConsumerGroupState.COMPLETING_REBALANCING})


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

    `workers` are those of the `generation`. A broker that tells ends and nothing of groups leaves those None.
    """

    generation: str
    ends: dict[Lane, int]
    workers: Group
    publishers: Group
    unpublished: int | None


class LogObserver:
    """Asks one cluster, with one client that stays connected; for one thread at a time."""

    def __init__(self, bootstrap: str) -> None:
        self._bootstrap = bootstrap
        self._client: AdminClient | None = None

    def look(self, generation: str, lanes: Collection[Lane], notices: Collection[Lane]) -> Observed:
        """The ends of lanes, the workers of a generation, and what waits of `notices`. LogUnavailable."""
        if self._client is None:
            self._client = AdminClient({"bootstrap.servers": self._bootstrap, "log_level": 0})
        client, workers = self._client, worker_group(generation)
        deadline = time.monotonic() + ANSWER_SECONDS
        # All are asked before the first answer is waited for.
        groups = client.describe_consumer_groups([workers, PUBLISHER_GROUP], request_timeout=ANSWER_SECONDS)
        latest = _asked(_ends, client, [*lanes, *notices])
        earliest = _asked(_earliest, client, notices)
        committed = _asked(_committed, client, notices)

        def answer(future: Any) -> Any:
            return future.result(max(0.0, deadline - time.monotonic()))

        try:
            held = _offsets(latest, answer)
            if not latest:
                # Then only this says whether anybody answers.
                answer(groups[workers])
        except KafkaException as failed:
            raise LogUnavailable(f"{self._bootstrap}: {failed.args[0].str()}") from None
        except TimeoutError:
            raise LogUnavailable(f"{self._bootstrap}: no answer in {ANSWER_SECONDS:g} s") from None
        return Observed(
            generation,
            {lane: held[lane] for lane in lanes if lane in held},
            _group(groups[workers], answer),
            _group(groups[PUBLISHER_GROUP], answer),
            _unpublished(held, earliest, committed, answer),
        )


Answer = Callable[[Any], Any]
Asking = Callable[[AdminClient, list[TopicPartition]], dict[Any, Any]]


def _asked(asking: Asking, client: AdminClient, lanes: Collection[Lane]) -> dict[Any, Any]:
    """Futures by what was asked; the client refuses to ask of nothing."""
    return asking(client, [TopicPartition(*lane) for lane in lanes]) if lanes else {}


def _ends(client: AdminClient, lanes: list[TopicPartition]) -> dict[Any, Any]:
    return client.list_offsets(dict.fromkeys(lanes, OffsetSpec.latest()), request_timeout=ANSWER_SECONDS)


def _earliest(client: AdminClient, lanes: list[TopicPartition]) -> dict[Any, Any]:
    return client.list_offsets(dict.fromkeys(lanes, OffsetSpec.earliest()), request_timeout=ANSWER_SECONDS)


def _committed(client: AdminClient, lanes: list[TopicPartition]) -> dict[Any, Any]:
    asked = [ConsumerGroupTopicPartitions(PUBLISHER_GROUP, lanes)]
    return client.list_consumer_group_offsets(asked, request_timeout=ANSWER_SECONDS)


def _offsets(asked: dict[Any, Any], answer: Answer) -> dict[Lane, int]:
    """The offsets that were told; one lane that has no leader for a moment takes nothing from the others."""
    found: dict[Lane, int] = {}
    trouble: KafkaException | TimeoutError | None = None
    told = False
    for one, future in asked.items():
        try:
            found[Lane(one.topic, one.partition)] = answer(future).offset
        except (KafkaException, TimeoutError) as failed:
            # Errors that a broker has sent are numbered from 0 up; those below are the client's own.
            told = told or (isinstance(failed, KafkaException) and failed.args[0].code() > 0)
            trouble = failed
    if trouble is not None and not found and not told:
        raise trouble
    return found


def _unpublished(
    held: dict[Lane, int], earliest: dict[Any, Any], committed: dict[Any, Any], answer: Answer
) -> int | None:
    """Notices beyond what the publishers have committed."""
    try:
        first = _offsets(earliest, answer)
        done = {
            Lane(one.topic, one.partition): one.offset
            for future in committed.values()
            for one in answer(future).topic_partitions
            if one.error is None
        }
    except (KafkaException, TimeoutError):
        return None
    if len(first) < len(earliest) or not first.keys() <= held.keys():
        return None
    return sum(max(0, held[lane] - max(start, done.get(lane, 0))) for lane, start in first.items())


def _group(future: Any, answer: Answer) -> Group:
    try:
        described = answer(future)
    except (KafkaException, TimeoutError):
        # A broker that never had a group makes room for groups at the first question.
        return Group(None)
    if described.state in _AT_WORK and not described.members:
        return Group(None)
    members = [
        Member(
            _short(one.client_id, one.member_id),
            one.host.lstrip("/"),
            tuple(sorted(Lane(lane.topic, lane.partition) for lane in one.assignment.topic_partitions)),
        )
        for one in described.members
    ]
    return Group(tuple(sorted(members)), described.state in _SHARING)


def _short(client_id: str, member_id: str) -> str:
    """`scv-01f85bed` of the member that the broker calls `scv-01f85bed-9f49-42d5-966e-4e154ad7c474`."""
    return f"{client_id}-{member_id.removeprefix(client_id).lstrip('-')[:NAME_CHARACTERS]}"
