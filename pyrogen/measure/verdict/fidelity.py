"""Whether samples lie off the data: in a region that holds more than ``FACTOR`` times the share of data.

A region is found on one half of the rows and tested on the other, so that the p-value is exact however it was found. A
missing part of the data raises the density of samples elsewhere, but hardly by this factor, and samples are compared
with as many held-out data of the same cells. Repeated samples count once.
"""

from typing import Any

import numpy as np
from torch import Tensor

from pyrogen.measure.verdict.cells import FEWEST, Cells
from pyrogen.measure.verdict.hypothesis import Test, excess, halves
from pyrogen.random import derive

FACTOR = 4.0
STRAY_FACTOR = 1.5
STRAY_RANKS = (0.0, 0.003, 0.01)
TREES = 100


def separable(samples: Tensor, held: Tensor, cells: Cells, space: str, seed: int = 0) -> Test:
    """Test the region that a classifier, extremely randomised trees, finds to hold samples rather than data.

    The value is the share of samples in it, beside that of data in the detail.

    Args:
        samples, held: ``(·, *event)``.
        cells: of these.
        space: the name of the space.
        seed: of rows and trees.
    """
    rng = np.random.default_rng(derive(seed, "separable", space))
    rows = cells.balanced(rng)
    a, b = samples.flatten(1).numpy()[rows[0]], held.flatten(1).numpy()[rows[1]]
    name = "a classifier tells them from data"
    if len(a) < FEWEST:
        return Test("off the data", name, space, 0.0, 1.0, detail={"n": len(a)})
    half, p_values, counts = (halves(len(a), rng), halves(len(b), rng)), [], np.zeros(2)
    for fold in (True, False):
        found, tested = ((a[half[0] == fold], b[half[1] == fold]), (a[half[0] != fold], b[half[1] != fold]))
        trees, threshold = _region(*found, seed)
        inside = [int((trees.predict_proba(x)[:, 1] >= threshold).sum()) for x in tested]
        p_values.append(excess(inside[0], len(tested[0]), inside[1], len(tested[1]), FACTOR))
        counts += inside
    share = counts / len(a)
    detail = {"of_data": float(share[1]), "n": len(a)}
    return Test("off the data", name, space, float(share[0]), min(1.0, 2 * min(p_values)), detail=detail)


def _region(a: np.ndarray, b: np.ndarray, seed: int) -> tuple[Any, float]:
    """A classifier of a against b, and the threshold of its probability above which the excess of a is clearest."""
    from sklearn.ensemble import ExtraTreesClassifier

    label = np.repeat([1, 0], [len(a), len(b)])
    trees = ExtraTreesClassifier(TREES, min_samples_leaf=2, bootstrap=True, oob_score=True, random_state=seed)
    trees.fit(np.concatenate([a, b]), label)
    unseen = trees.oob_decision_function_[:, 1]  # probabilities by the trees that did not see the row
    levels = np.unique(unseen)
    inside = [((unseen[label == one, None] >= levels).sum(0)) for one in (1, 0)]
    p_values = [excess(int(i), len(a), int(j), len(b), FACTOR) for i, j in zip(*inside, strict=True)]
    return trees, float(levels[len(levels) - 1 - int(np.argmin(p_values[::-1]))])


def stray(of_samples: Tensor, of_data: Tensor, name: str, space: str) -> Test:
    """Test for samples farther from the data than real data are: a few outliers, or all of them.

    Samples beyond all real data, beyond all but 3 in 1,000 and beyond all but 1% are counted. The value is the share
    beyond all real data.

    Args:
        of_samples, of_data: how far samples and real data lie from the training data, ``(n,)`` and ``(m,)``: the mean
            distance to the nearest, or its outlyingness.
        name: of the test.
        space: the name of the space.
    """
    real = of_data.sort(descending=True).values
    n, m = len(of_samples), len(real)
    ranks = sorted({int(share * m) for share in STRAY_RANKS})
    p_values = [excess(int((of_samples > real[rank]).sum()), n, rank, m, STRAY_FACTOR) for rank in ranks]
    share = float((of_samples > real[0]).float().mean())
    return Test("off the data", name, space, share, min(1.0, len(ranks) * min(p_values)))


def outlyingness(distance: Tensor, index: Tensor, scale: Tensor) -> Tensor:
    """The mean distance to the nearest training data, divided by the same mean of those.

    So it does not depend on the density of the data there, and finds outliers between dense regions. It does not find
    those whose nearest training data are outliers themselves, as noise in hundreds of dimensions; distance does.

    Args:
        distance, index: of the nearest training data, ``(n, k)``.
        scale: the mean distance of each training datum to its own nearest ones, ``(m,)``.
    """
    return distance.mean(1) / scale[index].mean(1).clamp_min(1e-12)
