"""Distances to the nearest training data, which reveal copies of training data."""

import torch
from torch import Tensor

from pyrogen.data.checks import check_sets
from pyrogen.protocols import Score


def nearest_distance(x: Tensor, others: Tensor, rows: int = 1000) -> Tensor:
    """The Euclidean distance from each row of ``x`` to its nearest neighbour in ``others``, ``(n,)``."""
    flat, among = x.flatten(1).double(), others.flatten(1).double()  # small distances are inaccurate in float32
    return torch.cat([torch.cdist(part, among).min(1).values for part in flat.split(rows)]).to(x.dtype)


def nearest_neighbour(samples: Tensor, train: Tensor, test: Tensor) -> Score:
    """The mean distance from samples to their nearest training data.

    ``ratio`` divides it by the same distance of test data; a model that generalises has a ratio near 1. Far below 1 the
    model copies training data, far above 1 its samples are far from the data.

    Args:
        samples, train, test: ``(·, *event)`` each.

    Raises:
        DataError: for a set without rows, different shapes, or values that are not finite.
    """
    check_sets("nearest_neighbour", 1, samples=samples, train=train, test=test)
    distance = nearest_distance(samples, train)
    ratio = float(distance.mean() / nearest_distance(test, train).mean().clamp_min(1e-12))
    stderr = float(distance.std() / len(distance) ** 0.5) if len(distance) > 1 else 0.0
    return Score(float(distance.mean()), stderr, "statistic", "distance", {"ratio": ratio, "n": len(distance)})
