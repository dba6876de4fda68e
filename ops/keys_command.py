"""`scv keys`: create, list, revoke API keys.

Invariants:
- A key's text is printed once, when it is made; nothing keeps it.
- A server that runs takes up the change with its next request.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ops.answers import say, say_json, show
from ops.configured import settings_with
from ops.failures import Exit, Failure


def run_keys_create(scopes: Sequence[str], *, name: str, keys: Path | None, as_json: bool) -> int:
    """Make a key with these scopes."""
    from api.keys import KeysUnreadable, create_key

    path = settings_with(http_keys=keys).http_keys
    try:
        made, secret = create_key(path, [scope for one in scopes for scope in _split(one)], name)
    except KeysUnreadable as unreadable:
        raise Failure(Exit.REFUSED, str(unreadable)) from None
    except ValueError as wrong:
        raise Failure(Exit.USAGE, str(wrong)) from None
    if as_json:
        say_json({"id": made.id, "name": made.name, "scopes": made.scopes, "key": secret, "file": str(path)})
    else:
        say(secret)
        say(f"Shown this once. Its hash is in {path}, with {', '.join(made.scopes)}; revoke it as {made.id}.")
    return Exit.OK


def _split(text: str) -> list[str]:
    return [part for piece in text.split(",") if (part := piece.strip())]


def run_keys_list(*, keys: Path | None, as_json: bool) -> int:
    """Show all keys: ids, names, scopes."""
    from api.keys import ApiKey, KeysUnreadable, read_keys

    path = settings_with(http_keys=keys).http_keys
    try:
        held = read_keys(path)
    except KeysUnreadable as unreadable:
        raise Failure(Exit.REFUSED, str(unreadable)) from None
    if as_json:
        fields = [name for name in ApiKey.__struct_fields__ if name != "sha256"]
        shown = [{name: getattr(key, name) for name in fields} for key in held]
        say_json({"file": str(path), "keys": shown})
        return Exit.OK
    if not held:
        say(f"{path}: no keys; `scv keys create --scope profile:read` makes one")
        return Exit.OK
    from rich.table import Table
    from rich.text import Text

    table = Table("id", "name", "scopes", "created")
    for key in held:
        table.add_row(key.id, Text(key.name), ", ".join(key.scopes), key.created_at)
    show(table)
    return Exit.OK


def run_keys_revoke(key_id: str, *, keys: Path | None, as_json: bool) -> int:
    """Take a key away; exit code 4 when there is none of this id."""
    from api.keys import KeysUnreadable, revoke_key

    path = settings_with(http_keys=keys).http_keys
    try:
        gone = revoke_key(path, key_id)
    except KeysUnreadable as unreadable:
        raise Failure(Exit.REFUSED, str(unreadable)) from None
    if gone is None:
        raise Failure(Exit.NOT_FOUND, f"{path}: no key {key_id!r}; `scv keys list` shows all")
    if as_json:
        say_json({"revoked": gone.id, "name": gone.name})
    else:
        say(f"revoked {gone.id}{f' ({gone.name})' if gone.name else ''}: its next request is refused")
    return Exit.OK
