"""`scv dead-letters redrive` and `discard`: a plan, and with --execute the decision, once for each letter.

Guarantees:
- Everything is examined, by the workers' own code, before anything is written.
- A letter is settled once (`eventlog.settling`): what is settled already is said, and nothing is written.
- Interrupted at any point, the same command again does what is left.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ops.answers import say, say_json
from ops.configured import login, settings_with
from ops.failures import Exit, Failure
from ops.letters import chosen, position_named, read_index
from ops.progress import Progress

if TYPE_CHECKING:
    from eventlog.dead_letters import Entry, LetterIndex
    from eventlog.settling import Settling
    from models.dead_letter import Fault
    from models.letters import Position, Settled
    from models.rules import IdentityRules
    from models.settings import Settings

# All are examined before the first is written, so all are in memory: more is another run.
LETTERS_MAX = 20_000
BYTES_MAX = 512 * 2**20
# Lines that a terminal shows; --json has them all.
SHOWN_MAX = 20


class Plan(NamedTuple):
    """What is to be done: letters to settle, those that are still wrong, those that are settled; and rest."""

    ready: list[Settling]
    wrong: list[tuple[Position, Fault]]
    settled: list[tuple[Position, Settled]]
    left: int


class Decider(NamedTuple):
    """Who decides, when and why."""

    actor: str
    reason: str | None
    at: str

    def settled(self, position: Position, action: str, **more: Any) -> Settled:
        """The mark of a letter. Failure for an actor or reason that is too long."""
        import msgspec

        from models.letters import Settled

        said = {"position": str(position), "action": action, **self._asdict(), **more}
        try:
            return msgspec.convert(said, Settled)
        except msgspec.ValidationError as wrong:
            raise Failure(Exit.USAGE, f"actor or reason: {wrong}") from None


def run_redrive(
    positions: Sequence[str],
    *,
    reason: str | None,
    topic: str | None,
    file: Path | None,
    actor: str | None,
    reason_text: str | None,
    execute: bool,
    kafka: str | None,
    as_json: bool,
) -> int:
    """Write letters again, as received or corrected."""
    settings = settings_with(kafka=kafka)
    decider = _decider(actor, reason_text)
    corrected = {} if file is None else corrections(file)
    if file is not None and not (positions or reason or topic):
        positions = [str(position) for position in corrected]
    index = read_index(settings.kafka, quiet=as_json)
    entries = chosen(index, positions, reason, topic)
    if unused := corrected.keys() - {one.position for one in entries}:
        raise Failure(Exit.USAGE, f"{file}: {min(unused)} is corrected there, but not among those to redrive")
    plan = _plan_redrive(index, entries, corrected, settings.identity_rules, decider)
    return _carry_out(plan, "redrive", settings, execute=execute, as_json=as_json)


def run_discard(
    positions: Sequence[str],
    *,
    reason: str | None,
    topic: str | None,
    actor: str | None,
    reason_text: str,
    execute: bool,
    kafka: str | None,
    as_json: bool,
) -> int:
    """Mark letters of which nothing is to become."""
    from eventlog.settling import Settling

    settings = settings_with(kafka=kafka)
    decider = _decider(actor, reason_text)
    if decider.reason is None:
        raise Failure(Exit.USAGE, "--reason-text: say why, in words")
    index = read_index(settings.kafka, quiet=as_json)
    entries = chosen(index, positions, reason, topic)
    taken, settled = _apart(entries)
    ready = [
        Settling(one.position, decider.settled(one.position, "discarded")) for one in taken[:LETTERS_MAX]
    ]
    plan = Plan(ready, [], settled, len(taken) - len(ready))
    return _carry_out(plan, "discard", settings, execute=execute, as_json=as_json)


def _decider(actor: str | None, reason: str | None) -> Decider:
    name = (actor if actor is not None else login()).strip()
    if not name:
        raise Failure(Exit.USAGE, "--actor: say who decides, as E-7")
    at = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return Decider(name, (reason or "").strip() or None, at)


def corrections(file: Path) -> dict[Position, bytes]:
    """Corrected events by position, out of lines with `position` and `event`; Failure with the line."""
    import msgspec

    found: dict[Position, bytes] = {}
    try:
        lines = file.read_bytes().splitlines()
    except FileNotFoundError:
        raise Failure(Exit.NOT_FOUND, f"{file}: no such file; check the path") from None
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            one = msgspec.json.decode(line, type=dict[str, msgspec.Raw])
            named = msgspec.json.decode(one["position"], type=str)
            event = bytes(one["event"])
        except (msgspec.DecodeError, UnicodeDecodeError, KeyError):
            raise Failure(
                Exit.USAGE,
                f"{file}:{number}: no line of JSON with position and event, as "
                "`scv dead-letters show --json` writes them",
            ) from None
        position = position_named(named)
        if position in found:
            raise Failure(Exit.USAGE, f"{file}:{number}: {position} is corrected twice")
        if event == b"null":
            raise Failure(
                Exit.USAGE, f"{file}:{number}: {position} has no event yet: write one in place of null"
            )
        found[position] = event
    if not found:
        raise Failure(Exit.USAGE, f"{file}: no corrected events in it")
    return found


def _apart(entries: Sequence[Entry]) -> tuple[list[Entry], list[tuple[Position, Settled]]]:
    """The open ones, oldest first, and those that are settled."""
    taken = sorted((one for one in entries if one.settled is None), key=lambda one: one.position)
    return taken, [(one.position, one.settled) for one in entries if one.settled is not None]


def _plan_redrive(
    index: LetterIndex,
    entries: Sequence[Entry],
    corrected: Mapping[Position, bytes],
    rules: IdentityRules,
    decider: Decider,
) -> Plan:
    from eventlog.settling import Settling
    from eventlog.transactions import Outgoing
    from models.dead_letter import Fault
    from projections.redriving import redriven

    taken, settled = _apart(entries)
    log_us = time.time_ns() // 1_000
    ready: dict[Position, Settling] = {}
    wrong: list[tuple[Position, Fault]] = []
    size_bytes = 0
    for letter in index.letters(taken[:LETTERS_MAX]):
        made = redriven(letter, corrected.get(letter.position), rules, log_us)
        if isinstance(made, Fault):
            wrong.append((letter.position, made))
            continue
        size_bytes += len(made.value)
        if size_bytes > BYTES_MAX:
            break
        mark = decider.settled(letter.position, "redriven", topic=made.topic, corrected=made.corrected)
        record = Outgoing(made.topic, made.partition, made.key, made.value, made.headers)
        ready[letter.position] = Settling(letter.position, mark, record)
    # Records of one lane go back in the order in which they were.
    ordered = [ready[position] for position in sorted(ready)]
    return Plan(ordered, wrong, settled, len(taken) - len(ready) - len(wrong))


def _carry_out(plan: Plan, verb: str, settings: Settings, *, execute: bool, as_json: bool) -> int:
    done: list[Settling] = []
    late: list[tuple[Position, Settled]] = []
    if execute and plan.ready:
        try:
            late = _settle(plan.ready, verb, settings.kafka, done, quiet=as_json)
        except KeyboardInterrupt:
            raise Failure(
                Exit.INTERRUPTED, f"stopped, {len(done):,} are done; the same command does what is left"
            ) from None
    plan = plan._replace(
        ready=[one for one in plan.ready if one.position not in dict(late)], settled=[*plan.settled, *late]
    )
    if as_json:
        say_json(_as_json(plan, executed=execute))
    else:
        _tell(plan, verb, executed=execute)
    refused = len(plan.wrong) + len(plan.settled)
    if not plan.ready:
        return Exit.REFUSED
    return Exit.PARTLY if refused or (execute and plan.left) else Exit.OK


def _settle(
    ready: Sequence[Settling], verb: str, bootstrap: str, done: list[Settling], *, quiet: bool
) -> list[tuple[Position, Settled]]:
    """Settle these, adding them to `done`; gives those where somebody else was quicker. Failure, LogError."""
    from eventlog.settling import Settler
    from eventlog.transactions import Fenced

    try:
        with (
            Settler(bootstrap) as settler,
            Progress(verb, len(ready), "letters", quiet=quiet) as progress,
        ):
            late = [
                (one.position, mark) for one in ready if (mark := settler.settled(one.position)) is not None
            ]
            for batch in settler.settle(ready):
                done += batch
                progress.update(len(done))
            return late
    except Fenced:
        raise Failure(
            Exit.REFUSED,
            f"{len(done):,} are done; then somebody else began to settle dead letters: run it again",
        ) from None


def _as_json(plan: Plan, *, executed: bool) -> dict[str, Any]:
    return {
        "executed": executed,
        "ready": [
            {"position": str(one.position), "topic": one.settled.topic, "corrected": one.settled.corrected}
            for one in plan.ready
        ],
        "wrong": [
            {
                "position": str(position),
                "reason": fault.reason,
                "pointer": fault.pointer,
                "detail": fault.detail,
            }
            for position, fault in plan.wrong
        ],
        "settled": [settled for _, settled in plan.settled],
        "left": plan.left,
    }


def _tell(plan: Plan, verb: str, *, executed: bool) -> None:
    from ops.portrait import printable

    lines = [f"{position}: still {fault.reason} at {fault.pointer or 'the whole'}: {fault.detail}"
             for position, fault in plan.wrong]  # fmt: skip
    lines += [f"{position}: {mark.action} already by {mark.actor} at {mark.at}"
              for position, mark in plan.settled]  # fmt: skip
    for line in lines[:SHOWN_MAX]:
        say(printable(line))
    if len(lines) > SHOWN_MAX:
        say(f"… and {len(lines) - SHOWN_MAX:,} more; --json has them all")
    done = {"redrive": "redriven", "discard": "discarded"}[verb]
    for topic, count in sorted(Counter(one.settled.topic or "" for one in plan.ready).items()):
        to = f" to {topic}" if topic else ""
        say(f"{count:,} {done}{to}" if executed else f"{count:,} would be {done}{to}")
    if plan.left:
        say(f"{plan.left:,} more are left for another run: at most {LETTERS_MAX:,} are done at once.")
    if plan.ready and not executed:
        say("Nothing was changed. Add --execute to do it.")
    if not plan.ready:
        say(f"Nothing to {verb}.")
