"""Replay one customer: who it was, its own records fetched from the log, folded and assembled as workers do.

Invariants:
- Records are the truth: what parts hold is not looked at, only where they say that their records lie.
- By event time (`as_of`) the customer is who it is known to be now, and what occurred later is left out. By
  log time (`known_us`) everything logged later is left out, who was who included. Both together: what was
  known then of how it had been before.
- Nothing is fetched when there is more than the caller allows.

Blocking; one thread uses a `Replayer`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple, Self

from eventlog.dead_letters import SettledOffsets
from eventlog.fetching import fetch_records
from eventlog.reading import ranges_up_to, read_ranges
from models.catalogue import COMMAND_TOPIC
from models.dead_letter import Fault
from models.identifiers import customer_id
from models.link import LinkFact
from models.reading import event_of
from models.record import Lane, Record
from models.rules import IdentityRules
from projections.assembling import ALONE, Labels, Placed, Profile, assemble
from projections.explaining import Explained, Mask, explain, in_log_order
from projections.folding import Projection
from projections.forwarding import fact_of
from projections.graph_nodes import Node, Placement, unpack_node
from projections.offsets import offsets_of
from projections.parts import Part, unpack
from projections.past import PastNodes, placement_at
from projections.reducers import Configuration
from projections.replay import NOW, Heard, Point, Replay
from stores.redis_store import RedisStore

# How far a scan is: records done, records in all.
Show = Callable[[int, int], None]


class TooManyRecords(Exception):
    """More would have to be read than the caller allows: `count` records, `scanned` where whole lanes are."""

    def __init__(self, count: int, *, scanned: bool) -> None:
        super().__init__(f"{count:,} records")
        self.count, self.scanned = count, scanned


class Installation(NamedTuple):
    """Where log and store are, which generation is meant, and what shapes its parts and profiles."""

    kafka: str
    redis: str
    generation: str
    rules: IdentityRules
    trust: tuple[str, ...]
    config: str


class Whom(NamedTuple):
    """A customer and what the graph says of it. `members` is empty where it was not known yet."""

    founder: str
    position: int
    members: tuple[str, ...]
    placed: Placed = ALONE


class Held(NamedTuple):
    """The part of a member in a lane, as the store has it now."""

    lane: Lane
    subject: str
    part: Part


class Replayed(NamedTuple):
    """What a replay gives; `profile` is None where nothing had been logged, or had occurred, by then."""

    whom: Whom
    profile: Profile | None
    record_count: int


class Replayer:
    """Replays customers of one generation. Opens its connection at the first question; `close` it."""

    def __init__(self, installation: Installation, commands_max: int | None = None) -> None:
        """`commands_max`: so many commands are read at most where they must be."""
        self.installation, self.commands_max = installation, commands_max
        self.rules = installation.rules
        self.store = RedisStore(installation.redis, installation.generation, self.rules.shared_above)
        self.labels = Labels(installation.generation, installation.config)
        self.projection = Projection(Configuration(trust=installation.trust, rules=self.rules))
        self.settled = SettledOffsets(installation.kafka)

    def replay(
        self, subject: str, point: Point = NOW, records_max: int | None = None, show: Show | None = None
    ) -> Replayed:
        """The profile of this subject's customer at a point.

        TooManyRecords, TooManyStating, LogError, StoreAway.
        """
        whom = self.whom(subject, point.known_us)
        replay = Replay(self.projection, point, self.settled())
        count = 0
        for record in self.records(self.held(whom.members), records_max, show):
            replay.add(record)
            count += 1
        members = replay.members
        if not members:
            return Replayed(whom, None, count)
        profile = assemble(members, self.labels, whom.position, whom.founder, None, whom.placed)
        return Replayed(whom, profile, count)

    def explain(
        self,
        subject: str,
        field: str,
        point: Point = NOW,
        records_max: int | None = None,
        show: Show | None = None,
        mask: Mask = lambda _, section: section,
    ) -> tuple[Whom, Explained]:
        """How a field of this subject's customer came to its value. NoSuchField, and what `replay` raises."""
        whom = self.whom(subject, point.known_us)
        records = self.records(self.held(whom.members), records_max, show)
        replay = Replay(self.projection, point, self.settled())
        return whom, explain(records, replay, field, whom.founder, whom.placed, mask)

    def heard(self, subject: str, records_max: int | None = None) -> list[Heard]:
        """The events of this subject's customer, each once, in the order of the log. What `replay` raises."""
        replay = Replay(self.projection, NOW, self.settled())
        found: dict[tuple[str, str], Heard] = {}
        for record in in_log_order(self.records(self.held(self.whom(subject).members), records_max)):
            heard = replay.add(record)
            if heard is not None:
                found.setdefault((heard.event.source, heard.event.id), heard)
        return list(found.values())

    def whom(self, subject: str, known_us: int | None = None) -> Whom:
        """The customer of a subject, now or as known at a time."""
        if known_us is None:
            [(membership, _)] = self.store.members([subject])
            if membership is None or not membership.members:
                return Whom(subject, 0 if membership is None else membership.stamp, (subject,))
            placed = Placed(membership.statuses, membership.related)
            return Whom(membership.founder, membership.stamp, membership.members, placed)
        [placement] = self.placements([subject], known_us)
        if placement is None:
            return Whom(subject, 0, ())
        return Whom(placement.founder, 0, placement.members, Placed(placement.statuses, placement.related))

    def placements(self, subjects: Sequence[str], known_us: int) -> list[Placement | None]:
        """The customers that these subjects were in, as known at a time."""
        past = self.past(known_us)
        return [placement_at(subject, past) for subject in subjects]

    def past(self, known_us: int) -> PastNodes:
        """The identity graph as known at a time."""
        return PastNodes(self.nodes, self._commands, known_us, self.rules)

    def nodes(self, names: Sequence[str]) -> Mapping[str, Node]:
        """Nodes of the identity graph as they are now; none for names never heard of."""
        links = self.store.keys.links
        stored = self.store.parts([(links, name) for name in names])
        return {
            name: unpack_node(packed)
            for name, packed in zip(names, stored, strict=True)
            if packed is not None
        }

    def _commands(self) -> Iterator[LinkFact]:
        kafka = self.installation.kafka
        ranges = ranges_up_to(kafka, [COMMAND_TOPIC])
        count = sum(end - start for start, end in ranges.values())
        if self.commands_max is not None and count > self.commands_max:
            raise TooManyRecords(count, scanned=True)
        for record in read_ranges(kafka, ranges):
            fact = command_of(record, self.rules)
            if fact is not None:
                yield fact

    def held(self, members: Sequence[str]) -> list[Held]:
        """All parts of these subjects, as the store has them now."""
        found = zip(members, self.store.lanes(members), strict=True)
        wanted = sorted((lane, member) for member, lanes in found for lane in lanes)
        return [
            Held(lane, member, unpack(packed))
            for (lane, member), packed in zip(wanted, self.store.parts(wanted), strict=True)
            if packed is not None
        ]

    def records(
        self, held: Sequence[Held], records_max: int | None = None, show: Show | None = None
    ) -> Iterator[Record]:
        """The records that were folded into these parts, each lane in its order. TooManyRecords, LogError.

        Those that a part has forgotten are found by reading its lane from the beginning.
        """
        count = sum(one.part.revision for one in held)
        scanned = {one.lane for one in held if one.part.revision > len(offsets_of(one.part))}
        if records_max is not None and (scanned or count > records_max):
            raise TooManyRecords(count, scanned=bool(scanned))
        kafka = self.installation.kafka
        wanted: dict[tuple[str, int], list[int]] = {}
        for one in held:
            if one.lane not in scanned:
                wanted.setdefault(one.lane, []).extend(offsets_of(one.part))
        yield from fetch_records(kafka, wanted)
        if scanned:
            yield from self._scanned([one for one in held if one.lane in scanned], show)

    def _scanned(self, held: Sequence[Held], show: Show | None) -> Iterator[Record]:
        last = {(one.lane, one.subject.encode()): one.part.offset for one in held}
        ends: dict[tuple[str, int], tuple[int, int]] = {}
        for one in held:
            ends[one.lane] = (0, max(ends.get(one.lane, (0, 0))[1], one.part.offset + 1))
        total = sum(end for _, end in ends.values())
        for done, record in enumerate(read_ranges(self.installation.kafka, ends)):
            if record.offset <= last.get((record.lane, record.key or b""), -1):
                yield record
            if show is not None:
                show(done, total)

    def close(self) -> None:
        """Let go of the store."""
        self.store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def command_of(record: Record, rules: IdentityRules) -> LinkFact | None:
    """What a record of the commands' lane says to the graph, if anything."""
    event = event_of(record.topic, record.key, record.value, record.headers, record.timestamp_ms)
    if isinstance(event, Fault):
        return None
    fact = fact_of(event, str(record.lane), record.offset, rules)
    return None if isinstance(fact, Fault) else fact


def id_of(whom: Whom) -> str:
    """The customer's id."""
    return customer_id(whom.founder)
