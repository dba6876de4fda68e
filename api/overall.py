"""How an installation is doing, in one sentence.

Invariants:
- The sentence is about the worst that is known; what else is worth knowing is a note each.
- Nothing is said to be well that was not looked at: what is not known makes another sentence.
- Pure: what is known and the time come in.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from api.history import EVERY_SECONDS
from api.ops_bodies import LagState, LaneStanding, LettersState, Level, OverallState, PublishingState

# A batch on its way takes some hundredths of a second, on a busy machine some tenths.
NEAR_SECONDS = 2.0
# A server that has not looked for longer does not know.
STALE_SECONDS = 6 * EVERY_SECONDS
# Nobody calls it behind when a worker is done with it before the sentence is read.
NEAR_RECORDS = 1_000
LANES_NAMED = 3
DAY_SECONDS = 86_400


class Facts(NamedTuple):
    """What the sentence is made of. Times are seconds since 1970; not asked yet is None."""

    now: float
    known_since: float
    looked_at: float | None
    store_answers: bool | None
    store_answered_at: float | None
    log_answers: bool | None
    log_answered_at: float | None
    generation: str | None
    sharing: bool
    lanes: Sequence[LaneStanding]
    lag: LagState
    events_per_second: float | None
    letters: LettersState
    publishing: PublishingState


def overall(facts: Facts) -> OverallState:
    """The sentence, its level, and the notes."""
    found = _away(facts) or _not_known(facts) or [*_lanes(facts), *_lag(facts)]
    level, sentence = found[0]
    # One good word takes no other back.
    more = [said for how, said in found[1:] if how != "well"]
    return OverallState(level=level, sentence=sentence, notes=[*more, *_notes(facts)])


Said = list[tuple[Level, str]]


def _away(facts: Facts) -> Said:
    store, log = facts.store_answers is False, facts.log_answers is False
    if store and log:
        since = max(facts.store_answered_at or 0, facts.log_answered_at or 0) or None
        return [("away", f"Neither the store nor Kafka has answered since {_since(since, facts)}.")]
    if store:
        since_text = _since(facts.store_answered_at, facts)
        return [("away", f"The store has not answered since {since_text}: nobody can read profiles.")]
    if log:
        since_text = _since(facts.log_answered_at, facts)
        return [("away", f"Kafka has not answered since {since_text}: profiles stay as they are.")]
    return []


def _not_known(facts: Facts) -> Said:
    if facts.looked_at is None or facts.store_answers is None or facts.log_answers is None:
        return [
            ("unknown", f"Not known yet: this server began to look at {clock(facts.known_since, facts)}.")
        ]
    if facts.now - facts.looked_at > STALE_SECONDS:
        return [("unknown", f"Not known: this server has not looked since {clock(facts.looked_at, facts)}.")]
    if facts.generation is None:
        said = "There is no view: no worker has run, or the store came back empty."
        return [("attention", said)]
    if not facts.lanes:
        return [("attention", "There are no lanes to look at: run `scv topics create`.")]
    return []


def _lanes(facts: Facts) -> Said:
    """Lanes that nobody gets on with."""
    said: Said = []
    held = len(facts.lanes)
    without = [one for one in facts.lanes if one.state == "no_worker"]
    if without:
        which = "No lane has a worker" if len(without) == held else f"{_of(without, held)} no worker"
        said.append(("attention", f"{which}{_waiting(without)}."))
    silent = [one for one in facts.lanes if one.state == "silent"]
    if silent:
        longest = max(one.silent_seconds or 0 for one in silent)
        said.append(
            (
                "attention",
                f"{_who(silent)} {_named(silent, held)} for {duration(longest)}{_waiting(silent)}.",
            )
        )
    waiting = [one for one in facts.lanes if one.state == "not_begun"]
    if waiting:
        said.append(("attention", f"{_of(waiting, held)} not been begun yet{_waiting(waiting)}."))
    if facts.sharing:
        said.append(("behind", "Workers are sharing out lanes anew."))
    return said


def _lag(facts: Facts) -> Said:
    lag, count = facts.lag, len(facts.lanes)
    if lag.records is None or lag.seconds is None:
        return [("unknown", f"Not known: the store was asked at {clock(facts.looked_at or 0, facts)}.")]
    said = _what_waits(lag)
    if lag.seconds <= NEAR_SECONDS and lag.records <= max(
        NEAR_RECORDS, NEAR_SECONDS * (facts.events_per_second or 0)
    ):
        on_way = f"; {said} on the way" if said else ""
        return [("well", f"{'The lane is' if count == 1 else f'All {count} lanes are'} up to date{on_way}.")]
    change = lag.change_per_second
    if lag.seconds_left is not None:
        return [("behind", f"Behind by {said}, catching up: about {duration(lag.seconds_left)} left.")]
    if change is None:
        return [("behind", f"Behind by {said}, about {duration(lag.seconds)}.")]
    # At that rate a twentieth more within a minute; less is a lag that stays as it is.
    worse = "falling further behind" if change * 60 > lag.records / 20 else "not catching up"
    return [("behind", f"Behind by {said}, about {duration(lag.seconds)}, and {worse}.")]


def _what_waits(lag: LagState) -> str:
    """`1,204 events`; link facts are told where no event waits: the view waits for them all the same."""
    if lag.events:
        return plural(lag.events, "event")
    return plural(lag.link_facts, "link fact") if lag.link_facts else ""


def _notes(facts: Facts) -> list[str]:
    notes, letters, publishing = [], facts.letters, facts.publishing
    if letters.last_hour:
        worst = max(letters.tallies, key=lambda one: one.last_hour)
        of_all = "" if len(letters.tallies) == 1 else f", {worst.last_hour:,} of them"
        notes.append(
            f"{plural(letters.last_hour, 'dead letter')} of the last hour "
            f"{'is' if letters.last_hour == 1 else 'are'} open{of_all}: {worst.reason} in {worst.topic}."
        )
    if facts.log_answers and publishing.publishers == [] and publishing.waiting:
        notes.append(
            f"Nobody publishes: up to {plural(publishing.waiting, 'change notice')} "
            f"{'waits' if publishing.waiting == 1 else 'wait'}."
        )
    return notes


def plural(count: int, word: str) -> str:
    """`1 event`, `1,204 events`."""
    return f"{count:,} {word}{'' if count == 1 else 's'}"


def duration(seconds: float) -> str:
    """`12 s`, `3 min`, `2 h 5 min`, `3 days`."""
    if seconds < 1:
        return "a second"
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 120:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    return f"{hours // 24} days"


def clock(at: float, facts: Facts) -> str:
    """`12:04:10 UTC`, with the date when that is not within a day."""
    moment = datetime.fromtimestamp(at, UTC)
    return f"{moment:%H:%M:%S} UTC" if abs(facts.now - at) < DAY_SECONDS else f"{moment:%-d %b, %H:%M:%S} UTC"


def _since(at: float | None, facts: Facts) -> str:
    return f"{clock(facts.known_since, facts)}, when this server started" if at is None else clock(at, facts)


def _of(some: Sequence[LaneStanding], held: int) -> str:
    return f"{len(some)} of {held} lanes {'has' if len(some) == 1 else 'have'}"


def _who(silent: Sequence[LaneStanding]) -> str:
    """Who is to blame: workers that have these lanes; where the broker does not tell, nobody knows."""
    owned = all(one.worker is not None for one in silent)
    return "Workers have not got on with" if owned else "Nobody has looked at"


def _named(some: Sequence[LaneStanding], held: int) -> str:
    if len(some) == held:
        return "any lane"
    if len(some) <= LANES_NAMED:
        return ", ".join(f"{one.topic}-{one.partition}" for one in some)
    return f"{len(some)} of {held} lanes"


def _waiting(some: Sequence[LaneStanding]) -> str:
    records = sum(one.waiting for one in some)
    if not records:
        return ""
    wait, where = "waits" if records == 1 else "wait", "it" if len(some) == 1 else "them"
    return f"; {plural(records, 'record')} {wait} in {where}"
