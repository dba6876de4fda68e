"""`scv import`: what a person sees of an import."""

from __future__ import annotations

from pathlib import Path

from ops.answers import say, say_json
from ops.configured import settings_with
from ops.failures import Exit, Failure, failure_of
from ops.import_map import load_map
from ops.importing import REJECTIONS_SHOWN, BrokenOff, Outcome, Target, run_import
from ops.progress import Progress
from ops.rows import Rows


def run_import_command(
    file: Path,
    import_map: str,
    *,
    dry_run: bool,
    rejects: Path | None,
    from_row: int,
    kafka: str | None,
    as_json: bool,
) -> int:
    """Import a file; say what became of it. The exit code is 6 when rows were rejected, 1 when all were."""
    settings = settings_with(kafka=kafka)
    plan = load_map(import_map)
    if not file.is_file():
        raise Failure(Exit.NOT_FOUND, f"{file}: no such file; check the path")
    rows = Rows(file, plan.layout)
    target = None if dry_run else _connected(settings.kafka, plan.topic)
    again = f"scv import {file} --map {import_map}" + (f" --kafka {kafka}" if kafka else "")
    try:
        with Progress(file.name, rows.total, "rows", quiet=as_json) as progress:
            outcome = run_import(
                rows, plan, target, from_row=from_row, rejects=rejects, on_progress=progress.update
            )
        if target is not None:
            target.close()  # type: ignore[attr-defined]
    except BrokenOff as broken:
        cause = broken.__cause__
        resume = f"go on with: {again} --from-row {broken.outcome.next_row}"
        if isinstance(cause, KeyboardInterrupt):
            raise Failure(Exit.INTERRUPTED, f"stopped, {broken.outcome.sent} events sent; {resume}") from None
        failure = failure_of(cause or broken)
        raise Failure(failure.code, f"{failure}; {resume}") from None
    if as_json:
        say_json(_as_json(outcome, file, plan.type))
    else:
        _tell(outcome, file, plan.type, dry_run=dry_run, rejects=rejects)
    if not outcome.rejected:
        return Exit.OK
    return Exit.PARTLY if outcome.rejected + outcome.filtered < outcome.rows else Exit.FAILED


def _connected(bootstrap: str, topic: str) -> Target:
    from eventlog.admin import describe_topics
    from eventlog.producing import LogProducer

    if topic not in describe_topics(bootstrap):
        raise Failure(
            Exit.NOT_FOUND, f"{bootstrap}: no topic {topic}; run `scv topics create --kafka {bootstrap}`"
        )
    return LogProducer(bootstrap, client_id="scv-import", linger_ms=20)


def _as_json(outcome: Outcome, file: Path, wire_type: str) -> dict[str, object]:
    return {
        "file": str(file), "type": wire_type, "rows": outcome.rows, "sent": outcome.sent,
        "rejected": outcome.rejected, "filtered": outcome.filtered, "clamped_times": outcome.clamped,
        "ignored_fields": outcome.ignored_fields,
        "seconds": round(outcome.seconds, 3), "rejections": [one._asdict() for one in outcome.rejections],
        "first_events": [event.decode() for event in outcome.first_events],
    }  # fmt: skip


def _tell(outcome: Outcome, file: Path, wire_type: str, *, dry_run: bool, rejects: Path | None) -> None:
    for event in outcome.first_events:
        say(event.decode())
    for one in outcome.rejections:
        say(f"{one.place}: {one.reason}")
    if outcome.rejected > REJECTIONS_SHOWN:
        where = f"see {rejects}" if rejects else "write them all with --rejects FILE"
        say(f"… and {outcome.rejected - REJECTIONS_SHOWN:,} more; {where}")
    if outcome.clamped:
        say(
            f"{outcome.clamped:,} times lie in the future and will count as the moment of the import; "
            "check `time` in the map"
        )
    if outcome.ignored_fields:
        say(f"{outcome.ignored_fields:,} fields are not known to {wire_type} and will be ignored")
    good = outcome.rows - outcome.rejected - outcome.filtered
    did = f"{good:,} would be sent (dry run)" if dry_run else f"{outcome.sent:,} sent as {wire_type}"
    rate = f" in {outcome.seconds:.1f} s, {outcome.rows / max(outcome.seconds, 1e-3):,.0f} rows/s"
    filtered = f", {outcome.filtered:,} filtered out" if outcome.filtered else ""
    say(f"{file.name}: {outcome.rows:,} rows, {did}, {outcome.rejected:,} rejected{filtered}{rate}")
