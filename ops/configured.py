"""The settings of a command: variables and file, with what its options say on top.

Invariants:
- A wrong setting is one line that names it, a wrong file of rules one line for each mistake; nothing has been
  connected to by then.
"""

from __future__ import annotations

import getpass
import os
import tomllib
from pathlib import Path
from typing import Any

import pydantic

from models.rules import RulesError
from models.settings import CONFIG_VARIABLE, Settings
from ops.failures import Exit, Failure


def settings_with(**chosen: Any) -> Settings:
    """The settings, with these in front of variables and file; what is None was not chosen."""
    path = os.environ.get(CONFIG_VARIABLE)
    if path and not Path(path).is_file():
        raise Failure(Exit.USAGE, f"{CONFIG_VARIABLE}={path}: no such file; name a TOML file or unset it")
    try:
        settings = Settings(**{name: value for name, value in chosen.items() if value is not None})
        # Read here, so that a wrong file of rules is found before anything is connected to.
        _ = settings.identity_rules
        return settings
    except RulesError as error:
        raise Failure(Exit.USAGE, *error.lines) from None
    except tomllib.TOMLDecodeError as error:
        raise Failure(Exit.USAGE, f"{path}: not TOML: {error}") from None
    except pydantic.ValidationError as error:
        first = error.errors(include_url=False)[0]
        name = ".".join(str(step) for step in first["loc"]) or "settings"
        raise Failure(
            Exit.USAGE,
            f"setting {name} ({Settings.model_config['env_prefix']}{name.upper()}): {first['msg']}, "
            f"not {str(first['input'])[:60]!r}; docs/settings.md explains each",
        ) from None


def login() -> str:
    """Whoever runs this command; empty where the system does not know."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return ""
