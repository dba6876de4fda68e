"""A worker process: the store checked, the lanes folded, until a signal.

Invariants:
- A worker starts only upon a store that never evicts and a generation whose parts have its own shape.
- Where it begins is what the store says, never what Kafka remembers of the group.
"""

from __future__ import annotations

import gc
import sys
import time
import uuid
from collections.abc import Callable

import redis

from eventlog.dead_letters import SettledOffsets
from eventlog.errors import LogError, LogUnavailable
from eventlog.producing import LogProducer
from eventlog.promotions import begin
from eventlog.topics import link_log, worker_group
from models.catalogue import COMMAND_TOPIC, DOMAIN_TOPICS
from models.record import Lane
from models.settings import Settings
from projections.assembling import Labels
from projections.folding import Projection
from projections.reducers import Configuration
from stores.connection import StoreUnfit, check_server, claim_generation, connect
from stores.promotion import open_pointer
from stores.redis_store import RedisStore
from stores.store import StoreAway
from streams.app import EXIT_AWAY, EXIT_FAILED, StreamSettings, build_app
from streams.app import run as run_app
from streams.cache import PartCache
from streams.folder import Folder
from streams.identity_writer import IdentityWriter
from streams.lane_watch import WatchedWorker
from streams.lane_worker import FoldingWorker
from streams.metrics import MetricsUnavailable, WorkerMetrics, serve
from streams.routing import RoutingWorker
from streams.stage_clock import AWAY, StageClock, TimedOutlet, TimedStore

EXIT_REFUSED = 5
# From an eye's blink to a few seconds: quick after a failover, no storm during an outage.
WAIT_SECONDS_MAX = 5.0


def lane_worker(settings: Settings, point: Callable[[str], None] = lambda _: None) -> RoutingWorker:
    """The lane worker that these settings describe, watched; it connects when it takes its first lane."""
    rules, name = settings.identity_rules, uuid.uuid4().hex[:12]
    labels = Labels(settings.generation, settings.config)
    outlet = LogProducer(settings.kafka, client_id="scv-worker")
    links = link_log(settings.generation)
    folding_clock, identity_clock = StageClock(), StageClock()

    def begun() -> None:
        # Of the log nothing is asked while the store has a pointer.
        with open_pointer(settings.redis) as pointer:
            if pointer.read() is None:
                begin(settings.kafka, pointer, settings.generation)

    def store(clock: StageClock) -> TimedStore:
        return TimedStore(
            RedisStore(settings.redis, settings.generation, rules.shared_above, settings.shape, begun), clock
        )

    folding = FoldingWorker(
        store(folding_clock),
        TimedOutlet(outlet, folding_clock),
        Folder(Projection(Configuration(trust=settings.trust, rules=rules)), SettledOffsets(settings.kafka)),
        labels,
        name=name,
        link_topic=links,
        cache=PartCache(settings.cache_mib * 1024 * 1024),
        clock_ms=_now_ms,
        wait=folding_clock.timed(AWAY, _wait),
        point=_both(folding_clock.point, point),
    )
    identity = IdentityWriter(
        store(identity_clock),
        TimedOutlet(outlet, identity_clock),
        rules,
        labels,
        name=f"{name}.identity",
        links=Lane(links, 0),
        clock_ms=_now_ms,
        wait=identity_clock.timed(AWAY, _wait),
        point=_both(identity_clock.point, point),
    )
    return RoutingWorker(
        WatchedWorker(folding, folding_clock, folding.marks, _now_ms),
        WatchedWorker(identity, identity_clock, lambda _: identity.marks, _now_ms),
        identity.links,
    )


def _both(first: Callable[[str], None], second: Callable[[str], None]) -> Callable[[str], None]:
    def told(name: str) -> None:
        first(name)
        second(name)

    return told


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _wait(attempt: int) -> None:
    time.sleep(min(0.05 * 2 ** min(attempt, 10), WAIT_SECONDS_MAX))


def prepare_store(settings: Settings) -> None:
    """Check the server, claim the generation, and let readers see it if it is the first that there is.

    StoreUnfit, the client's errors or StoreAway, or a LogError: the log says what was promoted.
    """
    client = connect(settings.redis)
    try:
        check_server(client)
        claim_generation(client, settings.generation, settings.shape)
    finally:
        client.close()
    with open_pointer(settings.redis) as pointer:
        begin(settings.kafka, pointer, settings.generation)


def run(settings: Settings) -> int:
    """Run a worker until SIGTERM or Ctrl-C; gives the exit code, with one line on stderr when it failed."""
    try:
        prepare_store(settings)
    except StoreUnfit as unfit:
        print(f"scv worker: {unfit}", file=sys.stderr)
        return EXIT_REFUSED
    except (redis.RedisError, StoreAway) as away:
        where = settings.redis_shown
        print(f"scv worker: Redis at {where}: {away}; start it or set SCV_REDIS", file=sys.stderr)
        return EXIT_AWAY
    except LogError as trouble:
        print(f"scv worker: {trouble}", file=sys.stderr)
        return EXIT_AWAY if isinstance(trouble, LogUnavailable) else EXIT_REFUSED
    # Parts and views hold no cycles, yet the collector would walk all of them again and again, for a third
    # of a worker's time (docs/performance.md).
    gc.set_threshold(200_000, 50, 1_000)
    streaming = StreamSettings(
        brokers=settings.kafka,
        group_id=worker_group(settings.generation),
        session_timeout_seconds=settings.session_timeout_seconds,
    )
    topics = (*DOMAIN_TOPICS, COMMAND_TOPIC, link_log(settings.generation))
    worker = lane_worker(settings)
    app = build_app(streaming, worker, topics)
    if settings.metrics_port:
        metrics = WorkerMetrics(worker, app.transport.projector, settings.generation)
        try:
            serve(metrics, settings.metrics_host, settings.metrics_port)
        except MetricsUnavailable as unavailable:
            print(f"scv worker: {unavailable}", file=sys.stderr)
            return EXIT_FAILED
    return run_app(app)
