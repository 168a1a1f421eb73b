"""Logged numbers as curves: grouping by axis, summaries of long curves, and axis limits."""

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any

import numpy as np

LogRows = Sequence[Mapping[str, Any]]
Curve = tuple[np.ndarray, np.ndarray]

EXCLUDED = frozenset({"t", "seconds", "examples_per_second"})
LIKELIHOODS = frozenset({"elbo", "iwae", "log_likelihood", "log_prob"})
PLAYERS = ("critic", "discriminator", "generator")
MAX_POINTS = 120  # longer curves are summarised by at most this many segments
MIN_SEGMENT = 4  # of at least this many points each


def base_name(name: str) -> str:
    """Return the name of a logged quantity without its prefix ``valid_``."""
    return name.removeprefix("valid_")


def group_curves(rows: LogRows, loss_unit: str | None = None) -> dict[str, dict[str, Curve]]:
    """Group logged quantities by axis: ``{axis label: {name: (t, values)}}``, likelihoods first.

    Only finite numbers are included. A ``loss`` that equals ``-elbo`` is omitted.

    Args:
        rows: ``{"t": step, NAME: number, …}`` in order of time.
        loss_unit: the unit of ``loss``; ignored for adversarial losses, which have none.
    """
    curves = {}
    for name in dict.fromkeys(key for row in rows for key in row):
        pairs = [(row["t"], row[name]) for row in rows if _is_finite(row.get(name))]
        if pairs and name not in EXCLUDED:
            t, values = np.array(pairs, dtype=float).T
            curves[name] = (t, values)
    game = any(player in name for name in curves for player in PLAYERS)
    groups: dict[str, dict[str, Curve]] = {}
    for name in sorted(curves, key=lambda name: (base_name(name) not in LIKELIHOODS, "loss" not in name)):
        base = base_name(name)
        if base in LIKELIHOODS:
            label = "nats per datum"
        elif base == "loss" and _is_negative_of(curves[name], curves.get(name.replace("loss", "elbo"))):
            continue
        elif base.endswith("loss"):
            label = f"loss ({loss_unit})" if base == "loss" and loss_unit and not game else "loss"
        else:
            label = base.replace("_", " ")
        groups.setdefault(label, {})[name] = curves[name]
    return groups


def summarise_curve(t: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Summarise a long curve by segments: the mean step, 5% quantile, median and 95% quantile of each."""
    if len(t) <= MAX_POINTS:
        return t, values, values, values
    parts = min(MAX_POINTS, len(t) // MIN_SEGMENT)
    steps = np.array([part.mean() for part in np.array_split(t, parts)])
    low, middle, high = np.array([np.quantile(part, (0.05, 0.5, 0.95)) for part in np.array_split(values, parts)]).T
    return steps, low, middle, high


def robust_limits(curves: Sequence[Curve]) -> tuple[float, float]:
    """Return axis limits that ignore the first steps and single spikes, and include the end of each curve."""
    without_start = [values[t >= t[0] + 0.05 * (t[-1] - t[0])] for t, values in curves]
    low, high = np.quantile(np.concatenate(without_start), (0.02, 0.98))
    ends = [values[-1] for _, values in curves]
    low, high = min(low, *ends), max(high, *ends)
    margin = 0.08 * (high - low) or 0.05 * abs(high) or 1.0
    return float(low - margin), float(high + margin)


def _is_negative_of(loss: Curve, elbo: Curve | None) -> bool:
    return elbo is not None and np.array_equal(loss[0], elbo[0]) and np.allclose(loss[1], -elbo[1], rtol=1e-4)


def _is_finite(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)
