"""`scv rebuild …`, `scv sweep`, `scv reassemble`: how each is called.

Invariants:
- Importing this module imports typer and nothing heavier.
"""

from __future__ import annotations

from typing import Annotated

import typer

from ops.options import AsJson, Kafka, Redis

rebuild_app = typer.Typer(
    no_args_is_help=True, rich_markup_mode="rich", help="Build the view anew, beside the one that is read."
)
Of = Annotated[
    str | None, typer.Option("--generation", metavar="gN", help="Which one, where there are several.")
]
Active = Annotated[
    str | None, typer.Option("--generation", metavar="gN", help="Instead of the active generation.")
]
Execute = Annotated[bool, typer.Option("--execute", help="Do it; without this the plan is shown.")]
Force = Annotated[bool, typer.Option("--force", help="Even if it is behind; readers may see older views.")]
Wait = Annotated[
    float, typer.Option(metavar="SECONDS", help="How long it may take to catch up.", min=0, max=3_600)
]
Actor = Annotated[str | None, typer.Option(help="Who decides; the login name without it.")]
Reason = Annotated[str | None, typer.Option(help="Why, for the record.")]
Workers = Annotated[int, typer.Option(help="Processes that fold and assemble.", min=1, max=64)]
Throttle = Annotated[
    int | None,
    typer.Option(metavar="N", help="At most so many records, or subjects, a second; else no limit.", min=1),
]


@rebuild_app.command("start")
def start(
    execute: Execute = False,
    workers: Workers = 1,
    throttle: Throttle = None,
    no_follow: Annotated[
        bool, typer.Option("--no-follow", help="End when it is built; follow the log with scv worker.")
    ] = False,
    without_removed: Annotated[
        bool, typer.Option("--without-removed", help="Do without records that retention has removed.")
    ] = False,
    generation: Of = None,
    kafka: Kafka = None,
    redis: Redis = None,
    as_json: AsJson = False,
) -> int:
    """Fold the whole log into a new generation, then follow the log with it. Readers notice nothing.

    One that was begun and not finished goes on where it was. Ctrl-C, and a
    kill, leave it whole; the line that is printed names the command to go on.

    \b
    Examples:
      scv rebuild start
      scv rebuild start --execute --workers 4 --throttle 50000
    """
    from ops.rebuild_start import run_rebuild_start

    return run_rebuild_start(
        kafka=kafka,
        redis=redis,
        generation=generation,
        workers=workers,
        throttle=throttle,
        execute=execute,
        follow=not no_follow,
        without_removed=without_removed,
        as_json=as_json,
    )


@rebuild_app.command("status")
def status(generation: Of = None, kafka: Kafka = None, redis: Redis = None, as_json: AsJson = False) -> int:
    """Say where each generation stands; with --generation, each of its lanes.

    \b
    Examples:
      scv rebuild status
      scv rebuild status --generation g2
    """
    from ops.rebuild_status import run_rebuild_status

    return run_rebuild_status(kafka=kafka, redis=redis, generation=generation, as_json=as_json)


@rebuild_app.command("diff")
def diff(
    examples: Annotated[int, typer.Option(help="How many customers are shown whole.", min=0, max=1_000)] = 3,
    generation: Of = None,
    kafka: Kafka = None,
    redis: Redis = None,
    as_json: AsJson = False,
) -> int:
    """Say which customers and fields would change if it were promoted; exit code 3 when any would.

    \b
    Example:
      scv rebuild diff --examples 10
    """
    from ops.rebuild_diff import run_rebuild_diff

    return run_rebuild_diff(
        kafka=kafka, redis=redis, generation=generation, examples=examples, as_json=as_json
    )


@rebuild_app.command("promote")
def promote(
    execute: Execute = False,
    force: Force = False,
    wait: Wait = 10.0,
    actor: Actor = None,
    reason: Reason = None,
    generation: Of = None,
    kafka: Kafka = None,
    redis: Redis = None,
    as_json: AsJson = False,
) -> int:
    """Let readers see the generation that was built, all of it at once. The old one stays.

    Refused, with exit code 5, while it is behind what readers see now, and
    before it is whole.

    \b
    Examples:
      scv rebuild promote
      scv rebuild promote --execute --reason "sales by channel"
    """
    from ops.rebuild_promote import run_rebuild_promote

    return run_rebuild_promote(
        back=False,
        kafka=kafka,
        redis=redis,
        generation=generation,
        actor=actor,
        reason=reason,
        wait_seconds=wait,
        force=force,
        execute=execute,
        as_json=as_json,
    )


@rebuild_app.command("rollback")
def rollback(
    execute: Execute = False,
    force: Force = False,
    wait: Wait = 10.0,
    actor: Actor = None,
    reason: Reason = None,
    kafka: Kafka = None,
    redis: Redis = None,
    as_json: AsJson = False,
) -> int:
    """Let readers see the generation again that they saw before the last promotion.

    Refused, with exit code 5, while that one is behind: keep workers of it.

    \b
    Examples:
      scv rebuild rollback
      scv rebuild rollback --execute --reason "sales are wrong"
    """
    from ops.rebuild_promote import run_rebuild_promote

    return run_rebuild_promote(
        back=True,
        kafka=kafka,
        redis=redis,
        generation=None,
        actor=actor,
        reason=reason,
        wait_seconds=wait,
        force=force,
        execute=execute,
        as_json=as_json,
    )


@rebuild_app.command("pause")
def pause(generation: Of = None, kafka: Kafka = None, redis: Redis = None, as_json: AsJson = False) -> int:
    """Let a rebuild that is at it wait, until scv rebuild resume.

    \b
    Example:
      scv rebuild pause
    """
    from ops.rebuild_status import run_rebuild_pause

    return run_rebuild_pause(paused=True, kafka=kafka, redis=redis, generation=generation, as_json=as_json)


@rebuild_app.command("resume")
def resume(generation: Of = None, kafka: Kafka = None, redis: Redis = None, as_json: AsJson = False) -> int:
    """Let a rebuild that was paused go on.

    \b
    Example:
      scv rebuild resume
    """
    from ops.rebuild_status import run_rebuild_pause

    return run_rebuild_pause(paused=False, kafka=kafka, redis=redis, generation=generation, as_json=as_json)


def sweep(
    repair: Annotated[bool, typer.Option("--repair", help="Write again what is wrong.")] = False,
    generation: Active = None,
    kafka: Kafka = None,
    redis: Redis = None,
    as_json: AsJson = False,
) -> int:
    """Hold profiles, tombstones and indexes against the identity graph and the parts; exit code 3 if wrong.

    For a store of which a part went back or was changed by hand. Workers go on
    meanwhile. With --repair it is all written again from graph and parts.

    \b
    Examples:
      scv sweep
      scv sweep --repair
    """
    from ops.sweep_command import run_sweep

    return run_sweep(kafka=kafka, redis=redis, generation=generation, repair=repair, as_json=as_json)


def reassemble(
    execute: Execute = False,
    generation: Active = None,
    throttle: Annotated[
        int | None,
        typer.Option(metavar="N", help="At most so many customers a second; else no limit.", min=1),
    ] = None,
    kafka: Kafka = None,
    redis: Redis = None,
    as_json: AsJson = False,
) -> int:
    """Derive all profiles again, after settings were changed that shape no parts. Folds nothing.

    Restart the workers with the new settings first. Begun again it goes on:
    profiles that show the settings of now (meta.config) are left alone.

    \b
    Examples:
      scv reassemble
      scv reassemble --execute
    """
    from ops.reassemble_command import run_reassemble

    return run_reassemble(
        kafka=kafka, redis=redis, generation=generation, throttle=throttle, execute=execute, as_json=as_json
    )


@rebuild_app.command("drop")
def drop(
    generation: Annotated[str, typer.Argument(metavar="gN", show_default=False)],
    execute: Execute = False,
    kafka: Kafka = None,
    redis: Redis = None,
    as_json: AsJson = False,
) -> int:
    """Remove a generation: its keys, a portion at a time, and its link log. Never the active one.

    \b
    Examples:
      scv rebuild drop g1
      scv rebuild drop g1 --execute
    """
    from ops.rebuild_status import run_rebuild_drop

    return run_rebuild_drop(generation, kafka=kafka, redis=redis, execute=execute, as_json=as_json)
