"""Logged numbers as curves: which of them share an axis, and what part of it is worth seeing."""

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any

import numpy as np

Rows = Sequence[Mapping[str, Any]]
Curve = tuple[np.ndarray, np.ndarray]

NOT_CURVES = frozenset({"t", "seconds", "examples_per_second"})
LIKELIHOODS = frozenset({"elbo", "iwae", "log_likelihood", "log_prob"})
PLAYERS = ("critic", "discriminator", "generator")
POINTS = 120  # a longer curve is summarised in at most so many stretches
STRETCH = 4  # and each of them holds at least so many points


def base_name(name: str) -> str:
    """The quantity that a name stands for, be it measured in training or in validation."""
    return name.removeprefix("valid_")


def group_curves(rows: Rows, loss_unit: str | None = None) -> dict[str, dict[str, Curve]]:
    """``{axis label: {name: (t, values)}}``: what may share an axis, likelihoods first, finite numbers only.

    A ``loss`` that is nothing but ``-elbo`` is left out: it would be the same curve upside down.

    Args:
        rows: ``{"t": step, NAME: number, …}`` in the order of time.
        loss_unit: the unit of ``loss``; the losses of a game have none, whatever is said here.
    """
    series = {}
    for name in dict.fromkeys(key for row in rows for key in row):
        pairs = [(row["t"], row[name]) for row in rows if _is_finite(row.get(name))]
        if pairs and name not in NOT_CURVES:
            t, values = np.array(pairs, dtype=float).T
            series[name] = (t, values)
    game = any(player in name for name in series for player in PLAYERS)
    groups: dict[str, dict[str, Curve]] = {}
    for name in sorted(series, key=lambda name: (base_name(name) not in LIKELIHOODS, "loss" not in name)):
        base = base_name(name)
        if base in LIKELIHOODS:
            label = "nats per datum"
        elif base == "loss" and _mirrored(series[name], series.get(name.replace("loss", "elbo"))):
            continue
        elif base.endswith("loss"):
            label = f"loss ({loss_unit})" if base == "loss" and loss_unit and not game else "loss"
        else:
            label = base.replace("_", " ")
        groups.setdefault(label, {})[name] = series[name]
    return groups


def summary(t: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The curve in stretches, if it is a long one: mean step, 5 % quantile, median and 95 % quantile of each."""
    if len(t) <= POINTS:
        return t, values, values, values
    parts = min(POINTS, len(t) // STRETCH)
    steps = np.array([part.mean() for part in np.array_split(t, parts)])
    low, middle, high = np.array([np.quantile(part, (0.05, 0.5, 0.95)) for part in np.array_split(values, parts)]).T
    return steps, low, middle, high


def robust_limits(curves: Sequence[Curve]) -> tuple[float, float]:
    """A window that the first steps and single spikes do not stretch, and that holds where each curve ends."""
    settled = [values[t >= t[0] + 0.05 * (t[-1] - t[0])] for t, values in curves]
    low, high = np.quantile(np.concatenate(settled), (0.02, 0.98))
    ends = [values[-1] for _, values in curves]
    low, high = min(low, *ends), max(high, *ends)
    margin = 0.08 * (high - low) or 0.05 * abs(high) or 1.0
    return float(low - margin), float(high + margin)


def _mirrored(loss: Curve, elbo: Curve | None) -> bool:
    return elbo is not None and np.array_equal(loss[0], elbo[0]) and np.allclose(loss[1], -elbo[1], rtol=1e-4)


def _is_finite(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)
