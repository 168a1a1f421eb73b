"""Nearest neighbours among data, in Euclidean distance."""

import torch
from torch import Tensor

from pyrogen.data.checks import check_sets
from pyrogen.protocols import Score


def nearest(x: Tensor, among: Tensor, k: int = 1, *, itself: bool = False, rows: int = 1000) -> tuple[Tensor, Tensor]:
    """The k nearest neighbours of each row of ``x``, nearest first.

    Args:
        x, among: ``(n, *event)`` and ``(m, *event)``.
        k: how many.
        itself: whether ``x`` is ``among``, so that each row is left out of its own neighbours.
        rows: of ``x`` at a time, to bound the memory.

    Returns:
        Distances and row numbers, ``(n, k)`` each.
    """
    flat, others = x.flatten(1).double(), among.flatten(1).double()  # small distances are inaccurate in float32
    found = [torch.empty(0, k, device=x.device, dtype=x.dtype)], [torch.empty(0, k, device=x.device, dtype=torch.long)]
    for start in range(0, len(flat), rows):
        distance = torch.cdist(flat[start : start + rows], others)
        if itself:
            own = torch.arange(start, start + len(distance), device=x.device)
            distance[torch.arange(len(distance), device=x.device), own] = torch.inf
        values, index = distance.topk(k, largest=False)
        found[0].append(values.to(x.dtype))
        found[1].append(index)
    return torch.cat(found[0]), torch.cat(found[1])


def nearest_distance(x: Tensor, others: Tensor) -> Tensor:
    """The distance from each row of ``x`` to its nearest neighbour in ``others``, ``(n,)``."""
    return nearest(x, others)[0][:, 0]


def nearest_neighbour(samples: Tensor, train: Tensor, test: Tensor) -> Score:
    """The mean distance from samples to their nearest training data.

    ``ratio`` divides it by the same distance of test data. It says how far samples lie from the training data on
    average; a share of copies moves it too little to be seen (``judge_samples`` tests for copies).

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
