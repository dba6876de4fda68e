"""Looking back on the agent's page: the steps of the slider, what a page says of another time, plain reasons.

Invariants:
- What is shown of a time is what `?as_of=` or `?known_at=` answers to the same key; titles of steps are
  masked as those of the timeline are.
- A step is an instant at which something of the customer's own happened, or was logged.
- Nothing here reads a clock; times are told in the zone of whoever looks.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any, NamedTuple

import msgspec

from api.masking import mask_subject, mask_title, scrubbed
from api.problems import Problem
from api.replays import Moment
from models.catalogue import domain_of
from models.moments import day
from projections.instants import rfc3339
from projections.replay import Point
from stores.reading import StoredProfile

# As the query names them: by when things happened, or by when they were in the log.
AS_OF, KNOWN_AT = "as_of", "known_at"
# Of a list of names what a line has room for.
NAMES_SHOWN = 2

_1970 = datetime(1970, 1, 1, tzinfo=UTC)


class Step(NamedTuple):
    """A position of the slider: the instant, as a person reads it, and what happened there last."""

    at: str
    when: str
    domain: str
    title: str


class Then(NamedTuple):
    """Which time a page shows: `said` in its banner, and `notes` on who belonged to the customer then.

    `other`: the founder of the customer that it was part of, where that was another one.
    """

    said: str
    known: bool
    notes: list[str]
    other: str | None


def when(at: datetime) -> str:
    """`26 Feb 2026, 06:05`."""
    return f"{day(at)}, {at:%H:%M}"


def local(at_us: int, zone: tzinfo) -> datetime:
    """An instant in microseconds, where somebody sits; the years that a calendar has."""
    try:
        return (_1970 + timedelta(microseconds=at_us)).astimezone(zone)
    except OverflowError:
        return datetime.max.replace(tzinfo=zone) if at_us > 0 else datetime.min.replace(tzinfo=zone)


def steps_of(moments: Sequence[Moment], clock: str, zone: tzinfo, *, personal: bool) -> list[Step]:
    """The steps by one clock, the earliest first; of several events of an instant the one logged last."""
    by_instant: dict[int, Moment] = {}
    for one in moments:
        by_instant[one.occurred_us if clock == AS_OF else one.log_us] = one
    found = sorted(by_instant.items())
    titles = [one.title if personal else mask_title(one.type, one.title) for _, one in found]
    if not personal:
        titles = msgspec.json.decode(scrubbed(msgspec.json.encode(titles)))
    return [
        Step(rfc3339(at_us), when(local(at_us, zone)), domain_of(one.type), title)
        for (at_us, one), title in zip(found, titles, strict=True)
    ]


def shown_until(point: Point) -> int:
    """The instant of a point, in microseconds: of two the earlier one."""
    return min(us for us in point if us is not None)


def said_of(point: Point, zone: tzinfo) -> str:
    """`As it was on 26 Feb 2026, 06:05`."""
    how = "As it was" if point.known_us is None else "As it was known"
    return f"{how} on {when(local(shown_until(point), zone))}"


def then_of(point: Point, zone: tzinfo, then: StoredProfile, now: StoredProfile, *, personal: bool) -> Then:
    """What is to be said of the time that is shown, and of who belonged to the customer at it."""
    was, are = _subjects(then), _subjects(now)
    known = point.known_us is not None
    missing = [name for name in are if name not in was]
    others = [name for name in was if name not in are]
    notes = []
    if missing:
        said = "Not known to belong here yet:" if known else "Nothing had come yet from"
        notes.append(f"{said} {_names(missing, personal=personal)}")
    if others:
        notes.append(f"Belonged here then: {_names(others, personal=personal)}")
    other = None
    if then.customer_id != now.customer_id:
        other = then.founder if personal else mask_subject(then.founder)
    return Then(said_of(point, zone), known, notes, other)


def _subjects(stored: StoredProfile) -> list[str]:
    identity: Any = msgspec.json.decode(stored.sections.get("identity", b"null"))
    return [one["subject"] for one in (identity or {}).get("subjects", ())]


def _names(names: Sequence[str], *, personal: bool) -> str:
    shown = [name if personal else mask_subject(name) for name in names[:NAMES_SHOWN]]
    more = len(names) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")


# Why the page shows nothing of a time: a heading, and what to do. What is not here is told as it is.
_WHY_NOT = {
    "replay_too_large": (
        "Too much has happened to look back from here",
        "Whoever runs scv can ask on the command line: scv inspect {customer_id} --as-of …",
    ),
    "replay_busy": ("Many are looking back just now", "Try again in a moment."),
    "replay_unfit": (
        "This server cannot look back",
        "Its settings are others than those the view was built with. Tell whoever runs scv.",
    ),
    "merged": ("This customer is part of another by now", "Go on there first, then look back."),
    "split": ("This is not one customer any more", "Look at those that it became, then look back."),
    "erased": ("This customer is gone", "Nothing is kept to look back at."),
    "log_unavailable": ("The event log does not answer", "Try again in a moment."),
    "store_unavailable": ("The profile store does not answer", "Try again in a moment."),
}


def why_not(problem: Problem, customer_id: str, point: Point | None) -> tuple[str, str]:
    """What a page says instead of a view: a heading and a sentence. Problem if it is about something else."""
    if problem.code == "nothing_by_then":
        if point is not None and point.known_us is not None:
            return "Nothing was known of this customer yet", "What is known by now came in later."
        return "This customer did not exist yet", "Everything that is known of it happened later."
    if problem.code not in _WHY_NOT:
        raise problem
    heading, sentence = _WHY_NOT[problem.code]
    count = problem.members.get("record_count")
    if count and problem.code == "replay_too_large":
        heading += f": {count:,} records, and {problem.members['limit']:,} are read"
    return heading, sentence.format(customer_id=customer_id)
