"""Which time a request asks for, and how a replay is asked.

Invariants:
- A time is an instant with its offset; a date alone is its midnight in UTC. Anything else is a problem.
"""

from __future__ import annotations

from typing import Any

from fastapi import Request

from api.problems import wrong_parameter
from api.replays import Asked, Past
from api.routing import Caller
from projections.instants import instant_of, instant_or_none
from projections.replay import NOW, Point
from stores.reading import StoredProfile

POINT_PARAMETERS = (
    {
        "name": "as_of", "in": "query", "example": "2026-03-01T00:00:00Z",
        "description": "As it was then: replayed from the customer's records of what had occurred.",
        "schema": {"type": "string", "format": "date-time", "maxLength": 40},
    },
    {
        "name": "known_at", "in": "query", "example": "2026-03-01T00:00:00Z",
        "description": "As it was known then: replayed from what had been logged, who was who included.",
        "schema": {"type": "string", "format": "date-time", "maxLength": 40},
    },
)  # fmt: skip
PAST_PROBLEMS = ("nothing_by_then", "replay_too_large", "replay_busy", "replay_unfit")


def point_of(request: Request) -> Point | None:
    """The time that the query asks for; None for now. Problem."""
    found: dict[str, int | None] = {}
    for name in ("as_of", "known_at"):
        given = request.query_params.get(name)
        if len(request.query_params.getlist(name)) > 1:
            raise wrong_parameter(name, "given once")
        try:
            found[name] = None if given is None else instant_of(given)
        except (ValueError, OverflowError):
            raise wrong_parameter(name, "an instant with its offset, as 2026-03-01T00:00:00Z") from None
    point = Point(found["as_of"], found["known_at"])
    return None if point == NOW else point


def asked_of(
    caller: Caller, generation: str, stored: StoredProfile, point: Point, field: str | None = None
) -> Asked:
    """What the process of replays is asked."""
    return Asked(generation, stored.founder, point, field, caller.personal)


def replayed_to(point: Point, past: Past) -> dict[str, Any]:
    """What an answer says of its replay."""
    return {
        "as_of": instant_or_none(point.as_of_us),
        "known_at": instant_or_none(point.known_us),
        "record_count": past.record_count,
    }
