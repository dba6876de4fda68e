"""The merges and splits that a customer took part in, out of `customer.merges`.

Invariants:
- The topic is read once, at the first question, and from then on only what is new; of each customer offsets
  are kept, not records.
- At most the newest `RECORDS_MAX` records are looked through; an answer says when there are older ones.
- One question at a time, and at most three connections to Kafka for it, however many turns it shows.
"""

from __future__ import annotations

from array import array
from typing import Any, NamedTuple

import msgspec

from api.masking import HIDDEN, mask_given_name, mask_subject, scrubbed
from eventlog.ends import lane_ends
from eventlog.fetching import fetch_records
from eventlog.reading import read_batches
from models.catalogue import MERGES_TOPIC
from models.record import Lane

LANE = Lane(MERGES_TOPIC, 0)
# Some seconds of reading at the first question, and 100 bytes of memory each.
RECORDS_MAX = 200_000
# What one answer shows, newest first.
SHOWN_MAX = 50
# Whoever asks has hung up by then, and a server that ends waits for no more.
SILENCE_SECONDS_MAX = 5.0


class _Group(msgspec.Struct):
    customer_id: str


class _Sides(msgspec.Struct):
    before: list[_Group]
    after: list[_Group]


class _Turn(msgspec.Struct):
    data: _Sides


_sides = msgspec.json.Decoder(_Turn).decode


class History(NamedTuple):
    """The latest turns of a customer as published, newest first; `complete` if there are no others."""

    turns: list[dict[str, Any]]
    complete: bool


class MergeHistory:
    """Asks the log; blocking, for one thread. LogError."""

    def __init__(self, bootstrap: str) -> None:
        self._bootstrap = bootstrap
        self._began, self._next = 0, -1
        self._complete = True
        self._offsets: dict[str, array[int]] = {}

    def of(self, customer_id: str) -> History:
        """The turns that name this customer before or after."""
        self._catch_up()
        offsets = self._offsets.get(customer_id, array("q"))
        shown = fetch_records(
            self._bootstrap, {LANE: offsets[-SHOWN_MAX:]}, silence_seconds=SILENCE_SECONDS_MAX
        )
        turns = [msgspec.json.decode(record.value or b"{}") for record in shown]
        return History(turns[::-1], self._complete and len(offsets) <= SHOWN_MAX)

    def _catch_up(self) -> None:
        held = lane_ends(self._bootstrap, [MERGES_TOPIC])[LANE]
        start = max(held.earliest, held.end - RECORDS_MAX)
        if not start <= self._next <= held.end or held.end - self._began > 2 * RECORDS_MAX:
            # The first time; or so many since then that older ones must go; or another topic of this name.
            self._began, self._next, self._offsets = start, start, {}
            self._complete = start == 0
        new = {LANE: (self._next, held.end)}
        for batch in read_batches(self._bootstrap, new, silence_seconds=SILENCE_SECONDS_MAX):
            for record in batch:
                for customer in self._named(record.value):
                    self._offsets.setdefault(customer, array("q")).append(record.offset)
            # Should reading break off here, the next question goes on from here.
            self._next = batch[-1].offset + 1
        self._next = held.end

    @staticmethod
    def _named(value: bytes | None) -> set[str]:
        try:
            sides = _sides(value or b"").data
        except msgspec.DecodeError:
            return set()
        return {one.customer_id for one in (*sides.before, *sides.after)}


def shown_turn(turn: dict[str, Any], *, personal: bool) -> dict[str, Any]:
    """A turn as it is answered."""
    data = turn["data"]
    if not personal:
        data = {
            **data,
            "before": [_group(one) for one in data["before"]],
            "after": [_group(one) for one in data["after"]],
            "edges": [_edge(one) for one in data["edges"]],
        }
        # An actor is whatever somebody called themselves.
        data = msgspec.json.decode(scrubbed(msgspec.json.encode(data)))
    return {"id": turn["id"], "at": turn["time"], **data}


def _group(one: dict[str, Any]) -> dict[str, Any]:
    members = [mask_subject(member) for member in one["members"]]
    return {**one, "founder": mask_subject(one["founder"]), "members": members}


def _edge(one: dict[str, Any]) -> dict[str, Any]:
    # The other end is an identifier or a subject; an account number of a source is masked here with the rest.
    reason = None if one["reason"] is None else HIDDEN
    return {
        **one,
        "subject": mask_subject(one["subject"]),
        "other": mask_given_name(one["other"]),
        "reason": reason,
    }
