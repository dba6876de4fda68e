"""Whether a contender gave the right profiles: fast and wrong is no figure.

Guarantees:
- Profiles are folded again here, in this process, from the records produced, and compared byte for byte.
- Compared are the sections that the records alone decide; the others also say when the log took a record.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from benchmarks.contenders import Running
from benchmarks.load import Sent
from models.decoding import fast_decoder
from projections.assembling import Labels, Member, assemble
from projections.folding import Fold, Projection
from projections.parts import empty
from projections.reducers import Configuration

# The busiest customers, whose lists are cut at their bounds, and as many of the others.
BUSIEST, OTHERS = 20, 80
SECTIONS = ("consent", "marketing", "sales", "service", "billing", "traits", "timeline")
# Later than any instant of the load, so that none is clamped.
LOG_US = 4_000_000_000_000_000


class WrongProfiles(Exception):
    """A contender's profiles are not what the records say."""


def sampled(records: Iterable[Sent]) -> dict[str, dict[str, bytes]]:
    """Some subjects of these records, with what their profiles must say. The records are gone over twice."""
    ranked = [key for key, _ in Counter(record.key for record in records).most_common()]
    rest = ranked[BUSIEST:]
    chosen = {*ranked[:BUSIEST], *rest[:: max(len(rest) // OTHERS, 1)]}
    projection = Projection(Configuration())
    folds: dict[tuple[bytes, str], Fold] = {}
    for offset, (topic, key, value) in enumerate(records):
        if key in chosen:
            event = fast_decoder(topic)(value, key, LOG_US)
            assert event is not None, value
            fold = folds.setdefault((key, topic), Fold(projection, empty(), event.subject, topic))
            fold.add(event, offset)
    members: dict[str, list[Member]] = {}
    for (key, topic), fold in folds.items():
        members.setdefault(key.decode(), []).append(Member(key.decode(), topic, fold.finish()))
    labels = Labels("g1", "c-0")
    return {
        subject: {name: profile.sections[name] for name in SECTIONS}
        for subject, parts in members.items()
        for profile in [assemble(parts, labels, 0, subject)]
    }


def check(running: Running, expected: Mapping[str, Mapping[str, bytes]]) -> int:
    """Compare; gives how many profiles were compared. WrongProfiles names the first that differs."""
    subjects = list(expected)
    with running.attempt.servers.client() as client:
        pipe = client.pipeline(transaction=False)
        for subject in subjects:
            pipe.hmget(running.contender.profile_key(running.attempt, subject), *SECTIONS)
        found = pipe.execute()
    for subject, values in zip(subjects, found, strict=True):
        for name, value in zip(SECTIONS, values, strict=True):
            if value != expected[subject][name]:
                raise WrongProfiles(
                    f"{running.contender.name}: section {name} of {subject} is {value!r:.200}, "
                    f"must be {expected[subject][name]!r:.200}"
                )
    return len(subjects)
