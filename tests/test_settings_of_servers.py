"""Addresses are examined before anything connects, and a password is never shown."""

from __future__ import annotations

import pydantic
import pytest

from models.settings import Settings


@pytest.mark.parametrize("kafka", ["a:1", "a:1, b:2", "[::1]:9092"])
def test_bootstrap_servers_are_hosts_with_ports(kafka: str) -> None:
    assert Settings(kafka=kafka).kafka == kafka


@pytest.mark.parametrize("kafka", ["", "foo", "foo:x", "a:1,", "kafka://a:1"])
def test_other_bootstrap_servers_are_refused(kafka: str) -> None:
    with pytest.raises(pydantic.ValidationError):
        Settings(kafka=kafka)


@pytest.mark.parametrize(
    "url",
    [
        "redis://127.0.0.1:1/0",
        "rediss://h",
        "redis://[::1]:6379/0",
        "unix:///run/s?db=1",
        "redis://h:1/0?protocol=3",
    ],
)
def test_a_store_is_named_by_its_url(url: str) -> None:
    assert Settings(redis=url).redis_shown == url


@pytest.mark.parametrize("url", ["", "http://x", "redis://127.0.0.1:x/0", "127.0.0.1:6379"])
def test_other_urls_are_refused(url: str) -> None:
    with pytest.raises(pydantic.ValidationError):
        Settings(redis=url)


def test_a_password_is_not_shown() -> None:
    assert Settings(redis="redis://ada:s3cret@h:1/0").redis_shown == "redis://…@h:1/0"
