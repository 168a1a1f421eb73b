"""What the scorecard shows of its models: their one order, and their scores by comparability and feature space."""

from collections.abc import Iterable, Mapping
from typing import Any

from pyrogen.report.formatting import split_space
from pyrogen.report.ranking import best, group_models

Models = Mapping[str, Mapping[str, Any]]

MAIN = ("log_likelihood", "bits_per_dim", "mmd2", "c2st")
"""The measures with a column of their own."""
SECONDARY = ("elbo", "iwae", "ais", "smoothed_log_likelihood", "kde")
"""Further likelihoods, shown below the main one."""
HEADLINE = ("fid", "precision", "recall", "coverage", "modes", "high_quality", "reconstruction")
"""The other measures that stand in the scorecard where there are too many for all."""
MOST = 5
"""The most other measures of a feature space that are all shown in the scorecard."""


def in_order(models: Models) -> list[str]:
    """The names of the models in the order of the scorecard."""
    return [name for group in group_models(models).values() for name in group]


def sort_like(order: Iterable[str], mapping: Mapping[str, Any]) -> dict[str, Any]:
    """A mapping in the given order of its keys; keys that are not in it follow."""
    return {name: mapping[name] for name in dict.fromkeys([*order, *mapping]) if name in mapping}


def winners(models: Models, comparisons: Mapping[str, Any]) -> dict[str, set[str]]:
    """The best models by score, and those that do not differ from it."""
    scores = {name: model["scores"] for name, model in models.items()}
    return {name: best(scores, name, comparisons.get(name)) for name in score_names(models.values())}


def score_names(models: Iterable[Mapping[str, Any]]) -> list[str]:
    """The names of all scores, in order of first appearance."""
    return list(dict.fromkeys(name for model in models for name in model["scores"]))


def other_measures(scores: Mapping[str, Any]) -> list[tuple[str, list[str], int]]:
    """The measures without a column, by feature space: its name, the names shown, and how many more there are.

    The space is the detail ``space`` of a score, or what its name has after ``@``; empty for scores that have neither.
    """
    spaces: dict[str, list[str]] = {}
    for name in scores:
        if name not in (*MAIN, *SECONDARY, "nearest_neighbour"):
            spaces.setdefault(scores[name].get("space", split_space(name)[1]), []).append(name)
    shown = []
    for space, names in spaces.items():
        headline = [name for name in names if split_space(name)[0] in HEADLINE]
        kept = names if len(names) <= MOST else sorted(headline, key=lambda n: HEADLINE.index(split_space(n)[0]))
        kept = kept[:MOST] or names[:MOST]
        shown.append((space, kept, len(names) - len(kept)))
    return shown
