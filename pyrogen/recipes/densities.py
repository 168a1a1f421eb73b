"""Recipes of tractable densities."""

from typing import Annotated, Literal

import torch
from pydantic import Field
from pyro.infer import TraceEnum_ELBO
from torch import Tensor

from pyrogen.data.dataset import Dataset
from pyrogen.data.space import require_probability
from pyrogen.explicit.gaussian import Gaussian
from pyrogen.explicit.histogram import Histogram, best_grid
from pyrogen.explicit.kde import KernelDensity
from pyrogen.explicit.mixture import GaussianMixture
from pyrogen.explicit.mppca import PPCAMixture
from pyrogen.explicit.ppca import PPCA
from pyrogen.recipes.options import (
    BatchSize,
    Covariance,
    LabelCondition,
    LearningRate,
    LoggedBatch,
    OneStep,
    Positive,
    Size,
    Steps,
)
from pyrogen.recipes.registry import register
from pyrogen.recipes.setup import TrainingSetup, data_mean, initial_value, label_condition, svi, training_rows
from pyrogen.steps.closed_form import ClosedForm


@register("explicit", "exact", "Gaussian with diagonal or full covariance, by maximum likelihood")
def gaussian(
    data: Dataset,
    *,
    covariance: Covariance = "auto",
    steps: Steps = 2000,
    batch_size: BatchSize = 256,
    lr: LearningRate = 0.03,
) -> TrainingSetup:
    """SVI with an empty guide, initialised at the mean and standard deviation of the data."""
    require_probability(data.space, Gaussian.probability, "a Gaussian")
    form = covariance_form(covariance, data)
    model = Gaussian(data.shape, form, *initial_value(data, _moments, (2, data.dims)))
    return TrainingSetup(model, svi(model, lr, steps), data, chosen={"covariance": form})


@register("explicit", "exact", "probabilistic PCA, in closed form or by SVI")
def ppca(
    data: Dataset,
    *,
    latent: Annotated[
        Size | Literal["auto"],
        Field(
            description="number of components k, below the dimension of the data; `auto`: 16, or the most if "
            "that is less"
        ),
    ] = "auto",
    fit: Annotated[Literal["closed", "svi"], Field(description="maximum likelihood in closed form, or SVI")] = "closed",
    steps: Steps = 2000,
    batch_size: BatchSize = 256,
    lr: LearningRate = 0.01,
) -> TrainingSetup:
    """Tipping and Bishop, 1999."""
    require_probability(data.space, PPCA.probability, "PPCA")
    k = _rank(data, latent, 16)
    sigma = initial_value(data, lambda x: x.flatten(1).std(0).square().mean().sqrt(), ())
    model = PPCA(data.shape, k, data_mean(data), float(sigma))
    if fit == "closed":
        return TrainingSetup(model, ClosedForm(model, lambda: PPCA.from_data(training_rows(data), k)), data)
    return TrainingSetup(model, svi(model, lr, steps), data)


@register("explicit", "exact", "mixture of Gaussians with diagonal or full covariances, by enumeration")
def mixture(
    data: Dataset,
    *,
    components: Annotated[Size, Field(description="number of Gaussians, at most the number of training data")] = 10,
    covariance: Covariance = "auto",
    min_std: Annotated[
        Positive, Field(description="smallest standard deviation of a component, relative to that of the data")
    ] = 0.03,
    condition: LabelCondition = "none",
    steps: Steps = 2000,
    batch_size: BatchSize = 256,
    lr: LearningRate = 3e-3,
) -> TrainingSetup:
    """SVI with the component summed out, initialised by k-means."""
    require_probability(data.space, GaussianMixture.probability, "a mixture of Gaussians")
    given = label_condition(data, condition)
    form = covariance_form(covariance, data)
    if data.has_rows:
        model = GaussianMixture.from_clusters(training_rows(data), components, form, min_std, condition=given)
    else:
        model = GaussianMixture(data.shape, components, form, min_std, condition=given)
    step = svi(model, lr, steps, loss=TraceEnum_ELBO(max_plate_nesting=1))
    return TrainingSetup(model, step, data, chosen={"covariance": form})


@register("explicit", "exact", "mixture of probabilistic PCA, one for each class if given labels")
def mppca(
    data: Dataset,
    *,
    components: Annotated[
        Size, Field(description="number of components, with `condition=label` of each class; at most the data of each")
    ] = 10,
    latent: Annotated[
        Size | Literal["auto"],
        Field(description="rank of each, below the dimension of the data; `auto`: 10, or the most if that is less"),
    ] = "auto",
    min_std: Annotated[
        Positive, Field(description="smallest standard deviation of a component, relative to that of the data")
    ] = 0.03,
    condition: LabelCondition = "none",
    steps: Steps = 500,
    batch_size: BatchSize = 256,
    lr: LearningRate = 3e-3,
) -> TrainingSetup:
    """Tipping and Bishop, 1999: PPCA in each cluster of k-means, then SVI."""
    require_probability(data.space, PPCAMixture.probability, "a mixture of PPCA")
    k = _rank(data, latent, 10)
    given = label_condition(data, condition)
    if data.has_rows:
        x, *labels = data.train.tensors()
        y = None if given is None else labels[0]
        model = PPCAMixture.from_clusters(x, components, k, min_std, y, given)
    else:
        model = PPCAMixture(data.shape, components, k, min_std, condition=given)
    return TrainingSetup(model, svi(model, lr, steps), data)


@register("explicit", "exact", "kernel-density estimate with the bandwidth selected on validation data")
def kde(
    data: Dataset,
    *,
    points: Annotated[Size, Field(description="number of training data that are kept")] = 10_000,
    steps: OneStep = 1,
    batch_size: LoggedBatch = 256,
) -> TrainingSetup:
    """A Gaussian around each of ``points`` training data."""
    require_probability(data.space, KernelDensity.probability, "a kernel-density estimate")
    m = min(points, len(training_rows(data))) if data.has_rows else points
    model = KernelDensity(torch.zeros(m, *data.shape))

    def fit() -> KernelDensity:
        return KernelDensity.from_data(training_rows(data)[:m], data.valid.tensors()[0])

    return TrainingSetup(model, ClosedForm(model, fit), data, chosen={"points": m})


@register("explicit", "exact", "joint histogram, for low-dimensional data", example="ring")
def histogram(
    data: Dataset,
    *,
    bins: Annotated[
        Size | Literal["auto"],
        Field(description="cells along each dimension, always 2 for binary data; `auto`: the best on validation data"),
    ] = "auto",
    background: Annotated[
        Annotated[float, Field(gt=0, lt=1)] | Literal["auto"],
        Field(description="weight ε of the background density; `auto`: the best on validation data"),
    ] = "auto",
    steps: OneStep = 1,
    batch_size: LoggedBatch = 256,
) -> TrainingSetup:
    """Relative frequencies on a grid of cells, mixed with a background density."""
    probability = data.space.probability
    bins = 2 if probability == "mass" else bins
    if isinstance(bins, str) or isinstance(background, str):
        bins, background = best_grid(training_rows(data), data.valid.tensors()[0], probability, bins, background)
    grid = bins, probability, background
    model = Histogram(data.shape, *grid)
    step = ClosedForm(model, lambda: Histogram.from_data(training_rows(data), *grid))
    return TrainingSetup(model, step, data, chosen={"bins": bins, "background": background})


def covariance_form(chosen: str, data: Dataset) -> str:
    """``diagonal`` or ``full``; a full covariance needs more than two training data for each dimension."""
    if chosen != "auto":
        return chosen
    return "full" if len(training_rows(data)) > 2 * data.dims else "diagonal"


def _moments(x: Tensor) -> Tensor:
    """Mean and standard deviation of each dimension, ``(2, d)``."""
    flat = x.flatten(1)
    return torch.stack((flat.mean(0), flat.std(0).clamp_min(1e-6)))


def _rank(data: Dataset, latent: int | str, most: int) -> int:
    """The rank of a covariance: the chosen one, or for ``auto`` ``most``, but below the dimension of the data."""
    return min(most, max(data.dims - 1, 1)) if isinstance(latent, str) else latent
