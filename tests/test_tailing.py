"""Following a topic: from when it is there, and with the lanes it has by now."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from types import MappingProxyType

import pytest

from eventlog import tailing
from eventlog.admin import create_topics
from eventlog.embedded import EmbeddedBroker
from eventlog.producing import LogProducer
from eventlog.tailing import Tail
from eventlog.topics import Topic


@pytest.fixture
def followed(embedded_broker: EmbeddedBroker, unique: str) -> Iterator[tuple[Tail, str, list[bytes]]]:
    """A topic that does not exist yet, and what was heard of it."""
    heard: list[bytes] = []
    tail = Tail(embedded_broker.bootstrap, f"t-{unique}", heard.extend, lambda: None)
    yield tail, embedded_broker.bootstrap, heard
    tail.close()


def test_a_topic_that_comes_later_is_followed_then(
    followed: tuple[Tail, str, list[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    tail, bootstrap, heard = followed
    monkeypatch.setattr(tailing, "AGAIN_SECONDS", 0.05)
    # So that it has looked at least once in vain.
    while not tail._warned:
        threading.Event().wait(0.01)
    assert not tail.following.is_set()
    create_topics(bootstrap, plan=[Topic(tail.topic, 2, MappingProxyType({}))])
    assert tail.following.wait(30)
    with LogProducer(bootstrap) as producer:
        producer.produce(tail.topic, b"crm:1", b"x")
    while not heard:
        threading.Event().wait(0.01)
    assert heard == [b"crm:1"]
