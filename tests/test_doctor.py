"""`scv doctor` finds what is wrong, says what to do, and its exit code tells a program."""

from typing import Any

import msgspec
import pytest

from eventlog.admin import create_topics, delete_topics, describe_topics
from eventlog.processes import free_port
from eventlog.topics import DOMAIN_TOPICS, Topic
from ops import cli, doctor
from ops.failures import Exit
from stores.embedded import EmbeddedStore
from tests.lane_recorder import wait_until
from tests.publishing_world import PublishingWorld


def examined(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, dict[str, Any]]]:
    """The exit code and the checks by name."""
    code = cli.run(["doctor", "--json", *arguments])
    answer = msgspec.json.decode(capsys.readouterr().out)
    assert answer["ok"] == (code == Exit.OK)
    return code, {check["name"]: check for check in answer["checks"]}


def test_a_fit_installation_passes(capsys: pytest.CaptureFixture[str], broker: Any, store: Any):
    create_topics(broker.bootstrap)
    code, checks = examined(capsys, "--kafka", broker.bootstrap, "--redis", store.url, "--probe")
    assert code == Exit.OK, checks
    assert {
        checks[name]["state"] for name in ("python", "packages", "codecs", "redis", "kafka", "topics")
    } == {"ok"}
    assert checks["topic settings"]["state"] == "ok"
    assert checks["redis clock"]["state"] == "ok"
    if broker.kind == "embedded":
        # It takes the setting and ignores it: only a record tells.
        assert checks["append time"]["state"] == "warn"
    else:
        assert checks["append time"]["state"] == "ok"
        assert checks["kafka clock"]["state"] == "ok"
    assert not [name for name in describe_topics(broker.bootstrap) if name.startswith("scv.doctor-")]


def test_missing_topics_fail_and_the_command_that_makes_them_is_named(
    capsys: pytest.CaptureFixture[str], embedded_broker: Any, embedded_store: Any
):
    delete_topics(embedded_broker.bootstrap, list(describe_topics(embedded_broker.bootstrap)))
    code, checks = examined(capsys, "--kafka", embedded_broker.bootstrap, "--redis", embedded_store.url)
    assert code == Exit.FAILED
    assert checks["topics"]["state"] == "fail"
    assert "scv topics create" in checks["topics"]["advice"]


def test_a_topic_that_forgets_fails(
    capsys: pytest.CaptureFixture[str], embedded_broker: Any, embedded_store: Any
):
    delete_topics(embedded_broker.bootstrap, list(describe_topics(embedded_broker.bootstrap)))
    create_topics(embedded_broker.bootstrap, plan=[Topic(DOMAIN_TOPICS[0], 3, {"retention.ms": "1000"})])
    create_topics(embedded_broker.bootstrap, partitions=3)
    code, checks = examined(capsys, "--kafka", embedded_broker.bootstrap, "--redis", embedded_store.url)
    assert code == Exit.FAILED
    assert "marketing.events retention.ms=1000 (planned -1)" in checks["topic settings"]["found"]
    assert checks["lanes"]["state"] == "info"


def test_a_store_that_evicts_fails(capsys: pytest.CaptureFixture[str], embedded_broker: Any):
    with EmbeddedStore({"maxmemory-policy": "allkeys-lru"}) as evicting:
        code, checks = examined(capsys, "--kafka", embedded_broker.bootstrap, "--redis", evicting.url)
    assert code == Exit.FAILED
    assert "noeviction" in checks["redis fitness"]["found"]


def test_servers_that_are_away_are_told_apart_from_those_that_fail(capsys: pytest.CaptureFixture[str]):
    nowhere = free_port()
    code, checks = examined(
        capsys, "--kafka", f"127.0.0.1:{nowhere}", "--redis", f"redis://127.0.0.1:{nowhere}/0"
    )
    assert code == Exit.AWAY
    assert checks["redis"]["state"] == checks["kafka"]["state"] == "away"
    assert "SCV_KAFKA" in checks["kafka"]["advice"]


def test_the_table_says_what_to_do(
    capsys: pytest.CaptureFixture[str], embedded_broker: Any, embedded_store: Any
):
    create_topics(embedded_broker.bootstrap)
    cli.run(["doctor", "--kafka", embedded_broker.bootstrap, "--redis", embedded_store.url])
    said = capsys.readouterr().out
    assert "→ run `scv doctor --probe`" in said
    assert max(len(line) for line in said.splitlines()) <= 100


def test_what_nobody_publishes_is_told(
    capsys: pytest.CaptureFixture[str], embedded_broker: Any, embedded_store: Any
):
    delete_topics(embedded_broker.bootstrap, list(describe_topics(embedded_broker.bootstrap)))
    world = PublishingWorld(embedded_broker.bootstrap, embedded_store.url)
    create_topics(embedded_broker.bootstrap)
    asked = ("--kafka", embedded_broker.bootstrap, "--redis", embedded_store.url)

    def publishing() -> tuple[str, str]:
        # A broker without groups may have to make room for them first.
        wait_until(lambda: examined(capsys, *asked)[1]["publishing"]["state"] != "info", "it is known")
        check = examined(capsys, *asked)[1]["publishing"]
        return check["state"], check["found"]

    world.view.tell("marketing.page_viewed", "web:1", page="/")
    world.view.settle()
    sent = world.send()
    assert publishing() == ("warn", f"nobody publishes: up to {sent} notices wait")
    world.publish()
    assert publishing() == ("ok", "up to 0 notices wait")
    world.close()


def test_a_broken_codec_is_found(monkeypatch: pytest.MonkeyPatch):
    import aiokafka.codec

    monkeypatch.delattr(aiokafka.codec, "zstd_decode")
    (check,) = doctor._codecs()
    assert check.state == "fail"
    assert "aiokafka zstd" in check.found


def test_a_clock_that_is_off_is_worth_a_warning():
    assert doctor.clock_check("redis clock", 0.0).state == "warn"
