"""`scv identity link` and `unlink`: one decision into the log, and what came of it.

Guarantees:
- What is written is what workers accept: it was read as they read it, before anything was sent.
- It says "written" only of a record that the log has acknowledged and gives back, with its offset.
- Waiting changes nothing: a command that the view has not shown yet is heard all the same.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any, NamedTuple
from uuid import uuid4

import msgspec

from models.careful import read
from models.catalogue import COMMAND_TOPIC
from models.dead_letter import Fault
from models.decoding import microseconds
from models.identifiers import customer_id, is_employee, namespace_of, split_name
from models.link import LinkFact, actor_name
from models.record import Lane
from models.rules import IdentityRules
from models.settings import Settings
from ops.answers import say, say_json
from ops.configured import settings_with
from ops.failures import Exit, Failure
from ops.identity_view import Found, GraphView, customers_of, graph_view
from projections.forwarding import fact_of, nobody
from projections.graph import Graph

SOURCE = "scv/identity"
LANE = Lane(COMMAND_TOPIC, 0)
# A worker hears a command within some hundredths of a second.
LOOK_EVERY_SECONDS = 0.05
# The members of one customer that a line names.
MEMBERS_TOLD = 8
_WANTED = {"actor": "who decides, as E-7", "reason": "why, in words"}


class Decision(NamedTuple):
    """A command to be written, and the fact that the graph will make of it."""

    event: dict[str, Any]
    fact: LinkFact

    @property
    def ends(self) -> tuple[str, str]:
        """The two nodes as the graph names them."""
        return self.fact.subject, self.fact.identifier or ""


class Standing(NamedTuple):
    """Where one of the two is now: founder and members of its customer, if it is in one.

    `unseen`: a subject that no event has been about yet.
    """

    name: str
    customers: list[tuple[str, list[str]]]
    unseen: bool


def run_identity_command(
    verb: str,
    subject: str,
    other: str,
    *,
    actor: str,
    reason: str,
    wait_seconds: float,
    kafka: str | None,
    redis: str | None,
    generation: str | None,
    as_json: bool,
) -> int:
    """Write the command, wait for its outcome, say who is who; exit code 6 when that takes too long."""
    from redis import RedisError

    from stores.store import StoreAway, StoreBroken

    settings = settings_with(kafka=kafka, redis=redis, generation=generation)
    decision = decide(verb, subject, other, actor, reason, settings.identity_rules)
    if not wait_seconds:
        _say_written(decision, _write(settings, decision), as_json, None)
        return Exit.OK
    # Opened first: a view that is away is told before anything is written.
    with graph_view(settings, generation) as view:
        view.store.checkpoints([view.keys.links])
        offset = _write(settings, decision)
        try:
            outcome = _outcome(view, decision, offset, wait_seconds)
        except (StoreAway, StoreBroken, RedisError) as error:
            raise Failure(
                Exit.PARTLY, f"written at {_place(offset)}, but the view cannot be asked: {error}"
            ) from error
    _say_written(decision, offset, as_json, outcome)
    if outcome is not None:
        if not as_json:
            _tell_outcome(decision, outcome)
        return Exit.OK
    late = f"written, but generation {view.keys.generation} has not shown it in {wait_seconds:g} s"
    if as_json:
        return Exit.PARTLY
    raise Failure(
        Exit.PARTLY, f"{late}; is a worker running? It will be heard: `scv identity show` says when"
    )


def decide(verb: str, subject: str, other: str, actor: str, reason: str, rules: IdentityRules) -> Decision:
    """The command that these words make; Failure with one line when they make none."""
    _check_names(subject, other, rules)
    for name, text in (("actor", actor), ("reason", reason)):
        if not text.strip():
            raise Failure(Exit.USAGE, f"{name}: {text!r} says nothing; say {_WANTED[name]}")
    now = datetime.now(UTC)
    event = {
        "specversion": "1.0",
        "id": str(uuid4()),
        "source": SOURCE,
        "type": f"identity.{verb}",
        "time": now.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "subject": subject,
        "data": {"subject": subject, "other": other, "actor": actor_name(actor), "reason": reason},
    }
    try:
        value = msgspec.json.encode(event)
    except UnicodeEncodeError:
        raise Failure(Exit.USAGE, "names, actor and reason must be text in UTF-8") from None
    found = read(COMMAND_TOPIC, subject.encode(), value, (), microseconds(now))
    if isinstance(found, Fault):
        raise Failure(Exit.USAGE, f"{found.pointer.removeprefix('/data').strip('/') or verb}: {found.detail}")
    fact = fact_of(found, str(LANE), 0, rules)
    if isinstance(fact, Fault):
        raise Failure(Exit.USAGE, fact.detail)
    if fact is None:
        raise Failure(
            Exit.USAGE,
            f"{other!r} says nothing about a person (a blocked value, or no such number): it links nobody",
        )
    return Decision(event, fact)


def _check_names(subject: str, other: str, rules: IdentityRules) -> None:
    if subject == other:
        raise Failure(Exit.USAGE, f"{subject!r} twice: name two different ones")
    for name in (subject, other):
        if name.startswith("cus_") and ":" not in name:
            raise Failure(
                Exit.USAGE,
                f"{name!r} is a customer; `scv identity show` says its subjects: name one of those",
            )
        named = split_name(name)
        if named is None or not named[1] or name != name.strip():
            raise Failure(Exit.USAGE, f"{name!r} is no type:value; try crm:4711 or email:ada@example.com")
        if is_employee(name):
            raise Failure(Exit.REFUSED, f"{name!r} is an employee: employees never become customers")
        if (why := nobody(named[0])) is not None:
            raise Failure(Exit.REFUSED, f"{name!r}: {why}")
    kind = namespace_of(subject)
    if kind in rules.identifiers:
        raise Failure(
            Exit.USAGE,
            f"{subject!r} is an identifier, no subject: name the subject first, and {kind}:… second",
        )


def _write(settings: Settings, decision: Decision) -> int:
    """Produce the command and find it in the log; its offset."""
    from eventlog.ends import lane_ends
    from eventlog.errors import LogError
    from eventlog.producing import LogProducer
    from eventlog.reading import read_lane

    begin = lane_ends(settings.kafka, [COMMAND_TOPIC])[LANE].end
    with LogProducer(settings.kafka, client_id="scv-identity") as producer:
        value = msgspec.json.encode(decision.event)
        producer.produce(COMMAND_TOPIC, decision.fact.subject.encode(), value, partition=LANE.partition)
    end = lane_ends(settings.kafka, [COMMAND_TOPIC])[LANE].end
    for record in read_lane(settings.kafka, *LANE, begin, end):
        if record.value == value:
            return record.offset
    raise LogError(f"{settings.kafka}: {COMMAND_TOPIC} does not give back what it acknowledged")


def _outcome(view: GraphView, decision: Decision, offset: int, seconds: float) -> list[Standing] | None:
    """Who is who when the view shows the command; None when it does not in time."""
    deadline = time.monotonic() + seconds
    while True:
        standing = view.steady(lambda graph: _standing(graph, decision, offset))
        if standing is not None and not _unsettled(view, decision, standing):
            return standing
        if time.monotonic() > deadline:
            return None
        time.sleep(LOOK_EVERY_SECONDS)


def _standing(graph: Graph, decision: Decision, offset: int) -> list[Standing] | None:
    subject, other = decision.ends
    pair = graph.nodes[subject].pairs.get(other)
    spoken = None if pair is None else pair.program if decision.fact.by_program else pair.person
    if spoken is None or spoken.offset < offset:
        return None
    found = []
    for name in (subject, other):
        customers = []
        for founder in _founders(customers_of(graph, name)):
            placement = graph.placement_of(founder)
            customers.append((founder, list(placement.members) if placement else [founder]))
        node = graph.nodes[name]
        found.append(Standing(name, customers, graph.reach.is_subject(name, node) and not node.seen))
    return found


def _founders(found: Found) -> list[str]:
    """Whose it is: the customers that a linking edge leads to."""
    return [founder for founder, status in found.customers if status == "linking"]


def _unsettled(view: GraphView, decision: Decision, standing: list[Standing]) -> bool:
    """Whether memberships or profiles of these customers are still being written."""
    members = [one for each in standing for _, members in each.customers for one in members]
    names = list(dict.fromkeys([*decision.ends, *members]))
    marks: Any = view.client.hmget(view.keys.dirty(view.keys.links), names)
    return any(mark is not None for mark in marks)


def _place(offset: int) -> str:
    return f"{COMMAND_TOPIC}[{LANE.partition}]@{offset}"


def _together(standing: list[Standing]) -> bool:
    """Whether one customer has both."""
    one, other = ({founder for founder, _ in each.customers} for each in standing)
    return bool(one & other)


def _say_written(decision: Decision, offset: int, as_json: bool, outcome: list[Standing] | None) -> None:
    from ops.portrait import printable

    event, (subject, other) = decision.event, decision.ends
    if not as_json:
        words = f"{event['type']} {subject} – {other} by {event['data']['actor']}"
        say(f"written: {printable(words)}, {_place(offset)}")
        return
    standing = [
        {
            "name": one.name,
            "unseen": one.unseen,
            "customers": [
                {"customer_id": customer_id(founder), "founder": founder, "members": members}
                for founder, members in one.customers
            ],
        }
        for one in outcome or ()
    ]
    say_json(
        {
            "event": event,
            "topic": COMMAND_TOPIC,
            "partition": LANE.partition,
            "offset": offset,
            "shown": outcome is not None,
            "together": None if outcome is None else _together(outcome),
            "standing": standing,
        }
    )


def _tell_outcome(decision: Decision, outcome: list[Standing]) -> None:
    from ops.portrait import printable

    subject, other = (printable(name) for name in decision.ends)
    wanted, together = decision.fact.command == "link", _together(outcome)
    if together:
        founder, members = outcome[0].customers[0]
        say(f"{subject} and {other} are one customer {'now' if wanted else 'still'}:")
        say("  " + printable(_told(founder, members)))
    else:
        say(f"{subject} and {other} belong to different customers {'still' if wanted else 'now'}:")
        for one in outcome:
            told = [_told(founder, members) for founder, members in one.customers]
            say(printable(f"  {one.name}: {'; '.join(told) or 'in no customer'}"))
    for one in outcome:
        if one.unseen:
            say(f"No event has been about {printable(one.name)} yet: is it spelt right?")
    if together and not wanted:
        say("Other edges join them; `scv identity show` says which.")
    elif wanted and not together and decision.fact.by_program:
        say("A program's link obeys the rules and every word of a person.")


def _told(founder: str, members: list[str]) -> str:
    more = f" and {len(members) - MEMBERS_TOLD} more" if len(members) > MEMBERS_TOLD else ""
    return f"{customer_id(founder)} with {', '.join(members[:MEMBERS_TOLD])}{more}"
