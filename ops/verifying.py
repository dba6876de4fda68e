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

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from api.replaying import Held, Replayer, Whom
from eventlog.ends import lane_ends
from eventlog.reading import read_batches
from models.identifiers import customer_id, is_employee
from models.link import LinkFact
from models.record import Lane, Record
from ops.comparing import (
    Wrong,
    digest_of,
    known_to_graph,
    parts_differing,
    placed_values,
    sections_differing,
    stated_by_facts,
    wrong_at,
)
from projections.assembling import Member, Placed, assemble
from projections.differing import MISSING, differences
from projections.graph_nodes import alone
from projections.parts import Part
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
            replay = Replay(self.replayer.projection, settled=self.replayer.settled())
            for record in self.replayer.records(one.held):
                replay.add(record)
            verdicts[one.stored.customer_id] = self.compared(one, replay)
        return verdicts

    def lost(self, heard: Collection[tuple[Lane, str]]) -> tuple[list[Wrong], list[str]]:
        """Of these subjects, those that the view has nothing of; and those about to be assembled."""
        wrong = list(lost(self.replayer, self.view, heard))
        for attempt in range(1, TRIES):
            if not wrong:
                break
            self.wait(min(0.05 * 2**attempt, PAUSE_SECONDS_MAX))
            again = {one.subject for one in wrong}
            heard = [one for one in heard if one[1] in again]
            wrong = list(lost(self.replayer, self.view, heard))
        marks = {lane: self.replayer.store.marks(lane) for lane in {lane for lane, _ in heard} if wrong}
        busy = {
            one.subject
            for one in wrong
            if one.section == "profile" and any(one.subject in marked for marked in marks.values())
        }
        return [one for one in wrong if one.subject not in busy], sorted(name for name in busy if name)

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
                digests[name], founders[name] = digest_of(one.stored.sections, _parts(one)), one.whom
                whose.update(dict.fromkeys(one.whom.members, name))
                for lane, end in one.ends.items():
                    ends[lane] = max(ends.get(lane, 0), end)
                    for member in one.whom.members:
                        stops[lane, member.encode()] = end
                for held in one.held:
                    place = (held.lane, held.subject.encode())
                    stops[place] = max(stops.get(place, 0), held.part.offset + 1)
                    ends[held.lane] = max(ends.get(held.lane, 0), held.part.offset + 1)
        replay = Replay(self.replayer.projection, settled=self.replayer.settled())
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
                if digest_of(sections, parts) != digests[name] or self._of_graph(
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
        wrong = list(parts_differing(name, _parts(one), parts))
        sections = self._assembled(one.whom, parts) if parts else {}
        wrong += sections_differing(name, one.stored.sections, sections)
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
        members = {"founder": whom.founder, "members": list(whom.members), **placed_values(whom.placed)}
        anew = {"founder": placed.founder, "members": list(placed.members)}
        anew |= placed_values(Placed(placed.statuses, placed.related))
        wrong = [wrong_at(name, None, "membership", found) for found in differences(members, anew)]
        nodes = past.now(whom.members)
        for subject in whom.members:
            stated, known = stated_by_facts(facts.get(subject, ())), known_to_graph(nodes[subject], subject)
            wrong += [wrong_at(name, subject, "links", found) for found in differences(known, stated)]
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


def heard_of(replayer: Replayer, records: Iterable[Record]) -> set[tuple[Lane, str]]:
    """The lanes and subjects that have an event among these records."""
    replay = Replay(replayer.projection, settled=replayer.settled())
    return {(one.lane, one.event.subject) for record in records if (one := replay.add(record)) is not None}


def lost(replayer: Replayer, view: GenerationView, heard: Iterable[tuple[Lane, str]]) -> Iterator[Wrong]:
    """Subjects that have events, and no part or no profile; each event lies below its lane's checkpoint."""
    wanted = sorted(heard)
    for (lane, subject), packed in zip(wanted, replayer.store.parts(wanted), strict=True):
        if packed is None:
            yield Wrong(None, subject, "part", str(lane), MISSING, "folded")
    subjects = sorted({subject for _, subject in wanted if not is_employee(subject)})
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


def _chunks(names: Sequence[str]) -> Iterator[Sequence[str]]:
    return (names[at : at + AT_ONCE] for at in range(0, len(names), AT_ONCE))
