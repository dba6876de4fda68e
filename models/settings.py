"""The settings: few, typed, explained, read once.

Invariants:
- Each comes from a variable `SCV_…`, or from the TOML file that `SCV_CONFIG` names; the variable wins.
- What shapes parts is hashed into `shape`, what shapes only derived values into `config` (L5).
"""

from __future__ import annotations

import hashlib
import os
import re
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

import msgspec
from pydantic import BeforeValidator, Field
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from models.rules import IdentityRules, read_rules

CONFIG_VARIABLE = "SCV_CONFIG"
# Changed by hand when a change of the code changes what parts hold or what the profile says of them.
PARTS_VERSION = 4
DERIVE_VERSION = 1

_HOST = r"(\[[0-9A-Fa-f:.]+\]|[^\s,:/@\[\]]+)"
_BROKER = _HOST + r":[0-9]{1,5}"
_BROKERS = rf"^{_BROKER}( *, *{_BROKER})*$"
_STORE = rf"^(rediss?://([^\s/@]*@)?{_HOST}(:[0-9]{{1,5}})?(/[0-9]{{0,4}})?|unix://\S+?)(\?\S*)?$"


def _split(value: Any) -> Any:
    """`crm, shop` as a variable says it; a TOML file has a list."""
    if not isinstance(value, str):
        return value
    return tuple(name for part in value.split(",") if (name := part.strip()))


def _none_if_empty(value: Any) -> Any:
    """A variable that is set to nothing, as compose files write it, names no file."""
    return None if value == "" else value


class Settings(BaseSettings):
    """What a worker or a command needs to know; docs/settings.md explains each for an operator."""

    model_config = SettingsConfigDict(env_prefix="SCV_", extra="forbid", frozen=True)

    kafka: Annotated[str, Field(pattern=_BROKERS)] = Field(
        "127.0.0.1:9092", description="Bootstrap servers of Kafka, as host:port, comma-separated."
    )
    redis: Annotated[str, Field(pattern=_STORE)] = Field(
        "redis://127.0.0.1:6379/0", description="URL of the Redis or Valkey server (7.0 or newer)."
    )
    generation: Annotated[str, Field(pattern=r"^g[1-9][0-9]{0,8}$")] = Field(
        "g1", description="The generation of Redis keys that this worker builds."
    )
    rules: Annotated[Path | None, BeforeValidator(_none_if_empty)] = Field(
        None,
        description="TOML file of identity rules: what differs there from the defaults of docs/identity.md.",
    )
    trust: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split), Field(max_length=50)] = Field(
        (),
        description="CloudEvents sources from the most trusted on; a source not named here is trusted least.",
    )
    partitions: Annotated[int, Field(ge=1, le=10_000)] = Field(
        8, description="Partitions of each domain topic that `scv topics create` creates."
    )
    replication: Annotated[int, Field(ge=1, le=7)] = Field(
        1, description="Replication factor of the topics that `scv topics create` creates."
    )
    cache_mib: Annotated[int, Field(ge=1, le=1_000_000)] = Field(
        256, description="How much memory a worker uses for parts it has seen, in MiB."
    )
    session_timeout_seconds: Annotated[float, Field(ge=1, le=300)] = Field(
        10.0, description="After this long without a heartbeat the group gives a worker's lanes to others."
    )
    metrics_port: Annotated[int, Field(ge=0, le=65_535)] = Field(
        0, description="Port at which a worker serves its metrics; 0: it serves none."
    )
    metrics_host: Annotated[str, Field(pattern=r"^[^\s/]+$")] = Field(
        "127.0.0.1", description="Address that a worker serves its metrics at; 0.0.0.0: all of the machine's."
    )
    http_host: Annotated[str, Field(pattern=r"^[0-9A-Za-z.:_-]{1,255}$")] = Field(
        "127.0.0.1", description="Address that `scv serve` listens on."
    )
    http_port: Annotated[int, Field(ge=1, le=65_535)] = Field(
        8360, description="Port that `scv serve` listens on."
    )
    http_keys: Path = Field(
        Path("scv-keys.json"), description="File of API keys that `scv keys` writes and `scv serve` reads."
    )
    http_requests_per_second: Annotated[float, Field(gt=0, le=1_000_000)] = Field(
        200.0, description="Requests a second that one API key may make; twice that at once."
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments first, then variables, then the TOML file; FileNotFoundError when it names none."""
        sources: tuple[PydanticBaseSettingsSource, ...] = (init_settings, env_settings)
        if path := os.environ.get(CONFIG_VARIABLE):
            # Left to itself, the source would take a missing file for an empty one.
            if not Path(path).is_file():
                raise FileNotFoundError(
                    f"{CONFIG_VARIABLE}={path}: no such file; name a TOML file or unset it"
                )
            sources += (TomlConfigSettingsSource(settings_cls, toml_file=path),)
        return sources

    @property
    def redis_shown(self) -> str:
        """The URL of the store without its password, for lines that people and logs see."""
        return re.sub(r"://[^@/]*@", "://…@", self.redis)

    @cached_property
    def identity_rules(self) -> IdentityRules:
        """The rules of the file, or the defaults; read at the first use. RulesError: all mistakes."""
        return read_rules(self.rules)

    @property
    def shape(self) -> str:
        """Hash of everything that shapes parts; another shape is another generation."""
        return _hash({"parts": PARTS_VERSION, "trust": self.trust, "rules": self.identity_rules.shape})

    @property
    def config(self) -> str:
        """Hash of everything that shapes only derived values, as `meta.config` shows it."""
        return "c-" + _hash({"derive": DERIVE_VERSION})[:4]


def _hash(value: Any) -> str:
    return hashlib.sha256(msgspec.json.encode(value, order="sorted")).hexdigest()[:16]
