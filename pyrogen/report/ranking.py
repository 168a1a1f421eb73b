"""The ranking of models, and the best value of each score.

A likelihood is ranked only if it is one of x, and exact or a conservative bound, one that understates the model.
Estimates of likelihoods are never ranked, nor are likelihoods given y.
"""

from collections.abc import Mapping
from math import inf, isfinite, sqrt
from typing import Any

Scores = Mapping[str, Mapping[str, Any]]

LIKELIHOODS = ("log_likelihood", "elbo", "iwae", "ais", "kde")
COMPARABLE_BOUND = {"bits_per_dim": "upper_bound", **dict.fromkeys(LIKELIHOODS, "lower_bound")}
HIGHER_IS_BETTER = frozenset({*LIKELIHOODS, "precision", "recall", "density", "coverage", "modes", "high_quality"})
UNRANKED = frozenset({"nearest_neighbour"})  # small values indicate copying, large ones unrealistic samples


def ranking_value(name: str, score: Mapping[str, Any] | None) -> float:
    """Return a score as a number for which lower is better; ``inf`` if it is not comparable."""
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


def best(models: Mapping[str, Scores], name: str) -> set[str]:
    """Return the models with the best score ``name``, and those within two standard errors of it.

    The set is empty if fewer than two models are comparable.
    """
    ranked = {model: ranking_value(name, scores.get(name)) for model, scores in models.items()}
    ranked = {model: value for model, value in ranked.items() if isfinite(value)}
    if len(ranked) < 2:
        return set()
    winner = min(ranked, key=lambda model: ranked[model])

    def tolerance(model: str) -> float:
        errors = [models[one][name].get("stderr") or 0.0 for one in {model, winner}]
        return 2 * sqrt(sum(error**2 for error in errors if isfinite(error)))

    return {model for model, value in ranked.items() if value - ranked[winner] <= tolerance(model)}


def group_models(models: Mapping[str, Mapping[str, Any]]) -> dict[str, list[str]]:
    """Group the models by ``known`` likelihood, ``unknown`` likelihood, and ``failed``, best first.

    Models with an exact value or a bound are ordered by likelihood, those with at most an estimate by the distance of
    their samples from the data.
    """
    groups: dict[str, list[str]] = {"known": [], "unknown": [], "failed": []}
    for name, model in models.items():
        score = model["scores"].get("log_likelihood", {})
        known = score.get("kind") in ("exact", "lower_bound", "upper_bound") and not is_conditional(score)
        groups["failed" if model.get("error") else "known" if known else "unknown"].append(name)

    def likelihood(name: str) -> float:
        value = models[name]["scores"]["log_likelihood"]["value"]
        return -value if is_number(value) else inf

    groups["known"].sort(key=likelihood)
    groups["unknown"].sort(key=lambda name: [ranking_value(s, models[name]["scores"].get(s)) for s in ("mmd2", "c2st")])
    return groups


def is_conditional(score: Mapping[str, Any]) -> bool:
    """Whether a likelihood is one of x given y, or of a part of x: not comparable with log p(x)."""
    return "of" in score


def is_number(value: Any) -> bool:
    """Whether the value of a score exists and is finite."""
    return value is not None and isfinite(value)
