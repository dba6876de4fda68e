"""How right a grouping of records is, pair by pair.

Guarantees:
- Every pair of records counts once: found and true, found and wrong, or missed.
- A record that a contender says nothing of is alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping
from typing import NamedTuple


class Score(NamedTuple):
    """Pairwise precision and recall (Christen, Data Matching, 2012, chapter 7); F1 is their harmonic mean."""

    precision: float
    recall: float
    f1: float
    pairs_found: int
    pairs_true: int


def score(groups: Mapping[str, Hashable], truth: Mapping[str, str]) -> Score:
    """Compare who is put together with who belongs together; `truth` names every record.

    With nothing found precision is 1: nothing that was said is wrong.
    """
    put = {name: groups.get(name, name) for name in truth}
    found = _pairs(Counter(put.values()))
    true = _pairs(Counter(truth.values()))
    both = _pairs(Counter((put[name], person) for name, person in truth.items()))
    precision = both / found if found else 1.0
    recall = both / true if true else 1.0
    f1 = 2 * precision * recall / (precision + recall) if both else 0.0
    return Score(precision, recall, f1, found, true)


def _pairs(sizes: Counter[Hashable]) -> int:
    return sum(size * (size - 1) // 2 for size in sizes.values())
