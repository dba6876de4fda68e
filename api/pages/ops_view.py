"""What `/ops` shows, from what an operator is told: figures as text, charts, lanes in groups.

Invariants:
- Nothing is on the page that `/v1/ops/state` does not answer to the same key.
- What is not known is a dash with a reason beside it, never a zero.
- What the page repeats keeps its place: lanes, topics and processes come in an order of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from statistics import fmean
from typing import NamedTuple

from api.ops_bodies import LaneStanding, LetterHead, MemberState, OpsState, ServerState
from api.overall import duration, plural
from api.pages.charts import Chart, chart, window_of
from models.record import Lane

NOT_KNOWN = "–"
LEVEL_WORDS = {
    "well": "Well",
    "behind": "Behind",
    "attention": "Needs somebody",
    "away": "Away",
    "unknown": "Not known",
}
STATE_WORDS = {
    "up_to_date": "up to date",
    "behind": "behind",
    "silent": "not looked at",
    "no_worker": "no worker",
    "moving": "being shared out",
    "not_begun": "not begun",
    "unknown": "not known",
}
# Ranges of a topic's partitions that a list of lanes names.
RANGES_NAMED = 12


class Figure(NamedTuple):
    """A large figure: its name, the value, its unit, a line beneath, and how it is (`good`, `warn`…)."""

    name: str
    value: str
    unit: str
    beneath: str
    tone: str


class TopicLanes(NamedTuple):
    """A topic with its lanes, as the map of lanes shows them."""

    topic: str
    rate: str
    waiting: str
    lanes: tuple[LaneStanding, ...]


class Tally(NamedTuple):
    """A row of dead letters by reason; `share` of the largest, in percent."""

    reason: str
    topic: str
    last_hour: str
    count: str
    last_at: str
    share: int


class Process(NamedTuple):
    """A worker or publisher and its lanes in words."""

    name: str
    host: str
    count: int
    lanes: str


class View(NamedTuple):
    """Everything that the templates need."""

    state: OpsState
    word: str
    tone: str
    looked_at: str
    known_since: str
    figures: tuple[Figure, ...]
    charts: tuple[tuple[str, str, Chart], ...]
    topics: tuple[TopicLanes, ...]
    odd: tuple[tuple[str, str], ...]
    workers: tuple[Process, ...] | None
    publishers: tuple[Process, ...] | None
    tallies: tuple[Tally, ...]
    counted: str


def view_of(state: OpsState, now: float) -> View:
    """The page of this state."""
    tones = {"well": "good", "behind": "accent", "attention": "warn", "away": "danger", "unknown": "faint"}
    return View(
        state=state,
        word=LEVEL_WORDS[state.overall.level],
        tone=tones[state.overall.level],
        looked_at=NOT_KNOWN if state.at is None else clock(state.at),
        known_since=clock(state.known_since),
        figures=(_lag(state), _rate(state), _letters(state), _servers(state)),
        charts=_charts(state, now),
        topics=_topics(state),
        odd=_odd(state),
        workers=_processes(state.workers),
        publishers=_processes(state.publishing.publishers),
        tallies=_tallies(state),
        counted=_counted(state),
    )


def clock(moment: str) -> str:
    """`12:04:10` of an instant, in UTC."""
    return f"{datetime.fromisoformat(moment):%H:%M:%S}"


def written(moment: str) -> str:
    """`28 Nov, 12:04:10` of an instant, in UTC."""
    return f"{datetime.fromisoformat(moment):%-d %b, %H:%M:%S}"


def newer_than(letters: Sequence[LetterHead], place: int) -> int:
    """How many of these letters were written after the one at this place."""
    return sum(one.place > place for one in letters)


def _rate_text(rate: float | None) -> str:
    if rate is None:
        return NOT_KNOWN
    return f"{rate:,.0f}" if rate >= 10 or rate == 0 else f"{rate:.1f}"


def _lag(state: OpsState) -> Figure:
    lag = state.lag
    if lag.records is None or lag.seconds is None:
        return Figure("Lag", NOT_KNOWN, "events", "The store did not say", "faint")
    if not lag.records:
        return Figure("Lag", "0", "events", "Nothing waits", "good")
    oldest = f"the oldest for {duration(lag.seconds)}"
    change = lag.change_per_second
    trend = "" if not change else f", {'+' if change > 0 else '−'}{abs(change):,.0f} a second"
    if lag.link_facts and not lag.events:
        return Figure("Lag", f"{lag.link_facts:,}", "link facts", oldest + trend, _tone(state))
    return Figure("Lag", f"{lag.events:,}", "events", oldest + trend, _tone(state))


def _tone(state: OpsState) -> str:
    return "good" if state.overall.level == "well" else "warn"


def _rate(state: OpsState) -> Figure:
    beneath = "Average of the last minute"
    if state.events_per_second is None:
        beneath = "The store did not say" if state.lag.records is None else "Not looked twice yet"
    return Figure("Throughput", _rate_text(state.events_per_second), "events a second", beneath, "")


def _letters(state: OpsState) -> Figure:
    letters = state.dead_letters
    if letters.held is None:
        return Figure("Dead letters", NOT_KNOWN, "open", "The topic could not be read yet", "faint")
    tone = "warn" if letters.open else "good"
    return Figure(
        "Dead letters", f"{letters.open:,}", "open", f"{letters.last_hour:,} of the last hour", tone
    )


def _servers(state: OpsState) -> Figure:
    said = [
        (name, one) for name, one in (("Store", state.store), ("Kafka", state.log)) if one.answers is False
    ]
    if said:
        away = "Both" if len(said) > 1 else said[0][0]
        return Figure("Store and Kafka", away, "away", "; ".join(_last(*one) for one in said), "danger")
    if state.store.answers is None or state.log.answers is None:
        return Figure("Store and Kafka", NOT_KNOWN, "", "Not asked yet", "faint")
    generation = f"Generation {state.generation}" if state.generation else "No generation yet"
    return Figure("Store and Kafka", "Both", "answer", generation, "good")


def _last(name: str, server: ServerState) -> str:
    if server.answered_at is None:
        return f"{name} has not answered this server yet"
    return f"{name} answered last at {clock(server.answered_at)}"


def _charts(state: OpsState, now: float) -> tuple[tuple[str, str, Chart], ...]:
    history = state.history
    at = [datetime.fromisoformat(one).timestamp() for one in history.at]
    window = window_of(at[0] if at else now, now)

    def series(values: Sequence[float | None]) -> list[tuple[float, float | None]]:
        return list(zip(at, values, strict=True))

    def count(value: float) -> str:
        return f"{value:,.0f}"

    def seconds(value: float) -> str:
        return f"{value:,.0f} s" if value >= 10 or value == 0 else f"{value:.1f} s"

    every = history.every_seconds
    return (
        ("lag", "Lag, records", chart(
            series(history.lag_records), now, window, name="Lag in records", gather=max, write=count,
            top_min=10, every=every)),
        ("waited", "Lag, seconds", chart(
            series(history.lag_seconds), now, window, name="Lag in seconds", gather=max, write=seconds,
            top_min=5, every=every)),
        ("rate", "Throughput, events a second", chart(
            series(history.events_per_second), now, window, name="Events folded a second", gather=fmean,
            write=_rate_text, top_min=10, every=every)),
    )  # fmt: skip


def _topics(state: OpsState) -> tuple[TopicLanes, ...]:
    return tuple(
        TopicLanes(
            one.topic,
            _rate_text(one.events_per_second),
            f"{one.waiting:,}",
            tuple(lane for lane in state.lanes if lane.topic == one.topic),
        )
        for one in state.topics
    )


def _processes(members: Sequence[MemberState] | None) -> tuple[Process, ...] | None:
    if members is None:
        return None
    return tuple(Process(one.name, one.host, len(one.lanes), lanes_in_words(one.lanes)) for one in members)


def lanes_in_words(lanes: Sequence[str]) -> str:
    """`billing.events 1; sales.events 0–3, 6`."""
    by_topic: dict[str, list[list[int]]] = {}
    for lane in sorted(map(Lane.parse, lanes)):
        ranges = by_topic.setdefault(lane.topic, [])
        if ranges and ranges[-1][1] == lane.partition - 1:
            ranges[-1][1] = lane.partition
        else:
            ranges.append([lane.partition, lane.partition])
    told = []
    for topic, ranges in by_topic.items():
        named = [f"{first}" if first == last else f"{first}–{last}" for first, last in ranges]
        more = ["…"] if len(named) > RANGES_NAMED else []
        told.append(f"{topic} {', '.join(named[:RANGES_NAMED] + more)}")
    return "; ".join(told) or "none"


def _odd(state: OpsState) -> tuple[tuple[str, str], ...]:
    """Lanes that are neither up to date nor behind, by state."""
    if not state.store.answers and state.lanes:
        seen = NOT_KNOWN if state.store.answered_at is None else clock(state.store.answered_at)
        return (("not known", f"what is here is as of {seen} UTC, when the store answered last"),)
    by_state: dict[str, list[str]] = {}
    for one in state.lanes:
        if one.state not in ("up_to_date", "behind"):
            by_state.setdefault(one.state, []).append(f"{one.topic}-{one.partition}")
    return tuple(
        (STATE_WORDS[how], "all lanes" if len(lanes) == len(state.lanes) else lanes_in_words(lanes))
        for how, lanes in by_state.items()
    )


def _tallies(state: OpsState) -> tuple[Tally, ...]:
    tallies = state.dead_letters.tallies
    most = max((one.count for one in tallies), default=1)
    return tuple(
        Tally(
            one.reason, one.topic, f"{one.last_hour:,}", f"{one.count:,}", written(one.last_at),
            max(1, round(100 * one.count / most)),
        )
        for one in tallies
    )  # fmt: skip


def _counted(state: OpsState) -> str:
    """Of which letters the tallies are."""
    letters = state.dead_letters
    if letters.held is None:
        return "The topic scv.dead-letters could not be read yet."
    if not letters.counted:
        return "No record was ever refused."
    told = [
        f"{letters.open:,} of {plural(letters.counted, 'letter')} {'is' if letters.open == 1 else 'are'} open"
    ]
    told += [
        f"{count:,} {'was' if count == 1 else 'were'} {word}"
        for count, word in ((letters.redriven, "redriven"), (letters.discarded, "discarded"))
        if count
    ]
    older = " Older ones were not counted." if letters.older else ""
    return f"{', '.join(told)}.{older}"
