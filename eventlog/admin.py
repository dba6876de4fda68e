"""Creating, describing and deleting topics. What their lanes hold: `eventlog.ends`.

Guarantees:
- Creating is idempotent and never changes a topic that exists: not its lanes, not its settings.
- Every answer or a LogError of one line; nothing waits longer than `ANSWER_SECONDS_MAX`.

Each call connects, asks and disconnects (about 15 ms): for start-up, the command line and tests.
"""

import contextlib
import logging
import time
from collections.abc import Collection, Iterable, Iterator

from confluent_kafka import KafkaError as ClientError
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from kafka import KafkaAdminClient
from kafka.admin import ConfigResource
from kafka.errors import KafkaError, KafkaTimeoutError

from eventlog.ends import ANSWER_SECONDS_MAX, CONNECT_SECONDS_MAX
from eventlog.errors import LogError, LogUnavailable, NoSuchTopic
from eventlog.topics import FIRST_GENERATION, PARTITIONS, Topic, topic_plan

TOPIC_ALREADY_EXISTS = 36
# As the protocol says "as many copies as you like".
BROKERS_DEFAULT = -1

# All that matters of its many lines on a lost connection arrives as the error that it raises.
if logging.getLogger("kafka").level == logging.NOTSET:
    logging.getLogger("kafka").setLevel(logging.CRITICAL)


def create_topics(
    bootstrap: str,
    partitions: int = PARTITIONS,
    generation: str = FIRST_GENERATION,
    plan: Iterable[Topic] | None = None,
    replication: int = BROKERS_DEFAULT,
) -> list[str]:
    """Create the topics of the plan that do not exist yet, and return their names, in the plan's order.

    `plan` replaces the whole plan of topics.py; `replication` is the number of copies of each lane, else as
    many as the broker's `default.replication.factor` says. Returns when every lane has a leader.
    """
    topics = tuple(plan) if plan is not None else topic_plan(partitions, generation)
    with _admin(bootstrap) as admin:
        existing = set(admin.list_topics())
        wanted = {
            topic.name: {
                "num_partitions": topic.partitions,
                "replication_factor": replication,
                "configs": dict(topic.settings),
            }
            for topic in topics
            if topic.name not in existing
        }
        if not wanted:
            return []
        created = []
        for answer in admin.create_topics(wanted, raise_errors=False)["topics"]:
            if answer["error_code"] == 0:
                created.append(answer["name"])
            elif answer["error_code"] != TOPIC_ALREADY_EXISTS:  # another process created it in between
                raise LogError(f"{bootstrap}: topic {answer['name']} not created: {answer['error_message']}")
        admin.wait_for_topics(list(wanted), timeout_ms=int(ANSWER_SECONDS_MAX * 1000))
        return sorted(created, key=list(wanted).index)


def delete_topics(bootstrap: str, topics: Collection[str]) -> None:
    """Delete these topics and all they hold, for good; one that does not exist is fine.

    Returns when the broker lists them no more.
    """
    with _admin(bootstrap) as admin:
        present = sorted(set(admin.list_topics()) & set(topics))
        if not present:
            return
        admin.delete_topics(present)
        deadline = time.monotonic() + ANSWER_SECONDS_MAX
        while left := set(admin.list_topics()) & set(present):
            if time.monotonic() > deadline:
                raise LogUnavailable(
                    f"{bootstrap}: still lists {', '.join(sorted(left))} after deleting them"
                )
            time.sleep(0.02)


def group_members(bootstrap: str, group: str) -> int:
    """How many consumers are in a group now; 0 for one that does not exist. LogUnavailable."""
    client = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
    try:
        described = client.describe_consumer_groups([group], request_timeout=ANSWER_SECONDS_MAX)
        return len(described[group].result(ANSWER_SECONDS_MAX).members)
    except KafkaException as failed:
        if failed.args[0].code() == ClientError.GROUP_ID_NOT_FOUND:
            return 0
        raise LogUnavailable(f"{bootstrap}: group {group}: {failed.args[0].str()}") from failed


def describe_topics(bootstrap: str) -> dict[str, int]:
    """The number of lanes of every topic that is not Kafka's own."""
    with _admin(bootstrap) as admin:
        return {
            topic["name"]: len(topic["partitions"])
            for topic in admin.describe_topics()
            if not topic["is_internal"] and topic["error_code"] == 0
        }


def topic_settings(bootstrap: str, topics: Collection[str]) -> dict[str, dict[str, str | None]]:
    """The settings in force of each topic, as the broker reports them.

    The embedded broker reports only those given at creation, whether it heeds them or not.
    """
    if not topics:
        return {}
    with _admin(bootstrap) as admin:
        described = admin.describe_topics(sorted(set(topics)))
        missing = sorted(topic["name"] for topic in described if topic["error_code"] != 0)
        if missing:
            raise NoSuchTopic(f"{bootstrap}: no topic {', '.join(missing)}; run `scv topics create`")
        answer = admin.describe_configs(
            [ConfigResource("TOPIC", name) for name in topics], config_filter="all"
        )
        return {
            name: {setting: entry["value"] for setting, entry in settings.items()}
            for name, settings in answer["topic"].items()
        }


@contextlib.contextmanager
def _admin(bootstrap: str) -> Iterator[KafkaAdminClient]:
    """A connected client; what it raises leaves as a LogError."""
    connections = []

    def connect(**settings: object) -> object:
        connections.append(KafkaAdminClient.DEFAULT_CONFIG["kafka_client"](**settings))
        return connections[-1]

    try:
        yield KafkaAdminClient(
            bootstrap_servers=bootstrap,
            client_id="scv-admin",
            kafka_client=connect,
            bootstrap_timeout_ms=int(CONNECT_SECONDS_MAX * 1000),
            request_timeout_ms=int(ANSWER_SECONDS_MAX * 1000),
        )
    except KafkaTimeoutError as failed:
        raise LogUnavailable(
            f"{bootstrap}: no answer from Kafka ({failed}); is it running there?"
        ) from failed
    except KafkaError as failed:
        raise (LogUnavailable if failed.retriable else LogError)(f"{bootstrap}: {failed}") from failed
    finally:
        # Of a client that could not connect, too: it does not close what it opened itself.
        for connection in connections:
            connection.close()
