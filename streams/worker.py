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

from eventlog.producing import LogProducer
from eventlog.topics import link_log
from models.catalogue import DOMAIN_TOPICS
from models.settings import Settings
from projections.assembling import Labels
from projections.folding import Projection
from projections.reducers import Configuration
from stores.connection import StoreUnfit, check_server, claim_generation, connect
from stores.redis_store import RedisStore
from streams.app import EXIT_AWAY, StreamSettings, build_app
from streams.app import run as run_app
from streams.cache import PartCache
from streams.folder import Folder
from streams.lane_worker import FoldingWorker

EXIT_REFUSED = 5
# From an eye's blink to a few seconds: quick after a failover, no storm during an outage.
WAIT_SECONDS_MAX = 5.0


def folding_worker(settings: Settings, point: Callable[[str], None] = lambda _: None) -> FoldingWorker:
    """The lane worker that these settings describe; it connects when it takes its first lane."""
    configuration = Configuration(trust=settings.trust, region=settings.region)
    return FoldingWorker(
        RedisStore(settings.redis, settings.generation, settings.shared_above, settings.shape),
        LogProducer(settings.kafka, client_id="scv-worker"),
        Folder(Projection(configuration)),
        Labels(settings.generation, settings.config),
        name=uuid.uuid4().hex[:12],
        link_topic=link_log(settings.generation),
        cache=PartCache(settings.cache_mib * 1024 * 1024),
        clock_ms=lambda: time.time_ns() // 1_000_000,
        wait=lambda attempt: time.sleep(min(0.05 * 2 ** min(attempt, 10), WAIT_SECONDS_MAX)),
        point=point,
    )


def prepare_store(settings: Settings) -> None:
    """Check the server and claim the generation. StoreUnfit, or the client's ConnectionError."""
    client = connect(settings.redis)
    try:
        check_server(client)
        claim_generation(client, settings.generation, settings.shape)
    finally:
        client.close()


def run(settings: Settings) -> int:
    """Run a worker until SIGTERM or Ctrl-C; gives the exit code, with one line on stderr when it failed."""
    try:
        prepare_store(settings)
    except StoreUnfit as unfit:
        print(f"scv worker: {unfit}", file=sys.stderr)
        return EXIT_REFUSED
    except redis.RedisError as away:
        where = settings.redis_shown
        print(f"scv worker: Redis at {where}: {away}; start it or set SCV_REDIS", file=sys.stderr)
        return EXIT_AWAY
    # Parts and views hold no cycles, yet the collector would walk all of them again and again, for a third
    # of a worker's time (docs/performance.md).
    gc.set_threshold(200_000, 50, 1_000)
    streaming = StreamSettings(
        brokers=settings.kafka,
        group_id=f"scv-{settings.generation}",
        session_timeout_seconds=settings.session_timeout_seconds,
    )
    return run_app(build_app(streaming, folding_worker(settings), DOMAIN_TOPICS))
