"""`scv rebuild start`: the plan of a new generation, and its execution, from wherever it was left.

Invariants:
- Without --execute nothing is changed anywhere.
- It begins only where the log still has every record that the active generation was made of.
- However it ends, what is stored is whole, and the line that says so names the command to go on with.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import redis

from eventlog.generations import generations_of, number_of
from eventlog.topics import Topic, link_log, topic_plan
from models.catalogue import SOURCES
from models.record import Lane
from models.settings import Settings
from ops.answers import say, say_json
from ops.configured import settings_with
from ops.failures import Exit, Failure
from ops.progress import Progress
from ops.working import refuse_missing_topics, refuse_unfit_store
from stores.connection import connect
from stores.generations import LANES_TOLD
from stores.rebuilding import Rebuild, Rebuilds, State, folded_to


class Plan(NamedTuple):
    """What a rebuild would do: into which generation, beside which, and what it folds."""

    settings: Settings
    active: str
    ranges: dict[Lane, tuple[int, int]]
    begun: Rebuild | None
    shape_before: str | None

    @property
    def generation(self) -> str:
        """The generation that is built."""
        return self.settings.generation

    @property
    def records(self) -> int:
        """How many records are folded in bulk."""
        return sum(end - begin for begin, end in self.ranges.values())


@contextmanager
def rebuilds_of(settings: Settings) -> Iterator[Rebuilds]:
    """The records of rebuilds; closed afterwards."""
    client = connect(settings.redis)
    try:
        yield Rebuilds(client)
    finally:
        client.close()


def run_rebuild_start(
    *,
    kafka: str | None,
    redis: str | None,
    generation: str | None,
    workers: int,
    throttle: int | None,
    execute: bool,
    follow: bool,
    without_removed: bool,
    as_json: bool,
) -> int:
    """`scv rebuild start`."""
    chosen = settings_with(kafka=kafka, redis=redis)
    refuse_unfit_store(chosen)
    refuse_missing_topics(chosen, SOURCES)
    with rebuilds_of(chosen) as rebuilds:
        plan = _plan(chosen, rebuilds, generation)
        removed = _removed(plan, rebuilds)
        if removed and not without_removed:
            raise Failure(Exit.REFUSED, _told_removed(plan, removed))
        if not execute:
            _say_plan(plan, workers, throttle, as_json)
            return Exit.OK
        _begin(plan, rebuilds, throttle)
        rebuild = _build(plan, rebuilds, workers, throttle, quiet=as_json)
    _say_built(plan, rebuild, as_json)
    if not follow:
        return Exit.OK
    from ops.rebuild_follow import follow_live

    return follow_live(plan.settings, workers)


def resume_command(settings: Settings) -> str:
    """The command that goes on with this rebuild."""
    return f"scv rebuild start --execute --generation {settings.generation}"


def _plan(chosen: Settings, rebuilds: Rebuilds, generation: str | None) -> Plan:
    from eventlog.promotions import promotions
    from streams.rebuild import ranges_of

    active = rebuilds.active()
    if active is None:
        raise Failure(
            Exit.REFUSED,
            f"{chosen.redis_shown}: no generation is active yet; the first `scv worker` builds g1",
        )
    held = generations_of(chosen.kafka)
    known = {one: rebuilds.get(one) for one in held}
    if generation is None:
        newer = [one for one in held if known[one] is not None and number_of(one) > number_of(active)]
        # A name that readers once saw something by is not given again: a rollback goes by names.
        told = [one.generation for one in promotions(chosen.kafka)]
        generation = newer[-1] if newer else f"g{max(map(number_of, [active, *held, *told])) + 1}"
    settings = settings_with(kafka=chosen.kafka, redis=chosen.redis, generation=generation)
    begun = known.get(generation)
    if begun is None and (generation == active or rebuilds.shape(generation) is not None):
        raise Failure(
            Exit.REFUSED, f"{generation} is there already, and not by a rebuild; leave out --generation"
        )
    if begun is not None and begun.state == State.DROPPING:
        raise Failure(
            Exit.REFUSED,
            f"{generation} is being dropped; to end that: `scv rebuild drop {generation} --execute`",
        )
    if begun is not None and (begun.shape, begun.config) != (settings.shape, settings.config):
        raise Failure(
            Exit.REFUSED,
            f"{generation} was begun with other projections or settings (shape {begun.shape}, now "
            f"{settings.shape}); put them back, or `scv rebuild drop {generation} --execute`",
        )
    ranges = ranges_of(chosen.kafka, SOURCES) if begun is None else begun.lanes
    return Plan(settings, active, ranges, begun, rebuilds.shape(active))


def _removed(plan: Plan, rebuilds: Rebuilds) -> dict[Lane, int]:
    """Lanes whose first records are gone although the active generation has applied them; up to where."""
    from eventlog.ends import lane_ends
    from stores.progress import read_progress

    begins = {Lane(*lane): ends.earliest for lane, ends in lane_ends(plan.settings.kafka, SOURCES).items()}
    gone = {lane: begin for lane, begin in begins.items() if begin > 0}
    if plan.begun is not None:
        # What is folded may go; what is not must still be there.
        at = _folded(plan, rebuilds)
        return {lane: begin for lane, begin in gone.items() if at.get(lane, 0) < begin}
    applied = read_progress(plan.settings.redis, plan.active, list(gone)) if gone else {}
    return {lane: begin for lane, begin in gone.items() if applied[lane][0] > 0}


def _folded(plan: Plan, rebuilds: Rebuilds) -> dict[Lane, int]:
    from stores.keys import Keys

    keys, found = Keys(plan.generation), {}
    for lane, (begin, _) in plan.ranges.items():
        at: Any = rebuilds.client.hget(keys.checkpoint(lane), "next")
        # A lane that has not begun was planned when its first record was `begin`.
        found[lane] = folded_to(None if at is None else int(at), begin)
    return found


def _told_removed(plan: Plan, removed: Mapping[Lane, int]) -> str:
    lanes = [f"{lane} (its first {begin:,})" for lane, begin in sorted(removed.items())]
    more = f" and {len(lanes) - LANES_TOLD} more lanes" if len(lanes) > LANES_TOLD else ""
    return (
        f"retention has removed records that {plan.active} is made of: {', '.join(lanes[:LANES_TOLD])}"
        f"{more}; a rebuild would lack them. Keep topics for ever (retention.ms=-1); --without-removed does "
        "without them"
    )


def _begin(plan: Plan, rebuilds: Rebuilds, throttle: int | None) -> None:
    """Have the link log and the record, and be the only one at it."""
    from eventlog.admin import create_topics
    from streams.rebuild import now_ms, window_for

    settings, generation = plan.settings, plan.generation
    if (holder := rebuilds.hold(generation)) is not None:
        raise Failure(
            Exit.REFUSED,
            f"{generation}: another process is at it ({holder}); see `scv rebuild status`",
        )
    if plan.begun is not None:
        rebuilds.update(generation, paused=False)
        return
    create_topics(settings.kafka, plan=[_link_topic(settings)], replication=settings.replication)
    ranges = {str(lane): ends for lane, ends in plan.ranges.items()}
    rebuilds.begin(
        generation,
        Rebuild(State.FOLDING, now_ms(), ranges, window_for(throttle), settings.shape, settings.config),
    )


def _link_topic(settings: Settings) -> Topic:
    [topic] = [one for one in topic_plan(1, settings.generation) if one.name == link_log(settings.generation)]
    return topic


class _Stages:
    """A progress bar for each stage, one after the other."""

    def __init__(self, generation: str, *, quiet: bool) -> None:
        self._generation, self._quiet = generation, quiet
        self._what: tuple[str, str] | None = None
        self._bar, self._begun = Progress("", 1, "", quiet=True), 0

    def __call__(self, stage: State, done: int, total: int, unit: str) -> None:
        """`stage` is at `done` of `total`."""
        if (stage, unit) != self._what:
            self.close()
            self._what, self._begun = (stage, unit), done
            self._bar = Progress(f"{self._generation} {stage}", total, unit, quiet=self._quiet)
            self._bar.__enter__()
        self._bar.update(done, done - self._begun)

    def close(self) -> None:
        """Leave the last one on the screen."""
        self._bar.__exit__(None, None, None)


def _build(plan: Plan, rebuilds: Rebuilds, workers: int, throttle: int | None, *, quiet: bool) -> Rebuild:
    """Do all that is left up to following; a Failure, or Ctrl-C, says how to go on."""
    from eventlog.errors import LogError
    from ops.failures import failure_of
    from ops.up import Stopped, heed_sigterm
    from stores.store import StoreAway, StoreBroken
    from streams.crew import CrewFailed
    from streams.graph_build import GraphBegun
    from streams.rebuild import Rebuilder, Unassembled

    stages, go_on = _Stages(plan.generation, quiet=quiet), f"to go on: {resume_command(plan.settings)}"
    heed_sigterm()
    try:
        return Rebuilder(plan.settings, rebuilds, workers, throttle, stages).run()
    except (KeyboardInterrupt, Stopped):
        raise Failure(Exit.INTERRUPTED, f"stopped; {go_on}") from None
    except CrewFailed as failed:
        raise Failure(Exit.AWAY if failed.away else Exit.FAILED, f"{failed}; {go_on}") from None
    except (Unassembled, GraphBegun) as failed:
        raise Failure(Exit.FAILED, f"{failed}; {go_on}") from None
    except (redis.RedisError, StoreAway, StoreBroken, LogError) as failed:
        known = failure_of(failed)
        raise Failure(known.code, f"{known.lines[0]}; {go_on}") from None
    finally:
        stages.close()


def _say_plan(plan: Plan, workers: int, throttle: int | None, as_json: bool) -> None:
    from streams.rebuild import window_for

    if as_json:
        say_json(
            {
                "generation": plan.generation,
                "beside": plan.active,
                "state": None if plan.begun is None else plan.begun.state,
                "records": plan.records,
                "lanes": {str(lane): list(ends) for lane, ends in plan.ranges.items()},
                "workers": workers,
                "throttle": throttle,
                "window_records": window_for(throttle),
                "shape": plan.settings.shape,
                "shape_before": plan.shape_before,
                "executed": False,
            }
        )
        return
    if plan.begun is None:
        topics = {
            topic: sum(end - begin for lane, (begin, end) in plan.ranges.items() if lane.topic == topic)
            for topic in SOURCES
        }
        say(f"A new generation {plan.generation}, beside {plan.active}, which stays as it is:")
        say(f"  {plan.records:,} records of {len(plan.ranges)} lanes are folded:")
        for topic, count in topics.items():
            say(f"    {topic:<20}{count:>14,}")
    else:
        say(f"Generation {plan.generation} is {plan.begun.state}; it would go on from there:")
    limit = "as fast as they can" if throttle is None else f"{throttle:,} records a second at most"
    say(f"  by {workers} {'process' if workers == 1 else 'processes'}, {limit}")
    say("  then the identity graph is built, each customer assembled, and the log followed")
    same = plan.shape_before == plan.settings.shape
    say(f"  projections and rules are {'those' if same else 'not those'} of {plan.active}")
    say(f"  Redis will hold about as much again as {plan.active} takes, until one of the two is dropped")
    say("Nothing has been changed. With --execute it begins.")


def _say_built(plan: Plan, rebuild: Rebuild, as_json: bool) -> None:
    if as_json:
        say_json(
            {
                "generation": plan.generation,
                "state": rebuild.state,
                "records": plan.records,
                "subjects": rebuild.subjects,
                "executed": True,
            }
        )
        return
    say(f"{plan.generation} is built: {plan.records:,} records, {rebuild.subjects:,} subjects.")
    say(f"Follow the log:  scv worker --no-publish --generation {plan.generation}")
    say("What would change:  scv rebuild diff    Make it active:  scv rebuild promote --execute")
