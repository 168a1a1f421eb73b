"""Recipes of autoregressive densities."""

import torch
from torch import Tensor

from pyrogen.data.dataset import Dataset
from pyrogen.explicit.autoregressive import MADE
from pyrogen.explicit.mixture_likelihood import likelihood_for
from pyrogen.explicit.pixelcnn import PixelCNN
from pyrogen.recipes.setup import TrainingSetup, in_unit_box, label_condition, svi


def made(
    data: Dataset,
    *,
    hidden: tuple[int, ...] = (512, 512),
    components: int = 10,
    condition: str = "none",
    steps: int = 5000,
    batch_size: int = 256,
    lr: float = 2e-3,
) -> TrainingSetup:
    """Masked autoregressive network, MADE (exact log-likelihood)."""
    likelihood = likelihood_for(data.space, components)
    model = MADE(data.shape, hidden, likelihood, *_units(data), label_condition(data, condition))
    return TrainingSetup(model, svi(model, lr, steps, clip_norm=10.0), data)


def pixelcnn(
    data: Dataset,
    *,
    width: int = 32,
    layers: int = 5,
    kernel: int = 3,
    components: int = 5,
    condition: str = "none",
    steps: int = 3000,
    batch_size: int = 64,
    lr: float = 3e-3,
) -> TrainingSetup:
    """Gated PixelCNN for images (exact log-likelihood)."""
    likelihood = likelihood_for(data.space, components)
    mean, scale = _units(data)
    whole = (mean.mean().expand(data.shape), scale.square().mean().sqrt().expand(data.shape))
    model = PixelCNN(data.shape, width, layers, likelihood, kernel, *whole, label_condition(data, condition))
    return TrainingSetup(model, svi(model, lr, steps, clip_norm=10.0), data)


def _units(data: Dataset) -> tuple[Tensor, Tensor]:
    """What brings the data to about [-1, 1]: the middle of a box, or mean and deviation of each value."""
    if in_unit_box(data):
        half = torch.full(data.shape, 0.5)
        return half, half
    x, *_ = data.train.tensors()
    return x.mean(0), x.std(0, correction=0).clamp_min(1e-6)
