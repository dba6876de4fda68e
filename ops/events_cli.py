"""The commands `scv events …`: what they offer, and how each is called.

Invariants:
- Importing this module imports typer and nothing heavier; a command imports its own module when it runs.
"""

from __future__ import annotations

from typing import Annotated

import typer

from ops.options import ActiveGeneration, AsJson, From, Kafka, Limit, Redis, To

events_app = typer.Typer(
    no_args_is_help=True, help="The events in the log, as they were written.", rich_markup_mode="rich"
)

Customer = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Of this customer: crm:4711, phone:…, order:O-8, cus_…."),
]
Type = Annotated[str | None, typer.Option("--type", metavar="GLOB", help="Of these types, as 'sales.*'.")]
Topics = Annotated[
    list[str] | None,
    typer.Option("--topic", metavar="TOPIC", help="Of this topic; again for more. All five without it."),
]


@events_app.command()
def show(
    customer: Customer = None,
    type_: Type = None,
    topic: Topics = None,
    from_: From = None,
    to: To = None,
    limit: Limit = 100,
    kafka: Kafka = None,
    redis: Redis = None,
    generation: ActiveGeneration = None,
    as_json: AsJson = False,
) -> int:
    """Show the newest events that are asked for, in the order in which they were logged.

    What is no event is shown with its fault. A customer is asked of Redis; the
    lanes that hold parts of it are then read through.

    \b
    Examples:
      scv events show --limit 20
      scv events show --customer crm:4711 --type 'billing.*'
      scv events show --from 2026-03-01 --to 2026-03-02 --json
    """
    from ops.events import run_show

    return run_show(
        customer=customer, types=type_, topics=topic, from_=from_, to=to, limit=limit,
        kafka=kafka, redis=redis, generation=generation, as_json=as_json,
    )  # fmt: skip


@events_app.command()
def tail(
    customer: Customer = None,
    type_: Type = None,
    topic: Topics = None,
    limit: Annotated[int | None, typer.Option(metavar="N", help="End after so many.", min=1)] = None,
    kafka: Kafka = None,
    redis: Redis = None,
    generation: ActiveGeneration = None,
    as_json: AsJson = False,
) -> int:
    """Show events as they are written, until Ctrl-C.

    A customer is looked up when it begins: subjects that join it later are
    not heard.

    \b
    Examples:
      scv events tail
      scv events tail --type 'service.*' --json
    """
    from ops.events import run_tail

    return run_tail(
        customer=customer, types=type_, topics=topic, limit=limit, kafka=kafka, redis=redis,
        generation=generation, as_json=as_json,
    )  # fmt: skip
