"""The Faust app of a worker, and how it runs and ends.

Guarantees:
- The app subscribes to the topics given, and to nothing else; it creates no topic, no directory, no web
  server.
- `run` ends on SIGTERM and Ctrl-C after the step in progress, or abandons it after a while; a second signal
  ends at once. Both are safe: what was not committed is folded again.
- What ends a worker is one line on stderr and an exit code; tracebacks appear at debug level only.

Domain topics have no Faust agent: an agent takes a topic message by message. They are one channel of Faust,
added to the app's conductor by hand, which is all that it takes to make Faust subscribe.
"""

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import faust
from aiokafka.errors import KafkaConnectionError, KafkaError
from faust.app import BootStrategy

from streams.batch_lane import BatchTransport
from streams.kafka_client import FetchLimits
from streams.lanes import LaneWorker
from streams.runner import Projector

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_AWAY = 7
EXIT_INTERRUPTED = 130

# For everything but the step in progress, which has its own grace (FetchLimits.close_seconds_max).
STOP_SECONDS_MAX = 15.0

# Errors of these packages are written to be read by an operator.
OURS = frozenset({"models", "projections", "stores", "eventlog", "streams", "ops"})

# A broker that is away makes its client complain ten times a second.
REPEAT_SECONDS = 10.0


@dataclass(frozen=True)
class StreamSettings:
    """What the app of a worker needs to know.

    `brokers` is `host:port`, comma-separated; `group_id` names the consumer group, such as `scv-g7`.
    """

    brokers: str
    group_id: str
    session_timeout_seconds: float = 10.0  # after so long without a heartbeat the lanes go to others
    limits: FetchLimits = field(default_factory=FetchLimits)
    lag_commit_every_seconds: float = 5.0
    credentials: Any = None  # faust.SASLCredentials, faust.SSLCredentials


class _Boot(BootStrategy):
    """Starts what reads. Producing is done in the projector thread, by the lane worker."""

    enable_kafka_producer = False
    enable_web = False
    enable_sensors = False


class WorkerApp(faust.App):
    """Faust's app for lanes: subscribed to topics without agents, and without the directories of tables."""

    BootStrategy = _Boot
    transport: BatchTransport
    lane_topics: Sequence[str] = ()

    async def on_first_start(self) -> None:
        """Subscribe, where Faust would make its directories; earlier there is no event loop to bind to."""
        self.topics.add(self.topic(*self.lane_topics, acks=False))


def build_app(settings: StreamSettings, worker: LaneWorker, topics: Sequence[str]) -> WorkerApp:
    """Build the app that reads, for `worker`, the lanes of `topics` that its group assigns to it.

    Connects to nothing yet. ValueError without topics.
    """
    if not topics:
        raise ValueError("a worker needs at least one topic")
    app = WorkerApp(
        settings.group_id,
        broker=[f"kafka://{broker.strip()}" for broker in settings.brokers.split(",")],
        broker_credentials=settings.credentials,
        broker_client_id="scv",
        broker_session_timeout=settings.session_timeout_seconds,
        broker_heartbeat_interval=settings.session_timeout_seconds / 3,
        broker_request_timeout=max(40.0, settings.session_timeout_seconds + 10.0),
        broker_rebalance_timeout=60.0,
        broker_commit_interval=settings.lag_commit_every_seconds,
        # Faust's own assignor serves tables.
        table_standby_replicas=0,
        topic_allow_declare=False,
        topic_disable_leader=True,
        stream_wait_empty=False,
        web_enabled=False,
        autodiscover=False,
    )
    app.transport = BatchTransport(app.conf.broker_consumer, app, Projector(worker), settings.limits)
    app.lane_topics = tuple(topics)
    return app


def run(app: WorkerApp) -> int:
    """Run until a signal or a failure; returns the exit code. What failed is one line on stderr."""
    _log_in_lines()
    return asyncio.run(_run_until_signal(app))


async def _run_until_signal(app: WorkerApp) -> int:
    stop = asyncio.Event()
    received: list[int] = []

    def on_signal(number: int) -> None:
        if received:
            os._exit(128 + number)
        received.append(number)
        stop.set()

    _on_signals(on_signal)
    code = await serve(app, stop)
    return EXIT_INTERRUPTED if code == EXIT_OK and signal.SIGINT in received else code


async def serve(app: WorkerApp, stop: asyncio.Event) -> int:
    """Run until `stop` is set or something fails, in the caller's event loop; returns the exit code."""
    starting = asyncio.ensure_future(app.start())
    waits = [
        asyncio.ensure_future(wait)
        for wait in (stop.wait(), app.transport.failed.wait(), app.wait_until_stopped())
    ]
    try:
        await asyncio.wait([starting, *waits], return_when=asyncio.FIRST_COMPLETED)
        # Started is not the end of it.
        if starting.done() and starting.exception() is None:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        failure = _failure(app, starting)
        await _end(app)
    finally:
        for wait in (starting, *waits):
            wait.cancel()
        await asyncio.gather(starting, *waits, return_exceptions=True)
    if failure is None:
        return EXIT_OK
    if broker_away(failure):
        brokers = ",".join(url.authority for url in app.conf.broker_consumer)
        print(
            f"scv worker: no Kafka broker answers at {brokers}; start it, or set SCV_KAFKA", file=sys.stderr
        )
        return EXIT_AWAY
    print(f"scv worker: {_one_line(failure)}", file=sys.stderr)
    return EXIT_FAILED


async def _end(app: WorkerApp) -> None:
    """Stop the app; what does not end in time is left to the end of the process."""
    grace_seconds = STOP_SECONDS_MAX + app.transport.limits.close_seconds_max
    try:
        await asyncio.wait_for(app.stop(), grace_seconds)
    except TimeoutError:
        logging.getLogger(__name__).warning("Faust did not stop within %s s", grace_seconds)


def _failure(app: WorkerApp, starting: asyncio.Future[None]) -> BaseException | None:
    started_badly = starting.exception() if starting.done() and not starting.cancelled() else None
    return app.transport.projector.failure or app.crash_reason or started_badly


def broker_away(failure: BaseException) -> bool:
    """Whether this failure means that no broker answers, and nothing is wrong with the worker."""
    # Of a broker that goes between the first answer and the next, aiokafka has no error of its own.
    between = type(failure) is KafkaError and "cluster metadata" in str(failure)
    return between or isinstance(failure, KafkaConnectionError)


def _one_line(failure: BaseException) -> str:
    name, text = type(failure).__name__, " ".join(str(failure).split())
    # Errors of ours say what, where, and what to do; of others, the type often says more than the text.
    ours = type(failure).__module__.partition(".")[0] in OURS
    return text if text and (ours or text.startswith(name)) else f"{name}: {text}"


def _on_signals(handle: Callable[[int], None]) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        try:
            loop.add_signal_handler(number, handle, number)
        except NotImplementedError:  # an event loop of Windows
            signal.signal(number, lambda signum, frame: loop.call_soon_threadsafe(handle, signum))


class _Lines(logging.Formatter):
    """A line a record: no tracebacks."""

    def formatException(self, ei: Any) -> str:  # noqa: N802
        return ""

    def format(self, record: logging.LogRecord) -> str:
        return " ".join(super().format(record).split())


class _Unrepeated(logging.Filter):
    """Drops what was said a moment ago, and Faust's own report of a failure, which `run` tells."""

    def __init__(self) -> None:
        super().__init__()
        # As many entries as there are log statements in the libraries.
        self._said_at: dict[tuple[str, str], float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        key = (record.name, str(record.msg))
        if "Crashed reason" in key[1] or record.created - self._said_at.get(key, 0.0) < REPEAT_SECONDS:
            return False
        self._said_at[key] = record.created
        return True


def _log_in_lines() -> None:
    """Warnings and errors on stderr, in lines; only if whoever runs this has set up no logging."""
    root = logging.getLogger()
    if root.handlers:
        return
    handler = logging.StreamHandler()
    handler.setFormatter(_Lines("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    handler.addFilter(_Unrepeated())
    handler.setLevel(logging.WARNING)
    root.addHandler(handler)
