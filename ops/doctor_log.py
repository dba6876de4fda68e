"""What `scv doctor` asks the event log."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from types import MappingProxyType

from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME, Consumer, KafkaException, Message, TopicPartition

from eventlog.admin import create_topics, delete_topics, describe_topics, topic_settings
from eventlog.ends import lane_ends
from eventlog.producing import LogProducer
from eventlog.topics import CHANGES, Topic, topic_plan
from models.catalogue import DOMAIN_TOPICS
from models.settings import Settings
from ops.doctor import Check, clock_check
from streams.publishing import GROUP as PUBLISHERS

# A record that was acknowledged is there; a broker under load needs a moment to hand it out.
READ_SECONDS_MAX = 10.0
TOPICS_NAMED = 5
APPEND_ADVICE = (
    "the log time of events is then their producers' clock: fine for the embedded broker; "
    "on Apache Kafka set message.timestamp.type=LogAppendTime on the topics"
)


def examine(settings: Settings, *, probe: bool) -> Iterator[Check]:
    """Reachable, all topics there with lanes and settings as planned, append time in force."""
    began = time.monotonic()
    held = describe_topics(settings.kafka)
    took_ms = (time.monotonic() - began) * 1_000
    yield Check("kafka", "ok", f"{settings.kafka} answers, {len(held)} topics, asked in {took_ms:.0f} ms")
    plan = topic_plan(settings.partitions, settings.generation)
    yield from _topics(settings, plan, held)
    yield from _append_time(settings, [name for name in DOMAIN_TOPICS if name in held], probe=probe)
    if CHANGES in held:
        yield _publishing(settings.kafka)


def _publishing(bootstrap: str) -> Check:
    """Whether somebody publishes, and how much waits for it."""
    lanes = lane_ends(bootstrap, [CHANGES])
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": PUBLISHERS, "log_level": 0})
    try:
        asked = [TopicPartition(*lane) for lane in lanes]
        committed = {
            (one.topic, one.partition): one.offset for one in consumer.committed(asked, READ_SECONDS_MAX)
        }
    except KafkaException as failed:
        # A broker that never had a group makes room for groups at the first question.
        return Check("publishing", "info", f"not known: {failed.args[0].str()}", "ask again in a moment")
    finally:
        consumer.close()
    waiting = sum(
        max(0, ends.end - max(ends.earliest, committed.get(lane, 0))) for lane, ends in lanes.items()
    )
    if waiting and max(committed.values()) < 0:
        return Check(
            "publishing", "warn", f"nobody publishes: up to {waiting:,} notices wait",
            "start `scv publisher`, or a worker without --no-publish",
        )  # fmt: skip
    return Check("publishing", "ok", f"up to {waiting:,} notices wait")


def _topics(settings: Settings, plan: tuple[Topic, ...], held: dict[str, int]) -> Iterator[Check]:
    missing = [topic.name for topic in plan if topic.name not in held]
    if missing:
        yield Check("topics", "fail", f"missing: {_named(missing)}", "run `scv topics create`")
    present = [topic for topic in plan if topic.name in held]
    if not present:
        return
    counts = {held[name] for name in DOMAIN_TOPICS if name in held}
    if not missing:
        lanes = sum(held[topic.name] for topic in present)
        yield Check("topics", "ok", f"all {len(present)} are there, {lanes} lanes")
    if counts and counts != {settings.partitions}:
        shown = ", ".join(f"{name} {held[name]}" for name in DOMAIN_TOPICS if name in held)
        yield Check(
            "lanes", "info", f"{shown}; SCV_PARTITIONS is {settings.partitions}",
            "harmless: lanes are chosen at creation and stay; never add partitions without a rebuild",
        )  # fmt: skip
    found = topic_settings(settings.kafka, [topic.name for topic in present])
    wrong = [
        f"{topic.name} {name}={found[topic.name].get(name)} (planned {value})"
        for topic in present
        for name, value in topic.settings.items()
        if found[topic.name].get(name) != value
    ]
    if wrong:
        yield Check(
            "topic settings", "fail", _named(wrong),
            "retention or compaction removes facts that a rebuild needs; set them back with kafka-configs",
        )  # fmt: skip
    else:
        yield Check("topic settings", "ok", "append time asked for, retention and compaction as planned")


def _append_time(settings: Settings, topics: list[str], *, probe: bool) -> Iterator[Check]:
    if probe:
        yield from _probe(settings.kafka)
        return
    message = _last_message(settings.kafka, topics) if topics else None
    if message is None:
        yield Check("append time", "info", "no record yet that would tell", "run `scv doctor --probe`")
    else:
        yield _kind_of_time(message)


def _kind_of_time(message: Message) -> Check:
    if message.timestamp()[0] == TIMESTAMP_LOG_APPEND_TIME:
        return Check("append time", "ok", "the broker says when a record was logged")
    return Check("append time", "warn", "the broker keeps the producer's time", APPEND_ADVICE)


def _probe(bootstrap: str) -> Iterator[Check]:
    """One record in a topic of its own tells which time the broker gives, and whether that is our time."""
    name = f"scv.doctor-{secrets.token_hex(4)}"
    topic = Topic(name, 1, MappingProxyType({"message.timestamp.type": "LogAppendTime"}))
    create_topics(bootstrap, plan=[topic])
    try:
        with LogProducer(bootstrap, client_id="scv-doctor") as producer:
            producer.produce(name, b"probe", b"{}")
        message = _last_message(bootstrap, [name])
        if message is None:
            yield Check(
                "append time",
                "fail",
                "a record that was acknowledged cannot be read",
                "look at the broker's log",
            )
            return
        yield _kind_of_time(message)
        if message.timestamp()[0] == TIMESTAMP_LOG_APPEND_TIME:
            yield clock_check("kafka clock", message.timestamp()[1] / 1_000)
    finally:
        delete_topics(bootstrap, [name])


def _last_message(bootstrap: str, topics: list[str]) -> Message | None:
    """The last record of the first lane that holds one."""
    lanes = [
        (lane, ends.end) for lane, ends in lane_ends(bootstrap, topics).items() if ends.end > ends.earliest
    ]
    if not lanes:
        return None
    (topic, partition), end = lanes[0]
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "scv-doctor",
            "enable.auto.commit": False,
            "log_level": 0,
        }
    )
    try:
        consumer.assign([TopicPartition(topic, partition, end - 1)])
        message = consumer.poll(READ_SECONDS_MAX)
        return message if message is not None and message.error() is None else None
    finally:
        consumer.close()


def _named(names: list[str]) -> str:
    more = len(names) - TOPICS_NAMED
    return ", ".join(names[:TOPICS_NAMED]) + (f" and {more} more" if more > 0 else "")
