"""What `scv doctor` asks the store."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from models.settings import Settings
from ops.doctor import Check, clock_check
from stores.connection import LEAST_VERSION, StoreUnfit, check_server, connect
from stores.keys import ACTIVE


def examine(settings: Settings) -> Iterator[Check]:
    """Reachable, new enough, never evicting, with persistence, at the same time as we are."""
    client = connect(settings.redis)
    try:
        info: Any = client.info()
        product, version = _version(info)
        yield Check(
            "redis", "ok", f"{product} {version} at {settings.redis_shown}, {info['used_memory_human']} used"
        )
        try:
            check_server(client)
            least = ".".join(str(number) for number in LEAST_VERSION)
            yield Check("redis fitness", "ok", f"{least} or newer, maxmemory-policy noeviction")
        except StoreUnfit as unfit:
            yield Check("redis fitness", "fail", str(unfit), "a worker refuses to start on it")
        yield _persistence(info)
        seconds, microseconds = client.time()
        yield clock_check("redis clock", seconds + microseconds / 1e6)
        active: Any = client.get(ACTIVE)
        if active is None:
            yield Check("view", "info", "no generation yet", "the first `scv worker` makes it")
        else:
            yield Check("view", "ok", f"active generation {active.decode().split()[0]}")
    finally:
        client.close()


def _version(info: dict[str, Any]) -> tuple[str, str]:
    if "valkey_version" in info:
        return "Valkey", str(info["valkey_version"])
    return "Redis", str(info["redis_version"])


def _persistence(info: dict[str, Any]) -> Check:
    if info.get("aof_enabled"):
        return Check("redis saves", "ok", "append-only file is on")
    return Check(
        "redis saves", "info", "append-only file is off",
        "after a restart the view is folded again from the log; `CONFIG SET appendonly yes` avoids that",
    )  # fmt: skip
