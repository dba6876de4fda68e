"""`scv inspect`: one customer's profile, or the candidates.

Invariants:
- Reads Redis only. Never a silent pick: several customers are listed, each with the reasons it matches.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from ops.answers import say, say_json, show, width
from ops.configured import settings_with
from ops.failures import Exit, Failure

# What every answer says of the customer, whichever sections were asked for.
HEAD = ("schema_version", "customer_id", "state", "founder")


def run_inspect(
    name: str, *, sections: str | None, redis: str | None, generation: str | None, as_json: bool
) -> int:
    """Show what `name` leads to; exit code 4 when that is nothing."""
    from api.lookup import lookup
    from stores.reading import ProfileReader

    settings = settings_with(redis=redis, generation=generation)
    wanted = _sections(sections)
    reader = ProfileReader(settings.redis, generation)
    try:
        answer = lookup(reader, name, settings.region, wanted)
        active = reader.active_generation()
    finally:
        reader.close()
    profile = _only(answer.profile, wanted)
    if as_json:
        say_json({"match": answer.match, "profile": profile, "candidates": answer.candidates})
        return Exit.NOT_FOUND if answer.match == "none" else Exit.OK
    if answer.match == "none":
        where = (
            f"generation {active}" if active else "the store, which holds no view yet: is a worker running?"
        )
        raise Failure(Exit.NOT_FOUND, f"{settings.redis_shown}: nobody is known as {name!r} in {where}")
    if profile is None:
        _tell_candidates(name, answer.candidates)
    else:
        from ops.portrait import portrait

        show(portrait(profile, datetime.now(UTC).astimezone(), width()))
    return Exit.OK


def _only(profile: dict[str, Any] | None, wanted: tuple[str, ...] | None) -> dict[str, Any] | None:
    """The profile's head with the sections wanted: one that was not asked for must not look empty."""
    if profile is None or wanted is None:
        return profile
    return {name: value for name, value in profile.items() if name in HEAD or name in wanted}


def _sections(text: str | None) -> tuple[str, ...] | None:
    if text is None:
        return None
    from models.profile import Profile

    known = [field for field in Profile.model_fields if field not in HEAD]
    chosen = tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    unknown = [section for section in chosen if section not in known]
    if unknown or not chosen:
        raise Failure(
            Exit.USAGE, f"no section {', '.join(unknown) or 'named'}; there are: {', '.join(known)}"
        )
    return chosen


def _tell_candidates(name: str, candidates: list[dict[str, Any]]) -> None:
    from rich.table import Table

    from ops.moments import moment

    now = datetime.now(UTC).astimezone()
    table = Table(title=f"{len(candidates)} customers answer to {name}", title_justify="left", expand=True)
    for column in ("customer", "name", "first known as", "last contact", "why"):
        table.add_column(column, overflow="fold", no_wrap=column == "customer")
    for one in candidates:
        reasons = ", ".join(f"{reason['via']} ({reason['status']})" for reason in one["reasons"])
        table.add_row(
            one["customer_id"],
            one["display_name"] or "",
            one["founder"] or "",
            moment(one["last_contact_at"], now),
            reasons,
        )
    show(table)
    say("Look at one of them with `scv inspect` and its customer id.")
