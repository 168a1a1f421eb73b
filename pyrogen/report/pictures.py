"""Samples of a model as pictures, or as rows of a table."""

from typing import Any

import torch
from torch import Tensor

from pyrogen.data.dataset import Dataset
from pyrogen.nn.eval_mode import eval_mode
from pyrogen.protocols import Sampler
from pyrogen.pyro_tools.programs import drop_extra_args
from pyrogen.random import derive, scoped_seed

IMAGES, ROWS = 64, 2000
"""How many images, or rows of a table, are drawn for a picture."""


def picture_size(data: Dataset) -> int:
    """The number of samples that a picture of this data shows."""
    return IMAGES if data.is_image else ROWS


def real_pictures(data: Dataset, n: int) -> Tensor:
    """The first ``n`` test data in the user's units, on the CPU, to be shown beside ``n`` samples."""
    return data.space.to_user(data.test.tensors()[0][:n]).cpu()


def pictures(model: Any, data: Dataset, n: int, seed: int, y: Tensor | None = None) -> Tensor:
    """``n`` samples as images in [0, 1], or as rows of a table in the user's units.

    Images are means of p(x | z) where the model has them, without observation noise; rows are samples. A model that
    cannot sample shows its reconstructions of test data.

    Args:
        model: a sampler or an autoencoder.
        data: the data set it was trained for; its test split gives side information where y is none.
        n: how many.
        seed: of the draws.
        y: side information with one row or ``n``.
    """
    with scoped_seed(derive(seed, "samples")), torch.no_grad(), eval_mode(model):
        if y is None:
            y = data.side_information(n, seed)
        mean = getattr(model, "sample_mean", None) if data.is_image else None
        if mean is None and isinstance(model, Sampler):
            return data.space.to_user(drop_extra_args(model.sample)(n, y)).cpu()
        if mean is None:
            x: Tensor = model.reconstruct(data.test.tensors()[0][:n]).cpu()
        else:
            x = drop_extra_args(mean)(n, y).cpu()
        return x.clamp(0, 1) if data.is_image and data.space.support in ("unit", "binary") else data.space.to_user(x)
