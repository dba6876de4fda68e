"""The store on Redis or Valkey, 7.0 and newer.

Invariants:
- The client never retries by itself; whatever leaves it unclear what happened is `StoreAway`.
- One thread uses it. Everything goes over one connection, in order.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from itertools import islice
from typing import Any

import msgspec
import redis

from models.record import Lane
from stores.connection import claim_generation, connect, install_functions
from stores.keys import Keys
from stores.packing import Packing
from stores.pipe import Pipe
from stores.store import (
    Checkpoint,
    Commit,
    Entry,
    Loaded,
    Membership,
    ProfileWrite,
    StoreAway,
    StoreBroken,
)

# Keys of one function call: writing 256 parts of 2 kB blocks the server 1.3 ms, then others get their turn.
KEYS_PER_CALL = 256
# Profiles are sent while the next ones are made: about as long as the server takes for those before.
PROFILES_PER_CALL = 64
# An answer that takes longer than this is as good as none; the lane is then taken up again at its checkpoint.
ANSWER_SECONDS = 30.0

# What a server says when it cannot serve now but may later: nothing was written. The client has classes for
# some and shortens their text; of the others the word comes first.
_LATER = (
    redis.exceptions.OutOfMemoryError, redis.exceptions.ReadOnlyError, redis.exceptions.TryAgainError,
    redis.exceptions.ClusterDownError,
)  # fmt: skip
_LATER_TEXT = re.compile(r"(?:ERR )?(?:LOADING|MISCONF|NOREPLICAS|BUSY|Function not found)\b")

_json = msgspec.json.Decoder(Membership)
_write = msgspec.json.Encoder().encode


@contextmanager
def _asking(what: str) -> Iterator[None]:
    """Turns the client's errors into the two that a worker knows."""
    try:
        yield
    except (redis.ConnectionError, redis.TimeoutError) as error:
        raise StoreAway(f"Redis did not answer ({what}): {error}") from None
    except redis.ResponseError as error:
        text = str(error)
        if isinstance(error, _LATER) or _LATER_TEXT.match(text):
            raise StoreAway(f"Redis cannot serve now ({what}): {text}") from None
        raise StoreBroken(f"Redis refused {what}: {text}") from None


def _chunks(items: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    return (items[at : at + size] for at in range(0, len(items), size))


@lru_cache(maxsize=10_000)
def _lane(raw: bytes) -> Lane:
    return Lane.parse(raw.decode())


def _number(raw: bytes | None) -> int:
    return 0 if raw is None else int(raw)


class RedisStore:
    """The worker's store (`stores.store.Store`) for one generation."""

    def __init__(
        self,
        url: str,
        generation: str,
        shared_above: int,
        shape: str | None = None,
        begin: Callable[[], None] = lambda: None,
    ) -> None:
        self.keys = Keys(generation)
        self.shared_above = shared_above
        self.shape, self._begin = shape, begin
        self._client = connect(url, ANSWER_SECONDS)
        self._packing = Packing()

    def prepare(self) -> None:
        """Install the server-side functions; harmless when they are there.

        With a `shape`, claim the generation again, too, and `begin`: in a store that came back empty readers
        must find their way before any worker is started anew. StoreUnfit when another shape has claimed it.
        """
        with _asking("FUNCTION LOAD"):
            install_functions(self._client)
            if self.shape is not None:
                claim_generation(self._client, self.keys.generation, self.shape)
        self._begin()

    def _pipe(self) -> Pipe:
        return Pipe(self._client)

    def load(self, wanted: Mapping[Lane, Sequence[str]]) -> dict[Lane, Loaded]:
        """Per lane: the parts of these subjects with the checkpoint; none where it moved meanwhile."""
        pipe, calls = self._pipe(), []
        for lane, subjects in wanted.items():
            for chunk in _chunks(subjects, KEYS_PER_CALL) if subjects else [()]:
                keys = [self.keys.checkpoint(lane), *[self.keys.part(lane, subject) for subject in chunk]]
                pipe.add("FCALL", "scv_load", len(keys), *keys)
                calls.append(lane)
        with _asking("scv_load"):
            answers = pipe.execute()
        loaded: dict[Lane, Loaded] = {}
        unpack = self._packing.unpack
        for lane, (next_offset, *stored) in zip(calls, answers, strict=True):
            parts = [None if part is None else unpack(part) for part in stored]
            at = int(next_offset) if next_offset else None
            before = loaded.get(lane)
            if before is None:
                loaded[lane] = Loaded(at, parts)
            elif before.next_offset != at:
                # Two calls saw two checkpoints: another worker commits here. -1 is nobody's checkpoint.
                loaded[lane] = Loaded(-1, [])
            elif before.next_offset != -1:
                loaded[lane] = Loaded(at, [*before.parts, *parts])
        return loaded

    def commit(self, commits: Sequence[Commit]) -> list[bool]:
        """Each in turn; False where the stored checkpoint was another."""
        pipe = self._pipe()
        for one in commits:
            keys = [self.keys.checkpoint(one.lane), self.keys.dirty(one.lane)]
            expected = "" if one.expected is None else one.expected
            args: list[Any] = [expected, one.next_offset, one.end_offset, one.at_ms]
            for part in one.parts:
                keys.append(self.keys.part(one.lane, part.subject))
                args += (
                    self._packing.pack(part.packed),
                    part.subject,
                    "" if part.revision is None else part.revision,
                )
            pipe.add("FCALL", "scv_commit", len(keys), *keys, *args)
        with _asking("scv_commit"):
            return [answer == 1 for answer in pipe.execute()]

    def checkpoints(self, lanes: Sequence[Lane]) -> list[Checkpoint]:
        """Where each lane stands."""
        pipe = self._pipe()
        for lane in lanes:
            pipe.add("HMGET", self.keys.checkpoint(lane), "next", "end", "assembled", "at_ms")
        with _asking("checkpoints"):
            return [
                Checkpoint(None if found[0] is None else int(found[0]), *map(_number, found[1:]))
                for found in pipe.execute()
            ]

    def idle(self, lanes: Sequence[tuple[Lane, int | None, int | None]], at_ms: int) -> list[bool]:
        """Per (lane, expected next offset, end offset): still there? Notes the end and the time."""
        pipe = self._pipe()
        for lane, expected, end in lanes:
            args = ("" if expected is None else expected, "" if end is None else end, at_ms)
            pipe.add("FCALL", "scv_idle", 1, self.keys.checkpoint(lane), *args)
        with _asking("scv_idle"):
            return [answer == 1 for answer in pipe.execute()]

    def marks(self, lane: Lane) -> dict[str, int]:
        """Subjects whose latest revision is not assembled yet."""
        with _asking("marks"):
            found: Any = self._client.hgetall(self.keys.dirty(lane))
        return {subject.decode(): int(revision) for subject, revision in found.items()}

    def close_marks(self, closed: Mapping[Lane, tuple[int, Mapping[str, int]]]) -> dict[Lane, int]:
        """Per lane (offset assembled up to, marks): close those not made newer; gives how many are left."""
        pipe = self._pipe()
        for lane, (offset, marks) in closed.items():
            pairs = [item for mark in marks.items() for item in mark]
            keys = (self.keys.dirty(lane), self.keys.checkpoint(lane))
            pipe.add("FCALL", "scv_close", 2, *keys, offset, *pairs)
        with _asking("scv_close"):
            return dict(zip(closed, pipe.execute(), strict=True))

    def note_subjects(self, lanes: Sequence[tuple[str, Lane]], references: Sequence[tuple[str, str]]) -> None:
        """Add (subject, lane) and (reference, subject); both only ever grow."""
        added = [(self.keys.lanes(subject), str(lane)) for subject, lane in lanes]
        added += [(self.keys.reference(reference), subject) for reference, subject in references]
        pipe = self._pipe()
        for chunk in _chunks(added, KEYS_PER_CALL):
            keys, values = zip(*chunk, strict=True)
            pipe.add("FCALL", "scv_note", len(keys), *keys, *values)
        with _asking("scv_note"):
            pipe.execute()

    def members(self, subjects: Sequence[str]) -> list[tuple[Membership | None, frozenset[Lane]]]:
        """Per subject: its membership, None before the graph placed it, and the lanes that hold its parts."""
        pipe = self._pipe()
        for chunk in _chunks(subjects, KEYS_PER_CALL // 2):
            keys = [key for name in chunk for key in (self.keys.membership(name), self.keys.lanes(name))]
            pipe.add("FCALL", "scv_members", len(keys), *keys)
        with _asking("scv_members"):
            found = [answer for call in pipe.execute() for answer in call]
        return [
            (
                None if stored is None else _json.decode(stored),
                frozenset(map(_lane, lanes)),
            )
            for stored, lanes in zip(found[::2], found[1::2], strict=True)
        ]

    def lanes(self, subjects: Sequence[str]) -> list[frozenset[Lane]]:
        """Per subject: the lanes that hold its parts."""
        pipe = self._pipe()
        for name in subjects:
            pipe.add("SMEMBERS", self.keys.lanes(name))
        with _asking("lanes"):
            return [frozenset(map(_lane, found)) for found in pipe.execute()]

    def parts(self, wanted: Sequence[tuple[Lane, str]]) -> list[bytes | None]:
        """The parts as they are now."""
        pipe = self._pipe()
        for chunk in _chunks([self.keys.part(lane, subject) for lane, subject in wanted], KEYS_PER_CALL):
            pipe.add("MGET", *chunk)
        with _asking("parts"):
            stored = [part for call in pipe.execute() for part in call]
        return [None if part is None else self._packing.unpack(part) for part in stored]

    def put_profiles(self, profiles: Iterable[ProfileWrite]) -> list[str]:
        """Compare-and-set: `newer` (written), `equal`, `older`, or `base` (send all sections)."""
        made, put = iter(profiles), list[ProfileWrite]()
        with _asking("scv_write"), self._pipe() as pipe:
            while chunk := list(islice(made, PROFILES_PER_CALL)):
                self._add_profiles(pipe, chunk)
                pipe.send()
                put += chunk
            answers = [answer.decode() for call in pipe.execute() for answer in call]
        for one, answer in zip(put, answers, strict=True):
            if answer.startswith("founder"):
                raise StoreBroken(
                    f"{one.customer_id} belongs to {answer[8:]}, not to {one.founder}: two founders share an "
                    "id; build a new generation and report this"
                )
        return answers

    def _add_profiles(self, pipe: Pipe, profiles: Sequence[ProfileWrite]) -> None:
        keys = [self.keys.profile(one.customer_id) for one in profiles]
        args: list[Any] = []
        for one in profiles:
            sections = one.sections
            if one.growth is not None:
                entries, cut_bytes = one.growth
                sections = {**sections, f"+{cut_bytes} timeline": entries}
            args += (one.version, one.founder, one.writer, one.base or "", one.state, len(sections))
            for name, section in sections.items():
                args += (name, section)
        pipe.add("FCALL", "scv_write", len(keys), *keys, *args)

    def rewrite(self, profiles: Sequence[ProfileWrite]) -> list[bool]:
        """Write whole profiles again at the version that they have; False where another one is stored."""
        pipe = self._pipe()
        for chunk in _chunks(profiles, KEYS_PER_CALL):
            keys = [self.keys.profile(one.customer_id) for one in chunk]
            args: list[Any] = []
            for one in chunk:
                args += (one.version, one.founder, one.writer, len(one.sections))
                for name, section in one.sections.items():
                    args += (name, section)
            pipe.add("FCALL", "scv_rewrite", len(keys), *keys, *args)
        with _asking("scv_rewrite"):
            return [answer == 1 for call in pipe.execute() for answer in call]

    def place(self, memberships: Mapping[str, Membership], entries: Mapping[str, Entry]) -> None:
        """Write where subjects are and whom names lead to, each unless a later stamp is there."""
        placed = [(self.keys.membership(name), one.stamp, _write(one)) for name, one in memberships.items()]
        for name, entry in entries.items():
            customers = [{"customer_id": customer, "status": status} for customer, status in entry.customers]
            value = _write({"stamp": entry.stamp, "customers": customers})
            placed.append((self.keys.identifier(name), entry.stamp, value))
        pipe = self._pipe()
        for chunk in _chunks(placed, KEYS_PER_CALL):
            keys = [key for key, _, _ in chunk]
            args = [arg for _, stamp, value in chunk for arg in (stamp, value)]
            pipe.add("FCALL", "scv_place", len(keys), *keys, *args)
        with _asking("scv_place"):
            pipe.execute()

    def index(self, entries: Sequence[tuple[str, str]]) -> None:
        """Add (identifier or subject, customer id) to the entries that the graph has not placed yet."""
        pipe = self._pipe()
        for chunk in _chunks(entries, KEYS_PER_CALL):
            keys = [self.keys.identifier(name) for name, _ in chunk]
            customers = [customer for _, customer in chunk]
            pipe.add("FCALL", "scv_index", len(keys), *keys, self.shared_above + 1, *customers)
        with _asking("scv_index"):
            pipe.execute()

    def close(self) -> None:
        """Let go of the connection."""
        self._client.close()
