"""The classifier two-sample test.

A classifier is trained to distinguish samples from data; its held-out accuracy is ½ if both have the same distribution.
Lopez-Paz and Oquab, "Revisiting classifier two-sample tests", ICLR 2017.
"""

import numpy as np
import torch
from torch import Tensor

from pyrogen.data.checks import check_sets
from pyrogen.protocols import Score
from pyrogen.random import random_rows


def c2st(samples: Tensor, real: Tensor, folds: int = 5, seed: int = 0) -> Score:
    """Cross-validated accuracy of extremely randomised trees between samples and data.

    ``null`` in the detail is the 95% interval of chance accuracy on as many data, ``½ ± 1.96 √(¼ / n)``.

    Args:
        samples, real: ``(n, *event)`` and ``(m, *event)``, at least one row for each fold; of the larger set as many
            rows as the smaller has are taken at random.
        folds: the number of folds of the cross-validation.
        seed: the seed of rows, folds and trees.

    Raises:
        DataError: for too few rows, different shapes, or values that are not finite.
    """
    from sklearn.ensemble import ExtraTreesClassifier
    from sklearn.model_selection import StratifiedKFold, cross_val_predict

    check_sets("c2st", folds, samples=samples, real=real)
    n = min(len(samples), len(real))
    taken = (random_rows(rows, n, seed, "c2st", name) for name, rows in (("samples", samples), ("real", real)))
    x = torch.cat([rows.flatten(1) for rows in taken]).cpu().numpy()
    label = np.repeat([0, 1], n)
    classifier = ExtraTreesClassifier(200, min_samples_leaf=2, random_state=seed)
    splits = StratifiedKFold(folds, shuffle=True, random_state=seed)
    accuracy = float((cross_val_predict(classifier, x, label, cv=splits) == label).mean())
    half = 1.96 * (0.25 / (2 * n)) ** 0.5
    stderr = (accuracy * (1 - accuracy) / (2 * n)) ** 0.5
    detail = {"null": [0.5 - half, 0.5 + half], "n": 2 * n}
    return Score(accuracy, stderr, "statistic", "accuracy", detail)
