"""Records whose writers are told where they lie, while the broker comes and goes."""

from __future__ import annotations

import pytest

from eventlog import acknowledged
from eventlog.acknowledged import AcknowledgedProducer, Place
from eventlog.admin import create_topics
from eventlog.embedded import EmbeddedBroker
from eventlog.errors import ProduceFailed
from eventlog.topics import SALES
from models.record import Lane
from tests.http_world import wait_until

ANSWER_SECONDS_MAX = 20.0


def test_after_a_broker_that_has_forgotten_everything_records_are_written_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Such a broker refuses the numbers that the client gave its records, which ends the client for good."""
    monkeypatch.setattr(acknowledged, "ACK_SECONDS", 2.0)
    broker = EmbeddedBroker()
    try:
        create_topics(broker.bootstrap, 1)
        producer = AcknowledgedProducer(broker.bootstrap)
        wait_until(lambda: write(producer).exception(ANSWER_SECONDS_MAX) is None)
        assert write(producer).result(ANSWER_SECONDS_MAX)[0] == Lane(SALES, 0)
        broker.stop()
        with pytest.raises(ProduceFailed, match="not acknowledged"):
            write(producer).result(ANSWER_SECONDS_MAX)
        broker = EmbeddedBroker(int(broker.bootstrap.rpartition(":")[2]))
        create_topics(broker.bootstrap, 1)
        told: list[BaseException | None] = []

        def written() -> bool:
            places = [write(producer) for _ in range(3)]
            told.extend(place.exception(ANSWER_SECONDS_MAX) for place in places)
            return told[-3:] == [None] * 3

        wait_until(written)
        assert any("Unknown Producer Id" in str(one) for one in told), "the client did meet its end"
        assert {type(one) for one in told} <= {type(None), ProduceFailed}, "every writer was told"
        producer.close()
    finally:
        broker.stop()


def write(producer: AcknowledgedProducer) -> Place:
    """One record, always of the same key."""
    return producer.produce(SALES, b"crm:1", b"{}")
