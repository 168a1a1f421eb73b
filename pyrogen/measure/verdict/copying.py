"""Whether samples copy training data.

The decisive test asks whether samples that are unusually close to one datum, among training *and* held-out data, are
close to training data more often than chance allows. Close are samples whose first neighbour is nearer, beside the next
four, than that of 5% of real data. Without copying, training and held-out data are exchangeable given the samples,
whatever the model's distribution: so blurred, narrow or few distinct samples do not count as copies. The test is exact,
by permutation of who is a training datum; it scans the close samples in order of that ratio, and its statistic is the
largest excess of training neighbours in a first part of the order, in standard deviations. A model that leans on its
training data without copies, as overfitted ones do, has more training neighbours among all samples, but no close ones.
"""

from math import log, sqrt

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from pyrogen.measure.verdict.cells import Cells
from pyrogen.measure.verdict.hypothesis import Test
from pyrogen.random import derive, generator, random_rows

PERMUTATIONS = 5000
NEIGHBOURS = 5
"""How many neighbours a sample's nearest one is compared with."""
FEWEST = 10
"""The fewest samples in a part of the order, and in a cell of the C_T test."""
MOST_REAL = 2000
"""The most real data that samples are compared with: of held-out data their distances, of all how close they are."""
CLOSE = 0.05
"""Samples are close whose first neighbour is nearer, beside the next ones, than that of 5% of real data."""
DIMENSIONS = 64
"""Principal components of images in which transformed copies are sought."""


class Pool:
    """Training and held-out data in one space, in random order, so that ties between equal rows fall at random.

    Args:
        train, held: ``(·, *event)``.
        space: the name of the space.
        seed: of the order.
    """

    def __init__(self, train: Tensor, held: Tensor, space: str, seed: int = 0) -> None:
        order = torch.randperm(len(train) + len(held), generator=generator(seed, "pool"))
        self.rows = self.embed(torch.cat([train, held])[order])
        self.is_training = order < len(train)
        self.sizes = len(train), len(held)
        self.space, self.seed = space, seed
        self.of_held = self.search(random_rows(held, MOST_REAL, seed, "pool"))[2]
        real = random_rows(torch.cat([train, held]), MOST_REAL, seed, "real")
        self.closeness = _ratio(self.search(real, NEIGHBOURS + 1)[0][:, 1:]).quantile(CLOSE)  # each without itself

    def embed(self, x: Tensor) -> Tensor:
        """The vectors between which distances are measured."""
        return x.flatten(1).double()  # small distances are inaccurate in float32

    def distances(self, x: Tensor) -> Tensor:
        """The distance from each of a few data to each row of the pool."""
        return torch.cdist(self.embed(x), self.rows)

    def search(self, x: Tensor, k: int = NEIGHBOURS) -> tuple[Tensor, Tensor, Tensor]:
        """The k smallest distances, their row numbers, and the distance to the nearest training datum."""
        parts = []
        for part in x.split(max(1, 20_000_000 // len(self.rows))):
            distance = self.distances(part)
            values, index = distance.topk(k, largest=False)
            parts.append((values, index, distance.masked_fill_(~self.is_training, torch.inf).amin(1)))
        values, index, to_training = (torch.cat(found) for found in zip(*parts, strict=True))
        return values, index, to_training

    def tests(self, samples: Tensor, once: Tensor | None = None) -> tuple[Test, Test]:
        """Test whether samples have too many training data as neighbours, and whether they are too near to them.

        Args:
            samples: ``(n, *event)``.
            once: which samples the second test counts, ``bool (n,)``, so that a repeated one counts once; all by
                default. The first is exact for repeated samples, too.
        """
        distance, index, to_training = self.search(samples)
        return self._membership(distance, index[:, 0]), self._nearer(to_training if once is None else to_training[once])

    def _membership(self, distance: Tensor, nearest: Tensor) -> Test:
        """The test of the module's description."""
        ratio = _ratio(distance)
        close = max(FEWEST, int((ratio <= self.closeness).sum()))
        rows, row = nearest[ratio.argsort()[:close]].unique(return_inverse=True)
        n, m = self.sizes
        share, first = n / (n + m), min(FEWEST, len(row))
        parts = np.unique(np.geomspace(first, len(row), 12).round().astype(int))
        deviation = np.sqrt(parts * share * (1 - share))
        order = row.numpy()

        def statistic(member: np.ndarray) -> np.ndarray:
            counts = member[:, order].cumsum(1, dtype=np.int32)[:, parts - 1]
            return np.asarray(((counts - share * parts) / deviation).max(1))

        training = self.is_training[rows].numpy()
        observed = statistic(training[None])[0]
        rng = np.random.default_rng(derive(self.seed, "membership", self.space))
        beyond = 1
        for _ in range(10):  # a tenth of the permutations at a time, to bound the memory
            count = rng.hypergeometric(n, m, len(rows), size=PERMUTATIONS // 10)
            rank = rng.random((len(count), len(rows))).argsort(1).argsort(1)
            beyond += int((statistic(rank < count[:, None]) >= observed).sum())
        detail = {"share": float(training[order].mean()), "expected": share, "close": len(row)}
        p_value = beyond / (PERMUTATIONS + 1)
        return Test("copies", "close to training data only", self.space, float(observed), p_value, detail=detail)

    def _nearer(self, of_samples: Tensor) -> Test:
        """The share of samples that are nearer to a training datum than any held-out datum is.

        Its p-value is the probability that as many of the smallest distances, of samples and held-out data together,
        are all those of samples.
        """
        count, n, m = int((of_samples < self.of_held.min()).sum()), len(of_samples), len(self.of_held)
        log_p = sum(log((n - i) / (n + m - i)) for i in range(count))
        name = "nearer to training data than held-out data are"
        return Test("copies", name, self.space, count / n, float(np.exp(log_p)))


class TransformedPool(Pool):
    """Images, for samples that were shifted by up to a pixel, changed in contrast, or are noisy.

    Images are centred and divided by their norm, so that contrast and brightness do not matter, and projected on
    principal components, which hold little noise; the distance is the least over nine shifts of the sample.

    Args:
        train, held: ``(·, channel, height, width)``.
        space: the name of the space.
        seed: of the order.
    """

    def __init__(self, train: Tensor, held: Tensor, space: str, seed: int = 0) -> None:
        flat = _without_contrast(train)
        self.mean = flat.mean(0)
        both = torch.cat([flat, _without_contrast(held)]) - self.mean
        self.axes = torch.linalg.eigh(both.T @ both)[1][:, -DIMENSIONS:]
        super().__init__(train, held, space, seed)

    def embed(self, x: Tensor) -> Tensor:
        """Principal components of images without contrast."""
        return (_without_contrast(x) - self.mean) @ self.axes

    def distances(self, x: Tensor) -> Tensor:
        """The least distance over shifts."""
        return torch.stack([torch.cdist(self.embed(view), self.rows) for view in _shifts(x)]).amin(0)


def c_t(of_samples: Tensor, of_held: Tensor, cells: Cells, space: str, seed: int = 0) -> Test:
    """The C_T statistic: negative where samples are nearer to training data than held-out data are.

    In each cell, the Mann-Whitney U of distances to the nearest training datum of samples against held-out data, in
    standard deviations; the mean over cells, by their share of held-out data. The p-value is by permutation in each
    cell. Samples that are narrower or smoother than data have a negative value too, so it is shown but does not decide.
    Meehan, Chaudhuri and Dasgupta, "A non-parametric test to detect data-copying in generative models", AISTATS 2020.

    Args:
        of_samples, of_held: distances to the nearest training datum, ``(n,)`` and ``(m,)``.
        cells: of these samples and held-out data.
        space: the name of the space.
        seed: of the permutations.
    """
    from scipy.stats import rankdata

    rng = np.random.default_rng(derive(seed, "c_t", space))
    value, null, weight = 0.0, np.zeros(999), 0
    for cell in range(cells.k):
        a, b = of_samples[cells.samples == cell].numpy(), of_held[cells.held == cell].numpy()
        n, m = len(a), len(b)
        if min(n, m) < FEWEST:
            continue
        rank = rankdata(np.concatenate([a, b]))
        centre, deviation = n * (n + m + 1) / 2, sqrt(n * m * (n + m + 1) / 12)
        value += m * (rank[:n].sum() - centre) / deviation
        null += m * (rank[rng.random((999, n + m)).argsort(1)[:, :n]].sum(1) - centre) / deviation
        weight += m
    p_value = (1 + int((null <= value).sum())) / 1000 if weight else 1.0
    return Test("copies", "C_T", space, float(value) / max(weight, 1), p_value, decides=False)


def _ratio(distance: Tensor) -> Tensor:
    """How much nearer the first neighbour is than the next ones: their quotient, ``(n,)``."""
    return distance[:, 0] / distance[:, 1:].mean(1).clamp_min(1e-12)


def _without_contrast(x: Tensor) -> Tensor:
    flat = x.flatten(1) - x.flatten(1).mean(1, keepdim=True)
    return flat / flat.norm(dim=1, keepdim=True).clamp_min(1e-6)


def _shifts(x: Tensor) -> list[Tensor]:
    """The images shifted by -1, 0 and 1 pixels in both directions, with the value of the border moved in."""
    height, width = x.shape[-2:]
    padded = F.pad(x, (1, 1, 1, 1), mode="replicate")
    return [padded[..., i : i + height, j : j + width] for i in range(3) for j in range(3)]
