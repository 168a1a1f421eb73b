"""Whether data are held out: how many of their rows a model was trained on."""

from math import sqrt
from typing import Any

import numpy as np

from pyrogen.data.dataset import Dataset, Split
from pyrogen.errors import DataError
from pyrogen.training.seen import noted_rows, seen_keys


def count_seen(model: Any, split: Split) -> int:
    """The number of rows of a split that ``fit`` has trained the model on; 0 for a model that it did not train."""
    if any(isinstance(rows, Split) and rows.x is split.x for rows in noted_rows(model)):
        return len(split)
    keys = seen_keys(model)
    return 0 if keys is None else int(np.isin(split.row_keys, keys).sum())


def check_held_out(model: Any, data: Dataset) -> None:
    """Raise if a model was trained on test rows.

    Rows of few distinct values are equal by chance. If ``c`` test rows are also training rows of the data set itself,
    up to ``r c`` are expected among ``r`` times as many distinct training rows. More than this by three standard
    deviations, ``3 sqrt(1 + (1 + r) r c)``, and by one test row in a hundred, are refused.

    Raises:
        DataError: with the number of test rows that the model has seen.
    """
    noted = noted_rows(model)
    if all(isinstance(rows, Split) and rows.x is data.train.x for rows in noted):
        return
    seen, n = count_seen(model, data.test), len(data.test)
    if seen <= max(3, n / 100):
        return
    keys, own = seen_keys(model), data.train.distinct_keys
    r = max(1.0, (0 if keys is None else len(keys)) / len(own))
    c = int(np.isin(data.test.row_keys, own).sum())
    if seen - r * c > max(3 * sqrt(1 + (1 + r) * r * c), n / 100):
        raise DataError(
            f"the model was trained on {seen} of the {n} test rows of {data.name!r}: train it on the training rows of "
            "this split, or evaluate it on the split of the seed that it was trained with"
        )
