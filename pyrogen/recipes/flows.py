"""Recipes of normalising flows."""

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from pyrogen.data.dataset import Dataset
from pyrogen.data.space import require_probability
from pyrogen.explicit.autoregressive import MADE
from pyrogen.explicit.flow import Flow, autoregressive, coupling, multiscale
from pyrogen.explicit.mixture_likelihood import MixtureLikelihood
from pyrogen.explicit.spline import Spline
from pyrogen.explicit.transforms import Affine, Logit, Standardise
from pyrogen.nn.conditions import Label, feature_count
from pyrogen.recipes.options import (
    LARGEST,
    BaseComponents,
    BatchSize,
    Count,
    LabelCondition,
    LearningRate,
    Steps,
    Widths,
)
from pyrogen.recipes.registry import register
from pyrogen.recipes.setup import TrainingSetup, initial_value, label_condition, require_images, svi

CouplingLayers = Annotated[Count, Field(description="coupling layers; for `conv`, of each mask at each scale")]
CouplingHidden = Annotated[
    Widths,
    Field(description="widths of each layer's network; for `conv`, channels of its residual blocks, one per width"),
]
CouplingNetwork = Annotated[Literal["mlp", "conv"], Field(description="`mlp`, or `conv` for images")]
Scale = Annotated[bool, Field(description="`true`: affine layers; `false`: additive, volume-preserving layers (NICE)")]


@register("explicit", "exact", "affine coupling flow: Real NVP, or NICE; multi-scale for images")
def realnvp(
    data: Dataset,
    *,
    layers: CouplingLayers = 6,
    hidden: CouplingHidden = (128, 128),
    network: CouplingNetwork = "mlp",
    scale: Scale = True,
    condition: LabelCondition = "none",
    steps: Steps = 5000,
    batch_size: BatchSize = 256,
    lr: LearningRate = 2e-3,
) -> TrainingSetup:
    """Dinh, Sohl-Dickstein and Bengio, ICLR 2017; NICE: Dinh, Krueger and Bengio, 2014."""
    return _setup(
        data, coupling_flow(data, layers, hidden, network, scale, label_condition(data, condition)), lr, steps
    )


@register("explicit", "exact", "masked autoregressive flow over a mixture or a normal base")
def maf(
    data: Dataset,
    *,
    layers: Annotated[Count, Field(description="autoregressive layers")] = 5,
    hidden: Annotated[Widths, Field(description="widths of each masked network")] = (128, 128),
    components: BaseComponents = 10,
    condition: LabelCondition = "none",
    steps: Steps = 5000,
    batch_size: BatchSize = 256,
    lr: LearningRate = 2e-3,
) -> TrainingSetup:
    """Papamakarios, Pavlakou and Murray, NeurIPS 2017."""
    given = label_condition(data, condition)
    maps = [*to_real_line(data), *autoregressive(data.shape, layers, hidden, context=feature_count(given))]
    return _setup(data, Flow(data.shape, maps, _base(data, hidden, components, condition), given), lr, steps)


@register("explicit", "exact", "rational-quadratic spline flow, autoregressive or coupling")
def spline(
    data: Dataset,
    *,
    layers: Annotated[Count, Field(description="spline layers")] = 1,
    hidden: Annotated[Widths, Field(description="widths of each layer's network")] = (128, 128),
    bins: Annotated[int, Field(ge=2, le=LARGEST, description="bins of each spline")] = 64,
    form: Annotated[
        Literal["autoregressive", "coupling"], Field(description="autoregressive or coupling layers")
    ] = "autoregressive",
    components: BaseComponents = 32,
    condition: LabelCondition = "none",
    steps: Steps = 6000,
    batch_size: BatchSize = 256,
    lr: LearningRate = 1e-2,
) -> TrainingSetup:
    """Durkan et al., NeurIPS 2019."""
    layered = {"autoregressive": autoregressive, "coupling": coupling}[form]
    given = label_condition(data, condition)
    maps = [*to_real_line(data), *layered(data.shape, layers, hidden, Spline(bins), context=feature_count(given))]
    return _setup(data, Flow(data.shape, maps, _base(data, hidden, components, condition), given), lr, steps)


def coupling_flow(
    data: Dataset, layers: int, hidden: tuple[int, ...], network: str, scale: bool, condition: Label | None = None
) -> Flow:
    """The flow of ``realnvp``, over a standard normal."""
    if network == "conv":
        require_images(data, "network=conv")
        maps = multiscale(data.shape, layers, hidden[0], len(hidden), Affine(scale), feature_count(condition))
    else:
        maps = coupling(data.shape, layers, hidden, Affine(scale), feature_count(condition))
    return Flow(data.shape, [*to_real_line(data), *maps], condition=condition)


def to_real_line(data: Dataset) -> list[nn.Module]:
    """The maps from data in [0, 1] to the real line, standardised to zero mean and unit variance; none for others."""
    require_probability(data.space, Flow.probability, "a flow")
    if data.space.support != "unit":
        return []
    logit = Logit()

    def moments(x: Tensor) -> Tensor:
        z, _ = logit(x)
        return torch.stack((z.mean(0), z.std(0, correction=0).clamp_min(1e-6)))

    return [logit, Standardise(*initial_value(data, moments, (2, *data.shape)))]


def _base(data: Dataset, hidden: tuple[int, ...], components: int, condition: str) -> MADE | None:
    """An autoregressive mixture as base distribution; ``None``, a standard normal, for one component."""
    if components == 1:
        return None
    return MADE((data.dims,), hidden, MixtureLikelihood(components), condition=label_condition(data, condition))


def _setup(data: Dataset, model: Flow, lr: float, steps: int) -> TrainingSetup:
    return TrainingSetup(model, svi(model, lr, steps, clip_norm=10.0), data)
