"""The `scv` command: what it offers, and how each command is called.

Invariants:
- Importing this module imports typer and nothing heavier; a command imports its own room when it runs.
- Every command returns an exit code; whatever goes wrong ends as one line on stderr (`ops.failures`).
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.exceptions import Abort

from ops.events_cli import events_app
from ops.export_cli import export
from ops.failures import Exit, Failure, failure_of, one_line, traced
from ops.http_cli import keys_app, serve
from ops.identity_cli import identity_app
from ops.letters_cli import letters_app
from ops.options import AsJson, Generation, Kafka, MetricsPort, Redis, SessionTimeout
from ops.rebuild_cli import reassemble, rebuild_app, sweep
from ops.replay_cli import inspect, verify

app = typer.Typer(
    name="scv", no_args_is_help=True, rich_markup_mode="rich", pretty_exceptions_enable=False,
    help="One customer, one view, from events.\n\n"
    "Settings come from SCV_… variables or the TOML file named by SCV_CONFIG; options win.\n\n"
    "\b\nStart here:  scv demo\nThen:        scv inspect crm:4711",
)  # fmt: skip
topics_app = typer.Typer(no_args_is_help=True, help="The topics of the event log.", rich_markup_mode="rich")
app.add_typer(topics_app, name="topics")
app.add_typer(identity_app, name="identity")
app.add_typer(keys_app, name="keys")
app.add_typer(events_app, name="events")
app.add_typer(letters_app, name="dead-letters")
app.add_typer(rebuild_app, name="rebuild")


@app.command()
def demo(
    customers: Annotated[
        int, typer.Option(help="How many people the seeded population has.", min=1, max=10_000)
    ] = 300,
    seed: Annotated[
        int, typer.Option(help="Another seed makes other people; Ada Byron is always there.")
    ] = 1815,
    headless: Annotated[
        bool, typer.Option("--headless", help="End when all is folded, instead of staying up.")
    ] = False,
    as_json: AsJson = False,
) -> int:
    """Show scv at work: servers, a history of two years, its views. Nothing to install or set up.

    Starts an embedded broker and store, writes the CDNOW purchases and a
    population's history into the log, folds it, and shows Ada Byron's profile.
    Stays up until Ctrl-C, so that you can try the other commands on it.

    \b
    Examples:
      scv demo
      scv demo --headless --json --customers 50
    """
    from ops.demo import run_demo

    return run_demo(customers=customers, seed=seed, headless=headless, as_json=as_json)


@app.command()
def up(
    workers: Annotated[int, typer.Option(help="Worker processes to start.", min=1, max=64)] = 1,
    metrics_port: MetricsPort = None,
    as_json: AsJson = False,
) -> int:
    """Start embedded servers, workers and HTTP in the foreground; Ctrl-C stops them all. Nothing is kept.

    With --json one line is printed as soon as everything is ready: kafka,
    redis, http, and an api_key that may do everything. With --metrics-port 9400
    the workers serve their metrics at 9400, 9401 and so on.

    \b
    Examples:
      scv up
      scv up --json --workers 2
    """
    from ops.up import run_up

    return run_up(workers=workers, metrics_port=metrics_port, as_json=as_json)


@app.command()
def worker(
    kafka: Kafka = None,
    redis: Redis = None,
    generation: Generation = None,
    no_publish: Annotated[
        bool, typer.Option("--no-publish", help="Start no publisher beside it; leave that to others.")
    ] = False,
    session_timeout: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS", help="Instead of SCV_SESSION_TIMEOUT_SECONDS; 6 suits the embedded broker."
        ),
    ] = None,
    metrics_port: MetricsPort = None,
) -> int:
    """Run a worker: it folds the events of its lanes into profiles. Start as many as you like.

    A process of its own beside it publishes what changed, as scv publisher does.
    Refuses to start on a store that evicts keys or is older than 7.0, and
    without topics. SIGTERM and Ctrl-C end it after the step in progress; what
    was not committed is folded again by whoever takes the lane.

    \b
    Examples:
      SCV_KAFKA=kafka-1:9092 SCV_REDIS=redis://redis-1:6379/0 scv worker
      scv worker --metrics-port 9400
    """
    from ops.working import run_worker

    return run_worker(
        kafka=kafka,
        redis=redis,
        generation=generation,
        session_timeout_seconds=session_timeout,
        metrics_port=metrics_port,
        publish=not no_publish,
    )


app.command("serve")(serve)
app.command("export")(export)
app.command("sweep")(sweep)
app.command("reassemble")(reassemble)


@topics_app.command("create")
def topics_create(
    kafka: Kafka = None,
    generation: Generation = None,
    partitions: Annotated[
        int | None,
        typer.Option(
            help="Lanes of each domain topic, instead of SCV_PARTITIONS; never changed later.", min=1
        ),
    ] = None,
    as_json: AsJson = False,
) -> int:
    """Create the topics that are missing. Topics that exist are left as they are.

    \b
    Example:
      scv topics create --kafka kafka-1:9092 --partitions 24
    """
    from ops.working import run_topics_create

    return run_topics_create(kafka=kafka, generation=generation, partitions=partitions, as_json=as_json)


@app.command()
def publisher(kafka: Kafka = None, redis: Redis = None, session_timeout: SessionTimeout = None) -> int:
    """Publish profiles that changed to customer.profiles, without folding. Start as many as you like.

    Each worker starts one beside it; run it by itself where workers run with
    --no-publish. It publishes the active generation, whichever that is.
    Publishers share the lanes; whoever takes one shuts out whoever had it.

    \b
    Example:
      SCV_KAFKA=kafka-1:9092 SCV_REDIS=redis://redis-1:6379/0 scv publisher
    """
    from ops.working import run_publisher

    return run_publisher(kafka=kafka, redis=redis, session_timeout_seconds=session_timeout)


@app.command("import")
def import_file(
    file: Annotated[
        Path, typer.Argument(help="CSV, columns, JSON Lines or Parquet; .gz is read too.", show_default=False)
    ],
    import_map: Annotated[
        str,
        typer.Option("--map", metavar="MAP.toml", help="How rows become events; or a shipped map: cdnow."),
    ],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Send nothing; show the first events and the counts.")
    ] = False,
    rejects: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write every rejected row there, as JSON Lines.")
    ] = None,
    from_row: Annotated[
        int, typer.Option(help="Go on at this row, after an import that broke off.", min=1)
    ] = 1,
    kafka: Kafka = None,
    as_json: AsJson = False,
) -> int:
    """Turn a file into events, by a map (docs/import.md).

    Every row is checked as the workers check. Bad rows are reported with their
    number and the reason, good ones go through; exit code 6 when some were
    rejected. The same file and map give the same ids.

    \b
    Examples:
      scv import data/cdnow/CDNOW_master.txt --map cdnow --dry-run
      scv import customers.csv --map customers.toml --rejects bad.jsonl
    """
    from ops.import_command import run_import_command

    return run_import_command(
        file, import_map, dry_run=dry_run, rejects=rejects, from_row=from_row, kafka=kafka, as_json=as_json
    )


app.command("inspect")(inspect)
app.command("verify")(verify)


@app.command()
def doctor(
    kafka: Kafka = None,
    redis: Redis = None,
    generation: Generation = None,
    probe: Annotated[
        bool,
        typer.Option(
            "--probe", help="Also write one record to a temporary topic, to see the broker's clock."
        ),
    ] = False,
    as_json: AsJson = False,
) -> int:
    """Check this installation: packages, codecs, servers, topics, clocks; and say what to do.

    Exit code 0 when nothing failed, 1 when something did, 7 when a server is
    away. Changes nothing without --probe.

    \b
    Examples:
      scv doctor
      scv doctor --probe --json
    """
    from ops.doctor import run_doctor

    return run_doctor(kafka=kafka, redis=redis, generation=generation, probe=probe, as_json=as_json)


@app.command()
def schemas(
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; exit code 3 when they differ.")
    ] = False,
) -> int:
    """Write the JSON Schemas of all events and the profile into schemas/.

    \b
    Example:
      scv schemas --check
    """
    from ops.schemas import main as run_schemas

    return run_schemas(["--check"] if check else [])


def run(arguments: list[str] | None = None) -> int:
    """Run one command line and return its exit code; errors go to stderr, one line each."""
    try:
        code: Any = typer.main.get_command(app)(args=arguments, prog_name="scv", standalone_mode=False)
        return int(code or Exit.OK)
    except (KeyboardInterrupt, Abort):
        return Exit.INTERRUPTED
    except typer.TyperException as wrong:
        return _wrong_usage(wrong)
    except BrokenPipeError:
        # Whoever read our output has enough; what is still buffered has nowhere to go.
        sys.stdout = open("/dev/null", "w")  # noqa: SIM115, PTH123
        return Exit.OK
    except Exception as error:
        if traced() and not isinstance(error, Failure):
            raise
        failure = failure_of(error)
        first, *others = map(one_line, failure.lines)
        print(f"scv: {first}", *(f"  {line}" for line in others), sep="\n", file=sys.stderr)
        return failure.code


def _wrong_usage(wrong: Any) -> int:
    """One line for a wrong command line; the help itself when nothing was asked for."""
    context = getattr(wrong, "ctx", None)
    place = context.command_path if context is not None else "scv"
    text = one_line(wrong.format_message())
    if not text:
        return Exit.USAGE
    print(f"{place}: {text.rstrip('.')}; see `{place} --help`", file=sys.stderr)
    return Exit.USAGE


def main() -> None:
    """The console script."""
    sys.exit(run())


if __name__ == "__main__":
    main()
