"""`scv up --workers` and docker-compose.yml run several workers, and these share the lanes."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import typer.main
import yaml

from eventlog.apache import KAFKA_VERSION
from eventlog.processes import free_port
from eventlog.topics import topic_plan
from models.catalogue import COMMAND_TOPIC, DOMAIN_TOPICS
from models.settings import Settings
from ops import cli
from tests.scraping import scrape, series

ROOT = Path(__file__).parent.parent
WAIT_SECONDS_MAX = 120.0
LANES_READ = {
    (topic.name, partition)
    for topic in topic_plan(Settings.model_fields["partitions"].default, "g1")
    if topic.name in (*DOMAIN_TOPICS, COMMAND_TOPIC, "scv.g1.links")
    for partition in range(topic.partitions)
}


def lanes_of(port: int) -> set[tuple[str, int]]:
    """The lanes that the worker with its metrics there has now; none before it answers."""
    try:
        figures = series(scrape(port))
    except OSError:
        return set()
    return {
        (dict(labels)["topic"], int(dict(labels)["partition"]))
        for name, labels in figures
        if name == "scv_lane_lag_records"
    }


def test_up_starts_as_many_workers_as_it_is_told_and_they_share_all_lanes() -> None:
    port = free_port()
    command = [sys.executable, "-m", "ops.cli", "up", "--json", "--workers", "2", "--metrics-port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        try:
            assert running.stdout is not None
            assert json.loads(running.stdout.readline())["kafka"]
            deadline = time.monotonic() + WAIT_SECONDS_MAX
            while True:
                first, second = lanes_of(port), lanes_of(port + 1)
                if first and second and first | second == LANES_READ and not first & second:
                    break
                assert time.monotonic() < deadline, (first, second)
                time.sleep(0.1)
        finally:
            running.send_signal(signal.SIGTERM)
            _, errors = running.communicate(timeout=WAIT_SECONDS_MAX)
    assert (running.returncode, errors) == (0, "")
    assert abs(len(first) - len(second)) <= 1, "each has half of them"


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    """The services, as docker compose reads them."""
    return yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]


def test_nothing_of_the_compose_worker_keeps_a_second_one_from_starting(compose: dict[str, Any]) -> None:
    """A name, a port of this machine or a volume of its own could be held by one container only."""
    worker = compose["worker"]
    assert not {"container_name", "ports", "volumes", "network_mode", "deploy", "hostname"} & worker.keys()
    assert worker["depends_on"] == {
        "topics": {"condition": "service_completed_successfully"},
        "redis": {"condition": "service_healthy"},
    }


@pytest.mark.parametrize("service", ["topics", "worker", "serve"])
def test_compose_runs_commands_and_settings_that_there_are(service: str, compose: dict[str, Any]) -> None:
    command: Any = typer.main.get_command(cli.app)
    for word in compose[service]["command"]:
        command = command.commands[word]
    chosen = {name.removeprefix("SCV_").lower(): one for name, one in compose[service]["environment"].items()}
    settings = Settings(**chosen)
    assert chosen.keys() <= Settings.model_fields.keys()
    address = compose["kafka"]["environment"]["KAFKA_ADVERTISED_LISTENERS"]
    assert f"PLAINTEXT://{settings.kafka}," in address
    assert settings.redis == "redis://redis:6379/0"


def test_compose_serves_http_where_it_says_with_keys_that_outlive_the_container(
    compose: dict[str, Any],
) -> None:
    serve = compose["serve"]
    chosen = {name.removeprefix("SCV_").lower(): one for name, one in serve["environment"].items()}
    settings = Settings(**chosen)
    # From this machine only: it speaks plain HTTP.
    assert serve["ports"] == [f"127.0.0.1:{settings.http_port}:{settings.http_port}"]
    assert settings.http_host == "0.0.0.0", "containers have an address of their own"
    [kept] = serve["volumes"]
    volume, _, directory = kept.partition(":")
    whole = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    assert str(settings.http_keys.parent) == directory and volume in whole["volumes"]
    # A new volume is whose the directory of the image is; that user must be able to write the file.
    assert f"install --directory --owner scv --mode 0700 {directory}" in (ROOT / "Dockerfile").read_text()
    assert f":{settings.http_port}/readyz" in serve["healthcheck"]["test"][-1]


def test_compose_runs_the_servers_that_tests_run(compose: dict[str, Any]) -> None:
    assert compose["kafka"]["image"] == f"apache/kafka:{KAFKA_VERSION}"
    assert compose["redis"]["image"] == "redis:7"
    assert compose["redis"]["command"][1:3] == ["--maxmemory-policy", "noeviction"]
    assert "healthcheck" in compose["redis"] and "healthcheck" in compose["kafka"]


def test_prometheus_finds_the_workers_of_compose_where_the_page_says(compose: dict[str, Any]) -> None:
    page = (ROOT / "docs" / "metrics.md").read_text()
    [block] = [one.partition("```")[0] for one in page.split("```yaml\n")[1:]]
    [job] = yaml.safe_load(block)["scrape_configs"]
    [found] = job["dns_sd_configs"]
    environment = compose["worker"]["environment"]
    assert found["names"] == ["worker"]
    assert str(found["port"]) == environment["SCV_METRICS_PORT"]
    assert environment["SCV_METRICS_HOST"] == "0.0.0.0"
