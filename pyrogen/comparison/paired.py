"""Paired comparison of all models, with Holm's correction for their number."""

from collections.abc import Mapping, Sequence
from itertools import combinations
from math import isfinite
from statistics import mean
from typing import Any

from pyrogen.errors import ConfigError
from pyrogen.measure.intervals import data_variance, holm, paired_difference, seed_error
from pyrogen.protocols import Score
from pyrogen.report.ranking import ranking_value

Comparison = dict[str, Any]


def paired_differences(
    models: Mapping[str, Sequence[Mapping[str, Score]]], overlap: float = 0.0
) -> dict[str, list[Comparison]]:
    """Compare every two models by every score that ranks models.

    On one seed, the two are paired by the test data (``paired_difference``). On several, they are paired by seed and by
    the test data: the mean of the differences, with the error of ``seed_error`` and the t distribution.

    Args:
        models: the scores of each model, a mapping by name for each seed.
        overlap: the share of test rows that two seeds have in common.

    Returns:
        For each score, one entry for each pair: ``models``, the ``difference`` of the first less the second, its
        ``stderr``, ``p_value`` and ``adjusted_p_value``, by Holm's method over the pairs of that score. Pairs without a
        standard error are left out. Holm, "A simple sequentially rejective multiple test procedure", 1979.
    """
    names = dict.fromkeys(name for seeds in models.values() for scores in seeds for name in scores)
    found = {}
    for name in names:
        ranked = {m: [s[name] for s in seeds] for m, seeds in models.items() if seeds and _is_ranked(name, seeds)}
        entries = [_compare(pair, [ranked[model] for model in pair], overlap) for pair in combinations(ranked, 2)]
        kept = [entry for entry in entries if entry is not None]
        for entry, adjusted in zip(kept, holm([entry["p_value"] for entry in kept]), strict=True):
            entry["adjusted_p_value"] = adjusted
        if kept:
            found[name] = kept
    return found


def mean_of_differences(values: Sequence[float], shared: float = 0.0) -> tuple[float, float, float]:
    """The mean of differences over seeds, its standard error, and the p-value of none, by the t distribution.

    Args:
        values: one for each seed, at least two.
        shared: as for ``seed_error``.
    """
    from scipy.stats import t

    difference = mean(values)
    error, freedom = seed_error(values, shared)
    p_value = float(2 * t.sf(abs(difference) / error, freedom)) if error else float(difference == 0)
    return difference, error, p_value


def _is_ranked(name: str, seeds: Sequence[Mapping[str, Score]]) -> bool:
    return all(name in scores and isfinite(ranking_value(name, scores[name].as_dict())) for scores in seeds)


def _compare(pair: tuple[str, str], scores: Sequence[Sequence[Score]], overlap: float) -> Comparison | None:
    """Compare two models, given their scores of each seed; ``None`` if there is no standard error."""
    if len(scores[0]) != len(scores[1]):
        got = f"{len(scores[0])} and {len(scores[1])}"
        raise ConfigError(f"expected {pair[0]} and {pair[1]} on the same seeds, got {got}")
    differences = [paired_difference(a, b) for a, b in zip(*scores, strict=True)]
    if len(differences) == 1:
        difference, error = differences[0].value, differences[0].stderr
        p_value = differences[0].detail["p_value"]
    else:
        shared = overlap * mean(map(data_variance, differences))
        difference, error, p_value = mean_of_differences([one.value for one in differences], shared)
    if not error and difference:
        return None
    return {"models": list(pair), "difference": difference, "stderr": error, "p_value": p_value}
