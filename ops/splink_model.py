"""How Splink compares two people: which traits, how finely, in which blocks; how it learns their worth.

Guarantees:
- Nothing is learnt from a truth: how often strangers agree comes from random pairs, how often one person's
  records agree from expectation maximisation (Fellegi and Sunter, 1969; Winkler, 1988).
- What nobody states is not compared. The same people with the same ids give the same weights.

Sources. The comparisons, their thresholds and the way of training are those that Splink's authors publish
for people: the comparison library of Splink 4, its examples "Deduplicating the febrl3 dataset", "Linking the
febrl4 datasets" and "Linking a dataset of real historical persons". Blocks are pairs of traits as in the last
of these: one alone, such as a given name, pairs half a town. docs/identity-matching.md has each.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

import splink.comparison_library as cl
from splink import Linker, SettingsCreator, block_on
from splink.internals.exceptions import EMTrainingException

# Splink: 10 million "is often adequate" for trying a model, its FEBRL examples take 1 million. 5 seconds.
U_PAIRS_MAX = 2_000_000
# Any number: the same sample each time.
SEED = 1815
# What share of the true pairs `_CERTAIN` finds: Splink's example with real persons guesses 0.6. Twice or half
# as much moves every weight by one bit.
CERTAIN_RECALL = 0.6

COLUMNS = (
    "given_name",
    "family_name",
    "birthdate",
    "house_number",
    "street",
    "postal_code",
    "locality",
    "email",
    "phone",
)
"""The traits of the table that is compared; its key is `unique_id`."""

# Pairs are scored if they agree in all of one of these.
_BLOCKS: tuple[tuple[str, ...], ...] = (
    ("given_name", "family_name"),
    ("birthdate", "substr(family_name, 1, 2)"),
    ("birthdate", "substr(given_name, 1, 2)"),
    ("birthdate", "postal_code"),
    ("postal_code", "family_name"),
    ("postal_code", "given_name"),
    ("house_number", "street"),
    ("email",),
    ("phone",),
)
# Forms that were filled in the wrong way round.
_SWAPPED = "l.given_name = r.family_name and l.family_name = r.given_name"

# Who agrees in all of one of these is almost surely one person.
_CERTAIN: tuple[tuple[str, ...], ...] = (
    ("given_name", "family_name", "birthdate"),
    ("birthdate", "postal_code", "family_name"),
    ("email", "family_name"),
)

# Each trains what it does not block upon, so two that share no trait train all. The first ones that can do.
_TRAINING: tuple[tuple[str, ...], ...] = (
    ("given_name", "family_name"),
    ("birthdate",),
    ("email",),
    ("phone",),
    ("house_number", "street"),
)
TRAINING_SESSIONS = 2


def comparisons(stated: Collection[str]) -> list[Any]:
    """The comparisons of the traits that are stated at all.

    Where there are postcodes, localities are left out: one follows from the other, and counting one agreement
    twice makes strangers alike (the same remark is in Splink's FEBRL 4 example).
    """
    made = {
        "given_name": cl.NameComparison("given_name"),
        "family_name": cl.NameComparison("family_name"),
        "birthdate": cl.DateOfBirthComparison("birthdate", input_is_string=True, datetime_format="%Y-%m-%d"),
        "house_number": cl.ExactMatch("house_number").configure(term_frequency_adjustments=True),
        "street": cl.JaroWinklerAtThresholds("street").configure(term_frequency_adjustments=True),
        "postal_code": cl.DamerauLevenshteinAtThresholds("postal_code", [1, 2]).configure(
            term_frequency_adjustments=True
        ),
        "locality": cl.JaroWinklerAtThresholds("locality").configure(term_frequency_adjustments=True),
        "email": cl.EmailComparison("email"),
        "phone": cl.DamerauLevenshteinAtThresholds("phone", [1]).configure(term_frequency_adjustments=True),
    }
    if "postal_code" in stated:
        del made["locality"]
    return [comparison for name, comparison in made.items() if name in stated]


def settings(stated: Collection[str]) -> SettingsCreator:
    """Splink's settings for a table with these traits."""
    blocks: list[Any] = [block_on(*rule) for rule in _BLOCKS]
    return SettingsCreator(
        link_type="dedupe_only",
        comparisons=comparisons(stated),
        blocking_rules_to_generate_predictions=[*blocks, _SWAPPED],
        additional_columns_to_retain=["customer"],
        retain_matching_columns=False,
        retain_intermediate_calculation_columns=False,
    )


def train(linker: Linker, stated: Collection[str], step: Callable[[], None] = lambda: None) -> int:
    """Learn what agreement is worth; calls `step` after each of `TRAINING_SESSIONS` + 2 steps.

    Gives how many sessions there were people enough for. With fewer than all, what none of them trained
    keeps the weights that Splink starts from.
    """
    certain = [block_on(*rule) for rule in _having(_CERTAIN, stated)]
    if certain:
        linker.training.estimate_probability_two_random_records_match(certain, recall=CERTAIN_RECALL)
    step()
    linker.training.estimate_u_using_random_sampling(max_pairs=U_PAIRS_MAX, seed=SEED)
    step()
    trained = 0
    for rule in _having(_TRAINING, stated):
        if trained == TRAINING_SESSIONS:
            break
        if not set(stated) - set(rule):
            # Nothing would be left to learn about.
            continue
        try:
            linker.training.estimate_parameters_using_expectation_maximisation(
                block_on(*rule), estimate_without_term_frequencies=True
            )
        except EMTrainingException:
            # No two people agree in it.
            continue
        trained += 1
        step()
    return trained


def _having(rules: Sequence[tuple[str, ...]], stated: Collection[str]) -> list[tuple[str, ...]]:
    return [rule for rule in rules if all(name in stated for name in rule)]
