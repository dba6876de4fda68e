"""The Kafka client of a worker, inside Faust's consumer thread.

Guarantees:
- What one fetch may bring is bounded, and so is what waits in the client.
- Only what is committed is read: what a transactional source rolled back never happened.
- No record stops it: what aiokafka cannot decode is read leniently (lenient_records.py).
- An offset that the topic does not hold is an error, never a jump to another one.
- The client stays in its group however long a step takes; it leaves when Faust's event loop is stuck.
"""

import asyncio
import inspect
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from faust.transport.drivers.aiokafka import (
    AIOKafkaConsumerThread,
    Transport,
    credentials_to_aiokafka_auth,
    server_list,
)
from mode.threads import WorkerThread

from models.record import Lane
from streams import codecs, lenient_records

# How long the broker may hold back an answer without records. Shorter than the idle interval of the
# projector, so that a lane's end is known anew each time.
FETCH_WAIT_MS = 500

# Faust's event loop shows itself to the client twice a second. When it has not for so long, it is stuck, and
# its lanes are better with another worker. A step is none of its business: that runs elsewhere.
POLL_INTERVAL_MS_MAX = 300_000

# What a worker that keeps up folds at once is small; far behind, this part of a round is there at once.
JOIN_SHARE = 10

# The thread that fetches and unpacks records, and sends heartbeats.
READING_THREAD = "reading"


@dataclass(frozen=True)
class FetchLimits:
    """How much is read at once, and how long the end of a worker may take.

    Memory is bounded by two rounds, and by what one fetch brings from each broker.
    """

    # Larger rounds write fewer parts an event. This one is folded in about half a second.
    round_records_max: int = 10_000
    # Unpacked; some times what a round of ordinary events takes. Compressed records may be a thousand times
    # larger than what a fetch brings. A round ends with the portion that reaches this.
    round_bytes_max: int = 32 * 2**20
    # The client tells the size of records only when it has unpacked them: a portion is what may be too much.
    portion_records_max: int = 100
    # About 10,000 events of 400 bytes, so that one lane can fill a round.
    lane_bytes_max: int = 4 * 2**20
    fetch_bytes_max: int = 32 * 2**20
    # For the step in progress when the worker is told to end; orchestrators kill after 30 s.
    close_seconds_max: float = 10.0

    def leave_room(self, records: int, size_bytes: int) -> bool:
        """Whether more may join a round that waits and has so much; else it is begun before more is read."""
        return (
            records * JOIN_SHARE < self.round_records_max and size_bytes * JOIN_SHARE < self.round_bytes_max
        )


class ClientThread(AIOKafkaConsumerThread):
    """Faust's consumer thread, with a client of our settings and without tracebacks on the terminal."""

    class Worker(WorkerThread):
        """The thread itself."""

        def run(self) -> None:
            """Serve until stopped. What is raised was handed to the app before (`crash`), which tells it."""
            self.name = READING_THREAD
            try:
                super().run()
            except Exception as error:  # noqa: BLE001 - told elsewhere, see above
                self.service.log.debug("consumer thread ended: %r", error)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Handed over from other threads, and not begun as far as we know.
        self._handed: set[Coroutine[Any, Any, Any]] = set()

    async def run_there(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Run it in this thread's loop, and give what it gives.

        Not in Faust's way (`call_thread`), which has two places there: two lanes without a leader would
        hold both, and nothing would be fetched.
        """
        if asyncio.get_running_loop() is self.thread_loop:
            return await work
        self._handed.add(work)
        try:
            return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self.thread_loop))
        finally:
            if inspect.getcoroutinestate(work) is not inspect.CORO_CREATED:
                self._handed.discard(work)

    def drop_unbegun(self) -> None:
        """Drop what was handed over too late, once the thread has ended: it begins nothing any more."""
        for work in self._handed:
            work.close()
        self._handed.clear()

    def on_crash(self, msg: str, *fmt: Any, **kwargs: Any) -> None:
        """Log what Faust would print with its traceback."""
        self.log.debug(msg, *fmt)

    def _stopped_set(self) -> None:
        # A thread that could not start has closed its loop; Faust stops it all the same.
        if not self.thread_loop.is_closed():
            super()._stopped_set()

    def _create_worker_consumer(self, transport: Transport) -> AIOKafkaConsumer:
        conf = self.app.conf
        limits: FetchLimits = transport.limits
        self._assignor = RoundRobinPartitionAssignor
        lenient_records.install()
        codecs.install()
        return AIOKafkaConsumer(
            bootstrap_servers=server_list(transport.url, transport.default_port),
            client_id=conf.broker_client_id,
            group_id=conf.id,
            partition_assignment_strategy=[self._assignor],
            session_timeout_ms=int(conf.broker_session_timeout * 1000),
            heartbeat_interval_ms=int(conf.broker_heartbeat_interval * 1000),
            rebalance_timeout_ms=int(conf.broker_rebalance_timeout * 1000),
            request_timeout_ms=int(conf.broker_request_timeout * 1000),
            max_poll_interval_ms=POLL_INTERVAL_MS_MAX,
            enable_auto_commit=False,
            auto_offset_reset="none",
            isolation_level="read_committed",
            fetch_max_wait_ms=FETCH_WAIT_MS,
            fetch_max_bytes=limits.fetch_bytes_max,
            max_partition_fetch_bytes=limits.lane_bytes_max,
            metadata_max_age_ms=conf.consumer_metadata_max_age_ms,
            **credentials_to_aiokafka_auth(conf.broker_credentials, conf.ssl_context),
        )


def told_end(client: AIOKafkaConsumer, tp: TopicPartition) -> int | None:
    """A lane's end as the last answer told it: its last stable offset, where the broker knows one."""
    stable = client.last_stable_offset(tp)
    return stable if stable is not None and stable >= 0 else client.highwater(tp)


def unreadable(lane: Lane, offset: int, earliest: int | None, end: int) -> str:
    """Why a lane cannot be read from an offset that its topic does not hold: one line, with what to do."""
    place = f"{lane.topic}[{lane.partition}]"
    if earliest is not None and offset < earliest:
        return (
            f"{place}: the checkpoint {offset} lies before the earliest record {earliest}: retention removed "
            "what was not folded yet; restore the topic, or rebuild with `scv rebuild start`"
        )
    return (
        f"{place}: the checkpoint {offset} lies beyond the end {end}: the topic was recreated, or lost "
        "records; rebuild with `scv rebuild start`"
    )


def too_large(lane: Lane, offset: int, bytes_max: int) -> str:
    """Why a lane cannot be read past a record that one fetch cannot hold."""
    return (
        f"{lane.topic}[{lane.partition}]@{offset}: a record over {bytes_max} bytes; lower max.message.bytes "
        "of the topic, or raise the worker's fetch limit"
    )
