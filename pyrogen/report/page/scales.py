"""The small scales in the cells of the scorecard."""

from collections.abc import Mapping
from statistics import median
from typing import Any

from pyrogen.report.formatting import interval
from pyrogen.report.ranking import is_number

WIDTH = 132
"""The width of a scale in pixels."""


def likelihood_scales(models: Mapping[str, Any], known: list[str]) -> dict[str, dict[str, float]]:
    """Place each known likelihood on a common scale.

    A model far below the median, as one that failed, does not compress the others: it is marked as off the scale.
    """
    scores = {name: models[name]["scores"]["log_likelihood"] for name in known}
    scores = {name: score for name, score in scores.items() if is_number(score["value"])}
    if len(scores) < 2:
        return {}
    values = [score["value"] for score in scores.values()]
    bottom, top = robust_range(values)
    span = (top - bottom) or 1.0

    def position(value: float) -> float:
        return round(10 + (WIDTH - 36) * min(1.0, max(0.0, (value - bottom) / span)), 1)

    return {
        name: {
            "at": position(score["value"]),
            "low": position(limits(score)[0]),
            "high": position(limits(score)[1]),
            "off": score["value"] < bottom,
        }
        for name, score in scores.items()
    }


def robust_range(values: list[float], times: float = 20) -> tuple[float, float]:
    """The range of likelihoods on a scale: to the top, from at most so many times the median's distance below it."""
    top = max(values)
    return max(min(values), top - times * (top - median(values))), top


def c2st_scale(score: Mapping[str, Any]) -> dict[str, Any]:
    """Place a classifier's accuracy and its null interval on a scale from 0.4 (or less) to 1."""
    low, high = score.get("null", (0.5, 0.5))
    start = min(0.4, low, score["value"])

    def position(value: float) -> float:
        return round(6 + (WIDTH - 12) * (value - start) / (1 - start), 1)

    least, most = limits(score)
    return {
        "at": position(score["value"]),
        "low": position(max(start, least)),
        "high": position(min(1.0, most)),
        "null": (position(low), position(high)),
        "half": position(0.5),
        "reading": "above chance" if score["value"] > high else "below chance" if score["value"] < low else "chance",
    }


def limits(score: Mapping[str, Any], errors: float = 1.0) -> tuple[float, float]:
    """The 95% interval of a score, or its value plus and minus some standard errors."""
    margin = errors * (score.get("stderr") or 0.0)
    return interval(score) or (score["value"] - margin, score["value"] + margin)
