"""`scv rebuild diff`: what readers would see change if another generation were promoted.

Invariants:
- Both generations are compared customer by customer, everything but `meta`.
- Both may be followed live meanwhile: what differs is read again until it stays so.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from heapq import nlargest
from typing import Any, NamedTuple

import msgspec
import redis

from eventlog.generations import generations_of
from ops.answers import say, say_json
from ops.configured import settings_with
from ops.failures import Exit, Failure
from ops.progress import Progress
from ops.rebuild_start import rebuilds_of
from ops.rebuild_status import unfinished
from ops.working import refuse_unfit_store
from stores.keys import Keys
from stores.reading import LIVE, GenerationView, StoredProfile

CUSTOMERS_AT_ONCE = 500
# An event is in both generations within about a second; what differs longer differs.
LOOKS = 4
LOOK_AGAIN_SECONDS = 0.5
# So many customers wait to be looked at again; where more differ, it is no matter of moments.
AGAIN_MAX = 2_000
# Sections' fields that one line names.
PATHS_TOLD = 30
_LEFT_OUT = ("meta",)
_ABSENT = object()


class Difference(NamedTuple):
    """One customer that would change: `kind` is new, gone or changed; paths as `billing.balances`."""

    customer_id: str
    kind: str
    paths: tuple[str, ...]
    before: dict[str, Any]
    after: dict[str, Any]


class Compared:
    """What a comparison has found so far."""

    def __init__(self, examples: int) -> None:
        self.examples = examples
        self.customers = 0
        self.kinds: Counter[str] = Counter()
        self.paths: Counter[str] = Counter()
        self.worst: list[Difference] = []

    def note(self, found: Difference) -> None:
        """One more customer that would change."""
        self.kinds[found.kind] += 1
        self.paths.update(found.paths)
        self.worst = nlargest(self.examples, [*self.worst, found], key=lambda one: len(one.paths))

    @property
    def differences(self) -> int:
        """How many customers would change."""
        return sum(self.kinds.values())


def changed_paths(before: Any, after: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    """The fields in which two documents differ, as (path, before, after); a list is one field."""
    if before == after:
        return
    if isinstance(before, dict) and isinstance(after, dict):
        for name in sorted(before.keys() | after.keys()):
            inner = f"{path}.{name}" if path else name
            yield from changed_paths(before.get(name, _ABSENT), after.get(name, _ABSENT), inner)
        return
    yield path, *(None if one is _ABSENT else one for one in (before, after))


def difference(customer: str, before: StoredProfile | None, after: StoredProfile | None) -> Difference | None:
    """How a customer would change; None when nobody would notice."""
    old, new = (None if one is None or one.state != LIVE else one for one in (before, after))
    if old is None and new is None:
        return None
    if old is None or new is None:
        return Difference(customer, "new" if old is None else "gone", (), {}, {})
    names = sorted((old.sections.keys() | new.sections.keys()).difference(_LEFT_OUT))
    paths, was, now = [], {}, {}
    for name in names:
        one, other = old.sections.get(name), new.sections.get(name)
        if one == other:
            continue
        decoded = [_ABSENT if part is None else msgspec.json.decode(part) for part in (one, other)]
        for path, left, right in changed_paths(*decoded, name):
            paths.append(path)
            was[path], now[path] = left, right
    return Difference(customer, "changed", tuple(paths), was, now) if paths else None


def compare(client: redis.Redis, before: str, after: str, examples: int, *, quiet: bool) -> Compared:
    """Compare all customers of two generations. The client's errors."""
    views = GenerationView(client, before), GenerationView(client, after)
    found, again = Compared(examples), list[str]()
    with Progress(f"{before} and {after}", 1, "customers", quiet=quiet) as progress:
        for ids in _customers(client, before, after):
            differing, customers = _differing(views, ids)
            found.customers += customers
            if len(again) + len(differing) <= AGAIN_MAX:
                again += [one.customer_id for one in differing]
            else:
                for one in differing:
                    found.note(one)
            progress.grow(found.customers + 1)
            progress.update(found.customers)
    differing = []
    for look in range(LOOKS):
        if not again:
            break
        if look:
            time.sleep(LOOK_AGAIN_SECONDS)
        differing = [one for ids in _portions(again) for one in _differing(views, ids)[0]]
        again = [one.customer_id for one in differing]
    for one in differing:
        found.note(one)
    return found


def _customers(client: redis.Redis, before: str, after: str) -> Iterator[list[str]]:
    """All customers that either has, each once, in portions."""
    ids: list[str] = []
    old = Keys(before)
    for generation in (before, after):
        prefix = Keys(generation).prefix
        for key in client.scan_iter(f"{prefix}{{cus_*}}:profile", count=2 * CUSTOMERS_AT_ONCE):
            ids.append(key.decode()[len(prefix) + 1 : -len("}:profile")])
            if len(ids) >= CUSTOMERS_AT_ONCE:
                yield _unseen(client, old, ids, first=generation == before)
                ids = []
        yield _unseen(client, old, ids, first=generation == before)
        ids = []


def _unseen(client: redis.Redis, old: Keys, ids: Sequence[str], *, first: bool) -> list[str]:
    """Of the second generation only customers that the first does not know: the others were compared."""
    once = list(dict.fromkeys(ids))
    if first or not once:
        return once
    pipe = client.pipeline(transaction=False)
    for one in once:
        pipe.exists(old.profile(one))
    return [one for one, known in zip(once, pipe.execute(), strict=True) if not known]


def _differing(
    views: tuple[GenerationView, GenerationView], ids: Sequence[str]
) -> tuple[list[Difference], int]:
    """The differences among these, and how many of them are customers in either: others are tombstones."""
    before, after = (view.profiles(ids) for view in views)
    differences = [difference(one, before.get(one), after.get(one)) for one in ids]
    living = {one for side in (before, after) for one, held in side.items() if held.state == LIVE}
    return [found for found in differences if found is not None], len(living)


def _portions(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    return (ids[at : at + CUSTOMERS_AT_ONCE] for at in range(0, len(ids), CUSTOMERS_AT_ONCE))


def run_rebuild_diff(
    *, kafka: str | None, redis: str | None, generation: str | None, examples: int, as_json: bool
) -> int:
    """`scv rebuild diff`; exit code 3 when something differs."""
    settings = settings_with(kafka=kafka, redis=redis)
    refuse_unfit_store(settings)
    with rebuilds_of(settings) as rebuilds:
        name, active = unfinished(rebuilds, generations_of(settings.kafka), generation), rebuilds.active()
        if active is None or name == active:
            raise Failure(Exit.USAGE, f"{name} is active: name another generation by --generation")
        found = compare(rebuilds.client, active, name, examples, quiet=as_json)
    if as_json:
        say_json(
            {
                "before": active,
                "after": name,
                "customers": found.customers,
                "differences": found.differences,
                "kinds": dict(found.kinds),
                "fields": dict(found.paths.most_common()),
                "examples": [one._asdict() for one in found.worst],
            }
        )
    else:
        _say(active, name, found)
    return Exit.DIFFERENCES if found.differences else Exit.OK


def _say(active: str, name: str, found: Compared) -> None:
    from ops.portrait import printable

    if not found.differences:
        say(f"{found.customers:,} customers of {active} and {name}: no difference, but in meta")
        return
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in sorted(found.kinds.items()))
    say(f"{found.differences:,} of {found.customers:,} customers would change: {kinds}")
    for path, count in found.paths.most_common(PATHS_TOLD):
        say(f"  {path:<48}{count:>10,}")
    for one in found.worst:
        say(f"{one.customer_id} ({one.kind})")
        for path in one.paths[:PATHS_TOLD]:
            before, after = (_short(side[path]) for side in (one.before, one.after))
            say(printable(f"  {path}: {before} → {after}"))


def _short(value: Any) -> str:
    text = msgspec.json.encode(value).decode()
    return text if len(text) <= 60 else text[:59] + "…"
