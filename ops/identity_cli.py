"""The commands `scv identity …`: what they offer, and how each is called.

Invariants:
- Importing this module imports typer and nothing heavier; a command imports its own module when it runs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ops.options import ActiveGeneration, AsJson, Generation, Kafka, Redis

identity_app = typer.Typer(
    no_args_is_help=True, help="Who is who: see it, judge it, correct it.", rich_markup_mode="rich"
)

Subject = Annotated[str, typer.Argument(help="A subject: crm:4711", show_default=False)]
Other = Annotated[
    str, typer.Argument(help="Another subject, or an identifier: email:…, phone:…", show_default=False)
]
Actor = Annotated[str, typer.Option(metavar="WHO", help="Who says so: E-7; a program: matcher/….")]
Reason = Annotated[str, typer.Option(metavar="TEXT", help="Why; it is kept with the decision.")]
Wait = Annotated[
    float,
    typer.Option(
        metavar="SECONDS", min=0, max=3_600, help="How long to wait for the outcome; 0: do not wait."
    ),
]


@identity_app.command()
def link(
    subject: Subject,
    other: Other,
    actor: Actor,
    reason: Reason,
    wait: Wait = 10.0,
    kafka: Kafka = None,
    redis: Redis = None,
    generation: ActiveGeneration = None,
    as_json: AsJson = False,
) -> int:
    """Say that two belong together, and see who is who afterwards.

    Writes one command into the log. A person's word holds whatever the rules
    say, until a later one; `scv identity unlink` takes it back. Exit code 6
    when it was written and the view has not shown the outcome in time.

    \b
    Example:
      scv identity link crm:4711 shop:88 --actor E-7 --reason "same passport"
    """
    from ops.identity_command import run_identity_command

    return run_identity_command(
        "link", subject, other, actor=actor, reason=reason, wait_seconds=wait,
        kafka=kafka, redis=redis, generation=generation, as_json=as_json,
    )  # fmt: skip


@identity_app.command()
def unlink(
    subject: Subject,
    other: Other,
    actor: Actor,
    reason: Reason,
    wait: Wait = 10.0,
    kafka: Kafka = None,
    redis: Redis = None,
    generation: ActiveGeneration = None,
    as_json: AsJson = False,
) -> int:
    """Say that two do not belong together, and see who is who afterwards.

    Of two subjects it holds for good: whatever they come to share later, they
    stay apart until a person links them. Exit code 6 when it was written and
    the view has not shown the outcome in time.

    \b
    Example:
      scv identity unlink crm:4711 crm:4712 --actor E-7 --reason "father and son"
    """
    from ops.identity_command import run_identity_command

    return run_identity_command(
        "unlink", subject, other, actor=actor, reason=reason, wait_seconds=wait,
        kafka=kafka, redis=redis, generation=generation, as_json=as_json,
    )  # fmt: skip


@identity_app.command()
def show(
    name: Annotated[str, typer.Argument(help="crm:4711, phone:…, email:…, cus_…", show_default=False)],
    svg: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Also draw the graph there, as SVG.")
    ] = None,
    redis: Redis = None,
    generation: ActiveGeneration = None,
    as_json: AsJson = False,
) -> int:
    """Show why a customer is one: members, identifiers, every edge, decisions, possible matches.

    An old customer id leads to the customer that its founder is in now. An
    identifier of several customers lists them.

    \b
    Examples:
      scv identity show crm:4711
      scv identity show cus_499N3X8XM5CNPS6H --svg graph.svg
    """
    from ops.identity_show import run_identity_show

    return run_identity_show(name, svg=svg, redis=redis, generation=generation, as_json=as_json)


@identity_app.command()
def candidates(
    limit: Annotated[int, typer.Option(metavar="N", help="Show the best N.", min=1, max=1_000)] = 20,
    redis: Redis = None,
    generation: ActiveGeneration = None,
    as_json: AsJson = False,
) -> int:
    """List possible matches for a person to judge, with the command that says yes and the one that says no.

    Those that `scv identity suggest` found come first, by probability; then
    customers that an edge leads to which the rules did not let link. Pairs
    that a person has parted are left out.

    \b
    Example:
      scv identity candidates --limit 50
    """
    from ops.identity_candidates import run_identity_candidates

    return run_identity_candidates(limit=limit, redis=redis, generation=generation, as_json=as_json)


@identity_app.command()
def suggest(
    link_above: Annotated[
        float | None,
        typer.Option("--link-above", metavar="P", help="Command links from this probability on, as 0.99."),
    ] = None,
    kafka: Kafka = None,
    redis: Redis = None,
    generation: ActiveGeneration = None,
    as_json: AsJson = False,
) -> int:
    """Ask Splink who may be one person by name, birth date and address; needs the extra `suggest`.

    Keeps what it finds as candidates. With --link-above it writes `link`
    commands of the actor matcher/splink, which obey every rule, and which one
    `scv identity unlink` takes back.

    \b
    Examples:
      scv identity suggest
      scv identity suggest --link-above 0.99
    """
    from ops.identity_suggest_command import run_identity_suggest

    return run_identity_suggest(
        link_above=link_above, redis=redis, kafka=kafka, generation=generation, as_json=as_json
    )


@identity_app.command("dry-run")
def dry_run(
    rules: Annotated[Path, typer.Option(metavar="FILE", help="The new rules, a TOML file.")],
    limit: Annotated[int, typer.Option(metavar="N", help="Show the worst N.", min=1, max=1_000)] = 10,
    kafka: Kafka = None,
    redis: Redis = None,
    generation: ActiveGeneration = None,
    as_json: AsJson = False,
) -> int:
    """Say what other rules would do to the customers there are; changes nothing.

    Reads the whole link log and builds the graph twice, in memory. Exit code 3
    when customers would merge, split or exchange members.

    \b
    Example:
      scv identity dry-run --rules stricter.toml
    """
    from ops.identity_dry_run import run_identity_dry_run

    return run_identity_dry_run(
        rules, limit=limit, kafka=kafka, redis=redis, generation=generation, as_json=as_json
    )


@identity_app.command()
def contamination(
    merge: Annotated[str, typer.Option(metavar="ID", help="The merge, as customer.merges names it: mrg_….")],
    kafka: Kafka = None,
    redis: Redis = None,
    generation: ActiveGeneration = None,
    as_json: AsJson = False,
) -> int:
    """After a wrong merge: until when it held, what was published meanwhile, what each side saw of the other.

    \b
    Example:
      scv identity contamination --merge mrg_0f3a9c51d2e47b68
    """
    from ops.identity_contamination import run_identity_contamination

    return run_identity_contamination(merge, kafka=kafka, redis=redis, generation=generation, as_json=as_json)


@identity_app.command()
def build(
    kafka: Kafka = None,
    redis: Redis = None,
    generation: Generation = None,
    as_json: AsJson = False,
) -> int:
    """Build the graph of a whole link log at once, for a first load.

    Much faster than following the log fact by fact. Only for a generation in
    which nothing has been placed yet: workers wait meanwhile, and follow the
    log from where this ends. Stopped, it can be begun again. Exit code 5 when
    something has been placed already.

    \b
    Example:
      scv identity build
    """
    from ops.identity_build import run_identity_build

    return run_identity_build(kafka=kafka, redis=redis, generation=generation, as_json=as_json)
