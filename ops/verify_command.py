"""`scv verify`: which customers to compare, how far it is, and what was found.

Invariants:
- Exit code 3 when anything differs, 6 when nothing does but some could not be compared.
- A pass is the unit of resuming: Ctrl-C says which one to go on with.
"""

from __future__ import annotations

import hashlib
import sys
import time
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple
from zlib import crc32

from ops.answers import say, say_json
from ops.failures import Exit, Failure
from ops.looking_back import opened, settings_for
from ops.progress import Progress

if TYPE_CHECKING:
    from api.replaying import Replayer
    from models.settings import Settings
    from ops.comparing import Wrong
    from ops.verifying import Verifier

# With parts, profiles and what is folded, about 15 kB each: some 150 MB a pass.
CUSTOMERS_PER_PASS = 10_000
KEYS_AT_ONCE = 1_000
# One record fetched by its offset takes as long as so many read in order.
FETCH_COSTS = 100
# A person reads a few, a program repairs by customer; the count is exact beyond.
WRONG_SHOWN = 1_000
# Subjects that have been looked for already: some 100 MB.
KNOWN_MAX = 1_000_000


class Chosen(NamedTuple):
    """Which customers: a share of all, of which a pass takes one in `passes`."""

    share: float
    seed: int
    passes: int
    first: int

    def takes(self, customer_id: str) -> bool:
        """Whether the customer is in the sample."""
        if self.share >= 1:
            return True
        digest = hashlib.blake2b(f"{self.seed}:{customer_id}".encode(), digest_size=8).digest()
        return int.from_bytes(digest) < self.share * 2**64


class Tally:
    """What has been found so far."""

    def __init__(self) -> None:
        self.customers = self.wrong_count = 0
        self.wrong: list[Wrong] = []
        self.busy: list[str] = []

    def note(self, wrong: Sequence[Wrong], busy: Sequence[str] = ()) -> None:
        """Count these."""
        self.wrong_count += len(wrong)
        self.wrong += wrong[: max(0, WRONG_SHOWN - len(self.wrong))]
        self.busy += busy


def run_verify(
    names: Sequence[str],
    *,
    sample: str | None,
    every: bool,
    seed: int,
    passes: int | None,
    from_pass: int,
    kafka: str | None,
    redis: str | None,
    generation: str | None,
    as_json: bool,
) -> int:
    """Compare, and say what differs."""
    from ops.verifying import Verifier
    from stores.reading import ProfileReader

    if sum((bool(names), sample is not None, every)) != 1:
        raise Failure(Exit.USAGE, "name customers with --customer, or a share with --sample 1%, or --all")
    share = 1.0 if sample is None else _share(sample)
    settings = settings_for(kafka, redis, generation)
    reader = ProfileReader(settings.redis, generation)
    began, tally = time.monotonic(), Tally()
    try:
        view = reader.view()
        if view is None:
            raise Failure(
                Exit.NOT_FOUND, f"{settings.redis_shown}: the store holds no view yet: is a worker running?"
            )
        with opened(settings, view.generation) as replayer:
            verifier = Verifier(replayer, view, _lanes(settings))
            if names:
                chosen = _named(names, reader, settings)
                tally.customers = len(chosen)
                tally.note(*verifier.verify(chosen))
            else:
                _passes(verifier, Chosen(share, seed, passes or 0, from_pass), tally, quiet=as_json)
    finally:
        reader.close()
    return _say(tally, time.monotonic() - began, as_json=as_json)


def _share(text: str) -> float:
    """`1%` or `0.01`, above 0 and at most all."""
    try:
        share = float(text[:-1]) / 100 if text.endswith("%") else float(text)
    except ValueError:
        share = 0.0
    if not 0 < share <= 1:
        raise Failure(Exit.USAGE, f"--sample {text!r} is no share; give one as 1% or 0.01")
    return share


def _lanes(settings: Settings) -> list[Any]:
    from eventlog.ends import lane_ends
    from models.catalogue import DOMAIN_TOPICS

    return sorted(lane_ends(settings.kafka, DOMAIN_TOPICS))


def _named(names: Sequence[str], reader: Any, settings: Settings) -> list[str]:
    """The customers that these names lead to, each to one or several. Failure when one leads to nobody."""
    from api.lookup import lookup

    found: dict[str, None] = {}
    for name in names:
        answer = lookup(reader, name, settings.identity_rules, ("summary",))
        if answer.match == "none":
            raise Failure(Exit.NOT_FOUND, f"{settings.redis_shown}: nobody is known as {name!r}")
        if answer.profile is not None:
            found[answer.profile["customer_id"]] = None
        found.update((one["customer_id"], None) for one in answer.candidates)
    return list(found)


def customer_ids(replayer: Replayer) -> Iterator[str]:
    """The ids of all living customers, in no order; one may come twice."""
    from stores.connection import connect

    client: Any = connect(replayer.installation.redis)
    try:
        keys = client.scan_iter(match=replayer.store.keys.profile("cus_*"), count=KEYS_AT_ONCE)
        while some := list(islice(keys, KEYS_AT_ONCE)):
            pipeline = client.pipeline(transaction=False)
            for key in some:
                pipeline.hget(key, "state")
            for key, state in zip(some, pipeline.execute(), strict=True):
                if state == b"live":
                    yield key.rpartition(b"{")[2].partition(b"}")[0].decode()
    finally:
        client.close()


def _passes(verifier: Verifier, chosen: Chosen, tally: Tally, *, quiet: bool) -> None:
    if not chosen.passes:
        count = sum(map(chosen.takes, customer_ids(verifier.replayer)))
        chosen = chosen._replace(passes=max(1, -(-count // CUSTOMERS_PER_PASS)))
    if chosen.first > chosen.passes:
        raise Failure(Exit.USAGE, f"--from-pass {chosen.first}: there are {chosen.passes} passes")
    number = chosen.first
    try:
        if chosen.share >= 1 and number == 1:
            _look_for_lost(verifier, tally, quiet=quiet)
        for number in range(chosen.first, chosen.passes + 1):
            ids = {
                one
                for one in customer_ids(verifier.replayer)
                if chosen.takes(one) and crc32(one.encode()) % chosen.passes == number - 1
            }
            _one_pass(verifier, sorted(ids), tally, f"pass {number} of {chosen.passes}", quiet=quiet)
    except KeyboardInterrupt:
        share = "--all" if chosen.share >= 1 else f"--sample {chosen.share:g} --seed {chosen.seed}"
        raise Failure(
            Exit.INTERRUPTED,
            f"stopped, {tally.customers:,} customers compared, {tally.wrong_count:,} differences; "
            f"go on with: scv verify {share} --passes {chosen.passes} --from-pass {number}",
        ) from None


def _one_pass(verifier: Verifier, ids: Sequence[str], tally: Tally, label: str, *, quiet: bool) -> None:
    from ops.verifying import AT_ONCE

    if not _by_their_own_records(verifier, len(ids)):
        with Progress(f"{label}: reading the log", 1, "records", quiet=quiet) as shown:

            def show(done: int, total: int) -> None:
                shown.grow(total)
                shown.update(done)

            left: Sequence[str] = verifier.scan(ids, show)
    else:
        left = ids
    with Progress(f"{label}: comparing", len(left), "customers", quiet=quiet) as shown:
        for at in range(0, len(left), AT_ONCE):
            tally.note(*verifier.verify(left[at : at + AT_ONCE]))
            shown.update(at)
    tally.customers += len(ids)


def _by_their_own_records(verifier: Verifier, count: int) -> bool:
    """Whether so few are asked for that fetching their records is quicker than reading the log."""
    total = sum(one.next_offset or 0 for one in verifier.replayer.store.checkpoints(verifier.lanes))
    everybody = sum(1 for _ in customer_ids(verifier.replayer))
    return bool(count) and count * FETCH_COSTS < everybody and total > FETCH_COSTS


def _look_for_lost(verifier: Verifier, tally: Tally, *, quiet: bool) -> None:
    """Subjects of the log that the view has nothing of."""
    from eventlog.reading import read_batches
    from ops.verifying import heard_of

    store = verifier.replayer.store
    found = zip(verifier.lanes, store.checkpoints(verifier.lanes), strict=True)
    ends = {lane: (0, at.next_offset) for lane, at in found if at.next_offset}
    known: dict[tuple[Any, bytes | None], None] = {}
    done = 0
    with Progress(
        "looking for lost subjects", sum(end for _, end in ends.values()), "records", quiet=quiet
    ) as shown:
        for batch in read_batches(verifier.replayer.installation.kafka, ends):
            fresh = [record for record in batch if (record.lane, record.key) not in known]
            tally.note(*verifier.lost(heard_of(verifier.replayer, fresh)))
            if len(known) > KNOWN_MAX:
                known.clear()
            known.update(((record.lane, record.key), None) for record in fresh)
            done += len(batch)
            shown.update(done)


def _say(tally: Tally, seconds: float, *, as_json: bool) -> int:
    from projections.differing import MISSING

    code = Exit.DIFFERENCES if tally.wrong_count else Exit.PARTLY if tally.busy else Exit.OK
    if as_json:
        say_json(
            {
                "customers": tally.customers, "differences": [one._asdict() for one in tally.wrong],
                "difference_count": tally.wrong_count, "busy": tally.busy, "seconds": round(seconds, 3),
            }
        )  # fmt: skip
        return code
    for one in tally.wrong:
        say(_line(one, MISSING))
    if tally.wrong_count > len(tally.wrong):
        say(f"… and {tally.wrong_count - len(tally.wrong):,} differences more")
    for name in tally.busy:
        print(f"{name} kept changing and was not compared; try again", file=sys.stderr)
    found = _counted(tally.wrong_count, "difference") if tally.wrong_count else "no difference"
    say(f"{_counted(tally.customers, 'customer')} compared with their replay in {seconds:.1f} s: {found}.")
    return code


def _counted(count: int, what: str) -> str:
    return f"{count:,} {what}" + ("" if count == 1 else "s")


def _line(one: Wrong, missing: str) -> str:
    import msgspec

    from ops.portrait import printable

    values = [
        value if value == missing else msgspec.json.encode(value).decode()
        for value in (one.live, one.replayed)
    ]
    who = " ".join(name for name in (one.customer_id, one.subject) if name)
    where = f"{one.section}.{one.field}" if one.field else one.section
    line: str = printable(f"{who}: {where}: live {values[0]}, replayed {values[1]}")
    return line
