"""What is read and answered about generations over HTTP, as models: for requests and the OpenAPI document.

Invariants:
- Requests are strict, and every text has its limit, as in `api.bodies`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from api.bodies import Request
from models.commands import Actor, Why
from models.event import Shape
from models.profile_sections import Moment

State = Literal["promoted", "live", "folding", "graph", "assembling", "following", "dropping", "empty"]
Count = Annotated[int, Field(ge=0)]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,31}$", description="As `g2`.")]


class RollbackRequest(Request):
    """Let readers see again what they saw before."""

    number: int = Field(
        ge=1, description="The promotion that readers see now, as `GET /v1/ops/rebuild` says."
    )
    actor: Actor = Field(description="Who decides, as `E-7`.")
    reason: Why = Field(description="Why, in words; it is kept with the promotion.")
    dry_run: bool = Field(False, description="Only say what would happen.")


class PromoteRequest(RollbackRequest):
    """Let readers see this generation."""

    generation: Name


class GenerationState(Shape):
    """Where one generation stands. `done` of `total` are of the stage in progress: null while none is."""

    generation: str
    active: bool
    state: State = Field(
        description="`live`: it was never rebuilt; `promoted`: rebuilt, and what readers see; `following`: "
        "whole, and kept current by workers; `empty`: begun by nobody yet."
    )
    behind_records: Count | None = Field(description="Records of the log that its profiles do not show yet.")
    process: str | None = Field(description="Which process is at the rebuild, as `host pid`.")
    done: Count | None
    total: Count | None
    percent: Annotated[int, Field(ge=0, le=100)] | None = Field(description="Of the stage in progress.")
    per_second: Annotated[float, Field(ge=0)] | None
    seconds_left: Annotated[float, Field(ge=0)] | None = Field(description="Of the stage in progress.")
    paused: bool


class RebuildState(Shape):
    """All generations, as of the last look (`at`); null before one was answered and while none is active."""

    at: Moment | None
    active: str | None = Field(description="The generation that readers see.")
    promotion: Count | None = Field(description="The number of its promotion.")
    previous: str | None = Field(description="What they saw before: where a rollback leads.")
    generations: list[GenerationState]


class PromotedAnswer(Shape):
    """What readers see, or would see."""

    active: str
    before: str
    number: Annotated[int, Field(ge=1)] = Field(description="The number of the promotion.")
    dry_run: bool


REBUILD_ANSWERS = (RebuildState, PromotedAnswer, PromoteRequest, RollbackRequest)

REBUILD: dict[str, Any] = {
    "at": "2026-03-01T10:42:08.120Z", "active": "g1", "promotion": 1, "previous": None,
    "generations": [
        {
            "generation": "g1", "active": True, "state": "live", "behind_records": 12, "process": None,
            "done": None, "total": None, "percent": None, "per_second": None, "seconds_left": None,
            "paused": False,
        },
        {
            "generation": "g2", "active": False, "state": "folding", "behind_records": 31000,
            "process": "worker-3 4711", "done": 49600, "total": 80000, "percent": 62, "per_second": 21500.0,
            "seconds_left": 1.4, "paused": False,
        },
    ],
}  # fmt: skip
PROMOTE = {"generation": "g2", "number": 1, "actor": "E-7", "reason": "delivered orders"}
ROLLBACK = {"number": 2, "actor": "E-7", "reason": "counts returns twice"}
PROMOTED = {"active": "g2", "before": "g1", "number": 2, "dry_run": False}
ROLLED_BACK = {"active": "g1", "before": "g2", "number": 3, "dry_run": False}
