"""Section `timeline`: the latest events, newest first, written as the profile shows them when folded.

Invariants:
- An entry is rendered once. Adding one that is newer than all others, as most are, looks at no other entry.
- The order is total: newest first, then by source and event id, both greatest first; of one id (a repeat from
  far back) by subject, then by what the entry says. The order of joining never shows.
- A state is two texts of one line an entry, in the same order: its key, which sorts as instant, source and id
  do, and its JSON, which is read only for a repeat from far back.
- What is put in front of the list that a profile shows gives the bytes that writing it whole would.
"""

from __future__ import annotations

import re
from array import array
from bisect import bisect_left
from collections.abc import Sequence
from functools import cache
from itertools import groupby
from operator import itemgetter
from typing import Any, NamedTuple

import msgspec

from models.bounds import TIMELINE_MAX
from models.decoding import Event
from models.event import EVENT_TYPES
from models.titles import title_of
from projections.instants import rfc3339
from projections.reducers import Add, Configuration, Reducer, State, as_text, wire_types
from projections.section import Page, Rendered, Section

# JSON has neither of them unescaped, keys have them escaped.
_LINE, _END = b"\n", b"\0"
# Sorts as the instant does: since the year 1, the last one of the year 9999 has 18 digits; none lies outside.
_YEAR_1_US = -62_135_596_800_000_000
# What a key does not have as it is: line feed, NUL, and what marks the end of a text or an escaped byte.
_LOW = re.compile(rb"[\x00-\x0b]")
_SAID = ("type", "channel", "title", "amount_minor", "currency")

_read = msgspec.json.Decoder().decode


# An entry's key, and the JSON that the profile shows.
Entry = tuple[bytes, bytes]
_of_key = itemgetter(0)


class Newest(Reducer):
    """The newest events, up to the timeline's bound. State: [forgotten (0 or 1), keys, entries' JSON]."""

    def zero(self) -> State:
        return [0, b"", b""]

    def adders(self, configuration: Configuration) -> dict[str, Add]:
        return dict.fromkeys(wire_types(()), self._add)

    @staticmethod
    def _add(state: State, event: Event) -> State:
        key, shown = _key(event), as_text(_entry(event))
        forgotten, keys, entries = state
        if not keys:
            return [forgotten, key, shown]
        # No key begins another one, so the first line decides.
        if key > keys:
            return _bounded([forgotten, key + _LINE + keys, shown + _LINE + entries])
        known, lines = keys.split(_LINE), entries.split(_LINE)
        place = bisect_left(known, True, key=key.__ge__)
        if place < len(known) and known[place] == key:
            return _bounded(_joined(forgotten, ordered([(key, shown), *_split(state)])))
        known.insert(place, key)
        lines.insert(place, shown)
        return _bounded([forgotten, _LINE.join(known), _LINE.join(lines)])

    def merge(self, a: State, b: State) -> State:
        return together([a, b])


def together(states: list[State]) -> State:
    """The entries of many parts, in their order; all at once, since most of the work is to split and join."""
    told = [state for state in states if state[1]]
    forgotten = max([state[0] for state in states], default=0)
    if len(told) < 2:
        return [forgotten, *told[0][1:]] if told else [forgotten, b"", b""]
    keys = _LINE.join([state[1] for state in told]).split(_LINE)
    entries = _LINE.join([state[2] for state in told]).split(_LINE)
    by_key = dict(zip(keys, entries, strict=True))
    if len(by_key) < len(keys):
        return _joined(forgotten, ordered(list(zip(keys, entries, strict=True))))
    keys = sorted(by_key, reverse=True)
    return [forgotten, _LINE.join(keys), _LINE.join([by_key[key] for key in keys])]


def _split(state: State) -> list[Entry]:
    return list(zip(state[1].split(_LINE), state[2].split(_LINE), strict=True))


def _joined(forgotten: int, entries: list[Entry]) -> State:
    return [forgotten, *map(_LINE.join, zip(*entries, strict=True))]


def _bounded(state: State) -> State:
    _, keys, entries = state
    # One entry came; a part never holds more than one too many.
    if keys.count(_LINE) < TIMELINE_MAX:
        return state
    return [1, keys[: keys.rindex(_LINE)], entries[: entries.rindex(_LINE)]]


def _key(event: Event) -> bytes:
    """Instant, source and id as bytes that sort as they do: a text ends with what is less than all in it."""
    source, name = event.source.encode(), event.id.encode()
    if _LOW.search(source) or _LOW.search(name):
        source, name = _LOW.sub(_escaped, source), _LOW.sub(_escaped, name)
    return b"%018d%b\1%b\1" % (event.occurred_us - _YEAR_1_US, source, name)


def _escaped(found: re.Match[bytes]) -> bytes:
    return b"\x0b%c" % (0x20 + found[0][0])


def ordered(entries: list[Entry]) -> list[Entry]:
    """The entries in the order of the timeline."""
    entries.sort(key=_of_key, reverse=True)
    if len(set(map(_of_key, entries))) == len(entries):
        return entries
    return [entry for _, same in groupby(entries, _of_key) for entry in _by_what_they_say(list(same))]


def _by_what_they_say(same: list[Entry]) -> list[Entry]:
    """Entries of one key in their order: repeats from far back, which may say something else."""
    if len(same) == 1:
        return same
    told = [(_read(entry[1]), entry) for entry in same]
    told.sort(key=lambda one: as_text([one[0].get(name) for name in _SAID]), reverse=True)
    told.sort(key=lambda one: str(one[0]["subject"]))
    return [entry for _, entry in told]


@cache
def _amount_field(wire_type: str) -> str | None:
    """The field with the amount or delta that events of a type state together with its currency."""
    fields = EVENT_TYPES[wire_type].model_fields
    if "currency" not in fields:
        return None
    return next((name for name in ("amount_minor", "delta_minor") if name in fields), None)


def _entry(event: Event) -> dict[str, Any]:
    """One event as the profile shows it."""
    wire_type, data = event.type, event.data
    shown = {
        "event_id": event.id,
        "type": wire_type,
        "occurred_at": rfc3339(event.occurred_us),
        "channel": data.channel,
        "subject": event.subject,
        "title": title_of(wire_type)(data),
    }
    amount_field = _amount_field(wire_type)
    if amount_field is not None:
        amount = getattr(data, amount_field)
        if amount is not None and data.currency is not None:
            shown["amount_minor"], shown["currency"] = amount, data.currency
    return shown


class Timeline(Section):
    """The latest events, newest first."""

    name = "timeline"

    events = Newest()

    @classmethod
    def read(cls, packed: bytes) -> list[State]:
        """The state from its bytes: a digit for forgotten, the keys, an end, the entries."""
        keys, _, entries = packed.partition(_END)
        return [[keys[0] - ord("0"), keys[1:], entries]]

    @classmethod
    def pack(cls, states: list[State]) -> bytes:
        """The bytes of the state."""
        ((forgotten, keys, entries),) = states
        return b"%d%b%b%b" % (forgotten, keys, _END, entries)

    @classmethod
    def merged(cls, states: list[list[State]]) -> list[State]:
        return [together([events for (events,) in states])]

    @classmethod
    def render(cls, states: dict[str, State], page: Page) -> Rendered:
        forgotten, keys, entries = states["events"]
        if keys.count(_LINE) >= TIMELINE_MAX:
            forgotten = 1
            entries = _LINE.join(entries.split(_LINE, TIMELINE_MAX)[:TIMELINE_MAX])
        if forgotten:
            page.truncated.append(page.section)
        return Rendered(msgspec.Raw(b"[%b]" % entries.replace(_LINE, b",")), page.truncated, {})


class Listed(NamedTuple):
    """What must be known of a list that a profile shows to put entries in front of it: `sizes` in bytes."""

    newest: bytes
    sizes: array[int]


class Growth(NamedTuple):
    """How such a list grows: entries' JSON, a comma between two, go in front; so many bytes at its end go."""

    entries: bytes
    cut_bytes: int


def listed(state: State) -> Listed:
    """The list that is shown of a merged state."""
    _, keys, entries = state
    sizes = list(map(len, entries.split(_LINE, TIMELINE_MAX)[:TIMELINE_MAX])) if entries else []
    return Listed(keys.partition(_LINE)[0], array("I", sizes))


def grown(before: Listed, changed: Sequence[tuple[bytes, int]]) -> tuple[Growth, Listed] | None:
    """How the list grows by parts (packed) to which at most so many entries were added since.

    None when it has to be written whole: something was added that is not newer than all that is shown.
    """
    if not before.newest:
        return None
    added: dict[bytes, bytes] = {}
    count = 0
    for packed, most in changed:
        if not 0 < most < TIMELINE_MAX:
            return None
        keys, _, entries = packed[1:].partition(_END)
        newest = keys.split(_LINE, most)[:most]
        # So many entries newer than all that are shown are all that were added.
        if len(newest) < most or newest[-1] <= before.newest:
            return None
        added.update(zip(newest, entries.split(_LINE, most), strict=False))
        count += most
    # Two of one key are ordered by what they say, and something must be left to be put in front of.
    if len(added) < count or count >= TIMELINE_MAX:
        return None
    order = sorted(added, reverse=True)
    lines = [added[key] for key in order]
    sizes = array("I", [len(line) for line in lines]) + before.sizes
    gone = sizes[TIMELINE_MAX:]
    del sizes[TIMELINE_MAX:]
    return Growth(b",".join(lines), sum(gone) + len(gone)), Listed(order[0], sizes)
