"""Whether one hot subject, or one hot customer of many subjects, keeps the others waiting.

    python -m benchmarks.hot
    python -m benchmarks.hot --quick --rate 300

Guarantees:
- Measured are the others: probes, whose subjects are never hot. How: what `benchmarks.latency` guarantees.
- The rate is the same in every row; a tenth of the events are the hot one's, or nobody's in particular.
- The hot customer is one before measuring begins: a profile lists all its subjects.
- What `benchmarks.keeping` guarantees of every command.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import cycle
from typing import Any, NamedTuple

import msgspec

from benchmarks import keeping, latency, report
from benchmarks.contenders import CONTENDERS, Ended
from benchmarks.load import Sent, email_of, mixed
from benchmarks.servers import Servers
from eventlog.producing import LogProducer
from stores.keys import Keys
from stores.store import Membership

# One event of so many is the hot one's.
HOT_OF = 10
# With the email address that makes one customer of them, a component of 1,000 nodes: the greatest there is.
MEMBERS = 999
HOT_SUBJECT = b"crm:hot"
HOT_EMAIL = b"hot@example.com"
MERGED_SECONDS_MAX = 120.0
ROWS = ("nobody", "subject", "customer")


class Plan(NamedTuple):
    """How much is measured."""

    rate: int
    seconds: float
    warm_up_seconds: float
    members: int = MEMBERS
    rows: tuple[str, ...] = ROWS
    contender: str = "scv"


FULL = Plan(500, 30.0, 5.0)
QUICK = Plan(300, 6.0, 2.0, members=199)


def hot_load(hot_subjects: Sequence[bytes]) -> Iterator[Sent]:
    """`mixed`, with one event of ten about these subjects in turn; without any, just `mixed`."""
    others = mixed(sys.maxsize, latency.SUBJECTS, seed=2)
    if not hot_subjects:
        return others
    return _interleaved(others, _about(cycle(hot_subjects)))


def _interleaved(others: Iterator[Sent], hot: Iterator[Sent]) -> Iterator[Sent]:
    for number, record in enumerate(others):
        yield next(hot) if number % HOT_OF == 0 else record


def _about(subjects: Iterator[bytes]) -> Iterator[Sent]:
    """Events as anybody's, told of these subjects; an address is that of all of them."""
    address = email_of(0).encode()
    for subject, record in zip(subjects, mixed(sys.maxsize, 1, seed=5), strict=False):
        value = record.value.replace(b'"crm:0"', b'"%b"' % subject).replace(address, HOT_EMAIL)
        yield Sent(record.topic, subject, value)


def member(number: int) -> bytes:
    """A browser of the hot customer."""
    return b"web:hot%d" % number


def merge_first(members: int) -> Callable[[Servers, LogProducer], None]:
    """What makes one customer of so many browsers, and waits until it is one."""

    def merge(servers: Servers, producer: LogProducer) -> None:
        told = {}
        # Each states the address once; the other events of this kind do so three times of ten.
        for record in _about(cycle(map(member, range(members)))):
            if HOT_EMAIL in record.value:
                told[record.key] = record
            if len(told) == members:
                break
        for record in told.values():
            producer.produce(record.topic, record.key, record.value)
        producer.flush()
        _wait_until_merged(servers, members)

    return merge


def _wait_until_merged(servers: Servers, members: int) -> None:
    key, deadline = Keys("g1").membership(member(0).decode()), time.monotonic() + MERGED_SECONDS_MAX
    with servers.client() as client:
        while (found := len(_members(client.get(key)))) < members:
            if time.monotonic() > deadline:
                raise Ended(f"the hot customer has {found} of {members} subjects, then nothing more")
            time.sleep(0.1)


def _members(membership: Any) -> Sequence[str]:
    """Of a membership as it is stored: nothing, before the graph has placed the subject."""
    return () if membership is None else msgspec.json.decode(membership, type=Membership).members


def measure(plan: Plan, broker: str) -> dict[str, Any]:
    """Measure each row of the plan. Ended or LogError when something fails."""
    contender, found = CONTENDERS[plan.contender], {}
    hot_subjects = {
        "nobody": [],
        "subject": [HOT_SUBJECT],
        "customer": [member(number) for number in range(plan.members)],
    }
    with Servers(broker, latency.PARTITIONS) as servers:
        about = keeping.about(servers, plan._asdict())
        for row in plan.rows:
            keeping.say("hot", f"hot: {row}, at {plan.rate} events/s")
            before = merge_first(plan.members) if row == "customer" else lambda *_: None
            at = (plan.rate, plan.seconds, plan.warm_up_seconds)
            load = hot_load(hot_subjects[row])
            found[row] = latency.measure(contender, servers, *at, load=load, before=before)._asdict()
    return {**about, "hot": found}


def lines(result: Mapping[str, Any]) -> list[str]:
    """The table of a result."""
    rows = [{**one, "contender": name} for name, one in result["hot"].items()]
    return [
        "the others' latency, where one event of ten is about",
        *report.latency_table(rows),
        "",
        report.circumstances(result),
    ]


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, keep."""
    parser = keeping.options("hot", __doc__ or "")
    parser.add_argument("--rate", type=int, help=f"events a second ({FULL.rate})")
    parser.add_argument("--seconds", type=float, help=f"how long for each row ({FULL.seconds:.0f})")
    parser.add_argument("--members", type=int, help=f"subjects of the hot customer ({FULL.members})")
    parser.add_argument("--only", action="append", choices=ROWS, help="this row; may be given again")
    arguments = parser.parse_args(argv)
    plan: Plan = keeping.planned(
        QUICK if arguments.quick else FULL,
        rate=arguments.rate,
        seconds=arguments.seconds,
        members=arguments.members,
        rows=tuple(arguments.only) if arguments.only else None,
    )
    return keeping.run("hot", arguments, lambda broker: measure(plan, broker), lines)


if __name__ == "__main__":
    sys.exit(main())
