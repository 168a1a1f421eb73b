"""What the scorecard shows of its models: their one order, and their scores by comparability and feature space."""

from collections.abc import Iterable, Mapping
from typing import Any

from pyrogen.report.formatting import split_space
from pyrogen.report.ranking import LIKELIHOODS, best, group_models

Models = Mapping[str, Mapping[str, Any]]

MAIN = ("log_likelihood", "bits_per_dim", "mmd2", "c2st")
"""The measures with a column of their own."""
SECONDARY = ("elbo", "iwae", "ais", "kde")
"""Further likelihoods, shown below the main one."""
HEADLINE = ("fid", "precision", "recall", "coverage", "modes", "high_quality", "reconstruction")
"""The other measures that stand in the scorecard where there are too many for all."""
MOST = 5
"""The most other measures of a feature space that are all shown in the scorecard."""


def groups(models: Models) -> dict[str, list[str]]:
    """The models by ``known`` log p(x), ``conditional`` likelihood, ``unknown`` likelihood and ``failed``, best first.

    The concatenation of the groups is the order of the models on the whole page.
    """
    grouped = group_models(models)
    conditional = [name for name in grouped["known"] if _is_conditional(models[name]["scores"]["log_likelihood"])]
    known = [name for name in grouped["known"] if name not in conditional]
    return {"known": known, "conditional": conditional, "unknown": grouped["unknown"], "failed": grouped["failed"]}


def in_order(models: Models) -> list[str]:
    """The names of the models in the order of the scorecard."""
    return [name for group in groups(models).values() for name in group]


def sort_like(order: Iterable[str], mapping: Mapping[str, Any]) -> dict[str, Any]:
    """A mapping in the given order of its keys; keys that are not in it follow."""
    return {name: mapping[name] for name in dict.fromkeys([*order, *mapping]) if name in mapping}


def winners(models: Models) -> dict[str, set[str]]:
    """The best models by score, among comparable values: no conditional likelihood competes with log p(x)."""
    comparable = {
        name: {key: score for key, score in model["scores"].items() if not _is_conditional(score)}
        for name, model in models.items()
    }
    return {name: best(comparable, name) for name in score_names(models.values())}


def score_names(models: Iterable[Mapping[str, Any]]) -> list[str]:
    """The names of all scores, in order of first appearance."""
    return list(dict.fromkeys(name for model in models for name in model["scores"]))


def other_measures(scores: Mapping[str, Any]) -> list[tuple[str, list[str], int]]:
    """The measures without a column, by feature space: its name, the names shown, and how many more there are."""
    spaces: dict[str, list[str]] = {}
    for name in scores:
        if name not in (*MAIN, *SECONDARY, "nearest_neighbour"):
            spaces.setdefault(split_space(name)[1], []).append(name)
    shown = []
    for space, names in spaces.items():
        headline = [name for name in names if split_space(name)[0] in HEADLINE]
        kept = names if len(names) <= MOST else sorted(headline, key=lambda n: HEADLINE.index(split_space(n)[0]))
        kept = kept[:MOST] or names[:MOST]
        shown.append((space, kept, len(names) - len(kept)))
    return shown


def _is_conditional(score: Mapping[str, Any]) -> bool:
    """Whether a likelihood is not of x alone, and so not comparable with log p(x)."""
    return score.get("of", "log p(x)") != "log p(x)"


def is_conditional(name: str, score: Mapping[str, Any]) -> bool:
    """Whether a score is a likelihood of another quantity than x, such as log p(x | y)."""
    return name in (*LIKELIHOODS, "bits_per_dim") and _is_conditional(score)
