"""Distance to the nearest training datum: does a model copy what it was shown?"""

import torch
from torch import Tensor

from pyrogen.protocols import Score


def nearest_distance(x: Tensor, others: Tensor, rows: int = 1000) -> Tensor:
    """The Euclidean distance from each of ``x`` to the nearest of ``others``, ``(n,)``."""
    flat, among = x.flatten(1).double(), others.flatten(1).double()  # float32 loses distances that are small
    return torch.cat([torch.cdist(part, among).min(1).values for part in flat.split(rows)]).to(x.dtype)


def nearest_neighbour(samples: Tensor, train: Tensor, test: Tensor) -> Score:
    """The mean distance from samples to their nearest training datum.

    ``ratio`` sets it against the same distance of test data, which a model that generalises would match: far
    below 1 it copies training data, far above 1 its samples lie off the data.

    Args:
        samples, train, test: ``(·, *event)`` each.
    """
    distance = nearest_distance(samples, train)
    ratio = float(distance.mean() / nearest_distance(test, train).mean().clamp_min(1e-12))
    stderr = float(distance.std() / len(distance) ** 0.5)
    return Score(float(distance.mean()), stderr, "statistic", "distance", {"ratio": ratio, "n": len(distance)})
