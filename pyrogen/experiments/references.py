"""What scores samples in the usual feature space of a data set, and training data in place of samples."""

from collections.abc import Mapping
from typing import Any

from pyrogen.comparison.scoring import aggregate_seeds, common_test_rows
from pyrogen.data.dataset import Dataset
from pyrogen.measure.features import Reference, default_spaces
from pyrogen.measure.samples import reference_scores


class References:
    """The features of a classifier for labelled images, else the values; what depends on the data is computed once.

    Args:
        data: the data set.
        seed: of all draws.
    """

    def __init__(self, data: Dataset, seed: int) -> None:
        self.data, self.seed = data, seed
        self.references = [Reference(data, space, seed) for space in default_spaces(data)[-1:]]


def anchors(scorers: Mapping[int, References]) -> dict[str, Any]:
    """The scores of training data used as samples."""
    overlap = common_test_rows([one.data for one in scorers.values()])
    each = [{"scores": reference_scores(one.data, seed, one.references)} for seed, one in scorers.items()]
    about = {"about": "training data used as samples: the best possible value"}
    return {"train": about | aggregate_seeds(each, overlap)}
