"""Samples of a model as pictures."""

from typing import Any

import torch
from torch import Tensor

from pyrogen.data.dataset import Dataset
from pyrogen.nn.eval_mode import eval_mode
from pyrogen.protocols import Sampler
from pyrogen.pyro_tools.programs import drop_extra_args
from pyrogen.random import derive, scoped_seed


def pictures(model: Any, data: Dataset, n: int, seed: int, y: Tensor | None = None) -> Tensor:
    """``n`` samples as pictures in [0, 1], or as vectors: means of p(x | z) where the model has them.

    A model that cannot sample shows its reconstructions of test data.

    Args:
        model: a sampler or an autoencoder.
        data: the data set it was trained for; its test split gives side information where y is none.
        n: how many.
        seed: of the draws.
        y: side information with one row or ``n``.
    """
    with scoped_seed(derive(seed, "samples")), torch.no_grad(), eval_mode(model):
        if y is None and data.test.side_fn is not None:
            y = data.test.tensors(seed)[1][:n]
            n = len(y)
        mean = getattr(model, "sample_mean", None)
        if mean is None and isinstance(model, Sampler):
            return data.space.to_user(drop_extra_args(model.sample)(n, y)).cpu()
        if mean is None:
            x: Tensor = model.reconstruct(data.test.tensors()[0][:n]).cpu()
        else:
            x = drop_extra_args(mean)(n, y).cpu()
        return x.clamp(0, 1) if data.space.support in ("unit", "binary") else data.space.to_user(x)
