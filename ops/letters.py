"""`scv dead-letters list` and `show`: which records could not be folded, why, and what would help.

Invariants:
- Reads only: `scv.dead-letters`, and what became of each.
- Shown as received: personal data is not masked, as with `scv inspect`.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from ops.answers import say, say_json, show
from ops.configured import settings_with
from ops.failures import Exit, Failure
from ops.progress import Progress
from ops.when import from_to, shown_ms

if TYPE_CHECKING:
    from eventlog.dead_letters import Asked, Entry, LetterIndex
    from models.dead_letter import Reason
    from models.letters import Letter, Position, Settled

# What a terminal shows of a record; --json has it all.
VALUE_SHOWN = 4_000


def run_list(
    *,
    reason: str | None,
    topic: str | None,
    from_: str | None,
    to: str | None,
    settled: bool,
    limit: int,
    kafka: str | None,
    as_json: bool,
) -> int:
    """Counts by reason, and the latest letters."""
    from eventlog.dead_letters import Asked

    settings = settings_with(kafka=kafka)
    begins, ends = from_to(from_, to, datetime.now(UTC))
    asked = Asked(reason_named(reason), topic, begins, ends, settled)
    index = read_index(settings.kafka, quiet=as_json)
    counts, letters = index.counts(asked), index.newest(asked, limit)
    total = sum(one.count for one in counts)
    if as_json:
        say_json(
            {
                "total": total,
                "reasons": [
                    {"reason": one.reason, "count": one.count, "latest_at": rfc3339_ms(one.latest_ms)}
                    for one in counts
                ],
                "letters": [summary(one) for one in letters],
                "more": total - len(letters),
                "complete": index.complete,
            }
        )
        return Exit.OK
    if not total:
        say("No dead letters." if asked == Asked() else "No such dead letters.")
    else:
        _tell(index, asked, letters, total)
    if not index.complete:
        say("Older ones than the newest 200,000 records were not looked at.")
    return Exit.OK


def _tell(index: LetterIndex, asked: Asked, letters: Sequence[Entry], total: int) -> None:
    from rich.table import Table
    from rich.text import Text

    from ops.portrait import printable

    counts = Table(title=f"{total:,} dead letters", title_justify="left", title_style="bold")
    for column in ("reason", "count", "latest"):
        counts.add_column(column, justify="right" if column == "count" else "left")
    for one in index.counts(asked):
        counts.add_row(str(one.reason), f"{one.count:,}", shown_ms(one.latest_ms))
    latest = Table(title="The latest", title_justify="left", title_style="bold")
    for column in ("position", "logged", "reason", "what"):
        latest.add_column(column, overflow="fold", no_wrap=column != "what")
    for letter in letters:
        became = f" ({letter.settled.action})" if letter.settled else ""
        cells = (
            str(letter.position),
            shown_ms(letter.at_ms),
            f"{letter.reason}{became}",
            f"{letter.pointer}: {letter.detail}" if letter.pointer else letter.detail,
        )
        latest.add_row(*(Text(printable(cell)) for cell in cells))
    show(counts, latest)
    say("Look at one with `scv dead-letters show` and its position.")


def run_show(
    positions: Sequence[str],
    *,
    reason: str | None,
    topic: str | None,
    limit: int,
    kafka: str | None,
    as_json: bool,
) -> int:
    """The letters with their records; exit code 4 when there are none."""
    settings = settings_with(kafka=kafka)
    index = read_index(settings.kafka, quiet=as_json)
    entries = chosen(index, positions, reason, topic)[:limit]
    settled = {one.position: one.settled for one in entries}
    for number, letter in enumerate(index.letters(entries)):
        if as_json:
            say_json(record(letter, settled[letter.position]))
            continue
        if number:
            say()
        _tell_letter(letter, settled[letter.position])
    return Exit.OK


def _tell_letter(letter: Letter, settled: Settled | None) -> None:
    from ops.portrait import printable

    fault = letter.fault
    lines = [
        f"{letter.position}, logged {shown_ms(letter.timestamp_ms)}",
        f"  reason   {fault.reason}" + (f" at {fault.pointer}" if fault.pointer else ""),
        f"  detail   {fault.detail}",
        f"  hint     {letter.hint}",
        f"  key      {_shown(letter.key)}",
        *(f"  header   {name}: {_shown(raw)}" for name, raw in letter.headers),
        f"  value    {_shown(letter.value)}",
    ]
    if letter.omitted_bytes:
        lines.append(f"  omitted  {letter.omitted_bytes:,} bytes: read the record where it lies")
    if settled is not None:
        why = f": {settled.reason}" if settled.reason else ""
        lines.append(f"  {settled.action} by {settled.actor} at {settled.at}{why}")
    for line in lines:
        say(printable(line))


def _shown(raw: bytes | None) -> str:
    if raw is None:
        return "(none)"
    text = raw[:VALUE_SHOWN].decode(errors="replace")
    return text + (f"… {len(raw) - VALUE_SHOWN:,} bytes more" if len(raw) > VALUE_SHOWN else "")


def read_index(bootstrap: str, *, quiet: bool) -> LetterIndex:
    """The dead letters as they are now."""
    from eventlog.dead_letters import LetterIndex

    index = LetterIndex(bootstrap)
    with Progress("dead letters", 1, "records", quiet=quiet) as progress:

        def told(done: int, total: int) -> None:
            progress.grow(total)
            progress.update(done)

        index.catch_up(told)
    return index


def chosen(
    index: LetterIndex, positions: Sequence[str], reason: str | None, topic: str | None
) -> list[Entry]:
    """The letters of these positions, or the open ones of a reason and topic; Failure when there are none."""
    from eventlog.dead_letters import Asked

    if positions and (reason or topic):
        raise Failure(Exit.USAGE, "name positions, or choose by --reason and --topic; not both")
    if not positions and not (reason or topic):
        raise Failure(Exit.USAGE, "which ones? Name positions, as sales.events-5@1042, or choose by --reason")
    if not positions:
        found = index.newest(Asked(reason_named(reason), topic))
        if not found:
            raise Failure(Exit.NOT_FOUND, "no such dead letters; `scv dead-letters list` has them all")
        return found
    entries = []
    for position in dict.fromkeys(map(position_named, positions)):
        entry = index.get(position)
        if entry is None:
            raise Failure(
                Exit.NOT_FOUND, f"{position}: no dead letter; `scv dead-letters list --all` has them all"
            )
        entries.append(entry)
    return entries


def position_named(text: str) -> Position:
    """The position that a person typed. Failure."""
    from models.letters import Position

    try:
        return Position.parse(text)
    except ValueError as wrong:
        raise Failure(Exit.USAGE, str(wrong)) from None


def reason_named(text: str | None) -> Reason | None:
    """The reason that a person typed. Failure."""
    from models.dead_letter import Reason

    if text is None:
        return None
    try:
        return Reason(text)
    except ValueError:
        raise Failure(Exit.USAGE, f"--reason {text}: there are: {', '.join(Reason)}") from None


def rfc3339_ms(at_ms: int) -> str:
    """An instant as JSON has it."""
    from projections.instants import rfc3339

    return rfc3339(max(at_ms, 0) * 1_000)


def summary(one: Entry) -> dict[str, Any]:
    """A letter in a list."""
    return {
        "position": str(one.position),
        "reason": one.reason,
        "pointer": one.pointer,
        "detail": one.detail,
        "logged_at": rfc3339_ms(one.at_ms),
        "settled": one.settled,
    }


def record(letter: Letter, settled: Settled | None) -> dict[str, Any]:
    """A letter with its record: the event as JSON where it is an object, and the bytes."""
    from projections.redriving import event_in

    return {
        "position": str(letter.position),
        "reason": letter.fault.reason,
        "pointer": letter.fault.pointer,
        "detail": letter.fault.detail,
        "hint": letter.hint,
        "logged_at": rfc3339_ms(letter.timestamp_ms),
        "settled": settled,
        "event": event_in(letter),
        "key_base64": _base64(letter.key),
        "value_base64": _base64(letter.value),
        "headers": [{"name": name, "value_base64": _base64(raw)} for name, raw in letter.headers],
        "omitted_bytes": letter.omitted_bytes,
    }


def _base64(raw: bytes | None) -> str | None:
    return None if raw is None else b64encode(raw).decode()
