"""The ranking of models, and the best value of each score.

A likelihood is ranked only if it is one of x, and exact or a conservative bound, one that understates the model.
Estimates of likelihoods are never ranked, nor are likelihoods given y.
"""

from collections.abc import Mapping, Sequence
from math import inf, isfinite, sqrt
from typing import Any

Scores = Mapping[str, Mapping[str, Any]]

LIKELIHOODS = ("log_likelihood", "smoothed_log_likelihood", "elbo", "iwae", "ais", "kde")
COMPARABLE_BOUND = {"bits_per_dim": "upper_bound", **dict.fromkeys(LIKELIHOODS, "lower_bound")}
HIGHER_IS_BETTER = frozenset(
    {
        *LIKELIHOODS,
        "median_log_likelihood",
        "precision",
        "recall",
        "density",
        "coverage",
        "inception_score",
        "modes",
        "high_quality",
    }
)
SIGNIFICANT = 0.05
"""The largest adjusted p-value of a difference between two models that is taken for real."""
UNRANKED = frozenset({"nearest_neighbour", "swd", "ndb"})
"""Scores that do not order models: of copies the distance is small, and the others have no sampling error."""


def ranking_value(name: str, score: Mapping[str, Any] | None) -> float:
    """Return a score as a number for which lower is better; ``inf`` if it is not comparable."""
    name = name.partition("@")[0]  # of the same score in another feature space
    if score is None or name in UNRANKED or not is_number(score["value"]):
        return inf
    if name in COMPARABLE_BOUND and is_conditional(score):
        return inf
    if name in COMPARABLE_BOUND and score["kind"] not in ("exact", COMPARABLE_BOUND[name]):
        return inf
    value = score["value"]
    if name == "c2st":
        low, high = score.get("null", (0.5, 0.5))
        return max(low - value, value - high, 0.0)
    return -value if name in HIGHER_IS_BETTER else value


def best(models: Mapping[str, Scores], name: str, comparisons: Sequence[Mapping[str, Any]] | None = None) -> set[str]:
    """Return the model with the best score ``name``, and those whose score is not significantly different.

    The set is empty if fewer than two models are comparable.

    Args:
        models: the scores of each model.
        name: of the score.
        comparisons: paired differences of this score, as in ``scores.json``: a model is different from the best one if
            their ``adjusted_p_value`` is at most .05. Pairs that are not among them differ if their values are more
            than two standard errors apart, those of independent values.
    """
    ranked = {model: ranking_value(name, scores.get(name)) for model, scores in models.items()}
    ranked = {model: value for model, value in ranked.items() if isfinite(value)}
    if len(ranked) < 2:
        return set()
    winner = min(ranked, key=lambda model: ranked[model])
    paired = {frozenset(entry["models"]): entry["adjusted_p_value"] for entry in comparisons or ()}

    def is_different(model: str) -> bool:
        if ranked[model] == ranked[winner]:
            return False
        if (p_value := paired.get(frozenset({model, winner}))) is not None:
            return bool(p_value <= SIGNIFICANT)
        errors = [models[one][name].get("stderr") or 0.0 for one in (model, winner)]
        return ranked[model] - ranked[winner] > 2 * sqrt(sum(error**2 for error in errors if isfinite(error)))

    return {model for model in ranked if not is_different(model)}


def group_models(models: Mapping[str, Mapping[str, Any]]) -> dict[str, list[str]]:
    """Group the models by ``known`` log p(x), ``conditional`` likelihood, ``unknown`` likelihood and ``failed``.

    The concatenation of the groups, each best first, is the order of the models on the whole page. Models with an exact
    value or a bound are ordered by likelihood, others by the distance of their samples from the data.
    """
    groups: dict[str, list[str]] = {"known": [], "conditional": [], "unknown": [], "failed": []}
    for name, model in models.items():
        score = model["scores"].get("log_likelihood", {})
        known = score.get("kind") in ("exact", "lower_bound", "upper_bound")
        likelihood = "conditional" if is_conditional(score) else "known" if known else "unknown"
        groups["failed" if model.get("error") else likelihood].append(name)

    def by_likelihood(name: str) -> float:
        value = models[name]["scores"]["log_likelihood"]["value"]
        return -value if is_number(value) else inf

    def by_samples(name: str) -> list[float]:
        return [ranking_value(score, models[name]["scores"].get(score)) for score in ("mmd2", "c2st")]

    groups["known"].sort(key=by_likelihood)
    for group in ("conditional", "unknown"):
        groups[group].sort(key=by_samples)
    return groups


def is_conditional(score: Mapping[str, Any]) -> bool:
    """Whether a likelihood is one of x given y, or of a part of x: not comparable with log p(x)."""
    return "of" in score


def is_number(value: Any) -> bool:
    """Whether the value of a score exists and is finite."""
    return value is not None and isfinite(value)
