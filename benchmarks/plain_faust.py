"""The same job as a Faust agent does it in Faust's documentation: one event after another.

Per event: read the customer's state from Redis, fold, assemble, write state and profile. The decoder, the
fold and the profile are scv's own, so what differs is how records get in and results get out.

What speaks for it, so that the comparison is not bent: hiredis parses, the two writes share a round trip, and
the client is a blocking one, which costs less processor time than an asynchronous one and cannot lose an
update between two agents of this process. What it leaves out: an index of identifiers, notices of changes,
dead letters, and every guarantee.
"""

from __future__ import annotations

import argparse
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import faust
import redis
from faust.types import EventT, StreamT

from benchmarks.counting import EventCounter
from benchmarks.job import Job, arguments
from eventlog.topics import DOMAIN_TOPICS


class Customers:
    """State and profile of customers, by subject, one event at a time."""

    def __init__(self, client: redis.Redis, group: str, counter: EventCounter) -> None:
        self.client, self.group, self.counter = client, group, counter
        self.job = Job(group)

    def fold(self, topic: str, received: EventT[Any]) -> None:
        """Read, fold, assemble, write."""
        message: Any = received.message
        event = self.job.decode(topic, message.key, message.value, round(message.timestamp * 1_000))
        names = f"{self.group}:{event.subject}"
        stored: Any = self.client.get(f"{names}:state")
        folded = self.job.fold_one(stored, event)
        pipe = self.client.pipeline(transaction=False)
        pipe.set(f"{names}:state", folded.state)
        profile: dict[Any, Any] = folded.profile
        pipe.hset(f"{names}:profile", mapping=profile)
        pipe.execute()
        self.counter.add()


def build(told: argparse.Namespace) -> faust.App:
    """The app: an agent for each topic."""
    app = faust.App(
        told.group,
        broker=f"kafka://{told.kafka}",
        broker_session_timeout=told.session_timeout,
        broker_heartbeat_interval=told.session_timeout / 3,
        consumer_auto_offset_reset="earliest",
        topic_disable_leader=True,
        web_enabled=False,
        # Below the working directory, which goes away with the process.
        datadir="faust-data",
    )
    customers = Customers(redis.Redis.from_url(told.redis), told.group, EventCounter(told.counter))
    for topic in DOMAIN_TOPICS:
        app.agent(_raw(app, topic), name=topic)(_agent(topic, customers))
    return app


def _raw(app: faust.App, topic: str) -> faust.types.TopicT:
    return app.topic(topic, key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw")


def _agent(topic: str, customers: Customers) -> Callable[[StreamT[Any]], Awaitable[None]]:
    async def fold(stream: StreamT[Any]) -> None:
        events: AsyncIterator[EventT[Any]] = stream.events()
        async for event in events:
            customers.fold(topic, event)

    return fold


def main() -> None:
    """Run until a signal."""
    faust.Worker(build(arguments(__doc__)), loglevel="error").execute_from_commandline()


if __name__ == "__main__":
    main()
