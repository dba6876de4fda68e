"""Faust's consumer, changed at its own seam: whole fetched batches go to the projector, not single messages.

Guarantees:
- Group membership, assignment and shutdown are Faust's. What is read, and from where, is decided here.
- A lane is read only after its lane worker said from where. An offset that the topic does not hold stops
  that lane with a reason; nothing is skipped, and the other lanes go on.
- Reading waits while a tenth of a round waits for the projector; heartbeats do not. A rebalance waits for a
  running step at most `HANDOVER_SECONDS_MAX`: what a longer step commits later is refused by the store.
- Offsets are committed to Kafka for lag metrics only; a failure to do so harms nothing.

Two event loops: Faust's own, and that of its consumer thread, where the Kafka client lives and heartbeats
are sent. Methods named `_on_client_…` run in the latter, and `_reading` changes there only.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import (
    IllegalStateError,
    KafkaError,
    NoOffsetForPartitionError,
    OffsetOutOfRangeError,
    RecordTooLargeError,
)
from faust.transport.drivers.aiokafka import Consumer, Transport
from faust.types import TP, AppT
from mode import ServiceT
from yarl import URL

from models.record import Lane
from streams.kafka_client import ClientThread, FetchLimits, told_end, too_large, unreadable
from streams.lanes import Batch
from streams.runner import End, EpochBatch, Placement, Projector, Waiting

# One read, when nothing comes. Lanes placed meanwhile wait for its end.
READ_WAIT_MS = 250

# While a round waits: how often what has come meanwhile joins it.
JOIN_EVERY_SECONDS = 0.01

# A broker that did not answer for this long tells nothing about a lane's end.
END_VALID_MS = 3_000

# A rebalance holds up the whole group; most steps end sooner, and then no commit of theirs is wasted.
HANDOVER_SECONDS_MAX = 2.0

# Between two tries to learn what a topic holds, and for one try.
BOUNDS_RETRY_SECONDS = 1.0
BOUNDS_TRY_SECONDS_MAX = 5.0

# News of a topic that was created a moment ago may take this long to reach every broker.
TOPICS_SECONDS_MAX = 5.0

# Lag metrics are not worth waiting longer for; a loop that missed a wake-up looks again after this long.
LAG_COMMIT_SECONDS_MAX = 5.0
STIR_SECONDS_MAX = 0.5

# No topic has an empty name.
NO_LANE = TopicPartition("", 0)

_log = logging.getLogger("scv.streams")


class TopicsMissing(Exception):
    """Topics that this worker is to read do not exist."""


@dataclass
class Reading:
    """A lane that is being read: the epoch, and where the next batch starts."""

    epoch: int
    position: int
    # When the broker had last answered before it was asked for a doubted offset: one past the end that it
    # lists. What it answers next decides. (The embedded broker lists too little.)
    doubted_since_ms: int | None = None
    # Where the client stands without having returned a record, and the last answer when that was noticed.
    passed: tuple[int, int | None] | None = None

    def has_passed(self, position: int, answered_ms: int | None) -> bool:
        """Whether the client moved on over what no reader sees, and the broker has answered it there.

        The answer matters: the client also moves over a record that is too large for it, but reports that
        before it asks the broker again.
        """
        if self.passed is None or self.passed[0] != position:
            self.passed = (position, answered_ms)
        return self.passed[1] != answered_ms


class BatchConsumer(Consumer):
    """Reads the lanes that Faust assigns, round by round, for the transport's projector."""

    _thread: ClientThread
    transport: "BatchTransport"

    def __init__(self, transport: "BatchTransport", *args: Any, **kwargs: Any) -> None:
        super().__init__(transport, *args, **kwargs)
        self.projector = transport.projector
        self.limits = transport.limits
        self._reading: dict[Lane, Reading] = {}
        self._lag_committed: dict[Lane, int] = {}
        self._stir = asyncio.Event()
        self._kept_error: KafkaError | None = None

    # -- Faust's seam: what follows overrides methods of Faust; tests/test_faust_seam.py holds the list.

    def _new_consumer_thread(self) -> ClientThread:
        return ClientThread(self, loop=self.loop, beacon=self.beacon)

    async def on_start(self) -> None:
        """Start the projector, which stirs this consumer from its thread."""
        await super().on_start()
        loop = asyncio.get_running_loop()

        def stir() -> None:
            # The loop may close while a step that was abandoned still runs.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(self._stir.set)

        self.projector.start(stir)

    async def on_stop(self) -> None:
        """Let the step in progress end, commit for lag metrics, leave the group."""
        grace_seconds = self.limits.close_seconds_max
        if not await asyncio.to_thread(self.projector.close, grace_seconds):
            _log.warning("a step did not end within %s s and was abandoned", grace_seconds)
        await super().on_stop()

    async def on_shutdown(self) -> None:
        """The consumer thread has ended: drop what it was handed too late."""
        await super().on_shutdown()
        self._thread.drop_unbegun()

    async def subscribe(self, topics: Iterable[str]) -> None:
        """Subscribe; TopicsMissing if one does not exist, since Kafka would wait for it in silence."""
        wanted = set(topics)
        deadline = time.monotonic() + TOPICS_SECONDS_MAX
        while missing := wanted.difference(await self._in_client(self._client().topics())):
            if time.monotonic() > deadline:
                names = ", ".join(sorted(missing))
                raise TopicsMissing(f"topics missing at the broker: {names}; run `scv topics create`")
            await self.sleep(0.2)
        await super().subscribe(wanted)

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Every lane leaves at a rebalance; a running step may end first, if it ends soon."""
        lanes = [Lane(*tp) for tp in revoked]
        self.projector.revoke(lanes)
        await self._in_client(self._on_client_forget())
        deadline = time.monotonic() + HANDOVER_SECONDS_MAX
        while self.projector.holds(lanes) and time.monotonic() < deadline:  # noqa: ASYNC110 - set by a thread
            await asyncio.sleep(0.02)
        await super().on_partitions_revoked(revoked)

    async def seek_to_committed(self) -> Mapping[TP, int]:
        """Have the assigned lanes taken by the lane worker, which places them; nothing is read before.

        Must return soon: should it outlast the request timeout, Faust would never resume, in silence.
        """
        await self._in_client(self._on_client_hold())
        self.projector.assign([Lane(*tp) for tp in self.assignment()])
        return {}

    async def force_commit(self, topics: Any = None, start_new_transaction: bool = True) -> bool:
        """Tell Kafka how far the lanes are folded, for lag metrics; whether it was told something new."""
        folded = self.projector.folded()
        offsets = {
            TopicPartition(*lane): offset
            for lane, offset in folded.items()
            if self._lag_committed.get(lane) != offset
        }
        if not offsets:
            return False
        try:
            await asyncio.wait_for(self._in_client(self._client().commit(offsets)), LAG_COMMIT_SECONDS_MAX)
        except (KafkaError, TimeoutError) as error:  # a rebalance, or a broker that is away
            _log.debug("lag not committed: %r", error)
            return False
        self._lag_committed = folded
        return True

    async def verify_all_partitions_active(self) -> None:
        """Do nothing: Faust looks for messages acknowledged one by one, of which there are none here."""

    async def _drain_messages(self, fetcher: ServiceT) -> None:
        """Read round after round while there is room; Faust runs this from its fetcher."""
        late: tuple[KafkaError, dict[Lane, int]] | None = None
        while not (self.should_stop or fetcher.should_stop):
            self._stir.clear()
            if self.projector.failure is not None:
                self.transport.failed.set()
                return
            for lane, placement in self.projector.placements().items():
                self.add_future(self._place(lane, placement))
            if late is not None and not self.projector.rounds_waiting:
                await self._stop_unreadable(*late)
                late = None
            waiting = self.projector.waiting
            room = self.flow_active and late is None and self.limits.leave_room(*waiting)
            if not (self._reading and room):
                await self._in_client(self._on_client_stay())
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._stir.wait(), STIR_SECONDS_MAX)
                continue
            if waiting.records:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._stir.wait(), JOIN_EVERY_SECONDS)
            try:
                batches, size_bytes = await self._in_client(self._on_client_read(self.projector.waiting))
            except (OffsetOutOfRangeError, RecordTooLargeError) as error:
                # What was read before it, and waits, is folded first.
                late = error, {lane: reading.epoch for lane, reading in self._reading.items()}
            else:
                if batches:
                    self.projector.offer(batches, size_bytes)

    # -- Placing and stopping lanes

    async def _place(self, lane: Lane, placement: Placement) -> None:
        """Read the lane from where the lane worker said, or stop it."""
        while self.projector.is_current(lane, placement.epoch) and not self.should_stop:
            try:
                earliest, end = await self._bounds(lane)
            except (KafkaError, TimeoutError) as error:
                _log.warning("%s: the broker does not say what it holds, trying again: %r", lane, error)
                await self.sleep(BOUNDS_RETRY_SECONDS)
                continue
            offset = earliest if placement.offset is None else placement.offset
            if offset < earliest:
                await self._stop(lane, placement.epoch, unreadable(lane, offset, earliest, end))
            else:
                seek = self._on_client_seek(lane, placement.epoch, offset, doubted=offset > end)
                await self._in_client(seek)
            self._stir.set()
            return

    async def _bounds(self, lane: Lane) -> tuple[int, int]:
        """Ask for the earliest offset and the end that the broker lists. KafkaError or TimeoutError."""
        tp, client = TopicPartition(*lane), self._client()
        async with asyncio.timeout(BOUNDS_TRY_SECONDS_MAX):
            earliest = await self._in_client(client.beginning_offsets([tp]))
            end = await self._in_client(client.end_offsets([tp]))
        return earliest[tp], end[tp]

    async def _stop_unreadable(self, error: KafkaError, epochs: Mapping[Lane, int]) -> None:
        """Stop the lanes that an error of reading is about, unless they are read anew since."""
        large = isinstance(error, RecordTooLargeError)
        for tp in [error.args[1]] if large else list(error.args[0]):
            lane = Lane(*tp)
            reading = self._reading.get(lane)
            if reading is None or reading.epoch != epochs.get(lane):
                continue
            # Without an answer the lane is not stopped yet, but not read either: its error comes again.
            with contextlib.suppress(KafkaError, TimeoutError):
                at, limit = reading.position, self.limits.lane_bytes_max
                bounds = None if large else await self._bounds(lane)
                reason = unreadable(lane, at, *bounds) if bounds else too_large(lane, at, limit)
                await self._stop(lane, reading.epoch, reason)

    async def _stop(self, lane: Lane, epoch: int, reason: str) -> None:
        if self.projector.stop_lane(lane, epoch, reason):
            _log.error("lane stopped: %s", reason)
            await self._in_client(self._on_client_leave(lane))

    # -- In the consumer thread

    async def _on_client_read(self, waiting: Waiting) -> tuple[list[EpochBatch], int]:
        """Read one round, with what is `waiting` within the limits, and its size; empty if nothing came."""
        client = self._client()
        lanes = [TopicPartition(*lane) for lane in self._reading]
        if not lanes:
            return [], 0
        try:
            fetched, size_bytes = await self._on_client_fetch(client, lanes, waiting)
            return await self._on_client_round(client, fetched), size_bytes
        except (IllegalStateError, NoOffsetForPartitionError):
            # A rebalance took lanes away while they were being read, or gave them anew: then they are not
            # placed yet, and Kafka may have no offset of them, which nobody needs.
            return [], 0

    async def _on_client_fetch(
        self, client: AIOKafkaConsumer, lanes: Sequence[TopicPartition], waiting: Waiting
    ) -> tuple[dict[TopicPartition, list[ConsumerRecord]], int]:
        """What there is of these lanes, up to the limits of a round, and its size; empty if nothing came.

        No portion but the first waits, so nothing changes between them. An error after some records is kept
        for the next read: what the client has handed over it would not hand over again.
        """
        if (error := self._kept_error) is not None:
            self._kept_error = None
            raise error
        limits, found = self.limits, {}
        count, size_bytes = waiting
        while count < limits.round_records_max and size_bytes < limits.round_bytes_max:
            portion_max = min(limits.portion_records_max, limits.round_records_max - count)
            try:
                portion = await client.getmany(
                    *lanes, timeout_ms=0 if found else READ_WAIT_MS, max_records=portion_max
                )
            except (OffsetOutOfRangeError, RecordTooLargeError) as late:
                if not found:
                    raise
                self._kept_error = late
                break
            if not portion:
                break
            for tp, records in portion.items():
                found.setdefault(tp, []).extend(records)
                count += len(records)
                size_bytes += sum(record.serialized_value_size for record in records)
        return found, size_bytes - waiting.size_bytes

    async def _on_client_round(
        self, client: AIOKafkaConsumer, fetched: Mapping[TopicPartition, Sequence[ConsumerRecord]]
    ) -> list[EpochBatch]:
        batches, ends = [], {}
        assigned = client.assignment()
        answer_valid_ms = time.time() * 1000 - END_VALID_MS
        for lane, reading in list(self._reading.items()):
            tp = TopicPartition(*lane)
            if tp not in assigned:
                continue
            position, records = await client.position(tp), fetched.get(tp, ())
            end, answered_ms = told_end(client, tp), client.last_poll_timestamp(tp)
            if position > reading.position and (records or reading.has_passed(position, answered_ms)):
                batch = Batch(lane, reading.position, records, position, end)
                batches.append(EpochBatch(reading.epoch, batch))
                reading.position = position
            if reading.doubted_since_ms is not None and (answered_ms or 0) > reading.doubted_since_ms:
                reading.doubted_since_ms = None
                if end is not None and end < reading.position:
                    await self._stop(lane, reading.epoch, unreadable(lane, reading.position, None, end))
                    continue
            valid = answered_ms is not None and answered_ms > answer_valid_ms
            ends[lane] = End(reading.epoch, end if valid else None)
        self.projector.tell_ends(ends)
        return batches

    async def _on_client_seek(self, lane: Lane, epoch: int, offset: int, doubted: bool) -> None:
        if not self.projector.is_current(lane, epoch):
            return
        client, tp = self._client(), TopicPartition(*lane)
        try:
            client.seek(tp, offset)
            client.resume(tp)
        except IllegalStateError:
            return  # it left with a rebalance that is under way
        answered_ms = client.last_poll_timestamp(tp) or 0
        self._reading[lane] = Reading(epoch, offset, doubted_since_ms=answered_ms if doubted else None)

    async def _on_client_stay(self) -> None:
        """Show the client that it is needed, by reading a lane that is nobody's.

        It leaves the group, and does not come back, when nothing is read for long: because of a long step,
        or because there are more workers than lanes.
        """
        await self._client().getmany(NO_LANE, timeout_ms=0)

    async def _on_client_hold(self) -> None:
        """Fetch nothing of the assigned lanes until they are placed."""
        self._reading.clear()
        self._kept_error = None
        client = self._client()
        client.pause(*client.assignment())

    async def _on_client_forget(self) -> None:
        self._reading.clear()
        self._kept_error = None

    async def _on_client_leave(self, lane: Lane) -> None:
        self._reading.pop(lane, None)
        tp, client = TopicPartition(*lane), self._client()
        if tp in client.assignment():
            client.pause(tp)

    def _client(self) -> AIOKafkaConsumer:
        return self._thread._ensure_consumer()

    async def _in_client(self, work: Coroutine[Any, Any, Any]) -> Any:
        return await self._thread.run_there(work)


class BatchTransport(Transport):
    """Faust's transport for Kafka with our consumer in it."""

    Consumer = BatchConsumer

    def __init__(self, url: list[URL], app: AppT, projector: Projector, limits: FetchLimits) -> None:
        super().__init__(url, app)
        self.projector = projector
        self.limits = limits
        # Set when the projector ended with an exception, so that whoever runs the app can end it.
        self.failed = asyncio.Event()
