"""Follow lanes as records are written: from their ends on, until nobody listens any more.

Guarantees:
- Every committed record that is written from then on comes once, in its lane's order.
- A broker that is away for a while is waited for; what cannot be read on raises ReadFailed.
- Belongs to no consumer group and commits nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from confluent_kafka import Consumer, TopicPartition

from eventlog.ends import lane_ends
from eventlog.errors import ReadFailed
from eventlog.reading import FINAL_ERRORS, record_of
from models.record import Lane, Record

RECORDS_MAX = 1_000
# A listener that wants to stop is asked so often.
POLL_SECONDS = 0.2


def follow(
    bootstrap: str, topics: Collection[str], lanes: Collection[Lane] | None = None
) -> Iterator[list[Record]]:
    """New records of these topics, or of some of their lanes; an empty list when none came for a moment.

    LogError when a topic does not exist or nobody answers.
    """
    starts = {
        lane: ends.end
        for lane, ends in lane_ends(bootstrap, topics).items()
        if lanes is None or lane in lanes
    }
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "client.id": "scv-tail",
            "group.id": "scv-tail",  # the client wants one; assigning by hand never joins it
            "enable.auto.commit": False,
            "auto.offset.reset": "error",
            "fetch.wait.max.ms": 50,
            "log_level": 0,
        }
    )
    try:
        consumer.assign([TopicPartition(*lane, end) for lane, end in starts.items()])
        # The first list says that it follows.
        yield []
        while True:
            found = []
            for message in consumer.consume(RECORDS_MAX, POLL_SECONDS):
                error = message.error()
                if error is None:
                    found.append(record_of(message))
                elif error.code() in FINAL_ERRORS or error.fatal():
                    raise ReadFailed(f"{bootstrap}: {error.str()}")
            yield found
    finally:
        consumer.close()
