"""Who is who, scored: live rules, `scv identity suggest` and plain Splink on records whose truth is known.

    python -m benchmarks.identity
    python -m benchmarks.identity --set dataset3 --link-above 0.99
    python -m benchmarks.identity --quick --json

Guarantees:
- All ways see the same records in one run; none of them sees the truth, and none has a figure set by it.
- `suggest` goes the whole way: events are folded, what they left is compared, commands are written, read and
  folded into the identity graph; what is scored are the customers after that. Plain Splink reads the file and
  makes its own clusters.
- Progress goes to stderr. The last line on stdout is the whole result as JSON; before it stand the tables,
  unless --json. The exit code is 3 when suggest and plain Splink differ, or an unlink did not undo a link.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks import identity_report, usage
from benchmarks.identity_data import SETS, Person, Sent, events, people, truth_of
from benchmarks.identity_scores import score
from benchmarks.identity_world import World, undone
from benchmarks.keeping import keep
from models.link import LinkFact
from models.rules import read_rules
from ops.failures import Failure
from ops.identity_suggest_command import link_command
from ops.suggesting import PROBABILITY_MIN, compared, forest, linker_of, suggest

RESULTS = Path(__file__).parent / "results"
RULES = Path(__file__).with_name("identity-rules.toml")
# What Splink's example with real persons clusters at; the others are there to see what it does.
LINK_ABOVE = 0.95
THRESHOLDS = (0.5, 0.8, 0.9, 0.95, 0.99, 0.999)
DIFFERENCES = 3


def measure(names: Sequence[str], link_above: float, *, quick: bool) -> dict[str, Any]:
    """Do all of it; gives the result."""
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "plan": {"sets": list(names), "link_above": link_above, "quick": quick},
        "machine": usage.machine() if usage.available() is None else {},
        "packages": {name: version(name) for name in ("splink", "duckdb")},
        "sets": {name: measured(people(name, quick=quick), link_above, name) for name in names},
    }


def measured(records: Sequence[Person], link_above: float, name: str = "records") -> dict[str, Any]:
    """All ways on these records."""
    truth = truth_of(records)
    ways: dict[str, dict[str, Any]] = {}

    def scored(way: str, groups: Mapping[str, str], began: float) -> None:
        seconds = time.perf_counter() - began
        _say(f"{name}: {way} took {seconds:.1f} s")
        ways[way] = {**score(groups, truth)._asdict(), "seconds": seconds}

    began = time.perf_counter()
    ruled = _world(records, keyed=True)
    scored("live rules", ruled.customers(), began)

    began = time.perf_counter()
    suggested = _world(records, keyed=False)
    links = _suggest(suggested, link_above)
    scored("suggest", suggested.customers(), began)
    ways["suggest"] |= {"links": len(links), "undone": undone(suggested, links)}

    began = time.perf_counter()
    clusters = plain(records, (link_above, *THRESHOLDS))
    scored("plain Splink", clusters[link_above], began)

    # Upon the customers that the rules have made; the seconds are those of the second step.
    began = time.perf_counter()
    links = _suggest(ruled, link_above)
    scored("rules, then suggest", ruled.customers(), began)
    ways["rules, then suggest"] |= {"links": len(links), "undone": undone(ruled, links)}
    return {
        "records": len(records),
        "people": len(set(truth.values())),
        "ways": ways,
        "equal": suggested_equals_plain(suggested.customers(), clusters[link_above]),
        "thresholds": {str(at): score(clusters[at], truth)._asdict() for at in THRESHOLDS},
    }


def _world(records: Sequence[Person], *, keyed: bool) -> World:
    world = World(read_rules(RULES))
    world.write(events(records, keyed=keyed))
    return world


def _suggest(world: World, link_above: float) -> list[LinkFact]:
    """What `scv identity suggest --link-above` does, upon the customers of this world; the links it made."""
    pairs = suggest(world.traits())
    at = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    chosen = forest(pairs, link_above, world.customers())
    return world.command(Sent(*link_command(pair, at)) for pair in chosen)


def plain(records: Iterable[Person], thresholds: Iterable[float]) -> dict[float, dict[str, str]]:
    """Splink alone, from the file to its own clusters: per threshold, the cluster of each subject."""
    rows = sorted(compared(one.traits for one in records), key=lambda row: str(row[0]))
    found: dict[float, dict[str, str]] = {}
    with linker_of(rows) as (linker, stated):
        from ops.splink_model import train

        train(linker, stated)
        pairs = linker.inference.predict(threshold_match_probability=PROBABILITY_MIN)
        for at in dict.fromkeys(thresholds):
            clusters = linker.clustering.cluster_pairwise_predictions_at_threshold(
                pairs, threshold_match_probability=at
            )
            found[at] = {row["unique_id"]: row["cluster_id"] for row in clusters.as_record_dict()}
    return found


def suggested_equals_plain(ours: Mapping[str, str], theirs: Mapping[str, str]) -> bool:
    """Whether two groupings put the same subjects together, whatever they call the groups."""

    def named(groups: Mapping[str, str]) -> set[frozenset[str]]:
        members: dict[str, set[str]] = {}
        for name, group in groups.items():
            members.setdefault(group, set()).add(name)
        return {frozenset(one) for one in members.values() if len(one) > 1}

    return named(ours) == named(theirs)


def differences(result: Mapping[str, Any]) -> list[str]:
    """What should not be: a set where suggest is not what plain Splink is, or links that stayed."""
    found = []
    for name, one in result["sets"].items():
        if not one["equal"] or one["ways"]["suggest"]["f1"] != one["ways"]["plain Splink"]["f1"]:
            found.append(f"{name}: suggest's customers are not plain Splink's clusters")
        for way, row in one["ways"].items():
            if row.get("undone", row.get("links", 0)) != row.get("links", 0):
                found.append(f"{name}: {way}: {row['links'] - row['undone']} links not undone by one unlink")
    return found


def _say(text: str) -> None:
    print(f"benchmarks.identity: {text}", file=sys.stderr, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.identity", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("--quick", action="store_true", help="a quarter of the people, in seconds")
    parser.add_argument("--json", action="store_true", help="only the last line, the result as JSON")
    parser.add_argument("--set", action="append", choices=SETS, help="only these")
    parser.add_argument("--link-above", type=float, default=LINK_ABOVE, help=f"probability ({LINK_ABOVE})")
    parser.add_argument("--out", type=Path, help="file for the result, instead of one in benchmarks/results/")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, keep."""
    arguments = _parser().parse_args(argv)
    try:
        result = measure(arguments.set or SETS, arguments.link_above, quick=arguments.quick)
    except Failure as failed:
        print(f"benchmarks.identity: {failed}", file=sys.stderr)
        return int(failed.code)
    path = arguments.out or RESULTS / f"identity{'-quick' if arguments.quick else ''}.json"
    keep(result, path)
    if not arguments.json:
        print("\n".join(identity_report.lines(result)))
        print(f"kept in {path}")
    print(json.dumps(result))
    wrong = differences(result)
    for line in wrong:
        print(f"benchmarks.identity: {line}", file=sys.stderr)
    return DIFFERENCES if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
