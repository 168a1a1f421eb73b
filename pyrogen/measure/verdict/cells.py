"""A partition of the data space into cells, each with its share of the data.

A cell is a cluster of training data by k-means, or a class; any other row belongs to the cell of its nearest training
datum. Training data are assigned likewise, each without itself, so that they count like held-out data.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

CELLS = 20
"""How many clusters, at most; fewer for few data, with at least ``PER_CELL`` in the mean."""
PER_CELL = 20
FEWEST = 20
"""The fewest rows of a balanced choice that are tested."""


@dataclass(frozen=True)
class Cells:
    """The cells of one partition, and who lies in which.

    Args:
        k: how many cells.
        samples, held, train: the cell of each row, ``long (·,)``.
        names: of the cells, if they are classes.
    """

    k: int
    samples: Tensor
    held: Tensor
    train: Tensor
    names: tuple[str, ...] = ()

    def of_samples(self, rows: Tensor) -> "Cells":
        """The same with some of the samples."""
        return Cells(self.k, self.samples[rows], self.held, self.train, self.names)

    def balanced(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Row numbers of samples and of held-out data at random, as many of each in every cell.

        Samples that miss a part of the data are so compared with the other parts alone.
        """
        chosen: tuple[list[np.ndarray], list[np.ndarray]] = [], []
        for cell in range(self.k):
            rows = [np.flatnonzero((of == cell).numpy()) for of in (self.samples, self.held)]
            least = min(map(len, rows))
            for one, of in zip(chosen, rows, strict=True):
                one.append(rng.permutation(of)[:least])
        return np.concatenate(chosen[0]), np.concatenate(chosen[1])


def clusters(train: Tensor, k: int, seed: int = 0) -> Tensor:
    """The cluster of each row by k-means, ``long (n,)``, k of them or one for each distinct row."""
    from sklearn.cluster import KMeans

    k = min(k, len(train.flatten(1).unique(dim=0)))
    return torch.as_tensor(KMeans(k, n_init=1, random_state=seed).fit(train.flatten(1).numpy()).labels_).long()


def count_clusters(held: int) -> int:
    """How many clusters for so many held-out data."""
    return max(2, min(CELLS, held // PER_CELL))
