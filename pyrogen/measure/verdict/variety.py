"""Whether samples are narrow, repeating each other, and whether they miss a part of the data."""

import numpy as np
import torch
from torch import Tensor

from pyrogen.measure.verdict.cells import FEWEST, Cells
from pyrogen.measure.verdict.hypothesis import Test, deficit, excess, halves
from pyrogen.measure.verdict.neighbours import nearest
from pyrogen.random import derive

FACTOR = 2.0
"""Samples are narrow if they have more than this many times the near pairs of data, and miss what they show less than
1 / ``FACTOR`` as often as data do."""
NEAR = 0.05


def repeated(samples: Tensor, held: Tensor, cells: Cells, space: str, seed: int = 0) -> Test:
    """Test whether samples are nearer to each other than data are.

    Near is what is nearer than the nearest neighbours of 5% of held-out data. The value is the share of samples with
    another one so near, among as many samples and held-out data of the same cells; as such pairs are mutual, the
    p-value counts half of them.

    Args:
        samples, held: ``(·, *event)``.
        cells: of these.
        space: the name of the space.
        seed: of the choice of rows.
    """
    rows = cells.balanced(np.random.default_rng(derive(seed, "repeated", space)))
    a, b = samples[rows[0]], held[rows[1]]
    name = "nearer to each other than data are"
    if len(a) < FEWEST:
        return Test("narrow", name, space, 0.0, 1.0, detail={"n": len(a)})
    of_samples, of_data = (nearest(x, x, itself=True)[0][:, 0] for x in (a, b))
    few = max(int(NEAR * len(b)), 1)
    near = int((of_samples < of_data.kthvalue(few).values).sum())
    p_value = excess(near // 2, len(a), (few + 1) // 2, len(b), FACTOR)
    return Test("narrow", name, space, near / len(a), p_value, detail={"of_data": few / len(b), "n": len(a)})


def distinct(samples: Tensor, held: Tensor) -> Tensor:
    """Which samples to keep, ``bool (n,)``: no two nearer to each other than the nearest 1% of held-out data."""
    near = nearest(held, held, itself=True)[0][:, 0].quantile(0.01)
    close = torch.cdist(samples.flatten(1), samples.flatten(1)) < near
    keep = torch.ones(len(samples), dtype=torch.bool)
    for row in range(len(samples)):
        if keep[row]:
            keep[row + 1 :] &= ~close[row, row + 1 :]
    return keep


def missing(cells: Cells, space: str, seed: int = 0) -> Test:
    """Test whether some cells hold less than half of their share of samples.

    Each cell is tested, with Bonferroni's correction; and together those cells that hold less than a quarter on one
    half of the rows are tested on the other half. The value is the share of the data in cells that are found to lack
    samples.

    Args:
        cells: of samples, held-out and training data.
        space: the name of the space.
        seed: of the halves.
    """
    real = torch.cat([cells.held, cells.train])
    n, m = len(cells.samples), len(real)
    drawn, there = (_counts(of.numpy(), cells.k) for of in (cells.samples, real))
    each = np.array([deficit(int(a), n, int(b), m, FACTOR) for a, b in zip(drawn, there, strict=True)])
    rng = np.random.default_rng(derive(seed, "missing", space))
    rows = [(of.numpy(), halves(len(of), rng)) for of in (cells.samples, real)]
    together = []
    for fold in (True, False):
        a, b = (_counts(of[half == fold], cells.k) for of, half in rows)
        lacking = a / max(a.sum(), 1) < b / max(b.sum(), 1) / (2 * FACTOR)
        a, b = (_counts(of[half != fold], cells.k) for of, half in rows)
        together.append(deficit(int(a[lacking].sum()), int(a.sum()), int(b[lacking].sum()), int(b.sum()), FACTOR))
    p_value = min(1.0, 2 * cells.k * float(each.min()), 4 * min(together))
    lacking = (drawn / n < there / m / FACTOR) & (each < 0.01)
    name = "few samples in some classes" if cells.names else "few samples in some clusters"
    detail = {"lacking": [cells.names[i] for i in np.flatnonzero(lacking)]} if cells.names else {}
    share = float(there[lacking].sum() / m)
    return Test("misses part of the data", name, space, share, p_value, detail=detail)


def _counts(cell: np.ndarray, k: int) -> np.ndarray:
    return np.bincount(cell, minlength=k)
