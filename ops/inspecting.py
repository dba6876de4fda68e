"""`scv inspect`: one customer's profile, or the candidates.

Invariants:
- Reads Redis only. Never a silent pick: several customers are listed, each with the reasons it matches.
- What was asked and leads nowhere, or elsewhere by now, is said.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from ops.answers import say, say_json, show, width
from ops.configured import settings_with
from ops.failures import Exit, Failure

if TYPE_CHECKING:
    from api.lookup import Answer

# What every answer says of the customer, whichever sections were asked for.
HEAD = ("schema_version", "customer_id", "state", "founder")
# Reasons of one candidate in the table; --json has them all.
REASONS_SHOWN = 6


def run_inspect(
    names: Sequence[str], *, sections: str | None, redis: str | None, generation: str | None, as_json: bool
) -> int:
    """Show what `names` lead to; exit code 4 when that is nothing."""
    from api.lookup import lookup
    from stores.reading import ProfileReader

    settings = settings_with(redis=redis, generation=generation)
    wanted = sections_of(sections)
    reader = ProfileReader(settings.redis, generation)
    try:
        answer = lookup(reader, names, settings.identity_rules, wanted)
        active = reader.active_generation()
    finally:
        reader.close()
    profile = only(answer.profile, wanted)
    if as_json:
        say_json({**answer._asdict(), "profile": profile})
        return Exit.NOT_FOUND if answer.match == "none" else Exit.OK
    if answer.match == "none":
        raise Failure(Exit.NOT_FOUND, f"{settings.redis_shown}: {nobody(names, answer, active)}")
    if profile is None:
        tell_candidates(names, answer.candidates)
    else:
        from ops.portrait import portrait

        show(portrait(profile, datetime.now(UTC).astimezone(), width()))
    tell_names(answer)
    return Exit.OK


def only(profile: dict[str, Any] | None, wanted: tuple[str, ...] | None) -> dict[str, Any] | None:
    """The profile's head with the sections wanted: one that was not asked for must not look empty."""
    if profile is None or wanted is None:
        return profile
    return {name: value for name, value in profile.items() if name in HEAD or name in wanted}


def sections_of(text: str | None) -> tuple[str, ...] | None:
    """The sections that an option names, None for all. Failure."""
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


def nobody(names: Sequence[str], answer: Answer, active: str | None) -> str:
    """Why these names lead to nobody."""
    where = f"generation {active}" if active else "the store, which holds no view yet: is a worker running?"
    known = [name for name in names if name not in answer.unknown]
    if active and known:
        return f"{_listed(known)} is known in {where}, but its profile is not written yet; ask again"
    return f"nobody is known as {_listed(names)} in {where}"


def _listed(names: Sequence[str]) -> str:
    return " or ".join(repr(name) for name in dict.fromkeys(names))


def tell_names(answer: Answer) -> None:
    """The names that did not lead where the person thought they would."""
    from ops.portrait import printable

    for old, now in answer.merged_into.items():
        say(f"{old} was merged: its founder belongs to {now} now.")
    for name in answer.unknown:
        say(f"Nobody is known as {printable(name)!r}; the answer rests on the other names.")


def tell_candidates(names: Sequence[str], candidates: list[dict[str, Any]]) -> None:
    """A table of the customers that answer, with the reasons of each."""
    from rich.table import Table
    from rich.text import Text

    from api.lookup import CANDIDATES_MAX
    from models.moments import moment
    from ops.portrait import printable

    now = datetime.now(UTC).astimezone()
    count = f"{len(candidates)} or more" if len(candidates) == CANDIDATES_MAX else str(len(candidates))
    asked = ", ".join(dict.fromkeys(names))
    title = Text(printable(f"{count} customers answer to {asked}"), "bold")
    table = Table(title=title, title_justify="left", expand=True)
    for column in ("customer", "name", "first known as", "last contact", "why"):
        table.add_column(column, overflow="fold", no_wrap=column == "customer")
    for one in candidates:
        known = (one["display_name"] or "", one["founder"] or "", moment(one["last_contact_at"], now))
        why = "\n".join(printable(line) for line in _why(one["reasons"]))
        # As text: nothing that customers wrote is taken for markup.
        table.add_row(one["customer_id"], *(Text(printable(cell)) for cell in known), Text(why))
    show(table)
    say("Look at one of them with `scv inspect` and its customer id.")


def _why(reasons: Sequence[dict[str, Any]]) -> list[str]:
    """A line for each reason: the name, the subject it goes through, what it says."""
    lines = [
        one["via"] + (f" through {one['through']}" if one["through"] else "") + f" ({one['status']})"
        for one in reasons[:REASONS_SHOWN]
    ]
    if len(reasons) > REASONS_SHOWN:
        lines.append(f"and {len(reasons) - REASONS_SHOWN} more reasons")
    return lines
