"""API keys: who may do what, hashed in a file that is read again when it changes.

Invariants:
- The file holds SHA-256 of each key, never a key: keys have 256 random bits, so nothing slower is needed.
- A file that cannot be read or makes no sense opens nothing: every request is refused until it is mended.
- The file is replaced whole, with mode 0600: a reader sees the old keys or the new ones.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import secrets
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import msgspec

SCOPES = {
    "profile:read": "look up and read profiles, with personal data masked",
    "profile:read.pii": "the same, with personal data as it is",
    "profile:reveal": "see single masked fields, each time with a reason",
    "timeline:read": "read timelines",
    "events:write": "write events",
    "identity:write": "link and unlink identities",
    "privacy:write": "order erasures and exports",
    "ops": "see how the installation is doing; redrive and discard dead letters",
}
# What a scope brings along.
IMPLIED = {"profile:read.pii": ("profile:read",)}

PREFIX = "scv_"
ID_BYTES = 4
SECRET_BYTES = 32
# Each calling system has one or two; a file of more is a list of people, who belong behind one of those.
KEYS_MAX = 1_000
NAME_MAX = 80


class KeysUnreadable(Exception):
    """The file of keys is there and cannot be used; the message says why."""


class ApiKey(msgspec.Struct, frozen=True):
    """What is kept of a key. `id` is its public beginning; `name` says whose it is."""

    id: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{8}\Z")]
    name: str
    sha256: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")]
    scopes: list[str]
    created_at: str

    def allows(self, scope: str) -> bool:
        """Whether the key may do this."""
        return scope in self.scopes or any(scope in IMPLIED.get(held, ()) for held in self.scopes)


class _File(msgspec.Struct):
    keys: Annotated[list[ApiKey], msgspec.Meta(max_length=KEYS_MAX)]


def read_keys(path: Path) -> list[ApiKey]:
    """The keys of a file; none when there is no file. KeysUnreadable."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=_File).keys
    except FileNotFoundError:
        return []
    except (OSError, msgspec.DecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise KeysUnreadable(f"{path}: {reason}; mend it, or move it away and create keys anew") from None


def create_key(path: Path, scopes: Collection[str], name: str) -> tuple[ApiKey, str]:
    """Add a key to the file; gives it with the secret text, which is kept nowhere. ValueError."""
    if unknown := [scope for scope in scopes if scope not in SCOPES]:
        raise ValueError(f"no scope {', '.join(unknown)}; there are: {', '.join(SCOPES)}")
    if not scopes:
        raise ValueError(f"a key needs a scope; there are: {', '.join(SCOPES)}")
    if len(name) > NAME_MAX:
        raise ValueError(f"the name has {len(name)} characters; at most {NAME_MAX}")
    key_id = secrets.token_hex(ID_BYTES)
    secret = f"{PREFIX}{key_id}_{secrets.token_urlsafe(SECRET_BYTES)}"
    made = ApiKey(
        key_id,
        name,
        digest(secret),
        list(dict.fromkeys(scopes)),
        datetime.now(UTC).isoformat(timespec="seconds"),
    )
    with _alone(path):
        held = read_keys(path)
        if len(held) >= KEYS_MAX:
            raise ValueError(f"{path} holds {len(held)} keys, and no more fit; revoke some")
        _write(path, [*held, made])
    return made, secret


def revoke_key(path: Path, key_id: str) -> ApiKey | None:
    """Take a key out of the file; None when there is none of this id."""
    with _alone(path):
        held = read_keys(path)
        gone = next((key for key in held if key.id == key_id), None)
        if gone is not None:
            _write(path, [key for key in held if key.id != key_id])
    return gone


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """One writer at a time: a key that was revoked meanwhile must not come back."""
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        fcntl.flock(directory, fcntl.LOCK_EX)
        yield
    finally:
        os.close(directory)


def digest(secret: str) -> str:
    """What is kept of a key's text."""
    return hashlib.sha256(secret.encode(errors="replace")).hexdigest()


def _write(path: Path, keys: list[ApiKey]) -> None:
    text = msgspec.json.format(msgspec.json.encode(_File(keys)), indent=2)
    # mkstemp makes it readable for its owner alone.
    handle, made = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(text + b"\n")
            file.flush()
            os.fsync(file.fileno())
        Path(made).replace(path)
    except BaseException:
        Path(made).unlink(missing_ok=True)
        raise


class KeyRing:
    """The keys of a file as they are now."""

    def __init__(self, path: Path) -> None:
        self.path, self._name = path, str(path)
        self._seen: tuple[int, int, int] | None = None
        self._by_digest: dict[str, ApiKey] = {}
        self._wrong: str | None = None

    def find(self, secret: str) -> ApiKey | None:
        """The key of this text; None when it is none, or none any more. KeysUnreadable."""
        self.refresh()
        if self._wrong is not None:
            raise KeysUnreadable(self._wrong)
        return self._by_digest.get(digest(secret))

    def holds(self, key: ApiKey) -> bool:
        """Whether the key is still one, for what goes on for long."""
        self.refresh()
        return self._wrong is None and self._by_digest.get(key.sha256) == key

    def refresh(self) -> None:
        """Read the file again if it is another one by now: asking that takes a microsecond or two."""
        try:
            found = os.stat(self._name)  # noqa: PTH116 - for each request, and a Path takes twice the time
            seen = (found.st_mtime_ns, found.st_size, found.st_ino)
        except FileNotFoundError:
            seen = (0, 0, 0)
        except OSError as error:
            self._seen, self._wrong = None, f"{self.path}: {error.strerror}"
            return
        if seen == self._seen:
            return
        try:
            self._by_digest = {key.sha256: key for key in read_keys(self.path)}
            self._seen, self._wrong = seen, None
        except KeysUnreadable as unreadable:
            self._seen, self._wrong = seen, str(unreadable)
