"""Recipes of autoregressive densities."""

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from pyrogen.data.dataset import Dataset
from pyrogen.explicit.autoregressive import MADE
from pyrogen.explicit.mixture_likelihood import likelihood_for
from pyrogen.explicit.pixelcnn import PixelCNN
from pyrogen.recipes.options import (
    BatchSize,
    Components,
    Count,
    Hidden,
    LabelCondition,
    LearningRate,
    Size,
    Steps,
)
from pyrogen.recipes.registry import register
from pyrogen.recipes.setup import TrainingSetup, in_unit_interval, label_condition, svi


@register("explicit", "exact", "masked autoregressive network (MADE)")
def made(
    data: Dataset,
    *,
    hidden: Hidden = (512, 512),
    components: Components = 10,
    condition: LabelCondition = "none",
    steps: Steps = 5000,
    batch_size: BatchSize = 256,
    lr: LearningRate = 2e-3,
) -> TrainingSetup:
    """Germain et al., ICML 2015."""
    likelihood = likelihood_for(data.space, components)
    model = MADE(data.shape, hidden, likelihood, condition=label_condition(data, condition), **_centring(data))
    return TrainingSetup(model, svi(model, lr, steps, clip_norm=10.0), data)


@register("explicit", "exact", "gated PixelCNN for images")
def pixelcnn(
    data: Dataset,
    *,
    width: Annotated[Size, Field(description="channels per layer")] = 32,
    layers: Annotated[Count, Field(description="gated layers; the first has a 7 × 7 kernel")] = 5,
    kernel: Annotated[Count, Field(description="kernel size of the other layers")] = 3,
    components: Components = 5,
    condition: LabelCondition = "none",
    steps: Steps = 3000,
    batch_size: BatchSize = 64,
    lr: LearningRate = 3e-3,
) -> TrainingSetup:
    """Van den Oord et al., NeurIPS 2016."""
    likelihood = likelihood_for(data.space, components)
    given = label_condition(data, condition)
    model = PixelCNN(data.shape, width, layers, likelihood, kernel, condition=given, **_centring(data))
    return TrainingSetup(model, svi(model, lr, steps, clip_norm=10.0), data)


def _centring(data: Dataset) -> dict[str, Tensor]:
    """Location and scale that map [0, 1] to [-1, 1]; nothing for other data, which are standardised."""
    half = torch.full(data.shape, 0.5)
    return {"mean": half, "scale": half} if in_unit_interval(data) else {}
