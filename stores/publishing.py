"""What the publisher asks of Redis: profiles as they are now, and what was published of them last.

Invariants:
- What is stored as published is never replaced by an older version, whoever comes late.
- The cursor of a lane says up to which offset of `customer.profiles` what was published is stored here. It is
  written last, and only if it stands where it was expected: a store that went back is noticed. So is whatever
  else is kept of a lane.
- Whatever goes wrong is `StoreAway`: the publisher takes its lanes anew, and nothing is lost by it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any, NamedTuple

from models.promotion import Active, parse_active
from projections.snapshot import PublishedVersion, Told
from stores.connection import asking, connect
from stores.keys import ACTIVE, Keys
from stores.reading import GenerationView, StoredProfile
from stores.store import StoreAway

# As for a worker's store: an answer that takes longer is as good as none.
ANSWER_SECONDS = 30.0
KEYS_PER_CALL = 256
# What a client that was away for a moment catches up with; about 150 bytes each.
FEED_ENTRIES_MAX = 100_000


class Known(NamedTuple):
    """What was published of a customer last: its version, state, and a hash of each section."""

    version: PublishedVersion
    state: str
    sections: dict[str, str]


class Found(NamedTuple):
    """A customer as it is now, and as it was published last; None where there is nothing."""

    profile: StoredProfile | None
    known: Known | None


class Walk(NamedTuple):
    """How far a lane's customers are published anew after a promotion: which of its notices are left."""

    promotion: int
    next_offset: int
    end_offset: int


class LaneState(NamedTuple):
    """What is kept of a lane. `published` is its cursor; None where there is none yet, or the store lost it.

    `walked` is the promotion as of which all its customers were published, 0 where that is not known; `walk`
    is what is under way to a later one.
    """

    published: int | None
    walked: int = 0
    walk: Walk | None = None


class FeedEntry(NamedTuple):
    """What a follower of `{feed}:changes` is told."""

    customer_id: str
    version: str
    state: str
    sections: Sequence[str]


def published_key(customer_id: str) -> str:
    """Hash: `version`, `state`, and a hash of each section as it was published last."""
    return f"scv:published:{{{customer_id}}}"


def cursor_key(lane: str) -> str:
    """Hash: `published`, the offset of `customer.profiles` up to which that is stored; `walked`, `walk`."""
    return f"scv:publisher:{{{lane}}}"


class PublishingStore:
    """The publisher's store; one thread uses it."""

    def __init__(self, url: str) -> None:
        self._client: Any = connect(url, ANSWER_SECONDS)

    def prepare(self) -> None:
        """Install the server-side functions; harmless when they are there."""
        code = files("stores").joinpath("publishing.lua").read_bytes()
        with asking("FUNCTION LOAD"):
            self._client.execute_command("FUNCTION", "LOAD", "REPLACE", code)

    def promoted(self) -> Active | None:
        """The generation that is published; None while there is none."""
        with asking("scv:active"):
            stored = self._client.get(ACTIVE)
        return None if stored is None else parse_active(stored)

    def active(self) -> Active:
        """The generation that is published. StoreAway while there is none."""
        if (active := self.promoted()) is None:
            raise StoreAway("Redis holds no generation yet; start `scv worker`")
        return active

    def unpublished(
        self, active: Active, customer_ids: Sequence[str], lane: str
    ) -> tuple[list[str], int | None]:
        """Those of whom there may be something to tell, by their versions alone; and the lane's cursor.

        While a generation is built, and in a walk that was begun before, most are published as they are.
        """
        keys = Keys(active.generation)
        pipe = self._client.pipeline(transaction=False)
        for customer_id in customer_ids:
            pipe.hget(keys.profile(customer_id), "version")
            pipe.hget(published_key(customer_id), "version")
        pipe.hget(cursor_key(lane), "published")
        with asking("what was published"):
            *versions, cursor = pipe.execute()
        named = zip(customer_ids, versions[::2], versions[1::2], strict=True)
        left = [one for one, now, known in named if _may_be_told(active, now, known)]
        return left, None if cursor is None else int(cursor)

    def read(
        self, active: Active, customer_ids: Sequence[str], lane: str
    ) -> tuple[dict[str, Found], int | None]:
        """These customers; and the lane's cursor, read after them: where it stands they were complete."""
        view = GenerationView(self._client, active.generation)
        pipe = self._client.pipeline(transaction=False)
        with asking("what was published"):
            for customer_id in customer_ids:
                pipe.hgetall(published_key(customer_id))
            published = pipe.execute()
            profiles = view.profiles(customer_ids)
            cursor = self._client.hget(cursor_key(lane), "published")
        found = {
            customer_id: Found(profiles.get(customer_id), _known(fields))
            for customer_id, fields in zip(customer_ids, published, strict=True)
        }
        return found, None if cursor is None else int(cursor)

    def successors(self, active: Active, merged: Sequence[str]) -> dict[str, str]:
        """The customer that each of these merged ones stands for now; those only of whom that is clear."""
        if not merged:
            return {}
        with asking("whom merged customers stand for"):
            now = GenerationView(self._client, active.generation).follow(merged).now
        return {one: ends[0] for one, ends in now.items() if len(ends) == 1 and ends[0] != one}

    def lanes(self, lanes: Sequence[str]) -> dict[str, LaneState]:
        """What is kept of each lane."""
        pipe = self._client.pipeline(transaction=False)
        for lane in lanes:
            pipe.hmget(cursor_key(lane), "published", "walked", "walk")
        with asking("lanes of the publisher"):
            return {lane: _lane_state(*stored) for lane, stored in zip(lanes, pipe.execute(), strict=True)}

    def note(self, published: Mapping[str, Told], generation: str | None, feed: Sequence[FeedEntry]) -> None:
        """Store what was published, and tell the followers of this generation."""
        pipe = self._client.pipeline(transaction=False)
        customers = list(published)
        for at in range(0, len(customers), KEYS_PER_CALL):
            chunk = customers[at : at + KEYS_PER_CALL]
            args: list[Any] = []
            for customer_id in chunk:
                told = published[customer_id]
                args += (str(told.version), told.state, len(told.sections))
                args += [item for pair in told.sections.items() for item in pair]
            keys = [published_key(customer_id) for customer_id in chunk]
            pipe.execute_command("FCALL", "scv_published", len(keys), *keys, *args)
        for entry in feed:
            fields: dict[Any, Any] = {
                "customer": entry.customer_id, "version": entry.version, "state": entry.state,
                "sections": ",".join(entry.sections),
            }  # fmt: skip
            pipe.xadd(Keys(generation or "").feed, fields, maxlen=FEED_ENTRIES_MAX, approximate=False)
        with asking("scv_published"):
            pipe.execute()

    def mark(
        self, lane: str, expected: int | None, offset: int, *, walk: Walk | None = None, walked: int = 0
    ) -> bool:
        """Move a lane's cursor, and store what else is given; False when it is not where it was expected."""
        more: list[Any] = []
        if walk is not None:
            more += ("walk", " ".join(map(str, walk)))
        if walked:
            more += ("walked", walked)
        before = "" if expected is None else expected
        with asking("scv_mark"):
            answer = self._client.execute_command(
                "FCALL", "scv_mark", 1, cursor_key(lane), before, offset, *more
            )
        return answer == 1

    def close(self) -> None:
        """Let go of the connection."""
        self._client.close()


def _may_be_told(active: Active, now: bytes | None, known: bytes | None) -> bool:
    if known is None:
        return now is not None
    published = PublishedVersion.parse(known.decode())
    if now is None or published.promotion > active.promotion:
        return published.promotion != active.promotion
    return published < PublishedVersion.parse(f"{active.promotion}.{now.decode()}")


def _known(fields: Mapping[bytes, bytes]) -> Known | None:
    held = {name.decode(): value.decode() for name, value in fields.items()}
    if "version" not in held:
        return None
    version, state = PublishedVersion.parse(held.pop("version")), held.pop("state")
    return Known(version, state, held)


def _lane_state(published: bytes | None, walked: bytes | None, walk: bytes | None) -> LaneState:
    return LaneState(
        None if published is None else int(published),
        int(walked or 0),
        None if walk is None else Walk(*map(int, walk.split())),
    )
