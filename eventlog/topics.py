"""The topics of scv: their names, lanes and settings.

Guarantees:
- The log keeps what profiles are made of: domain topics, commands and link logs are neither compacted
  nor ever shortened by age or size.
- Append time on every topic: the broker says when a record was logged, whatever a producer's clock says.
- What is small, written by one process, or whose order across keys counts has one partition.

Partition counts are chosen at creation and stay: a key's records must not be spread over two lanes.
"""

import re
from dataclasses import dataclass
from types import MappingProxyType

from models.catalogue import link_topic

MARKETING = "marketing.events"
SALES = "sales.events"
SERVICE = "service.events"
BILLING = "billing.events"
DOMAIN_TOPICS = (MARKETING, SALES, SERVICE, BILLING)

COMMANDS = "identity.commands"
DEAD_LETTERS = "scv.dead-letters"
SETTLED = "scv.dead-letters.settled"
CHANGES = "scv.changes"
GENERATIONS = "scv.generations"
AUDIT = "scv.audit"

PROFILES = "customer.profiles"
SIGNALS = "customer.signals"
MERGES = "customer.merges"

# The consumer group of publishers. They publish whichever generation is active.
PUBLISHER_GROUP = "scv-publisher"

# Eight workers can share a topic, and one worker's share stays few lanes; docs/scale.md has larger counts.
PARTITIONS = 8

FIRST_GENERATION = "g1"

# Part of topic names and of every key of the store.
GENERATION_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")

DAY_MS = 24 * 60 * 60 * 1000

_APPEND_TIME = {"message.timestamp.type": "LogAppendTime"}
_KEPT_FOR_EVER = _APPEND_TIME | {"cleanup.policy": "delete", "retention.ms": "-1", "retention.bytes": "-1"}
# Of each key the latest record stays; a reader that was away for up to a week still sees removals.
_LATEST_PER_KEY = _APPEND_TIME | {"cleanup.policy": "compact", "delete.retention.ms": str(7 * DAY_MS)}
# A subscriber that was away longer finds what still holds in the profile.
_KEPT_30_DAYS = _APPEND_TIME | {"cleanup.policy": "delete", "retention.ms": str(30 * DAY_MS)}


@dataclass(frozen=True)
class Topic:
    """A topic as scv creates it: its name, number of lanes, and settings that differ from the broker's."""

    name: str
    partitions: int
    settings: MappingProxyType[str, str]


def link_log(generation: str) -> str:
    """The topic of a generation's link facts, `scv.g7.links`; ValueError if that is no generation's name."""
    if not GENERATION_NAME.fullmatch(generation):
        raise ValueError(
            f"generation {generation!r}: at most 32 lower-case letters, digits, dashes, as {FIRST_GENERATION}"
        )
    return link_topic(generation)


def worker_group(generation: str) -> str:
    """The consumer group of the workers that build this generation, `scv-g7`."""
    return f"scv-{generation}"


def topic_plan(partitions: int = PARTITIONS, generation: str = FIRST_GENERATION) -> tuple[Topic, ...]:
    """Every topic that scv creates; `partitions` is the number of lanes of those that many workers share."""
    shared = [(name, _KEPT_FOR_EVER) for name in DOMAIN_TOPICS]
    # The latest notice of a customer is all a publisher needs: it reads the profile itself.
    shared += [(CHANGES, _LATEST_PER_KEY), (PROFILES, _LATEST_PER_KEY), (SIGNALS, _KEPT_30_DAYS)]
    # Order across keys counts, or one process writes it all: commands, links, merges and promotions are
    # histories of the whole; dead letters and audit records are few and looked through as one list.
    single = (COMMANDS, link_log(generation), MERGES, GENERATIONS, DEAD_LETTERS, SETTLED, AUDIT)
    return tuple(
        Topic(name, lanes, MappingProxyType(settings))
        for lanes, group in ((partitions, shared), (1, [(name, _KEPT_FOR_EVER) for name in single]))
        for name, settings in group
    )
