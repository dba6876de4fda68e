"""The second opinion: who may be the same person, by what is known of them and not by what they share.

Guarantees:
- Says what Splink finds, and decides nothing: what becomes of a pair is a command's business.
- The same people give the same pairs, whatever their order. Nothing leaves the machine, nothing is kept.
- Without the extra `suggest` one line says how to install it; nothing else of scv needs it.

`ops/splink_model.py` says how two people are compared.
"""

from __future__ import annotations

import logging
import re
import unicodedata
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from tempfile import TemporaryDirectory
from types import MappingProxyType
from typing import Any, NamedTuple

from ops.failures import Exit, Failure

# About 1.5 kB each while they are handed over: 3 GB. DuckDB compares as many on one machine.
RECORDS_MAX = 2_000_000
# Fewer have too few pairs of strangers (1,225) to learn from how often strangers agree.
RECORDS_MIN = 50
# The best of them: nobody reviews more, and a million pairs are 200 MB here and in Redis.
PAIRS_MAX = 1_000_000
# A pair that is likelier two people than one is nobody's candidate.
PROBABILITY_MIN = 0.5

Told = Callable[[int, int], None]
"""Hears how many of how many steps are done."""


class Traits(NamedTuple):
    """What one source holds of a person; `birthdate` is `YYYY-MM-DD`.

    `id`, a subject, tells records apart and is not compared. Records of one `customer` are known to be of one
    person: much is learnt from them, and nothing told of them.
    """

    id: str
    given_name: str | None = None
    family_name: str | None = None
    birthdate: str | None = None
    street_address: str | None = None
    postal_code: str | None = None
    locality: str | None = None
    email: str | None = None
    phone: str | None = None
    customer: str | None = None


class Pair(NamedTuple):
    """Two records, the lesser id first. `weight` in bits: at +10 one person is 1,024 times likelier."""

    a: str
    b: str
    weight: float
    probability: float


def traits_of(subject: str, identity: Mapping[str, Any], customer: str | None = None) -> Traits:
    """The traits in the section `identity` of a profile (docs/profile.md); of addresses the newest."""
    addresses = identity["addresses"]
    address = addresses[0] if addresses else {}
    return Traits(
        subject,
        identity["given_name"],
        identity["family_name"],
        identity["birthdate"],
        address.get("street_address"),
        address.get("postal_code"),
        address.get("locality"),
        identity["email"],
        identity["phone_number"],
        customer,
    )


def suggest(people: Iterable[Traits], progress: Told | None = None) -> list[Pair]:
    """The pairs that are likelier one person than two, the likeliest first; none of fewer than `RECORDS_MIN`.

    Records without any trait are left out. Failure when the extra is missing, or above `RECORDS_MAX`.
    """
    rows = sorted(compared(people), key=lambda row: str(row[0]))
    if len(rows) < RECORDS_MIN:
        require_splink()
        return []
    with linker_of(rows) as (linker, stated):
        from ops.splink_model import TRAINING_SESSIONS, train

        total = TRAINING_SESSIONS + 3
        done = iter(range(1, total + 1))
        step = _stepping(progress, done, total)
        train(linker, stated, step)
        found = linker.inference.predict(threshold_match_probability=PROBABILITY_MIN)
        pairs = list(_best(linker, found.physical_name))
        if progress is not None:
            progress(total, total)
    return pairs


def _best(linker: Any, predictions: str) -> Iterator[Pair]:
    query = (
        f"select unique_id_l, unique_id_r, match_weight, match_probability from {predictions} "
        "where customer_l <> customer_r order by match_weight desc, unique_id_l, unique_id_r "
        f"limit {PAIRS_MAX}"
    )
    for row in linker.misc.query_sql(query, output_type="splink_df").as_record_dict():
        one, other, weight, probability = row.values()
        yield Pair(min(one, other), max(one, other), weight, probability)


def _stepping(progress: Told | None, done: Iterator[int], total: int) -> Callable[[], None]:
    def step() -> None:
        if progress is not None:
            progress(next(done), total)

    return step


def compared(people: Iterable[Traits]) -> Iterator[tuple[str | None, ...]]:
    """Rows of the table that Splink reads: id, customer, then `ops.splink_model.COLUMNS` in one spelling."""
    for number, person in enumerate(people):
        if number == RECORDS_MAX:
            raise Failure(
                Exit.REFUSED,
                f"more than {RECORDS_MAX:,} records: too many for one machine; compare them elsewhere and "
                "send what is found as `identity.link` commands (docs/identity-matching.md)",
            )
        house_number, street = _house(plain(person.street_address))
        row = (
            plain(person.given_name),
            plain(person.family_name),
            _day(person.birthdate),
            house_number,
            street,
            plain(person.postal_code),
            plain(person.locality),
            plain(person.email),
            person.phone,
        )
        if any(row):
            yield person.id, person.customer or person.id, *row


def plain(text: str | None) -> str | None:
    """Lower case, no accents, single blanks; None when nothing is left."""
    if not text:
        return None
    spelt = unicodedata.normalize("NFKD", text.casefold())
    return " ".join("".join(sign for sign in spelt if not unicodedata.combining(sign)).split()) or None


_DAY = re.compile(r"(?!0000)[0-9]{4}-[0-9]{2}-[0-9]{2}")


def _day(birthdate: str | None) -> str | None:
    """A whole date: a year alone says too little, and a hidden year would look like a mistyped one."""
    return birthdate if birthdate is not None and _DAY.fullmatch(birthdate) else None


_NUMBER = re.compile(r"\b\d+ ?[a-z]?\b")


def _house(street_address: str | None) -> tuple[str | None, str | None]:
    """`12a` and `main street`, wherever the number stands."""
    if street_address is None:
        return None, None
    number = _NUMBER.search(street_address)
    if number is None:
        return None, street_address
    rest = f"{street_address[: number.start()]} {street_address[number.end() :]}"
    return number.group().replace(" ", ""), " ".join(rest.split()).strip(" ,") or None


def require_splink() -> None:
    """Failure, in one line, when the extra `suggest` is not installed."""
    try:
        import duckdb  # noqa: F401
        import splink  # noqa: F401
    except ImportError as missing:
        raise Failure(
            Exit.FAILED, f"no package {missing.name}, which compares people: run `pip install 'scv[suggest]'`"
        ) from None


@contextmanager
def linker_of(rows: Sequence[tuple[str | None, ...]]) -> Iterator[tuple[Any, Collection[str]]]:
    """Splink's linker over these rows, not trained yet, and the traits that at least two of them state."""
    require_splink()
    import duckdb
    import pyarrow
    from splink import DuckDBAPI, Linker

    from ops.splink_model import COLUMNS, settings

    # What it tells is for somebody who builds a model; what a person must know, the command says.
    log = logging.getLogger("splink")
    before = log.level
    log.setLevel(logging.CRITICAL)
    columns = [list(column) for column in zip(*rows, strict=True)]
    names = ("unique_id", "customer", *COLUMNS)
    table = pyarrow.table(columns, schema=pyarrow.schema([(name, pyarrow.string()) for name in names]))
    stated = {name for name, column in zip(COLUMNS, columns[2:], strict=True) if sum(map(bool, column)) > 1}
    with TemporaryDirectory(prefix="scv-suggest-") as spilled:
        # It may write to the disk what does not fit into memory, and fetch nothing.
        connection = duckdb.connect(config={"temp_directory": spilled, "autoinstall_known_extensions": False})
        try:
            yield Linker(table, settings(stated), DuckDBAPI(connection), set_up_basic_logging=False), stated
        finally:
            connection.close()
            log.setLevel(before)


def forest(
    pairs: Iterable[Pair], above: float, customers: Mapping[str, str] = MappingProxyType({})
) -> list[Pair]:
    """The pairs of at least this probability that join everything all of them join, the strongest first.

    `customers` says which records are together already. None of the pairs goes round in a circle: taking one
    away parts what it had joined, and nothing else.
    """
    parent: dict[str, str] = {}

    def root(name: str) -> str:
        while (up := parent.setdefault(name, name)) != name:
            parent[name] = name = parent[up]
        return name

    chosen = []
    for pair in sorted(pairs, key=lambda one: (-one.weight, one.a, one.b)):
        if pair.probability < above:
            continue
        a, b = (root(customers.get(name, name)) for name in pair[:2])
        if a != b:
            parent[a] = b
            chosen.append(pair)
    return chosen
