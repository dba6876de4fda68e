"""The same job with Quix Streams, as its documentation builds such a thing.

- A StreamingDataFrame for each topic, concatenated, so that a customer has one state over four topics.
- A stateful `apply` folds an event upon the customer's `State` (RocksDB, with its changelog topic) and makes
  the profile.
- Profiles leave through a sink, which writes the latest of each customer to Redis at every checkpoint, in one
  pipeline.

Two settings are not the defaults: the time between checkpoints, a second instead of five, and how long the
broker holds back an empty answer.

What speaks for it, so that the comparison is not bent: the state is stored as bytes, not as JSON; hiredis
parses; a profile that is overtaken before the checkpoint is made, but never written. Quix Streams' own Redis
sink was not taken: it writes topic by topic, so an older profile of a customer could come last.

What it leaves out: an index of identifiers, notices of changes, dead letters. After a crash the events of a
checkpoint come again, to profiles that may have been written.

Runs in `.venv-quix`: what Quix Streams requires contradicts what scv requires (confluent-kafka, pydantic).
"""

from __future__ import annotations

import argparse
from functools import reduce
from typing import Any

import redis
from quixstreams import Application, State, message_context
from quixstreams.dataframe import StreamingDataFrame
from quixstreams.sinks.base import BaseSink

from benchmarks.counting import EventCounter
from benchmarks.job import Folded, Job, arguments
from eventlog.topics import DOMAIN_TOPICS

CHECKPOINT_SECONDS = 1.0
# At the default of 500 each of 40 questions for where a lane ends waits behind a read: half a minute's start.
FETCH_WAIT_MS = 20


class Profiles(BaseSink):
    """The latest profile of each customer since the last checkpoint, written at the next one."""

    def __init__(self, client: redis.Redis, group: str, counter: EventCounter) -> None:
        super().__init__(on_client_connect_success=lambda: None)
        self.client, self.group, self.counter = client, group, counter
        self.latest: dict[bytes, Folded] = {}
        self.count = 0

    def add(self, value: Folded, key: bytes, *_: Any, **__: Any) -> None:
        """Take the profile that one event made."""
        self.latest[key] = value
        self.count += 1

    def flush(self) -> None:
        """Write what was taken."""
        pipe = self.client.pipeline(transaction=False)
        for key, folded in self.latest.items():
            pipe.hset(f"{self.group}:{key.decode()}:profile", mapping=folded.profile)
        pipe.execute()
        self.counter.add(self.count)
        self.latest, self.count = {}, 0


def build(told: argparse.Namespace) -> Application:
    """The application, ready to run."""
    app = Application(
        broker_address=told.kafka,
        consumer_group=told.group,
        auto_offset_reset="earliest",
        commit_interval=CHECKPOINT_SECONDS,
        consumer_extra_config={
            "session.timeout.ms": int(told.session_timeout * 1000),
            "fetch.wait.max.ms": FETCH_WAIT_MS,
        },
        # Below the working directory, which goes away with the process.
        state_dir="quix-state",
        loglevel="ERROR",
    )
    job = Job(told.group)

    def fold(value: bytes, key: bytes, timestamp_ms: int, headers: Any, state: State) -> Folded:
        at = message_context()
        event = job.decode(at.topic, key, value, timestamp_ms)
        folded = job.fold_one(state.get_bytes("part"), event)
        state.set_bytes("part", folded.state)
        return folded

    topics = [app.topic(name, key_deserializer="bytes", value_deserializer="bytes") for name in DOMAIN_TOPICS]
    frames = [app.dataframe(topic) for topic in topics]
    events = reduce(StreamingDataFrame.concat, frames)
    sink = Profiles(redis.Redis.from_url(told.redis), told.group, EventCounter(told.counter))
    events.apply(fold, stateful=True, metadata=True).sink(sink)
    return app


def main() -> None:
    """Run until a signal."""
    build(arguments(__doc__)).run()


if __name__ == "__main__":
    main()
