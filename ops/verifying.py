"""Is the live view what the raw history gives? Customers compared with their replay, byte for byte.

Guarantees:
- Only what belongs together is compared: a profile with parts of the very revisions that its version counts,
  the parts with the records up to the offset where each stands. So events may flow meanwhile; a customer that
  keeps changing is read again, and told as busy when it never stood still.
- Parts, profiles and memberships are compared, and what subjects have stated with what the graph remembers.
  What scv keeps to find them by is not: lookups are `scv sweep`'s.
- Writes nothing. Memory is bounded by the customers of a pass.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from api.replaying import Held, Replayer, Whom
from eventlog.admin import lane_ends
from eventlog.reading import read_batches
from models.catalogue import COMMAND_TOPIC
from models.identifiers import customer_id, is_employee
from models.link import LinkFact
from models.record import Lane, Record
from projections.assembling import Member, Placed, assemble
from projections.differing import MISSING, Difference, differences
from projections.graph import without_employees
from projections.graph_nodes import Node, alone
from projections.parts import SECTIONS, Part, pack
from projections.past import PastNodes, TooManyStating, placement_at
from projections.replay import Replay
from stores.reading import LIVE, GenerationView, StoredProfile

# Read and compared at a time; one profile has about 10 kB.
AT_ONCE = 200
# A customer that changes is read so often again, with pauses of at most this.
TRIES = 12
PAUSE_SECONDS_MAX = 1.0
# Facts of log times to come: nothing is taken back.
_NEVER_US = 2**62
# Bookkeeping, and different in every generation.
_NOT_COMPARED = "meta"


class Wrong(NamedTuple):
    """One place where the live view is not what the history gives; `subject` where it is a part of one."""

    customer_id: str | None
    subject: str | None
    section: str
    field: str
    live: Any
    replayed: Any


class Live(NamedTuple):
    """A customer as the store has it: a profile, and the parts of the revisions that it counts."""

    stored: StoredProfile
    whom: Whom
    held: list[Held]
    ends: Mapping[Lane, int]


class Verdict(NamedTuple):
    """What a comparison of one customer found; `busy`: it has to be read again."""

    wrong: list[Wrong]
    busy: bool


class Verifier:
    """Compares customers of one generation."""

    def __init__(
        self,
        replayer: Replayer,
        view: GenerationView,
        lanes: Sequence[Lane],
        wait: Callable[[float], None] = time.sleep,
    ) -> None:
        """`lanes` are those of the domain topics."""
        self.replayer, self.view, self.lanes, self.wait = replayer, view, lanes, wait

    def verify(self, customer_ids: Sequence[str]) -> tuple[list[Wrong], list[str]]:
        """What differs of these customers, each replayed from its own records; and those that were busy."""
        wrong: list[Wrong] = []
        left = list(customer_ids)
        found: dict[str, Verdict] = {}
        for attempt in range(TRIES):
            if attempt:
                self.wait(min(0.05 * 2**attempt, PAUSE_SECONDS_MAX))
            found = {one: verdict for some in _chunks(left) for one, verdict in self._own(some).items()}
            wrong += [one for verdict in found.values() if not verdict.busy for one in verdict.wrong]
            left = [one for one, verdict in found.items() if verdict.busy]
            if not left:
                return wrong, []
        # What no worker is about to mend is wrong, and not busy.
        busy = [one for one in left if self._marked(one)]
        wrong += [one for name in left if name not in busy for one in found[name].wrong]
        return wrong, busy

    def _own(self, customer_ids: Sequence[str]) -> dict[str, Verdict]:
        live, unsettled = self.read(customer_ids)
        verdicts = dict(unsettled)
        for one in live:
            replay = Replay(self.replayer.projection)
            for record in self.replayer.records(one.held):
                replay.add(record)
            verdicts[one.stored.customer_id] = self.compared(one, replay)
        return verdicts

    def scan(self, customer_ids: Sequence[str], show: Callable[[int, int], None]) -> list[str]:
        """Compare with whole lanes read from the beginning; those to be looked at again, one by one.

        Not only the records that parts name are folded, but all that are there.
        """
        digests: dict[str, bytes] = {}
        whose: dict[str, str] = {}
        stops: dict[tuple[Lane, bytes], int] = {}
        again: list[str] = []
        founders: dict[str, Whom] = {}
        ends: dict[Lane, int] = {}
        for some in _chunks(customer_ids):
            live, unsettled = self.read(some)
            again += unsettled
            for one in live:
                name = one.stored.customer_id
                digests[name], founders[name] = _digest(one.stored.sections, _parts(one)), one.whom
                whose.update(dict.fromkeys(one.whom.members, name))
                for lane, end in one.ends.items():
                    ends[lane] = max(ends.get(lane, 0), end)
                    for member in one.whom.members:
                        stops[lane, member.encode()] = end
                for held in one.held:
                    place = (held.lane, held.subject.encode())
                    stops[place] = max(stops.get(place, 0), held.part.offset + 1)
                    ends[held.lane] = max(ends.get(held.lane, 0), held.part.offset + 1)
        replay = Replay(self.replayer.projection)
        total = sum(ends.values())
        done = 0
        for batch in read_batches(
            self.replayer.installation.kafka, {lane: (0, end) for lane, end in ends.items()}
        ):
            for record in batch:
                if record.offset < stops.get((record.lane, record.key or b""), 0):
                    replay.add(record)
            replay.settle()
            done += len(batch)
            show(done, total)
        return [*again, *self._differing(digests, founders, whose, replay)]

    def _differing(
        self,
        digests: Mapping[str, bytes],
        whoms: Mapping[str, Whom],
        whose: Mapping[str, str],
        replay: Replay,
    ) -> Iterator[str]:
        """The customers that are not what this replay of all their members makes of them."""
        mine: dict[str, dict[tuple[str, str], Part]] = {}
        for (subject, lane), part in replay.parts.items():
            mine.setdefault(whose[subject], {})[subject, str(lane)] = part
        for some in _chunks(list(whoms)):
            past = self.replayer.past(_NEVER_US)
            past.get_many([member for name in some for member in whoms[name].members])
            for name in some:
                parts = mine.get(name, {})
                sections = self._assembled(whoms[name], parts) if parts else {}
                if _digest(sections, parts) != digests[name] or self._of_graph(
                    name, whoms[name], replay.facts, past
                ):
                    yield name

    def read(self, customer_ids: Sequence[str]) -> tuple[list[Live], dict[str, Verdict]]:
        """Those customers whose profile and parts belong together; and what is to be said of the others."""
        store = self.replayer.store
        ends = {
            lane: one.next_offset or 0
            for lane, one in zip(self.lanes, store.checkpoints(self.lanes), strict=True)
        }
        live: list[Live] = []
        others: dict[str, Verdict] = {}
        for name, stored in self.view.profiles(customer_ids).items():
            if stored.state != LIVE:
                continue
            whom = self.replayer.whom(stored.founder)
            held = self.replayer.held(whom.members)
            counted = f"{whom.position}.{sum(one.part.revision for one in held)}"
            if whom.founder != stored.founder:
                others[name] = Verdict(
                    [Wrong(name, None, "membership", "founder", stored.founder, whom.founder)], True
                )
            elif counted != stored.version:
                others[name] = Verdict([Wrong(name, None, "meta", "version", stored.version, counted)], True)
            else:
                live.append(Live(stored, whom, held, ends))
        return live, others

    def compared(self, one: Live, replay: Replay) -> Verdict:
        """A customer against its replay."""
        name = one.stored.customer_id
        replay.settle()
        parts = {(subject, str(lane)): part for (subject, lane), part in replay.parts.items()}
        wrong = list(_of_parts(name, _parts(one), parts))
        sections = self._assembled(one.whom, parts) if parts else {}
        wrong += _of_sections(name, one.stored.sections, sections)
        if wrong:
            return Verdict(wrong, False)
        # The graph hears later than parts are folded: what it lacks may be on its way.
        graph = self._of_graph(name, one.whom, replay.facts, self.replayer.past(_NEVER_US))
        return Verdict(graph, bool(graph))

    def _assembled(self, whom: Whom, parts: Mapping[tuple[str, str], Part]) -> dict[str, bytes]:
        members = [Member(subject, lane, part) for (subject, lane), part in parts.items()]
        made = assemble(members, self.replayer.labels, whom.position, whom.founder, None, whom.placed)
        return made.sections

    def _of_graph(
        self, name: str, whom: Whom, facts: Mapping[str, Sequence[LinkFact]], past: PastNodes
    ) -> list[Wrong]:
        """The membership against a partition anew; what the graph remembers against what was stated."""
        try:
            placed = placement_at(whom.founder, past) or alone(whom.founder)
        except TooManyStating:
            # As in a search of the graph, what so many share links nobody: nothing to compare.
            return []
        members = {"founder": whom.founder, "members": list(whom.members), **_told(whom.placed)}
        anew = {"founder": placed.founder, "members": list(placed.members)}
        anew |= _told(Placed(placed.statuses, placed.related))
        wrong = [_wrong(name, None, "membership", found) for found in differences(members, anew)]
        nodes = past.now(whom.members)
        for subject in whom.members:
            stated, known = _stated(facts.get(subject, ())), _known(nodes[subject], subject)
            wrong += [_wrong(name, subject, "links", found) for found in differences(known, stated)]
        return wrong

    def _marked(self, name: str) -> bool:
        """Whether a worker is still to assemble this customer, or the graph to hear of it."""
        store, kafka = self.replayer.store, self.replayer.installation.kafka
        links = store.keys.links
        [graph] = store.checkpoints([links])
        if (graph.next_offset or 0) < lane_ends(kafka, [links.topic])[links].end:
            return True
        stored = self.view.profiles([name], ()).get(name)
        if stored is None:
            return False
        members = self.replayer.whom(stored.founder).members
        found = zip(members, store.lanes(members), strict=True)
        lanes = {lane: member for member, held in found for lane in held}
        marks = {lane: store.marks(lane) for lane in {*lanes, links}}
        return any(member in marked for marked in marks.values() for member in members)


def lost(replayer: Replayer, view: GenerationView, records: Iterable[Record]) -> Iterator[Wrong]:
    """Subjects that have an event among these records, and no part or no profile.

    The records must be below their lanes' checkpoints when this is asked.
    """
    replay = Replay(replayer.projection)
    heard = {(one.event.subject, one.lane) for record in records if (one := replay.add(record)) is not None}
    wanted = sorted((lane, subject) for subject, lane in heard)
    for (lane, subject), packed in zip(wanted, replayer.store.parts(wanted), strict=True):
        if packed is None:
            yield Wrong(None, subject, "part", str(lane), MISSING, "folded")
    subjects = sorted({subject for subject, _ in heard if not is_employee(subject)})
    founders = {
        subject: subject if membership is None or not membership.members else membership.founder
        for subject, (membership, _) in zip(subjects, replayer.store.members(subjects), strict=True)
    }
    stored = view.profiles(sorted({customer_id(one) for one in founders.values()}), ())
    for subject, founder in founders.items():
        if customer_id(founder) not in stored:
            yield Wrong(customer_id(founder), subject, "profile", "", MISSING, "assembled")


def _parts(one: Live) -> dict[tuple[str, str], Part]:
    return {(held.subject, str(held.lane)): held.part for held in one.held}


def _of_parts(
    name: str, live: Mapping[tuple[str, str], Part], anew: Mapping[tuple[str, str], Part]
) -> Iterator[Wrong]:
    for subject, lane in sorted({*live, *anew}):
        was, now = live.get((subject, lane)), anew.get((subject, lane))
        if was is None or now is None:
            pair = [MISSING if part is None else f"{part.revision} records" for part in (was, now)]
            yield Wrong(name, subject, "part", lane, *pair)
        elif pack(was) != pack(now):
            for found in differences(_readable(was), _readable(now)):
                yield _wrong(name, subject, "part", found._replace(path=f"{lane}: {found.path}"))


def _readable(part: Part) -> dict[str, Any]:
    """A part as names and values."""
    sections = {
        section.name: None if packed is None else section.read(packed)
        for section, packed in zip(SECTIONS, part.sections, strict=True)
    }
    rest = msgspec.structs.asdict(part)
    rest = {key: value.hex() if isinstance(value, bytes) else value for key, value in rest.items()}
    seen = None if part.seen is None else msgspec.structs.asdict(part.seen)
    return {**rest, "sections": sections, "seen": seen}


def _of_sections(name: str, live: Mapping[str, bytes], anew: Mapping[str, bytes]) -> list[Wrong]:
    wrong: list[Wrong] = []
    for section in dict.fromkeys((*anew, *live)):
        was, now = live.get(section), anew.get(section)
        if section == _NOT_COMPARED or was == now:
            continue
        pair = [MISSING if one is None else _decoded(one) for one in (was, now)]
        found = differences(*pair) or [Difference("(bytes)", *(str(one)[:200] for one in (was, now)))]
        wrong += [_wrong(name, None, section, one) for one in found]
    return wrong


def _decoded(section: bytes) -> Any:
    try:
        return msgspec.json.decode(section)
    except msgspec.DecodeError:
        return section.decode(errors="replace")


def _wrong(name: str, subject: str | None, section: str, found: Difference) -> Wrong:
    return Wrong(name, subject, section, found.path, found.before, found.after)


def _told(placed: Placed) -> dict[str, Any]:
    return {
        "statuses": dict(sorted(placed.statuses.items())),
        "related": [list(one) for one in placed.related],
    }


def _stated(facts: Sequence[LinkFact]) -> dict[str, list[Any]]:
    """What a subject's records state of identifiers: first log time, and whether verified."""
    found: dict[str, list[Any]] = {}
    for fact in facts:
        heard = without_employees(fact)
        if heard is None or heard.identifier in (None, heard.subject):
            continue
        name = str(heard.identifier)
        held = found.get(name, [fact.log_us, False])
        found[name] = [min(held[0], fact.log_us), held[1] or fact.verified]
    return dict(sorted(found.items()))


def _known(node: Node, subject: str) -> dict[str, list[Any]]:
    """What the graph remembers of the same; what commands have verified aside."""
    found: dict[str, list[Any]] = {}
    for name, edge in sorted(node.out.items()):
        told = [fact for fact in edge.facts if not fact.lane.startswith(COMMAND_TOPIC)]
        if told and name != subject:
            found[name] = [min(fact.log_us for fact in told), any(fact.verified for fact in told)]
    return found


def _digest(sections: Mapping[str, bytes], parts: Mapping[tuple[str, str], Part]) -> bytes:
    """All that is compared of a customer, as 16 bytes."""
    digest = hashlib.blake2b(digest_size=16)
    for name, section in sorted(sections.items()):
        if name != _NOT_COMPARED:
            digest.update(b"%b %d " % (name.encode(), len(section)))
            digest.update(section)
    for (subject, lane), part in sorted(parts.items()):
        packed = pack(part)
        digest.update(f"{subject} {lane} {len(packed)} ".encode())
        digest.update(packed)
    return digest.digest()


def _chunks(names: Sequence[str]) -> Iterator[Sequence[str]]:
    return (names[at : at + AT_ONCE] for at in range(0, len(names), AT_ONCE))
