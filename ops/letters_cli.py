"""The commands `scv dead-letters …`: what they offer, and how each is called.

Invariants:
- Importing this module imports typer and nothing heavier; a command imports its own module when it runs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ops.options import AsJson, Execute, From, Kafka, Limit, To

letters_app = typer.Typer(
    no_args_is_help=True,
    help="Records that could not be folded: see them, correct them.",
    rich_markup_mode="rich",
)

Positions = Annotated[
    list[str] | None,
    typer.Argument(metavar="POSITION...", help="As sales.events-5@1042.", show_default=False),
]
Reason = Annotated[str | None, typer.Option(metavar="R", help="Those of this reason, as wrong_shape.")]
Topic = Annotated[str | None, typer.Option(metavar="TOPIC", help="Those of records of this topic.")]
Actor = Annotated[
    str | None, typer.Option(metavar="WHO", help="Who decides, as E-7; your login name without it.")
]


@letters_app.command("list")
def list_letters(
    reason: Reason = None,
    topic: Topic = None,
    from_: From = None,
    to: To = None,
    settled: Annotated[
        bool, typer.Option("--all", help="Also those that were redriven or discarded.")
    ] = False,
    limit: Limit = 20,
    kafka: Kafka = None,
    as_json: AsJson = False,
) -> int:
    """Count dead letters by reason, and list the latest.

    Times are those when the records were logged. What was redriven or
    discarded is left out without --all.

    \b
    Examples:
      scv dead-letters list
      scv dead-letters list --reason wrong_shape --from 24h --limit 100
    """
    from ops.letters import run_list

    return run_list(
        reason=reason, topic=topic, from_=from_, to=to, settled=settled, limit=limit, kafka=kafka,
        as_json=as_json,
    )  # fmt: skip


@letters_app.command()
def show(
    positions: Positions = None,
    reason: Reason = None,
    topic: Topic = None,
    limit: Limit = 20,
    kafka: Kafka = None,
    as_json: AsJson = False,
) -> int:
    """Show dead letters with their records as received, what is wrong, and what would make it right.

    With --json each is a line with position and event: correct the event
    there, and the file is one for scv dead-letters redrive --file.

    \b
    Examples:
      scv dead-letters show sales.events-5@1042
      scv dead-letters show --reason wrong_shape --json > corrected.jsonl
    """
    from ops.letters import run_show

    return run_show(positions or [], reason=reason, topic=topic, limit=limit, kafka=kafka, as_json=as_json)


@letters_app.command()
def redrive(
    positions: Positions = None,
    reason: Reason = None,
    topic: Topic = None,
    file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Corrected events: lines of JSON with position and event."),
    ] = None,
    actor: Actor = None,
    reason_text: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Why, in words; it is kept with the decision.")
    ] = None,
    execute: Execute = False,
    kafka: Kafka = None,
    as_json: AsJson = False,
) -> int:
    """Write dead letters again to their topics, as received or corrected. A plan without --execute.

    All are examined as workers do before anything is written; those that are
    still wrong stay as they are (exit code 6, 5 when all are). Each is written
    once: a second time it is refused.

    \b
    Examples:
      scv dead-letters redrive sales.events-5@1042
      scv dead-letters redrive --reason unknown_type --execute
      scv dead-letters redrive --file corrected.jsonl --execute
    """
    from ops.letters_settle import run_redrive

    return run_redrive(
        positions or [], reason=reason, topic=topic, file=file, actor=actor, reason_text=reason_text,
        execute=execute, kafka=kafka, as_json=as_json,
    )  # fmt: skip


@letters_app.command()
def discard(
    reason_text: Annotated[
        str, typer.Option(metavar="TEXT", help="Why, in words; it is kept with the decision.")
    ],
    positions: Positions = None,
    reason: Reason = None,
    topic: Topic = None,
    actor: Actor = None,
    execute: Execute = False,
    kafka: Kafka = None,
    as_json: AsJson = False,
) -> int:
    """Say of dead letters that nothing is to become of them. A plan without --execute.

    Nothing is deleted: the record stays where it lies, and the decision with
    who and why beside it. The list no longer shows it; no rebuild folds it.

    \b
    Example:
      scv dead-letters discard sales.events-5@1042 --reason-text "a test of the shop" --execute
    """
    from ops.letters_settle import run_discard

    return run_discard(
        positions or [], reason=reason, topic=topic, actor=actor, reason_text=reason_text, execute=execute,
        kafka=kafka, as_json=as_json,
    )  # fmt: skip
