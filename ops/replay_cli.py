"""`scv inspect` and `scv verify`: looking at customers, now, at another time, and whether the view is true.

Invariants:
- Importing this module imports typer and nothing heavier.
"""

from __future__ import annotations

from typing import Annotated

import typer

from ops.options import ActiveGeneration, AsJson, Kafka, Redis


def inspect(
    names: Annotated[
        list[str],
        typer.Argument(
            metavar="NAME...", help="crm:4711, phone:…, email:…, order:O-8, cus_…", show_default=False
        ),
    ],
    sections: Annotated[
        str | None, typer.Option(metavar="A,B", help="Only these sections, such as billing,service.")
    ] = None,
    as_of: Annotated[
        str | None, typer.Option(metavar="TIME", help="As it was then: what had occurred by this time.")
    ] = None,
    known_at: Annotated[
        str | None, typer.Option(metavar="TIME", help="As it was known then: what was logged by this time.")
    ] = None,
    diff: Annotated[
        tuple[str, str] | None,
        typer.Option(
            metavar="TIME TIME", help="What had changed from one time to the other.", show_default=False
        ),
    ] = None,
    explain: Annotated[
        str | None, typer.Option(metavar="FIELD", help="The events that made this field, and the rule.")
    ] = None,
    kafka: Kafka = None,
    redis: Redis = None,
    generation: ActiveGeneration = None,
    as_json: AsJson = False,
) -> int:
    """Show a customer's profile, found by any subject, identifier, reference or customer id.

    Several names at once must agree on one customer. Several customers that
    answer are listed, with the reasons of each; when there is none the exit
    code is 4. An old id leads to the customer that it was merged into.
    With a time or a field it is replayed from the log (docs/replay.md).

    \b
    Examples:
      scv inspect crm:4711
      scv inspect "phone:+49 30 901820" --sections summary,billing
      scv inspect email:ada@example.com order:O-8 --json
      scv inspect crm:4711 --as-of 2026-02-01
      scv inspect crm:4711 --explain billing.balances
    """
    from ops.inspecting import run_inspect

    times = (as_of, known_at, diff)
    if explain is not None or any(times):
        from ops.looking_back import Times, run_looking_back, settings_for

        return run_looking_back(
            names, Times.parse(*times), explain=explain, sections=sections,
            settings=settings_for(kafka, redis, generation), generation=generation, as_json=as_json,
        )  # fmt: skip
    return run_inspect(names, sections=sections, redis=redis, generation=generation, as_json=as_json)


def verify(
    customer: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="These customers only, each by any name that scv inspect takes."),
    ] = None,
    sample: Annotated[
        str | None, typer.Option(metavar="SHARE", help="So many of the customers, as 1% or 0.01.")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="All customers, and whether one is missing.")] = False,
    seed: Annotated[int, typer.Option(help="Another seed samples other customers.")] = 1,
    passes: Annotated[
        int | None, typer.Option(help="Read the log so many times, each for a share of the customers.", min=1)
    ] = None,
    from_pass: Annotated[int, typer.Option(help="Go on at this pass, after an interruption.", min=1)] = 1,
    kafka: Kafka = None,
    redis: Redis = None,
    generation: ActiveGeneration = None,
    as_json: AsJson = False,
) -> int:
    """Compare the live view with a replay from the raw history, byte for byte.

    Finds what was changed by hand, lost, or folded otherwise; exit code 3 when
    something differs, 6 when a customer was busy all the time and could not be
    compared. Works while events flow. Writes nothing.

    \b
    Examples:
      scv verify --customer crm:4711
      scv verify --sample 1%
      scv verify --all --passes 4 --json
    """
    from ops.verify_command import run_verify

    return run_verify(
        customer or [],
        sample=sample,
        every=every,
        seed=seed,
        passes=passes,
        from_pass=from_pass,
        kafka=kafka,
        redis=redis,
        generation=generation,
        as_json=as_json,
    )
