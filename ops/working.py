"""Create the topics; run a worker, after checking what it needs.

Invariants:
- A worker starts only on a store that may hold a view, and on a log that has its topics: otherwise one line
  says what to do.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext

from eventlog.topics import CHANGES, GENERATIONS, PROFILES, topic_plan
from models.settings import Settings
from ops.answers import say, say_json
from ops.configured import settings_with
from ops.failures import Exit, Failure
from ops.publishing import PublisherBeside, log_in_lines, yield_to_folding


def run_topics_create(
    *, kafka: str | None, generation: str | None, partitions: int | None, as_json: bool
) -> int:
    """`scv topics create`."""
    from eventlog.admin import create_topics, describe_topics

    settings = settings_with(kafka=kafka, generation=generation, partitions=partitions)
    created = create_topics(
        settings.kafka, settings.partitions, settings.generation, replication=settings.replication
    )
    held = describe_topics(settings.kafka)
    if as_json:
        say_json({"created": created, "topics": held})
        return Exit.OK
    for name in created:
        say(f"created {name}, {held[name]} {'lane' if held[name] == 1 else 'lanes'}")
    say(
        f"{settings.kafka}: {len(created)} topics created, all are there"
        if created
        else f"{settings.kafka}: all are there"
    )
    return Exit.OK


def run_worker(
    *,
    kafka: str | None,
    redis: str | None,
    generation: str | None,
    session_timeout_seconds: float | None,
    metrics_port: int | None,
    publish: bool,
) -> int:
    """`scv worker`, with a publisher beside it unless that runs elsewhere."""
    settings = settings_with(
        kafka=kafka,
        redis=redis,
        generation=generation,
        session_timeout_seconds=session_timeout_seconds,
        metrics_port=metrics_port,
    )
    refuse_unfit_store(settings)
    refuse_missing_topics(settings)
    refuse_unbuilt(settings)
    with PublisherBeside(settings) if publish else nullcontext():
        # Last, because it imports Faust: a wrong address is told at once.
        from streams.worker import run

        return run(settings)


def run_publisher(*, kafka: str | None, redis: str | None, session_timeout_seconds: float | None) -> int:
    """`scv publisher`."""
    settings = settings_with(kafka=kafka, redis=redis, session_timeout_seconds=session_timeout_seconds)
    refuse_unfit_store(settings)
    # A publisher knows no generation: link logs are not its business.
    refuse_missing_topics(settings, (CHANGES, PROFILES, GENERATIONS))
    yield_to_folding()
    from streams.publishing import run

    log_in_lines()
    return run(settings)


def refuse_unfit_store(settings: Settings) -> None:
    """Failure unless the store answers, is new enough, and never evicts."""
    import redis

    from stores.connection import check_server, connect

    client = connect(settings.redis)
    try:
        check_server(client)
    except redis.AuthenticationError as refused:
        raise Failure(
            Exit.REFUSED, f"{settings.redis_shown}: {refused}; check user and password in SCV_REDIS"
        ) from None
    except (redis.ConnectionError, redis.TimeoutError) as away:
        raise Failure(
            Exit.AWAY, f"{settings.redis_shown}: Redis does not answer ({away}); start it, or set SCV_REDIS"
        ) from None
    except redis.RedisError as refused:
        raise Failure(
            Exit.REFUSED, f"{settings.redis_shown}: {refused}; check user, password and database"
        ) from None
    finally:
        client.close()


def refuse_unbuilt(settings: Settings) -> None:
    """Failure while a rebuild of this generation has not come to the point from where workers follow."""
    from stores.connection import connect
    from stores.rebuilding import READABLE, Rebuilds

    client = connect(settings.redis)
    try:
        rebuild = Rebuilds(client).get(settings.generation)
    finally:
        client.close()
    if rebuild is not None and rebuild.state not in READABLE:
        name = settings.generation
        raise Failure(
            Exit.REFUSED,
            f"generation {name} is not built yet ({rebuild.state}); `scv rebuild status --generation {name}`",
        )


def refuse_missing_topics(settings: Settings, needed: Sequence[str] = ()) -> None:
    """Failure unless the log answers and has these topics, or else all that a worker needs."""
    from eventlog.admin import describe_topics

    plan = topic_plan(settings.partitions, settings.generation)
    held = describe_topics(settings.kafka)
    missing = [name for name in needed or [topic.name for topic in plan] if name not in held]
    if missing:
        shown = ", ".join(missing[:4]) + (f" and {len(missing) - 4} more" if len(missing) > 4 else "")
        raise Failure(
            Exit.NOT_FOUND,
            f"{settings.kafka}: no topic {shown}; run `scv topics create --kafka {settings.kafka}`",
        )
