"""What may be compared with what: the order of the models, and the best value of each score.

A likelihood takes part only if it is exact or a bound on the safe side: a bound that a model is at least
as good as. Estimates of likelihoods are never ranked, against anything.
"""

from collections.abc import Mapping
from math import inf, isfinite, sqrt
from typing import Any

Scores = Mapping[str, Mapping[str, Any]]

LIKELIHOODS = ("log_likelihood", "elbo", "iwae", "ais", "kde")
SAFE_KIND = {"bits_per_dim": "upper_bound", **dict.fromkeys(LIKELIHOODS, "lower_bound")}
HIGHER = frozenset({*LIKELIHOODS, "precision", "recall", "density", "coverage", "modes", "high_quality"})
UNRANKED = frozenset({"nearest_neighbour"})  # too small is copying, too large is strange: neither end is best


def shortfall(name: str, score: Mapping[str, Any] | None) -> float:
    """How far a score is from the best imaginable, on a scale where lower is better; ``inf`` if not comparable."""
    if score is None or name in UNRANKED or not is_number(score["value"]):
        return inf
    if name in SAFE_KIND and score["kind"] not in ("exact", SAFE_KIND[name]):
        return inf
    value = score["value"]
    if name == "c2st":
        low, high = score.get("null", (0.5, 0.5))
        return max(low - value, value - high, 0.0)
    return -value if name in HIGHER else value


def best(models: Mapping[str, Scores], name: str) -> set[str]:
    """The models with the best score ``name``, and those within two standard errors of it.

    Nobody is best where fewer than two can be compared.
    """
    ranked = {model: shortfall(name, scores.get(name)) for model, scores in models.items()}
    ranked = {model: value for model, value in ranked.items() if isfinite(value)}
    if len(ranked) < 2:
        return set()
    winner = min(ranked, key=lambda model: ranked[model])

    def doubt(model: str) -> float:
        errors = [models[one][name].get("stderr") or 0.0 for one in {model, winner}]
        return 2 * sqrt(sum(error**2 for error in errors if isfinite(error)))

    return {model for model, value in ranked.items() if value - ranked[winner] <= doubt(model)}


def groups(models: Mapping[str, Mapping[str, Any]]) -> dict[str, list[str]]:
    """The models in three groups, best first: ``known``, ``unknown`` likelihood, and ``failed``.

    ``known`` holds exact values and bounds, by likelihood; ``unknown`` holds models of which there is at
    most an estimate, by the distance of their samples from the data.
    """
    found: dict[str, list[str]] = {"known": [], "unknown": [], "failed": []}
    for name, model in models.items():
        kind = model["scores"].get("log_likelihood", {}).get("kind")
        known = kind in ("exact", "lower_bound", "upper_bound")
        found["failed" if model.get("error") else "known" if known else "unknown"].append(name)

    def likelihood(name: str) -> float:
        value = models[name]["scores"]["log_likelihood"]["value"]
        return -value if is_number(value) else inf

    found["known"].sort(key=likelihood)
    found["unknown"].sort(key=lambda name: [shortfall(s, models[name]["scores"].get(s)) for s in ("mmd2", "c2st")])
    return found


def is_number(value: Any) -> bool:
    """Whether a value of a score was measured and came out finite."""
    return value is not None and isfinite(value)
