"""`scv serve` and `scv keys`: how each is called.

Invariants:
- Importing this module imports typer and nothing heavier; a command imports its own room when it runs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ops.options import AsJson, Kafka, Redis

Keys = Annotated[
    Path | None, typer.Option("--keys", metavar="FILE", help="File of API keys, instead of SCV_HTTP_KEYS.")
]

keys_app = typer.Typer(no_args_is_help=True, help="API keys of the HTTP API.", rich_markup_mode="rich")


def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on, instead of SCV_HTTP_HOST.")] = None,
    port: Annotated[
        int | None, typer.Option(help="Port to listen on, instead of SCV_HTTP_PORT.", min=1, max=65_535)
    ] = None,
    keys: Keys = None,
    kafka: Kafka = None,
    redis: Redis = None,
) -> int:
    """Serve the HTTP API: look-ups, profiles, events, live changes. What it offers is at /docs.

    Refuses to start without an API key (`scv keys create`). Needs no worker in
    this process; start as many servers as you like. Put TLS in front of it.

    \b
    Example:
      scv keys create --scope profile:read --name "call center"
      scv serve --host 0.0.0.0 --port 8360
    """
    from ops.serving import run_serve

    return run_serve(host=host, port=port, keys=keys, kafka=kafka, redis=redis)


@keys_app.command("create")
def keys_create(
    scope: Annotated[
        list[str], typer.Option("--scope", help="What it may do; again or comma-separated for more.")
    ],
    name: Annotated[str, typer.Option(help="Whose it is, for audit records and lists.")] = "",
    keys: Keys = None,
    as_json: AsJson = False,
) -> int:
    """Make an API key. It is printed this once; the file keeps its hash.

    Scopes: profile:read, profile:read.pii, profile:reveal, timeline:read,
    events:write, identity:write, privacy:write, ops (docs/http.md).

    \b
    Examples:
      scv keys create --scope profile:read --scope timeline:read --name "call center"
      scv keys create --scope events:write --name shop --json
    """
    from ops.keys_command import run_keys_create

    return run_keys_create(scope, name=name, keys=keys, as_json=as_json)


@keys_app.command("list")
def keys_list(keys: Keys = None, as_json: AsJson = False) -> int:
    """List API keys: id, name, scopes. Never the keys themselves: nobody has those.

    \b
    Example:
      scv keys list
    """
    from ops.keys_command import run_keys_list

    return run_keys_list(keys=keys, as_json=as_json)


@keys_app.command("revoke")
def keys_revoke(
    key_id: Annotated[str, typer.Argument(metavar="ID", help="As `scv keys list` shows it.")],
    keys: Keys = None,
    as_json: AsJson = False,
) -> int:
    """Take an API key away, at once: servers read the file again with the next request.

    \b
    Example:
      scv keys revoke 8f14e45f
    """
    from ops.keys_command import run_keys_revoke

    return run_keys_revoke(key_id, keys=keys, as_json=as_json)
