"""From a dead letter to the record that takes its place: as it was received, or corrected.

Invariants:
- The code that decides is the workers': what it lets through is folded, were it written now.
- A record goes back to the lane it came from, as long as topic and key stay: one key, one lane.
- Corrected or not, it says in a header which dead letter it stands for.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from models.careful import envelope_of, read
from models.catalogue import COMMAND_TOPIC, DOMAIN_TOPICS, topic_of
from models.dead_letter import Fault, Reason
from models.event import EVENT_TYPES
from models.letters import REDRIVEN_HEADER, Letter
from models.link import LinkFact
from models.rules import IdentityRules
from projections.forwarding import fact_of

REDRIVABLE = (*DOMAIN_TOPICS, COMMAND_TOPIC)
CONTENT_TYPE = ("content-type", b"application/cloudevents+json")


class Redriven(NamedTuple):
    """The record to write: `partition` None means that its lane follows from its key."""

    topic: str
    partition: int | None
    key: bytes
    value: bytes
    headers: tuple[tuple[str, bytes | None], ...]
    type: str
    subject: str
    corrected: bool


def redriven(letter: Letter, corrected: bytes | None, rules: IdentityRules, log_us: int) -> Redriven | Fault:
    """The record that stands for the letter, with this event in place of its value; or what is still wrong.

    `corrected` is a whole CloudEvent as JSON; its subject becomes the key. `log_us` is the instant it counts
    as logged at.
    """
    key, value, headers = letter.key, letter.value, letter.headers
    lane = letter.position.lane
    if lane.topic not in REDRIVABLE:
        return Fault(letter.fault.reason, "", f"{lane.topic} is written by scv alone: discard it")
    if corrected is None and letter.omitted_bytes:
        return Fault(letter.fault.reason, "", f"{letter.omitted_bytes} bytes of it did not travel along")
    if corrected is not None:
        value, headers = corrected, (CONTENT_TYPE,)
    envelope = envelope_of(value, headers)
    if isinstance(envelope, Fault):
        return envelope
    if corrected is not None:
        subject = envelope.get("subject")
        try:
            key = subject.encode() if isinstance(subject, str) else None
        except UnicodeEncodeError:
            return Fault(Reason.MALFORMED_SUBJECT, "/subject", "not UTF-8")
    wire_type = envelope.get("type")
    topic = lane.topic
    if isinstance(wire_type, str) and wire_type in EVENT_TYPES:
        topic = topic_of(wire_type)
    event = read(topic, key, value, headers, log_us)
    if isinstance(event, Fault):
        return event
    assert key is not None and value is not None
    if topic == COMMAND_TOPIC:
        fact: LinkFact | Fault | None = fact_of(event, f"{topic}-0", 0, rules)
        if isinstance(fact, Fault):
            return fact
    stays = topic == lane.topic and key == letter.key
    return Redriven(
        topic,
        lane.partition if stays else None,
        key,
        value,
        (*_without_mark(headers), (REDRIVEN_HEADER, str(letter.position).encode())),
        event.type,
        event.subject,
        corrected is not None,
    )


def _without_mark(headers: tuple[tuple[str, bytes | None], ...]) -> tuple[tuple[str, bytes | None], ...]:
    return tuple(one for one in headers if one[0] != REDRIVEN_HEADER)


def event_in(letter: Letter) -> msgspec.Raw | None:
    """The letter's event as one JSON object, to be corrected; None where its value is no JSON object."""
    envelope = envelope_of(letter.value, letter.headers)
    return None if isinstance(envelope, Fault) else msgspec.Raw(msgspec.json.encode(envelope))
