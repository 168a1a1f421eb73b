"""Samples of a model as pictures, or as rows of a table."""

from dataclasses import dataclass
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


@dataclass(frozen=True)
class Pictures:
    """What a page shows of one model, or of real data; each ``(n, *event)``, images in [0, 1].

    Args:
        drawn: samples, as they are measured.
        means: E[x | z] of the same latent draws, for a model that has them.
        nearest: the training image nearest to each sample.
    """

    drawn: Tensor
    means: Tensor | None = None
    nearest: Tensor | None = None


def picture_size(data: Dataset) -> int:
    """The number of samples that a picture of this data shows."""
    return IMAGES if data.is_image else ROWS


def real_pictures(data: Dataset, n: int) -> Tensor:
    """The first ``n`` test data in the user's units, on the CPU, to be shown beside ``n`` samples."""
    return data.space.to_user(data.test.tensors()[0][:n]).cpu()


def draws(model: Any, data: Dataset, n: int, seed: int, y: Tensor | None = None) -> Tensor:
    """``n`` samples as images in [0, 1], or as rows of a table in the user's units.

    They are drawn as measures draw them: x ~ p(x | z) with its observation noise. A model that cannot sample shows its
    reconstructions of test data.

    Args:
        model: a sampler or an autoencoder.
        data: the data set it was trained for; its test split gives side information where y is none.
        n: how many.
        seed: of the draws.
        y: side information with one row or ``n``.
    """
    if isinstance(model, Sampler):
        return data.space.to_user(_call(model, "sample", data, n, seed, y)).cpu()
    with scoped_seed(derive(seed, "samples")), torch.no_grad(), eval_mode(model):
        return in_units(model.reconstruct(data.test.tensors()[0][:n]), data)


def means(model: Any, data: Dataset, n: int, seed: int, y: Tensor | None = None) -> Tensor | None:
    """E[x | z] for the latent draws of ``draws``, which has the same arguments; ``None`` if the model has no means."""
    if not callable(getattr(model, "sample_mean", None)):
        return None
    return in_units(_call(model, "sample_mean", data, n, seed, y), data)


def _call(model: Any, method: str, data: Dataset, n: int, seed: int, y: Tensor | None) -> Tensor:
    with scoped_seed(derive(seed, "samples")), torch.no_grad(), eval_mode(model):
        given = data.side_information(n, seed) if y is None else y
        drawn: Tensor = drop_extra_args(getattr(model, method))(n, given)
        return drawn


def in_units(x: Tensor, data: Dataset) -> Tensor:
    """Values between grey levels as they are, all others as ``to_user`` returns them."""
    between = data.is_image and data.space.support in ("unit", "binary")
    return x.cpu().clamp(0, 1) if between else data.space.to_user(x).cpu()
