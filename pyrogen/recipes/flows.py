"""Recipes of normalising flows."""

from typing import Annotated, Literal

from pydantic import Field, PositiveInt
from torch import nn

from pyrogen.data.dataset import Dataset
from pyrogen.data.space import require_kind
from pyrogen.explicit.autoregressive import MADE
from pyrogen.explicit.flow import Flow, autoregressive, coupling, multiscale
from pyrogen.explicit.mixture_likelihood import MixtureLikelihood
from pyrogen.explicit.spline import Spline
from pyrogen.explicit.transforms import Affine, Logit, Standardise
from pyrogen.recipes.options import BaseComponents, BatchSize, LearningRate, Steps, Widths
from pyrogen.recipes.registry import register
from pyrogen.recipes.setup import TrainingSetup, require_images, svi


@register("explicit", "exact", "affine coupling flow: Real NVP, or NICE; multi-scale for images")
def realnvp(
    data: Dataset,
    *,
    layers: Annotated[PositiveInt, Field(description="coupling layers; for `conv`, of each mask at each scale")] = 6,
    hidden: Annotated[
        Widths,
        Field(description="widths of each layer's network; for `conv`, channels of its residual blocks, one per width"),
    ] = (128, 128),
    network: Annotated[Literal["mlp", "conv"], Field(description="`mlp`, or `conv` for images")] = "mlp",
    scale: Annotated[
        bool, Field(description="`true`: affine layers; `false`: additive, volume-preserving layers (NICE)")
    ] = True,
    steps: Steps = 5000,
    batch_size: BatchSize = 256,
    lr: LearningRate = 2e-3,
) -> TrainingSetup:
    """Dinh, Sohl-Dickstein and Bengio, ICLR 2017; NICE: Dinh, Krueger and Bengio, 2014."""
    if network == "conv":
        require_images(data, "network=conv")
        maps = multiscale(data.shape, layers, hidden[0], len(hidden), Affine(scale))
    else:
        maps = coupling(data.shape, layers, hidden, Affine(scale))
    return _setup(data, Flow(data.shape, [*real_line(data), *maps]), lr, steps)


@register("explicit", "exact", "masked autoregressive flow over a mixture or a normal base")
def maf(
    data: Dataset,
    *,
    layers: Annotated[PositiveInt, Field(description="autoregressive layers")] = 5,
    hidden: Annotated[Widths, Field(description="widths of each masked network")] = (128, 128),
    components: BaseComponents = 10,
    steps: Steps = 5000,
    batch_size: BatchSize = 256,
    lr: LearningRate = 2e-3,
) -> TrainingSetup:
    """Papamakarios, Pavlakou and Murray, NeurIPS 2017."""
    maps = autoregressive(data.shape, layers, hidden)
    return _setup(data, Flow(data.shape, [*real_line(data), *maps], _base(data, hidden, components)), lr, steps)


@register("explicit", "exact", "rational-quadratic spline flow, autoregressive or coupling")
def spline(
    data: Dataset,
    *,
    layers: Annotated[PositiveInt, Field(description="spline layers")] = 1,
    hidden: Annotated[Widths, Field(description="widths of each layer's network")] = (128, 128),
    bins: Annotated[int, Field(ge=2, description="bins of each spline")] = 64,
    form: Annotated[
        Literal["autoregressive", "coupling"], Field(description="autoregressive or coupling layers")
    ] = "autoregressive",
    components: BaseComponents = 32,
    steps: Steps = 6000,
    batch_size: BatchSize = 256,
    lr: LearningRate = 1e-2,
) -> TrainingSetup:
    """Durkan et al., NeurIPS 2019."""
    layered = {"autoregressive": autoregressive, "coupling": coupling}[form]
    maps = layered(data.shape, layers, hidden, Spline(bins))
    return _setup(data, Flow(data.shape, [*real_line(data), *maps], _base(data, hidden, components)), lr, steps)


def real_line(data: Dataset) -> list[nn.Module]:
    """The maps that bring data to the real line and to zero mean and unit deviation."""
    require_kind(data.space, Flow.kind, "a flow")
    x, *_ = data.train.tensors()
    first = [Logit()] if data.space.support == "unit" else []
    for step in first:
        x, _ = step(x)
    return [*first, Standardise(x.mean(0), x.std(0, correction=0).clamp_min(1e-6))]


def _base(data: Dataset, hidden: tuple[int, ...], components: int) -> MADE | None:
    """An autoregressive mixture over noise of the data's size; for one component the standard normal."""
    return None if components == 1 else MADE((data.dims,), hidden, MixtureLikelihood(components))


def _setup(data: Dataset, model: Flow, lr: float, steps: int) -> TrainingSetup:
    return TrainingSetup(model, svi(model, lr, steps, clip_norm=10.0), data)
