"""A small world for the commands `scv identity …`: its people, its servers, and what a command says."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

import msgspec
import redis

from eventlog.reading import read_topic
from models.catalogue import DOMAIN_TOPICS, MERGES_TOPIC, link_topic
from models.decoding import microseconds
from models.identifiers import customer_id
from models.link import LinkFact
from ops.installation import Installation
from stores.keys import Keys

KEYS = Keys("g1")
WAIT_SECONDS = 60
SWITCHBOARD = ("phone", "+49309009000")


def event(subject: str, *identifiers: tuple[str, str], **person: str) -> bytes:
    """What a CRM says of a person."""
    stated = [{"type": kind, "value": value} for kind, value in identifiers]
    document = {
        "specversion": "1.0", "id": f"{subject}/{len(identifiers)}/{len(person)}", "source": "crm",
        "type": "marketing.profile_updated", "time": "2026-03-01T10:00:00Z", "subject": subject,
        "data": {"identifiers": stated, **person},
    }  # fmt: skip
    return msgspec.json.encode(document)


# Each test has people of its own, so that their order does not matter.
PEOPLE = {
    "crm:1": event("crm:1", ("email", "one@example.com"), given_name="Ada"),
    "shop:1": event("shop:1", ("email", "uno@example.com"), given_name="Augusta"),
    "crm:2": event("crm:2", ("email", "two@example.com"), ("card", "C-\x1b[31m2"), SWITCHBOARD),
    "web:2": event("web:2", ("email", "two@example.com")),
    "crm:3": event("crm:3", ("phone", "+4930111"), given_name="Mary"),
    "crm:4": event("crm:4", ("phone", "+4930111"), given_name="Marie"),
    "crm:5": event("crm:5", ("email", "five@example.com"), given_name="Joan"),
    "shop:5": event("shop:5", ("email", "cinq@example.com"), given_name="Jeanne"),
    "billing:5": event("billing:5", ("email", "funf@example.com")),
    "crm:6": event("crm:6", ("email", "six@example.com"), given_name="Grace"),
    "shop:6": event("shop:6", ("email", "seis@example.com")),
    "employee:E-1": event("employee:E-1", ("email", "one@example.com")),
    **{f"crm:9{number}": event(f"crm:9{number}", SWITCHBOARD) for number in range(6)},
}


class Facts(list[tuple[int, LinkFact]]):
    """Link facts in the order they are told, one a day."""

    def _at(self) -> int:
        return microseconds(datetime(2026, 1, 5, tzinfo=UTC)) + len(self) * 86_400_000_000

    def say(self, subject: str, *identifiers: str, verified: bool = False) -> None:
        """A lane sees the subject, and what it states."""
        for identifier in (None, *identifiers):
            offset = len(self)
            fact = LinkFact(
                subject, "t-0", offset, self._at(), identifier, verified and identifier is not None
            )
            self.append((offset + 1, fact))

    def command(self, verb: str, subject: str, other: str, actor: str, reason: str) -> None:
        """A person or a program decides."""
        offset = len(self)
        fact = LinkFact(
            subject, "identity.commands-0", offset, self._at(), other, command=verb, actor=actor,
            reason=reason,
        )  # fmt: skip
        self.append((offset + 1, fact))


def settle(installation: Installation) -> None:
    """Return when the worker has assembled all there is, and the graph has heard all of it."""
    deadline = time.monotonic() + WAIT_SECONDS
    for topics in (DOMAIN_TOPICS, (link_topic("g1"),)):
        ends = installation.ends(topics)
        while installation.assembled(ends) < sum(ends.values()):
            installation.check()
            assert time.monotonic() < deadline
            time.sleep(0.05)


class Said:
    """What a command has said."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    @property
    def answer(self) -> Any:
        """Its JSON: one line and nothing else."""
        assert self.out.count("\n") == 1, self.err or self.out
        return msgspec.json.decode(self.out)


def profile(view: redis.Redis, founder: str) -> dict[bytes, bytes]:
    """All that readers see of a profile but `meta`."""
    stored: Any = view.hgetall(KEYS.profile(customer_id(founder)))
    return {name: value for name, value in stored.items() if name not in (b"meta", b"version", b"writer")}


def merges(installation: Installation) -> list[dict[str, Any]]:
    """All records of `customer.merges`."""
    return [
        msgspec.json.decode(one.value or b"") for one in read_topic(installation.settings.kafka, MERGES_TOPIC)
    ]
